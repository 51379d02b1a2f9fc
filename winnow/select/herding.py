"""Herding: greedy facility location with a Gaussian kernel, the method that measures best."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from winnow.embeddings import Embeddings, finite
from winnow.select.cells import Cells
from winnow.select.geometry import BLOCK, nearest, squared_distances, weights_of

WIDTH = 0.5
"""Width of the kernel, where two random pictures are about 1.41 apart; chosen on pools, not on test pictures (docs/log.md)."""
CLUSTERS, SHARE, MOST = 8192, 4, 20_000
"""Small clusters that stand for more pictures than that: at least so many, so many for a picture to be chosen, at most so many."""


@dataclass(frozen=True)
class Crowd:
    """What is to be covered: pictures, or small clusters of them.

    `means` (p, d) of the features, and how much each counts, `counts` (p,). Of clusters also `variances` (p,), the mean squared distance
    of their members to the mean, and how well their central pictures cover them, `within` (p,).
    """

    means: np.ndarray
    counts: np.ndarray
    variances: np.ndarray | None = None
    within: np.ndarray | None = None

    def coverage(self, squared: np.ndarray) -> np.ndarray:
        """Turn squared distances (..., p) to the means, in place, into coverages; of a cluster by the mean distance to its members."""
        if self.variances is not None:
            squared += self.variances
        return _coverage(squared)


def _coverage(squared: np.ndarray) -> np.ndarray:
    squared /= -WIDTH * WIDTH
    return np.exp(squared, out=squared)


@dataclass(frozen=True)
class Quota:
    """How many of a group may still be chosen: `group` (m,) of each picture, by its number, and how many are `left` of each."""

    group: np.ndarray
    left: np.ndarray


def herding(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
    quota: Quota | None = None,
) -> np.ndarray:
    """Return n rows, each the one that adds most to the coverage of all pictures, given those of `start`; see `herd`.

    For features of length 1, best `whitened`. Every prefix is the choice for its own length. `weights` (m,): how much
    each picture counts. More than 8,192 pictures are grouped into as many small clusters (four for a picture to be chosen, where
    these are more), of which the most central picture may be chosen. With a `quota`, pictures of full groups count but are
    not chosen, and the rows are fewer where the clusters' central pictures are of full groups.
    """
    features, start = finite(embeddings.vectors), np.asarray(start, int)
    counts = weights_of(weights, len(features))
    rows = np.setdiff1d(np.arange(len(features)), start)
    free, counts = (features[rows], counts[rows]) if len(start) else (features, counts)
    if not counts.any():  # those that count are chosen already: among the others all are equal
        counts = np.ones_like(counts)
    full = np.zeros(len(rows), bool) if quota is None else quota.left[quota.group[rows]] <= 0
    clusters = min(MOST, max(CLUSTERS, SHARE * n))
    if len(rows) > clusters:
        central, crowd = _clustered(free, clusters, counts, full, rng)
        rows, free = rows[central], free[central]
    else:
        crowd = Crowd(free, counts)
    own = None if quota is None else Quota(quota.group[rows], quota.left.copy())
    chosen = rows[herd(free, crowd, min(n, len(rows)), features[start], own)]
    return chosen if quota else np.append(chosen, _rest(features, n - len(chosen), np.append(start, chosen), rng))


def herd(features: np.ndarray, crowd: Crowd, n: int, start: np.ndarray, quota: Quota | None = None) -> np.ndarray:
    """Return n rows of features (m, d), each the one that adds most to the coverage of the crowd, given others `start` (s, d).

    The coverage of a picture is exp(-distance² / width²) to the nearest chosen one: MaxHerding (Bae et al. 2024, arXiv
    2407.12212, algorithm 1). Gains only fall while rows are chosen, so that an old gain is a bound and most need not be
    computed again (Minoux 1978). With a `quota`, which is used up, as many rows as it allows: the greedy algorithm under a
    partition matroid (Fisher, Nemhauser and Wolsey 1978). Holds the kernel, 4 m p bytes.
    """
    kernel, counts = _kernel(features, crowd), crowd.counts.astype(np.float64)
    covered = np.zeros(len(crowd.counts), np.float32)
    if len(start) and crowd.within is not None:
        covered = crowd.coverage(nearest(crowd.means, start)[1])
    for begin in range(0, len(start) if crowd.within is None else 0, BLOCK):
        covered = np.maximum(covered, _kernel(start[begin : begin + BLOCK], crowd).max(axis=0))
    heap = [(-float(gain), row) for row, gain in enumerate(_gains(kernel, covered, counts))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < n:
        _, row = heap[0]
        if quota is not None and quota.left[quota.group[row]] <= 0:
            heapq.heappop(heap)
            continue
        now = (-float(np.maximum(kernel[row] - covered, 0) @ counts), row)
        heapq.heapreplace(heap, now)
        if heap[0] == now:
            heapq.heappop(heap)
            chosen.append(row)
            np.maximum(covered, kernel[row], out=covered)
            if quota is not None:
                quota.left[quota.group[row]] -= 1
    return np.array(chosen, int)


def _gains(kernel: np.ndarray, covered: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return what each row adds to the coverage (m,); in blocks, because the kernel must not be held twice."""
    blocks = [kernel[begin : begin + BLOCK] for begin in range(0, len(kernel), BLOCK)]
    return np.concatenate([np.maximum(block - covered, 0) @ counts for block in blocks] or [covered])


def _kernel(features: np.ndarray, crowd: Crowd) -> np.ndarray:
    """Return how well each of features (m, d) covers the crowd, (m, p); of pictures from distances in double precision."""
    kernel = np.empty((len(features), len(crowd.means)), np.float32)
    means = crowd.means if crowd.within is not None else crowd.means.astype(np.float64)
    for begin in range(0, len(features), BLOCK):
        rows = squared_distances(features[begin : begin + BLOCK].astype(means.dtype), means)
        kernel[begin : begin + BLOCK] = crowd.coverage(rows)
    if crowd.within is not None:
        np.fill_diagonal(kernel, crowd.within)
    return kernel


def _clustered(
    features: np.ndarray, k: int, counts: np.ndarray, full: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, Crowd]:
    """Return the most central row of each of about k small clusters, one that is not `full` (n,) where there is one, and the clusters.

    A cluster is not where its central picture is: this covers itself, but the others by their distances.
    """
    from scipy.sparse import csr_array

    found, distance = Cells.of(features, k, rng).nearest(features)
    cluster = np.unique(found[:, 0], return_inverse=True)[1]
    order = np.lexsort((distance[:, 0], full, cluster))
    central = order[np.unique(cluster[order], return_index=True)[1]]
    total = np.bincount(cluster, weights=counts).astype(np.float32)
    share = counts / np.maximum(total, np.finfo(np.float32).tiny)[cluster]
    members = csr_array((share, (cluster, np.arange(len(cluster)))), shape=(len(central), len(cluster)))
    means = members @ features
    variances = members @ np.einsum("nd,nd->n", features, features) - np.square(means).sum(axis=1)
    away = np.empty(len(features), np.float32)
    for begin in range(0, len(features), BLOCK):
        rows = slice(begin, begin + BLOCK)
        away[rows] = np.square(features[rows] - features[central[cluster[rows]]]).sum(axis=1)
    return central, Crowd(means, total, np.maximum(variances, 0), members @ _coverage(away))


def _rest(features: np.ndarray, n: int, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return n more rows at random, when there were fewer clusters than pictures to choose."""
    return rng.choice(np.setdiff1d(np.arange(len(features)), taken), n, replace=False)
