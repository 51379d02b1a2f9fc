"""The model of the fast mode: a small network that finds defects without a decoder, and a texture model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from winnow.errors import ModelError
from winnow.models.auxiliary import Texture
from winnow.models.contract import Model, ModelOutput
from winnow.models.windows import enlarged, top_local_error

CELL = 4
"""Height and width, in pixels, of a cell of the network's map."""
CONTRAST = 5.0
"""Factor on pixels less their mean: textures deviate from it by a fifth or so."""
ROUNDING = 1.0 / 255**2 / 12
"""Mean squared rounding error of bytes: a window's error below it carries no information."""


class Fast(Model):
    """Anomaly map of a picture from two detectors, a network and a texture model.

    `network` is trained to find synthetic defects: two 4x4 convolutions of stride 2 and three 3x3 ones of dilation 1, 2
    and 4 at a quarter of the resolution, one logit per cell of 4x4 pixels. It sees each picture less its own mean: strips
    and rolls differ in brightness, which must not count. `texture` needs no defects: the log error of small windows, which
    catches what the synthetic kinds do not cover. Both are standardised by mean and standard deviation over held-out
    normal pictures and added; the anomaly map is log(1 + exp(x)) of the sum x. `top_local_error` and `top_error` are the
    mean of its 8 highest windows. The embeddings are the network's last channels, averaged over the picture. Sizes from
    16x16; `ModelError` below.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, size: Sequence[int], channels: int, width: int = 16) -> None:
        super().__init__()
        self.size, self.channels, self.width = (int(size[0]), int(size[1])), int(channels), int(width)
        if min(self.size) < 4 * CELL:
            raise ModelError(f"Pictures of {self.size[0]}x{self.size[1]} are too small for the fast network.",
                             f"Use --size {4 * CELL} {4 * CELL} or larger.")  # fmt: skip
        wide = 2 * self.width
        layers: list[nn.Module] = []
        for narrow, broad in ((self.channels, self.width), (self.width, wide)):
            layers += [nn.Conv2d(narrow, broad, 4, stride=2, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        for dilation in (1, 2, 4):
            layers += [nn.Conv2d(wide, wide, 3, padding=dilation, dilation=dilation), nn.LeakyReLU(0.1, inplace=True)]
        self.network = nn.Sequential(*layers)
        self.head = nn.Conv2d(wide, 1, 1)
        self.texture = Texture(self.size, self.channels)
        self.register_buffer("middle", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))
        for layer in self.network:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, 0.1)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.head.weight, std=0.05)

    def config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"width": self.width}

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (n, h / 4, w / 4) that a cell of `images` (n, channels, h, w) in [0, 1] is damaged."""
        return self._logits(self._features(images))

    def sides(self, images: Tensor) -> Tensor:
        """Return both detectors' values (n, 2, h', w') in windows of 8x8 pixels, one every 4: logit, log error of the texture."""
        return self._sides(images, self._features(images))

    @torch.no_grad()
    def weigh(self, sides: Sequence[Tensor]) -> None:
        """Standardise both detectors by their values on held-out normal pictures (`sides`, batch by batch)."""
        values = torch.cat([batch.transpose(0, 1).flatten(1) for batch in sides], dim=1).double()
        self.middle.copy_(values.mean(dim=1))
        # A detector that is constant, as on flat pictures, has no spread to divide by.
        self.spread.copy_(values.std(dim=1).clamp_min(1e-3))

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings and losses of `images` (n, channels, h, w) in [0, 1]; there is no decoder and no latent loss."""
        features = self._features(images)
        highest = top_local_error(self._anomaly_map(self._sides(images, features)))
        return ModelOutput(features.mean(dim=(2, 3)).float(), top_error=highest, top_local_error=highest)

    def anomaly_map(self, images: Tensor) -> Tensor:
        """Return the anomaly map (n, h, w), >= 0, higher = more anomalous."""
        return enlarged(self._anomaly_map(self.sides(images)), *images.shape[2:])

    def _features(self, images: Tensor) -> Tensor:
        centred = (images - images.mean(dim=(1, 2, 3), keepdim=True)) * CONTRAST
        return self.network(centred)

    def _logits(self, features: Tensor) -> Tensor:
        return self.head(features)[:, 0].float()

    def _sides(self, images: Tensor, features: Tensor) -> Tensor:
        # The mean of 2x2 cells covers the same pixels as the window of 8x8.
        logits = functional.avg_pool2d(self._logits(features)[:, None], 2, 1)[:, 0]
        return torch.stack([logits, (self.texture.errors(images) + ROUNDING).log()], dim=1)

    def _anomaly_map(self, sides: Tensor) -> Tensor:
        scaled = (sides - self.middle[:, None, None]) / self.spread[:, None, None]
        return functional.softplus(scaled.sum(dim=1))
