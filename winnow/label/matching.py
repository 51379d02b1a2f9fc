"""Find the items that the records of a label file are about: by content, then by address, then by the end of the path."""

from __future__ import annotations

import os
import posixpath
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from winnow.data import storage
from winnow.errors import InputError, Unreadable
from winnow.label.catalogue import Catalogue
from winnow.label.records import Record
from winnow.pool.originals import Changed, Originals, content_of

NEAR = 0.005  # seconds by which a time may be rounded: frames are further apart
MATCHING = (
    "Items are matched by id, else by the content of the file that is named, else by its path (or a unique end of it), "
    "with time and box."
)
GUESSES = ("path", "name")
"""The ways that look at a path alone; it may be another picture with such a path."""
SAID = {
    "id": "by id",
    "content": "by content",
    "address": "by path",
    "path": "by the end of the path",
    "name": "by file name alone",
}


@dataclass(frozen=True)
class Matched:
    """The record of each item found, how many were found in which way (`SAID`), and the records without an item.

    `unknown` has the reason with each of them, `guess` the first pair of paths that were taken for one another.
    """

    found: dict[str, Record] = field(default_factory=dict)
    how: dict[str, int] = field(default_factory=dict)
    unknown: list[tuple[Record, str]] = field(default_factory=list)
    guess: str = ""

    @property
    def says(self) -> str:
        """Return how the items were found, such as "30 by id, 2 by the end of the path (a/x.png as b/a/x.png)"."""
        ways = [f"{self.how[way]:,} {said}" for way, said in SAID.items() if self.how.get(way)]
        return ", ".join(ways) + (f" ({self.guess})" if self.guess else "")


@dataclass(frozen=True)
class _Match:
    """What was found for a record: rows of the catalogue and the way, or no row and the reason.

    `root` is the part of an absolute path that the run's does not have in common with it.
    """

    rows: list[int]
    way: str
    root: tuple[str, ...] | None = None


def matched(records: Sequence[Record], catalogue: Catalogue, originals: Originals) -> Matched:
    """Return which items records are about.

    Raises `InputError` when two records of an item differ in their label.
    """
    finder = _Finder(catalogue, originals)
    items = _without_moved(list(map(finder.item, records)))
    ambiguous = _taken_twice(records, items, catalogue)
    found: dict[str, Record] = {}
    ways: Counter[str] = Counter()
    unknown: list[tuple[Record, str]] = []
    guess = ""
    for record, match in zip(records, items, strict=True):
        if not match.rows:
            unknown.append((record, match.way))
            continue
        if match.way in GUESSES and catalogue.source(match.rows[0]) in ambiguous:
            unknown.append((record, "two files of these names could be the one that the run has"))
            continue
        item = catalogue.ids[match.rows[0]]
        if item in found and found[item].label != record.label:
            raise InputError(
                f"One item has two labels: '{found[item].label}' in {found[item].where}, '{record.label}' in {record.where}.",
                "Decide which is right, and import again.",
            )
        if item not in found:
            ways[match.way] += 1
            if match.way in GUESSES and not guess:
                guess = f"{record.written or record.source} as {catalogue.source(match.rows[0])}"
        found[item] = record
    return Matched(found, dict(ways), unknown, guess)


def _without_moved(matches: list[_Match]) -> list[_Match]:
    """Return the matches without those by a path's end that others contradict.

    Where /old/cam1/day1/a.png is found as /new/cam1/day1/a.png, /old/cam2/day1/b.png is not /new/cam1/day1/b.png.
    """
    roots = {match.root for match in matches if match.rows and match.root is not None}

    def fits(match: _Match) -> bool:
        root = match.root
        return root is None or not any(root[:length] in roots for length in range(len(root)))

    other = _Match([], "by the other paths of the file, its folder is not among those of the run")
    return [match if fits(match) else other for match in matches]


def _taken_twice(records: Sequence[Record], items: Sequence[_Match], catalogue: Catalogue) -> set[str]:
    """Return the sources of the run that two different files of the records were taken for, one of them by its path alone."""
    files: dict[str, set[str]] = {}
    for record, match in zip(records, items, strict=True):
        if match.rows and record.source:
            source = catalogue.source(match.rows[0])
            sure = match.way not in (*GUESSES, "id")
            files.setdefault(source, set()).add(source if sure else record.source)
    return {source for source, named in files.items() if len(named) > 1}


