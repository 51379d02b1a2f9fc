"""Work that is done once: CPU time of scoring few pictures against a large bank, and of a choice with a random share.

    python bench/once.py [--quick]

Embeddings are drawn. `knn`: 20,000 normals of 1,280 dimensions, one thread. `choose`: 40,000 of 40,000 rows by "random", with and without
a share drawn from all. Milliseconds, the mean of some calls after a first one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import winnow
from winnow.detect.scorers.knn import Knn

from common import arguments, finish, table


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    normals, rows = (2_000, 4_000) if given.quick else (20_000, 40_000)
    rng = np.random.default_rng(0)
    scorer = Knn().fit(rng.standard_normal((normals, 1280), dtype=np.float32))
    new, vectors = (rng.standard_normal(shape, dtype=np.float32) for shape in ((64, 1280), (rows, 64)))

    def chosen(share: float) -> Callable[[], Any]:
        return lambda: winnow.choose(vectors, rows, "random", features=vectors, random_share=share)

    found = [
        {"work": f"knn, {count} at once", "ms": milliseconds(lambda count=count: scorer.score(new[:count]), 10)}
        for count in (1, 64)
    ]
    found += [{"work": f"choose, random share {share}", "ms": milliseconds(chosen(share), 2)} for share in (0.0, 0.1)]
    table(found, "CPU time of a call")
    finish("once", started, once=found)


def milliseconds(call: Callable[[], Any], calls: int) -> float:
    """Return the CPU time of a call, in milliseconds."""
    call()
    begun = time.process_time()
    for _ in range(calls):
        call()
    return round(1000 * (time.process_time() - begun) / calls, 1)


if __name__ == "__main__":
    main()
