"""Decode one picture from its bytes to pixels at the size wanted: fast, upright, or refused with a reason when it is broken.

JPEG is decoded at the smallest of its 1/1, 1/2, 1/4, 1/8 scales that is at least twice the size wanted, then every
format is resized with Pillow's antialiased BILINEAR filter: 0.3 grey levels from decoding in full, while BOX is 2.4
away and no faster, and a `reducing_gap` changes neither (docs/ingest.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import re
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import (
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from winnow.data import intact
from winnow.data.formats import CONVERT, RAW, reader_of
from winnow.data.metered import MOST_HEADER_BYTES, Metered
from winnow.errors import Unreadable

_OVERSIZE = 2
_MOST_SCANS = 100
_MOST_SCANNED = 2e9  # pixels in all scans together
MOST_PAGES = 10_000
MOST_PAGED = 50  # times the pixel limit, in all pages of a file together
# Tags of TIFF, and what those say of a page.
_KIND, _SMALLER, _MASK, _OLD_KIND, _OLD_SMALLER = 254, 1, 4, 255, 2
_SUB_FILES, _DNG = 330, 50706
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

# Broken metadata is common and harmless: Pillow's remarks on it, and libtiff's own, would fill the user's terminal.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(OSError, AttributeError):  # where libtiff cannot be reached, it only stays talkative
    _silence = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    _silence.restype, _silence.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    _silence(None)


def largest_file(pixel_limit: float) -> int:
    """Return how many bytes a picture's file may hold: what so many pixels need that are not compressed, and 64 MB at least."""
    return max(64_000_000, round(3e6 * pixel_limit))


def decode(
    data: bytes,
    size: tuple[int, int] | None,
    *,
    grey: bool = False,
    white: float | None = None,
    pixel_limit: float = 200.0,
    page: int | None = None,
) -> np.ndarray:
    """Return the picture in `data`, upright, as uint8 of shape (height, width, 3), or (height, width, 1) when `grey`.

    `size` is (height, width), None the picture's own. Of a file of several pages or frames it is the `page`, counted from 1,
    the first when None. Transparency is laid on white, colour profiles are ignored. `white` is the value shown as white in
    16-bit, 32-bit and float pictures: 65535 for 16 bit when None, or what the file itself says; for the others the first of
    1, 255 and 65535 that no value exceeds. `pixel_limit`, in million pixels, is checked before decoding. Raises
    `Unreadable` with the reason alone; any bytes result in an array or `Unreadable`.
    """
    with _sayable():
        picture = _opened(data)
        _seek(picture, page)
        return _read(picture, data, size, grey, white, pixel_limit)


def pages(
    data: bytes,
    size: tuple[int, int] | None,
    *,
    grey: bool = False,
    white: float | None = None,
    pixel_limit: float = 200.0,
) -> Iterator[tuple[int | None, np.ndarray | str]]:
    """Yield every page of a file, or frame of an animation, with its number for `decode`: pixels, or the reason for none.

    The number is None for a file of one page. Pages that a TIFF marks as smaller copies or as masks of others are left out.
    Raises `Unreadable` as `decode` does when the file cannot be read at all.
    """
    with _sayable():
        picture = _opened(data)
        numbers, broken = _pages_of(picture)
    several = len(numbers) + bool(broken) > 1
    total = 0
    for number in numbers:
        try:
            with _sayable():
                picture.seek(number - 1) if several else None
                total += picture.width * picture.height
                if several and total > MOST_PAGED * pixel_limit * 1e6:
                    yield number, f"its pages have more than {MOST_PAGED * pixel_limit:,g} million pixels up to here"
                    return
                pixels = _read(picture, data, size, grey, white, pixel_limit)
        except Unreadable as error:
            if not several:
                raise
            yield number, error.message
        else:
            yield number if several else None, pixels
    if broken:
        yield numbers[-1] + 1, broken


