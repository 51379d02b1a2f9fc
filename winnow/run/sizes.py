"""Whether new pictures are of the sizes that a run has learnt from, where it judges pictures in parts."""

from __future__ import annotations

import numpy as np

from winnow.pool.pool import Pool

APART = (
    1.5  # times as large, or as long for their width, as the largest of the run's own; or as much below the smallest
)


def other_sizes(own: Pool, new: Pool) -> str:
    """Return a sentence where new pictures are of another size or shape than the run's own, "" where none is.

    Taken from another distance, or scaled to the run's size, they look finer or coarser.
    """
    if not len(own.pictures) or not len(new.pictures):
        return ""
    known, found = _sides(own), _sides(new)
    low, high = known.min(axis=0) / APART, known.max(axis=0) * APART
    other = ((found < low) | (found > high)).any(axis=1)
    if not other.any():
        return ""
    sizes = np.array([own.pictures.column(name).to_numpy() for name in ("width", "height")])
    first = np.flatnonzero(other)[0]
    width, height = (int(new.pictures.column(name)[first].as_py()) for name in ("width", "height"))
    return (
        f"{int(other.sum()):,} of {len(found):,} pictures are of another size or shape ({width}x{height}) than the run's own "
        f"({sizes[0].min()}x{sizes[1].min()} to {sizes[0].max()}x{sizes[1].max()}): the false-alarm rate need not hold for them. Take all "
        "at one distance and resolution, or make a run of pictures like these."
    )


def _sides(pool: Pool) -> np.ndarray:
    """Return the geometric mean of the sides, and their ratio, of each picture (n, 2)."""
    width, height = (pool.pictures.column(name).to_numpy().astype(float) for name in ("width", "height"))
    return np.column_stack([np.sqrt(width * height), width / height])
