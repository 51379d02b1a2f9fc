"""Geometry that selectors share: whitening, k-means, distances in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from winnow.embeddings import blocks, finite, spread, unit_length
from winnow.errors import DataError

BLOCK = 1024  # rows of a block of distances: 80 MB of float32 against 20,000 others
COMPONENTS = 128
LEARNT_FROM = 50_000  # rows that principal components are learnt from
SMALL = 1e-3  # share of the largest deviation below which a component is rounding
TINY = 1e-6  # deviation of directions that are all the same
EXACT = 8192  # rows up to which sums are made in double precision: threads, which add in another order, do not change a choice
CHANCE = 2.0  # times the variance that directions of n pictures show by chance; chosen on pools, not on test pictures (docs/log.md)


def whitened(vectors: np.ndarray, rows: np.ndarray | None = None, of: np.ndarray | None = None) -> np.ndarray:
    """Return embeddings (n, d) as whitened features (n, k) of length 1; only those `of` some rows, where given.

    Their directions are expressed in their first 128 principal components, each divided by the root of its variance and of what
    n pictures show by chance. A network's embeddings spend most of their variance on few things, such as the light or the turf; with
    equal variances rare but distinct properties count as well. But n pictures that differ in nothing but noise of many dimensions
    have n - 1 components, all of about the total variance over n (Marchenko and Pastur 1967, the bulk for n far below d), and
    made equal, these leave every picture as far from every other. Twice that is therefore added to each variance: components that stand
    above it come to about equal variance, the others stay small, and of many pictures next to nothing is added.
    Components are learnt from `rows` (all by default; 50,000 of more, evenly spread); those without variance are left out. For equal
    embeddings, or none, k is 0.
    """
    from scipy.linalg import eigh

    vectors = finite(vectors)
    rows, of = (np.arange(len(vectors)) if some is None else np.asarray(some, int) for some in (rows, of))
    if not len(rows):
        return np.zeros((len(of), 0), np.float32)
    sample = vectors[rows[spread(len(rows), LEARNT_FROM)]]
    mean = sample.mean(axis=0, dtype=np.float64)
    if len(sample) <= EXACT:
        sample = sample.astype(np.float64)
    mean = mean.astype(sample.dtype)
    for part in blocks(len(sample)):
        sample[part] = unit_length(sample[part] - mean)
    centre = sample.mean(axis=0)
    sample -= centre
    d, covariance = sample.shape[1], sample.T @ sample / len(sample)
    by_chance = CHANCE * np.trace(covariance) / len(sample)
    variances, axes = eigh(covariance, subset_by_index=(max(0, d - COMPONENTS), d - 1), overwrite_a=True)
    deviations = np.sqrt(np.maximum(variances, 0))
    kept = deviations > max(SMALL * deviations.max(initial=0), TINY)
    axes = (axes[:, kept] / np.sqrt(variances[kept] + by_chance))[:, ::-1].astype(sample.dtype)
    features = np.empty((len(of), axes.shape[1]), np.float32)
    for part in blocks(len(of)):
        features[part] = unit_length((unit_length(vectors[of[part]] - mean) - centre) @ axes)
    return features


def weights_of(weights: Any, n: int) -> np.ndarray:
    """Return how much each of n pictures counts as (n,) float32, 1 where nothing was given.

    `DataError` for another shape, for what is no number, negative or not finite: a search by such gains would not end.
    """
    if weights is None:
        return np.ones(n, np.float32)
    try:
        with np.errstate(over="ignore"):
            counts = np.asarray(weights, np.float32)
    except (TypeError, ValueError):
        raise DataError("'weights' holds what is no number.", "Give a number of 0 or more per picture.") from None
    if counts.shape != (n,):
        raise DataError(f"'weights' has shape {counts.shape}; with {n:,} pictures it must have shape ({n},).")
    wrong = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
    told = ""
    if len(wrong):
        told = f"{len(wrong):,} of {n:,} weights are negative or not finite, the first in row {wrong[0]}."
    elif counts.sum(dtype=np.float64) > np.finfo(np.float32).max:
        told = f"The sum of {n:,} weights is not finite."
    if told:
        raise DataError(told, "Give a number of 0 or more per picture.")
    return counts


def squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances (n, m) of rows (n, d) and (m, d), never negative."""
    products = one @ other.T
    products *= -2
    products += np.square(one).sum(axis=1)[:, None]
    products += np.square(other).sum(axis=1)
    return np.maximum(products, 0, out=products)


def nearest(features: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of `centres` (k, d) to each of `features` (n, d), and its squared distance: (n,), (n,)."""
    import faiss

    if not features.shape[1]:
        return np.zeros(len(features), int), np.zeros(len(features), np.float32)
    index = faiss.IndexFlatL2(centres.shape[1])
    index.add(np.ascontiguousarray(centres, np.float32))
    distances, found = index.search(np.ascontiguousarray(features, np.float32), 1)
    return found[:, 0], np.maximum(distances[:, 0], 0)


def k_means(
    features: np.ndarray, k: int, rng: np.random.Generator, *, rounds: int = 25, sample: int = 256
) -> np.ndarray:
    """Return centres (k, d) of features (n, d) by so many rounds of Lloyd's algorithm (faiss), from at most `sample` rows a centre."""
    import faiss

    if not features.shape[1]:
        return np.zeros((k, 0), np.float32)
    algorithm: Any = faiss.Kmeans(
        features.shape[1],
        k,
        niter=rounds,
        seed=int(rng.integers(2**31)),
        min_points_per_centroid=1,
        max_points_per_centroid=sample,
    )
    algorithm.train(features)
    return np.asarray(algorithm.centroids)


def farthest(features: np.ndarray, n: int, start: Sequence[int] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return n rows, each the farthest from `start` and those before it; rows that repeat others come last, at random.

    Without a start the first is the most central one: an outlier would be a poor beginning.
    """
    taken, order = np.zeros(len(features), bool), []
    taken[np.asarray(start, int)] = True
    norms = np.square(features).sum(axis=1)
    tie = rng.permutation(len(features))

    def distance_to(row: int) -> np.ndarray:
        return np.maximum(norms - 2 * (features @ features[row]) + norms[row], 0)

    if taken.any():
        distance = nearest(features, features[taken])[1]
    else:
        first = int(squared_distances(features, features.mean(axis=0, keepdims=True))[:, 0].argmin())
        taken[first], distance = True, distance_to(first)
        order.append(first)
    while len(order) < n:
        distance[taken] = -1
        best = int(distance.argmax())
        if distance[best] <= 0:
            best = int(np.where(taken, -1, tie).argmax())
        taken[best] = True
        order.append(best)
        np.minimum(distance, distance_to(best), out=distance)
    return np.array(order[:n], int)
