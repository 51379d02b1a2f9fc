"""The halves and quarters of a picture, and which of them do not belong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, width and height of a part, as shares of the picture's."""

QUARTERS: dict[str, Box] = {
    "top left quarter": (0, 0, 1 / 2, 1 / 2),
    "top right quarter": (1 / 2, 0, 1 / 2, 1 / 2),
    "bottom left quarter": (0, 1 / 2, 1 / 2, 1 / 2),
    "bottom right quarter": (1 / 2, 1 / 2, 1 / 2, 1 / 2),
}
HALVES: dict[str, Box] = {
    "left half": (0, 0, 1 / 2, 1),
    "right half": (1 / 2, 0, 1 / 2, 1),
    "top half": (0, 0, 1, 1 / 2),
    "bottom half": (0, 1 / 2, 1, 1 / 2),
}
PARTS = {**QUARTERS, **HALVES}
OF_HALF = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], bool)
"""Which quarters each of `HALVES` has."""
WHOLE = "whole picture"


def foreign_of(log_p: np.ndarray, limit: float) -> np.ndarray:
    """Return which of `QUARTERS` are foreign (n, 4) bool, from -log p of each of `PARTS` (n, parts).

    Foreign are the quarters above the limit; where none is, those of the most anomalous half, if that is; else none.
    """
    quarters, halves = np.split(log_p, [len(QUARTERS)], axis=1)
    foreign = quarters > limit
    by_half = ~foreign.any(axis=1) & (halves.max(axis=1) > limit)
    foreign[by_half] = OF_HALF[halves[by_half].argmax(axis=1)]
    return foreign


def names_of(foreign: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Return the name of the part that does not belong (n,) by its quarters (n, 4), "" of pictures that do belong (n,) bool."""
    return np.array(["" if fits else name_of(row) for row, fits in zip(foreign, belongs, strict=True)], dtype=object)


def name_of(foreign: np.ndarray) -> str:
    """Return the name of the quarters that are foreign (4,) bool: of one, of a half, of each, or `WHOLE` for all and for none."""
    if foreign.all() or not foreign.any():
        return WHOLE
    for name, quarters in zip(HALVES, OF_HALF, strict=True):
        if np.array_equal(foreign, quarters):
            return name
    return " and ".join(name for name, is_foreign in zip(QUARTERS, foreign, strict=True) if is_foreign)


def most_named(counts: Mapping[str, int]) -> str:
    """Return the part that is named most often, of equals the first in the alphabet, "" of none."""
    return min(counts, key=lambda name: (-counts[name], name), default="")
