"""What the pictures that a run has learnt from are like, where it judges pictures in parts, and what is said of new ones that are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from winnow.pool.pool import Items

# Times as large, or as long for their width, as the largest of the run's own; or as much below the smallest.
APART = 1.5


@dataclass(frozen=True)
class Usual:
    """The least and the greatest of a run's own pictures, in pixels and as width by height; `colour`: most have colour."""

    width: tuple[int, int]
    height: tuple[int, int]
    side: tuple[float, float]  # geometric mean of width and height
    shape: tuple[float, float]
    colour: bool

    @classmethod
    def of(cls, own: Items) -> Usual | None:
        """Return what the pictures of a pool are like; None of one that was not cut."""
        if not len(own.pictures):
            return None
        colours = own.pictures.column("colour").to_pylist()
        extremes = [tuple(np.percentile(values, (0, 100)).tolist()) for values in _sides(own).T]
        width, height = ((int(low), int(high)) for low, high in extremes[:2])
        return cls(width, height, extremes[2], extremes[3], sum(colours) > len(colours) / 2)

    def notes(self, new: Items) -> list[str]:
        """Return a sentence on new pictures of another size, and one on grey ones where the run learnt from colour."""
        return list(filter(None, [self._other_sizes(new), self._grey(new)])) if len(new.pictures) else []

    def _other_sizes(self, new: Items) -> str:
        """Return a sentence where pictures are of another size or shape: taken from another distance they look finer or coarser."""
        found = _sides(new)
        low, high = np.array([self.side, self.shape]).T
        other = ((found[:, 2:] < low / APART) | (found[:, 2:] > high * APART)).any(axis=1)
        if not other.any():
            return ""
        width, height = found[other.argmax(), :2].astype(int)
        return (
            f"{int(other.sum()):,} of {len(found):,} pictures are of another size or shape ({width}x{height}) than the run's own "
            f"({self.width[0]}x{self.height[0]} to {self.width[1]}x{self.height[1]}): the false-alarm rate need not hold for them. "
            "Take all at one distance and resolution, or make a run of pictures like these."
        )

    def _grey(self, new: Items) -> str:
        """Return a sentence where the run learnt from colour and new pictures have none."""
        colours = new.pictures.column("colour").to_pylist()
        if not self.colour or all(colours):
            return ""
        return (
            f"{colours.count(False):,} of {len(colours):,} pictures are grey, while the run learnt from colour: their scores say that "
            "they lack colour. Give colour pictures, or make a run with --grey."
        )


def _sides(pool: Items) -> np.ndarray:
    """Return width and height of each picture, the geometric mean of them, and their ratio (n, 4)."""
    width, height = (pool.pictures.column(name).to_numpy().astype(float) for name in ("width", "height"))
    return np.column_stack([width, height, np.sqrt(width * height), width / height])
