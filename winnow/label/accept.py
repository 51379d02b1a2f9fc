"""Which events make sense in a store, given all before them."""

from __future__ import annotations

from collections.abc import Callable, Container

from winnow.label.class_history import ClassHistory
from winnow.label.events import DECIDE, Event, items_of

Find = Callable[[str], tuple[str, str, str] | None]
"""Item, kind and value of the event of a uuid, None where there is none."""


def refusal(event: Event, history: ClassHistory, find: Find, known: Container[str] | None) -> str:
    """Return why an event makes no sense, or ""; `known` holds the pool's items."""
    if find(event.uuid):
        return "Another event has this uuid."
    if known is not None and not all(item in known for item in items_of(event.item)):
        return "There is no such item."
    if event.kind == "label":
        mark = history.mark(event.value)  # a class that was renamed meanwhile is known by its former name too
        if mark is None or history.title(mark) is None:
            return f"There is no class '{event.value}'."
    if event.kind == "undo":
        undone = find(event.value)
        if undone is None or undone[0] != event.item or undone[1] not in (*DECIDE, "note"):
            return "There is no such event of this item to undo."
    return ""
