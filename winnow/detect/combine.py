"""The default scorer: several scorers joined by their conformal p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from winnow.detect.scorer import Scorer, folds_of
from winnow.detect.threshold import group_weights
from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.options import DetectOptions

FOLDS = 10
TAIL = 0.1


class Surprise:
    """-log of a score's conformal p-value among held-out normal scores, which goes on growing beyond the largest.

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
        self.excess = float((self.weights * np.maximum(self.calibration - self.start, 0.0)).sum())
        # Equal scores at the top have no excess; a share of the whole spread keeps the tail finite.
        self.least = 1e-3 * float(self.calibration.std()) + 1e-9 * (1.0 + abs(self.start))

    def of_new(self, scores: np.ndarray) -> np.ndarray:
        """Surprise (m,) of scores that are not among the calibration scores."""
        one = self.above[0] / len(self.calibration)
        return self._surprise(scores, one, self.above[0] + one, np.full(len(scores), self.excess / self.mass))

    def of_own(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Surprise (n,) of the calibration scores themselves, each among the others (leave one out)."""
        others = np.maximum(self.mass - weights, self.least)
        excess = np.maximum(self.excess - weights * np.maximum(scores - self.start, 0.0), 0.0)
        return self._surprise(scores, 0.0, self.above[0], excess / others)

    def _surprise(self, scores: np.ndarray, one: float, whole: float, mean_excess: np.ndarray) -> np.ndarray:
        at_start = -np.log(self.mass / self.above[0])
        places = np.minimum(np.searchsorted(self.calibration, scores, side="left"), len(self.calibration) - 1)
        inside = -np.log((self.above[places] + one) / whole)
        beyond = at_start + (scores - self.start) / np.maximum(mean_excess, self.least)
        return np.where(scores > self.start, beyond, np.minimum(inside, at_start))


def components_for(embeddings: Embeddings) -> tuple[str, ...]:
    """The default components: every view that differs. With a decoder its error seen in two or three ways; always the
    neighbours of the embeddings and of their directions, or, without a decoder, the Gaussian of the directions.

    None is best everywhere (docs/log.md): unexplained variance knows simple pictures, complexity and expected error
    textures and contours, neighbours what the code tells apart though it is rebuilt well; their sum bears the weak ones.
    """
    has = embeddings.losses.keys()
    if {"reconstruction", "variance"} <= has:
        expected = ("expected",) if "background" in has else ()
        return ("unexplained", "complexity", *expected, "cosine", "neighbours")
    return ("reconstruction", "neighbours") if "reconstruction" in has else ("neighbours", "directions")


class Combined(Scorer):
    """Sum of -log conformal p-values of several scorers: Fisher's method, calibrated again because they depend.

    `components` are names in `SCORERS`; by default those that `components_for` finds in the embeddings.
    """

    name = "combined"
    options = ("neighbours",)
    minimum = 4
    reads_codes = True

    def __init__(self, components: Sequence[str] = (), neighbours: int = 5) -> None:
        self.components, self.neighbours = tuple(components), neighbours
        if {"combined", "places"} & set(self.components):
            raise OptionError("A combination cannot be a component of another.", "Name other scorers.")
        self.fitted: dict[str, tuple[Scorer, Surprise]] = {}

    def _fit(self, normal: Embeddings) -> None:
        self._learn(normal, folds_of(normal, FOLDS))

    def fit_held_out(self, normal: Embeddings | Any, fold: np.ndarray) -> np.ndarray:
        """As in `Scorer`; components are refitted fold by fold once, and their p-values leave each picture out."""
        normal = self._enough(normal)
        scores = self._learn(normal, fold)
        self.dimensions = normal.vectors.shape[1]
        return scores

    def _learn(self, normal: Embeddings, fold: np.ndarray) -> np.ndarray:
        from winnow.detect.scorers import make_scorer

        names = self.components or components_for(normal)
        total, fitted = np.zeros(len(normal)), {}
        for name in names:
            scorer = make_scorer(name, DetectOptions(neighbours=self.neighbours))
            held = scorer.fit_held_out(normal, fold)
            rows = np.flatnonzero(~np.isnan(held))
            weights = group_weights(normal.groups[rows])
            surprise = Surprise(held[rows], weights)
            total[rows] += surprise.of_own(held[rows], weights)
            total[np.isnan(held)] = np.nan
            fitted[name] = (scorer, surprise)
        self.fitted = fitted
        return total

    def reads(self) -> set[str]:
        """The measures that its fitted components read."""
        return {name for scorer, _ in self.fitted.values() for name in scorer.reads()}

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return np.sum([surprise.of_new(scorer.score(embeddings)) for scorer, surprise in self.fitted.values()], axis=0)

    def state(self) -> dict[str, np.ndarray]:
        """The components' states and calibration scores, each name behind its component's: 'neighbours/bank'."""
        state = super().state()
        for name, (scorer, surprise) in self.fitted.items():
            parts = {**scorer.state(), "calibration": surprise.calibration, "weights": surprise.weights}
            state.update({f"{name}/{part}": array for part, array in parts.items()})
        return state

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Self:
        from winnow.detect.scorers import SCORERS

        combined = cls(neighbours=state["neighbours"].item())
        combined.dimensions = state["dimensions"].item()
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, array in state.items():
            if "/" in key:
                parts.setdefault(key.split("/")[0], {})[key.split("/")[1]] = array
        for name, part in parts.items():
            surprise = Surprise(part.pop("calibration"), part.pop("weights"))
            combined.fitted[name] = (SCORERS[name].from_state(part), surprise)
        combined.components = tuple(combined.fitted)
        return combined


class Places(Combined):
    """For textures: the network's error and that of the linear autoencoder of small windows, each where it is highest."""

    name = "places"

    def __init__(self, components: Sequence[str] = ("top_local_error", "texture"), neighbours: int = 5) -> None:
        super().__init__(components, neighbours)
