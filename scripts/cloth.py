"""Woven cloth drawn from seeds, whole and damaged, with the masks of the damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 64, 160


def cloth(rng: np.random.Generator, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Return a plain weave (h, w) uint8: threads 4 pixels apart over and under one another, no two pictures alike."""
    y, x = np.mgrid[: size[0], : size[1]] + rng.uniform(0, 8, (2, 1, 1))
    over = np.cos(np.pi * x / 4) * np.cos(np.pi * y / 4)
    shade = 128 + 40 * over + rng.normal(0, 4) + rng.normal(0, 10, size)
    return shade.clip(0, 255).astype(np.uint8)


def damaged(rng: np.random.Generator, size: tuple[int, int] = (HEIGHT, WIDTH)) -> tuple[np.ndarray, np.ndarray]:
    """Return a cloth with a dark hole and its mask (h, w) bool; every other one with a bright streak instead."""
    picture = cloth(rng, size)
    y, x = np.mgrid[: size[0], : size[1]]
    row, column = (int(rng.integers(12, side - 12)) for side in size)
    if rng.random() < 0.5:
        mask = (y - row) ** 2 + (x - column) ** 2 <= 36
        picture[mask] = rng.integers(0, 30, mask.sum())
    else:
        mask = (abs(x - column) <= 1) & (abs(y - row) <= 12)
        picture[mask] = rng.integers(235, 256, mask.sum())
    return picture, mask


def write_cloth(folder: Path, count: int, seed: int = 0) -> Path:
    """Write so many good cloths as grey PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(cloth(rng)).save(folder / f"roll {number:02d}.png")
    return folder


def write_damaged(folder: Path, masks: Path, count: int, seed: int = 1) -> Path:
    """Write so many damaged cloths, and their masks, white where damaged, into another folder; NAME_mask.png of every other."""
    for made in (folder, masks):
        made.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        picture, mask = damaged(rng)
        Image.fromarray(picture).save(folder / f"bad {number:02d}.png")
        Image.fromarray(mask).save(masks / f"bad {number:02d}{'_mask' if number % 2 else ''}.png")
    return folder
