"""Seconds and memory of what `select` and `calibrate` do to all embeddings, by the code of now and by that of another checkout.

python bench/scale_select.py --before CHECKOUT [--quick] [--million] [--works herding,duplicates]

Embeddings are drawn: 2,000 clusters of unequal size, and one picture in ten again, at distances on both sides of that of
near-duplicates. Every figure is of a process of its own with one thread: CPU seconds (of user and system) from embeddings in
memory to the result, libraries loaded before, and the most memory held on top of what was held at the start. Before and after
take turns. `--quick`: up to 30,000 pictures; `--million`: a million too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import finish, table

CLUSTERS, AGAIN = 2000, 0.1
BLOCK = 8192
SIZES = (10_000, 20_000, 30_000, 100_000, 1_000_000)
GROUPED = 100  # groups of the pool of which one picture each is chosen

Found = dict[str, Any]


def drawn(n: int, d: int) -> np.ndarray:
    """Draw embeddings (n, d) float32, some of them near-duplicates of earlier ones."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, d)).astype(np.float32)
    cluster = rng.choice(CLUSTERS, n, p=rng.dirichlet(np.full(CLUSTERS, 0.5)))
    vectors = np.empty((n, d), np.float32)
    for begin in range(0, n, BLOCK):
        part = vectors[begin : begin + BLOCK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part *= 0.7
        part += centres[cluster[begin : begin + BLOCK]]
    copies = np.sort(rng.choice(np.arange(n // 2, n), int(AGAIN * n), replace=False))
    for rows in np.array_split(copies, max(1, len(copies) // BLOCK)):
        # Squared, the distance of a copy is from 0 to .2 of the usual one; near is below .1 of it.
        noise = np.sqrt(rng.uniform(0, 0.2, (len(rows), 1)) * 2) * 1.22
        vectors[rows] = vectors[rng.integers(0, n // 2, len(rows))] + noise * rng.normal(size=(len(rows), d))
    return vectors


def herding(n: int, d: int, k: int) -> Callable[[], Found]:
    """Choose k rows by herding on whitened embeddings, and judge by the mean squared distance to the nearest chosen."""
    from winnow.embeddings import Embeddings
    from winnow.select.geometry import nearest, whitened
    from winnow.select.herding import herding

    features = Embeddings.of(whitened(drawn(n, d)))

    def work() -> Found:
        rows = herding(features, k, np.random.default_rng(0))
        return {"distance": lambda: float(nearest(features.vectors, features.vectors[rows])[1].mean())}

    return work


def k_means(n: int, d: int, k: int) -> Callable[[], Found]:
    """Choose k rows by faiss's k-means with its own rounds and sample, of each cluster the nearest to its centre."""
    import faiss

    from winnow.select.geometry import nearest, whitened

    features = whitened(drawn(n, d))

    def work() -> Found:
        model: Any = faiss.Kmeans(features.shape[1], k, niter=25, seed=1)
        model.train(features)
        distance, cluster = model.index.search(features, 1)
        order = np.lexsort((distance[:, 0], cluster[:, 0]))
        rows = order[np.unique(cluster[order, 0], return_index=True)[1]]
        return {"distance": lambda: float(nearest(features, features[rows])[1].mean())}

    return work


def duplicates(n: int, d: int, _: int) -> Callable[[], Found]:
    """Find the near-duplicates."""
    from winnow.select.duplicates import distinct

    vectors = drawn(n, d)
    return lambda: {"duplicates": int((~distinct(vectors, 0.1)).sum())}


def unlike(n: int, d: int, _: int) -> Callable[[], Found]:
    """Find near-duplicates, of which there are none, where embeddings differ in all directions alike."""
    from winnow.select.duplicates import distinct

    vectors = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    return lambda: {"duplicates": int((~distinct(vectors, 0.2)).sum())}


def whitening(n: int, d: int, _: int) -> Callable[[], Found]:
    """Whiten the embeddings."""
    from winnow.select.geometry import whitened

    vectors = drawn(n, d)
    return lambda: {"dimensions": whitened(vectors).shape[1]}


def unit(n: int, d: int, _: int) -> Callable[[], Found]:
    """Give the embeddings the length 1, after a look whether they are finite."""
    from winnow.embeddings import finite, unit_length

    vectors = drawn(n, d)
    return lambda: {"dimensions": unit_length(finite(vectors)).shape[1]}


def quota(n: int, d: int, k: int) -> Callable[[], Found]:
    """Choose k pictures, one of a group."""
    from winnow.embeddings import Embeddings
    from winnow.select.choose import choose

    rng = np.random.default_rng(1)
    groups = rng.integers(0, GROUPED, n).astype(str)
    embeddings = Embeddings.of(drawn(n, d), groups=groups)
    return lambda: {"chosen": len(choose(embeddings, k, per_group=1).rows)}


def gaussian(n: int, d: int, _: int) -> Callable[[], Found]:
    """Fit the Mahalanobis distance, and ten times without a tenth."""
    from winnow.detect.scorer import folds_of
    from winnow.detect.scorers.mahalanobis import Mahalanobis
    from winnow.embeddings import Embeddings

    normal = Embeddings.of(drawn(n, d))
    fold = folds_of(normal, 10)
    return lambda: {"median": float(np.median(Mahalanobis().fit_held_out(normal, fold)))}


WORKS: dict[str, tuple[Callable[[int, int, int], Callable[[], Found]], tuple[tuple[int, int, int], ...]]] = {
    "herding": (
        herding,
        (*((n, 128, 125) for n in SIZES), (100_000, 128, 1000), (1_000_000, 128, 1000)),
    ),
    "faiss k-means": (k_means, ((30_000, 128, 125), (100_000, 128, 1000), (1_000_000, 128, 1000))),
    "duplicates": (
        duplicates,
        (*((n, 128, 0) for n in SIZES), (20_000, 1280, 0), (50_000, 1280, 0)),
    ),
    "all unlike": (unlike, ((4_000, 1280, 0),)),
    "whitening": (whitening, ((100_000, 128, 0), (50_000, 1280, 0), (1_000_000, 128, 0))),
    "unit length": (unit, ((50_000, 1280, 0),)),
    "one of a group": (quota, ((5_000, 128, 100), (15_000, 128, 100))),
    "mahalanobis, 11 fits": (gaussian, ((5_000, 1280, 0), (20_000, 1280, 0))),
}


def resident() -> float:
    """Return the MB that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Peak:
    """The most memory that this process holds, looked at every few milliseconds."""

    def __enter__(self) -> Peak:
        self.before = self.most = resident()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.ended.wait(0.005):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def spent() -> float:
    """Return the CPU seconds of this process, of user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one(name: str, n: int, d: int, k: int) -> None:
    """Print CPU seconds, memory and what was found, of one work in this process."""
    make = WORKS[name][0]
    make(min(n, 3000), d, min(k, 20))()  # libraries loaded
    work = make(n, d, k)
    gc.collect()
    with Peak() as memory:
        started = spent()
        found = work()
        seconds = spent() - started
    more = {key: value() if callable(value) else value for key, value in found.items()}
    print(json.dumps({"seconds": seconds, "mb": memory.most - memory.before, **more}))


def measured(checkout: Path, name: str, size: tuple[int, int, int]) -> Found:
    """Return what a process with the code of a checkout measures."""
    env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "one", name, *map(str, size)]
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def row_of(given: argparse.Namespace, name: str, size: tuple[int, int, int]) -> dict[str, Any]:
    """Return the row of a work and a size: before, after, and their ratios."""
    n, d, k = size
    here = Path(__file__).resolve().parent.parent
    after = measured(here, name, size)
    row: dict[str, Any] = {"work": name + (f", {k:,} chosen" if k else ""), "pictures": f"{n:,}", "dimensions": d}
    quality = next(key for key in after if key not in ("seconds", "mb"))
    if given.before and name != "faiss k-means":
        before = measured(given.before.resolve(), name, size)
        row |= {"before, s": f"{before['seconds']:.2f}"} | {"after, s": f"{after['seconds']:.2f}"}
        row |= {"times as fast": f"{before['seconds'] / max(after['seconds'], 1e-3):.1f}"}
        row |= {"before, MB": f"{before['mb']:,.0f}", "after, MB": f"{after['mb']:,.0f}"}
        return row | {"found": f"{quality} {_short(before[quality])}, {_short(after[quality])}"}
    row |= {"after, s": f"{after['seconds']:.2f}", "after, MB": f"{after['mb']:,.0f}"}
    return row | {"found": f"{quality} {_short(after[quality])}"}


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def main() -> None:
    """Print a table of all works and sizes."""
    if len(sys.argv) > 1 and sys.argv[1] == "one":
        return one(sys.argv[2], *map(int, sys.argv[3:6]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of other code, to compare with")
    parser.add_argument("--quick", action="store_true", help="up to 30,000 pictures")
    parser.add_argument("--million", action="store_true", help="a million pictures too")
    parser.add_argument("--works", default=",".join(name for name in WORKS if "," not in name) + ",mahalanobis")
    given, started = parser.parse_args(), time.perf_counter()
    most = 30_000 if given.quick else 1_000_000 if given.million else 100_000
    lines = []
    for name, (_, sizes) in WORKS.items():
        for size in sizes:
            if size[0] <= most and name.split(",")[0] in given.works.split(","):
                lines.append(row_of(given, name, size))
                print(lines[-1], file=sys.stderr, flush=True)
    table(lines, "What select and calibrate do to all embeddings")
    finish("scale_select", started, rows=lines)
    return None


if __name__ == "__main__":
    main()
