"""Expand what the user names into sources: folders, globs, files, lists, Hugging Face imagefolders and videos."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from winnow.data import storage
from winnow.data.formats import IMAGE_SUFFIXES
from winnow.data.lists import LIST_SUFFIXES, METADATA, Row, rows, split_name
from winnow.data.video import VIDEO_SUFFIXES
from winnow.errors import InputError, Unreadable

_WILD = frozenset("*?[")
_REMOTE_THREADS = 32


@dataclass(frozen=True, slots=True)
class Source:
    """A picture or a video: its address, its group, and a mark that changes when its content may have.

    `kind` is "image" or "video"; `label` and `split` ("train", "validate", "calibrate", "test") may be "".
    """

    uri: str
    kind: str
    group: str
    label: str
    split: str
    mark: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was named or found and cannot be used, with the reason."""

    source: str
    reason: str


@dataclass(frozen=True)
class Expansion:
    """Sources in a stable order and once each, refused files, and the number of other files in the folders."""

    sources: list[Source]
    refused: list[Refusal]
    skipped: int


def expand(inputs: Sequence[str | Path]) -> Expansion:
    """Return every picture and video that `inputs` name: folders, globs, files, lists, imagefolders, local or on s3://, mixed.

    A file named twice is kept where it was named first. Raises `InputError` for an input that is missing or names
    nothing, a list that cannot be read, a split that is not known. A missing file inside a list is only refused.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if not inputs:
        raise InputError("No input was given.", "Name folders, files, lists or globs of pictures and videos.")
    found = _Found()
    for given in inputs:
        text = os.fspath(given)
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
    return Expansion(list(found.sources.values()), list(found.refused.values()), found.skipped)


@dataclass
class _Found:
    sources: dict[str, Source] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    count: int = 0

    @property
    def skipped(self) -> int:
        return len(self.passed)

    def take(self, entry: storage.Entry, row: Row | None = None, label: str = "", split: str = "") -> None:
        self.count += 1
        uri = entry.uri
        if not storage.is_text(uri):
            self.refuse(uri, "the bytes of its name are not UTF-8: rename it")
            return
        kind = "video" if _suffix(uri) in VIDEO_SUFFIXES else "image"
        group = (row.group if row else "") or (uri if kind == "video" else storage.parent(uri))
        label, split = (row.label if row else "") or label, (row.split if row else "") or split
        self.sources.setdefault(uri, Source(uri, kind, group, label, split, entry.mark))

    def refuse(self, uri: str, reason: str) -> None:
        self.count += 1
        shown = uri.encode("utf-8", "backslashreplace").decode()
        self.refused.setdefault(shown, Refusal(shown, reason.encode("utf-8", "backslashreplace").decode()))


def _suffix(uri: str) -> str:
    return posixpath.splitext(uri)[1].lower()


def _add(found: _Found, text: str) -> None:
    remote = storage.is_remote(text)
    uri = text if remote else os.path.abspath(os.path.expanduser(text))
    suffix = _suffix(uri)
    # On s3 a folder is found by asking for a listing, so names that look like files are taken for files first.
    looks_like_file = remote and suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES | LIST_SUFFIXES and not uri.endswith("/")
    if not looks_like_file and storage.is_folder(uri):
        _add_folder(found, uri)
    elif _WILD & set(text) and (remote or not os.path.lexists(uri)):
        _add_glob(found, uri, text)
    elif suffix in LIST_SUFFIXES:
        _add_list(found, uri)
    else:
        found.take(_stat(uri))


def _stat(uri: str) -> storage.Entry:
    try:
        return storage.stat(uri)
    except Unreadable as error:
        raise InputError(error.message, error.remedy) from error


# ---- folders


def _add_folder(found: _Found, folder: str) -> None:
    entries = list(storage.listing(folder, found.refuse))
    start = len(folder.rstrip("/")) + 1
    tables = [entry.uri for entry in entries if posixpath.basename(entry.uri) in METADATA]
    described: dict[str, Row] = {}
    for table in tables:
        for row in rows(table):
            described.setdefault(row.uri, row)
    tops = {entry.uri[start:].split("/")[0] for entry in entries if "/" in entry.uri[start:]}
    # A folder called "test" alone may be anybody's; beside "train" or a table of metadata it is a split.
    split_folders = bool(tables) or any(split_name(top) == "train" for top in tops)
    for entry in entries:
        if entry.uri in tables:
            continue
        if entry.uri not in described and _suffix(entry.uri) not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.passed.add(entry.uri)
            continue
        folders = entry.uri[start:].split("/")[:-1]
        split = split_name(folders[0]) or "" if split_folders and folders else ""
        label = folders[1] if split and len(folders) > 1 else ""
        found.take(entry, described.pop(entry.uri, None), label, split)
    for row in described.values():
        found.refuse(row.uri, f"{row.uri} is named in {row.where} and does not exist.")


# ---- globs


def _add_glob(found: _Found, uri: str, text: str) -> None:
    pattern_suffix = _suffix(uri)
    named = bool(pattern_suffix) and not _WILD & set(pattern_suffix)
    matched = False
    for match in _matches(uri, found.refuse):
        matched = True
        if isinstance(match, str):
            _add_folder(found, match)
        elif named and _suffix(match.uri) in LIST_SUFFIXES:
            _add_list(found, match.uri)
        elif named or _suffix(match.uri) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.take(match)
        else:
            found.passed.add(match.uri)
    if not matched:
        raise InputError(f"{text} matches no file.", "Check the pattern; ** stands for folders of any depth.")


def _matches(pattern: str, refuse: storage.Refuse) -> Iterator[storage.Entry | str]:
    """Yield the matches of a pattern: files as entries and folders as strings."""
    if storage.is_remote(pattern) or "**" in pattern.split("/"):
        # `glob` follows links round and round below **, and knows no s3.
        segments = pattern.split("/")
        first = next(place for place, segment in enumerate(segments) if _WILD & set(segment))
        base = "/".join(segments[:first]) or "/"
        if storage.is_remote(pattern) and first < 3:
            raise InputError(f"{pattern} has a wildcard in the bucket's name.", "Name one bucket.")
        if storage.is_folder(base):

            def fits(uri: str) -> bool:
                return _fits(uri.split("/")[first:], segments[first:])

            yield from (
                entry
                for entry in storage.listing(base, lambda uri, why: refuse(uri, why) if fits(uri) else None)
                if fits(entry.uri)
            )
        return
    for path in sorted(glob.glob(pattern), key=lambda path: (storage.natural(path), path)):
        try:
            yield path if os.path.isdir(path) else storage.stat(path)
        except Unreadable as error:
            refuse(path, error.message)


def _fits(names: list[str], pattern: list[str]) -> bool:
    """Return whether a path, or a folder above it, matches the pattern."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_fits(names[skipped:], pattern[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


# ---- lists


def _add_list(found: _Found, uri: str) -> None:
    _stat(uri)
    named = list(rows(uri))
    if not named:
        raise InputError(f"{uri} names no file.", "Write one path a line, or a column 'path'.")
    for row, entry in zip(named, _stats(named), strict=True):
        if isinstance(entry, str):
            found.refuse(row.uri, entry)
        else:
            found.take(entry, row)


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
