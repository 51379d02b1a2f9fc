"""Drift of what comes one after the other: which pictures count, what is bet on them, and how those since a change look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from winnow.detect.drift import Drift

LOOKED = 200  # pictures since the change whose looks are kept


@dataclass
class _Open:
    """A block that has not ended: how many pictures it has had, and the score and the looks of the one that stands for it."""

    block: str
    count: int
    score: float
    look: list[float]


class LiveDrift:
    """Has one picture drawn at random of each block stand for it, and bets on that once the block has ended.

        live = LiveDrift(Drift(calibration, threshold))
        live.add("film 0", score, look)  # `look` returns quantities of the picture, by which a change is named

    What is drawn depends on the name of the block alone, so that an interrupted process that goes on draws the same.
    """

    def __init__(self, drift: Drift) -> None:
        self.drift = drift
        self.looks: list[list[float]] = []
        self._open: _Open | None = None

    def add(self, block: str, score: float, look: Callable[[], Sequence[float]]) -> list[float]:
        """Take a picture of a block, or, where that has no name, one that counts by itself; return the scores that were bet on."""
        if not block:
            return [*self.end(), self._bet(score, list(look()))]
        ended = self.end() if self._open and self._open.block != block else []
        if self._open is None:
            self._open = _Open(block, 1, score, list(look()))
            return ended
        self._open.count += 1
        if Random(f"{block} {self._open.count}").random() * self._open.count < 1:
            self._open.score, self._open.look = score, list(look())
        return ended

    def end(self) -> list[float]:
        """End the block that is open, where there is one; return its score, which was bet on."""
        if self._open is None:
            return []
        ended, self._open = self._open, None
        return [self._bet(ended.score, ended.look)]

    def _bet(self, score: float, look: list[float]) -> float:
        before = self.drift.since
        self.drift.update(score)
        if self.drift.since != before:
            self.looks = []
        elif len(self.looks) < LOOKED:
            self.looks.append(look)
        return score

    def as_json(self) -> dict[str, Any]:
        """Return what is remembered but for the scores that were bet on, for `remember` of another process."""
        return {"drift": self.drift.as_json(), "looks": self.looks}

    def open_as_json(self) -> dict[str, Any] | None:
        """Return what is remembered of the block that has not ended; it changes with every picture, the rest with every block."""
        return None if self._open is None else asdict(self._open)

    def remember(self, kept: dict[str, Any] | None, opened: dict[str, Any] | None, scores: Sequence[float]) -> None:
        """Go on where another went on from: what its `as_json` and `open_as_json` returned, and the scores that were bet on."""
        if kept is not None:
            self.drift.remember(kept["drift"], scores)
            self.looks = kept["looks"]
        self._open = None if opened is None else _Open(**opened)
