"""Whether the threshold still holds for what is watched, source by source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from winnow.deploy.drift import check_drift, counted, drift_key, drift_of, pictures_of, what_changed
from winnow.deploy.runtime import Deployed
from winnow.detect.live_drift import LiveDrift
from winnow.errors import OptionError
from winnow.watch.book import Book, Scores
from winnow.watch.log import Event
from winnow.watch.moments import Moment


class Drifts:
    """The bets on each watched source, and what is kept of them in a book.

    Each has its share of the chance of a false `alarm`, so that it holds for the watch as a whole. A picture counts by itself; of the
    frames of a video or camera one of each so many `seconds` does.
    """

    def __init__(
        self, model: Deployed, book: Book, alarm: float, seconds: float, sources: int, tell: Callable[[str], None]
    ) -> None:
        check_drift(model, alarm, seconds)
        self._book, self._alarm, self._seconds, self._tell = book, alarm / max(1, sources), seconds, tell
        self._open, self._changed = dict[str, LiveDrift](), dict[str, list[float]]()
        self._model: Deployed | None = model
        self._key = drift_key(model, self._alarm, seconds)

    def follow(self, model: Deployed) -> None:
        """Take a file in the place of the one before: another threshold is bet on anew, one without calibration scores not at all."""
        if model is self._model:
            return
        try:
            check_drift(model, self._alarm, self._seconds)
        except OptionError as error:
            if self._model is not None:
                self._tell(f"Whether the threshold holds is not watched any more: {error.message}")
            self._model = None
            return
        key = drift_key(model, self._alarm, self._seconds)
        if key != self._key:
            self._open.clear()
        self._model, self._key = model, key

    def add(
        self, name: str, moment: Moment, said: Sequence[Event], directions: np.ndarray | None
    ) -> tuple[Event, np.ndarray | None] | None:
        """Take what was said of a moment of the watched source `name`, and the `directions` (n, k) of its items.

        Return the alarm where it is raised now, and pictures before and since the change in one (h, w, 3), where there are any.
        """
        if self._model is None:
            return None
        rows = [event for event in said if event["event"] == "verdict"]
        if not rows and moment.event != "ended":
            return None
        live = self._live(name)
        before, bet = live.drift.alarmed, self._changed.setdefault(name, [])
        if moment.event == "ended":
            bet += live.end()
        block = "" if moment.time is None else f"{moment.source} {moment.time // self._seconds:.0f}"
        if moment.pool is not None:
            for score, look in counted(self._model, moment.pool, rows, directions):
                bet += live.add(block, score, look)
        if before or not live.drift.alarmed:
            return None
        alarm = {
            "event": "drift",
            "source": name,
            "time": moment.time,
            "blocks": live.drift.at,
            "since": live.drift.since,
            "alarm": self._alarm,
            "changes": what_changed(self._model, live.looks),
        }
        return alarm, pictures_of(live)

    def take(self) -> tuple[dict[str, Any], list[Scores]]:
        """Return what is to be kept since the last call, by name, and the scores that were bet on."""
        kept: dict[str, Any] = {}
        scores: list[Scores] = []
        for name, bet in self._changed.items():
            live, key = self._open[name], f"{self._key} {name}"
            kept[f"open {key}"] = live.open_as_json()
            if bet:
                kept[f"drift {key}"] = live.as_json()
                scores.append((key, live.drift.blocks - len(bet) + 1, bet))
        self._changed.clear()
        return kept, scores

    def says(self, name: str) -> str:
        """Return a few words on a source whose threshold does not hold, "" where it does as far as is known."""
        live = self._open.get(name)
        return "the threshold may not hold any more" if live and live.drift.alarmed else ""

    def _live(self, name: str) -> LiveDrift:
        if name not in self._open:
            assert self._model is not None
            live, key = drift_of(self._model, self._alarm), f"{self._key} {name}"
            live.remember(self._book.kept(f"drift {key}"), self._book.kept(f"open {key}"), self._book.scores(key))
            self._open[name] = live
        return self._open[name]
