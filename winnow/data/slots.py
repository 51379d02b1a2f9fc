"""Which frames of a video are wanted, told by their times before anything is decoded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from winnow.data.pieces import NEAR
from winnow.errors import Unreadable

if TYPE_CHECKING:
    from av import VideoStream

_ROUNDED = Fraction(1, 10_000)  # seconds; a time that was a fraction may be a little too small as a number


class Slots:
    """Decides which frames are wanted: time is cut into slots of `step` seconds (None: none), and anew at each of `times`; each
    slot's first frame is taken. Those up to that of the frame at `after` were taken before."""

    def __init__(self, step: Fraction | None, times: Sequence[float] = (), after: float | None = None) -> None:
        self.step = step
        self._wanted = sorted(round(time * 1000) - NEAR for time in times)
        self.taken = (
            -1 if after is None or not step else int((Fraction(after) + _ROUNDED) / step)
        )  # the slot of the last frame taken; stays when the video is read again
        self._stamp = -1

    def start(self, stream: VideoStream) -> None:
        if not stream.time_base:
            raise Unreadable("the video has no time base")
        self.base: int | None = stream.start_time
        self.second = Fraction(1) / stream.time_base
        ratio = stream.time_base / (self.step or 1)
        self._up, self._down = ratio.numerator, ratio.denominator

    def slot(self, pts: int) -> int:
        ticks = max(0, pts - (self.base or 0))
        slot = ticks * self._up // self._down if self.step else -1
        return slot + bisect_right(self._wanted, round(float(ticks / self.second) * 1000)) if self._wanted else slot

    def take(self, pts: int) -> float | None:
        """Return the time in seconds if the frame is the first of its slot and of its millisecond, else None."""
        slot = self.slot(pts)
        if slot <= self.taken:
            return None
        self.taken = slot
        time = float(max(0, pts - (self.base or 0)) / self.second)
        stamp = round(time * 1000)
        if stamp <= self._stamp:
            return None
        self._stamp = stamp
        return time
