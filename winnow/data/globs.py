"""Patterns with wildcards, on this machine and on s3: what they match, what Winnow itself wrote left out."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from winnow.data import storage
from winnow.data.own_folders import marks_above
from winnow.errors import InputError, Unreadable

WILD = frozenset("*?[")
Keep = Callable[[Sequence[storage.Entry]], list[storage.Entry]]
"""Called with files, returns those that are read."""


def root_of(pattern: str) -> str:
    """Return the folder before the first wildcard of a pattern."""
    folders = pattern.split("/")
    return "/".join(folders[: _first_wild(folders)]) or "/"


def matches_of(pattern: str, root: str, refuse: storage.Refuse, keep: Keep) -> Iterator[storage.Entry | str]:
    """Yield the matches of a pattern below `root`, of which `keep` has a say: files as entries and folders as strings."""
    if storage.is_remote(pattern) or "**" in pattern.split("/"):
        # `glob` follows links round and round below **, and knows no s3.
        folders = pattern.split("/")
        first = _first_wild(folders)
        if storage.is_remote(pattern) and first < 3:
            raise InputError(f"{pattern} has a wildcard in the bucket's name.", "Name one bucket.")
        if storage.is_folder(root):

            def fits(uri: str) -> bool:
                return _fits(uri.split("/")[first:], folders[first:])

            entries = list(storage.listing(root, lambda uri, why: refuse(uri, why) if fits(uri) else None))
            yield from (entry for entry in keep(entries) if fits(entry.uri))
        return
    for folder in _closed(pattern):
        refuse(folder, f"{folder} cannot be read (permission denied).")
    matches: list[storage.Entry | str] = []
    for path in sorted(glob.glob(pattern), key=lambda path: (storage.natural(path), path)):
        try:
            matches.append(path if os.path.isdir(path) else storage.stat(path))
        except Unreadable as error:
            refuse(path, error.message)
    files = [match for match in matches if isinstance(match, storage.Entry)]
    kept = set(keep([*files, *map(storage.stat, marks_above(files, root))]))
    yield from (match for match in matches if isinstance(match, str) or match in kept)


def _closed(pattern: str) -> Iterator[str]:
    """Yield the folders that a pattern leads through and that may not be looked into: `glob` passes over them without a word."""
    folders = pattern.split("/")
    for depth in range(_first_wild(folders), len(folders)):
        for path in sorted(glob.glob("/".join(folders[:depth]))):
            if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
                yield path


def _first_wild(folders: Sequence[str]) -> int:
    return next(place for place, name in enumerate(folders) if WILD & set(name))


def _fits(names: list[str], pattern: list[str]) -> bool:
    """Return whether a path, or a folder above it, matches the pattern."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_fits(names[skipped:], pattern[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])
