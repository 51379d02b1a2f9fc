"""The base of combinations of scorers: components fitted fold by fold, their scores made comparable and joined."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from winnow.detect.scorer import Scorer, as_scorer, folds_of
from winnow.embeddings import Embeddings
from winnow.errors import OptionError

FOLDS = 10


class Combination(Scorer):
    """Several scorers as one. A subclass defines `_defaults`, `_calibrate` and `join`.

    `components` are unfitted scorers, or objects with `fit` and `score`; `fitted` the same after `fit`.
    """

    minimum = 4
    reads_vectors = True

    def __init__(self, components: Sequence[Any] = ()) -> None:
        self.components = tuple(as_scorer(part) for part in components)
        self.fitted: tuple[Scorer, ...] = ()
        if any(isinstance(part, Combination) for part in self.components):
            raise OptionError("A combination cannot be a component of another.", "Name other scorers.")

    @abstractmethod
    def _calibrate(self, held: np.ndarray, groups: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Learn how to make the components comparable from their held-out scores (n, components).

        `groups` and `fold` (n,) are those of the pictures. Returns the score (n,) that `join` would compute of each picture, had
        it been learnt from the others.
        """

    @abstractmethod
    def join(self, scores: Sequence[Any]) -> Any:
        """Return one score (n,) of the scores (n,) of each component."""

    @abstractmethod
    def _defaults(self, embeddings: Embeddings) -> tuple[Scorer, ...]:
        """Return the components where none were named."""

    def _fit(self, normal: Embeddings) -> None:
        self._learn(normal, folds_of(normal, FOLDS))

    def fit_held_out(self, normal: Embeddings | Any, fold: np.ndarray) -> np.ndarray:
        """Fit as `Scorer.fit_held_out` does, but fit the components again fold by fold only once."""
        normal = self._enough(normal)
        scores = self._learn(normal, fold)
        self.dimensions = normal.vectors.shape[1]
        return scores

    def _learn(self, normal: Embeddings, fold: np.ndarray) -> np.ndarray:
        fitted = tuple(copy.copy(part) for part in self.components or self._defaults(normal))
        held = np.stack([part.fit_held_out(normal, fold) for part in fitted], axis=1)
        rows = np.flatnonzero(~np.isnan(held).any(axis=1))
        total = np.full(len(normal), np.nan)
        total[rows] = self._calibrate(held[rows], normal.groups[rows], fold[rows])
        self.fitted = fitted
        return total

    def reads(self) -> set[str]:
        """Return the losses that its components read."""
        return {name for part in self.fitted or self.components for name in part.reads()}

    def _score(self, embeddings: Embeddings) -> Any:
        return self.join([part.score(embeddings) for part in self.fitted])

    def spec(self) -> str:
        parts = ", ".join(part.spec() for part in self.fitted or self.components)
        return f"{self.name}({parts})" if parts else self.name

    def learned(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("components", "fitted")}

    def state(self) -> dict[str, np.ndarray]:
        """Return what was learnt, with the components' arrays under their numbers: '0/bank'."""
        parts = {
            f"{number}/{name}": array for number, part in enumerate(self.fitted) for name, array in part.state().items()
        }
        return super().state() | parts

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        parts: list[dict[str, np.ndarray]] = [{} for _ in self.components]
        own: dict[str, np.ndarray] = {}
        for name, array in state.items():
            number, slash, rest = name.partition("/")
            if slash:
                parts[int(number)][rest] = array
            else:
                own[name] = array
        self.fitted = tuple(copy.copy(part).restore(each) for part, each in zip(self.components, parts, strict=True))
        return super().restore(own)
