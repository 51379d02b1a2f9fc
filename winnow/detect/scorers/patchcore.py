"""How unusual the most unusual places of a picture are, each compared with what was seen anywhere in the normals."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.detect.scorer import like
from winnow.detect.scorers.places import TINY, Places, parts, widened
from winnow.embeddings import spread
from winnow.errors import OptionError

CELLS = 50_000  # places that the memory is chosen from, evenly spread
PARTS = 10  # that it is chosen from one by one: ten times faster, and measured as good (docs/log.md)


class Patchcore(Places):
    """The distance of each place to the nearest in a memory of places of all normals (Roth et al. 2022, PatchCore, arXiv 2106.08265).

    It knows nothing of where a place is, so that a product may lie anywhere, at any angle that was seen. The memory holds `memory`
    places, each the farthest from those before (k-center, section 3.2 there), chosen from ten parts of the normals one by
    one. Distances are taken after whitening, with the covariance of all places shrunk by `shrinkage` towards a multiple of
    one; the score is the mean of the highest `top` share of them.
    """

    name = "patchcore"
    places: int = 0

    def __init__(self, top: float = 0.005, shrinkage: float = 0.1, memory: int = 2000) -> None:
        super().__init__(top, shrinkage)
        if not isinstance(memory, int) or isinstance(memory, bool) or not PARTS <= memory <= CELLS:
            raise OptionError(
                f"The scorer 'patchcore' takes a memory of {PARTS} to {CELLS} places, not {memory}.",
                "Give a whole number.",
            )
        self.memory = memory

    def _learn(self, cells: np.ndarray, rows: np.ndarray) -> None:
        d, self.places = cells.shape[3], int(cells.shape[1] * cells.shape[2])
        each = spread(self.places, -(-CELLS // len(rows)))
        known = np.concatenate([widened(cells, part).reshape(len(part), -1, d)[:, each] for part in parts(rows)])
        known = known.reshape(-1, d)
        centre, covariance = known.mean(axis=0), np.cov(known.T)
        variance = float(np.trace(covariance)) / d
        covariance = (1 - self.shrinkage) * covariance + (self.shrinkage * variance + TINY) * np.eye(d)
        self.whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
        self.centre = centre.astype(np.float32)
        dealt = [known[number::PARTS].astype(np.float32) for number in range(min(PARTS, len(known)))]
        chosen = np.concatenate([part[farthest(part, self.memory // PARTS)] for part in dealt])
        self.bank = ((chosen - centre) @ self.whitening).astype(np.float32)

    @property
    def grid(self) -> tuple[int, int]:
        """Return the number of places of a picture, and of numbers of a place."""
        return self.places, len(self.centre)

    def distances(self, cells: Any) -> Any:
        """Return the distance of each place (n, rows * columns) to the nearest of the memory, in the library of the cells."""
        from array_api_compat import array_namespace

        xp = array_namespace(cells)
        apart = xp.reshape(cells, (-1, len(self.centre))) - like(cells, self.centre)
        white, bank = xp.matmul(apart, like(cells, self.whitening)), like(cells, self.bank)
        # Products find the nearest, but lose the digits of a small distance.
        halves = xp.sum(bank * bank, axis=1) / 2
        nearest = xp.argmax(xp.matmul(white, xp.permute_dims(bank, (1, 0))) - halves, axis=1)
        apart = white - xp.take(bank, nearest, axis=0)
        return xp.reshape(xp.sqrt(xp.sum(apart * apart, axis=1)), (-1, self.places))


def farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` rows of points (n, d): first the farthest from the mean, then each the farthest from those before.

    Gonzalez 1985, Clustering to minimize the maximum intercluster distance.
    """
    squares = (points * points).sum(axis=1)
    following = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax())
    nearest, chosen = np.full(len(points), np.inf, points.dtype), []
    for _ in range(min(count, len(points))):
        chosen.append(following)
        nearest = np.minimum(nearest, squares + squares[following] - 2 * (points @ points[following]))
        following = int(nearest.argmax())
    return np.array(chosen)
