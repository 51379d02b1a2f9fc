"""Groups of look-alikes: near-duplicates and small clusters, of which a person labels each by one act."""

from __future__ import annotations

import numpy as np

from winnow.embeddings import finite
from winnow.select.cells import Cells
from winnow.select.components import components
from winnow.select.duplicates import stand_ins

SIZE = 12  # pictures of a small cluster on average
CROWD = 8  # near-duplicates from which on they are a group of their own
COMPONENTS = 64  # in which small clusters are looked for


def look_alikes(
    vectors: np.ndarray,
    near: float,
    *,
    sources: np.ndarray | None = None,
    times: np.ndarray | None = None,
    seconds: float = 0.0,
) -> np.ndarray:
    """Return rows of embeddings (n, d) in groups, and the number of the group of each: (2, m) int64.

    The largest group is number 0; within a group the most central row comes first. Near-duplicates (`stand_ins`) are a group where
    there are eight or more; the others are divided by k-means on the plain embeddings into clusters of twelve pictures on average.
    A row without any like it is left out.
    """
    n = len(vectors)
    if n < 2:
        return np.zeros((2, 0), np.int64)
    alike = stand_ins(vectors, near, sources=sources, times=times, seconds=seconds)
    crowded = np.bincount(alike, minlength=n) >= CROWD
    group, apart = np.where(crowded[alike], alike, -1), np.zeros(n, np.float32)
    single = np.flatnonzero((alike == np.arange(n)) & ~crowded)
    if len(single):
        features = components(finite(vectors)[single], COMPONENTS)
        cells = Cells.of(features, max(1, round(len(single) / SIZE)), np.random.default_rng(0))
        found, distance = cells.nearest(features)
        group[single], apart[single] = n + found[:, 0], distance[:, 0]
        rest = group < 0
        group[rest], apart[rest] = group[alike[rest]], apart[alike[rest]]
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    first = np.lexsort((np.arange(len(size)), -size))
    place = np.empty(len(size), np.int64)
    place[first] = np.arange(len(size))
    number = place[number]
    order = np.lexsort((np.arange(n), apart, number))
    order = order[size[first][number[order]] > 1]
    return np.stack([order, number[order]]).astype(np.int64)
