"""Tell whether the file of a picture is whole: an interrupted copy or download often leaves a file of the full size.

Its end was never written: it holds zeros, 0xFF, or what lay on the disk before, and a decoder takes them for pixels. Each
format is checked by what it has: PNG by its checksums, JPEG by its markers, the others by how the file ends. Pixels that are
not compressed could truly be black, so there the edge decides: a copy breaks off in the middle of a row.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import Any, cast

import numpy as np
from PIL import ImageFile, JpegImagePlugin, TiffImagePlugin

from winnow.errors import Unreadable

FILLS = (0x00, 0xFF)
LONGEST_END = 64  # bytes; no compressed picture ends in so many equal ones
MOST_SURPLUS = 16  # bytes that the bits of a whole JPEG may go on behind its last pixel
MOST_SEGMENTS = 10_000
LAST_ROWS = 64  # of a JPEG; the last bytes are those of its last blocks, of 32 rows at most
_PIXEL = {"L": 1, "P": 1, "LA": 2, "I;16B": 2, "I;16": 2, "RGB": 3, "BGR": 3, "BGRX": 4, "BGRA": 4, "RGBA": 4}
"""Bytes of a pixel, by the way Pillow names it."""
MOST_CHUNKS = 1_000_000
_BLOCK = 1 << 20
_DISK_BLOCK = 512
_OTHER_BITS = bytes((0x5A, 0x33, 0xC6, 0x19)) * 1024

_SEGMENT = re.compile(rb"\xff+[^\x00\xff]")
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed zero, a restart nor fill
_END, _SCAN = 0xD9, 0xDA
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_BETWEEN_SCANS = frozenset((_SCAN, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))


def check(picture: ImageFile.ImageFile, data: bytes) -> None:
    """Raise `Unreadable` when the file of an opened picture, other than a JPEG, was cut off and filled up."""
    if picture.format == "PNG":
        _check_png(data)
    elif picture.format == "TIFF":
        _check_tiff(cast(TiffImagePlugin.TiffImageFile, picture).tag_v2, data)
    elif picture.format == "WEBP":
        _check_webp(data)
    elif picture.format in ("AVIF", "HEIF", "JPEG2000", "QOI"):
        _check_end(data, len(data))
    elif len(picture.tile) == 1 and picture.tile[0][0] == "raw":
        _check_raw(picture, data)


def _run(data: bytes, start: int, end: int, fill: int) -> int:
    """Return how many of the bytes before `end`, and not before `start`, are all `fill`."""
    at, byte = end, bytes([fill])
    while at > start:
        low = max(start, at - _BLOCK)
        kept = len(data[low:at].rstrip(byte))
        at = low + kept
        if kept:
            break
    return end - at


def _filled(fill: int) -> Unreadable:
    return Unreadable(f"the file is truncated: it ends in {'zeros' if fill == 0 else 'bytes 0xFF'}")


def _check_end(data: bytes, end: int) -> None:
    for fill in FILLS:
        if _run(data, max(0, end - LONGEST_END), end, fill) == LONGEST_END:
            raise _filled(fill)


# ---- PNG, WebP


def _check_png(data: bytes) -> None:
    """Compare the checksum of every piece of the pixels; what follows the picture's end does not count."""
    at = 8
    for _ in range(MOST_CHUNKS):
        if at + 12 > len(data):
            return  # whether the pixels are all there is the decoder's to say
        length, kind = unpack_from(">I4s", data, at)
        if kind == b"IEND" or not kind.isalpha():
            return
        if kind == b"IDAT":
            if at + 12 + length > len(data):
                raise Unreadable("the file is truncated")
            if zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != unpack_from(">I", data, at + 8 + length)[0]:
                raise Unreadable("the file is damaged: its checksum does not fit its pixels")
        at += 12 + length
    raise Unreadable(f"it is a PNG of more than {MOST_CHUNKS:,} pieces")


