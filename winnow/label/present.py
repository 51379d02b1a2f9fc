"""What the events of a store amount to: the classes, and the present state of every item."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable
from typing import NamedTuple

from winnow.label.class_history import ClassHistory
from winnow.label.event_log import Row
from winnow.label.events import items_of, seen_of


class State(NamedTuple):
    """An item's present label, skip and note; `by`, `at` (the store's own clock, UTC) and `seen` (see `Event`) are those of its
    last label, skip or clear."""

    label: str | None = None
    skipped: bool = False
    note: str = ""
    by: str = ""
    at: str = ""
    seen: str = ""


class News(NamedTuple):
    """The states that changed, the classes, how often classes were renamed, merged or deleted, and the last event's number."""

    states: dict[str, State]
    classes: list[str]
    changes: int
    seq: int


class Added(NamedTuple):
    """The uuids that are safe on disk, and those refused with the reason."""

    saved: list[str]
    refused: list[tuple[str, str]]


UNTOUCHED = State()


class Present:
    """The classes, in the order in which they were added, and the state of every item that somebody touched.

    An item's state holds the mark of its class (`ClassHistory`) and is given out with the class's present name.
    """

    def __init__(self) -> None:
        self.history = ClassHistory()
        self._held: dict[str, State] = {}
        self._acts: dict[str, list[int]] = {}
        self._undone: set[str] = set()

    def apply(self, row: Row, connection: sqlite3.Connection) -> None:
        """Apply the next event; `connection` holds it and all before it."""
        seq, uuid, who, _, received, item, kind, value, seen = row
        if kind == "class" and item:
            self.history.change(seq, uuid, item, value)
        elif kind == "class":
            self.history.add(seq, uuid, value)
        elif kind == "undo" and self.history.holds(value):
            self.history.undo(seq, value)
        elif kind == "undo":
            self._undone.add(value)
            for one in items_of(item):
                self._held[one] = self._folded(one, connection)
        else:
            named = items_of(item)
            for one, own in zip(named, seen_of(item, seen), strict=True):
                self._held[one] = self._after(self._held.get(one, UNTOUCHED), seq, kind, value, who, received, own)
                if len(named) > 1:
                    self._acts.setdefault(one, []).append(seq)

    def state(self, item: str) -> State:
        """Return the present state of an item, the empty one where nobody touched it."""
        return self._shown(self._held.get(item, UNTOUCHED))

    def states(self) -> dict[str, State]:
        """Return the present state of every item that somebody touched."""
        if not self.history.changes:
            return dict(self._held)
        return {item: self._shown(state) for item, state in self._held.items()}

    def touched(self, items: Iterable[str]) -> dict[str, State]:
        """Return the present states of those of `items`, each as an event names it, that somebody touched."""
        named = dict.fromkeys(one for item in items for one in items_of(item))
        return {item: self._shown(self._held[item]) for item in named if item in self._held}

    def _shown(self, state: State) -> State:
        if state.label is None or not self.history.changes:
            return state
        return state._replace(label=self.history.title(state.label))

    def _folded(self, item: str, connection: sqlite3.Connection) -> State:
        """Compute an item's state from all its events that are not undone."""
        columns = "seq, uuid, kind, value, who, received, item, seen"
        of_item = f"SELECT {columns} FROM events WHERE item = ? AND kind NOT IN ('undo', 'class')"
        events = connection.execute(of_item, (item,)).fetchall()
        for seq in self._acts.get(item, ()):
            events += connection.execute(f"SELECT {columns} FROM events WHERE seq = ?", (seq,)).fetchall()
        state = UNTOUCHED
        for seq, uuid, kind, value, who, received, named, seen in sorted(events):
            if uuid not in self._undone:
                own = seen_of(named, seen)[items_of(named).index(item)]
                state = self._after(state, seq, kind, value, who, received, own)
        return state

    def _after(self, state: State, seq: int, kind: str, value: str, who: str, received: str, seen: str) -> State:
        """Return the state after an event other than an undo."""
        if kind == "note":
            return state._replace(note=value)
        label = None
        if kind == "label":  # a million labels share a few strings
            label = sys.intern(self.history.mark(value, seq) or value)
        return State(label, kind == "skip", state.note, sys.intern(who), sys.intern(received), seen)
