"""A run being labelled, as the page sees it: its classes, lanes and items with what was last said of each."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from winnow.label.catalogue import Catalogue
from winnow.label.groups import GroupLane
from winnow.label.live import Live
from winnow.label.picture_map import PictureMap
from winnow.label.present import State
from winnow.label.store import LabelStore

KEYS = "1234567890"
REGION = "region"
"""The lane of what lies in a part of the map."""


class LabelSession:
    """A run being labelled: its log of labels, and its catalogue kept up to date with the log."""

    def __init__(
        self,
        name: str,
        store: LabelStore,
        catalogue: Catalogue,
        who: str = "me",
        home: str = "",
        live: Live | None = None,
        groups: Mapping[str, GroupLane] | None = None,
        picture_map: PictureMap | None = None,
    ) -> None:
        """Take a store and a catalogue; `home` identifies the run to the page, whose unsaved labels must not go to another
        run with a folder of the same name. `live` learns from the labels; `groups` are lanes of groups. `pool` tells whether rows
        are those of before."""
        self.live = live or Live(catalogue, None)
        self.groups, self.map = groups or {}, picture_map
        self.name, self.store, self.catalogue, self.who, self.home = name, store, catalogue, who, home or name
        self.pool = hashlib.sha256("\n".join(catalogue.ids).encode(errors="replace")).hexdigest()[:16]
        self._seen = self.changes = 0
        self._lock = threading.Lock()

    def follow(self) -> int:
        """Apply changes of the store since the last call, by anyone, to the catalogue; return the number of the last event."""
        with self._lock:  # two at once could mark an older state after a newer one
            news = self.store.news(self._seen, self.changes)
            if news.states:
                self.catalogue.mark(news.states, news.classes)
                self.live.follow(news.classes)
            self._seen, self.changes = news.seq, news.changes
            return self._seen

    def classes(self) -> list[dict[str, Any]]:
        """Return the classes with their keys and counts."""
        names = self.store.classes
        counts = self.catalogue.counts(len(names))
        keys = [*KEYS, *[None] * len(names)]
        return [
            {"name": name, "key": key, "count": count} for name, key, count in zip(names, keys, counts, strict=False)
        ]

    def lanes(self) -> list[dict[str, Any]]:
        """Return the lanes with their progress."""
        plain = [
            {"name": name, "title": lane.title, **self.catalogue.progress(name)}
            for name, lane in self.catalogue.lanes.items()
        ]
        grouped = [
            {"name": name, "title": lane.title, "grouped": True, **lane.progress(self.catalogue)}
            for name, lane in self.groups.items()
        ]
        return plain + grouped

    def rows(self, lane: str, part: str) -> np.ndarray | None:
        """Return the rows of a part of a lane that has parts, None of a plain lane."""
        if lane == REGION and self.map is not None:
            return self.map.rows(part)
        return self.groups[lane].rows(part) if lane in self.groups else None

    def item(self, row: int) -> dict[str, Any]:
        """Return an item with its present state."""
        item = self.catalogue.describe(row)
        return item | _now(self.store.state(item["id"]))

    def changed(self, states: dict[str, State]) -> list[dict[str, Any]]:
        """Return the present state of the pool's items among those that changed."""
        known = (item for item in states if item in self.catalogue)
        return [{"id": item, "row": self.catalogue.row(item), **_now(states[item])} for item in known]


def _now(state: State) -> dict[str, Any]:
    return {"label": state.label, "skipped": state.skipped, "note": state.note, "by": state.by}
