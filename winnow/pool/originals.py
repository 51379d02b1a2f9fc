"""The original of an item of the pool, at full resolution, as a person sees it before labelling it."""

from __future__ import annotations

import math

import numpy as np

from winnow.data import images, storage, video
from winnow.data.sources import Refusal
from winnow.errors import Unreadable
from winnow.pool.parts import LARGEST_FILE, said
from winnow.pool.patches import read_boxes


def original(source: str, time: float | None, box: str | None, *, pixel_limit: float = 200.0) -> np.ndarray:
    """Return the picture file, video frame, or part of either, that an item was made of: uint8 (h, w, 3).

    `source`, `time` (seconds; None or NaN for a picture file) and `box` ("x,y,width,height" in its pixels; None for all of
    it) are the item's columns. Raises `Unreadable`, with the file's name, when it can no longer be read, has no frame
    at that time or is too small for the box: it is not the file that was ingested.
    """
    try:
        if time is None or math.isnan(time):
            whole = images.decode(storage.read(source, LARGEST_FILE), None, pixel_limit=pixel_limit)
        else:
            whole = video.frame_at(source, time, pixel_limit=pixel_limit).image
        return whole if box is None else _part(whole, box)
    except Unreadable as error:
        message = said(Refusal(source, error.message)) + "."
        raise Unreadable(message, error.remedy or "Put the file back as it was ingested.") from error


def _part(whole: np.ndarray, box: str) -> np.ndarray:
    height, width = whole.shape[:2]
    try:
        x, y, wide, high = read_boxes([box])[0]
    except (ValueError, IndexError):
        raise Unreadable(f"'{box}' is not a box of x,y,width,height") from None
    if min(x, y) < 0 or min(wide, high) < 1 or x + wide > width or y + high > height:
        raise Unreadable(f"it has {width}x{height} pixels, which do not hold the box {box}")
    return whole[y : y + high, x : x + wide]
