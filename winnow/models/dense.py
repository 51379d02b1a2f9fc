"""Dense features of a pretrained network: an embedding of each place of a picture, from a layer in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from winnow.errors import ModelError
from winnow.models.contract import ModelOutput
from winnow.models.pretrained import Pretrained
from winnow.models.windows import picture_means

# Measured on magnetic tiles (docs/log.md): deep enough to know shapes, and fine enough for small defects.
LAYERS = {"mobilenet_v2": "features.13", "vgg16": "features.22", "squeezenet1_1": "features.10"}
REDUCTION = 16  # pixels a place is apart from the next, at most, in the layer that is taken of a timm network
MOST_CHANNELS = 128
DEVIATION = 50 / 255  # that each picture is brought to
LEAST_DEVIATION = 4 / 255  # below it a picture is flat, and its noise is not blown up


class Dense(Pretrained):
    """Embeddings of each place of a grid over the picture: a middle layer of a frozen network, averaged over 3x3 places.

    After Defard et al. 2020 (PaDiM, arXiv 2011.08785) and Roth et al. 2022 (PatchCore, arXiv 2106.08265, section 3.1). Each
    picture is first brought to one mean and standard deviation: another exposure is no defect. `layer`: by default one whose
    places are 16 pixels apart. More than 128 channels are projected to so many by fixed random orthonormal directions. The
    embedding of the picture is the mean of its places. Raises `ModelError` for a layer that has no places.
    """

    projection: Tensor | None = None
    tokens: tuple[int, int] | None = None  # of a transformer: see `_tokens`; found once, before its graph is written

    def __init__(self, size: Sequence[int], channels: int, backbone: str = "mobilenet_v2", layer: str = "") -> None:
        super().__init__(size, channels, backbone, layer)

    def until(self, network: nn.Module, layer: str) -> nn.Module:
        """Return the part of the network up to a layer, by timm's own means where the network cannot be traced."""
        try:
            return super().until(network, layer)
        except ModelError:
            modules = [entry["module"] for entry in getattr(network, "feature_info", None) or []]
            if layer not in modules:
                raise
            import timm

            return timm.create_model(self.backbone, features_only=True, out_indices=(modules.index(layer),)).eval()

    def usual_layer(self, network: nn.Module) -> str:
        """Return the last layer whose places are at most 16 pixels apart."""
        if self.backbone in LAYERS:
            return LAYERS[self.backbone]
        known: Any = getattr(network, "feature_info", None) or []
        fine = [entry["module"] for entry in known if entry["reduction"] <= REDUCTION]
        if not fine:
            raise ModelError(f"The layers of '{self.backbone}' are not known.", "Name one with --layer.")
        return str(fine[-1])

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings of `images` (n, channels, h, w) in [0, 1] and of their places; there is nothing to decode."""
        mean = picture_means(images)
        deviation = picture_means((images - mean).square()).sqrt().clamp_min(LEAST_DEVIATION)
        places = self._map(self.features(((images - mean) / deviation * DEVIATION + 0.5).clamp(0, 1)).float())
        cells = F.avg_pool2d(places, 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
        if self.projection is not None:
            cells = cells @ self.projection
        return ModelOutput(cells.mean(dim=(1, 2)), cells=cells)

    def _map(self, out: Tensor) -> Tensor:
        """Return a layer's output as a map (n, d, h, w); tokens without those of no place."""
        if out.ndim == 4:
            return out if self.spatial == (2, 3) else out.permute(0, 3, 1, 2)
        if out.ndim == 3:
            if self.tokens is None:
                self.tokens = self._tokens(out.shape[1])
            extra, rows = self.tokens
            return out[:, extra:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)
        raise self._placeless()

    def _tokens(self, count: int) -> tuple[int, int]:
        """Return how many of so many tokens are of no place, class and register tokens, which come first, and the rows of the others."""
        height, width = self.input_size or self.size
        if self.grid is not None and self.grid[0] * self.grid[1] <= count:
            return count - self.grid[0] * self.grid[1], self.grid[0]
        for extra in range(count):
            rows = round(((count - extra) * height / width) ** 0.5)
            if rows and (count - extra) % rows == 0 and abs((count - extra) / rows / rows - width / height) < 0.2:
                return extra, rows
        raise self._placeless()

    def _placeless(self) -> ModelError:
        return ModelError(
            f"The layer of '{self.backbone}' has no places.", "Name one in the middle of the network with --layer."
        )

    def _probe(self) -> ModelOutput:
        found = super()._probe()
        channels = found.vectors.shape[1]
        if channels > MOST_CHANNELS:
            drawn = torch.randn(channels, MOST_CHANNELS, generator=torch.Generator().manual_seed(0))
            self.projection = torch.linalg.qr(drawn).Q
        return found
