"""The reconstruction error beyond what the picture's variance predicts of a normal picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.detect.scorer import Scorer, held_out, like, log, yes_or_no
from winnow.detect.scorers.error import log_error
from winnow.embeddings import Embeddings

LEAST = 1e-6
"""Least range of a log predictor that a slope is fitted to; below it, values differ by rounding alone."""


class VarianceCorrected(Scorer):
    """Residual of the log error in a linear regression on the log pixel variance, fitted on held-out normals.

    With `background` the log error of the background model is a second predictor. The input-complexity correction of Serra et
    al. (arXiv 1909.11480), with variance for the compressed size and a fitted slope.
    """

    name = "variance_corrected"
    takes = ("linear",)

    def __init__(self, background: bool = False) -> None:
        self.background = yes_or_no(self.name, "background", background)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reconstruction", *self._predictors())

    def _predictors(self) -> tuple[str, ...]:
        return ("background", "variance") if self.background else ("variance",)

    def _fit(self, normal: Embeddings) -> None:
        normal = held_out(normal)
        target = log_error(normal)
        predictors = np.stack([log(normal.losses[name]) for name in self._predictors()], axis=1)
        means = predictors.mean(axis=0)
        # A predictor that hardly varies explains nothing: the cut-offs keep its slope from being rounding noise.
        slopes = np.linalg.lstsq(predictors - means, target - target.mean(), rcond=1e-6)[0]
        self.slopes = slopes * (np.ptp(predictors - means) > LEAST)
        self.intercept = float(target.mean() - means @ self.slopes)

    def _score(self, embeddings: Embeddings) -> Any:
        target = log_error(embeddings)
        slopes = like(target, self.slopes)
        for row, name in enumerate(self._predictors()):
            target = target - log(embeddings.losses[name]) * slopes[row]
        return target - self.intercept
