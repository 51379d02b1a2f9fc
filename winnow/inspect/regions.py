"""Connected regions of a mask, by numpy alone: what inspects on a line has no scipy."""

from __future__ import annotations

import numpy as np


def regions(mask: np.ndarray) -> np.ndarray:
    """Return the number of the region (h, w) that each pixel of a mask (h, w) bool is in, 0 outside: 1, 2, ... from the top.

    Pixels that share an edge or a corner are in one region.
    """
    width = mask.shape[1] + 2
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(steps == 1)  # of each run of pixels, in the order of reading
    end = np.nonzero(steps == -1)[1]
    # In the row below, a run meets those that begin at its end or before it, and end at its beginning or after it.
    first = np.searchsorted(row * width + end, (row + 1) * width + start, side="left")
    last = np.searchsorted(row * width + start, (row + 1) * width + end, side="right")
    count = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(row)), count)
    below = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    _, number = np.unique(_joined(len(row), above, below), return_inverse=True)
    found = np.zeros(mask.shape, int)
    found[mask] = np.repeat(number + 1, end - start)
    return found


def _joined(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return for each of n things (n,) the least one that pairs (m,), (m,) join it with."""
    least = np.arange(n)
    while True:
        one, other = least[first], least[second]
        if np.array_equal(one, other):
            return least
        low = np.minimum(one, other)
        np.minimum.at(least, one, low)
        np.minimum.at(least, other, low)
        while (least != least[least]).any():
            least = least[least]


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """Return a mask (h, w) bool with all within `by` pixels of it, across, down and diagonally."""
    for axis in (0, 1):
        length = mask.shape[axis]
        total = np.insert(np.cumsum(mask, axis=axis), 0, 0, axis=axis)
        places = np.arange(length)
        high, low = np.minimum(places + by + 1, length), np.maximum(places - by, 0)
        mask = np.take(total, high, axis=axis) > np.take(total, low, axis=axis)
    return mask
