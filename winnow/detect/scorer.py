"""The scorer interface: fit on normals alone, then score anything; higher = does not belong.

Losses of pictures the network was trained on (`Embeddings.seen`) are too small to learn from, so what is learnt from
losses is learnt from the others, unless there are none.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from winnow.embeddings import Embeddings, unit_length
from winnow.errors import DataError, OptionError, did_you_mean
from winnow.pool.patches import picture_of

ROWS = 20_000
"""Most normals a scorer learns from, and most it is calibrated on; of more, that many are drawn with a fixed seed."""
PATCHES = 200_000
"""Most patches it is calibrated on, those of whole pictures; a picture is judged by its most anomalous patch."""
BLOCK = 4096
"""Rows that are scored at once: embeddings are widened to float64, which need not fit the memory for all of them."""
METRICS = ("euclidean", "cosine")
FLOOR = 1e-8
"""Least loss or energy distinguished from zero before a logarithm; pixel values are in [0, 1]."""

REMEDIES = {
    "reconstruction": "Use an autoencoder, or a scorer of embeddings: 'knn' or 'mahalanobis'.",
    "top_error": "Use an autoencoder, or a scorer of embeddings: 'knn' or 'mahalanobis'.",
    "top_local_error": "Encode the pictures again with this version of Winnow, by an autoencoder.",
    "texture": "Train and encode pictures cut into patches (--patches), or use the scorer 'error(pool=top_windows)'.",
    "latent": "Use a variational autoencoder (variational = true), or the scorer 'error'.",
    "variance": "Encode the pictures again with this version of Winnow.",
    "gradient": "Encode the pictures again with this version of Winnow.",
    "background": "Train and encode with a background model, or use the scorer 'variance_corrected'.",
}


def name_of(kind: type) -> str:
    """Return the name of a class of one's own, 'module:Class'."""
    return f"{kind.__module__}:{kind.__qualname__}"


