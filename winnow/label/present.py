"""What the events of a store amount to: the classes, and the present state of every item."""

from __future__ import annotations

import sqlite3
import sys
from typing import NamedTuple

from winnow.label.event_log import Row


class State(NamedTuple):
    """An item's present label, skip and note; `by` and `at` (the store's own clock, UTC) are those of its last label, skip or
    clear."""

    label: str | None = None
    skipped: bool = False
    note: str = ""
    by: str = ""
    at: str = ""


UNTOUCHED = State()


class Present:
    """The classes, in the order in which they were added, and the state of every item that somebody touched."""

    def __init__(self) -> None:
        self.classes: list[str] = []
        self.states: dict[str, State] = {}

    def apply(self, row: Row, connection: sqlite3.Connection) -> None:
        """Apply the next event; `connection` holds it and all before it."""
        _, _, who, _, received, item, kind, value = row
        if kind == "class":
            self.classes.append(value)
        elif kind == "undo":
            self.states[item] = _fold(item, connection)
        else:
            self.states[item] = _after(self.states.get(item, UNTOUCHED), kind, value, who, received)


def _fold(item: str, connection: sqlite3.Connection) -> State:
    """Compute an item's state from all its events that are not undone."""
    state = UNTOUCHED
    for event in connection.execute(
        "SELECT kind, value, who, received FROM events WHERE item = ?1 AND kind != 'undo' AND uuid NOT IN "
        "(SELECT value FROM events WHERE item = ?1 AND kind = 'undo') ORDER BY seq",
        (item,),
    ):
        state = _after(state, *event)
    return state


def _after(state: State, kind: str, value: str, who: str, received: str) -> State:
    """Return the state after an event other than an undo."""
    if kind == "note":
        return state._replace(note=value)
    label = sys.intern(value) if kind == "label" else None  # a million labels share a few strings
    return State(label, kind == "skip", state.note, sys.intern(who), sys.intern(received))
