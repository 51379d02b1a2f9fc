"""The model interface: embeddings and losses of each picture, never averaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """Embeddings and losses of n pictures, one value per picture; None for a loss that the model does not have.

    `vectors` (n, d), the embeddings; `reconstruction` (n,), mean squared error over the picture's values; `top_error`
    (n,), the mean of the largest 5 % of the squared errors of the pixels; `latent` (n,), KL divergence of the posterior
    from N(0, 1) in nats; `top_local_error` (n,), the mean of the 8 highest values of the map that `anomaly_map`
    enlarges: squared error in windows, or anomaly logits; `cells` (n, rows, columns, d), the embedding of each place of a
    grid over the picture, of a model of dense features.
    """

    vectors: Tensor
    reconstruction: Tensor | None = None
    top_error: Tensor | None = None
    latent: Tensor | None = None
    top_local_error: Tensor | None = None
    cells: Tensor | None = None


class Model(nn.Module, ABC):
    """Network from pictures to a `ModelOutput`. `size` is (height, width), `channels` 1 or 3."""

    size: tuple[int, int]
    channels: int
    frozen: ClassVar[bool] = False
    """Whether the network is used as it is: `winnow train` then saves it without training."""
    auxiliary: ClassVar[str] = "reconstruction"
    """The loss that is recorded when the model serves as auxiliary to another one."""

    @abstractmethod
    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings and losses of `images` (n, channels, h, w) in [0, 1].

        `decode=False` skips the decoder. `noise` (n, latent) of N(0, 1) makes a VAE sample its embedding, as training
        does; without it the embedding is the posterior's mean, so scores repeat.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Return the anomaly map (n, h, w) of `images`, >= 0, higher = more anomalous; `ModelError` if the model has none."""
        from winnow.errors import ModelError

        raise ModelError(
            f"{type(self).__name__} does not say where a picture is damaged.",
            "Use --mode full with an autoencoder, or --mode fast.",
        )

    def rebuild(self, images: Tensor) -> Tensor:
        """Return the pictures as the model rebuilds them, same shape; `ModelError` if the model has no decoder."""
        from winnow.errors import ModelError

        raise ModelError(
            f"{type(self).__name__} has no decoder, so it cannot rebuild pictures.",
            "Use an autoencoder for reconstructions and anomaly maps.",
        )
