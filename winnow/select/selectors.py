"""The selectors: which pictures a person should label, in which order.

All go by the Euclidean distances of the embeddings they are given; `SPACES` says in which form a method wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from winnow.embeddings import Embeddings, finite, unit_length
from winnow.errors import OptionError
from winnow.plugins import find
from winnow.select.geometry import farthest, k_means, nearest, squared_distances, whitened
from winnow.select.herding import herding

TINY = 5  # pictures of a cluster that is left for last: TypiClust's own number
NEIGHBOURS = 20  # within the cluster, whose mean distance says how typical a picture is
MOST_CLUSTERS = 500  # of 'typical'
COMPARED = 4000  # pictures of a cluster that its pictures are compared with


class Selector(Protocol):
    """Rows of the pictures to label: in labelling order, exactly n, no repeats, none of `start` (those labelled already).

    `weights` (m,) say how much each picture counts, where the method can use it. The same `rng` gives the same rows.
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
    """n rows drawn at random: the only choice from which one can tell without bias how often what occurs."""
    return rng.choice(np.setdiff1d(np.arange(len(embeddings)), np.asarray(start, int)), n, replace=False)


def k_center(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Each row the farthest from those before it (Sener & Savarese 2018, arXiv 1708.00489, algorithm 1): it finds outliers."""
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
    """K-means into as many clusters as there will be labels, and a picture of each: the selection of Singh et al.

    `pick`: the picture "nearest" to the centre, or a "random" one. Clusters that hold a row of `start` are passed over; the
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


def typical(
    embeddings: Embeddings,
    n: int,
    rng: np.random.Generator,
    *,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """TypiClust (Hacohen et al. 2022, arXiv 2202.02794, algorithm 1): clusters, and the most typical picture of each.

    For embeddings of length 1. At most 500 clusters; those with the fewest labels come first, then the largest, those of five pictures
    or fewer last. Typical: the smallest mean squared distance to the 20 nearest in the cluster, as in the authors' program.
    """
    features, start = finite(embeddings.vectors), np.asarray(start, int)
    k = max(1, min(n + len(start), MOST_CLUSTERS, len(features)))
    cluster = nearest(features, k_means(features, k, rng))[0]
    size, labelled = np.bincount(cluster, minlength=k), np.bincount(cluster[start], minlength=k)
    free = np.ones(len(features), bool)
    free[start] = False
    turns: list[tuple[bool, int, int, int, int]] = []  # tiny, how often its cluster had its turn, size, cluster, row
    for number in np.flatnonzero(size):
        members = np.flatnonzero(cluster == number)
        order = members[np.argsort(_crowdedness(features[members], rng), kind="stable")]
        turns += [
            (bool(size[number] <= TINY), int(labelled[number]) + turn, -int(size[number]), int(number), int(row))
            for turn, row in enumerate(order[free[order]][:n])
        ]
    return np.array([row for *_, row in sorted(turns)[:n]], int)


def _crowdedness(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean squared distance (n,) of each point to its nearest neighbours among the others: small in a crowd."""
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
    "typiclust": typical,
    "k-center": k_center,
    "anomalous": herding,
    "random": at_random,
}
"""By the names of `--method`; 'anomalous' is herding in which a picture counts by how anomalous its one-class score calls it."""

SPACES: dict[str, Callable[..., np.ndarray]] = {
    "herding": whitened,
    "anomalous": whitened,
    "typiclust": unit_length,
    "k-center": unit_length,
}
"""What is done to the embeddings before a method sees them; the others, and your own, get them as they are."""


def find_selector(name: str, pick: str = "nearest") -> Selector:
    """Return a selector by its name in `SELECTORS`, or one's own as 'module:name'; `OptionError` when there is none."""
    if name == "kmeans":
        return partial(kmeans, pick=pick)
    found: Selector = find("method", name, SELECTORS)
    if not callable(found):
        raise OptionError(
            f"The method '{name}' cannot be called.", "Give a function (embeddings, n, rng, *, start, weights) -> rows."
        )
    return found
