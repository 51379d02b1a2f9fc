"""How anomalous a picture is: one class a way of telling. Higher = does not belong.

Numpy, scikit-learn and faiss on `Embeddings`; no torch. A score's size means nothing by itself and differs from scorer
to scorer: `threshold.py` turns it into a mode.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from winnow.detect.combine import Combined, Places
from winnow.detect.scorer import Scorer, held_out, log, sample
from winnow.embeddings import Embeddings
from winnow.errors import DataError, OptionError, did_you_mean
from winnow.options import DetectOptions


class Measure(Scorer):
    """The logarithm of one measure: no fitting, just reading."""

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return log(embeddings.losses[self.needs[0]])


class Reconstruction(Measure):
    """Log mean squared error of the rebuilt picture."""

    name = "reconstruction"
    needs = ("reconstruction",)


class Worst(Measure):
    """Log mean of the largest 5 % of the squared error: small defects drown in the mean."""

    name = "top_error"
    needs = ("top_error",)


class Peak(Measure):
    """Log mean of the 8 highest windows of the squared error, or of the evidence of damage: smaller defects still."""

    name = "top_local_error"
    needs = ("top_local_error",)


class Texture(Measure):
    """`peak` of the linear autoencoder of small windows that stands beside the network."""

    name = "texture"
    needs = ("texture",)


class Latent(Measure):
    """Log KL divergence of the code's posterior from N(0, 1): needs no decoder (Soukup and Pinetz, latent mode)."""

    name = "latent"
    needs = ("latent",)


def log_error(embeddings: Embeddings) -> np.ndarray:
    """Log reconstruction error (n,), averaged with that of the linear autoencoder where one stands beside the network.

    The two err on different pictures; together they measured better than either (docs/benchmarks.md).
    """
    errors = [log(embeddings.losses[name]) for name in ("reconstruction", "linear") if name in embeddings.losses]
    return np.mean(errors, axis=0)


class Both(Scorer):
    """Reconstruction and latent score, each less its mean and divided by its spread over held-out normals, added."""

    name = "both"
    needs = ("reconstruction", "latent")
    learned = ("centre", "spread")

    def _columns(self, embeddings: Embeddings) -> np.ndarray:
        return np.stack([log(embeddings.losses[name]) for name in self.needs], axis=1)

    def _fit(self, normal: Embeddings) -> None:
        columns = self._columns(held_out(normal))
        spread = columns.std(axis=0)
        self.centre, self.spread = columns.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return ((self._columns(embeddings) - self.centre) / self.spread).sum(axis=1)


class Unexplained(Scorer):
    """Log share of the picture's variance that the model does not explain: error over pixel variance.

    Simple pictures have small errors under any model; measured against their own variance they have not.
    """

    name = "unexplained"
    needs = ("reconstruction", "variance")
    takes = ("linear",)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return log_error(embeddings) - log(embeddings.losses["variance"])


class Residual(Scorer):
    """Log error beyond what other measures lead to expect: the residual of a linear regression over held-out normals.

    `log_error` is explained, on a logarithmic scale, by the measures of `needs` that are not errors of the model.
    """

    takes = ("linear",)
    learned = ("slopes", "intercept")

    def _fit(self, normal: Embeddings) -> None:
        target, given = self._terms(held_out(normal))
        centred = np.stack([values - values.mean() for values in given], axis=1)
        # A measure that hardly varies explains nothing; the cut-off keeps its slope from being rounding noise.
        self.slopes = np.linalg.lstsq(centred, target - target.mean(), rcond=1e-6)[0] * (np.ptp(centred) > 1e-6)
        self.intercept = float(target.mean() - sum(s * v.mean() for s, v in zip(self.slopes, given, strict=True)))

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        target, given = self._terms(embeddings)
        return target - np.stack(given, axis=1) @ self.slopes - self.intercept

    def _terms(self, embeddings: Embeddings) -> tuple[np.ndarray, list[np.ndarray]]:
        return log_error(embeddings), [log(embeddings.losses[name]) for name in self.needs[1:]]


