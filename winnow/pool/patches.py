"""Pictures of any size cut into patches, and maps of patches joined to a map of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

BLANK_SHARE = 1 / 32
"""A patch is blank when more than this share of its columns, or of its rows, is: two of 64."""
LONG = 4
"""A picture so many times as long as wide is still one tile."""
MOST_TILES = 256
"""Tiles of one picture at most: a line of single pixels would be thousands, each scaled to the size that a run judges."""
_BOX_OF_ID = re.compile(r"#\d+,\d+,\d+,\d+\Z")
DAMAGED_PIXELS = 15
"""Fewest pixels of a mask inside a patch that make it a damaged one."""


def grid(size: Sequence[int], patch: Sequence[int], stride: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper and left edges, (rows,) and (columns,), of the patches (h, w) that cover a picture of `size` (h, w).

    They are `stride` pixels apart (0: adjacent), the last ones flush with the border, so that no pixel is left out.
    Both are empty when the picture is smaller than a patch.
    """
    edges = []
    for whole, part in zip(size, patch, strict=True):
        if whole < part:
            return np.empty(0, int), np.empty(0, int)
        places = np.arange(0, whole - part + 1, stride or part)
        edges.append(places if places[-1] == whole - part else np.append(places, whole - part))
    return edges[0], edges[1]


def boxes_of(
    picture: np.ndarray, patch: Sequence[int], stride: int = 0, blank: float = 3.0, border: int = 0
) -> tuple[np.ndarray, int]:
    """Return the patches of a picture (h, w, c) uint8 as boxes (n, 4) of x, y, width, height, and the number dropped as blank.

    A column or row of a patch is blank when its standard deviation is below `blank` grey levels (0: nothing is). A patch
    with more than 1/32 of its columns or rows blank is background and dropped, unless it lies between two that are not,
    left and right or above and below: that is a hole in the material, and a hole is a defect. Patches within `border`
    pixels of a dropped one go too: the selvage of a cloth is no defect, yet looks like nothing else.
    """
    tops, lefts, _, keep = kept_of(picture, patch, stride, blank, border)
    return placed(keep, tops, lefts, patch), int((~keep).sum())


def kept_of(
    picture: np.ndarray, patch: Sequence[int], stride: int, blank: float, border: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the grid of a picture's patches, upper and left edges, which of them (rows, columns) are not blank, and which are kept:
    those, and holes, unless they are near to a dropped one."""
    tops, lefts = grid(picture.shape[:2], patch, stride)
    full = np.ones((len(tops), len(lefts)), bool) if blank <= 0 else ~_blank(picture, patch, tops, lefts, blank)
    material = full | _enclosed(full)
    keep = material & ~_near(~material, tops, lefts, patch, border) if border else material
    return tops, lefts, full, keep


def placed(wanted: np.ndarray, tops: np.ndarray, lefts: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """Return the wanted patches (rows, columns) of a grid as boxes (n, 4) of x, y, width, height."""
    y, x = np.nonzero(wanted)
    boxes = np.column_stack([lefts[x], tops[y], np.full(len(x), patch[1]), np.full(len(x), patch[0])])
    return boxes.astype(int).reshape(-1, 4)


def _near(dropped: np.ndarray, tops: np.ndarray, lefts: np.ndarray, patch: Sequence[int], border: int) -> np.ndarray:
    """Return which patches of a grid begin less than `border` pixels from the end of a dropped one."""
    found = np.zeros_like(dropped)
    for i, j in np.argwhere(dropped):
        rows = np.abs(tops - tops[i]) < patch[0] + border
        columns = np.abs(lefts - lefts[j]) < patch[1] + border
        found |= np.outer(rows, columns)
    return found


def _blank(picture: np.ndarray, patch: Sequence[int], tops: np.ndarray, lefts: np.ndarray, level: float) -> np.ndarray:
    """Return which patches of a grid (rows, columns) are blank."""
    height, width = patch
    if not len(tops):
        return np.zeros((0, 0), bool)
    grey = picture.mean(axis=2, dtype=np.float32)
    columns = np.stack([grey[top : top + height].std(axis=0) < level for top in tops])
    lines = np.stack([grey[:, left : left + width].std(axis=1) < level for left in lefts])
    return (_within(columns, lefts, width) > BLANK_SHARE * width) | (
        _within(lines, tops, height) > BLANK_SHARE * height
    ).T


def _within(flags: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return how many of the flags (k, n) are set within `length` of each start: (k, starts)."""
    total = np.pad(np.cumsum(flags, axis=1), ((0, 0), (1, 0)))
    return total[:, starts + length] - total[:, starts]


def _enclosed(full: np.ndarray) -> np.ndarray:
    """Return the places between two full ones in their row or in their column (rows, columns) bool."""
    found = np.zeros_like(full)
    for axis in (0, 1):
        before = np.logical_or.accumulate(full, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(full, axis), axis=axis), axis)
        found |= before & after
    return found


