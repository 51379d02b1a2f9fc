"""The selectors: which pictures a person should label, in which order.

All use Euclidean distances of the features they are given; `SPACES` maps a method to the scaling it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from winnow.embeddings import Embeddings, finite, unit_length
from winnow.plugins import check_call, find
from winnow.select.geometry import farthest, k_means, nearest, squared_distances, whitened
from winnow.select.herding import herding

TINY = 5  # most pictures of a cluster that comes last: TypiClust's own number
NEIGHBOURS = 20  # within the cluster, to which the mean distance says how typical a picture is
MOST_CLUSTERS = 500  # of 'typiclust'
COMPARED = 4000  # pictures of a cluster that its pictures are compared with


class Selector(Protocol):
    """A function that returns rows of pictures in labelling order: exactly n, no repeats, none of `start` (labelled already).

    `weights` (m,): how much each picture counts, where the method can use it. The same `rng` returns the same rows.
    """

    def __call__(
        self,
        embeddings: Embeddings,
        n: int,
        rng: np.random.Generator,
        *,
        start: Sequence[int] | np.ndarray = (),
        weights: np.ndarray | None = None,
    ) -> np.ndarray: ...


def at_random(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Draw n rows at random: the only choice from which frequencies can be estimated without bias."""
    return rng.choice(np.setdiff1d(np.arange(len(embeddings)), np.asarray(start, int)), n, replace=False)


def k_center(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Take the row farthest from those before it, n times (Sener & Savarese 2018, arXiv 1708.00489, algorithm 1): finds outliers."""
    return farthest(finite(embeddings.vectors), n, start, rng)


def kmeans(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
    pick: str = "nearest",
) -> np.ndarray:
    """Cluster by K-means into as many clusters as there will be labels and take a picture of each, as Singh et al. do.

    `pick`: the picture "nearest" to the centre, or a "random" one. Clusters that hold a row of `start` are skipped; the
    largest come first. Where clusters are too few (equal embeddings), the farthest of the rest follow.
    """
    features, start = finite(embeddings.vectors), np.asarray(start, int)
    k = max(1, min(n + len(start), len(features)))
    cluster, distance = nearest(features, k_means(features, k, rng))
    order = np.lexsort((rng.permutation(len(features)) if pick == "random" else distance, cluster))
    found, first = np.unique(cluster[order], return_index=True)
    size = np.bincount(cluster, minlength=k)
    free = ~np.isin(found, cluster[start])
    chosen = order[first[free]][np.argsort(-size[found[free]], kind="stable")][:n]
    return (
        np.append(chosen, farthest(features, n - len(chosen), np.append(start, chosen), rng))
        if len(chosen) < n
        else chosen
    )


def typiclust(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Cluster and take the most typical picture of each cluster: TypiClust (Hacohen et al. 2022, arXiv 2202.02794, algorithm 1).

    For features of length 1. At most 500 clusters; those with the fewest labels come first, then the largest, those of
    five pictures or fewer last. Typical: the smallest mean squared distance to the 20 nearest in the cluster, as in the
    authors' program.
    """
    features, start = finite(embeddings.vectors), np.asarray(start, int)
    k = max(1, min(n + len(start), MOST_CLUSTERS, len(features)))
    cluster = nearest(features, k_means(features, k, rng))[0]
    size, labelled = np.bincount(cluster, minlength=k), np.bincount(cluster[start], minlength=k)
    free = np.ones(len(features), bool)
    free[start] = False
    turns: list[tuple[bool, int, int, int, int]] = []  # tiny, labels of its cluster by then, -size, cluster, row
    for number in np.flatnonzero(size):
        members = np.flatnonzero(cluster == number)
        order = members[np.argsort(_mean_distance(features[members], rng), kind="stable")]
        turns += [
            (bool(size[number] <= TINY), int(labelled[number]) + turn, -int(size[number]), int(number), int(row))
            for turn, row in enumerate(order[free[order]][:n])
        ]
    return np.array([row for *_, row in sorted(turns)[:n]], int)


def _mean_distance(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mean squared distance (n,) of each row to its nearest neighbours among the others: small where it is typical."""
    others = (
        np.arange(len(features)) if len(features) <= COMPARED else rng.choice(len(features), COMPARED, replace=False)
    )
    count = min(NEIGHBOURS, max(1, len(features) // 2), len(others) - 1)
    if count < 1:
        return np.zeros(len(features))
    means = np.empty(len(features))
    for begin in range(0, len(features), COMPARED):
        distances = squared_distances(features[begin : begin + COMPARED], features[others])
        means[begin : begin + COMPARED] = np.partition(distances, count, axis=1)[:, : count + 1].sum(axis=1) / count
    return means


SELECTORS: dict[str, Selector] = {
    "herding": herding,
    "kmeans": kmeans,
    "typiclust": typiclust,
    "k-center": k_center,
    "anomalous": herding,
    "random": at_random,
}
"""Selectors by the names of `--method`; 'anomalous' is herding in which pictures are weighted by their anomaly score."""

SPACES: dict[str, Callable[..., np.ndarray]] = {
    "herding": whitened,
    "anomalous": whitened,
    "typiclust": unit_length,
    "k-center": unit_length,
}
"""The scaling of the embeddings before a method sees them; the others, and your own, get them as they are."""


def find_selector(name: str, pick: str = "nearest") -> Selector:
    """Return a selector by its name in `SELECTORS`, or your own as 'module:name'; `OptionError` when there is none."""
    if name == "kmeans":
        return partial(kmeans, pick=pick)
    found: Selector = find("selection method", name, SELECTORS)
    form = "(embeddings, n, rng, *, start, weights) -> rows"
    check_call("selection method", name, found, form, None, 1, None, start=(), weights=None)
    return found
