"""Many small clusters of many embeddings in time almost in proportion to their number: k-means in two levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from winnow.embeddings import blocks
from winnow.select.geometry import k_means, nearest

ROUNDS, SAMPLE = (
    5,
    32,
)  # of each k-means, and rows a centre that it learns from: they need not be good clusters, only small ones
LOOKED = 3  # regions whose centres a row is compared with
ROWS = 16_384  # that are compared at once


@dataclass(frozen=True)
class Cells:
    """The centres (k, d) of small clusters, those of one region together; `regions` (r, d) and the first centre of each, (r + 1,).

    There are about as many regions as centres in each. A row is compared with the centres of the regions nearest to it alone, so that
    it may miss its nearest one for another nearly as near.
    """

    centres: np.ndarray
    regions: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, k: int, rng: np.random.Generator) -> Self:
        """Return about k cells of features (n, d), n at least k."""
        most = SAMPLE * k
        sample = features[np.sort(rng.choice(len(features), most, replace=False))] if len(features) > most else features
        regions = k_means(sample, max(1, round(np.sqrt(k))), rng, rounds=ROUNDS)
        region = nearest(sample, regions)[0]
        parts = [sample[region == number] for number in range(len(regions))]
        counts = [min(len(part), max(1, round(k * len(part) / len(sample)))) if len(part) else 0 for part in parts]
        centres = [k_means(part, count, rng, rounds=ROUNDS) for part, count in zip(parts, counts, strict=True) if count]
        return cls(np.concatenate(centres), regions, np.append(0, np.cumsum(counts)))

    def nearest(self, features: np.ndarray, count: int = 1, looked: int = LOOKED) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest centres of features (n, d), and the squared distances to them: (n, count), (n, count).

        A row is compared with the centres of so many regions (`looked`) nearest to it. Where fewer centres were compared, -1 and
        infinity take the place of those that are missing.
        """
        found, distance = np.full((len(features), count), -1), np.full((len(features), count), np.inf, np.float32)
        if not features.shape[1]:
            found[:, 0] = distance[:, 0] = 0
            return found, distance
        for part in blocks(len(features), ROWS):
            found[part], distance[part] = self._nearest(features[part], count, min(looked, len(self.regions)))
        return found, distance

    def _nearest(self, features: np.ndarray, count: int, looked: int) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        found = np.full((len(features), looked, count), -1)
        distance = np.full(found.shape, np.inf, np.float32)
        region = faiss.knn(features, self.regions, looked)[1]
        order = np.argsort(region, axis=None, kind="stable")
        ends = np.searchsorted(region.ravel()[order], np.arange(len(self.regions) + 1))
        for number, (begin, end) in enumerate(pairwise(ends)):
            first, last = map(int, self.first[number : number + 2])
            rows, turns = np.divmod(order[begin:end], looked)
            most = min(count, last - first)
            if len(rows) and most:
                near: Any = faiss.knn(features[rows], self.centres[first:last], most)
                distance[rows, turns, :most], found[rows, turns, :most] = near[0], first + near[1]
        every, apart = found.reshape(len(features), -1), distance.reshape(len(features), -1)
        best = np.argpartition(apart, count - 1, axis=1)[:, :count]
        every, apart = np.take_along_axis(every, best, axis=1), np.take_along_axis(apart, best, axis=1)
        best = np.argsort(apart, axis=1, kind="stable")
        return np.take_along_axis(every, best, axis=1), np.take_along_axis(apart, best, axis=1)
