"""Expand what the user names into sources: folders, globs, files, lists, Hugging Face imagefolders and videos."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from winnow.data import storage
from winnow.data.formats import IMAGE_SUFFIXES, unread
from winnow.data.globs import WILD, matches_of, root_of
from winnow.data.images import decode
from winnow.data.layout_notes import note_of, refuse_doubt
from winnow.data.layouts import Described, Placed, Reading, out_by_folder, read_layout
from winnow.data.lists import LIST_SUFFIXES, METADATA, Row, rows
from winnow.data.own_folders import above, own_folders
from winnow.data.pieces import Gathered, Piece
from winnow.data.video import VIDEO_SUFFIXES
from winnow.errors import InputError, Unreadable
from winnow.results.words import count

_REMOTE_THREADS = 32
KINDS = 5  # of files passed over that are named
MASK_LEVELS = 8  # grey levels of a mask; a photograph has more, even of one colour alone
LARGEST_MASK = 1 << 28
PHOTO_COLOURS, PHOTO_COLOUR = (
    64,
    8,
)  # colours of 4,096, and mean difference of the channels, from which on it is a photograph


@dataclass(frozen=True, slots=True)
class Source:
    """A picture or a video: its address, its group, and a mark that changes when its content may have.

    `kind` is "image" or "video"; `label` and `split` ("train", "validate", "calibrate", "test") may be "". `pieces`: the frames
    and boxes of it that are read, each with its label, all of it where there are none. `track`: the name, in its group, of what is
    shown by all whole pictures of that name; "" without.
    """

    uri: str
    kind: str
    group: str
    label: str
    split: str
    mark: str
    pieces: tuple[Piece, ...] = ()
    track: str = ""

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Source:
        """Return the source that was saved as JSON."""
        pieces = tuple((time, box, label) for time, box, label in saved.get("pieces", ()))
        return cls(**{**saved, "pieces": pieces})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was named or found and cannot be used, with the reason."""

    source: str
    reason: str


@dataclass(frozen=True)
class Expansion:
    """Sources in a stable order and once each, refused files, the number of other files in the folders, and what was recognised
    of the folders and passed over, in sentences; the addresses of the files that were left out by that."""

    sources: list[Source]
    refused: list[Refusal]
    skipped: int
    notes: list[str] = field(default_factory=list)
    left_out: frozenset[str] = frozenset()


