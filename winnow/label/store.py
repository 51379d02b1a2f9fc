"""The label store: an append-only log of events in SQLite, and the present state computed from it."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from winnow.errors import Damaged, LossWarning, OptionError, RunError
from winnow.label.accept import refusal
from winnow.label.checked import Suggested, suggested
from winnow.label.database import (
    OpenFiles,
    connect,
    insert,
    is_older,
    log_beside,
    new_in_memory,
    read_copy,
    rows_of,
    sqlite_errors,
)
from winnow.label.event_log import EventLog, checksum, compare, line_of
from winnow.label.events import Event, check_who, class_name, malformed
from winnow.label.mend import found, mend
from winnow.label.present import Added, News, Present, State

Result = TypeVar("Result")


class LabelStore:
    """A log of events in the order in which they were committed: the last on an item counts, and none is ever changed.

    An item's label is that of its last event of the kinds label, skip and clear that no undo names; notes likewise.
    Any number of processes may hold the same file; each sees at its next call what the others wrote. Methods are safe to
    call from several threads. All raise `Damaged` when the file is not what was written, `RunError` when it cannot be
    written, and `StoreLost` when it is no longer the one that was opened: what was committed last is then not saved.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, files: OpenFiles | None = None, log: EventLog | None = None
    ) -> None:
        """Take over a connection and the log beside it; without them it is to a copy in memory, which cannot be lost."""
        self.path = path
        self._connection, self._files, self._log = connection, files, log
        self._lock = threading.RLock()
        self._seq = self._sum = self._total = self._lacked = 0
        self._last = (0, 0)
        self._lines: list[bytes] = []
        self._present = Present()

    @classmethod
    def open(cls, path: str | Path) -> LabelStore:
        """Open a store to write, or begin one where there is no file; `RunError` when the file is another program's.

        What one of its two copies has lost is made good from the other. A `LossWarning` says so, and what neither holds.
        """
        path = Path(path)
        try:
            store = cls._opened(path)
        except Damaged as damage:
            warnings.warn(mend(path, damage), LossWarning, stacklevel=2)
            return cls._opened(path)
        if store._lacked:
            log = log_beside(path).name
            told = f"{path} lacked {store._lacked:,} of {store.seq:,} entries; they were put back from {log} beside it."
            warnings.warn(told, LossWarning, stacklevel=2)
        return store

    @classmethod
    def _opened(cls, path: Path) -> LabelStore:
        with sqlite_errors(path):
            log = EventLog(log_beside(path))  # before the database: its lock keeps both in place
        try:
            if is_older(path) and not log.alone():
                raise RunError(
                    f"{path} is of an older version of Winnow, and open.", "End every winnow label of this run first."
                )
            store = cls(path, connect(path), OpenFiles(path), log)
            log.share()
        except BaseException:
            log.abandon()
            raise
        try:
            store._locked(store._join, writes=True)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, path: str | Path) -> LabelStore:
        """Return a store as it is now, which cannot be written; one that was not begun yet is empty.

        It is a copy in memory: neither the file nor its folder has to be writable, and neither is changed. Of a damaged
        store it holds what is whole, and a `LossWarning` says what is lost.
        """
        path = Path(path)
        try:
            store = cls._copied(path)
        except Damaged as damage:
            whole = found(path, damage)
            warnings.warn(whole.told, LossWarning, stacklevel=2)
            store = cls(path, new_in_memory())
            insert(store._connection, whole.rows)
        store._connection.execute("PRAGMA query_only = ON")
        return store._folded()

    @classmethod
    def _copied(cls, path: Path) -> LabelStore:
        """Return a copy of the database, with what the log holds in addition; raise `Damaged` when they do not agree."""
        store = cls(path, read_copy(path))
        try:
            with sqlite_errors(path):
                if log_beside(path).exists():
                    with log_beside(path).open("rb") as file:
                        insert(store._connection, compare(file, rows_of(store._connection), log_beside(path)).ahead)
            return store._folded()
        except BaseException:
            store.close()
            raise

    def _folded(self) -> LabelStore:
        try:
            self._locked(lambda: None)
        except BaseException:
            self.close()
            raise
        return self

    def check(self) -> None:
        """Raise `StoreLost` when the file was deleted, moved or replaced since it was opened."""
        if self._files is not None:
            self._files.check()

    def close(self) -> None:
        """Close the file; the last process to do so merges the journal into it."""
        with self._lock:
            self._connection.close()
            if self._log is not None:
                self._log.close()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seq(self) -> int:
        """Return the number of the last event."""
        return self._locked(lambda: self._seq)

    @property
    def home(self) -> str:
        """Return what tells this store from others, and stays: a mark of its first event, "" where there is none."""
        query = "SELECT uuid, who, received FROM events WHERE seq = 1"
        first = self._locked(lambda: self._connection.execute(query).fetchone())
        return hashlib.sha256("\0".join(first).encode()).hexdigest()[:16] if first else ""

    @property
    def classes(self) -> list[str]:
        """Return the classes in the order in which they were added."""
        return self._locked(lambda: list(self._present.history.names))

    def former(self, names: Sequence[str]) -> dict[str, str]:
        """Return those of some names that no class has any more, with what their class is called now, "" where it was deleted."""

        def read() -> dict[str, str]:
            history = self._present.history
            marks = {name: history.mark(name) for name in names if name not in history.names}
            return {name: history.title(mark) or "" for name, mark in marks.items() if mark is not None}

        return self._locked(read)

    def add_classes(self, who: str, names: Sequence[str]) -> list[str]:
        """Add classes, leaving existing ones as they are, and return all of them.

        Raises `OptionError` for a name that no class can have.
        """
        wanted = [class_name(name) for name in names]
        check_who(who)

        def make() -> list[str]:
            new = [name for name in dict.fromkeys(wanted) if name not in self._present.history.names]
            # The name is the uuid too, so that two copies of a run make the same class once.
            for name in new:
                again = f"\n{self._seq}" if self._find(f"class {name}") else ""
                self._insert(f"class {name}{again}", who, "", _now(), "", "class", name)
            return new

        self._locked(make, writes=True)
        return self.classes

    def change_class(self, who: str, uuid: str, name: str, to: str) -> None:
        """Rename a class; where there is one of the new name, it becomes part of that; with "" it is deleted and its items are open.

        A change whose uuid is in the store is not made again. Raises `OptionError` when there is no such class, or no class
        can have the new name.
        """
        to = class_name(to) if to else ""
        check_who(who)

        def make() -> None:
            if self._find(uuid) == (name, "class", to):
                return
            if name not in self._present.history.names or self._find(uuid):
                raise OptionError(f"There is no class {name[:50]!r} to change.", "Reload the page.")
            self._insert(uuid, who, "", _now(), name, "class", to)

        self._locked(make, writes=True)

    def undo_class(self, who: str, uuid: str, change: str) -> None:
        """Take a change of a class back: its labels have it again. `OptionError` when there is no such change."""
        check_who(who)

        def make() -> None:
            found = self._find(change)
            if found is None or found[1] != "class" or not found[0]:
                raise OptionError("There is no such change of a class to undo.", "Reload the page.")
            if self._find(uuid) is None:
                self._insert(uuid, who, "", _now(), found[0], "undo", change)

        self._locked(make, writes=True)

    def add(self, who: str, events: Sequence[Event], known: Container[str] | None = None) -> Added:
        """Append events and return once they are on disk (synchronous=FULL).

        An event whose uuid is already in the store counts as saved and is not added again, so that it may be sent until an
        answer comes. An event that makes no sense is refused and the others are saved; `known` holds the pool's items. Raises
        `OptionError` for a name that is empty or too long.
        """
        check_who(who)

        def append() -> Added:
            added, received = Added([], []), _now()
            for event in events:
                value, seen = (unicodedata.normalize("NFC", text) for text in (event.value, event.seen))
                event = event._replace(value=value, seen=seen)
                reason = malformed(event)
                is_new = bool(reason) or self._find(event.uuid) != (event.item, event.kind, event.value)
                if is_new and (reason := reason or refusal(event, self._present.history, self._find, known)):
                    added.refused.append((event.uuid, reason))
                    continue
                if is_new:
                    self._insert(event.uuid, who, event.at, received, event.item, event.kind, value, seen=seen)
                added.saved.append(event.uuid)
            return added

        return self._locked(append, writes=True)

    def state(self, item: str) -> State:
        """Return the present state of an item, the empty one where nobody touched it."""
        return self._locked(lambda: self._present.state(item))

    def states(self) -> dict[str, State]:
        """Return the present state of every item that somebody touched."""
        return self._locked(self._present.states)

    def suggested(self) -> Suggested:
        """Return what people did with suggestions."""
        return self._locked(lambda: suggested(self._connection, self._present.history))

    def labels(self) -> dict[str, tuple[str, str, str]]:
        """Return label, who gave it and when (ISO, UTC) of every labelled item."""
        return {
            item: (state.label, state.by, state.at) for item, state in self.states().items() if state.label is not None
        }

    def since(self, seq: int, most: int = sys.maxsize) -> tuple[dict[str, State], int]:
        """Return the states of the items that the next `most` events after number `seq` touch, and the last event's number."""

        def read() -> tuple[dict[str, State], int]:
            rows = self._connection.execute(
                "SELECT seq, item FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (min(seq, sys.maxsize), most)
            ).fetchall()
            return self._present.touched(item for _, item in rows), rows[-1][0] if rows else self._seq

        return self._locked(read)

    def news(self, seq: int, changes: int) -> News:
        """Return what changed after event number `seq`: every state where classes changed more often than `changes`."""

        def read() -> News:
            history = self._present.history
            states = self._present.states() if history.changes != changes else self.since(seq)[0]
            return News(states, list(history.names), history.changes, self._seq)

        return self._locked(read)

    def _locked(self, act: Callable[[], Result], writes: bool = False) -> Result:
        """Hold the lock on the present state; with `writes` inside one transaction, whose events are applied after the commit.

        Events count as saved only when the file is still where it was opened after the commit.
        """
        with self._lock, sqlite_errors(self.path):
            self._verify()
            if not writes:
                self._refresh()
                return act()
            self._begin()
            size = self._log.size if self._log else 0
            try:
                result = act()
                if self._log is not None:
                    self._log.append(self._lines)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # else somebody may have added to the log by now
                    if self._log is not None:
                        self._log.cut(size)
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._lines.clear()
            self._refresh()
            self._verify()
            return result

    def _begin(self) -> None:
        """Begin a transaction with a log that ends where the database does; a killed process may have left it further."""
        for _ in range(2):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._refresh()
                if self._log is None or self._log.end() == (self._seq, self._sum):
                    return
                self._join()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        raise sqlite3.DatabaseError(f"{log_beside(self.path).name} changes while nobody writes it")

    def _join(self) -> None:
        """Add to the database, or to the log, what only the other holds."""
        assert self._log is not None
        rows = rows_of(self._connection)
        compared = self._log.compare(rows)
        if compared.row is not None:
            self._log.complete(itertools.chain([compared.row], rows), compared.before)
        insert(self._connection, compared.ahead)
        self._lacked += len(compared.ahead)

    def _verify(self) -> None:
        if self._files is not None:
            self._files.verify(self._seq, self._total)

    def _refresh(self) -> None:
        """Apply the events that came since, whoever wrote them."""
        for *event, total in rows_of(self._connection, self._seq):
            if total != checksum(event, self._sum):
                raise sqlite3.DatabaseError(f"event {event[0]} is not what was written")
            self._present.apply(event, self._connection)
            self._seq, self._sum = event[0], total
            self._total += total
        self._last = (self._seq, self._sum)

    def _insert(self, *fields: str, seen: str = "") -> None:
        """Append an event, with the next number and checksum, within the transaction that `_locked` began."""
        seq, total = self._last
        event = (seq + 1, *fields, seen)
        self._last = (seq + 1, checksum(event, total))
        row = (*event, self._last[1])
        insert(self._connection, [row])
        self._lines.append(line_of(row, total))

    def _find(self, uuid: str) -> tuple[str, str, str] | None:
        """Return item, kind and value of an event."""
        return self._connection.execute("SELECT item, kind, value FROM events WHERE uuid = ?", (uuid,)).fetchone()


def count_labels(path: str | Path) -> int:
    """Return how many items somebody labelled, skipped or noted, without writing; 0 where there is no file.

    Raises `RunError` for another program's file and `Damaged` for a broken one, whose number of labels is unknown.
    """
    with LabelStore.read(path) as store:
        return sum(state.label is not None or state.skipped or bool(state.note) for state in store.states().values())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
