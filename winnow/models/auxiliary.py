"""Auxiliary models, linear autoencoders fitted in addition to a network: of whole pictures (`Linear`) and of small windows (`Texture`).

Both are fitted in about a second, in closed form, and their losses correct or confirm the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from winnow.embeddings import spread
from winnow.errors import DataError, ModelError
from winnow.models.autoencoder import mean_of_top
from winnow.models.contract import Model, ModelOutput
from winnow.models.windows import STRIDE, WINDOW, enlarged, local_error, top_local_error, window_means

MOST_PICTURES = 2000  # that a model is fitted on
MOST_VALUES = 100_000_000  # of the matrix that `Linear` decomposes: 400 MB
WINDOWS = 60_000  # that the components of `Texture` are learnt from


class Linear(Model):
    """Autoencoder whose embedding is a picture's first principal components (Pearson 1901), the optimum of a linear one.

    `components` is the most there may be; fewer pictures give fewer. Not a choice of `--model`: it is fitted in addition
    to a network, on the same pictures or on generic ones.
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
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"components": self.components}

    def fit(self, pixels: np.ndarray) -> Linear:
        """Learn from pictures (n, h, w, c) uint8, evenly spread ones when there are too many; `DataError` for none.

        Decomposes the Gram matrix of the pictures, which is smaller than their covariance; the same bytes every time.
        """
        if not len(pixels):
            raise DataError("There are no pictures to learn components from.", "Give more pictures.")
        most = min(MOST_PICTURES, max(2, MOST_VALUES // pixels[0].size))
        chosen = np.ascontiguousarray(pixels[spread(len(pixels), most)])
        values = torch.from_numpy(chosen).permute(0, 3, 1, 2).flatten(1).float() / 255
        self.mean = values.mean(dim=0)
        values -= self.mean
        strength, vectors = torch.linalg.eigh((values @ values.T).double())
        kept = min(self.components, int((strength > 1e-6 * strength[-1].clamp_min(1e-12)).sum()))
        top = vectors[:, len(strength) - kept :].flip(1).float()
        basis = functional.normalize(top.T @ values, dim=1)
        self.basis = torch.zeros_like(self.basis)
        self.basis[:kept] = basis
        return self

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings and losses of `images` (n, channels, h, w) in [0, 1]; there is no latent loss."""
        vectors = self._encode(images)
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
        """Return the mean squared error (n, h, w) in a window round each pixel; `top_local_error` is the mean of its highest."""
        return enlarged(local_error(self.rebuild(images) - images), *images.shape[2:])

    def rebuild(self, images: Tensor) -> Tensor:
        """Return the pictures rebuilt from their components, same shape."""
        return self._decode(self._encode(images))

    def _encode(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.basis.T

    def _decode(self, vectors: Tensor) -> Tensor:
        return (self.mean + vectors @ self.basis).unflatten(1, (self.channels, *self.size))


class Texture(Model):
    """Principal components of windows of 8x8 pixels, each less its own mean, as an autoencoder that slides over a picture.

    A window's own mean is taken off, channel by channel, because strips and rolls differ in brightness. The components are
    orthonormal, so the error of a window is its energy less the energy of its projection (Pythagoras): only `rebuild` runs
    a decoder. The embedding is the root mean square of each component over the windows, `reconstruction` the mean of the
    windows' errors, `top_local_error` that of the highest. Like `Linear` it is fitted in addition to a network, on
    the same pictures. Sizes from 8x8; `ModelError` below.
    """

    auxiliary = "top_local_error"
    basis: Tensor

    def __init__(self, size: Sequence[int], channels: int, components: int = 8) -> None:
        super().__init__()
        self.size, self.channels, self.components = (int(size[0]), int(size[1])), int(channels), int(components)
        if min(self.size) < WINDOW:
            raise ModelError(f"Pictures of {self.size[0]}x{self.size[1]} are smaller than a window of {WINDOW}x{WINDOW}.",
                             f"Use --size {WINDOW} {WINDOW} or larger.")  # fmt: skip
        self.register_buffer("basis", torch.zeros(self.components, self.channels, WINDOW, WINDOW))

    def config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"components": self.components}

    def fit(self, pixels: np.ndarray) -> Texture:
        """Learn from pictures (n, h, w, c) uint8, evenly spread ones when there are many; `DataError` for none.

        The same pictures give the same bytes.
        """
        if not len(pixels):
            raise DataError("There are no pictures to learn a texture from.", "Give more pictures.")
        windows = _windows(pixels[spread(len(pixels), MOST_PICTURES)]).double()
        windows = (windows - windows.mean(dim=(2, 3), keepdim=True)).flatten(1)
        # Through the origin: a texture may begin anywhere, so its mean window is flat, and flat parts are taken off.
        strength, vectors = torch.linalg.eigh(windows.T @ windows)
        # A direction that only rounding moves is no component; it need not be orthogonal to flat windows either.
        least = 1e-9 * max(float(strength[-1]), windows.numel())
        kept = min(self.components, int((strength > least).sum()))
        top = vectors.flip(1)[:, :kept].T
        self.basis = torch.zeros_like(self.basis)
        self.basis[:kept] = top.float().unflatten(1, self.basis.shape[1:])
        return self

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings and losses of `images` (n, channels, h, w) in [0, 1], the same without `decode`; no latent loss."""
        projections, errors = self._projections_and_errors(images)
        return ModelOutput(
            projections.square().mean(dim=(2, 3)).sqrt(),
            errors.mean(dim=(1, 2)),
            top_local_error=top_local_error(errors),
        )

    def errors(self, images: Tensor) -> Tensor:
        """Return the mean squared error (n, h', w') of each window of `images` (n, channels, h, w), one every 4 pixels."""
        return self._projections_and_errors(images)[1]

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Return the windows' errors at the picture's resolution (n, h, w)."""
        return enlarged(self.errors(images), *images.shape[2:])

    def rebuild(self, images: Tensor) -> Tensor:
        """Return the pictures, same shape, each pixel the mean of the rebuilt windows that cover it."""
        height, width = images.shape[2:]
        beyond = (0, -(width - WINDOW) % STRIDE, 0, -(height - WINDOW) % STRIDE)
        whole = functional.pad(images, beyond, mode="replicate")
        square = whole.new_ones(self.channels, 1, WINDOW, WINDOW)
        means = functional.avg_pool2d(whole, WINDOW, STRIDE)
        total = functional.conv_transpose2d(self._projections(whole), self.basis, stride=STRIDE)
        total = total + functional.conv_transpose2d(means, square, stride=STRIDE, groups=self.channels)
        count = functional.conv_transpose2d(torch.ones_like(means[:1, :1]), square[:1], stride=STRIDE)
        return (total / count)[:, :, :height, :width]

    def _projections(self, images: Tensor) -> Tensor:
        # The basis is orthogonal to flat windows, so their means need not be taken off.
        return functional.conv2d(images, self.basis, stride=STRIDE)

    def _projections_and_errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # The picture's own mean changes neither, but small numbers keep more digits.
        images = images - images.mean(dim=(2, 3), keepdim=True)
        projections = self._projections(images)
        each = images.flatten(0, 1)
        variance = (window_means(each.square()) - window_means(each).square()).unflatten(0, images.shape[:2])
        explained = projections.square().sum(dim=1) / (self.channels * WINDOW**2)
        return projections, (variance.mean(dim=1) - explained).clamp_min(0)


def _windows(pixels: np.ndarray) -> Tensor:
    """Return windows (m, c, 8, 8) in [0, 1] at random positions of pictures (n, h, w, c), drawn with a fixed seed."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (WINDOW, WINDOW), axis=(1, 2))
    each = -(-WINDOWS // len(pixels))
    rng = np.random.default_rng(0)
    rows, down, right = (rng.integers(count, size=(len(pixels), each)) for count in (1, *views.shape[1:3]))
    rows += np.arange(len(pixels))[:, None]
    return torch.from_numpy(views[rows.ravel(), down.ravel(), right.ravel()]).float() / 255
