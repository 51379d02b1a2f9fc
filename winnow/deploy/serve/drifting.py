"""Whether the threshold still holds for what a server is asked: the bets of one worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from winnow.deploy.drift import check_drift, drift_key, drift_of, look_of, scores_of, what_changed
from winnow.deploy.runtime import Deployed
from winnow.detect.live_drift import LiveDrift
from winnow.errors import OptionError
from winnow.pool.in_memory import InMemory


class ServedDrift:
    """One picture counts of each so many `seconds`, in which a client may have sent the frames of one scene.

    A file with another threshold that takes the place of the one before is bet on anew; of one without calibration scores it is told
    that nothing can be said.
    """

    def __init__(self, alarm: float, seconds: float, tell: Callable[[str], None]) -> None:
        self._alarm, self._seconds, self._tell = alarm, seconds, tell
        self._model: Deployed | None = None
        self._key = ""
        self.live: LiveDrift | None = None

    def add(self, model: Deployed, pool: InMemory, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take what was said of a picture."""
        if model is not self._model:
            self._follow(model)
        if self.live is None:
            return
        before, block = self.live.drift.alarmed, f"{time.time() // self._seconds:.0f}"
        for score in scores_of(model, rows):
            self.live.add(block, score, partial(look_of, pool))
        if self.live.drift.alarmed and not before:
            changes = "; ".join(what_changed(model, self.live.looks)) or "nothing that pictures show"
            self._tell(f"THE THRESHOLD MAY NOT HOLD ANY MORE. What changed: {changes}.")

    def _follow(self, model: Deployed) -> None:
        self._model = model
        try:
            check_drift(model, self._alarm, self._seconds)
        except OptionError as error:
            self._tell(f"Whether the threshold holds is not watched any more: {error.message}")
            self.live, self._key = None, ""
            return
        key = drift_key(model, self._alarm, self._seconds)
        if key != self._key:
            self.live, self._key = drift_of(model, self._alarm), key