class Complexity(Residual):
    """Log error beyond what the picture's complexity, its log pixel variance, leads to expect of a normal picture.

    The input-complexity correction of Serra et al. (arXiv 1909.11480), with variance for the compressed size and a slope
    fitted on held-out normals.
    """

    name = "complexity"
    needs = ("reconstruction", "variance")


class Background(Scorer):
    """Log error less the log error of a background model, trained on generic or unlabelled pictures.

    What both models find hard says nothing (Ren et al., Likelihood Ratios for Out-of-Distribution Detection, 2019;
    Schirrmeister et al. 2020).
    """

    name = "background"
    needs = ("reconstruction", "background")
    takes = ("linear",)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return log_error(embeddings) - log(embeddings.losses["background"])


class Expected(Residual):
    """Log error beyond what a background model's log error and the log pixel variance lead to expect of a normal picture.

    `background` and `complexity` in one, each given the weight that it has on held-out normals.
    """

    name = "expected"
    needs = ("reconstruction", "background", "variance")


class Gradient(Scorer):
    """How far log gradient energy is from the normals' mean, up or down: the trivial baseline (sharpness alone)."""

    name = "gradient"
    needs = ("gradient",)
    learned = ("centre",)

    def _fit(self, normal: Embeddings) -> None:
        self.centre = float(log(normal.losses["gradient"]).mean())

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return np.abs(log(embeddings.losses["gradient"]) - self.centre)


class Gaussian(Scorer):
    """Squared Mahalanobis distance of the code from the normals', covariance shrunk (Ledoit and Wolf 2004)."""

    name = "gaussian"
    learned = ("mean", "precision")
    reads_codes = True

    def _fit(self, normal: Embeddings) -> None:
        self.mean, self.precision = shrunk_gaussian(normal.vectors)

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return mahalanobis(embeddings.vectors, self.mean, self.precision)


class Directions(Gaussian):
    """`gaussian` of the codes' directions: each code divided by its length.

    The length of a pretrained network's pooled features follows contrast and sharpness more than what is shown.
    """

    name = "directions"

    def _fit(self, normal: Embeddings) -> None:
        self.mean, self.precision = shrunk_gaussian(unit(normal.vectors))

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return mahalanobis(unit(embeddings.vectors), self.mean, self.precision)


class Relative(Scorer):
    """Squared Mahalanobis distance to the normals less that to a background (Ren et al., arXiv 2106.09022).

    `background` (m, d) are embeddings of generic or unlabelled pictures. Without them the background is the isotropic
    Gaussian of the normals' mean and twice their largest variance in any direction: the widest directions then count
    half, the narrow ones nearly whole, and no picture becomes more normal by being further away.
    """

    name = "relative"
    learned = ("mean", "precision", "background_mean", "background_precision")
    reads_codes = True

    def __init__(self, background: Any = None) -> None:
        self.background = None if background is None else Embeddings.of(background).vectors

    def _fit(self, normal: Embeddings) -> None:
        self.mean, self.precision = shrunk_gaussian(normal.vectors)
        if self.background is None:
            widest = float(np.linalg.eigvalsh(self.precision)[0])  # the inverse of the largest variance
            self.background_mean, self.background_precision = self.mean, widest / 2 * np.eye(len(self.mean))
        else:
            count, dimensions = self.background.shape
            if dimensions != normal.vectors.shape[1] or count < 2 or not np.isfinite(self.background).all():
                raise DataError(
                    f"{count} x {dimensions} background embeddings do not fit embeddings of {normal.vectors.shape[1]} dimensions.",
                    "Give two or more finite embeddings of the same model.",
                )
            self.background_mean, self.background_precision = shrunk_gaussian(self.background[sample(np.arange(count))])

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return mahalanobis(embeddings.vectors, self.mean, self.precision) - mahalanobis(
            embeddings.vectors, self.background_mean, self.background_precision
        )


TINY = 1e-12
"""Least variance of a code: constant embeddings have no spread to measure distances with."""


