"""The default scorer: Fisher's sum of log p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from winnow.detect.combine import Combination
from winnow.detect.scorer import Scorer
from winnow.detect.scorers.error import Error
from winnow.detect.scorers.error_ratio import ErrorOverVariance
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.mahalanobis import Mahalanobis
from winnow.detect.scorers.variance_corrected import VarianceCorrected
from winnow.detect.threshold import group_weights
from winnow.embeddings import Embeddings

TAIL = 0.1


class Fisher(Combination):
    """Sum of -log conformal p-values of several scorers: Fisher's method, calibrated again because they depend.

    The default `components` are scorers that see different things: with a decoder, its error in two or three forms; always
    the nearest neighbours of the embeddings, by both metrics, or, without a decoder, the Mahalanobis distance by the cosine
    metric. None is best everywhere (docs/log.md): the error over the variance suits simple pictures, the corrected errors
    textures and contours, the neighbours anomalies that are rebuilt well but have other embeddings.
    """

    name = "fisher"

    def _defaults(self, embeddings: Embeddings) -> tuple[Scorer, ...]:
        has = embeddings.losses.keys()
        if {"reconstruction", "variance"} <= has:
            corrected = (VarianceCorrected(), *((VarianceCorrected(background=True),) if "background" in has else ()))
            return (ErrorOverVariance(), *corrected, Knn(metric="cosine"), Knn())
        return (Error(), Knn()) if "reconstruction" in has else (Knn(), Mahalanobis(metric="cosine"))

    def _calibrate(self, held: np.ndarray, groups: np.ndarray, fold: np.ndarray) -> np.ndarray:
        weights = group_weights(groups)
        self.tails = tuple(LogP(scores, weights) for scores in held.T)
        return np.sum([tail.of_own(scores, weights) for tail, scores in zip(self.tails, held.T, strict=True)], axis=0)

    def join(self, scores: Sequence[Any]) -> Any:
        return sum(tail.of_new(values) for tail, values in zip(self.tails, scores, strict=True))

    def learned(self) -> dict[str, Any]:
        values = super().learned()
        for number, tail in enumerate(values.pop("tails", ())):
            values |= {f"calibration_{number}": tail.calibration, f"weights_{number}": tail.weights}
        return values

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        rest, count = dict(state), len(self.components)
        tails = [LogP(rest.pop(f"calibration_{number}"), rest.pop(f"weights_{number}")) for number in range(count)]
        self.tails = tuple(tails)
        return super().restore(rest)


class LogP:
    """-log of a score's conformal p-value among held-out normal scores, which keeps growing beyond the largest.

    Above u, the calibration scores' 90 % quantile, the p-value is P(above u) exp(-(score - u) / e), e the mean excess
    over u: the exponential tail (generalised Pareto of shape 0; Pickands 1975). Without it all scores beyond the
    largest calibration score would be equally anomalous. `weights` (n,) as in `threshold.p_values`.
    """

    def __init__(self, calibration: np.ndarray, weights: np.ndarray) -> None:
        order = np.argsort(calibration, kind="stable")
        self.calibration, self.weights = calibration[order], weights[order]
        self.above = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
        tail = min(int(np.searchsorted(-self.above, -TAIL * self.above[0])), max(len(order) - 10, 0), len(order) - 1)
        self.start = float(self.calibration[tail])
        self.mass = float(self.above[tail])
        self.at_start = -float(np.log(self.mass / self.above[0]))
        self.excess = float((self.weights * np.maximum(self.calibration - self.start, 0.0)).sum())
        # Equal scores at the top have no excess; a share of the whole spread keeps the tail finite.
        self.least = 1e-3 * float(self.calibration.std()) + 1e-9 * (1.0 + abs(self.start))
        self.mean_excess = max(self.excess / self.mass, self.least)
        one = self.above[0] / len(self.calibration)
        self.steps = self._steps(one, self.above[0] + one)

    def of_new(self, scores: Any) -> Any:
        """Return -log p (m,) of scores (m,) that are not among the calibration scores, in the library of their array."""
        from array_api_compat import array_namespace, device

        xp = array_namespace(scores)
        ascending, steps = (xp.asarray(array, device=device(scores)) for array in (self.calibration, self.steps))
        inside = xp.take(steps, xp.searchsorted(ascending, scores))
        return xp.where(scores > self.start, self.at_start + (scores - self.start) / self.mean_excess, inside)

    def of_own(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return -log p (n,) of the calibration scores themselves, each among the others (leave one out)."""
        others = np.maximum(self.mass - weights, self.least)
        excess = np.maximum(self.excess - weights * np.maximum(scores - self.start, 0.0), 0.0)
        inside = self._steps(0.0, self.above[0])[np.searchsorted(self.calibration, scores)]
        beyond = self.at_start + (scores - self.start) / np.maximum(excess / others, self.least)
        return np.where(scores > self.start, beyond, inside)

    def _steps(self, one: float, whole: float) -> np.ndarray:
        """Return -log p (n + 1,) between the calibration scores, by how many of them are smaller."""
        inside = np.minimum(-np.log((self.above[:-1] + one) / whole), self.at_start)
        return np.append(inside, inside[-1])