def expand(inputs: Sequence[str | Path], reading: Reading | None = None) -> Expansion:
    """Return every picture and video that `inputs` name: folders, globs, files, lists, imagefolders, local or on s3://, mixed.

    `reading` says what of the folders and lists is read, by default everything but masks. A file named twice is kept where it
    was named first, with what all lists say of it: which frames and boxes are read, and their labels; two that contradict each
    other are an `InputError`. Raises `InputError` for an input that is missing or names nothing, a list that cannot be read, a split
    that is not known, and folders of which it is not clear what is meant (`winnow.data.layouts`). A missing file inside a
    list is only refused.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if not inputs:
        raise InputError("No input was given.", "Name folders, files, lists or globs of pictures and videos.")
    given = [os.fspath(one) for one in inputs]
    found = _Found(_roots(given))
    for text in given:
        if not text:
            raise InputError("An input is an empty name.", "Name a folder, a file, a list or a glob.")
        before = found.count
        _add(found, text)
        if found.count == before:
            passed = f" ({found.skipped} other files were passed over)" if found.skipped else ""
            raise InputError(
                f"{text} holds no picture or video{passed}.",
                "Check the path. Files without a known suffix have to be named one by one or in a list.",
            )
    notes = [*found.settle(reading or Reading()), *_passed_over(list(found.passed))]
    left_out = frozenset(one.entry.uri for one in found.named) - found.gathered.keys()
    return Expansion(found.sources(), list(found.refused.values()), found.skipped, notes, left_out)


def _roots(given: Sequence[str]) -> dict[str, str]:
    """Return the folder above of each folder that is named beside others of it, as a shell writes `parts/*`: its name counts."""
    folders = [_address(text) for text in given if text and not storage.is_remote(text)]
    above = Counter(storage.parent(uri) for uri in dict.fromkeys(folders) if os.path.isdir(uri))
    return {uri: storage.parent(uri) for uri in folders if above[storage.parent(uri)] > 1}


@dataclass(frozen=True, slots=True)
class _Named:
    """A file, where it was named, and its name below the root that its folders are read from."""

    entry: storage.Entry
    row: Row | None = None
    root: str = ""
    name: str = ""


@dataclass
class _Found:
    roots: dict[str, str]
    named: list[_Named] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    gathered: dict[str, tuple[storage.Entry, Gathered]] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    passed: dict[str, None] = field(default_factory=dict)
    own: dict[str, set[str]] = field(default_factory=dict)
    untracked: Counter[str] = field(default_factory=Counter)
    count: int = 0

    @property
    def skipped(self) -> int:
        return len(self.passed)

    def add(self, entry: storage.Entry, row: Row | None = None, root: str = "", name: str = "") -> None:
        """Add a file: of a folder (`root`) with its path below it, of a list (`root`) with its row, or by itself."""
        self.count += 1
        if storage.is_text(entry.uri):
            self.named.append(_Named(entry, row, root, name or entry.uri[len(root.rstrip("/")) + 1 :]))
        else:
            self.refuse(entry.uri, "the bytes of its name are not UTF-8: rename it")

    def without_own(self, root: str, entries: Sequence[storage.Entry]) -> list[storage.Entry]:
        """Return the files that are not in runs and results of Winnow below `root`; what these draw is counted."""
        own = own_folders(entries)
        own.pop(root, None)
        kept = []
        for entry in entries:
            place = above(entry.uri, own)
            if not place:
                kept.append(entry)
            elif _suffix(entry.uri) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                self.count += 1
                self.own.setdefault(f"{place} ({own[place]})", set()).add(entry.uri)
        return kept

    def refuse(self, uri: str, reason: str) -> None:
        self.count += 1
        shown = uri.encode("utf-8", "backslashreplace").decode()
        self.refused.setdefault(shown, Refusal(shown, reason.encode("utf-8", "backslashreplace").decode()))

    def pass_over(self, uri: str, beside: Container[str]) -> None:
        """Leave out a file of a folder; it is refused where it is a picture and none that can be read is `beside` it."""
        why = unread(_suffix(uri))
        if why and _stem(uri) not in beside:
            self.refuse(uri, why)
        else:
            self.passed[uri] = None

    def settle(self, reading: Reading) -> list[str]:
        """Take the files that are read, and return what is said of the folders."""
        inside: dict[str, list[_Named]] = {}
        for one in self.named:
            inside.setdefault(one.root, []).append(one)
        placed: dict[tuple[str, str], Placed] = {}
        notes = [
            f"{place}: {count(len(drawn), 'picture')} that Winnow drew, left out." for place, drawn in self.own.items()
        ]
        for root, files in inside.items():
            if root:
                found = self._layout(root, files, reading)
                placed |= {(root, file.name): file for file in found}
                notes.append(note_of(root, found, reading))
        for one in self.named:
            place = placed.get((one.root, one.name))
            if place is None or not place.out:
                self._take(one, place)
        for root, rows_of in self.untracked.items():
            what = "row of a video, frame or box names" if rows_of == 1 else "rows of videos, frames or boxes name"
            notes.append(f"{root}: {rows_of:,} {what} a track, which is read of whole pictures alone.")
        return [note for note in notes if note]

    def _layout(self, root: str, files: Sequence[_Named], reading: Reading) -> list[Placed]:
        uris = {one.name: one.entry.uri for one in files}
        rows: dict[str, Described] = {}
        for one in files:
            if one.row:
                known = rows.get(one.name, Described(one.row.label, one.row.split))
                same = known.label == one.row.label
                rows[one.name] = Described(known.label if same else "", known.split or one.row.split)
        is_list = _suffix(root) in LIST_SUFFIXES
        if reading.only and is_list and not any(row.label for row in rows.values()):
            reading = replace(reading, only=())  # a list without labels names its files one by one
        found = read_layout(
            root,
            list(uris),
            reading,
            described=rows,
            tables=root in self.tables,
            look=lambda name: _look(uris[name]),
        )
        if is_list and reading.purpose == "normal":
            found = out_by_folder(found, storage.parent(root), uris)
        refuse_doubt(root, found, reading)
        return found

    def _take(self, one: _Named, place: Placed | None) -> None:
        row = one.row or Row(one.entry.uri, one.root)
        label, split = (row.label or place.label, place.split) if place else ("", "")
        _, about = self.gathered.setdefault(one.entry.uri, (one.entry, Gathered(one.entry.uri)))
        about.add((row.time, row.box, label), row.group, split, row.where, row.track)
        if row.track and (row.time is not None or row.box or _suffix(row.uri) in VIDEO_SUFFIXES):
            self.untracked[one.root] += 1

    def sources(self) -> list[Source]:
        """Return the files that are read, with all that was said of each."""
        found = []
        for uri, (entry, about) in self.gathered.items():
            kind = "video" if _suffix(uri) in VIDEO_SUFFIXES else "image"
            group = about.group or (uri if kind == "video" else storage.parent(uri))
            label = about.pieces.get((None, ""), (None, ""))[1]
            found.append(Source(uri, kind, group, label, about.split, entry.mark, about.listed(), about.track))
        return found


def _look(uri: str) -> Literal["drawn", "photograph", ""]:
    """Return whether a picture was drawn, in few grey levels as a mask is, or taken in colour, as far as its pixels say so."""
    try:
        pixels = decode(storage.read(uri, LARGEST_MASK), None)
    except Unreadable:
        return ""
    if len(np.unique(pixels.mean(axis=-1).astype(np.uint8))) <= MASK_LEVELS:
        return "drawn"
    colours = np.unique((pixels >> 4).reshape(-1, 3), axis=0)
    return "photograph" if len(colours) > PHOTO_COLOURS and np.ptp(pixels, axis=-1).mean() > PHOTO_COLOUR else ""


def _suffix(uri: str) -> str:
    return posixpath.splitext(uri)[1].lower()


def _stem(uri: str) -> str:
    return posixpath.splitext(uri)[0]


def _stems(entries: Iterable[storage.Entry]) -> set[str]:
    """Return the addresses, without suffix, of the pictures that can be read: cameras write A.CR2 beside A.JPG."""
    return {_stem(entry.uri) for entry in entries if _suffix(entry.uri) in IMAGE_SUFFIXES}


def _passed_over(uris: Sequence[str]) -> list[str]:
    """Return, in a sentence, the number of the files of folders that are no pictures, by their suffixes; none for none."""
    if not uris:
        return []
    kinds = Counter(_suffix(uri) or "without a suffix" for uri in uris).most_common()
    named = ", ".join(f"{number:,} {kind}" for kind, number in kinds[:KINDS]) + ", ..." * (len(kinds) > KINDS)
    return [
        f"{len(uris):,} other {'file was' if len(uris) == 1 else 'files were'} passed over ({named}), first {uris[0]}."
    ]


def _address(text: str) -> str:
    return text if storage.is_remote(text) else os.path.abspath(os.path.expanduser(text))


def _add(found: _Found, text: str) -> None:
    remote, uri = storage.is_remote(text), _address(text)
    suffix = _suffix(uri)
    # On s3 a folder is found by asking for a listing, so names that look like files are taken for files first.
    looks_like_file = remote and suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES | LIST_SUFFIXES and not uri.endswith("/")
    if not looks_like_file and storage.is_folder(uri):
        _add_folder(found, uri, found.roots.get(uri, uri))
    elif WILD & set(text) and (remote or not os.path.lexists(uri)):
        _add_glob(found, uri, text)
    elif suffix in LIST_SUFFIXES:
        _add_list(found, uri)
    else:
        found.add(_stat(uri))


def _stat(uri: str) -> storage.Entry:
    try:
        return storage.stat(uri)
    except Unreadable as error:
        raise InputError(error.message, error.remedy) from error


# ---- folders


def _add_folder(found: _Found, folder: str, root: str) -> None:
    """Add the files of a folder, whose layout is read from `root` on down: itself or a folder above."""
    listed = list(storage.listing(folder, found.refuse))
    if own_folders([entry for entry in listed if storage.parent(entry.uri) == folder.rstrip("/")]) and root == folder:
        raise InputError(
            f"{folder} is a run or results of Winnow, not a folder of pictures.",
            "Name the folder of the pictures, or single files.",
        )
    entries = found.without_own(root, listed)
    tables = [entry.uri for entry in entries if posixpath.basename(entry.uri) in METADATA]
    described: dict[str, list[Row]] = {}
    for table in tables:
        found.tables.add(root)
        for said in rows(table):
            described.setdefault(said.uri, []).append(said)
    beside = _stems(entries)
    for entry in entries:
        if entry.uri in tables:
            continue
        if entry.uri in described or _suffix(entry.uri) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            about: list[Row | None] = [*described.pop(entry.uri, [])] or [None]
            for row in about:
                found.add(entry, row, root)
        else:
            found.pass_over(entry.uri, beside)
    for named, *_ in described.values():
        found.refuse(named.uri, named.broken or f"{named.uri} is named in {named.where} and does not exist.")


# ---- globs


def _add_glob(found: _Found, uri: str, text: str) -> None:
    pattern_suffix = _suffix(uri)
    named = bool(pattern_suffix) and not WILD & set(pattern_suffix)
    matched, before = False, found.count
    root = root_of(uri)
    matches = list(matches_of(uri, root, found.refuse, partial(found.without_own, root)))
    beside = _stems([match for match in matches if not isinstance(match, str)])
    for match in matches:
        matched = True
        if isinstance(match, str):
            _add_folder(found, match, root)
        elif named and _suffix(match.uri) in LIST_SUFFIXES:
            _add_list(found, match.uri)
        elif named or _suffix(match.uri) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.add(match, root=root)
        else:
            found.pass_over(match.uri, beside)
    if not matched and found.count == before:
        raise InputError(f"{text} matches no file.", "Check the pattern; ** stands for folders of any depth.")


# ---- lists


def _add_list(found: _Found, uri: str) -> None:
    _stat(uri)
    named = list(rows(uri))
    if not named:
        raise InputError(f"{uri} names no file.", "Write one path a line, or a column 'path'.")
    for number, (row, entry) in enumerate(zip(named, _stats(named), strict=True)):
        if isinstance(entry, str):
            found.refuse(row.uri, entry)
        else:
            found.add(entry, row, uri, str(number))


def _stats(named: list[Row]) -> Iterable[storage.Entry | str]:
    """Return the entry of each row, or the reason why there is none."""
    if not any(storage.is_remote(row.uri) for row in named):
        return map(_entry_or_reason, named)
    with ThreadPoolExecutor(_REMOTE_THREADS) as pool:  # one after the other would wait for each answer
        return list(pool.map(_entry_or_reason, named))


def _entry_or_reason(row: Row) -> storage.Entry | str:
    if row.broken:
        return row.broken
    try:
        return storage.stat(row.uri)
    except Unreadable as error:
        return error.message
