"""Decode one picture from its bytes to pixels at the size wanted: fast, upright, or refused with a reason when it is broken.

JPEG is decoded at the smallest of its 1/1, 1/2, 1/4, 1/8 scales that is at least twice the size wanted, then every
format is resized with Pillow's antialiased BILINEAR filter: 0.3 grey levels from decoding in full, while BOX is 2.4
away and no faster, and a `reducing_gap` changes neither (docs/ingest.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
import warnings

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from winnow.errors import Unreadable

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".avif",
        ".avifs",
    )
)
"""Suffixes, in lower case, of the files read as pictures when they are found in a folder."""

_OVERSIZE = 2
_MOST_SCANS = 100
_TILE = (322, 323)
_PHOTOMETRIC, _MIN_IS_WHITE = 262, 0
_ORIENTATION = 274
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The reader is chosen by content and called directly: `Image.open` would try formats that run other programs, and its
# own pixel limit is a setting of the whole process.
_SIGNATURES: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL", "a JPEG XL picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"SIMPLE", "a FITS file"),
    (b"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"),
)

# Broken metadata is common and harmless: Pillow's remarks on it, and libtiff's own, would fill the user's terminal.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(OSError, AttributeError):  # where libtiff cannot be reached, it only stays talkative
    _silence = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    _silence.restype, _silence.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    _silence(None)


def decode(
    data: bytes,
    size: tuple[int, int] | None,
    *,
    grey: bool = False,
    white: float | None = None,
    pixel_limit: float = 200.0,
) -> np.ndarray:
    """Return the picture in `data`, upright, as uint8 of shape (height, width, 3), or (height, width, 1) when `grey`.

    `size` is (height, width), None the picture's own. The first frame is taken, transparency is laid on white, colour
    profiles are ignored. `white` is the value shown as white in 16-bit, 32-bit and float pictures: 65535 for 16 bit
    when None; for the others the first of 1, 255 and 65535 that no value exceeds. `pixel_limit`, in million pixels, is
    checked before decoding. Raises `Unreadable` with the reason alone; any bytes result in an array or `Unreadable`.
    """
    if not data:
        raise Unreadable("the file is empty")
    reader = _reader(data)
    try:
        picture = reader(io.BytesIO(data))
        _check_pixels(picture, pixel_limit)
        if reader is JpegImagePlugin.JpegImageFile:
            _check_jpeg(data)
            return _decode_jpeg(picture, size, grey)
        picture.load()
        turn = _orientation(picture)
        flat = _flat(picture, white)
        return _finish(flat, size, turn, grey, None)
    except Unreadable:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for hostile bytes, IndexError and MemoryError among them
        raise Unreadable(_reason(error)) from error


def _reader(data: bytes) -> type[ImageFile.ImageFile]:
    for signature, reader in _SIGNATURES:
        if data.startswith(signature):
            return reader
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if int.from_bytes(data[4:8], "little") > len(data) - 8:
            raise Unreadable("the file is truncated")
        return WebPImagePlugin.WebPImageFile
    if data[4:8] == b"ftyp":
        brands = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 256))]
        if b"avif" in brands or b"avis" in brands:
            return AvifImagePlugin.AvifImageFile
        kind = "a HEIC picture" if any(brand in brands for brand in (b"heic", b"heix", b"mif1")) else "a video"
        raise Unreadable(f"it is {kind}, not a picture of a format that is read")
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise Unreadable("it is a web page (HTML), not a picture")
    if start.startswith((b"<?xml", b"<svg")):
        raise Unreadable("it is an XML or SVG file, not a picture of pixels")
    for signature, kind in _OTHERS:
        if data.startswith(signature):
            raise Unreadable(f"it is {kind}, not a picture of a format that is read")
    if not data.strip(b"\0"):
        raise Unreadable("the file holds only zeros, it was never written in full")
    raise Unreadable("it is not a picture (JPEG, PNG, WebP, BMP, TIFF, AVIF and GIF are read)")


def _check_pixels(picture: ImageFile.ImageFile, pixel_limit: float) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise Unreadable("the picture has no pixels")
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and _TILE[0] in picture.tag_v2:
        # A tile is decoded as a whole, however little of it lies inside the picture.
        width, height = (max(own, picture.tag_v2[tag]) for own, tag in zip((width, height), _TILE, strict=True))
    if width * height > pixel_limit * 1e6:
        raise Unreadable(
            f"it has {round(width * height / 1e6, 3):,} million pixels ({width}x{height}), more than the "
            f"limit of {pixel_limit:g} million"
        )


def _check_jpeg(data: bytes) -> None:
    # Each scan of a progressive JPEG goes over all pixels, so a small file could keep a processor busy for an hour.
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise Unreadable(f"it is a JPEG of more than {_MOST_SCANS} scans")
    # A download that stopped in a file made at its full size: the decoder takes the zeros for a grey area.
    if data.endswith(b"\0" * 64) and b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]:
        raise Unreadable("the file is truncated: it ends in zeros")


def _decode_jpeg(picture: ImageFile.ImageFile, size: tuple[int, int] | None, grey: bool) -> np.ndarray:
    turn = _orientation(picture)
    box = None
    if size:
        height, width = size if turn < 5 else size[::-1]
        drafted = picture.draft("L" if grey else "RGB", (width * _OVERSIZE, height * _OVERSIZE))
        box = drafted[1] if drafted else None
    picture.load()
    return _finish(_flat(picture, None), size, turn, grey, box)


def _finish(
    picture: Image.Image,
    size: tuple[int, int] | None,
    turn: int,
    grey: bool,
    box: tuple[float, float, float, float] | None,
) -> np.ndarray:
    if grey and picture.mode == "RGB":
        picture = picture.convert("L")
    if size:
        height, width = size if turn < 5 else size[::-1]
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    if picture.mode == "F":
        picture = Image.fromarray(np.rint(np.asarray(picture)).astype(np.uint8))
    if not grey and picture.mode != "RGB":
        picture = picture.convert("RGB")
    if turn in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[turn])
    pixels = np.array(picture, dtype=np.uint8)
    return pixels[..., None] if grey else pixels


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) when there is none, as for a TIFF, which Pillow has already turned."""
    try:
        turn = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # the pixels of a picture with broken EXIF are fine
        return 1
    return turn if isinstance(turn, int) and turn in _UPRIGHT else 1


