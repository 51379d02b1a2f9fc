"""What a watch knows of what it has done, so that the same command goes on where a killed one stopped."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from winnow.detect.drift import MOST
from winnow.errors import Damaged, OptionError, RunError
from winnow.files import locked, make_folder, read_json, write_json
from winnow.watch.log import START, Event, Log, Place

ABOUT = "watch.json"
FORMAT = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (source TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (name TEXT, number INTEGER, score REAL NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
"""

Scores = tuple[str, int, list[float]]
"""Scores that follow one another under a name, and the number of the first, from 1."""


class Book:
    """The folder of a watch: its events, the pictures that were judged, and what is kept of each source, all brought forward at once.

    Events are written first, and count once the sizes of their files are committed together with what they came from: a process that
    is killed in between leaves lines that are cut off by the next one, which judges the same again. Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder, or make one; `OptionError` where it cannot be, or holds something else, `RunError` while another watches."""
        _claim(folder)
        self.folder, self._lock = folder, threading.RLock()
        path = folder / "state.sqlite"
        with ExitStack() as stack:
            remedy = "Stop it, or choose another folder: --to FOLDER"
            stack.enter_context(locked(folder / ".lock", f"Another watch into {folder}", remedy=remedy))
            stack.enter_context(_told(path))
            self._state = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._state.execute("PRAGMA journal_mode = WAL")
            self._state.execute("PRAGMA synchronous = NORMAL")
            self._state.executescript(SCHEMA)
            sizes = dict(self._state.execute("SELECT name, bytes FROM files"))
            self._held = stack.pop_all()
        self.log = Log(folder, sizes)
        self.number = int(self.kept("number") or 0)

    def close(self) -> None:
        """Close what is open, and let another process in."""
        with self._lock:
            self._state.close()
            self._held.close()

    def commit(
        self,
        events: Sequence[Event],
        seen: Sequence[tuple[str, str]] = (),
        kept: dict[str, Any] | None = None,
        scores: Sequence[Scores] = (),
        now: datetime | None = None,
    ) -> list[Event]:
        """Write events, numbered, with what they came from: files by their marks, what is kept by name, and scores; return the events.

        Of the scores under a name the first `MOST` stay.
        """
        now = now or datetime.now(UTC)
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock, _told(self.folder):
            numbered = [{"number": self.number + place, "at": at, **event} for place, event in enumerate(events, 1)]
            sizes = self.log.append(f"{now:%Y-%m-%d}", numbered) if numbered else {}
            self._state.execute("BEGIN IMMEDIATE")
            self._state.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", sizes.items())
            self._state.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", seen)
            values = {**(kept or {}), "number": self.number + len(numbered)}
            rows = [(name, json.dumps(value)) for name, value in values.items()]
            self._state.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)
            for name, first, some in scores:
                numbers = range(first, min(first + len(some), MOST + 1))
                some_rows = [(name, number, score) for number, score in zip(numbers, some, strict=False)]
                self._state.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", some_rows)
            self._state.execute("COMMIT")
            self.log.sizes.update(sizes)
            self.number += len(numbered)
        return numbered

    def has_seen(self, source: str, mark: str) -> bool:
        """Return whether a file was judged with this content."""
        with self._lock, _told(self.folder):
            found = self._state.execute("SELECT mark FROM seen WHERE source = ?", (source,)).fetchone()
        return found is not None and found[0] == mark

    def kept(self, name: str) -> Any:
        """Return what is kept under a name, None where nothing is."""
        with self._lock, _told(self.folder):
            found = self._state.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def scores(self, name: str) -> list[float]:
        """Return the scores that were committed under a name, in their order."""
        with self._lock, _told(self.folder):
            found = self._state.execute("SELECT score FROM scores WHERE name = ? ORDER BY number", (name,)).fetchall()
        return [score for (score,) in found]

    def events_for(self, reader: str) -> Iterator[tuple[Event, Place]]:
        """Yield the events that a reader has not done with yet, with what to tell `done` behind each."""
        kept = self.kept(f"read {reader}")
        with self._lock:
            found = self.log.read(START if kept is None else (kept[0], kept[1]))
            first = [one for one, _ in zip(found, range(100), strict=False)]
        yield from first

    def done(self, reader: str, place: Place) -> None:
        """Note that a reader has done with the events before a place."""
        self.commit([], kept={f"read {reader}": list(place)})

    def begin_reading(self, reader: str) -> None:
        """Have a reader that is new begin with what comes from now on."""
        if self.kept(f"read {reader}") is None:
            self.done(reader, self.log.end())


def _claim(folder: Path) -> None:
    """Make a folder for a watch; `OptionError` where it holds something else, or cannot be written."""
    about = folder / ABOUT
    if folder.exists() and not about.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} is not empty, and no folder of winnow watch.", "Choose another: --to FOLDER")
    make_folder(folder, "--to")
    if not about.exists():
        write_json(about, {"format": FORMAT})
    elif read_json(about) != {"format": FORMAT}:
        raise RunError(f"{about} is of another version of winnow watch.", "Choose another folder: --to FOLDER")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        kind = RunError if isinstance(error, sqlite3.OperationalError) else Damaged
        raise kind(
            f"{path} cannot be read or written ({error}).",
            "Free disk space or correct its permissions; or --to FOLDER.",
        ) from error
