"""Seconds and memory of a choice: herding against faiss k-means with the nearest picture, in processes of their own.

python bench/selection_speed.py [--quick] [--to FOLDER]

Embeddings are drawn: 2,000 clusters of unequal size. Each process makes the embeddings, then takes the time from embeddings in memory to
rows in memory; both in turn, the best of two, on all cores. Memory: the most the process held, embeddings included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from winnow.report.style import COLOURS, DIM, as_png, canvas, heading, legend, quiet

from common import arguments, finish, table

SIZES = (
    (3_000, 256, 100),
    (10_000, 256, 300),
    (30_000, 256, 1000),
    (100_000, 256, 1000),
    (300_000, 128, 1000),
    (1_000_000, 128, 1000),
)


def drawn(n: int, d: int) -> np.ndarray:
    """Draw embeddings (n, d) float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2000, d)).astype(np.float32)
    cluster = rng.choice(2000, n, p=rng.dirichlet(np.full(2000, 0.5)))
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    vectors *= 0.7
    vectors += centres[cluster]
    return vectors


def herding(vectors: np.ndarray, k: int) -> np.ndarray:
    """Choose by Winnow's default, from raw embeddings."""
    from winnow.embeddings import Embeddings
    from winnow.select.geometry import whitened
    from winnow.select.herding import herding as select

    return select(Embeddings.of(whitened(vectors)), k, np.random.default_rng(0))


def faiss_kmeans(vectors: np.ndarray, k: int) -> np.ndarray:
    """Choose by faiss's k-means with its own 25 rounds and sample, the picture nearest to each centre."""
    import faiss

    model = faiss.Kmeans(vectors.shape[1], k, niter=25, seed=1)
    model.train(vectors)
    distance, cluster = model.index.search(vectors, 1)
    order = np.lexsort((distance[:, 0], cluster[:, 0]))
    return order[np.unique(cluster[order, 0], return_index=True)[1]]


METHODS = {"herding": herding, "faiss k-means + nearest": faiss_kmeans}


def one(method: str, n: int, d: int, k: int) -> None:
    """Print seconds, pictures found and peak memory of this process."""
    vectors = drawn(n, d)
    METHODS[method](vectors[:2000], 20)  # libraries loaded, threads started
    started = time.perf_counter()
    rows = METHODS[method](vectors, k)
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "found": len(set(rows.tolist())), "gib": most}))


@as_png
def growth(lines: list[dict[str, Any]]) -> Figure:
    """Draw seconds over the number of pictures, both axes logarithmic."""
    figure = canvas(6.4, 3.2, (0.7, 0.2, 0.4, 0.5))
    axes = quiet(figure.add_subplot(), grid="both")
    sizes = [int(line["pictures"].replace(",", "")) for line in lines]
    for name, colour in zip(METHODS, COLOURS, strict=False):
        column = "herding, s" if name == "herding" else "faiss k-means, s"
        axes.plot(sizes, [line[column] for line in lines], "o-", color=colour, label=name)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("pictures", color=DIM, fontsize=9)
    axes.set_ylabel("seconds", color=DIM, fontsize=9)
    heading(figure, "A choice from embeddings in memory", "two cores")
    legend(axes, axes.get_lines(), METHODS, loc="upper left")
    return figure


def main() -> None:
    """Print a row per size: seconds of both, their ratio, memory."""
    if len(sys.argv) > 1 and sys.argv[1] == "one":
        return one(sys.argv[2], *map(int, sys.argv[3:]))
    given, started = arguments(__doc__), time.perf_counter()
    lines = []
    for n, d, k in SIZES[: 3 if given.quick else None]:
        best: dict[str, dict[str, float]] = {}
        for _ in range(2):
            for method in METHODS:
                words = [sys.executable, __file__, "one", method, *map(str, (n, d, k))]
                found = json.loads(
                    subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                )
                if method not in best or found["seconds"] < best[method]["seconds"]:
                    best[method] = found
        ours, theirs = best.values()
        row = {
            "pictures": f"{n:,}",
            "dimensions": d,
            "chosen": f"{k:,}",
            "found": f"{ours['found']:,}, {theirs['found']:,}",
        }
        row |= {
            "herding, s": ours["seconds"],
            "faiss k-means, s": theirs["seconds"],
            "ratio": theirs["seconds"] / ours["seconds"],
        }
        lines.append(row | {"herding, GiB": ours["gib"], "faiss k-means, GiB": theirs["gib"]})
        print(lines[-1], file=sys.stderr, flush=True)
    (given.to / "selection-growth.png").write_bytes(growth(lines))
    table(lines, "A choice of K among N pictures, from embeddings in memory")
    finish("selection_speed", started, rows=lines)
    return None


if __name__ == "__main__":
    main()
