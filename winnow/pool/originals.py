"""The originals of a pool's items, at full resolution, as a person sees them: each is checked to be what was ingested."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from winnow.data import images, storage, video
from winnow.data.sources import Refusal
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.parts import Part, said
from winnow.pool.patches import picture_of, read_boxes
from winnow.pool.pool import Pool

_CONTENT = re.compile(r"[0-9a-f]{16}(?![0-9a-zA-Z])")
Read = TypeVar("Read")


class Changed(Unreadable):
    """What is at an item's address now is another file than the one that was ingested."""


def content_of(item: str) -> str:
    """Return the part of an item's id that is the hash of a picture file's content, "" where there is none."""
    found = _CONTENT.match(item)
    return found[0] if found else ""


def content_in(data: bytes) -> str:
    """Return the hash by which ids name the content of a picture file."""
    return hashlib.sha256(data).hexdigest()[:16]


def page_of(data: bytes, options: IngestOptions, page: int | None) -> np.ndarray:
    """Return a picture file, or a page of it, at its own resolution: uint8 (h, w, 3); raises what `images.decode` raises."""
    return images.decode(data, None, white=options.white, pixel_limit=options.pixel_limit, page=page)


class Originals:
    """The files that a pool's items were made of, read as the ingest read them.

    A picture file is known by the hash in its item's id, a video by its mark or, where that is another now, by its SHA-256,
    taken once a mark. Every method raises `Unreadable`, with the file's name, for what can no longer be read, and `Changed`
    for what is another file by now: renumbered, overwritten or edited. An address that is not `is_trusted` is not opened. Safe to
    call from several threads.
    """

    def __init__(
        self, pool: Pool, options: IngestOptions, is_trusted: Callable[[str], bool] = lambda address: True
    ) -> None:
        self._pool, self._options, self._is_trusted = pool, options, is_trusted
        self._lock, self._hashing = threading.Lock(), threading.Lock()
        self._recorded: dict[str, tuple[str, str]] | None = None
        self._addresses: dict[str, list[str]] = {}
        self._same: dict[tuple[str, str], bool] = {}
        self._of_videos: dict[str, tuple[int, int]] = {}

    def file(self, row: int) -> bytes:
        """Return the picture file that an item was made of, or is a part of."""
        return self._named(row, self._file)

    def pixels(self, row: int) -> np.ndarray:
        """Return the picture, page, video frame, or part of one, that an item was made of: uint8 (h, w, 3)."""
        return self._named(row, self._pixels)

    def whole(self, row: int) -> np.ndarray:
        """Return the whole picture, page or frame that an item is, or is a part of: uint8 (h, w, 3)."""
        return self._named(row, self._whole)

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the whole picture or frame that an item is, or is a part of."""
        return self._named(row, self._size)

    def check(self, source: str) -> None:
        """Raise `Changed` unless a source is, by its mark or its content, what was ingested from that address."""
        self._ask(source)
        mark, digest = self._known().get(source, ("", ""))
        now = storage.stat(source).mark
        if now == mark and (storage.is_remote(source) or not now.endswith(storage.UNSURE)):
            return
        with self._hashing:  # or every thread of a page would hash one long video at once
            if (source, now) not in self._same:
                known = bool(digest) and not storage.is_remote(source)
                self._same[source, now] = known and storage.digest(source) == digest
        if not self._same[source, now]:
            raise _changed()

    def sources_with(self, digest: str) -> list[str]:
        """Return the addresses from which a file of this SHA-256 was ingested."""
        self._known()
        return self._addresses.get(digest, [])

    def copies_of(self, source: str) -> list[str]:
        """Return the addresses from which the same content was ingested as from this one; none where that is not known."""
        digest = self._known().get(source, ("", ""))[1]
        return self.sources_with(digest) if digest else []

    def _named(self, row: int, read: Callable[[int, str], Read]) -> Read:
        source = str(self._value("source", row))
        try:
            return read(row, source)
        except Unreadable as error:
            message = said(Refusal(source, error.message)) + "."
            kind = Changed if isinstance(error, Changed) else Unreadable
            raise kind(message, error.remedy or "Put the file back as it was ingested.") from error

    def _ask(self, source: str) -> None:
        if not self._is_trusted(source):
            raise Unreadable(
                "it is on the network, at an address that only the run names", f"If you trust it: --trust {source}"
            )

    def _file(self, row: int, source: str) -> bytes:
        self._ask(source)
        data = storage.read(source, images.largest_file(self._options.pixel_limit))
        if content_of(str(self._value("id", row))) != content_in(data):
            raise _changed()
        return data

    def _whole(self, row: int, source: str) -> np.ndarray:
        time = self._value("time", row)
        if time is None:
            return page_of(self._file(row, source), self._options, self._page(row))
        self.check(source)
        return video.frame_at(source, float(time), pixel_limit=self._options.pixel_limit).image

    def _pixels(self, row: int, source: str) -> np.ndarray:
        whole, box = self._whole(row, source), self._value("box", row)
        return whole if box is None else part(whole, str(box))

    def _size(self, row: int, source: str) -> tuple[int, int]:
        if self._value("time", row) is None:
            if self._page(row) is not None:
                height, width = self._whole(row, source).shape[:2]
                return height, width
            options = self._options
            return images.size_of(self._file(row, source), white=options.white, pixel_limit=options.pixel_limit)
        self.check(source)
        if source not in self._of_videos:
            height, width = self._whole(row, source).shape[:2]
            self._of_videos[source] = height, width
        return self._of_videos[source]

    def _value(self, column: str, row: int) -> str | float | None:
        value: str | float | None = self._pool.items.column(column)[row].as_py()
        return value

    def _page(self, row: int) -> int | None:
        page = self._value("page", row)
        return None if page is None else int(page)

    def _known(self) -> dict[str, tuple[str, str]]:
        """Return mark and SHA-256 of every source at the time of the ingest, which are read, with the addresses of each content, when they
        are first needed."""
        with self._lock:
            if self._recorded is None:
                records = map(Part.load, sorted((self._pool.folder / "parts").glob("*.json")))
                self._recorded = {
                    source.uri: (source.mark, digest)
                    for record in records
                    for source, digest in zip(record.sources, record.digests, strict=True)
                }
                for source, (_, digest) in self._recorded.items():
                    self._addresses.setdefault(digest, []).append(source)
            return self._recorded


def read_again(
    item: str, source: str, time: float | None, page: int | None, options: IngestOptions, since: float
) -> np.ndarray:
    """Return the picture, page, frame or crop of a row of a table of results by its id, source, time and page: uint8 (h, w, 3).

    A picture file is known by the hash in its id; a video, which has none there, by not having been changed `since` (seconds of
    the epoch) the table was written. Raises `Unreadable` for what cannot be read any more and, unasked, for what is on the
    network; `Changed` for what is another file by now.
    """
    if storage.is_remote(source):
        raise Unreadable("it is on the network")
    if time is None:
        data = storage.read(source, images.largest_file(options.pixel_limit))
        if content_of(item) != content_in(data):
            raise _changed()
        whole = page_of(data, options, page)
    else:
        storage.stat(source)
        if os.stat(source).st_mtime > since:
            raise _changed()
        whole = video.frame_at(source, time, pixel_limit=options.pixel_limit).image
    _, _, box = item.rpartition("#")
    return part(whole, box) if picture_of([item])[0] != item else whole


def pool_pixels(pool: Pool, row: int) -> np.ndarray:
    """Return the pool's pixels (h, w, 3 or 1) uint8 of an item, those of a crop or patch in its own proportions."""
    pixels = pool.pixels([row])[0]
    box = pool.items.column("box")[row].as_py()
    if box is None:
        return pixels
    from PIL import Image

    _, _, width, height = read_boxes([box])[0]
    longest = max(pixels.shape[:2])
    wide, high = (max(1, round(longest * side / max(width, height))) for side in (width, height))
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).resize((wide, high))
    return np.asarray(image).reshape(high, wide, -1)


def part(whole: np.ndarray, box: str) -> np.ndarray:
    """Return the part of a picture (h, w, c) in a box "x,y,width,height"; `Unreadable` when the picture does not hold it."""
    height, width = whole.shape[:2]
    try:
        x, y, wide, high = read_boxes([box])[0]
    except (ValueError, IndexError):
        raise Unreadable(f"'{box}' is not a box of x,y,width,height") from None
    if min(x, y) < 0 or min(wide, high) < 1 or x + wide > width or y + high > height:
        raise Unreadable(f"it has {width}x{height} pixels, which do not hold the box {box}")
    return whole[y : y + high, x : x + wide]


def _changed() -> Changed:
    return Changed("it is not the file that was ingested, its content has changed since")
