"""How unusual the most unusual places of a picture are, each compared with the same place of the normals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from winnow.detect.scorer import like
from winnow.detect.scorers.places import TINY, Places, parts, widened
from winnow.errors import OptionError

SHIFT = 1  # places that a single picture is moved by


class Padim(Places):
    """A Gaussian for each place of a grid (Defard et al. 2020, PaDiM, arXiv 2011.08785); the score is the mean of the highest distances.

    The covariance of a place is averaged over those of the `around` places on each side of it (5x5), so that a few pictures
    give enough samples, and shrunk by `shrinkage` towards a multiple of one. The anomaly map is each place's
    Mahalanobis distance, the score the mean of the highest `top` share of it. A new picture differs from the mean of n by
    1 + 1/n times the covariance. A single picture has no covariance: that of copies of it moved by a place stands in.
    """

    name = "padim"

    def __init__(self, top: float = 0.005, shrinkage: float = 0.1, around: int = 2) -> None:
        super().__init__(top, shrinkage)
        if around < 0:
            raise OptionError(f"The scorer 'padim' takes around from 0 on, not {around}.", "0 pools no places.")
        self.around = int(around)

    def _learn(self, cells: np.ndarray, rows: np.ndarray) -> None:
        _, height, width, d = cells.shape
        mean = sum(widened(cells, part).sum(axis=0) for part in parts(rows)) / len(rows)
        covariance = np.zeros((height * width, d, d), np.float32)
        for apart in _deviations(cells, rows, mean):
            apart = apart.reshape(len(apart), height * width, d).astype(np.float32)
            covariance += apart.transpose(1, 2, 0) @ apart.transpose(1, 0, 2)
        covariance *= (1 + 1 / len(rows)) / max(1, len(rows) - 1)
        covariance = _pooled(covariance.reshape(height, width, d * d), self.around)
        covariance = covariance.reshape(height * width, d, d)
        variance = np.einsum("pii->p", covariance) / d
        covariance *= 1 - self.shrinkage
        covariance[:, range(d), range(d)] += (self.shrinkage * variance + TINY + 1e-3 * variance.mean())[:, None]
        # Distances are lengths after this product: the inverse of the Cholesky factor, the other way up.
        self.whitening = np.linalg.inv(np.linalg.cholesky(covariance)).transpose(0, 2, 1).astype(np.float32)
        self.mean = mean.reshape(height * width, d).astype(np.float32)

    @property
    def grid(self) -> tuple[int, int]:
        """Return the number of places of a picture, and of numbers of a place."""
        return len(self.mean), self.mean.shape[1]

    def distances(self, cells: Any) -> Any:
        """Return the distance of each place (n, rows * columns), in the library of the cells."""
        from array_api_compat import array_namespace

        xp = array_namespace(cells)
        apart = xp.permute_dims(xp.reshape(cells, (-1, *self.mean.shape)) - like(cells, self.mean), (1, 0, 2))
        white = xp.matmul(apart, like(cells, self.whitening))
        return xp.permute_dims(xp.sqrt(xp.sum(white * white, axis=2)), (1, 0))


def _deviations(cells: np.ndarray, rows: np.ndarray, mean: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the deviations of the pictures from their mean, or of moved copies of a single one from theirs, part by part."""
    if len(rows) > 1:
        yield from (widened(cells, part) - mean for part in parts(rows))
        return
    height, width = mean.shape[:2]
    around = np.pad(mean, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    steps = range(2 * SHIFT + 1)
    moved = np.stack([around[down : down + height, right : right + width] for down in steps for right in steps])
    yield (moved - moved.mean(axis=0)) / np.sqrt(len(moved))


def _pooled(values: np.ndarray, around: int) -> np.ndarray:
    """Return the mean over the (2 around + 1)^2 places round each of (h, w, d), fewer at the border."""
    for axis in (0, 1):
        length = values.shape[axis]
        total, count = np.zeros_like(values), np.zeros([length, 1, 1] if axis == 0 else [1, length, 1], values.dtype)
        for shift in range(-min(around, length - 1), min(around, length - 1) + 1):
            there, here = slice(max(0, shift), length + min(0, shift)), slice(max(0, -shift), length - max(0, shift))
            place, source = (here, there) if axis == 0 else ((slice(None), here), (slice(None), there))
            total[place] += values[source]
            count[place] += 1
        values = total / count
    return values
