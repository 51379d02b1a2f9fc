"""The reconstruction error relative to the picture's complexity: simple pictures have small errors whatever they show."""

from __future__ import annotations

from typing import Any

from winnow.detect.scorer import Scorer, log
from winnow.detect.scorers.error import log_error
from winnow.embeddings import Embeddings


class ErrorOverVariance(Scorer):
    """Log share of the picture's variance that the model leaves unexplained: log error less log pixel variance."""

    name = "error_over_variance"
    needs = ("reconstruction", "variance")
    takes = ("linear",)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> Any:
        return log_error(embeddings) - log(embeddings.losses["variance"])


class ErrorOverBackground(Scorer):
    """Log error less the log error of a background model, trained on generic or unlabelled pictures.

    An error that both models make says nothing (Ren et al., Likelihood Ratios for Out-of-Distribution Detection, 2019;
    Schirrmeister et al. 2020).
    """

    name = "error_over_background"
    needs = ("reconstruction", "background")
    takes = ("linear",)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> Any:
        return log_error(embeddings) - log(embeddings.losses["background"])
