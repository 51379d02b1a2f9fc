"""Pictures at full size under anomaly maps, boxes and masks, drawn with Pillow: a strip of 4096x256 takes milliseconds."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from winnow.errors import DataError
from winnow.report.heat import HEAT

Box = tuple[int, int, int, int]
BOX, TRUTH = "#56B4E9", "#00D68F"  # outlines of found and of known defects; neither is a colour of the anomaly map
CLEAR, STRONG = 0.1, 0.75  # the value that begins to show, and the opacity of the highest


def overlay(picture: Any, anomaly_map: Any, boxes: Sequence[Box] = (), mask: Any = None) -> bytes:
    """Return what `overlaid` draws as PNG."""
    return _png(Image.fromarray(overlaid(picture, anomaly_map, boxes, mask)))


def overlaid(picture: Any, anomaly_map: Any, boxes: Sequence[Box] = (), mask: Any = None) -> np.ndarray:
    """Draw the picture at its own size under a transparent anomaly map, boxes in blue and the mask's outline in green, uint8 (h, w, 3).

    `picture` uint8 (h, w), (h, w, 1) or (h, w, 3); `anomaly_map` floats (h, w) in [0, 1], of which nothing below 0.1
    shows, clipped, and 0 where not a number; `boxes` of (x, y, width, height) in pixels; `mask` (h, w), true = known to be
    damaged. Outlines lie outside what they enclose, except at the picture's border. `DataError` for other shapes.
    """
    shown = np.asarray(picture)
    shown = shown[..., 0] if shown.ndim == 3 and shown.shape[2] == 1 else shown
    if shown.dtype != np.uint8 or shown.ndim not in (2, 3) or (shown.ndim == 3 and shown.shape[2] != 3):
        raise DataError(
            f"A picture for an anomaly map is {shown.dtype} of shape {shown.shape}.",
            "Give uint8 as (height, width) or (height, width, 3).",
        )
    levels = _levels(anomaly_map, shown.shape[:2])
    colours, opacity = _lookup()
    below = shown if shown.ndim == 3 else shown[..., None]
    share = opacity[levels][..., None]
    mixed = (below * (256 - share) + colours[levels].astype(np.uint16) * share) >> 8
    image = Image.fromarray(mixed.astype(np.uint8))
    line = max(1, round(min(shown.shape[:2]) / 128))
    if mask is not None:
        image.paste(TRUTH, mask=_outline(_flat(mask, shown.shape[:2], "A mask").astype(bool), line))
    draw = ImageDraw.Draw(image)
    for box in boxes:
        _frame(draw, box, line, image.size)
    return np.asarray(image)


def map_png(anomaly_map: Any) -> bytes:
    """Draw an anomaly map (h, w) in [0, 1] in colours from black over red to yellow, as PNG with a palette.

    The stored index of a pixel is its value in 1/255, so numbers can be read back. Clipped, and 0 where not a number.
    """
    image = Image.fromarray(_levels(anomaly_map))
    image.putpalette(HEAT.tobytes())
    return _png(image)


def mask_png(mask: Any) -> bytes:
    """Draw a mask (h, w), true or nonzero = damaged, as PNG of one bit per pixel: white where damaged."""
    return _png(Image.fromarray(_flat(mask, None, "A mask").astype(bool)))


def _flat(array: Any, shape: tuple[int, ...] | None, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 2 or 0 in array.shape or (shape is not None and array.shape != shape):
        wanted = "(height, width)" if shape is None else f"{shape}, as the picture is"
        raise DataError(f"{name} has shape {array.shape}.", f"Give it as {wanted}.")
    return array


def _levels(anomaly_map: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return an anomaly map as uint8 (h, w), 255 the highest."""
    anomaly_map = np.nan_to_num(_flat(anomaly_map, shape, "An anomaly map").astype(np.float32), nan=0.0)
    return np.rint(np.clip(anomaly_map, 0, 1) * 255).astype(np.uint8)


@functools.cache
def _lookup() -> tuple[np.ndarray, np.ndarray]:
    """Return for each of 256 levels its colour (256, 3) and its opacity (256,) in 1/256."""
    levels = np.linspace(0, 1, 256)
    rise = np.clip((levels - CLEAR) / (0.6 - CLEAR), 0, 1)
    # the dark end of the palette would only blacken the picture
    return HEAT[np.rint(80 + 175 * levels).astype(int)], np.rint(256 * STRONG * rise).astype(np.uint16)


def _outline(mask: np.ndarray, line: int) -> Image.Image:
    """Return a band around the true pixels of a mask, `line` pixels wide."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    grown = np.asarray(image.filter(ImageFilter.MaxFilter(2 * line + 1)))
    return Image.fromarray(np.where(mask, 0, grown).astype(np.uint8))


def _frame(draw: ImageDraw.ImageDraw, box: Box, line: int, size: tuple[int, int]) -> None:
    """Draw a box's outline, blue in a dark rim that sets it off from bright cloth; beyond the border it moves inside."""
    x, y, width, height = (round(value) for value in box)
    for reach, colour, thick in ((line + 2, "#10202c", line + 2), (line + 1, BOX, line)):
        left, top = max(0, x - reach), max(0, y - reach)
        right, bottom = min(size[0], x + width + reach) - 1, min(size[1], y + height + reach) - 1
        if right >= left and bottom >= top:
            draw.rectangle((left, top, right, bottom), outline=colour, width=thick)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # a quarter of the default level's time, for about as many bytes
    return buffer.getvalue()