class _Finder:
    """Finds the item of a record; what it looks up is indexed once, where it is needed."""

    def __init__(self, catalogue: Catalogue, originals: Originals) -> None:
        self._catalogue, self._originals = catalogue, originals
        self._of_file: dict[str, list[int]] = {}
        self._changed: dict[str, bool] = {}
        self._of_sources: dict[tuple[str, ...], list[int]] = {}
        self._in_time: dict[int, tuple[list[int], list[tuple[float, int]]]] = {}

    @cached_property
    def _by_source(self) -> dict[str, list[int]]:
        return self._catalogue.rows_of_source()

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[list[str], str]]]:
        """The sources of each file name, with the names of their paths from the last to the first, in the order of these."""
        found: dict[str, list[tuple[list[str], str]]] = {}
        for source in self._by_source:
            found.setdefault(posixpath.basename(source), []).append((_parts(source)[::-1], source))
        return {name: sorted(ends) for name, ends in found.items()}

    @cached_property
    def _by_content(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, item in enumerate(self._catalogue.ids):
            if content := content_of(item):
                found.setdefault(content, []).append(row)
        return found

    def item(self, record: Record) -> _Match:
        """Return the one row that a record is about; of exact copies that of the first."""
        if record.id in self._catalogue:
            return _Match([self._catalogue.row(record.id)], "id")
        content = content_of(record.id)
        if content:
            rows = self._by_content.get(content, [])
            match = _Match(rows, "content" if rows else "by its id it is a picture that the run does not have")
        else:
            match = self._by_file(record)
        return self._narrowed(match, record) if match.rows else match

    def _by_file(self, record: Record) -> _Match:
        if not record.source:
            return _Match([], "its id is unknown" if record.id else "it names no picture")
        rows = self._by_source.get(record.source)
        if rows:
            if self._has_changed(record.source):
                return _Match([], "its file has changed since it was ingested")
            return _Match(rows, "address")
        if "://" not in record.source and os.path.isfile(record.source):
            try:
                rows = self._with_content(record.source)
            except Unreadable:
                return _Match([], "its file cannot be read")
            return _Match(rows, "content" if rows else "no picture of the run has the content of its file")
        return self._by_path(record)

    def _has_changed(self, source: str) -> bool:
        """Return whether there is another file at a source's address now; one that is gone, or on s3, is taken as unchanged."""
        if source not in self._changed:
            self._changed[source] = "://" not in source and self._is_another(source)  # an import needs no network
        return self._changed[source]

    def _is_another(self, source: str) -> bool:
        try:
            self._originals.check(source)
        except Changed:
            return True
        except Unreadable:
            return False
        return False

    def _with_content(self, path: str) -> list[int]:
        """Return the rows of the picture or video that a file on this machine is a copy of."""
        if path not in self._of_file:
            digest = storage.digest(path)
            self._of_file[path] = self._by_content.get(digest[:16]) or self._of(self._originals.sources_with(digest))
        return self._of_file[path]

    def _by_path(self, record: Record) -> _Match:
        """Return the rows of the sources whose paths share the longest end with a record's.

        Of a path that the file gives in part, all of it has to agree. Of an absolute one the root may be another, but a file
        name alone is not enough: the folder of the run's is another.
        """
        written = record.written or record.source
        parts, whole = _parts(written), re.match(r"[/\\]|[A-Za-z]:", written) is not None
        longest, sources = _longest_end(parts[::-1], self._by_name.get(parts[-1] if parts else "", []))
        if not longest:
            return _Match([], "the run has no file of its name")
        if longest < (2 if whole else len(parts)):
            return _Match([], "the run has a file of its name in another folder")
        if any(map(self._has_changed, sources)):  # renumbered, perhaps: nobody knows which picture the name meant
            return _Match([], "the run's file of its name has changed since it was ingested")
        return _Match(
            self._of(sources), "name" if len(parts) == 1 else "path", tuple(parts[:-longest]) if whole else None
        )

    def _of(self, sources: Sequence[str]) -> list[int]:
        """Return the rows of some sources, the same list each time."""
        found = self._of_sources.get(key := tuple(sources))
        if found is None:
            found = self._of_sources[key] = sorted(row for source in key for row in self._by_source.get(source, []))
        return found

    def _at(self, rows: list[int], time: float) -> list[int]:
        """Return those of the rows that are at a time: a long video's are sorted once and not looked through for each of its labels."""
        if id(rows) not in self._in_time:  # the list is kept with them, so that no other one has its id
            self._in_time[id(rows)] = rows, sorted((self._catalogue.time(row) or 0.0, row) for row in rows)
        moments = self._in_time[id(rows)][1]
        some = slice(bisect_left(moments, (time - 2 * NEAR,)), bisect_right(moments, (time + 2 * NEAR,)))
        return [row for moment, row in moments[some] if abs(moment - time) <= NEAR]

    def _narrowed(self, match: _Match, record: Record) -> _Match:
        """Return the one row at a record's time and box; in the place of a copy of a video, that of the video that is used."""
        rows, catalogue = match.rows, self._catalogue
        if not any(catalogue.ids[row] in catalogue for row in rows):
            rows = self._of(self._originals.copies_of(catalogue.source(rows[0]))) or rows
        if record.time is not None:
            rows = self._at(rows, record.time)
        if record.box is not None:
            rows = [row for row in rows if catalogue.box(row) == list(record.box)]
        if not rows:
            return _Match([], "the run has nothing at its time and box")
        items = (catalogue.ids[row] for row in rows if catalogue.ids[row] in catalogue)
        item = next(items, None)
        if item is None or any(other != item for other in items):
            return _Match([], "several items of the run could be meant" if item else "the run does not use it")
        return replace(match, rows=[catalogue.row(item)])


def _parts(path: str) -> list[str]:
    """Return the names of a path, whichever system wrote it; those that only lead elsewhere are left out."""
    return [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]


def _longest_end(end: list[str], ends: list[tuple[list[str], str]]) -> tuple[int, list[str]]:
    """Return how many names a path, given from its last name to its first, has at most in common with one of `ends`, which are in order;
    and the sources of those."""
    place = bisect_left(ends, (end,))
    longest = max((_alike(end, other) for other, _ in ends[max(0, place - 1) : place + 1]), default=0)
    common = end[:longest]

    def begins(other: tuple[list[str], str]) -> list[str]:
        return other[0][:longest]

    own = slice(bisect_left(ends, common, key=begins), bisect_right(ends, common, key=begins))
    return longest, [source for _, source in ends[own]]


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many names two lists begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
