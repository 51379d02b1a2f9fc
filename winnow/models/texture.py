"""The linear autoencoder of small windows: what a texture looks like close up, learnt in a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from winnow.errors import DataError, ModelError
from winnow.models.contract import Model, ModelOutput
from winnow.models.windows import STRIDE, WINDOW, enlarged, top_local_error, window_means

PICTURES = 2000
WINDOWS = 60_000  # that the components are learnt from


class Texture(Model):
    """Principal components of windows of 8x8 pixels, each less its own mean, as an autoencoder that slides over a picture.

    A window's own mean is taken off, channel by channel, because strips and rolls differ in brightness. The components are
    orthonormal, so the error of a window is its energy less the energy of its code (Pythagoras): only `rebuild` runs a
    decoder. `codes` are the root mean square of each component over the windows, `reconstruction` the mean of the windows'
    errors, `peak` that of the highest. Like `Linear` it stands beside a network, fitted on the same pictures. Sizes from
    8x8; `ModelError` below.
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
        """Arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"components": self.components}

    def fit(self, pixels: np.ndarray) -> Texture:
        """Learns from pictures (n, h, w, c) uint8, evenly chosen ones when there are many; `DataError` for none.

        The same pictures give the same bytes.
        """
        if not len(pixels):
            raise DataError("There are no pictures to learn a texture from.", "Give more pictures.")
        windows = _windows(pixels[np.linspace(0, len(pixels) - 1, min(PICTURES, len(pixels))).astype(int)])
        windows = windows.double()
        windows = (windows - windows.mean(dim=(2, 3), keepdim=True)).flatten(1)
        # Through the origin: the mean window of a texture without beginning is flat, and that is taken off.
        strength, vectors = torch.linalg.eigh(windows.T @ windows)
        # What only rounding moves is no component; it need not be orthogonal to flat windows either.
        least = 1e-9 * max(float(strength[-1]), windows.numel())
        kept = min(self.components, int((strength > least).sum()))
        top = vectors.flip(1)[:, :kept].T
        self.basis = torch.zeros_like(self.basis)
        self.basis[:kept] = top.float().unflatten(1, self.basis.shape[1:])
        return self

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Measures of `images` (n, channels, h, w) in [0, 1], the same without `decode`; there is no latent loss."""
        vectors, errors = self._codes_and_errors(images)
        return ModelOutput(
            vectors.square().mean(dim=(2, 3)).sqrt(), errors.mean(dim=(1, 2)), top_local_error=top_local_error(errors)
        )

    def errors(self, images: Tensor) -> Tensor:
        """Mean squared error (n, h', w') of each window of `images` (n, channels, h, w), one every 4 pixels."""
        return self._codes_and_errors(images)[1]

    def anomaly_map(self, images: Tensor) -> Tensor:
        """The windows' errors at the picture's resolution (n, h, w)."""
        return enlarged(self.errors(images), *images.shape[2:])

    def rebuild(self, images: Tensor) -> Tensor:
        """Each place as the mean of the windows over it gives it back, same shape."""
        height, width = images.shape[2:]
        beyond = (0, -(width - WINDOW) % STRIDE, 0, -(height - WINDOW) % STRIDE)
        whole = functional.pad(images, beyond, mode="replicate")
        square = whole.new_ones(self.channels, 1, WINDOW, WINDOW)
        means = functional.avg_pool2d(whole, WINDOW, STRIDE)
        total = functional.conv_transpose2d(self._codes(whole), self.basis, stride=STRIDE)
        total = total + functional.conv_transpose2d(means, square, stride=STRIDE, groups=self.channels)
        count = functional.conv_transpose2d(torch.ones_like(means[:1, :1]), square[:1], stride=STRIDE)
        return (total / count)[:, :, :height, :width]

    def _codes(self, images: Tensor) -> Tensor:
        # The basis is orthogonal to flat windows, so their means need not be taken off.
        return functional.conv2d(images, self.basis, stride=STRIDE)

    def _codes_and_errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # The picture's own mean changes neither, but small numbers keep more digits.
        images = images - images.mean(dim=(2, 3), keepdim=True)
        vectors = self._codes(images)
        each = images.flatten(0, 1)
        variance = (window_means(each.square()) - window_means(each).square()).unflatten(0, images.shape[:2])
        explained = vectors.square().sum(dim=1) / (self.channels * WINDOW**2)
        return vectors, (variance.mean(dim=1) - explained).clamp_min(0)


def _windows(pixels: np.ndarray) -> Tensor:
    """Windows (m, c, 8, 8) in [0, 1] at random places of pictures (n, h, w, c), drawn with a fixed seed."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (WINDOW, WINDOW), axis=(1, 2))
    each = -(-WINDOWS // len(pixels))
    rng = np.random.default_rng(0)
    rows, down, right = (rng.integers(count, size=(len(pixels), each)) for count in (1, *views.shape[1:3]))
    rows += np.arange(len(pixels))[:, None]
    return torch.from_numpy(views[rows.ravel(), down.ravel(), right.ravel()]).float() / 255
