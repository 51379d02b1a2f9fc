"""How unusual the most unusual places of a picture are, each compared with the same place of the normals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from winnow.detect.scorer import Scorer, like
from winnow.embeddings import Embeddings, spread
from winnow.errors import DataError, OptionError

SHIFT = 1  # places that a single picture is moved by
MOST = 2000  # pictures that it learns from, evenly spread
CHUNK = 32  # pictures whose places are widened at once
TINY = 1e-9  # least variance of a direction


class Padim(Scorer):
    """A Gaussian for each place of a grid (Defard et al. 2020, PaDiM, arXiv 2011.08785); the score is the mean of the highest distances.

    The covariance of a place is averaged over those of the `around` places on each side of it (5x5), so that a few pictures
    give enough samples, and shrunk by `shrinkage` towards a multiple of one. The anomaly map is each place's
    Mahalanobis distance, the score the mean of the highest `top` share of it: a defect is small. A new picture differs from the
    mean of n by 1 + 1/n times the covariance. A single picture has no covariance: that of copies of it moved by a place stands in.
    """

    name = "padim"
    reads_cells = True
    minimum = 1
    calibrates_from = 1
    block = 64  # pictures of 24x24 places of 96 numbers are 14 MB

    def __init__(self, top: float = 0.005, shrinkage: float = 0.1, around: int = 2) -> None:
        for option, value in (("top", top), ("shrinkage", shrinkage)):
            if not 0 < value <= 1:
                raise OptionError(
                    f"The scorer 'padim' takes {option} above 0 and up to 1, not {value}.", "Give a share."
                )
        if around < 0:
            raise OptionError(f"The scorer 'padim' takes around from 0 on, not {around}.", "0 pools no places.")
        self.top, self.shrinkage, self.around = float(top), float(shrinkage), int(around)

    def _fit(self, normal: Embeddings) -> None:
        rows, cells = spread(len(normal), MOST), normal.cells
        assert cells is not None  # checked by fit
        _, height, width, d = cells.shape
        mean = sum(_widened(cells, part).sum(axis=0) for part in _parts(rows)) / len(rows)
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

    def fit_alone(self, normal: Embeddings) -> np.ndarray:
        """Fit on a single picture and return the highest score of its mirrored copies (1,), each place another than the one learnt."""
        cells: Any = self.fit(normal)._checked(normal).cells
        mirrored = np.concatenate([cells[:, ::-1], cells[:, :, ::-1], cells[:, ::-1, ::-1]])
        vectors = np.repeat(normal.vectors, len(mirrored), axis=0)
        return np.asarray(self.score(Embeddings.of(vectors, cells=mirrored)).max(keepdims=True))

    def _score(self, embeddings: Embeddings) -> Any:
        from array_api_compat import array_namespace

        distances = self.distances(embeddings.cells)
        xp = array_namespace(distances)
        return xp.mean(xp.sort(distances, axis=1)[:, -self.count :], axis=1)

    @property
    def count(self) -> int:
        """Return how many of the highest distances the score is the mean of."""
        return max(1, int(self.top * len(self.mean)))

    def anomaly_map(self, embeddings: Embeddings) -> Any:
        """Return the distance of each place (n, rows, columns)."""
        from array_api_compat import array_namespace

        cells: Any = self._checked(embeddings).cells
        xp = array_namespace(cells)
        return xp.reshape(self.distances(cells), tuple(cells.shape[:3]))

    def distances(self, cells: Any) -> Any:
        """Return the distance of each place (n, rows * columns), in the library of the cells."""
        from array_api_compat import array_namespace

        xp = array_namespace(cells)
        places, d = self.mean.shape
        if tuple(cells.shape[1:]) != (cells.shape[1], places // cells.shape[1], d):
            raise DataError(
                f"These pictures have {cells.shape[1]}x{cells.shape[2]} places of {cells.shape[3]} numbers; the scorer "
                f"'{self.name}' was fitted on {places} of {d}.",
                "Encode these pictures with the model the scorer was fitted with.",
            )
        apart = xp.permute_dims(xp.reshape(cells, (-1, places, d)) - like(cells, self.mean), (1, 0, 2))
        white = xp.matmul(apart, like(cells, self.whitening))
        return xp.permute_dims(xp.sqrt(xp.sum(white * white, axis=2)), (1, 0))


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _deviations(cells: np.ndarray, rows: np.ndarray, mean: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the deviations of the pictures from their mean, or of moved copies of a single one from theirs, part by part."""
    if len(rows) > 1:
        yield from (_widened(cells, part) - mean for part in _parts(rows))
        return
    height, width = mean.shape[:2]
    around = np.pad(mean, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    steps = range(2 * SHIFT + 1)
    moved = np.stack([around[down : down + height, right : right + width] for down in steps for right in steps])
    yield (moved - moved.mean(axis=0)) / np.sqrt(len(moved))


def _widened(cells: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(cells[rows], np.float64)


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