def tile_boxes(size: Sequence[int]) -> np.ndarray:
    """Return the tiles of a picture of `size` (h, w) as boxes (n, 4) of x, y, width, height.

    It is one tile, or, more than `LONG` times as long as wide, as few squares as cover it, evenly spread; of a picture with more
    than `MOST_TILES` squares so many oblong tiles.
    """
    height, width = size[:2]
    side, length = min(height, width), max(height, width)
    if length <= LONG * side:
        return np.array([[0, 0, width, height]])
    count = min(-(-length // side), MOST_TILES)
    along = max(side, -(-length // count))
    places = np.rint(np.linspace(0, length - along, count)).astype(int)
    rest, longs, sides = np.zeros_like(places), np.full_like(places, along), np.full_like(places, side)
    return np.column_stack([places, rest, longs, sides] if width > height else [rest, places, sides, longs])


def cut(picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the patches (n, h, w, ...) that `boxes` (n, 4) of one size cut from a picture (h, w, ...)."""
    return np.stack([picture[y : y + height, x : x + width] for x, y, width, height in boxes])


def damaged_pixels(mask: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return how many pixels of a mask (h, w) bool are in each box (n,); from `DAMAGED_PIXELS` on a patch is damaged."""
    return np.array([mask[y : y + height, x : x + width].sum() for x, y, width, height in boxes], int)


def blend(maps: np.ndarray, boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return a map (h, w) of the whole picture from maps (n, h, w) of its patches; 0 where there is no patch.

    A map of another size than its box is scaled to it.
    Where patches overlap, each is weighted by a tent that is highest at its centre, so that no edge of a patch shows.
    """
    total, weight = np.zeros(tuple(size)), np.zeros(tuple(size))
    for values, (x, y, width, height) in zip(maps, boxes, strict=True):
        tent = np.outer(*(1 - np.abs(np.linspace(-1, 1, length + 2)[1:-1]) for length in (height, width)))
        values = scaled(values, (height, width))
        total[y : y + height, x : x + width] += tent * values
        weight[y : y + height, x : x + width] += tent
    return np.divide(total, weight, out=total, where=weight > 0)


def scaled(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return a map (h, w), or pixels (h, w, c) uint8, scaled to `size` (h, w), linearly; itself where it has that size."""
    from PIL import Image

    if values.shape[:2] == tuple(size):
        return values
    height, width = size
    whole = Image.fromarray(
        values.astype(np.float32) if values.ndim == 2 else values[..., 0] if values.shape[2] == 1 else values
    )
    return np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR)).reshape(
        height, width, *values.shape[2:]
    )


def write_box(box: Sequence[int]) -> str:
    """Return a box as text, 'x,y,width,height', as in ids."""
    return ",".join(map(str, box))


def read_boxes(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return boxes (n, 4) from texts 'x,y,width,height'."""
    return np.array([[int(part) for part in text.split(",")] for text in texts], int).reshape(-1, 4)


def picture_of(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the id of the picture (n,) that each patch or crop was cut from, that of a whole picture itself.

    Only a box at the very end is taken off: the address of a video, with which ids of frames begin, may hold any character.
    """
    return np.array([_BOX_OF_ID.sub("", str(name)) for name in ids], dtype=object)
