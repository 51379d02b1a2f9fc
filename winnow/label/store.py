"""The label store: an append-only log of events in SQLite, and the present state computed from it."""

from __future__ import annotations

import sqlite3
import sys
import threading
import unicodedata
import zlib
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from winnow.errors import OptionError
from winnow.label.database import OpenFiles, connect, read_copy, sqlite_errors

COLUMNS = "seq, uuid, who, at, received, item, kind, value"
DECIDE = ("label", "skip", "clear")
KINDS = (*DECIDE, "note", "undo")
SEEN = "\u00a0\u200c\u200d\u202f\u3000"
"""Spaces and joiners that are no control characters: names in Persian, Hindi or of symbols need them."""
LONGEST = {"who": 100, "uuid": 64, "at": 64, "class": 100, "note": 2000}


class Event(NamedTuple):
    """What one person did to one item; `value` is a class, the text of a note or the uuid of the event undone."""

    uuid: str
    item: str
    kind: str
    value: str = ""
    at: str = ""


class State(NamedTuple):
    """An item's present label, skip and note; `by` and `at` (the store's own clock, UTC) are those of its last label, skip or
    clear."""

    label: str | None = None
    skipped: bool = False
    note: str = ""
    by: str = ""
    at: str = ""


class Added(NamedTuple):
    """The uuids that are safe on disk, and those refused with the reason."""

    saved: list[str]
    refused: list[tuple[str, str]]


UNTOUCHED = State()
Result = TypeVar("Result")


class LabelStore:
    """A log of events in the order in which they were committed: the last on an item counts, and none is ever changed.

    An item's label is that of its last event of the kinds label, skip and clear that no undo names; notes likewise.
    Any number of processes may hold the same file; each sees at its next call what the others wrote. Methods are safe to
    call from several threads. All raise `Damaged` when the file is not what was written, `RunError` when it cannot be
    written, and `StoreLost` when it is no longer the one that was opened: what was committed last is then not saved.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, files: OpenFiles | None = None) -> None:
        """Take over a connection; without `files` it is to a copy in memory, which cannot be lost."""
        self.path = path
        self._connection, self._files = connection, files
        self._lock = threading.RLock()
        self._seq = self._sum = self._total = 0
        self._last = (0, 0)
        self._classes: list[str] = []
        self._states: dict[str, State] = {}

    @classmethod
    def open(cls, path: str | Path) -> LabelStore:
        """Open a store to write, or begin one where there is no file; `RunError` when the file is another program's."""
        path = Path(path)
        return cls(path, connect(path), OpenFiles(path))._folded()

    @classmethod
    def read(cls, path: str | Path) -> LabelStore:
        """Return a store as it is now, which cannot be written; one that was not begun yet is empty.

        It is a copy in memory: neither the file nor its folder has to be writable, and neither is changed.
        """
        path = Path(path)
        return cls(path, read_copy(path))._folded()

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

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seq(self) -> int:
        """Return the number of the last event."""
        return self._locked(lambda: self._seq)

    @property
    def classes(self) -> list[str]:
        """Return the classes in the order in which they were added."""
        return self._locked(lambda: list(self._classes))

    def add_classes(self, who: str, names: Sequence[str]) -> list[str]:
        """Add classes, leaving existing ones as they are, and return all of them.

        Raises `OptionError` for a name that no class can have.
        """
        wanted = [class_name(name) for name in names]
        check_who(who)

        def make() -> list[str]:
            new = [name for name in dict.fromkeys(wanted) if name not in self._classes]
            # The name is the uuid too, so that two processes never make the same class twice.
            for name in new:
                self._insert(f"class {name}", who, "", _now(), "", "class", name)
            return new

        self._locked(make, writes=True)
        return self.classes

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
                event = event._replace(value=unicodedata.normalize("NFC", event.value))
                reason = malformed(event)
                is_new = bool(reason) or self._find(event.uuid) != (event.item, event.kind, event.value)
                if is_new and (reason := reason or self._refusal(event, known)):
                    added.refused.append((event.uuid, reason))
                    continue
                if is_new:
                    self._insert(event.uuid, who, event.at, received, event.item, event.kind, event.value)
                added.saved.append(event.uuid)
            return added

        return self._locked(append, writes=True)

    def state(self, item: str) -> State:
        """Return the present state of an item, the empty one where nobody touched it."""
        return self._locked(lambda: self._states.get(item, UNTOUCHED))

    def states(self) -> dict[str, State]:
        """Return the present state of every item that somebody touched."""
        return self._locked(lambda: dict(self._states))

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
            touched = dict.fromkeys(item for _, item in rows if item)
            return {item: self._states[item] for item in touched}, rows[-1][0] if rows else self._seq

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
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._refresh()
                result = act()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._refresh()
            self._verify()
            return result

    def _verify(self) -> None:
        if self._files is not None:
            self._files.verify(self._seq, self._total)

    def _refresh(self) -> None:
        """Apply the events that came since, whoever wrote them."""
        rows = self._connection.execute(f"SELECT {COLUMNS}, sum FROM events WHERE seq > ? ORDER BY seq", (self._seq,))
        for *event, total in rows:
            if total != _sum(event, self._sum):
                raise sqlite3.DatabaseError(f"event {event[0]} is not what was written")
            self._seq, _, who, _, received, item, kind, value = event
            self._sum = total
            self._total += total
            if kind == "class":
                self._classes.append(value)
            elif kind == "undo":
                self._states[item] = self._fold(item)
            else:
                self._states[item] = _after(self._states.get(item, UNTOUCHED), kind, value, who, received)
        self._last = (self._seq, self._sum)

    def _fold(self, item: str) -> State:
        """Compute an item's state from all its events that are not undone."""
        state = UNTOUCHED
        for event in self._connection.execute(
            "SELECT kind, value, who, received FROM events WHERE item = ?1 AND kind != 'undo' AND uuid NOT IN "
            "(SELECT value FROM events WHERE item = ?1 AND kind = 'undo') ORDER BY seq",
            (item,),
        ):
            state = _after(state, *event)
        return state

    def _insert(self, *fields: str) -> None:
        """Append an event, with the next number and checksum, within the transaction that `_locked` began."""
        seq, total = self._last
        event = (seq + 1, *fields)
        self._last = (seq + 1, _sum(event, total))
        self._connection.execute(
            f"INSERT INTO events ({COLUMNS}, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*event, self._last[1])
        )

    def _refusal(self, event: Event, known: Container[str] | None) -> str:
        """Return why an event makes no sense here, or ""."""
        if self._find(event.uuid):
            return "Another event has this uuid."
        if known is not None and event.item not in known:
            return "There is no such item."
        if event.kind == "label" and event.value not in self._classes:
            return f"There is no class '{event.value}'."
        if event.kind == "undo":
            undone = self._find(event.value)
            if undone is None or undone[0] != event.item or undone[1] not in (*DECIDE, "note"):
                return "There is no such event of this item to undo."
        return ""

    def _find(self, uuid: str) -> tuple[str, str, str] | None:
        """Return item, kind and value of an event."""
        return self._connection.execute("SELECT item, kind, value FROM events WHERE uuid = ?", (uuid,)).fetchone()


