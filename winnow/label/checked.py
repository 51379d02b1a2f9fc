"""What people did with suggestions: how many they took, and which labels they looked at again and changed."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from winnow.label.class_history import ClassHistory
from winnow.label.events import CHECK, NONE_SEEN, items_of, seen_of


class Suggested(NamedTuple):
    """Of the labels given where a suggestion was `shown`, those that `took` it; of the labels that a prediction contradicted, those
    `looked` at again, and those `changed` then."""

    shown: int = 0
    took: int = 0
    looked: int = 0
    changed: int = 0


_DECISIONS = """
SELECT seq, item, kind, value, seen FROM events
WHERE kind IN ('label', 'skip', 'clear') AND uuid NOT IN (SELECT value FROM events WHERE kind = 'undo') ORDER BY seq
"""


def suggested(connection: sqlite3.Connection, history: ClassHistory) -> Suggested:
    """Count the decisions of a store that were not undone; of an item the last counts, and as looked at again any that was a check."""
    seen_any = "SELECT 1 FROM events WHERE seen NOT IN ('', ?) LIMIT 1"
    if connection.execute(seen_any, (NONE_SEEN,)).fetchone() is None:
        return Suggested()
    label: dict[str, str | None] = {}
    shown: dict[str, bool] = {}
    changed: dict[str, bool] = {}
    for seq, named, kind, value, seen_by_item in connection.execute(_DECISIONS):
        now = history.meant(value, seq) if kind == "label" else None
        for item, seen in zip(items_of(named), seen_of(named, seen_by_item), strict=True):
            if seen.startswith(f"{CHECK} "):
                changed[item] = changed.get(item, False) or now != label.get(item)
            elif seen and seen != NONE_SEEN and now is not None:
                shown[item] = now == history.meant(seen.split(" ", 1)[1], seq)
            else:
                shown.pop(item, None)
            label[item] = now
    return Suggested(len(shown), sum(shown.values()), len(changed), sum(changed.values()))
