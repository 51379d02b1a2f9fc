"""The base of scorers that compare the embeddings of places: an anomaly map, and the mean of its highest values."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from winnow.detect.scorer import Scorer
from winnow.embeddings import Embeddings, spread
from winnow.errors import DataError, OptionError

MOST = 2000  # pictures that one learns from, evenly spread
TINY = 1e-9  # least variance of a direction
LEARNT, TRIED = 50, 30  # pictures by which the differences of good pictures are learnt, and shown
CHUNK = 32  # pictures whose places are widened at once


class Places(Scorer):
    """A scorer of `Embeddings.cells` (n, rows, columns, d): a distance of each place; a subclass defines `_learn`, `grid` and `distances`.

    The score of a picture is the mean of the highest `top` share of its distances: a defect is small.
    """

    reads_cells: ClassVar[bool] = True
    minimum: ClassVar[int] = 1
    calibrates_from: ClassVar[int] = 1
    block: ClassVar[int] = 64  # pictures of 24x24 places of 96 numbers are 14 MB

    def __init__(self, top: float = 0.005, shrinkage: float = 0.1) -> None:
        for option, value in (("top", top), ("shrinkage", shrinkage)):
            if not 0 < value <= 1:
                raise OptionError(
                    f"The scorer '{self.name}' takes {option} above 0 and up to 1, not {value}.", "Give a share."
                )
        self.top, self.shrinkage = float(top), float(shrinkage)

    @abstractmethod
    def _learn(self, cells: np.ndarray, rows: np.ndarray) -> None:
        """Learn from some rows of cells (n, rows, columns, d) of normal pictures."""

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """Return the number of places of a picture, and of numbers of a place."""

    @abstractmethod
    def distances(self, cells: Any) -> Any:
        """Return the distance of each place (n, rows * columns), in the library of the cells."""

    def _fit(self, normal: Embeddings) -> None:
        cells = normal.cells
        assert cells is not None  # checked by fit
        self._learn(cells, spread(len(normal), MOST))

    def fit_alone(self, normal: Embeddings) -> np.ndarray:
        """Fit on a single picture and return the highest score of its mirrored copies (1,), each place another than the one learnt."""
        cells: Any = self.fit(normal)._checked(normal).cells
        mirrored = np.concatenate([cells[:, ::-1], cells[:, :, ::-1], cells[:, ::-1, ::-1]])
        vectors = np.repeat(normal.vectors, len(mirrored), axis=0)
        return np.asarray(self.score(Embeddings.of(vectors, cells=mirrored)).max(keepdims=True))

    def _score(self, embeddings: Embeddings) -> Any:
        from array_api_compat import array_namespace

        distances = self.distances(self._alike(embeddings.cells))
        xp = array_namespace(distances)
        return xp.mean(xp.sort(distances, axis=1)[:, -self.count :], axis=1)

    @property
    def count(self) -> int:
        """Return how many of the highest distances the score is the mean of."""
        return max(1, int(self.top * self.grid[0]))

    def anomaly_map(self, embeddings: Embeddings) -> Any:
        """Return the distance of each place (n, rows, columns)."""
        from array_api_compat import array_namespace

        cells: Any = self._alike(self._checked(embeddings).cells)
        xp = array_namespace(cells)
        return xp.reshape(self.distances(cells), tuple(cells.shape[:3]))

    def _alike(self, cells: Any) -> Any:
        """Return the cells; `DataError` where they are not of the grid it was fitted on."""
        places, numbers = self.grid
        if tuple(cells.shape[1:]) != (cells.shape[1], places // cells.shape[1], numbers):
            raise DataError(
                f"These pictures have {cells.shape[1]}x{cells.shape[2]} places of {cells.shape[3]} numbers; the scorer "
                f"'{self.name}' was fitted on {places} of {numbers}.",
                "Encode these pictures with the model the scorer was fitted with.",
            )
        return cells


def differences(scorer: Scorer, normal: Embeddings) -> np.ndarray:
    """Return the mean anomaly map (rows, columns) of good pictures by a scorer of places that has not seen them, fitted on others.

    Every second picture is learnt from, at most fifty; of the others at most thirty are looked at.
    """
    rows = spread(len(normal), 2 * LEARNT)
    known: Any = copy.copy(scorer).fit(normal[rows[::2]])
    return np.asarray(known.anomaly_map(normal[rows[1::2][:TRIED]])).mean(axis=0)


def widened(cells: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows of stored cells as float64."""
    return np.asarray(cells[rows], np.float64)


def parts(rows: np.ndarray) -> list[np.ndarray]:
    """Return the rows in parts that may be widened at once."""
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
