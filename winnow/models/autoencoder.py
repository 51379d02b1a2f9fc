"""The autoencoder and the variational autoencoder: one class, four architectures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from winnow.errors import ModelError, OptionError, did_you_mean
from winnow.models.contract import Model, ModelOutput
from winnow.models.windows import enlarged, local_error, top_local_error
from winnow.options import ModelOptions

EncoderDecoder = tuple[nn.Module, nn.Module]

TOP_SHARE = 0.05
# exp() of the log variance must stay finite for pictures unlike any seen in training, or they would have no score.
LOG_VARIANCE_LIMIT = 20.0


class AutoEncoder(Model):
    """Network that compresses a picture to an embedding of `latent` numbers and rebuilds it; `variational` makes it a VAE.

    `architecture` is "strided" (any size from 8x8; its first layer has `width` channels), "football" (the network of
    Afolabi 2020, any size from 15x15, `width` does not apply), "inspection" (that of Soukup & Pinetz 2018, any size
    from 16x16) or "selection" (that of Singh et al., any size from 16x16; in training mode its batch normalisation
    looks at the whole batch, in evaluation mode no picture depends on another). Raises `ModelError` for a size the
    layers cannot take.

    The VAE is that of Kingma & Welling 2014 (arXiv 1312.6114): the encoder returns mean and log variance of a Gaussian
    posterior; the latent loss is its KL divergence from N(0, 1) (appendix B). A plain AE has no latent loss.
    """

    def __init__(
        self,
        size: Sequence[int],
        channels: int,
        architecture: str = "strided",
        variational: bool = False,
        latent: int = 64,
        width: int = 32,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise OptionError(
                f"There is no architecture '{architecture}'.", did_you_mean(architecture, list(ARCHITECTURES))
            )
        self.size, self.channels = (int(size[0]), int(size[1])), int(channels)
        self.architecture, self.variational = architecture, bool(variational)
        self.latent, self.width = int(latent), int(width)
        outputs = 2 * self.latent if self.variational else self.latent
        layers = ARCHITECTURES[architecture]
        self.encoder, self.decoder = layers(self.size, self.channels, self.latent, outputs, self.width)

    @classmethod
    def from_options(cls, size: Sequence[int], channels: int, options: ModelOptions) -> AutoEncoder:
        """Return the network that `options` describe, with random weights."""
        return cls(size, channels, options.architecture, options.variational, options.latent, options.width)

    def config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""
        return {
            "architecture": self.architecture,
            "variational": self.variational,
            "latent": self.latent,
            "width": self.width,
        }

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log variance (n, latent) of the embedding; the log variance is None for a plain AE."""
        # The embeddings and their losses are float32 even when autocast runs the layers in bfloat16.
        out = self.encoder(images).float()
        if not self.variational:
            return out, None
        mean, log_variance = out.chunk(2, dim=1)
        return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)

    def decode(self, vectors: Tensor) -> Tensor:
        """Return pictures (n, channels, h, w) in [0, 1] rebuilt from embeddings (n, latent)."""
        return torch.sigmoid(self.decoder(vectors).float())

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings and losses of `images` (n, channels, h, w) in [0, 1]; `noise` (n, latent) samples a VAE's embedding.

        In training mode `top_error` and `top_local_error` are left out: training does not use them, and sorting costs time.
        """
        mean, log_variance = self.posterior(images)
        vectors, latent = mean, None
        if log_variance is not None:
            latent = 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(dim=1)
            if noise is not None:
                vectors = mean + noise * (0.5 * log_variance).exp()
        if not decode:
            return ModelOutput(vectors, latent=latent)
        residual = self.decode(vectors) - images
        error = residual.square()
        reconstruction = error.flatten(1).mean(dim=1)
        if self.training:
            return ModelOutput(vectors, reconstruction, latent=latent)
        return ModelOutput(vectors, reconstruction, mean_of_top(error), latent, top_local_error(local_error(residual)))

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Return the mean squared error (n, h, w) in a window round each pixel; `top_local_error` is the mean of its highest."""
        return enlarged(local_error(self.rebuild(images) - images), *images.shape[2:])

    def rebuild(self, images: Tensor) -> Tensor:
        """Return the pictures as the model rebuilds them from the posterior's mean, same shape."""
        return self.decode(self.posterior(images)[0])


