"""Segments of a video while it goes on: those of `winnow.detect.segments` on the whole, each told as soon as nothing can change it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from winnow.detect.parts import most_named
from winnow.detect.segments import NEAR, check_options, leaving
from winnow.results import Segment

State = Literal["in", "out", "unsure"]
MOST_GAPS = 1000  # distances between frames that are kept; what the last frame lasts is told by them


@dataclass
class _Stretch:
    """Frames that follow one another and are in one state: when the first begins, the sum of their scores, and how many name a region."""

    start: float
    anomalous: bool
    scores: float
    frames: int
    regions: dict[str, int] = field(default_factory=dict)


@dataclass
class _Memory:
    """All that a live segmenter remembers, as plain numbers.

    `frames` are time, score, p-value, region of those within the window of the median, of which the first `decided` have a state; `now` is
    the state of the last decided. `stretches` is what is not told yet, `gaps` counts distances between frames in tenths of ms.
    """

    frames: list[tuple[float, float, float, str]] = field(default_factory=list)
    decided: int = 0
    now: bool = False
    stretches: list[_Stretch] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)


class LiveSegments:
    """The segments of frames that come one after the other.

    `add` a frame, then take the segments that are final; `finish` returns the rest. All together are what
    `winnow.detect.segments.segments` returns for the same frames, for any options: the shortest stretches join their neighbours
    first, and a stretch that is shorter than both of its neighbours is joined before either of them whatever comes later, so that it
    can be joined now. What is left then is a long stretch and ever shorter ones behind it: a segment is told at most
    `smooth / 2 + min_length` seconds after the next one began, or, where states flicker, until they stop to get shorter. Memory is
    that of the frames within `smooth` seconds.
    """

    def __init__(self, level: float, *, smooth: float, min_length: float, hysteresis: float, step: float = 1.0) -> None:
        """Raise `OptionError` for options out of range; they are those of `segments`, `level` its `false_alarm_rate`."""
        check_options(level, smooth, min_length, hysteresis, step)
        self.level, self.leave = level, leaving(level, hysteresis)
        self.smooth, self.min_length, self.step = smooth, min_length, step
        self.memory = _Memory()

    def add(self, time: float, score: float, p_value: float, region: str = "") -> list[Segment]:
        """Take a frame, later than all before, and return the segments that are final now, in order.

        `region`: the part of it that does not belong, where parts are judged.
        """
        held = self.memory
        if held.frames:
            gap = str(round((time - held.frames[-1][0]) * 10_000))
            if gap in held.gaps or len(held.gaps) < MOST_GAPS:
                held.gaps[gap] = held.gaps.get(gap, 0) + 1
        held.frames.append((time, score, p_value, region))
        self._decide(time)
        return self._final()

    def finish(self, end: float | None = None) -> list[Segment]:
        """Return the segments that are left when no frame follows; the video ends at `end`, where that is known."""
        held = self.memory
        if not held.frames:
            return []
        self._decide(math.inf)
        last = held.frames[-1][0]
        until = last + self._typical()
        until = min(until, end) if end is not None and end > last else until
        stretches = held.stretches
        while len(stretches) > 1 and self._join_one(until, ended=True):
            pass
        ends = [one.start for one in stretches[1:]] + [until]
        found = [_segment(one, end) for one, end in zip(stretches, ends, strict=True)]
        self.memory = _Memory()
        return found

    @property
    def state(self) -> State:
        """Return what is sure of the frames decided last: a state that has lasted for `min_length`, or "unsure"."""
        stretches = self.memory.stretches
        if len(stretches) != 1 or self._length(0, self._decided_until()) < self.min_length:
            return "unsure"
        return "out" if stretches[0].anomalous else "in"

    def as_json(self) -> dict[str, Any]:
        """Return what is remembered, for `remember` of another process."""
        return asdict(self.memory)

    def remember(self, kept: dict[str, Any]) -> None:
        """Go on where another went on from what `as_json` returned."""
        frames = [(time, score, p_value, "".join(region)) for time, score, p_value, *region in kept["frames"]]
        stretches = [_Stretch(**one) for one in kept["stretches"]]
        self.memory = _Memory(frames, kept["decided"], kept["now"], stretches, dict(kept["gaps"]))

    def _decide(self, until: float) -> None:
        """Give a state to the frames whose window ends before `until`, and forget those that no window needs any more."""
        held, half = self.memory, self.smooth / 2 + NEAR
        while held.decided < len(held.frames) and held.frames[held.decided][0] + half < until:
            time, score, _, region = held.frames[held.decided]
            smoothed = median(p for at, _, p, _ in held.frames if time - half <= at <= time + half)
            held.now = smoothed <= (self.leave if held.now else self.level)
            held.decided += 1
            if held.stretches and held.stretches[-1].anomalous == held.now:
                held.stretches[-1].scores += score
                held.stretches[-1].frames += 1
            else:
                held.stretches.append(_Stretch(time, held.now, score, 1))
            if region:
                counts = held.stretches[-1].regions
                counts[region] = counts.get(region, 0) + 1
        first = 0
        begin = held.frames[held.decided][0] if held.decided < len(held.frames) else until
        while first < held.decided - 1 and held.frames[first][0] < begin - half:
            first += 1
        del held.frames[:first]
        held.decided -= first

    def _final(self) -> list[Segment]:
        stretches = self.memory.stretches
        until = self._decided_until()
        while len(stretches) > 1 and self._join_one(until, ended=False):
            pass
        found = []
        while len(stretches) > 1 and self._length(1, until) >= self.min_length:
            first = stretches.pop(0)
            found.append(_segment(first, stretches[0].start))
        return found

    def _join_one(self, until: float, *, ended: bool) -> bool:
        """Join a stretch that is too short and shorter than its neighbours with them; return whether there was one.

        The last one still grows unless the video has `ended`: it may be longer than it looks, not shorter.
        """
        stretches = self.memory.stretches
        lengths = [self._length(place, until) for place in range(len(stretches))]
        for place in range(len(stretches) - (not ended)):
            before = lengths[place - 1] if place else math.inf
            after = lengths[place + 1] if place + 1 < len(stretches) else math.inf
            if lengths[place] < self.min_length and lengths[place] < before and lengths[place] <= after:
                joined = stretches[max(place - 1, 0) : place + 2]
                stretches[max(place - 1, 0) : place + 2] = [
                    _Stretch(
                        joined[0].start,
                        not stretches[place].anomalous,
                        sum(one.scores for one in joined),
                        sum(one.frames for one in joined),
                        dict(sum((Counter(one.regions) for one in joined), Counter())),
                    )
                ]
                return True
        return False

    def _length(self, place: int, until: float) -> float:
        stretches = self.memory.stretches
        return (stretches[place + 1].start if place + 1 < len(stretches) else until) - stretches[place].start

    def _decided_until(self) -> float:
        """Return when the first frame without a state begins, which ends the last one that has a state, or when that begins."""
        held = self.memory
        place = held.decided if held.decided < len(held.frames) else held.decided - 1
        return held.frames[place][0] if held.frames else 0.0

    def _typical(self) -> float:
        """Return the median distance between frames in seconds, `step` where there is none."""
        gaps = sorted((int(gap), count) for gap, count in self.memory.gaps.items())
        total = sum(count for _, count in gaps)
        if not total:
            return self.step
        middles = [_at(gaps, (total - 1) // 2), _at(gaps, total // 2)]
        return sum(middles) / 20_000 or self.step


def _at(counted: list[tuple[int, int]], place: int) -> int:
    """Return the value at a place of counted values in order."""
    for value, count in counted:
        place -= count
        if place < 0:
            return value
    raise IndexError(place)


def _segment(stretch: _Stretch, end: float) -> Segment:
    region = most_named(stretch.regions) if stretch.anomalous else ""
    return Segment(stretch.start, end, not stretch.anomalous, stretch.scores / stretch.frames, region)