def _flat(picture: Image.Image, white: float | None) -> Image.Image:
    """Return the picture as "L", "RGB" or, for 16 bits and more, as "F" from 0 to 255, with transparency laid on white."""
    mode = picture.mode
    if mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _deep(picture, white)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        below = Image.new("RGB", layer.size, "white")
        below.paste(layer, mask=layer.getchannel("A"))
        return below
    if mode == "1":
        return picture.convert("L")
    if mode == "LAB":
        from PIL import ImageCms

        turned = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert turned is not None  # only in-place conversion returns None
        return turned
    return picture.convert("RGB")


def _deep(picture: Image.Image, white: float | None) -> Image.Image:
    values = np.asarray(picture).astype(np.float32)
    if not np.isfinite(values).all():
        raise Unreadable("it holds values that are not numbers or infinite")
    sixteen = picture.mode.startswith("I;16") or isinstance(picture, PngImagePlugin.PngImageFile)
    if white is None:
        largest = float(values.max())
        white = 65535.0 if sixteen else next((limit for limit in (1.0, 255.0, 65535.0) if largest <= limit), None)
        if white is None:
            raise Unreadable(f"its values reach {largest:g}, more than 65535: say which value is white (--white)")
    # Pillow turns "0 is white" round for 8 bits and fewer only.
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        values = white - values
    np.clip(values, 0, white, out=values)
    values *= 255.0 / white
    return Image.fromarray(values)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    known = said.lower()
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, Image.DecompressionBombError) or "decompressed data too large" in known:
        return f"it would grow too large when decompressed ({said})"
    if any(word in known for word in ("truncated", "end of data", "not enough", "bytes but only got")):
        return "the file is truncated"
    if any(word in known for word in ("unsupported", "unknown pixel mode", "not supported", "unknown compression")):
        return f"it is a variety of its format that is not read ({said})"
    # Some messages of Pillow are only the number of a tag.
    return "the file is damaged or truncated" + (f" ({said})" if re.search("[A-Za-z]{3}", said) else "")