@contextlib.contextmanager
def _sayable() -> Iterator[None]:
    """Turn whatever Pillow raises for hostile bytes, a dozen kinds with IndexError and MemoryError among them, into a reason."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from error


def size_of(data: bytes, *, white: float | None = None, pixel_limit: float = 200.0) -> tuple[int, int]:
    """Return height and width, upright, of the picture that `decode` makes of `data`, of JPEG and PNG by the header alone.

    Raises what `decode` raises.
    """
    with _sayable():
        picture = _opened(data)
        if isinstance(picture, JpegImagePlugin.JpegImageFile | PngImagePlugin.PngImageFile):
            width, height = picture.size
            return (height, width) if _orientation(picture) < 5 else (width, height)
    height, width = decode(data, None, white=white, pixel_limit=pixel_limit).shape[:2]
    return height, width


def _opened(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise Unreadable("the file is empty")
    reader = reader_of(data)
    if reader is WebPImagePlugin.WebPImageFile and int.from_bytes(data[4:8], "little") > len(data) - 8:
        raise Unreadable("the file is truncated")
    file = Metered(data, MOST_HEADER_BYTES if reader is JpegImagePlugin.JpegImageFile else None)
    picture = reader(file)
    file.opened()
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and _is_raw(picture, data):
        raise Unreadable(f"it is {RAW}, which {CONVERT}")
    return picture


def _seek(picture: ImageFile.ImageFile, page: int | None) -> None:
    try:
        picture.seek((page or 1) - 1)
    except EOFError:
        raise Unreadable(f"it has no page {page}") from None


def _is_raw(picture: TiffImagePlugin.TiffImageFile, data: bytes) -> bool:
    """Return whether a TIFF is a camera's raw file: what can be read of it is a small preview."""
    tags = picture.tag_v2
    return data[8:10] == b"CR" or _DNG in tags or (_reduced(picture) and _SUB_FILES in tags)


