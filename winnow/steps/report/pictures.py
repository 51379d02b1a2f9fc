"""Pictures of a report as cards: from their originals, in their own proportions, under the names of their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from winnow.data import storage
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.originals import pool_pixels, read_again
from winnow.pool.patches import read_boxes
from winnow.pool.pool import Pool
from winnow.report.embed import LONGEST, thumbnail
from winnow.report.figures import clock
from winnow.report.html import Card
from winnow.run.addresses import originals_of
from winnow.run.folder import RunFolder

AROUND = 1.0  # of a patch's sides that are shown on each side of it
STRIP = 3.0  # a picture so many times as wide as high has a row of its own
WIDE = 1200  # pixels of its width
GONE = "the original cannot be read"
MARKED = ((0, 0, 0), (255, 214, 0))  # the outline of a patch, from without to within


class OwnPictures:
    """The run's own pictures as cards: from the pool, at the run's size, where an original is gone, has changed or is on the network.

    A crop is shown as it is, a patch of a picture with what is around it, outlined.
    """

    def __init__(self, run: RunFolder, pool: Pool) -> None:
        self._pool, self._originals, self._cuts = pool, originals_of(run, pool), run.options.ingest.cuts
        self._sources, self._times = pool.column("source"), pool.column("time")
        self._pages, self._boxes = pool.column("page"), pool.column("box")

    def name(self, row: int) -> str:
        """Return how a person knows a picture: by the name of the file, its page, or the time of the frame."""
        return named(str(self._sources[row]), self._times[row], self._pages[row])

    def card(self, row: int, lines: Sequence[str] = ()) -> Card:
        """Return the card of a row of the pool."""
        try:
            remote = storage.is_remote(str(self._sources[row]))
            pixels = pool_pixels(self._pool, row) if remote else self._original(row)
        except Unreadable:
            pixels, lines = pool_pixels(self._pool, row), [*lines, GONE]
        return card_of(self.name(row), pixels, lines)

    def cards(self, rows: Sequence[int] | np.ndarray, lines: Sequence[Sequence[str]]) -> list[Card]:
        """Return the cards of rows of the pool with the lines below each."""
        return [self.card(int(row), text) for row, text in zip(rows, lines, strict=True)]

    def _original(self, row: int) -> np.ndarray:
        if not self._cuts:
            return self._originals.pixels(row)
        return around(self._originals.whole(row), self._boxes[row])


def judged_card(row: dict[str, str], options: IngestOptions, since: float, lines: Sequence[str] = ()) -> Card:
    """Return the card of a row of a table of results that was written at `since` (seconds of the epoch)."""
    time, page = (float(row["time"]) if row.get("time") else None), (int(row["page"]) if row.get("page") else None)
    name = named(row["source"], time, page)
    try:
        pixels = read_again(row["id"], row["source"], time, page, options, since)
    except Unreadable:
        return Card(name, b"", [*lines, GONE])
    return card_of(name, pixels, lines)


def named(source: str, time: float | None = None, page: object = None) -> str:
    """Return how a person knows a picture: by the name of the file, its page, or the time of the frame."""
    name = Path(source).name
    if time is not None and not np.isnan(time):
        name += f" at {clock(time)}"
    return name + (f", page {page}" if page else "")


def written(path: Path) -> float:
    """Return when a file was last written, in seconds of the epoch."""
    return os.stat(path).st_mtime


def around(whole: np.ndarray, box: str | None) -> np.ndarray:
    """Return the part of a picture (h, w, c) about a box "x,y,width,height", which is outlined; all of it where the box is nearly that."""
    from PIL import Image, ImageDraw

    if box is None:
        return whole
    x, y, width, height = (int(side) for side in read_boxes([box])[0])
    if width * height > 0.8 * whole.shape[0] * whole.shape[1]:
        return whole
    left, top = max(0, int(x - AROUND * width)), max(0, int(y - AROUND * height))
    right, bottom = int(x + (1 + AROUND) * width), int(y + (1 + AROUND) * height)
    image = Image.fromarray(whole[top:bottom, left:right].squeeze()).convert("RGB")
    draw, line = ImageDraw.Draw(image), max(1, round(max(image.size) / 160))
    for out, colour in ((2 * line, MARKED[0]), (line, MARKED[1])):
        corner = (x - left - out, y - top - out)
        draw.rectangle((*corner, x - left + width + out, y - top + height + out), outline=colour, width=line)
    return np.asarray(image)


def card_of(name: str, pixels: np.ndarray, lines: Sequence[str] = (), longest: int = LONGEST) -> Card:
    """Return the card of a picture (h, w, c) uint8; one that is a long strip has a row of its own."""
    wide = pixels.shape[1] > STRIP * pixels.shape[0]
    return Card(name, thumbnail(pixels, WIDE if wide else longest), lines, wide)
