"""Pictures as bytes that a page can hold: WebP, lossless for charts, at the size at which it is seen for photographs.

A chart of the report is a fifth of its PNG in lossless WebP, a photograph a tenth; every browser since 2020 shows both.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

LONGEST = 320  # pixels of a thumbnail's longer side: twice what the page gives it, for sharp screens
QUALITY = 72  # of photographs
SHEET = 1600  # pixels of the width of a sheet of photographs; the page shows it at 900


class Embedded(NamedTuple):
    """A picture inside a page: its address "data:…", and its width and height in pixels."""

    uri: str
    width: int
    height: int


def thumbnail(pixels: np.ndarray, longest: int = LONGEST) -> bytes:
    """Return a picture (h, w, 3), (h, w, 1) or (h, w) uint8 as WebP, its longer side at most so many pixels."""
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _webp(image, lossless=False)


def embedded(data: bytes, *, photographs: bool, share: float = 1.0) -> Embedded:
    """Return a picture file (PNG, JPEG or WebP) for a page; PNG becomes WebP, lossless unless it shows `photographs`.

    `share`: of photographs so much of the width and height is stored; they are shown as large as without it. Raises `OSError`
    for bytes that are no picture.
    """
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
        width, height = image.size
        stored = round(share * (min(width, SHEET) if image.format == "PNG" else width)) if photographs else width
        if stored < width:
            size = (max(1, stored), max(1, round(height * stored / width)))
            smaller = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            return Embedded(_uri(_webp(smaller, lossless=False), "webp"), width, height)
        if image.format != "PNG":
            return Embedded(_uri(data, str(image.format).lower()), width, height)
        return Embedded(_uri(_webp(image, lossless=not photographs), "webp"), width, height)


def _webp(image: Image.Image, *, lossless: bool) -> bytes:
    file = io.BytesIO()
    # Method 2 takes a quarter of the time of the usual 4, for a tenth more bytes.
    image.save(file, "WEBP", lossless=lossless, quality=50 if lossless else QUALITY, method=2)
    return file.getvalue()


def _uri(data: bytes, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"