def _sum(event: Sequence[Any], before: int) -> int:
    """Return the checksum of an event and all before it: SQLite keeps none, and a flipped bit would be another label."""
    return zlib.crc32("\0".join(map(str, event)).encode(), before)


def _after(state: State, kind: str, value: str, who: str, received: str) -> State:
    """Return the state after an event other than an undo."""
    if kind == "note":
        return state._replace(note=value)
    label = sys.intern(value) if kind == "label" else None  # a million labels share a few strings
    return State(label, kind == "skip", state.note, sys.intern(who), sys.intern(received))


def class_name(text: str) -> str:
    """Return a class's name as it is kept: trimmed, accents composed; `OptionError` when it is no line of text."""
    name = unicodedata.normalize("NFC", text.strip())
    reason = _not_text(name, LONGEST["class"]) or ("is empty" if not name else "")
    if not reason and not all(letter.isprintable() or letter in SEEN for letter in name):
        reason = "holds a control character"
    if reason:
        raise OptionError(f"The class {text[:50]!r} {reason}.", "Give a short name, on one line.")
    return name


def count_labels(path: str | Path) -> int:
    """Return how many items somebody labelled, skipped or noted, without writing; 0 where there is no file.

    Raises `RunError` for another program's file and `Damaged` for a broken one, whose number of labels is unknown.
    """
    with LabelStore.read(path) as store:
        return sum(state.label is not None or state.skipped or bool(state.note) for state in store.states().values())


def check_who(who: str) -> None:
    """Raise `OptionError` for the name of a person that is empty, too long or not text."""
    reason = _not_text(who, LONGEST["who"]) or ("is empty" if not who.strip() else "")
    if reason or not who.isprintable():
        raise OptionError(
            f"The name of who labels {reason or 'holds control characters'}.", "Give a short name: --who NAME"
        )


def malformed(event: Event) -> str:
    """Return why an event cannot be kept, whatever else is in the store, or ""."""
    if event.kind not in KINDS:
        return f"There is no kind of event {event.kind[:20]!r}."
    if not event.item or not (event.uuid.isascii() and event.uuid.replace("-", "").isalnum()):
        return "An event needs an item, and a uuid of letters, digits and hyphens."
    limits = {"uuid": LONGEST["uuid"], "at": LONGEST["at"], "value": LONGEST["note"], "item": 10_000}
    for name, most in limits.items():
        if reason := _not_text(getattr(event, name), most):
            return f"Its {name} {reason}."
    if event.kind in ("skip", "clear") and event.value:
        return f"'{event.kind}' takes no value."
    return ""


def _not_text(text: str, most: int) -> str:
    if len(text) > most:
        return f"has more than {most} characters"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON may hold half of a character
        return "is not text"
    return "is not text" if "\0" in text else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
