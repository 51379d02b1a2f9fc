"""What there is to label: a pool's items in lanes, filtered, paged, and each with its neighbours in time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.errors import OptionError, did_you_mean
from winnow.label.store import State

SHOWS = ("open", "labelled", "skipped", "all")
NEIGHBOURS = 4
TEXTS = 16  # searches whose matches are remembered: 1 MB each at a million sources
UNLABELLED = -1


class Listed(NamedTuple):
    """An item of a lane of its own: why it is there, its rank among the chosen, its p-value by the one-class score."""

    id: str
    why: str = ""
    rank: int | None = None
    score: float | None = None


class Lane(NamedTuple):
    """A queue of rows (n,) in the order in which they are to be labelled."""

    title: str
    rows: np.ndarray


class Page(NamedTuple):
    """Rows and their places in the lane, how many match in all, and whether these reach the last of them."""

    rows: np.ndarray
    places: np.ndarray
    total: int
    end: bool


class Catalogue:
    """A pool's items (n rows) and, beside each, what holds for it now, as arrays that a query masks.

    `items` has the columns id, source, group, time (seconds or null), box ('x,y,w,h' or null) and confidence (or null);
    `usable` (n,) leaves rows out, such as copies. `chosen` and `odd` fill the lanes of these names, in their order.
    """

    def __init__(
        self,
        items: pa.Table,
        usable: np.ndarray | None = None,
        chosen: Sequence[Listed] = (),
        odd: Sequence[Listed] = (),
    ) -> None:
        used = np.arange(items.num_rows) if usable is None else np.flatnonzero(usable)
        self.ids: list[str] = items.column("id").to_pylist()
        self._row_of = {self.ids[row]: row for row in reversed(used.tolist())}
        self._sources, self._source = _coded(items.column("source"))
        groups, self._group = _coded(items.column("group"))
        self.groups: list[str] = [name or "" for name in groups.to_pylist()]
        self._time = items.column("time").to_numpy(zero_copy_only=False)
        self._box = items.column("box")
        self._confidence = items.column("confidence").to_numpy(zero_copy_only=False)
        self._chosen, self._odd = dict(self._known(chosen)), dict(self._known(odd))
        self.lanes = {
            "chosen": Lane("Chosen to be labelled", np.array(list(self._chosen), int)),
            "outliers": Lane("Odd: anomalous or broken", np.array(list(self._odd), int)),
            "all": Lane("All", used),
        }
        self._label = np.full(items.num_rows, UNLABELLED, np.int32)
        self._skipped = np.zeros(items.num_rows, bool)
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
        """The row of an item's id."""
        return self._row_of[item]

    @property
    def timed(self) -> bool:
        """Whether there are frames of video, so that neighbours are neighbours in time."""
        return bool(np.isfinite(self._time).any())

    def mark(self, states: Mapping[str, State], classes: Sequence[str]) -> None:
        """Takes over what holds now for the items that changed."""
        vectors = {name: code for code, name in enumerate(classes)}
        for item, state in states.items():
            row = self._row_of.get(item)
            if row is not None:
                self._label[row] = UNLABELLED if state.label is None else vectors[state.label]
                self._skipped[row] = state.skipped

    def counts(self, classes: int) -> list[int]:
        """How many items have each of the first `classes` classes."""
        return np.bincount(self._label + 1, minlength=classes + 1)[1 : classes + 1].tolist()

    def progress(self, lane: str) -> dict[str, int]:
        """How many items a lane has, how many of them are labelled and skipped."""
        rows = self.lanes[lane].rows
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
    ) -> Page:
        """The next `limit` items of a lane beyond the place `after` that fit every filter.

        `show` is one of `SHOWS`, `label` a class's number, `text` a part of the source, whatever its capitals. Raises
        `OptionError` for a lane, a show or a group that is not known.
        """
        rows = self.lanes[_one_of("lane", lane, tuple(self.lanes))].rows
        _one_of("show", show, SHOWS)
        fits = np.ones(len(rows), bool)
        if show == "open":
            fits &= (self._label[rows] < 0) & ~self._skipped[rows]
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
        """Which of the distinct sources hold a text."""
        found = self._texts.get(text)
        if found is None:
            found = pc.match_substring(self._sources, text, ignore_case=True).to_numpy(zero_copy_only=False)
            self._texts[text] = found
            if len(self._texts) > TEXTS:
                self._texts.popitem(last=False)
        return found

    def describe(self, row: int) -> dict[str, Any]:
        """What is known of an item, as JSON has it."""
        chosen, odd = self._chosen.get(row), self._odd.get(row)  # where few are neither odd nor alike, some are both
        source, time = self.source(row), self.time(row)
        return {
            "row": row,
            "id": self.ids[row],
            "name": source.rstrip("/").rpartition("/")[2],
            "source": source,
            "group": self.groups[self._group[row]],
            "time": time,
            "box": self.box(row),
            "confidence": None if np.isnan(self._confidence[row]) else round(float(self._confidence[row]), 4),
            "rank": chosen and chosen.rank,
            "why": "; ".join(listed.why for listed in (chosen, odd) if listed),
            "score": odd and odd.score,
        }

    def source(self, row: int) -> str:
        """The path or address an item comes from."""
        return self._sources[int(self._source[row])].as_py()

    def time(self, row: int) -> float | None:
        """Seconds into its video, None for a picture."""
        return None if np.isnan(self._time[row]) else float(self._time[row])

    def box(self, row: int) -> list[int] | None:
        """x, y, width and height of the part of its picture that the item is, None when it is the whole."""
        text = self._box[row].as_py()
        return [int(part) for part in text.split(",")] if text else None

    def neighbours(self, row: int) -> tuple[list[int], list[int]]:
        """Up to four rows before and after: of the same source in time, of pictures in the list of their group.

        Of a crop of a frame they are the crops nearest to its place on the frames before and after: most often the same
        person, where the next in the list would be another one of the same moment.
        """
        if self.time(row) is not None and self.box(row) is not None:
            return self._in_place(row, -1)[::-1], self._in_place(row, 1)
        place = int(self._position[row])
        before, after = self._order[max(0, place - NEIGHBOURS) : place], self._order[place + 1 : place + 1 + NEIGHBOURS]
        alike = self._strand[row]
        return before[self._strand[before] == alike].tolist(), after[self._strand[after] == alike].tolist()

    def _in_place(self, row: int, step: int) -> list[int]:
        """The row nearest in place on each of up to four frames, from the nearest in time on; `step` is 1 or -1."""
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
        """The usable rows of every source."""
        found: dict[str, list[int]] = {}
        names = self._sources.to_pylist()
        for row in self.lanes["all"].rows.tolist():
            found.setdefault(names[self._source[row]], []).append(row)
        return found


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The distinct values of a column and which of them each row has (n,)."""
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    return coded.dictionary, coded.indices.to_numpy(zero_copy_only=False)


def _apart(a: list[int] | None, b: list[int] | None) -> float:
    """Pixels between the middles of two boxes."""
    if a is None or b is None:
        return math.inf
    return math.hypot(a[0] - b[0] + (a[2] - b[2]) / 2, a[1] - b[1] + (a[3] - b[3]) / 2)


def _one_of(what: str, given: str, known: Sequence[str]) -> str:
    if given not in known:
        raise OptionError(f"There is no {what} {given[:50]!r}.", did_you_mean(given, list(known)[:1000]))
    return given
