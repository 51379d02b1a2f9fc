"""What every model owes: measures per picture, never averaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """What a model says of n pictures, one value a picture; None where the model has no such thing.

    `codes` (n, d); `reconstruction` (n,), mean squared error over the picture's values; `worst` (n,), the mean of the
    largest 5 % of the squared error by place; `latent` (n,), KL divergence of the posterior from N(0, 1) in nats; `peak`
    (n,), the mean of the 8 highest of the map that `heat` enlarges: windows of squared error, or evidence of damage.
    """

    vectors: Tensor
    reconstruction: Tensor | None = None
    top_error: Tensor | None = None
    latent: Tensor | None = None
    top_local_error: Tensor | None = None


class Model(nn.Module, ABC):
    """Pictures in, measures out. `size` is (height, width); `channels` 1 or 3; `config()` rebuilds an empty twin."""

    size: tuple[int, int]
    channels: int
    auxiliary: ClassVar[str] = "reconstruction"
    """The measure that a model gives when it stands beside another one."""

    @abstractmethod
    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Measures of `images` (n, channels, h, w) in [0, 1].

        `decode=False` skips the decoder. `noise` (n, latent) of N(0, 1) makes a VAE sample its code, as training does;
        without it the code is the posterior's mean, so scores repeat.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, with which the class builds a network of the same shape."""

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Evidence of damage (n, h, w), not negative, at each place of `images`; models without one raise `ModelError`."""
        from winnow.errors import ModelError

        raise ModelError(
            f"{type(self).__name__} does not say where a picture is damaged.",
            "Use --mode full with an autoencoder, or --mode fast.",
        )

    def rebuild(self, images: Tensor) -> Tensor:
        """The pictures as the model rebuilds them, same shape; models without a decoder raise `ModelError`."""
        from winnow.errors import ModelError

        raise ModelError(
            f"{type(self).__name__} has no decoder, so it cannot rebuild pictures.",
            "Use an autoencoder for reconstructions and anomaly maps.",
        )
