"""The catalogue of items to label: a pool's items in lanes, filtered, paged, and each with its neighbours in time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.errors import OptionError, did_you_mean
from winnow.label.events import CHECK
from winnow.label.present import State

SHOWS = ("open", "labelled", "skipped", "all")
NEIGHBOURS = 4
TEXTS = 16  # searches whose matches are remembered: 1 MB each at a million sources
UNLABELLED = -1


class Listed(NamedTuple):
    """An item of the lanes chosen or outliers: why it is there, its rank among the chosen, the p-value of its anomaly score."""

    id: str
    why: str = ""
    rank: int | None = None
    score: float | None = None


class Lane(NamedTuple):
    """A queue of rows (n,) in labelling order."""

    title: str
    rows: np.ndarray


class Decided(NamedTuple):
    """Of n items the class number, -1 where there is none, and whether they are skipped, and were checked, each (n,)."""

    label: np.ndarray
    skipped: np.ndarray
    checked: np.ndarray


class Page(NamedTuple):
    """Rows and their positions in the lane, how many match in all, and whether the last match is among them."""

    rows: np.ndarray
    places: np.ndarray
    total: int
    end: bool


class Catalogue:
    """A pool's items (n rows) with the present label or skip of each, as arrays that a query masks.

    `items` has the columns id, source, group, time (seconds or null), box ('x,y,w,h' or null) and confidence (or null), and
    page where there are files of several;
    `usable` (n,) leaves rows out, such as copies. `chosen` and `outliers` fill the lanes of these names, in their order.
    """

    def __init__(
        self,
        items: pa.Table,
        usable: np.ndarray | None = None,
        chosen: Sequence[Listed] = (),
        outliers: Sequence[Listed] = (),
    ) -> None:
        used = np.arange(items.num_rows) if usable is None else np.flatnonzero(usable)
        self.ids: list[str] = items.column("id").to_pylist()
        self._row_of = {self.ids[row]: row for row in reversed(used.tolist())}
        self._sources, self._source = _coded(items.column("source"))
        groups, self._group = _coded(items.column("group"))
        self.groups: list[str] = [name or "" for name in groups.to_pylist()]
        self._time = items.column("time").to_numpy(zero_copy_only=False)
        self._page = items.column("page") if "page" in items.column_names else None
        self._box = items.column("box")
        self._confidence = items.column("confidence").to_numpy(zero_copy_only=False)
        self._chosen, self._outliers = dict(self._known(chosen)), dict(self._known(outliers))
        self.lanes = {
            "chosen": Lane("Chosen for labelling", np.array(list(self._chosen), int)),
            "outliers": Lane("Outliers: anomalous or broken", np.array(list(self._outliers), int)),
            "all": Lane("All pictures", used),
        }
        self._label = np.full(items.num_rows, UNLABELLED, np.int32)
        self._skipped = np.zeros(items.num_rows, bool)
        self._checked = np.zeros(items.num_rows, bool)
        self._texts: OrderedDict[str, np.ndarray] = OrderedDict()
        self._strand = np.where(np.isnan(self._time), len(self._sources) + self._group, self._source)
        self._order = used[np.lexsort((np.nan_to_num(self._time[used]), self._strand[used]))]
        self._position = np.zeros(items.num_rows, np.int64)
        self._position[self._order] = np.arange(len(used))

    def _known(self, lane: Iterable[Listed]) -> list[tuple[int, Listed]]:
        return [(self._row_of[entry.id], entry) for entry in lane if entry.id in self._row_of]

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: object) -> bool:
        return item in self._row_of

    def row(self, item: str) -> int:
        """Return the row of an item's id."""
        return self._row_of[item]

    @property
    def timed(self) -> bool:
        """Return whether there are frames of video, so that neighbours are neighbours in time."""
        return bool(np.isfinite(self._time).any())

    def mark(self, states: Mapping[str, State], classes: Sequence[str]) -> None:
        """Record the present states of the items that changed."""
        numbers = {name: number for number, name in enumerate(classes)}
        for item, state in states.items():
            row = self._row_of.get(item)
            if row is not None:
                self._label[row] = UNLABELLED if state.label is None else numbers[state.label]
                self._skipped[row] = state.skipped
                self._checked[row] = state.seen.startswith(f"{CHECK} ")

    def decided(self) -> Decided:
        """Return what is decided of the items now."""
        return Decided(self._label.copy(), self._skipped.copy(), self._checked.copy())

    def counts(self, classes: int) -> list[int]:
        """Return how many items have each of the first `classes` classes."""
        return np.bincount(self._label + 1, minlength=classes + 1)[1 : classes + 1].tolist()

    def progress(self, lane: str) -> dict[str, int]:
        """Return how many items a lane has, and how many of them are labelled and skipped."""
        rows = self.lanes["all" if lane == "next" else lane].rows  # what comes next is found while it is labelled
        if lane == "check":  # all of them labelled, and waiting for another look
            return {"total": len(rows), "labelled": 0, "skipped": 0}
        return self.progress_of(rows)

    @property
    def group_numbers(self) -> np.ndarray:
        """Return the number of each row's group in `groups` (n,)."""
        return self._group

    def is_open(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows are neither labelled nor skipped (n,) bool."""
        open_rows: np.ndarray = (self._label[rows] < 0) & ~self._skipped[rows]
        return open_rows

    def progress_of(self, rows: np.ndarray) -> dict[str, int]:
        """Return how many rows there are, and how many of them are labelled and skipped."""
        labelled, skipped = np.count_nonzero(self._label[rows] >= 0), np.count_nonzero(self._skipped[rows])
        return {"total": len(rows), "labelled": int(labelled), "skipped": int(skipped)}

    def query(
        self,
        lane: str,
        show: str = "all",
        label: int | None = None,
        group: str | None = None,
        text: str = "",
        after: int = -1,
        limit: int = 50,
        rows: np.ndarray | None = None,
    ) -> Page:
        """Return the next `limit` items of a lane after the position `after` that match every filter.

        `rows`, where given, take the place of the lane's.
        `show` is one of `SHOWS`, `label` a class's number, `text` a part of the source, upper or lower case.
        Raises `OptionError` for an unknown lane, show or group.
        """
        if rows is None:
            rows = self.lanes[_one_of("lane", lane, tuple(self.lanes))].rows
        _one_of("show", show, SHOWS)
        fits = np.ones(len(rows), bool)
        if show == "open":
            fits &= self.is_open(rows)
        elif show == "labelled":
            fits &= self._label[rows] >= 0
        elif show == "skipped":
            fits &= self._skipped[rows]
        if label is not None:
            fits &= self._label[rows] == label
        if group is not None:
            fits &= self._group[rows] == self.groups.index(_one_of("group", group, self.groups))
        if text:
            fits &= self._holds(text)[self._source[rows]]
        places = np.flatnonzero(fits)
        start = int(np.searchsorted(places, after, side="right"))
        taken = places[start : start + limit]
        return Page(rows[taken], taken, len(places), start + limit >= len(places))

    def _holds(self, text: str) -> np.ndarray:
        """Return which of the distinct sources contain a text (sources,) bool."""
        found = self._texts.get(text)
        if found is None:
            found = pc.match_substring(self._sources, text, ignore_case=True).to_numpy(zero_copy_only=False)
            self._texts[text] = found
            if len(self._texts) > TEXTS:
                self._texts.popitem(last=False)
        return found

    def describe(self, row: int) -> dict[str, Any]:
        """Return all about an item but its label, ready for JSON."""
        chosen, outlier = (
            self._chosen.get(row),
            self._outliers.get(row),
        )  # an outlier is chosen where little else is left
        source, time = self.source(row), self.time(row)
        page = None if self._page is None else self._page[row].as_py()
        return {
            "row": row,
            "id": self.ids[row],
            "name": source.rstrip("/").rpartition("/")[2] + (f", page {page}" if page else ""),
            "source": source,
            "group": self.groups[self._group[row]],
            "time": time,
            "page": page,
            "box": self.box(row),
            "confidence": None if np.isnan(self._confidence[row]) else round(float(self._confidence[row]), 4),
            "rank": chosen and chosen.rank,
            "why": "; ".join(listed.why for listed in (chosen, outlier) if listed),
            "score": outlier and outlier.score,
        }

    def source(self, row: int) -> str:
        """Return the path or address an item comes from."""
        return self._sources[int(self._source[row])].as_py()

    def time(self, row: int) -> float | None:
        """Return the seconds into its video, None for a picture."""
        return None if np.isnan(self._time[row]) else float(self._time[row])

    def box(self, row: int) -> list[int] | None:
        """Return x, y, width and height of an item that is a part of its picture, None for a whole picture."""
        text = self._box[row].as_py()
        return [int(part) for part in text.split(",")] if text else None

    def neighbours(self, row: int) -> tuple[list[int], list[int]]:
        """Return up to four rows before and after: frames in time, pictures in the order of their group.

        For a crop of a frame they are the crops nearest to its position on the frames before and after: most often the same
        person, whereas the next row would be another one at the same moment.
        """
        if self.time(row) is not None and self.box(row) is not None:
            return self._in_place(row, -1)[::-1], self._in_place(row, 1)
        place = int(self._position[row])
        before, after = self._order[max(0, place - NEIGHBOURS) : place], self._order[place + 1 : place + 1 + NEIGHBOURS]
        alike = self._strand[row]
        return before[self._strand[before] == alike].tolist(), after[self._strand[after] == alike].tolist()

    def _in_place(self, row: int, step: int) -> list[int]:
        """Return the crop nearest in position on each of up to four frames, nearest in time first; `step` is 1 or -1."""
        nearest: dict[float, tuple[float, int]] = {}
        place = int(self._position[row]) + step
        while 0 <= place < len(self._order) and self._strand[self._order[place]] == self._strand[row]:
            other = int(self._order[place])
            time = float(self._time[other])
            if time != self._time[row]:
                if time not in nearest and len(nearest) == NEIGHBOURS:
                    break
                here = (_apart(self.box(row), self.box(other)), other)
                nearest[time] = min(nearest.get(time, here), here)
            place += step
        return [other for _, other in nearest.values()]

    def rows_of_source(self) -> dict[str, list[int]]:
        """Return the rows of every source; those of an exact copy have the ids of the picture that is used."""
        found: dict[str, list[int]] = {}
        names = self._sources.to_pylist()
        for row, source in enumerate(self._source.tolist()):
            found.setdefault(names[source], []).append(row)
        return found


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values of a column and the number of each row's value among them (n,)."""
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    return coded.dictionary, coded.indices.to_numpy(zero_copy_only=False)


def _apart(a: list[int] | None, b: list[int] | None) -> float:
    """Return the distance in pixels between the centres of two boxes."""
    if a is None or b is None:
        return math.inf
    return math.hypot(a[0] - b[0] + (a[2] - b[2]) / 2, a[1] - b[1] + (a[3] - b[3]) / 2)


def _one_of(what: str, given: str, known: Sequence[str]) -> str:
    if given not in known:
        raise OptionError(f"There is no {what} {given[:50]!r}.", did_you_mean(given, list(known)[:1000]))
    return given
