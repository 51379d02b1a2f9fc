"""What changed in pictures: light, contrast, sharpness and noise, and the directions of their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "of more contrast"),
    "sharpness": ("blurred", "sharper"),
    "noise": ("smoother", "noisier"),
}
DIRECTIONS = 10  # principal directions of the embeddings that are compared
TOLD = 1.0  # standard deviations from which on a change is told
_TINY = 1e-9


@dataclass(frozen=True)
class Change:
    """A quantity by its median `before` and after (`now`), and by how many standard deviations of the pictures before it moved."""

    name: str
    before: float
    now: float
    moved: float

    @property
    def text(self) -> str:
        """Return the change in words."""
        away = f"by {abs(self.moved):.1f} standard deviations"
        if self.name in WORDS:
            return f"{WORDS[self.name][self.moved > 0]} {away} ({self.name} {self.before:.3g}, now {self.now:.3g})"
        return f"moved {away} along {self.name}"


def looks(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return quantities (n,) of pictures uint8 (n, h, w, c) by name.

    In grey levels of 0 to 255: `brightness` is their mean, `contrast` their standard deviation, `noise` their median absolute second
    difference; `sharpness` is the mean squared difference of neighbours over the variance, which light does not change.
    """
    grey = pixels.astype(np.float64).mean(axis=3)
    across, down = np.diff(grey, axis=2), np.diff(grey, axis=1)
    energy = (across**2).mean(axis=(1, 2)) + (down**2).mean(axis=(1, 2))
    variance = grey.var(axis=(1, 2))
    return {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": np.sqrt(variance),
        "sharpness": energy / (variance + 1),
        "noise": np.median(np.abs(np.diff(across, axis=2)), axis=(1, 2)),
    }


def changes(before: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> list[Change]:
    """Return how each quantity of pictures before (m,) differs from that of those now (n,), the largest move first."""
    return changed(usual(before), now)


def usual(values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the median and the standard deviation of each quantity (n,), which is all that `changed` needs of it."""
    return {name: (float(np.median(one)), float(np.std(one))) for name, one in values.items()}


def changed(before: Mapping[str, tuple[float, float]], now: Mapping[str, np.ndarray]) -> list[Change]:
    """Return how each quantity of pictures now (n,) differs from what was `usual` before, the largest move first."""
    found = []
    for name, (middle, deviation) in before.items():
        other, spread = float(np.median(now[name])), max(deviation, 1e-3 * abs(middle), _TINY)
        found.append(Change(name, middle, other, (other - middle) / spread))
    return sorted(found, key=lambda change: -abs(change.moved))


def directions(before: Any, now: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the positions of embeddings before (m, d) and now (n, d) along the principal directions of those before, by name."""
    before, now = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    centre = before.mean(axis=0)
    axes = np.linalg.svd(before - centre, full_matrices=False)[2][: min(DIRECTIONS, len(before) - 1)]
    names = [f"direction {number} of the embedding" for number in range(1, len(axes) + 1)]
    return dict(zip(names, axes @ (before - centre).T, strict=True)), dict(
        zip(names, axes @ (now - centre).T, strict=True)
    )