def _reduced(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether a TIFF's page is a smaller copy or the mask of another one."""
    kind, old = picture.tag_v2.get(_KIND, 0), picture.tag_v2.get(_OLD_KIND, 0)
    return bool(isinstance(kind, int) and kind & (_SMALLER | _MASK)) or old == _OLD_SMALLER


def _pages_of(picture: ImageFile.ImageFile) -> tuple[list[int], str]:
    """Return the numbers of the pages, and why what follows them cannot be read ("" where nothing follows)."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        count = getattr(picture, "n_frames", 1)
        if count > MOST_PAGES:
            raise Unreadable(f"it has {count:,} pages or frames, more than {MOST_PAGES:,}")
        return list(range(1, count + 1)), ""
    whole, number, broken = [], 0, ""
    while True:
        try:
            picture.seek(number)
        except EOFError:
            break
        except Exception as error:
            broken = _reason(error)
            break
        number += 1
        if not _reduced(picture):
            whole.append(number)
        if number > MOST_PAGES:
            raise Unreadable(f"it has more than {MOST_PAGES:,} pages")
    return whole or [1], broken


def _read(
    picture: ImageFile.ImageFile,
    data: bytes,
    size: tuple[int, int] | None,
    grey: bool,
    white: float | None,
    pixel_limit: float,
) -> np.ndarray:
    """Return the pixels of the page that the picture is at."""
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        return _decode_jpeg(picture, data, size, grey, pixel_limit)
    _check_pixels(picture, pixel_limit, 0.25 if picture.format in ("WEBP", "JPEG2000") else 0.5)
    intact.check(picture, data)
    scale = _scale(picture, data)
    picture.load()
    return _finish(_flat(picture, white, scale), size, _orientation(picture), grey, None)


def _check_pixels(picture: ImageFile.ImageFile, pixel_limit: float, share: float) -> None:
    """Refuse more pixels than a share of the limit: what is decoded as a whole, and copied by its decoder, takes more memory."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise Unreadable("the picture has no pixels")
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and _TILE[0] in picture.tag_v2:
        # A tile is decoded as a whole, however little of it lies inside the picture.
        width, height = (max(own, picture.tag_v2[tag]) for own, tag in zip((width, height), _TILE, strict=True))
    if width * height > pixel_limit * share * 1e6:
        raise Unreadable(
            f"it has {round(width * height / 1e6, 3):,} million pixels ({width}x{height}), more than the "
            f"limit of {pixel_limit * share:g} million"
            + (f": as it is decoded as a whole, {share:g} of --pixel-limit" if share < 1 else "")
        )


def _decode_jpeg(
    picture: ImageFile.ImageFile, data: bytes, size: tuple[int, int] | None, grey: bool, pixel_limit: float
) -> np.ndarray:
    found = intact.jpeg(data)
    _check_pixels(picture, pixel_limit, 1.0 if size and found.scans == 1 else 0.5)
    # Each scan goes over all pixels, so a small file could keep a processor busy for an hour.
    if found.scans > _MOST_SCANS or found.scans * picture.width * picture.height > _MOST_SCANNED:
        raise Unreadable(f"it is a JPEG of more than {_MOST_SCANS} scans")
    turn = _orientation(picture)
    box = None
    if size:
        height, width = size if turn < 5 else size[::-1]
        drafted = picture.draft("L" if grey else "RGB", (width * _OVERSIZE, height * _OVERSIZE))
        box = drafted[1] if drafted else None
    picture.load()
    # Where the file does not end with the picture, its end may be what lay on the disk before, and so may the last pixels.
    surplus = found.scans == 1 and found.end + 2 != len(data)
    if _ends_grey(picture) or surplus:
        if intact.eighth(data) != intact.eighth(intact.lengthened(data, found)):
            raise Unreadable("the file is truncated: its pixels end before the picture does")
        if surplus and intact.alike(data, intact.exchanged(data, found)):
            raise Unreadable("the file is damaged: its pixels go on behind the picture's end")
    return _finish(_flat(picture), size, turn, grey, box)


def _ends_grey(picture: Image.Image) -> bool:
    """Return whether the last pixel is of the grey that a decoder fills up with when there are no more bytes."""
    last = picture.getpixel((picture.width - 1, picture.height - 1))
    return all(value in (127, 128) for value in (last if isinstance(last, tuple) else (last,)))


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


def _flat(
    picture: Image.Image, white: float | None = None, scale: tuple[float, float | None] = (1.0, None)
) -> Image.Image:
    """Return the picture as "L", "RGB" or, for 16 bits and more, as "F" from 0 to 255, with transparency laid on white."""
    mode = picture.mode
    if mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _deep(picture, white, scale)
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


def _deep(picture: Image.Image, white: float | None, scale: tuple[float, float | None]) -> Image.Image:
    values = np.asarray(picture).astype(np.float32)
    if not np.isfinite(values).all():
        raise Unreadable("it holds values that are not numbers or infinite")
    values *= scale[0]
    if white is None:
        most = float(values.max())
        white = scale[1] or next((limit for limit in (1.0, 255.0, 65535.0) if most <= limit), None)
        if white is None:
            raise Unreadable(f"its values reach {most:g}, more than 65535: say which value is white (--white)")
    # Pillow turns "0 is white" round for 8 bits and fewer only.
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        values = white - values
    np.clip(values, 0, white, out=values)
    values *= 255.0 / white
    return Image.fromarray(values)


def _scale(picture: ImageFile.ImageFile, data: bytes) -> tuple[float, float | None]:
    """Return what 1 of Pillow's values is in the file, and the file's own white; None where that is not known.

    Pillow stretches PNM and JPEG 2000 to 16 bits, whatever they have.
    """
    if isinstance(picture, PpmImagePlugin.PpmImageFile) and picture.mode == "I":
        said = picture.tile[0].args  # the mode, and the largest value unless that is 65535
        largest = float(said[1]) if isinstance(said, tuple) and len(said) > 1 else 65535.0
        return largest / 65535, largest
    if picture.format == "JPEG2000" and picture.mode.startswith("I;16"):
        start = data.find(b"\xff\x4f\xff\x51")
        bits = (data[start + 42] & 127) + 1
        return 2.0 ** (bits - 16), 2.0**bits - 1
    sixteen = picture.mode.startswith("I;16") or isinstance(picture, PngImagePlugin.PngImageFile)
    return 1.0, 65535.0 if sixteen else None


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    known = said.lower()
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, Image.DecompressionBombError) or "decompressed data too large" in known:
        return f"it would grow too large when decompressed ({said})"
    if any(word in known for word in ("truncated", "end of data", "not enough", "bytes but only got", "end of file")):
        return "the file is truncated"
    if any(word in known for word in ("unsupported", "unknown pixel mode", "not supported", "unknown compression")):
        return f"it is a variety of its format that is not read ({said})"
    # Some messages of Pillow are only the number of a tag.
    return "the file is damaged or truncated" + (f" ({said})" if re.search("[A-Za-z]{3}", said) else "")