class Scorer(ABC):
    """A scorer: fitted on normals, it scores anything. A subclass defines `_fit` and `_score`; see `winnow/detect/scorers/`.

    Parameters of the constructor are kept under their own names, as in scikit-learn; every other attribute is what was
    learnt, and must be an array, a number or a string, because both together are what is saved. `_score` is one formula for
    the arrays of any library of the array API standard: numpy, torch, and through torch an exported ONNX file.

    `name`: its name in options and messages. `block`: pictures scored at once. `needs`: the losses it reads; `takes`: those
    that it also reads where there are any, always or never for one fitted scorer; `reads_vectors` and `reads_cells`: whether
    it reads embeddings, and those of places. `minimum`: fewest normals
    that it can be fitted on; `calibrates_from`: fewest that it can be fitted and calibrated on (of one see `fit_alone`).
    """

    name: ClassVar[str] = ""
    takes: ClassVar[tuple[str, ...]] = ()
    minimum: ClassVar[int] = 2
    calibrates_from: ClassVar[int] = 4
    block: ClassVar[int] = BLOCK
    reads_vectors: ClassVar[bool] = False
    reads_cells: ClassVar[bool] = False
    dimensions: int = 0

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name", name_of(cls))

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the losses that it cannot do without."""
        return ()

    @abstractmethod
    def _fit(self, normal: Embeddings) -> None:
        """Learn from checked normals; sets new attributes and changes no array in place."""

    @abstractmethod
    def _score(self, embeddings: Embeddings) -> Any:
        """Return scores (n,) of checked embeddings, float64, in the library of their arrays."""

    def fit(self, normal: Embeddings | Any) -> Self:
        """Learn what is normal from `Embeddings` or (n, d) embeddings.

        Raises `DataError` when they are too few, not finite, or lack a loss.
        """
        normal = self._enough(normal)
        self._fit(normal[sample(np.arange(len(normal)))] if len(normal) > ROWS else normal)
        self.dimensions = normal.vectors.shape[1]
        return self

    def score(self, embeddings: Embeddings | Any) -> Any:
        """Return scores (n,) float64 of `Embeddings` or (n, d) embeddings, higher = does not belong.

        Embeddings may hold arrays of any library of the array API standard; the scores are of the same. Raises `DataError`
        before `fit`, and for what `fit` refuses.
        """
        from array_api_compat import array_namespace

        if not self.dimensions:
            raise DataError(f"The scorer '{self.name}' has not been fitted.", "Call fit(normal) first.")
        embeddings = self._checked(embeddings)
        if embeddings.vectors.shape[1] != self.dimensions:
            raise DataError(
                f"These embeddings have {embeddings.vectors.shape[1]} dimensions; "
                f"the scorer '{self.name}' was fitted on {self.dimensions}.",
                "Encode these pictures with the model the scorer was fitted with.",
            )
        xp = array_namespace(embeddings.vectors)
        blocks = [
            self._score(embeddings[start : start + self.block]) for start in range(0, len(embeddings), self.block)
        ]
        return (
            xp.concat([xp.asarray(block, dtype=xp.float64) for block in blocks])
            if blocks
            else xp.empty(0, dtype=xp.float64)
        )

    def reads(self) -> set[str]:
        """Return the losses that a fitted scorer reads."""
        return {*self.needs, *self.takes}

    def fit_held_out(self, normal: Embeddings, fold: np.ndarray) -> np.ndarray:
        """Fit on all normals and return what each would have scored held out: (n,), NaN where it was not.

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

    def fit_alone(self, normal: Embeddings) -> np.ndarray:
        """Fit on a single normal and return an estimate of what another would score (1,): nothing can be held out."""
        raise DataError(
            f"The scorer '{self.name}' cannot be calibrated with a single normal picture.",
            "Give more pictures of what belongs.",
        )

    def spec(self) -> str:
        """Return the text from which `winnow.detect.registry.make_scorer` makes it again: 'knn(k=5, metric=cosine)'."""
        options = [f"{name}={_written(value)}" for name, value in parameters(self).items() if _is_plain(value)]
        return f"{self.name}({', '.join(options)})" if options else self.name

    def learned(self) -> dict[str, Any]:
        """Return all that is needed, together with `spec`, to score again: arrays, numbers and strings by name."""
        plain = {name for name, value in parameters(self).items() if _is_plain(value)}
        return {name: value for name, value in vars(self).items() if name not in plain and value is not None}

    def state(self) -> dict[str, np.ndarray]:
        """Return what was learnt as plain arrays by name."""
        if not self.dimensions:
            raise DataError(
                f"The scorer '{self.name}' has not been fitted, so it has nothing to save.", "Call fit(normal) first."
            )
        return {name: np.asarray(value) for name, value in self.learned().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take over what another scorer of the same `spec` has learnt: the inverse of `state`."""
        _take_over(self, state)
        return self

    def _checked(self, embeddings: Embeddings | Any) -> Embeddings:
        embeddings = embeddings if isinstance(embeddings, Embeddings) else Embeddings.of(embeddings)
        columns = {name: self._loss(embeddings, name) for name in self.needs}
        if self.reads_vectors:
            columns["vectors"] = embeddings.vectors
        if self.reads_cells:
            columns["cells"] = _cells_of(embeddings, self.name)
        if embeddings.vectors.shape[1] == 0:
            raise DataError(
                "The embeddings have no dimensions.", "Encode the pictures with a model that returns embeddings."
            )
        for name, values in columns.items():
            bad = sum(_not_finite(values[start : start + self.block]) for start in range(0, len(values), self.block))
            if bad:
                raise DataError(
                    f"'{name}' holds {bad} values that are not finite.",
                    "Look for a model that diverged in training, or pictures with NaN; leave those out.",
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

    def _loss(self, embeddings: Embeddings, name: str) -> Any:
        if name not in embeddings.losses:
            has = ", ".join(sorted(embeddings.losses)) or "embeddings only"
            raise DataError(
                f"The scorer '{self.name}' needs '{name}', which these embeddings do not have (they have {has}).",
                REMEDIES.get(name, "Choose another scorer or model."),
            )
        return embeddings.losses[name]


class Own(Scorer):
    """Make a scorer of any object that has `fit(embeddings)` and `score(embeddings)`, as scikit-learn has them.

    A copy of it is fitted, and the object itself left as it was. It needs the losses named in its attribute `needs` or,
    without one, those that the normals had.
    """

    reads_vectors = True

    def __init__(self, part: Any) -> None:
        self.part = part
        self.name = name_of(type(part))  # type: ignore[misc]
        self.given: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(getattr(self.part, "needs", self.given))

    def _fit(self, normal: Embeddings) -> None:
        part = copy.deepcopy(self.part)
        part.fit(normal)
        self.part, self.given = part, tuple(normal.losses)

    def _score(self, embeddings: Embeddings) -> Any:
        scores = np.asarray(self.part.score(embeddings))
        if scores.shape != (len(embeddings),):
            raise DataError(
                f"The scorer '{self.name}' returned scores of shape {scores.shape} for {len(embeddings)} pictures.",
                "Let its method score return one number a picture, higher = does not belong.",
            )
        return scores

    def spec(self) -> str:
        options = [f"{name}={_written(value)}" for name, value in parameters(self.part).items() if _is_plain(value)]
        return f"{self.name}({', '.join(options)})" if options else self.name

    def learned(self) -> dict[str, Any]:
        plain = {name for name, value in parameters(self.part).items() if _is_plain(value)}
        return {
            "dimensions": self.dimensions,
            "given": np.array(self.given, dtype=str),
            **{
                f"part/{name}": value
                for name, value in vars(self.part).items()
                if name not in plain and value is not None
            },
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        self.dimensions, self.given = int(state["dimensions"]), tuple(map(str, state["given"]))
        part = {name.removeprefix("part/"): array for name, array in state.items() if name.startswith("part/")}
        self.part = copy.copy(self.part)
        _take_over(self.part, part)
        return self


def as_scorer(part: Any) -> Scorer:
    """Return `part` if it is a `Scorer`, else `Own` of it; `OptionError` when it has no `fit` and `score`."""
    if isinstance(part, Scorer):
        return part
    if isinstance(part, type) or not (callable(getattr(part, "fit", None)) and callable(getattr(part, "score", None))):
        raise OptionError(
            f"{part!r} is not a scorer.", "Give an object with fit(embeddings) and score(embeddings) -> (n,)."
        )
    return Own(part)


def parameters(part: Any) -> dict[str, Any]:
    """Return the constructor's parameters with the values that `part` keeps under their names; `DataError` if it does not."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, each in inspect.signature(type(part)).parameters.items() if each.kind in kinds]
    lacking = [name for name in names if not hasattr(part, name)]
    if lacking:
        raise DataError(
            f"The scorer '{name_of(type(part))}' does not keep the parameter '{lacking[0]}' of its constructor.",
            f"Write self.{lacking[0]} = {lacking[0]} there: without it the scorer cannot be saved.",
        )
    return {name: getattr(part, name) for name in names}


def one_of(scorer: str, option: str, value: object, allowed: Iterable[str]) -> str:
    """Return the value of an option if it is one of the words allowed; `OptionError` if not."""
    words = list(allowed)
    if value not in words:
        raise OptionError(f"The scorer '{scorer}' has no {option} '{value}'.", did_you_mean(str(value), words))
    return str(value)


def yes_or_no(scorer: str, option: str, value: object) -> bool:
    """Return the value of an option that is true or false; `OptionError` for another."""
    if not isinstance(value, bool):
        raise OptionError(
            f"The scorer '{scorer}' takes {option}=true or {option}=false, not '{value}'.", "Give one of them."
        )
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _take_over(part: Any, state: Mapping[str, np.ndarray]) -> None:
    for name, array in state.items():
        setattr(part, name, array.item() if array.ndim == 0 else array)


def _not_finite(values: Any) -> int:
    from array_api_compat import array_namespace

    xp = array_namespace(values)
    return int(xp.sum(xp.astype(~xp.isfinite(values), xp.int64)))


def held_out(embeddings: Embeddings) -> Embeddings:
    """Return the rows the network has not seen; all rows when it has seen every one."""
    return embeddings if embeddings.seen.all() or not embeddings.seen.any() else embeddings[~embeddings.seen]


def folds_of(normal: Embeddings, count: int, seed: int = 0) -> np.ndarray:
    """Return fold numbers (n,) by whole groups for the rows not seen in training (all, if all were); -1 for the others."""
    from winnow.pool.splits import folds

    rows = np.flatnonzero(~normal.seen) if not normal.seen.all() else np.arange(len(normal))
    fold = np.full(len(normal), -1)
    fold[rows] = folds(normal.groups[rows], min(count, rows.size), seed, twins=normal.twins[rows])
    return fold


def sample(rows: np.ndarray, count: int = ROWS) -> np.ndarray:
    """Return at most `count` of the row numbers, drawn with a fixed seed, in order."""
    return rows if rows.size <= count else np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _drawn(pictures: np.ndarray, share: float) -> np.ndarray:
    """Return the rows of the patches of a share of the pictures (n,), drawn with a fixed seed."""
    names, member = np.unique(pictures.astype(str), return_inverse=True)
    return np.flatnonzero(np.isin(member, sample(np.arange(len(names)), max(1, round(share * len(names))))))


def log(values: Any) -> Any:
    """Return the logarithm of losses or energies in float64, that of `FLOOR` for those below it."""
    from array_api_compat import array_namespace

    xp = array_namespace(values)
    return xp.log(xp.clip(xp.astype(values, xp.float64), FLOOR))


def as_compared(vectors: Any, metric: str) -> Any:
    """Return embeddings (n, d) as a metric of `METRICS` compares them: for 'cosine' at length 1, float32."""
    from array_api_compat import array_namespace

    xp = array_namespace(vectors)
    return xp.astype(unit_length(xp.astype(vectors, xp.float64)), xp.float32) if metric == "cosine" else vectors


def _cells_of(embeddings: Embeddings, scorer: str) -> Any:
    if embeddings.cells is None:
        raise DataError(
            f"The scorer '{scorer}' needs an embedding of each place, which these pictures do not have.",
            "Use --model dense, or another --scorer.",
        )
    return embeddings.cells


def like(vectors: Any, array: Any) -> Any:
    """Return what was learnt, `array`, in the library and on the device of `vectors`."""
    from array_api_compat import array_namespace, device

    return array_namespace(vectors).asarray(array, device=device(vectors))
