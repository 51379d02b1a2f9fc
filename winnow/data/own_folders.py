"""Folders that Winnow wrote, runs and results: what is drawn in them is no picture to learn from or to judge."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable, Sequence

from winnow.data import storage
from winnow.errors import Unreadable

RUN, RESULTS = "run.json", "results.json"
IN_BUCKET = "winnow.json"
"""The manifest of a run in a bucket, see `winnow.run.bucket`."""
RESULTS_FORMAT = "winnow results"
"""What results.json, the manifest that a command leaves in a folder of results, says under `format`."""
LARGEST = 1 << 24  # bytes of either file


def own_folders(entries: Sequence[storage.Entry]) -> dict[str, str]:
    """Return the folders among those of the files `entries` that Winnow wrote, each with what it is."""
    found = {}
    uris = [entry.uri for entry in entries]
    for entry in entries:
        if posixpath.basename(entry.uri) in (RUN, RESULTS, IN_BUCKET):
            kind = _kind(entry, uris)
            if kind:
                found[storage.parent(entry.uri)] = kind
    return found


def above(uri: str, folders: Iterable[str]) -> str:
    """Return the folder of `folders` that a file is in, at any depth, "" for none."""
    return next((folder for folder in folders if uri.startswith(f"{folder.rstrip('/')}/")), "")


def marks_above(entries: Iterable[storage.Entry], root: str) -> list[str]:
    """Return the local files below `root` that may say that a folder of one of the files is Winnow's."""
    folders: dict[str, None] = {}
    for entry in entries:
        folder = storage.parent(entry.uri)
        while len(folder) > len(root) and folder not in folders:
            folders[folder] = None
            folder = storage.parent(folder)
    marks = (posixpath.join(folder, name) for folder in folders for name in (RUN, RESULTS))
    return [mark for mark in marks if os.path.isfile(mark)]


def _kind(entry: storage.Entry, uris: Sequence[str]) -> str:
    name, folder = posixpath.basename(entry.uri), storage.parent(entry.uri)
    try:
        content = json.loads(storage.read(entry.uri, LARGEST))
    except Unreadable:
        return ""
    except (ValueError, RecursionError):  # a damaged one is one all the same where the rest of a run is beside it
        parts = tuple(f"{folder}/{part}/" for part in ("steps", "pool", "model"))
        return "a run" if name == RUN and any(uri.startswith(parts) for uri in uris) else ""
    if not isinstance(content, dict):
        return ""
    if name == IN_BUCKET:
        return "a run" if {"format", "number", "push", "files"} <= content.keys() else ""
    if name == RESULTS:
        return "results" if content.get("format") == RESULTS_FORMAT else ""
    return "a run" if "recipe" in content and {"options", "steps"} & content.keys() else ""
