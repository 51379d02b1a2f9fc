"""The Mahalanobis distance of the embedding from the normals'."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.detect.scorer import METRICS, Scorer, as_compared, like, one_of, sample, yes_or_no
from winnow.embeddings import Embeddings
from winnow.errors import DataError

TINY = 1e-12
"""Least variance of a dimension: constant embeddings have no spread to measure distances with."""


class Mahalanobis(Scorer):
    """Squared Mahalanobis distance of the embedding from the normals', covariance shrunk (Ledoit and Wolf 2004).

    `metric`: 'cosine' takes embeddings at length 1, because the length of a pretrained network's pooled features follows contrast
    and sharpness more than content. `relative`: less the distance to a background (Ren et al., arXiv 2106.09022), the
    isotropic Gaussian of the normals' mean and twice their largest variance in any direction: the widest directions then
    count half, the narrow ones nearly whole, and no picture becomes more normal by being further away. `background`: embeddings
    (m, d) of generic or unlabelled pictures, whose Gaussian takes the place of that one.
    """

    name = "mahalanobis"
    reads_vectors = True

    def __init__(self, metric: str = "euclidean", relative: bool = False, background: Any = None) -> None:
        self.metric = one_of(self.name, "metric", metric, METRICS)
        self.background = None if background is None else Embeddings.of(background).vectors
        self.relative = yes_or_no(self.name, "relative", relative) or self.background is not None

    def _fit(self, normal: Embeddings) -> None:
        self.mean, self.precision = shrunk_gaussian(as_compared(normal.vectors, self.metric))
        if not self.relative:
            return
        if self.background is None:
            widest = float(np.linalg.eigvalsh(self.precision)[0])  # the inverse of the largest variance
            self.background_mean, self.background_precision = self.mean, widest / 2 * np.eye(len(self.mean))
            return
        count, dimensions = self.background.shape
        if dimensions != normal.vectors.shape[1] or count < 2 or not np.isfinite(self.background).all():
            raise DataError(
                f"{count} x {dimensions} background embeddings do not fit embeddings of {normal.vectors.shape[1]} dimensions.",
                "Give two or more finite embeddings of the same model.",
            )
        chosen = as_compared(self.background[sample(np.arange(count))], self.metric)
        self.background_mean, self.background_precision = shrunk_gaussian(chosen)

    def _score(self, embeddings: Embeddings) -> Any:
        vectors = as_compared(embeddings.vectors, self.metric)
        distances = squared_distances(vectors, self.mean, self.precision)
        if self.relative:
            distances = distances - squared_distances(vectors, self.background_mean, self.background_precision)
        return distances


def shrunk_gaussian(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (d,) and inverse covariance (d, d) of embeddings (n, d), covariance shrunk towards a multiple of one."""
    vectors = np.asarray(vectors, dtype=np.float64)
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    n, d = centred.shape
    if n < d:  # the covariance has n directions; in all others it is `least`, and no d x d matrix need be inverted
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        shrinkage, least = _shrinkage(centred, float((lengths**4).sum()))
        precision = (axes.T * (1 / (least + (1 - shrinkage) * lengths**2 / n) - 1 / least)) @ axes
        precision.flat[:: d + 1] += 1 / least
    else:
        scatter = centred.T @ centred
        shrinkage, least = _shrinkage(centred, float(np.square(scatter).sum()))
        scatter *= (1 - shrinkage) / n
        scatter.flat[:: d + 1] += least
        precision = np.linalg.inv(scatter)
    return mean, (precision + precision.T) / 2


def _shrinkage(centred: np.ndarray, squares: float) -> tuple[float, float]:
    """Return the share that a covariance is shrunk by (Ledoit and Wolf 2004, lemmas 3.1 to 3.4) and the variance that this adds.

    `squares` is the sum of the squares of all products of two dimensions of embeddings (n, d), `centred.T @ centred`. Of the
    products of single pictures it is the sum of the fourth powers of their lengths, so that no d x d matrix of squares is made.
    """
    n, d = centred.shape
    lengths = np.einsum("nd,nd->n", centred, centred)
    variance = float(lengths.sum()) / (n * d)
    spread = squares / n**2 - d * variance**2
    error = min((float(np.square(lengths).sum()) / n - squares / n**2) / n, spread)
    shrinkage = error / spread if error > 0 else 0.0
    return shrinkage, shrinkage * variance + max(TINY, 1e-9 * variance)


def squared_distances(vectors: Any, mean: Any, precision: Any) -> Any:
    """Return squared Mahalanobis distances (n,) float64 of embeddings (n, d)."""
    from array_api_compat import array_namespace

    xp = array_namespace(vectors)
    centred = xp.astype(vectors, xp.float64) - like(vectors, mean)
    return xp.sum((centred @ like(vectors, precision)) * centred, axis=1)
