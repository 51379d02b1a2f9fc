"""Herding: greedy facility location with a Gaussian kernel, the method that measures best."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from winnow.embeddings import Embeddings, finite
from winnow.select.geometry import BLOCK, k_means, nearest, squared_distances, weights_of

WIDTH = 0.5
"""Width of the kernel, where two random pictures are about 1.41 apart; chosen on pools, not on test pictures (docs/log.md)."""
MOST = 20_000  # pictures whose kernel is held whole, in 1.6 GB; more are first grouped into micro-clusters
MICRO_CLUSTERS, MICRO_SHARE = 4096, 4  # at least so many, and so many for a picture to be chosen (up to MOST)
ROUNDS, SAMPLE = 2, 12  # of the k-means that makes them: they need not be good clusters, only small ones


def herding(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return n rows, each the one that adds most to the coverage of all pictures, given those of `start`; see `herd`.

    For features of length 1, best `whitened`. Every prefix is the choice for its own length. `weights` (m,): how much
    each picture counts. More than 20,000 pictures are grouped into micro-clusters, each represented by its most central
    picture with the weight of all in it.
    """
    features, start = finite(embeddings.vectors), np.asarray(start, int)
    counts = weights_of(weights, len(features))
    rows = np.setdiff1d(np.arange(len(features)), start)
    free, counts = (features[rows], counts[rows]) if len(start) else (features, counts)
    if not counts.any():  # those that count are chosen already: among the others all are equal
        counts = np.ones_like(counts)
    if len(rows) > MOST:
        central, counts = _micro_clusters(free, min(MOST, max(MICRO_CLUSTERS, MICRO_SHARE * n)), counts, rng)
        rows, free = rows[central], free[central]
    chosen = rows[herd(free, min(n, len(rows)), features[start], counts)]
    return np.append(chosen, _rest(features, n - len(chosen), np.append(start, chosen), rng))


def herd(features: np.ndarray, n: int, start: np.ndarray, weights: np.ndarray, width: float = WIDTH) -> np.ndarray:
    """Return n rows of features (m, d), each the one that adds most to the coverage of all, given others `start` (s, d).

    The coverage of a row is exp(-distance² / width²) to the nearest chosen one: MaxHerding (Bae et al. 2024, arXiv
    2407.12212, algorithm 1). Gains only fall while rows are chosen, so that an old gain is a bound and most need not be
    computed again (Minoux 1978). Holds the kernel of all pairs, 4 m² bytes.
    """
    kernel = _kernel(features, width)
    covered = np.zeros(len(features), np.float32)
    if len(start):
        covered = np.exp(nearest(features, start)[1] / (-width * width))
    heap = [(-float(gain), row) for row, gain in enumerate(_gains(kernel, covered, weights))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while len(chosen) < n:
        _, row = heap[0]
        now = (-float(np.maximum(kernel[row] - covered, 0) @ weights), row)
        heapq.heapreplace(heap, now)
        if heap[0] == now:
            heapq.heappop(heap)
            chosen.append(row)
            np.maximum(covered, kernel[row], out=covered)
    return np.array(chosen, int)


def _gains(kernel: np.ndarray, covered: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what each row adds to the coverage (m,); in blocks, because the kernel must not be held twice."""
    blocks = [kernel[begin : begin + BLOCK] for begin in range(0, len(kernel), BLOCK)]
    return np.concatenate([np.maximum(block - covered, 0) @ weights for block in blocks] or [covered])


def _kernel(features: np.ndarray, width: float) -> np.ndarray:
    kernel = np.empty((len(features), len(features)), np.float32)
    for begin in range(0, len(features), BLOCK):
        rows = squared_distances(features[begin : begin + BLOCK], features)
        rows /= -width * width
        np.exp(rows, out=kernel[begin : begin + BLOCK])
    return kernel


def _micro_clusters(
    features: np.ndarray, k: int, counts: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most central row of each of at most k small clusters, and the weight of all rows in it."""
    cluster, distance = nearest(features, k_means(features, k, rng, rounds=ROUNDS, sample=SAMPLE))
    order = np.lexsort((distance, cluster))
    found, first = np.unique(cluster[order], return_index=True)
    return order[first], np.bincount(cluster, weights=counts, minlength=k)[found].astype(np.float32)


def _rest(features: np.ndarray, n: int, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return n more rows at random, when there were fewer clusters than pictures to choose."""
    return rng.choice(np.setdiff1d(np.arange(len(features)), taken), n, replace=False)