def mean_of_top(error: Tensor, share: float = TOP_SHARE) -> Tensor:
    """Return the mean (n,) of the largest `share` of squared errors (n, c, h, w), averaged over channels first.

    A small defect drowns in the mean over the whole picture, not in this one.
    """
    pixels = error.mean(dim=1).flatten(1)
    return pixels.topk(max(1, round(share * pixels.shape[1])), dim=1).values.mean(dim=1)


def strided(size: tuple[int, int], channels: int, latent: int, outputs: int, width: int) -> EncoderDecoder:
    """Build 4x4 convolutions of stride 2 down to a map about 4 wide, a linear layer, and the mirror image of both.

    The reasons: every layer halves the map, which is the fastest way to a given receptive field; a kernel that is a
    multiple of its stride leaves no checkerboard in the transposed convolutions (Odena 2016, doi
    10.23915/distill.00003); output_padding restores odd sizes exactly. No batch normalisation: a picture's score must
    not depend on the rest of its batch, nor on averages that a short training has not settled. Leaky ReLU, because
    without normalisation plain ReLU units can die. Initialised as He et al. 2015 (arXiv 1502.01852): with torch's own,
    smaller weights the embeddings of all pictures start so alike that small networks never leave the mean picture.
    """
    if min(size) < 8:
        raise ModelError(
            f"Pictures of {size[0]}x{size[1]} are too small for the architecture 'strided'.",
            "Use --size 8 8 or larger.",
        )
    maps = [size]
    while min(maps[-1]) >= 6:
        maps.append((maps[-1][0] // 2, maps[-1][1] // 2))
    depth = len(maps) - 1
    widths = [channels, *(width * min(4, 2**level) for level in range(depth))]
    encoder: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        encoder += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(0.1)]
    (height, breadth), deepest = maps[-1], widths[-1]
    values = height * breadth * deepest
    decoder: list[nn.Module] = [
        nn.Linear(latent, values),
        nn.LeakyReLU(0.1),
        nn.Unflatten(1, (deepest, height, breadth)),
    ]
    for level in range(depth, 0, -1):
        small, large = maps[level], maps[level - 1]
        rest = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        decoder.append(nn.ConvTranspose2d(widths[level], widths[level - 1], 4, 2, padding=1, output_padding=rest))
        if level > 1:
            decoder.append(nn.LeakyReLU(0.1))
    networks = nn.Sequential(*encoder, nn.Flatten(), nn.Linear(values, outputs)), nn.Sequential(*decoder)
    for layer in (*networks[0], *networks[1]):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _he(layer)
    return networks


def football(size: tuple[int, int], channels: int, latent: int, outputs: int, width: int) -> EncoderDecoder:
    """Build the network of *Image Classification Using the Variational Autoencoder* (Afolabi 2020).

    Encoder: valid 3x3 convolutions of 32 (stride 2), 64, 128, 256 channels with ReLU, then one dense layer: 99,872,576
    parameters for a VAE of 256 dimensions at 80x60x3. Decoder: dense to half the height and width by 32, transposed 3x3
    convolutions of 32 (stride 2), 64, 128, 256 with ReLU and one to the picture (sigmoid).
    """
    half = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    map_size = ((size[0] - 3) // 2 - 5, (size[1] - 3) // 2 - 5)
    if min(map_size) < 1:
        raise ModelError(
            f"Pictures of {size[0]}x{size[1]} are too small for the architecture 'football'.",
            "Use --size 15 15 or larger (the article has 80 60), or --architecture strided.",
        )
    encoder: list[nn.Module] = []
    for narrow, wide, stride in ((channels, 32, 2), (32, 64, 1), (64, 128, 1), (128, 256, 1)):
        encoder += [nn.Conv2d(narrow, wide, 3, stride=stride), nn.ReLU()]
    rest = (size[0] - 2 * half[0] + 1, size[1] - 2 * half[1] + 1)
    decoder: list[nn.Module] = [
        nn.Linear(latent, half[0] * half[1] * 32),
        nn.ReLU(),
        nn.Unflatten(1, (32, *half)),
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=rest),
        nn.ReLU(),
    ]
    for narrow, wide in ((32, 64), (64, 128), (128, 256)):
        decoder += [nn.ConvTranspose2d(narrow, wide, 3, padding=1), nn.ReLU()]
    decoder.append(nn.ConvTranspose2d(256, channels, 3, padding=1))
    flat = nn.Linear(256 * map_size[0] * map_size[1], outputs)
    return nn.Sequential(*encoder, nn.Flatten(), flat), nn.Sequential(*decoder)


def inspection(size: tuple[int, int], channels: int, latent: int, outputs: int, width: int) -> EncoderDecoder:
    """Build the network of *Reliably Decoding Autoencoders' Latent Spaces* (Soukup & Pinetz 2018).

    VGG-like: 3x3 convolutions of stride 2 with ReLU, the channels doubling from `width` on, down to a map about 4 wide,
    and one dense layer; the decoder is its mirror image in transposed convolutions and ends in tanh. Pictures here lie
    in [0, 1], so that tanh appears as (tanh(z) + 1) / 2 = sigmoid(2 z): the last layer doubles, `decode` does the rest.
    """
    if min(size) < 16:
        raise ModelError(
            f"Pictures of {size[0]}x{size[1]} are too small for the architecture 'inspection'.",
            "Use --size 16 16 or larger (the article has 64 64).",
        )
    maps = _halved(size)
    widths = [channels, *(width * 2**level for level in range(len(maps) - 1))]
    (height, breadth), values = maps[-1], maps[-1][0] * maps[-1][1] * widths[-1]
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = [nn.Linear(latent, values), nn.ReLU(), nn.Unflatten(1, (widths[-1], height, breadth))]
    for narrow, wide in pairwise(widths):
        encoder += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU()]
    for level in range(len(maps) - 1, 0, -1):
        rest = (maps[level - 1][0] - 2 * maps[level][0] + 1, maps[level - 1][1] - 2 * maps[level][1] + 1)
        decoder.append(nn.ConvTranspose2d(widths[level], widths[level - 1], 3, 2, padding=1, output_padding=rest))
        decoder.append(nn.ReLU() if level > 1 else Twice())
    return nn.Sequential(*encoder, nn.Flatten(), nn.Linear(values, outputs)), nn.Sequential(*decoder)


