"""What every scorer owes: fit on normals alone, then score anything, higher = does not belong.

Losses of pictures the network was trained on (`Embeddings.seen`) are too small to learn from, so what is learnt from
losses is learnt from the others, unless there are none.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.pool.patches import picture_of

ROWS = 20_000
"""Most normals a scorer learns from, and most it is calibrated on; of more, so many are drawn with a fixed seed."""
PATCHES = 200_000
"""Most patches it is calibrated on, those of whole pictures; a picture is judged by its most anomalous patch."""
FLOOR = 1e-8
"""Least loss or energy told from zero before a logarithm; pixel values are in [0, 1]."""

REMEDIES = {
    "reconstruction": "Use an autoencoder, or a scorer of embeddings: 'neighbours' or 'gaussian'.",
    "top_error": "Use an autoencoder, or a scorer of embeddings: 'neighbours' or 'gaussian'.",
    "top_local_error": "Encode the pictures again with this version of Winnow, by an autoencoder.",
    "texture": "Train and encode pictures cut into patches (--patches), or use the scorer 'peak'.",
    "latent": "Use a variational autoencoder (variational = true), or the scorer 'reconstruction'.",
    "variance": "Encode the pictures again with this version of Winnow.",
    "gradient": "Encode the pictures again with this version of Winnow.",
    "background": "Train and encode with a background model, or use the scorer 'complexity'.",
}


class Scorer(ABC):
    """Fits on normals, scores anything. A subclass writes `_fit` and `_score` and names what it needs and learns.

    `name`: what messages call it. `needs`: the measures it reads; `takes`: those it reads too where they are there, always
    or never for one fitted scorer; `reads_codes`: whether it reads embeddings. `options`:
    constructor arguments that are numbers or words. `learned`: attributes (arrays and numbers) that `_fit` sets; they
    and the options are all of its state. `minimum`: fewest normals.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[tuple[str, ...]] = ()
    minimum: ClassVar[int] = 2
    reads_codes: ClassVar[bool] = False
    dimensions: int = 0

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name", cls.__name__)

    @abstractmethod
    def _fit(self, normal: Embeddings) -> None:
        """Learns from checked normals."""

    @abstractmethod
    def _score(self, embeddings: Embeddings) -> np.ndarray:
        """Scores (n,) of checked embeddings."""

    def fit(self, normal: Embeddings | Any) -> Self:
        """Learns what is normal from `Embeddings` or (n, d) embeddings.

        Raises `DataError` when they are too few, not finite, or lack a measure.
        """
        normal = self._enough(normal)
        self._fit(normal[sample(np.arange(len(normal)))] if len(normal) > ROWS else normal)
        self.dimensions = normal.vectors.shape[1]
        return self

    def score(self, embeddings: Embeddings | Any) -> np.ndarray:
        """Scores (n,) float64 of `Embeddings` or (n, d) embeddings, higher = more anomalous; `DataError` before or as `fit`."""
        if not self.dimensions:
            raise DataError(f"The scorer '{self.name}' has not been fitted.", "Call fit(normal) first.")
        embeddings = self._checked(embeddings)
        if embeddings.vectors.shape[1] != self.dimensions:
            raise DataError(
                f"These embeddings have {embeddings.vectors.shape[1]} dimensions; "
                f"the scorer '{self.name}' was fitted on {self.dimensions}.",
                "Encode these pictures with the model the scorer was fitted with.",
            )
        return np.asarray(self._score(embeddings), dtype=np.float64) if len(embeddings) else np.empty(0)

    def reads(self) -> set[str]:
        """The measures that a fitted scorer reads."""
        return {*self.needs, *self.takes}

    def fit_held_out(self, normal: Embeddings, fold: np.ndarray) -> np.ndarray:
        """Fits on all normals and returns what each would have scored held out: (n,), NaN where it was not.

        `fold` (n,) numbers the part each row is left out with (see `folds_of`); rows of fold -1 stay in every fit. Of
        more than `ROWS` pictures, or `PATCHES` patches, to hold out, a share drawn with a fixed seed is scored.
        """
        scores = np.full(len(normal), np.nan)
        pictures = picture_of(normal.ids)
        most = ROWS if len(pictures) == 0 or pictures[0] == normal.ids[0] else PATCHES
        share = min(1.0, most / max(1, int((fold >= 0).sum())))
        for number in np.unique(fold[fold >= 0]):
            out = np.flatnonzero(fold == number)
            chosen = out if share == 1 else out[_drawn(pictures[out], share)]
            kept = sample(np.flatnonzero(fold != number))
            scores[chosen] = copy.copy(self).fit(normal[kept]).score(normal[chosen])
        self.fit(normal)
        return scores

    def state(self) -> dict[str, np.ndarray]:
        """All that is needed to score again, as plain arrays by name."""
        if not self.dimensions:
            raise DataError(
                f"The scorer '{self.name}' has not been fitted, so it has nothing to save.", "Call fit(normal) first."
            )
        return {name: np.asarray(getattr(self, name)) for name in (*self.options, *self.learned, "dimensions")}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Self:
        """The fitted scorer whose `state()` this is."""
        values = {name: array.item() if array.ndim == 0 else array for name, array in state.items()}
        scorer = cls(**{name: values[name] for name in cls.options})
        for name in (*cls.learned, "dimensions"):
            setattr(scorer, name, values[name])
        return scorer

    def _checked(self, embeddings: Embeddings | Any) -> Embeddings:
        embeddings = embeddings if isinstance(embeddings, Embeddings) else Embeddings.of(embeddings)
        columns = {name: self._measure(embeddings, name) for name in self.needs}
        if self.reads_codes:
            columns["vectors"] = embeddings.vectors
        if embeddings.vectors.shape[1] == 0:
            raise DataError(
                "The embeddings have no dimensions.", "Encode the pictures with a model that gives embeddings."
            )
        for name, values in columns.items():
            bad = sum(int((~np.isfinite(values[start : start + ROWS])).sum()) for start in range(0, len(values), ROWS))
            if bad:
                raise DataError(
                    f"'{name}' holds {bad} values that are not finite.",
                    "Look for a model that diverged in training, or pictures that give NaN; leave those out.",
                )
        return embeddings

    def _enough(self, normal: Embeddings | Any) -> Embeddings:
        normal = self._checked(normal)
        if len(normal) < self.minimum:
            raise DataError(
                f"The scorer '{self.name}' needs at least {self.minimum} normal pictures, not {len(normal)}.",
                "Give more pictures of what belongs.",
            )
        return normal

    def _measure(self, embeddings: Embeddings, name: str) -> np.ndarray:
        if name not in embeddings.losses:
            has = ", ".join(sorted(embeddings.losses)) or "embeddings only"
            raise DataError(
                f"The scorer '{self.name}' needs '{name}', which these embeddings do not have (they have {has}).",
                REMEDIES.get(name, "Choose another scorer or model."),
            )
        return embeddings.losses[name]


