"""Classes through time: added, renamed, made one with another, deleted, and any of these changes taken back."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Change(NamedTuple):
    """A class that was added (`to` a name), or renamed, merged or deleted (`to` another name, another class's, or "")."""

    uuid: str
    mark: str
    to: str
    adds: bool


class ClassHistory:
    """The classes of a store. Each keeps a mark for good, so that its labels go with it whatever it is called.

    A mark is the first name of a class, with a number where an earlier class began with that name.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.changes = 0
        """How often classes were renamed, merged or deleted, or that was taken back."""
        self._events: list[Change] = []
        self._undone: set[str] = set()
        self._firsts: set[str] = set()
        self._title: dict[str, str] = {}
        self._into: dict[str, str] = {}
        self._means: list[tuple[int, dict[str, str]]] = [(0, {})]

    def add(self, seq: int, uuid: str, name: str) -> None:
        """Add a class, unless there is one of this name."""
        mark = name if name not in self._firsts else f"{name}\n{seq}"
        self._firsts.add(name)
        event = Change(uuid, mark, name, adds=True)
        self._events.append(event)
        meant = self._means[-1][1]
        if name in meant:  # an earlier label of that name is of the class that it meant then
            meant = dict(meant)
            self._means.append((seq, meant))
        self._apply(event, meant)

    def change(self, seq: int, uuid: str, name: str, to: str) -> None:
        """Rename a class; where there is one of the new name, it becomes part of that; without a new name it is deleted."""
        mark = self.mark(name)
        self._events.append(Change(uuid, mark or "", to, adds=False))
        self._fold(seq)

    def undo(self, seq: int, uuid: str) -> None:
        """Take a change back."""
        self._undone.add(uuid)
        self._fold(seq)

    def holds(self, uuid: str) -> bool:
        """Return whether an event changed a class."""
        return bool(self.changes) and any(event.uuid == uuid for event in self._events)

    def mark(self, name: str, seq: int | None = None) -> str | None:
        """Return the mark of the class that a name means, now or at the time of an event; a former name still means its class."""
        at = len(self._means) - 1 if seq is None else bisect_right(self._means, seq, key=lambda entry: entry[0]) - 1
        return self._means[at][1].get(name)

    def meant(self, name: str, seq: int) -> str:
        """Return the present name of the class that a name meant at the time of an event; the name itself of one that is deleted."""
        return self.title(self.mark(name, seq) or name) or name

    def title(self, mark: str) -> str | None:
        """Return the present name of a class, None of one that was deleted."""
        while mark in self._into:
            mark = self._into[mark]
        return self._title.get(mark)

    def _fold(self, seq: int) -> None:
        """Work out the classes anew from all changes that were not taken back."""
        self.changes += 1
        self._title.clear()
        self._into.clear()
        meant: dict[str, str] = {}
        for event in self._events:
            if event.uuid not in self._undone:
                self._apply(event, meant)
        self._means.append((seq, {**self._means[-1][1], **meant}))

    def _apply(self, event: Change, meant: dict[str, str]) -> None:
        mark = event.mark
        while mark in self._into:
            mark = self._into[mark]
        other = next((found for found, title in self._title.items() if title == event.to), mark)
        if not event.adds and mark not in self._title:
            return  # it was deleted before, or was never there
        if other != mark:
            self._into[mark] = other
            self._title.pop(mark, None)
        elif event.to:
            self._title[mark] = event.to
        else:
            del self._title[mark]
        if event.to:
            meant[event.to] = other
        self.names = list(self._title.values())


def became(now: str) -> str:
    """Return in words what became of a class whose former name is known: it has the name `now`, or, where that is "", none."""
    return f"is called '{now}' now" if now else "was deleted"