def selection(size: tuple[int, int], channels: int, latent: int, outputs: int, width: int) -> EncoderDecoder:
    """Build the network of *Image selection based on autoencoder neural network* (Singh et al.).

    From the article: 64x64x3 in, 512 numbers in between, convolution, batch normalisation and max pooling down,
    upsampling and the same layers up. Our choices, where it is silent: 3x3 convolutions with ReLU, the channels doubling
    from `width` to at most eight times that, blocks down to a map about 4 wide, one dense layer each way, nearest
    upsampling. Odd sizes are restored exactly: pooling rounds up, and each upsampling knows its size.
    """
    if min(size) < 16:
        raise ModelError(
            f"Pictures of {size[0]}x{size[1]} are too small for the architecture 'selection'.",
            "Use --size 16 16 or larger (the article has 64 64).",
        )
    maps = _halved(size)
    widths = [channels, *(width * min(8, 2**level) for level in range(len(maps) - 1))]
    (height, breadth), values = maps[-1], maps[-1][0] * maps[-1][1] * widths[-1]
    encoder: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        encoder += [
            nn.Conv2d(narrow, wide, 3, padding=1),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
    decoder: list[nn.Module] = [nn.Linear(latent, values), nn.ReLU(), nn.Unflatten(1, (widths[-1], height, breadth))]
    for level in range(len(maps) - 1, 0, -1):
        decoder += [nn.Upsample(maps[level - 1]), nn.Conv2d(widths[level], widths[level - 1], 3, padding=1)]
        if level > 1:
            decoder += [nn.BatchNorm2d(widths[level - 1]), nn.ReLU()]
    return nn.Sequential(*encoder, nn.Flatten(), nn.Linear(values, outputs)), nn.Sequential(*decoder)


def _halved(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes of maps, each half of the one before, rounded up, down to a side of about 4."""
    maps = [size]
    while min(maps[-1]) >= 8:
        maps.append((math.ceil(maps[-1][0] / 2), math.ceil(maps[-1][1] / 2)))
    return maps


class Twice(nn.Module):
    """Layer that doubles its input: sigmoid(2 z) is tanh(z) moved to [0, 1]."""

    def forward(self, values: Tensor) -> Tensor:
        """Return 2 z."""
        return 2 * values


def _he(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    """Draw normal weights of variance 2 / (1.01 x inputs a value is summed from), and set the bias to zero."""
    inputs = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        # Of its 4x4 weights an output pixel sees as many as fit between the zeros of the stride.
        inputs = layer.in_channels * (math.prod(layer.kernel_size) // math.prod(layer.stride))
    nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (1.01 * inputs)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


ARCHITECTURES = {"strided": strided, "football": football, "inspection": inspection, "selection": selection}
