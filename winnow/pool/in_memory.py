"""Pictures as a pool has them, without a folder: what a server or a camera brings is judged as a file of a run's own would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.errors import Unreadable
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.originals import content_in
from winnow.pool.parts import Decoded, cut_page, pages_to_cut, shape
from winnow.pool.patches import write_box
from winnow.pool.pool import PICTURES

NONE_CUT = PICTURES.empty_table()

Refused = tuple[int | None, str]
"""The number of a page (None of a file of one only), and the reason why it was refused."""


class InMemory:
    """The pictures of one source, cut as the ingest cuts them; a row is a picture, a patch, a tile or a crop.

    `given` are pages or frames: number of the page, time in seconds, and what `winnow.pool.parts.cut_up` made of it.
    """

    def __init__(
        self, source: str, given: Sequence[tuple[int | None, float | None, Decoded]], options: IngestOptions
    ) -> None:
        self.channels = 1 if options.grey else 3
        self._pieces = [piece for _, _, one in given for piece in one.pieces]
        self._shape = shape(options)
        self._rows: dict[str, list[Any]] = {name: [] for name in ("id", "source", "time", "page", "box", "track")}
        self._cut: list[dict[str, Any]] = []
        for page, time, one in given:
            boxes = [None] if one.boxes is None else [write_box(box) for box in one.boxes]
            for box in boxes:
                name = one.name if box is None else f"{one.name}#{box}"
                row = {"id": name, "source": source, "time": time, "page": page, "box": box, "track": None}
                for column, value in row.items():
                    self._rows[column].append(value)
            if one.about and boxes:
                about = {"id": one.name, "source": source, "time": time, "page": page}
                self._cut.append({**about, **one.about})

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def pictures(self) -> pa.Table:
        """Return a row for each picture that was cut, as `Pool.pictures`; none where none was."""
        return pa.Table.from_pylist(self._cut, schema=PICTURES) if self._cut else NONE_CUT

    def column(self, name: str) -> np.ndarray:
        """Return a column, as `Pool.column`."""
        if name == "time":
            return np.array([np.nan if time is None else time for time in self._rows[name]], np.float64)
        found = np.empty(len(self), object)
        found[:] = self._rows[name]
        return found

    def pixels(self, rows: Any) -> np.ndarray:
        """Return the pixels uint8 (n, h, w, c) of the given row numbers (or slice, or mask), in their order."""
        wanted = np.arange(len(self))[rows]
        if not len(wanted):
            return np.empty((0, *self._shape), np.uint8)
        return np.stack([self._pieces[row] for row in wanted])


def read_picture(
    data: bytes,
    source: str,
    options: IngestOptions,
    *,
    find: Finder | None = None,
    usual: float | None = None,
    more: Callable[[int], bool] = lambda pages: True,
) -> tuple[InMemory, list[Refused]]:
    """Return the picture in a file's bytes, all its pages, cut as the ingest would cut it, and the pages that were refused.

    `source` is what its rows are called. `more` is asked with the number of pages so far before each further one is decoded.
    Raises `Unreadable` when nothing of it can be read, or when there are to be no more pages.
    """
    content = content_in(data)
    given: list[tuple[int | None, float | None, Decoded]] = []
    refused: list[Refused] = []
    for pages, page in enumerate(pages_to_cut(data, options, find), 1):
        number, found = cut_page(content, page, options=options, find=find, usual=usual)
        if isinstance(found, Decoded):
            given.append((number, None, found))
        else:
            refused.append((number, found))
        if not more(pages):
            raise Unreadable("it has more pages or frames than can be looked at in time")
    if not given:
        raise Unreadable(
            refused[0][1] if len(refused) == 1 else f"none of its {len(refused)} pages can be used: {refused[0][1]}"
        )
    return InMemory(source, given, options), refused