def _check_webp(data: bytes) -> None:
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for _ in range(MOST_CHUNKS):
        if at + 8 > end:
            return
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"\0\0\0\0":
            raise _filled(0)
        if kind in (b"VP8 ", b"VP8L"):
            last = min(at + 8 + length, end)
            # Of a flat picture, too, the coder writes zeros alone; but it needs them.
            if _run(data, max(at + 8, last - LONGEST_END), last, 0) == LONGEST_END and _decodes(
                data[: at + 4] + pack("<I", last - at - 8 - LONGEST_END // 2) + data[at + 8 : last - LONGEST_END // 2]
            ):
                raise _filled(0)
            return
        at += 8 + length + length % 2
    raise Unreadable(f"it is a WebP of more than {MOST_CHUNKS:,} pieces")


def _decodes(data: bytes) -> bool:
    """Return whether a WebP, its own size set right, is decoded without an error."""
    data += b"\0" * (len(data) % 2)
    data = data[:4] + pack("<I", len(data) - 8) + data[8:]
    from PIL import WebPImagePlugin

    try:
        WebPImagePlugin.WebPImageFile(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


# ---- pixels that are not compressed


def _check_raw(picture: ImageFile.ImageFile, data: bytes) -> None:
    _, _, start, arguments = picture.tile[0]
    form, row = (arguments, 0) if isinstance(arguments, str) else cast(Any, arguments)[:2]
    pixel = _PIXEL.get(form)
    if row or pixel:
        row = row or picture.width * cast(int, pixel)
        _check_rows(
            data, start, start + row * picture.height, row, pixel or 1, 2 if pixel == 2 and form[0] == "I" else 1
        )


def _check_rows(data: bytes, start: int, end: int, row: int, pixel: int, sample: int) -> None:
    """Refuse pixels that turn into fill in the middle of a row, as no picture does: left of the edge and above it
    most pixels have another value."""
    end = min(end, len(data))
    for fill in FILLS:
        run = _run(data, start, end, fill)
        edge = end - run
        column = (edge - start) % row
        edge -= column % sample
        column -= column % sample
        # Near a row's end a true edge may be ragged; but hardly just where a disk's block begins.
        margin = 1 if (end - run) % _DISK_BLOCK == 0 else 4 * pixel
        if run < 2 * row or edge - start < 4 * row or not margin <= column <= row - margin:
            continue
        above = [(edge - lines * row, edge - column - (lines - 1) * row) for lines in (1, 2, 3)]
        if all(_other(data, *part, fill, sample) for part in [(edge - column, edge), *above]):
            raise _filled(fill)


def _other(data: bytes, start: int, end: int, fill: int, sample: int) -> bool:
    """Return whether most samples are something else than fill."""
    samples = np.frombuffer(data, np.uint8, (end - start) // sample * sample, start).reshape(-1, sample)
    return bool((samples != fill).any(axis=1).mean() >= 0.6)


def _check_tiff(tags: Any, data: bytes) -> None:
    places, sizes = (_numbers(tags, strips, tiles) for strips, tiles in ((273, 324), (279, 325)))
    if not places or len(places) != len(sizes):
        return
    start, end = min(places), min(len(data), max(map(sum, zip(places, sizes, strict=True))))
    if tags.get(259, 1) != 1:
        _check_end(data, end)
        return
    bits = tags.get(258, (1,))
    samples = 1 if tags.get(284, 1) == 2 else tags.get(277, 1)  # planes lie one behind the other
    width = tags.get(322, tags.get(256, 0))
    row, sample = (width * bits[0] * samples + 7) // 8, max(1, bits[0] // 8)
    if row and end > start:
        _check_rows(data, start, end, row, sample * samples, sample)


def _numbers(tags: Any, *names: int) -> tuple[int, ...]:
    found = next((tags[name] for name in names if name in tags), ())
    return found if isinstance(found, tuple) else (found,)


# ---- JPEG


@dataclass
class Jpeg:
    """What the markers of a JPEG say: where the bits of its last scan begin and end, the scans, and which were left out."""

    begin: int = 0
    end: int = 0
    scans: int = 0
    progressive: bool = False
    missing: dict[tuple[int, int], int] = field(default_factory=dict)

    def scan(self, head: bytes) -> None:
        """Note the header of a scan: its components, the coefficients it sends, and how many of their bits are still to come."""
        self.scans += 1
        if self.progressive and len(head) >= 4 and len(head) >= 4 + 2 * head[0]:
            first, last, bits = head[1 + 2 * head[0] :][:3]
            self.missing |= {
                (component, place): bits & 15
                for component in head[1 : 1 + 2 * head[0] : 2]
                for place in range(first, min(last, 63) + 1)
            }


def jpeg(data: bytes) -> Jpeg:
    """Walk over the markers of a JPEG; `Unreadable` where it was cut off and filled up, or holds too many pieces.

    What follows the picture's end does not count: files often carry a second picture, a film or junk there.
    """
    found, at = Jpeg(), 2
    for _ in range(MOST_SEGMENTS):
        hit = (_AFTER_SCAN if found.scans else _SEGMENT).search(data, at)
        if not hit:
            _check_end(data, len(data))
            found.end = len(data)
            return found
        marker, at = data[hit.end() - 1], hit.end()
        found.end = at - 2
        if marker == _END:
            if any(found.missing.values()):
                raise Unreadable("the file is damaged: its last scans are missing")
            return found
        if found.scans and marker not in _BETWEEN_SCANS:
            raise Unreadable("the file is damaged: its pixels break off in other bytes")
        found.progressive |= marker in _PROGRESSIVE
        length = int.from_bytes(data[at : at + 2], "big")
        if marker == _SCAN:
            found.scan(data[at + 2 : at + length])
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            at += length
        if found.scans and at > len(data):
            raise Unreadable("the file is truncated")
        found.begin = at
    raise Unreadable(f"it is a JPEG of more than {MOST_SEGMENTS:,} pieces")


def lengthened(data: bytes, found: Jpeg) -> bytes:
    """Return a JPEG with other bits after its last scan: its picture changes only where that scan ended too early."""
    return data[: found.end] + _OTHER_BITS + b"\xff\xd9"


def exchanged(data: bytes, found: Jpeg) -> bytes:
    """Return a JPEG with other bits for the end of its last scan: its picture changes unless that end lies behind its last pixel.

    Fill does not count as bits, for cameras pad with it.
    """
    end = found.begin + len(data[found.begin : found.end].rstrip(b"\0\xff"))
    return data[: max(found.begin, end - MOST_SURPLUS)] + _OTHER_BITS + b"\xff\xd9"


def eighth(data: bytes) -> bytes:
    """Return the pixels of a JPEG at an eighth of its size."""
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    picture.draft(picture.mode, (1, 1))
    return picture.tobytes()


def alike(data: bytes, other: bytes) -> bool:
    """Return whether two JPEGs that differ at their ends show the same; a difference can be too fine for an eighth of the size."""
    try:
        return eighth(data) == eighth(other) and _last_rows(data) == _last_rows(other)
    except OSError:  # the other bits are none of a picture
        return False


def _last_rows(data: bytes) -> bytes:
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    width, height = picture.size
    return picture.crop((0, max(0, height - LAST_ROWS), width, height)).tobytes()
