"""Contact sheets as PNG with a transparent ground: pictures with captions, originals above reconstructions, defects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from winnow.errors import DataError
from winnow.report.heat import HEAT
from winnow.report.style import ANOMALOUS, BELONGS, MIDDLE, WIDTH, as_png, canvas, shorten, write

MOST = 500  # pictures in one sheet: a PNG may not be higher than 65,535 dots
EXAMPLES = 4  # defects of one kind in a sheet
GAP = 0.1  # inches between pictures
LINE = 0.165  # inches for one line of a caption


@as_png
def picture_grid(
    images: np.ndarray, captions: Sequence[str] = (), columns: int = 5, *, belongs: Sequence[bool] | None = None
) -> Figure:
    """Draw a contact sheet of pictures in reading order, each with its caption below.

    `images` uint8 (n, h, w, 3), (n, h, w, 1) or (n, h, w), or floats in [0, 1]; a caption may have several lines, the
    first in bold, each shortened in its middle where too long. `belongs` (n,) adds a bar in the verdict's colour above.
    `DataError` for no pictures, more than 500 of them, or captions of another number.
    """
    shown = _pictures(images)
    if (captions and len(captions) != len(shown)) or (belongs is not None and len(belongs) != len(shown)):
        raise DataError(
            f"{len(shown)} pictures need as many captions and verdicts.", "Give one for each picture, or none at all."
        )
    columns = max(1, min(columns, max(len(shown), 3)))
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    wide = (WIDTH - GAP * (columns - 1)) / columns
    high = wide * shown.shape[1] / shown.shape[2]
    step = high + lines * LINE + GAP + (0.06 if lines else 0)
    rows = math.ceil(len(shown) / columns)
    axes = _sheet(rows * step)
    for number, image in enumerate(shown):
        left, top = (number % columns) * (wide + GAP), (number // columns) * step
        _place(axes, image, left, top, wide, high)
        if belongs is not None:
            axes.add_patch(Rectangle((left, top), wide, 0.045, color=BELONGS if belongs[number] else ANOMALOUS, lw=0))
        for row, line in enumerate(captions[number].split("\n") if captions else ()):
            write(
                axes.text(
                    left,
                    top + high + 0.05 + row * LINE,
                    shorten(line, int(wide / 0.077)),
                    fontsize=8.5,
                    va="top",
                    color=MIDDLE,
                    fontweight="bold" if row == 0 else "normal",
                )
            )
    return axes.figure  # type: ignore[return-value]


@as_png
def reconstruction_grid(
    originals: np.ndarray, reconstructions: np.ndarray, captions: Sequence[str] = (), *, width: float = WIDTH
) -> Figure:
    """Draw originals, below each its reconstruction, below that the squared error, bright where it is large.

    Both are uint8 (n, h, w, c) or floats in [0, 1] of one shape; eight per row. The errors share one scale that ends at
    their 99.5 % quantile. `DataError` when the shapes differ.
    """
    first, second = _pictures(originals), _pictures(reconstructions)
    if first.shape != second.shape:
        raise DataError(
            f"Originals {first.shape} and reconstructions {second.shape} differ in shape.",
            "Give the same pictures, as the model takes and returns them.",
        )
    if captions and len(captions) != len(first):
        raise DataError(f"{len(first)} pictures need as many captions.", "Give one for each picture, or none at all.")
    errors = ((first.astype(np.float32) - second) ** 2).mean(axis=3)
    scale = float(np.quantile(errors, 0.995)) or 1.0
    columns, margin = max(4, min(8, len(first))) if width == WIDTH else 4, 0.95
    wide = (width - margin - GAP * (columns - 1)) / columns
    high = wide * first.shape[1] / first.shape[2]
    foot = (LINE + 0.05 if captions else 0) + 0.14
    band = 3 * (high + 0.05) + foot
    axes = _sheet(math.ceil(len(first) / columns) * band, width)
    for number in range(len(first)):
        left, top = margin + (number % columns) * (wide + GAP), (number // columns) * band
        for row, image in enumerate((first[number], second[number], _coloured(errors[number] / scale))):
            _place(axes, image, left, top + row * (high + 0.05), wide, high)
            if number % columns == 0:
                axes.text(
                    0,
                    top + row * (high + 0.05) + high / 2,
                    ("original", "rebuilt", "error")[row],
                    fontsize=9,
                    va="center",
                    color=MIDDLE,
                )
        if captions:
            write(
                axes.text(
                    left,
                    top + band - foot + 0.03,
                    shorten(captions[number], int(wide / 0.077)),
                    fontsize=8.5,
                    va="top",
                    color=MIDDLE,
                )
            )
    return axes.figure  # type: ignore[return-value]


@as_png
def defect_sheet(
    clean: np.ndarray, damaged: np.ndarray, masks: np.ndarray, kinds: Sequence[str], *, width: float = WIDTH
) -> Figure:
    """Draw synthetic defects for a person to judge: a column per kind, with examples as clean, damaged and mask.

    `clean` and `damaged` as in `picture_grid`, (n, h, w, c), `masks` (n, h, w) true = damaged, `kinds` (n,) names; the
    columns follow their first appearance. Four examples of a kind are shown; more than eight kinds continue below.
    `DataError` when the numbers or sizes differ.
    """
    before, after, changed = _pictures(clean), _pictures(damaged), np.asarray(masks).astype(bool)
    if before.shape != after.shape or changed.shape != before.shape[:3] or len(kinds) != len(before):
        raise DataError(
            f"{before.shape} clean, {after.shape} damaged pictures, {changed.shape} masks, {len(kinds)} kinds differ.",
            "Give a clean and a damaged picture, a mask of their size and a kind for each defect.",
        )
    pale = np.repeat(changed[..., None].astype(np.uint8) * 255, 3, axis=3)
    rows = {kind: [row for row, name in enumerate(kinds) if name == kind][:EXAMPLES] for kind in dict.fromkeys(kinds)}
    columns, margin = max(4, min(8, len(rows))) if width == WIDTH else 4, 0.75
    wide = (width - margin - GAP * (columns - 1)) / columns
    high = wide * before.shape[1] / before.shape[2]
    band = 3 * (high + 0.05) + GAP
    blocks = [list(rows)[start : start + columns] for start in range(0, len(rows), columns)]
    heights = [0.25 + band * max(len(rows[kind]) for kind in block) for block in blocks]
    axes, top = _sheet(sum(heights), width), 0.0
    for block, height in zip(blocks, heights, strict=True):
        for column, kind in enumerate(block):
            left = margin + column * (wide + GAP)
            look: dict[str, Any] = {"fontsize": 8.5, "fontweight": "bold", "color": MIDDLE, "va": "center"}
            write(axes.text(left, top + 0.11, shorten(kind, int(wide / 0.077)), **look))
            for number, row in enumerate(rows[kind]):
                first = top + 0.25 + number * band
                for place, image in enumerate((before[row], after[row], pale[row])):
                    _place(axes, image, left, first + place * (high + 0.05), wide, high)
        for number in range(max(len(rows[kind]) for kind in block)):
            for place, name in enumerate(("clean", "damaged", "mask")):
                middle = top + 0.25 + number * band + place * (high + 0.05) + high / 2
                axes.text(0, middle, name, fontsize=9, va="center", color=MIDDLE)
        top += height
    return axes.figure  # type: ignore[return-value]


def _pictures(images: Any) -> np.ndarray:
    """Return pictures as uint8 (n, h, w, 3)."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"Pictures to draw have shape {array.shape}.", "Give at least one, as (pictures, height, width, 1 or 3)."
        )
    if len(array) > MOST:
        raise DataError(f"{len(array):,} pictures are too many for one sheet.", f"Give at most {MOST}.")
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:3], 3))


def _coloured(share: np.ndarray) -> np.ndarray:
    return HEAT[np.rint(255 * np.clip(share, 0, 1)).astype(int)]


def _sheet(height: float, width: float = WIDTH) -> Axes:
    """Return axes whose data units are inches from the top left corner of the figure."""
    figure = canvas(width, height, transparent=True)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def _place(axes: Axes, image: np.ndarray, left: float, top: float, wide: float, high: float) -> None:
    axes.imshow(image, extent=(left, left + wide, top + high, top), aspect="auto", interpolation="bicubic")
