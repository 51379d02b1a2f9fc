"""Would the assignment of `select` pay as a shard? CPU seconds of its parts, for herding of a thousand pictures.

    OMP_NUM_THREADS=1 python bench/assignment.py [--quick]

What shards could divide is the assignment of each picture to one of 8,192 cells alone: whitening and cells come before it, on one
machine, and the choice among the cells' central pictures after it. Drawn embeddings, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import faiss
import numpy as np
from scale_select import drawn

from winnow.select.cells import Cells
from winnow.select.geometry import whitened
from winnow.select.herding import CLUSTERS, _clustered, herd

from common import arguments, finish, table

Found = TypeVar("Found")
DIMENSIONS = 128


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    n = 100_000 if given.quick else 1_000_000
    vectors = drawn(n, DIMENSIONS)
    faiss.omp_set_num_threads(1)
    seconds: dict[str, float] = {}

    def timed(name: str, act: Callable[[], Found]) -> Found:
        before = time.process_time()
        found = act()
        seconds[name] = time.process_time() - before
        return found

    features = timed("whitening", lambda: whitened(vectors, np.arange(n)))
    cells = timed("cells learnt", lambda: Cells.of(features, CLUSTERS, np.random.default_rng(0)))
    timed("assignment", lambda: cells.nearest(features))
    ones, none = np.ones(n), np.zeros(n, bool)
    central, crowd = timed("all", lambda: _clustered(features, CLUSTERS, ones, none, np.random.default_rng(0)))
    seconds["means and spread of the cells"] = seconds.pop("all") - seconds["cells learnt"] - seconds["assignment"]
    timed("herding of 1,000", lambda: herd(features[central], crowd, 1000, features[:0]))
    rows = [{"part": name, "CPU s": round(value, 2)} for name, value in seconds.items()]
    table(rows, f"Herding of {n:,} embeddings of {DIMENSIONS} dimensions")
    finish("assignment", started, parts=rows)


if __name__ == "__main__":
    main()