def held_out(embeddings: Embeddings) -> Embeddings:
    """The rows the network has not seen; all rows when it has seen every one."""
    return embeddings if embeddings.seen.all() or not embeddings.seen.any() else embeddings[~embeddings.seen]


def folds_of(normal: Embeddings, count: int, seed: int = 0) -> np.ndarray:
    """Fold numbers (n,) by whole groups for the rows not seen in training (all, if all were); -1 for the others."""
    from winnow.pool.splits import folds

    rows = np.flatnonzero(~normal.seen) if not normal.seen.all() else np.arange(len(normal))
    fold = np.full(len(normal), -1)
    fold[rows] = folds(normal.groups[rows], min(count, rows.size), seed)
    return fold


def sample(rows: np.ndarray, count: int = ROWS) -> np.ndarray:
    """At most `count` of the row numbers, drawn with a fixed seed, in order."""
    return rows if rows.size <= count else np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _drawn(pictures: np.ndarray, share: float) -> np.ndarray:
    """Places of the patches of a share of the pictures (n,), drawn with a fixed seed."""
    names, member = np.unique(pictures.astype(str), return_inverse=True)
    return np.flatnonzero(np.isin(member, sample(np.arange(len(names)), max(1, round(share * len(names))))))


def log(values: np.ndarray) -> np.ndarray:
    """The logarithm of losses or energies, `FLOOR` for those below it."""
    return np.log(np.maximum(np.asarray(values, dtype=np.float64), FLOOR))
