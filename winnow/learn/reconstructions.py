"""Grids of originals above their reconstructions, the quickest look at what a network has learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from winnow.files import replacing
from winnow.models.contract import Model

SHOWN = 8
SIDE = 96


def can_rebuild(model: Model) -> bool:
    """Return whether the model has a `rebuild` of its own."""
    return type(model).rebuild is not Model.rebuild


@torch.inference_mode()
def rebuild_grid(model: Model, images: Tensor) -> np.ndarray:
    """Return pictures (n, c, h, w) in one row above their reconstructions: (2h, n w, c) uint8, small ones enlarged."""
    was_training = model.training
    model.eval()
    both = torch.stack([images, model.rebuild(images)]).clamp(0, 1).mul(255).round().byte()
    model.train(was_training)
    rows, n, channels, height, width = both.shape
    tiles = both.permute(0, 3, 1, 4, 2).reshape(rows * height, n * width, channels).cpu().numpy()
    factor = max(1, round(SIDE / max(height, width)))
    return tiles.repeat(factor, axis=0).repeat(factor, axis=1)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write (h, w, 1 or 3) uint8 as PNG, atomically."""
    with replacing(path) as temporary:
        Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(temporary, format="PNG")
