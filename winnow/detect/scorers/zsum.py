"""The sum of standardised scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from winnow.detect.combine import Combination
from winnow.detect.scorer import Scorer, like
from winnow.detect.scorers.error import Error
from winnow.detect.scorers.latent import Latent
from winnow.embeddings import Embeddings


class ZSum(Combination):
    """Sum of the components' scores, each less its mean and divided by its standard deviation over held-out normals.

    The default `components` are error and latent loss; only a variational autoencoder has both.
    """

    name = "zsum"

    def _defaults(self, embeddings: Embeddings) -> tuple[Scorer, ...]:
        return (Error(), Latent())

    def _calibrate(self, held: np.ndarray, groups: np.ndarray, fold: np.ndarray) -> np.ndarray:
        self.centre, self.spread = _moments(held)
        total = np.empty(len(held))
        for number in np.unique(fold):
            out = fold == number
            centre, spread = _moments(held[~out] if not out.all() else held)
            total[out] = ((held[out] - centre) / spread).sum(axis=1)
        return total

    def join(self, scores: Sequence[Any]) -> Any:
        centre, spread = like(scores[0], self.centre), like(scores[0], self.spread)
        return sum((values - centre[row]) / spread[row] for row, values in enumerate(scores))


def _moments(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (components,); a component that does not vary is divided by 1."""
    spread = held.std(axis=0)
    return held.mean(axis=0), np.where(spread > 0, spread, 1.0)
