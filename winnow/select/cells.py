"""Many small clusters of many embeddings in time almost in proportion to their number: k-means in two levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from winnow.select.geometry import k_means, nearest, squared_distances

ROUNDS, SAMPLE = (
    5,
    32,
)  # of each k-means, and rows a centre that it learns from: they need not be good clusters, only small ones
LOOKED = 4  # regions whose centres a row is compared with


@dataclass(frozen=True)
class Cells:
    """The centres (k, d) of small clusters, those of one region together; `regions` (r, d) and the first centre of each, (r + 1,).

    There are about as many regions as centres in each. A row is compared with the centres of its own region and the three next to it
    alone, so that it may miss its nearest one for another nearly as near.
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

    def nearest(self, features: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest centres of features (n, d), and the squared distances to them: (n, count), (n, count).

        Where fewer were compared, -1 and infinity take the place of those that are missing.
        """
        import faiss

        if not features.shape[1]:
            return np.zeros((len(features), 1), int), np.zeros((len(features), 1), np.float32)
        found, distance = np.full((len(features), count), -1), np.full((len(features), count), np.inf, np.float32)
        region = nearest(features, self.regions)[0]
        near = squared_distances(self.regions, self.regions).argsort(axis=1, kind="stable")[:, :LOOKED]
        order = np.argsort(region, kind="stable")
        ends = np.searchsorted(region[order], np.arange(len(self.regions) + 1))
        for number, (begin, end) in enumerate(pairwise(ends)):
            own = np.concatenate([np.arange(self.first[other], self.first[other + 1]) for other in near[number]])
            rows, most = order[begin:end], min(count, len(own))
            if len(rows):
                near_by: Any = faiss.knn(features[rows], self.centres[own], most)
                distance[rows, :most], found[rows, :most] = near_by[0], own[near_by[1]]
        return found, distance
