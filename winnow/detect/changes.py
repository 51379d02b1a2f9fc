"""What changed in pictures: light, contrast, sharpness and noise, and the directions of their embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
TOLD = 3.4  # standard errors from which on a change is told: of 14 quantities that did not change, one comparison in 100 tells of any
LEAST = 1e-6  # of the largest standard deviation: along less, embeddings do not differ
_TINY = 1e-9


@dataclass(frozen=True)
class Change:
    """A quantity by its mean `before` and after (`now`), by how many standard deviations of the pictures before it `moved`, and how many
    standard `errors` of the difference of the means that is."""

    name: str
    before: float
    now: float
    moved: float
    errors: float

    @property
    def told(self) -> bool:
        """Return whether it is more than chance."""
        return abs(self.errors) >= TOLD

    @property
    def text(self) -> str:
        """Return in words how a look of `WORDS` changed."""
        away = f"by {abs(self.moved):.1f} standard deviations"
        return f"{WORDS[self.name][self.moved > 0]} {away} ({self.name} {self.before:.3g}, now {self.now:.3g})"


def in_words(found: Sequence[Change]) -> list[str]:
    """Return what is told of changes: each look, and all directions of the embeddings in one sentence."""
    told = [change for change in found if change.told]
    said = [change.text for change in told if change.name in WORDS]
    ways = [change for change in told if change.name not in WORDS]
    if ways:
        numbers = sorted(int(change.name.split()[1]) for change in ways)
        which = f"direction {numbers[0]}" if len(ways) == 1 else f"directions {', '.join(map(str, numbers))}"
        most = max(abs(change.moved) for change in ways)
        said.append(
            f"the embeddings moved by {'' if len(ways) == 1 else 'up to '}{most:.1f} standard deviations ({which})"
        )
    return said


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
    """Return how each quantity of pictures before (m,) differs from that of those now (n,), the clearest first."""
    return changed(usual(before), min((len(one) for one in before.values()), default=0), now)


def usual(values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the mean and the standard deviation of each quantity (n,), which is all that `changed` needs of it."""
    return {name: (float(np.mean(one)), float(np.std(one))) for name, one in values.items()}


def changed(before: Mapping[str, tuple[float, float]], count: int, now: Mapping[str, np.ndarray]) -> list[Change]:
    """Return how each quantity of pictures now (n,) differs from what was `usual` of so many before, the clearest first.

    Means are compared, whose errors follow from the standard deviations whatever the distribution is; that of a median does not. The
    pictures now are taken to differ among themselves at least as those before do, for few may be alike by chance. One picture before
    does not say how much pictures differ: then nothing is returned.
    """
    found: list[Change] = []
    if count < 2:
        return found
    for name, (mean, deviation) in before.items():
        other, spread = float(np.mean(now[name])), max(deviation, 1e-3 * abs(mean), _TINY)
        error = math.hypot(spread / math.sqrt(count), max(spread, float(np.std(now[name]))) / math.sqrt(len(now[name])))
        found.append(Change(name, mean, other, (other - mean) / spread, (other - mean) / error))
    return sorted(found, key=lambda change: -abs(change.errors))


@dataclass(frozen=True)
class Directions:
    """Principal directions of embeddings: their `mean` (d,), and the `axes` (k, d), each over the standard deviation along it."""

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, vectors: Any) -> Directions | None:
        """Return the `DIRECTIONS` of embeddings (m, d) with the most variance, or as many as there are; None where none differ."""
        vectors = np.asarray(vectors, dtype=np.float64)
        if len(vectors) < 2 or not vectors.shape[1]:
            return None
        mean = vectors.mean(axis=0)
        _, sizes, axes = np.linalg.svd(vectors - mean, full_matrices=False)
        held = min(DIRECTIONS, len(vectors) - 1, int((sizes > LEAST * max(sizes[0], LEAST * np.abs(mean).max())).sum()))
        if not held:
            return None
        # The sign of a singular vector is free, and differs from machine to machine.
        signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
        return cls(mean, (signs * axes)[:held] / (sizes[:held, None] / np.sqrt(len(vectors))))

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.axes)

    def positions(self, vectors: Any) -> np.ndarray:
        """Return how far embeddings (n, d) lie along each direction (n, k): 0 is the mean of those before, 1 their standard deviation."""
        return np.asarray((np.asarray(vectors, dtype=np.float64) - self.mean) @ self.axes.T)


def usual_positions(count: int) -> dict[str, tuple[float, float]]:
    """Return what is `usual` of positions along so many `Directions`, by their names."""
    return {f"direction {number} of the embedding": (0.0, 1.0) for number in range(1, count + 1)}


def changed_rows(before: Mapping[str, tuple[float, float]], count: int, now: np.ndarray) -> list[Change]:
    """Return the same as `changed` of a row for each picture now (n, quantities), in the order of the names before."""
    return changed(before, count, dict(zip(before, now.T, strict=True)))
