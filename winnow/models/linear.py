"""The linear autoencoder: principal components. Learnt in a second, and a second opinion beside the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from winnow.errors import DataError
from winnow.models.autoencoder import mean_of_top
from winnow.models.contract import Model, ModelOutput
from winnow.models.windows import enlarged, local_error, top_local_error

MOST_VALUES = 100_000_000  # of the matrix that is decomposed: 400 MB
MOST_PICTURES = 2000


class Linear(Model):
    """A picture's first principal components are its code (Pearson 1901; the optimum of an autoencoder without curves).

    `components` is the most there may be; fewer pictures give fewer. Not a choice of `--model`: it stands beside a
    network, fitted on the same pictures or on generic ones.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, size: Sequence[int], channels: int, components: int = 32) -> None:
        super().__init__()
        self.size, self.channels, self.components = (int(size[0]), int(size[1])), int(channels), int(components)
        values = self.size[0] * self.size[1] * self.channels
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("basis", torch.zeros(self.components, values))

    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"components": self.components}

    def fit(self, pixels: np.ndarray) -> Linear:
        """Learns from pictures (n, h, w, c) uint8, evenly chosen ones when they are too many; `DataError` for none.

        Through the Gram matrix of the pictures, which is smaller than their covariance; the same bytes every time.
        """
        if not len(pixels):
            raise DataError("There are no pictures to learn components from.", "Give more pictures.")
        most = min(MOST_PICTURES, max(2, MOST_VALUES // pixels[0].size))
        if len(pixels) > most:
            pixels = pixels[np.linspace(0, len(pixels) - 1, most).astype(int)]
        values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).flatten(1).float() / 255
        self.mean = values.mean(dim=0)
        values -= self.mean
        strength, vectors = torch.linalg.eigh((values @ values.T).double())
        kept = min(self.components, int((strength > 1e-6 * strength[-1].clamp_min(1e-12)).sum()))
        top = vectors[:, len(strength) - kept :].flip(1).float()
        basis = torch.nn.functional.normalize(top.T @ values, dim=1)
        self.basis = torch.zeros_like(self.basis)
        self.basis[:kept] = basis
        return self

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Measures of `images` (n, channels, h, w) in [0, 1]; there is no latent loss."""
        vectors = self._codes(images)
        if not decode:
            return ModelOutput(vectors)
        residual = self._decode(vectors) - images
        error = residual.square()
        return ModelOutput(
            vectors,
            error.flatten(1).mean(dim=1),
            mean_of_top(error),
            top_local_error=top_local_error(local_error(residual)),
        )

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Squared error (n, h, w) in a window round each place: the map that `peak` is the highest of."""
        return enlarged(local_error(self.rebuild(images) - images), *images.shape[2:])

    def rebuild(self, images: Tensor) -> Tensor:
        """The pictures as their components give them back, same shape."""
        return self._decode(self._codes(images))

    def _codes(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.basis.T

    def _decode(self, vectors: Tensor) -> Tensor:
        return (self.mean + vectors @ self.basis).unflatten(1, (self.channels, *self.size))
