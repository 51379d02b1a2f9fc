"""Drift of what comes one after the other: which pictures count, what is bet on them, and how those since a change look."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from winnow.detect.drift import Drift

LOOKED = 200  # pictures since the change whose looks are kept
SHOWN = 5  # pictures of before the change, and of since, that are kept


@dataclass(frozen=True)
class Look:
    """How a picture looks: quantities of it, by which a change is named, and its pixels (h, w, c) uint8, to be shown."""

    values: list[float]
    pixels: np.ndarray | None = None


@dataclass
class _Open:
    """A block that has not ended: how many pictures it has had, and the score and the look of the one that stands for it."""

    block: str
    count: int
    score: float
    look: Look


class LiveDrift:
    """Has one picture drawn at random of each block stand for it, and bets on that once the block has ended.

        live = LiveDrift(Drift(calibration, threshold))
        live.add("film 0", score, look)  # `look` returns the `Look` of the picture

    What is drawn depends on the name of the block alone, so that an interrupted process that goes on draws the same. `looks` are the
    values of pictures since the change, `before` and `since` the pixels of the last ones before it and since, which are in memory alone.
    """

    def __init__(self, drift: Drift) -> None:
        self.drift = drift
        self.looks: list[list[float]] = []
        self.before, self.since = deque[np.ndarray](maxlen=SHOWN), deque[np.ndarray](maxlen=SHOWN)
        self._open: _Open | None = None

    def add(self, block: str, score: float, look: Callable[[], Look]) -> list[float]:
        """Take a picture of a block, or, where that has no name, one that counts by itself; return the scores that were bet on."""
        if not block:
            return [*self.end(), self._bet(score, look())]
        ended = self.end() if self._open and self._open.block != block else []
        if self._open is None:
            self._open = _Open(block, 1, score, look())
            return ended
        self._open.count += 1
        if Random(f"{block} {self._open.count}").random() * self._open.count < 1:
            self._open.score, self._open.look = score, look()
        return ended

    def end(self) -> list[float]:
        """End the block that is open, where there is one; return its score, which was bet on."""
        if self._open is None:
            return []
        ended, self._open = self._open, None
        return [self._bet(ended.score, ended.look)]

    def _bet(self, score: float, look: Look) -> float:
        since = self.drift.since
        self.drift.update(score)
        self.since.extend([] if look.pixels is None else [look.pixels])
        if self.drift.since != since:  # what came until now, and this picture, were before the change
            self.looks = []
            self.before.extend(self.since)
            self.since.clear()
        elif len(self.looks) < LOOKED:
            self.looks.append(look.values)
        return score

    def as_json(self) -> dict[str, Any]:
        """Return what is remembered but for the scores that were bet on, for `remember` of another process."""
        return {"drift": self.drift.as_json(), "looks": self.looks}

    def open_as_json(self) -> dict[str, Any] | None:
        """Return what is remembered of the block that has not ended; it changes with every picture, the rest with every block."""
        one = self._open
        return (
            None
            if one is None
            else {"block": one.block, "count": one.count, "score": one.score, "look": one.look.values}
        )

    def remember(self, kept: dict[str, Any] | None, opened: dict[str, Any] | None, scores: Sequence[float]) -> None:
        """Go on where another went on from: what its `as_json` and `open_as_json` returned, and the scores that were bet on."""
        if kept is not None:
            self.drift.remember(kept["drift"], scores)
            self.looks = kept["looks"]
        self._open = None if opened is None else _Open(**{**opened, "look": Look(opened["look"])})
