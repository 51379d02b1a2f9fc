"""Lanes of groups: pictures that are alike, or crops of one track, labelled by one act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from winnow.errors import OptionError
from winnow.label.catalogue import Catalogue
from winnow.label.later import Later

MOST = 1000  # groups listed at once


class Grouped(NamedTuple):
    """Rows of the catalogue (m,) in groups, and the number of the group of each (m,), never falling."""

    rows: np.ndarray
    number: np.ndarray


class GroupLane:
    """A lane whose rows are shown group by group. It is worked out when it is first asked for."""

    def __init__(self, title: str, make: Callable[[], Grouped]) -> None:
        self.title = title
        self._later = Later(make)

    def listed(self, catalogue: Catalogue) -> dict[str, Any]:
        """Return which groups have open pictures and how many, most first; `ready` is False while they are worked out."""
        found = self._later.get()
        if found is None:
            return {"ready": False, "failure": self._later.failure, "groups": [], "total": 0}
        opens = np.bincount(found.number, catalogue.is_open(found.rows)).astype(int)
        first = np.argsort(-opens, kind="stable")
        first = first[opens[first] > 0]
        listed = [{"part": str(part), "open": int(opens[part])} for part in first[:MOST]]
        return {"ready": True, "failure": "", "groups": listed, "total": len(first)}

    def rows(self, part: str) -> np.ndarray:
        """Return the rows of a group, of all of them without one, none while they are worked out."""
        found = self._later.made
        if found is None:
            return np.empty(0, int)
        if not part:
            return found.rows
        if not (part.isascii() and part.isdigit() and len(part) < 10):
            raise OptionError(f"There is no group {part[:50]!r}.", "Choose another.")
        start, end = np.searchsorted(found.number, [int(part), int(part) + 1])
        return found.rows[start:end]

    def progress(self, catalogue: Catalogue) -> dict[str, int | None]:
        """Return how many pictures are in groups, labelled and skipped; unknown (None) while they are worked out."""
        if self._later.made is None:
            return {"total": None, "labelled": 0, "skipped": 0}
        return dict(catalogue.progress_of(self._later.made.rows))


def by_name(names: Mapping[int, Any]) -> Grouped:
    """Return rows in groups of one name each, the largest first, from the name of each row, in the order of the rows given."""
    groups: dict[Any, list[int]] = {}
    for row, name in names.items():
        groups.setdefault(name, []).append(row)
    ordered = sorted(groups.values(), key=len, reverse=True)
    number = np.repeat(np.arange(len(ordered)), list(map(len, ordered)))
    return Grouped(np.array([row for group in ordered for row in group], int), number)