def shrunk_gaussian(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and inverse covariance (d, d) of embeddings (n, d), covariance shrunk towards a multiple of one."""
    from sklearn.covariance import ledoit_wolf

    vectors = np.asarray(vectors, dtype=np.float64)
    mean = vectors.mean(axis=0)
    covariance, _ = ledoit_wolf(vectors - mean, assume_centered=True)
    floor = max(TINY, 1e-9 * float(np.trace(covariance)) / len(mean))
    precision = np.linalg.inv(covariance + floor * np.eye(len(mean)))
    return mean, (precision + precision.T) / 2


def mahalanobis(vectors: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Squared distances (n,) of embeddings (n, d), a block of rows at a time."""
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), 4096):
        apart = np.asarray(vectors[start : start + 4096], dtype=np.float64) - mean
        distances[start : start + 4096] = np.einsum("nd,nd->n", apart @ precision, apart)
    return distances


class Neighbours(Scorer):
    """Mean Euclidean distance to the k nearest normals, searched exactly (faiss, flat index).

    With fewer normals than `neighbours`, the mean is over all of them. Asked about the pictures it was fitted on, it
    finds them at distance 0; held-out scores come from `fit_held_out`.
    """

    name = "neighbours"
    options = ("neighbours",)
    learned = ("bank",)
    minimum = 1
    reads_codes = True

    def __init__(self, neighbours: int = 5) -> None:
        if neighbours < 1:
            raise OptionError(f"neighbours is {neighbours}; it must be 1 or more.")
        self.neighbours = neighbours

    def _fit(self, normal: Embeddings) -> None:
        self.bank = np.ascontiguousarray(normal.vectors, dtype=np.float32)

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        import faiss

        centre = self.bank.mean(axis=0)  # faiss expands |a - b|^2, which loses digits far from the origin
        index = faiss.IndexFlatL2(self.bank.shape[1])
        index.add(self.bank - centre)
        scores = np.empty(len(embeddings))
        rows = max(1, 16_000_000 // (self.neighbours * self.bank.shape[1]))
        for start in range(0, len(embeddings), rows):
            vectors = np.ascontiguousarray(embeddings.vectors[start : start + rows], dtype=np.float32)
            nearest = index.search(vectors - centre, min(self.neighbours, len(self.bank)))[1]
            scores[start : start + rows] = np.linalg.norm(vectors[:, None] - self.bank[nearest], axis=2).mean(axis=1)
        return scores


class Cosine(Neighbours):
    """`neighbours` of the codes' directions: each code divided by its length, as in `directions`."""

    name = "cosine"

    def _fit(self, normal: Embeddings) -> None:
        self.bank = unit(normal.vectors)

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return super()._score(Embeddings.of(unit(embeddings.vectors)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Embeddings (n, d) of length 1, float32; a code of length 0 stays."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


SCORERS: dict[str, type[Scorer]] = {
    kind.name: kind
    for kind in (
        Combined,
        Places,
        Reconstruction,
        Worst,
        Peak,
        Texture,
        Latent,
        Both,
        Unexplained,
        Complexity,
        Background,
        Expected,
        Gradient,
        Gaussian,
        Directions,
        Relative,
        Neighbours,
        Cosine,
    )
}
"""Every scorer by its name."""


def make_scorer(name: str, options: DetectOptions | None = None) -> Scorer:
    """An unfitted scorer by its name in `SCORERS`, or one's own as 'module:name' (a `Scorer` that needs no arguments).

    `OptionError` when there is no such name, or what it names is no scorer.
    """
    options = options or DetectOptions()
    kind = SCORERS.get(name) or own_scorer(name)
    return kind(**{option: getattr(options, option) for option in kind.options if hasattr(options, option)})


def own_scorer(name: str) -> type[Scorer]:
    """The user's own scorer class 'module:name'; imports the module."""
    module, _, attribute = name.partition(":")
    if not attribute:
        raise OptionError(f"There is no scorer '{name}'.", did_you_mean(name, list(SCORERS)))
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            f"The scorer '{name}' cannot be imported: {error}.",
            "Check the name; the module must be importable from here.",
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Scorer)):
        raise OptionError(
            f"'{name}' is not a class of winnow.detect.scorers.Scorer.", "Derive your scorer from Scorer."
        )
    return kind
