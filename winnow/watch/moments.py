"""What comes from a source, and where it waits to be judged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from winnow.pool.in_memory import InMemory, Refused


@dataclass(frozen=True)
class Moment:
    """A picture or frame of a `source`, to be judged, or something that befell the source (`event`, with its particulars in `said`).

    `mark` tells one content of a file from another; `time` is that of a frame, in seconds of the video, of a camera since 1970.
    `picture` returns the pixels (h, w, 3) at the picture's own size.
    """

    source: str
    event: str = "verdict"
    mark: str = ""
    time: float | None = None
    pool: InMemory | None = None
    refused: Sequence[Refused] = ()
    picture: Callable[[], np.ndarray] | None = None
    said: dict[str, Any] = field(default_factory=dict)


class Inbox:
    """The moments that wait, of all sources in the order in which they came.

    A source that can wait does so while `most` wait; of a camera only the newest frame waits, and `left_out` counts
    those that it took the place of.
    """

    def __init__(self, most: int = 16) -> None:
        self._most, self._changed = most, threading.Condition()
        self._waiting: deque[Moment] = deque()
        self.left_out: dict[str, int] = {}

    def put(self, moment: Moment, stop: threading.Event) -> None:
        """Have a moment wait; where too many do already, return only when there is room, or at the `stop`."""
        with self._changed:
            while not stop.is_set() and len(self._waiting) >= self._most:
                self._changed.wait(0.5)
            self._waiting.append(moment)
            self._changed.notify_all()

    def put_newest(self, moment: Moment) -> None:
        """Have a frame wait in the place of the one before it that nobody has taken yet."""
        with self._changed:
            for place, one in enumerate(self._waiting):
                if one.source == moment.source and one.event == "verdict":
                    self._waiting[place] = moment
                    self.left_out[moment.source] = self.left_out.get(moment.source, 0) + 1
                    return
            self._waiting.append(moment)
            self._changed.notify_all()

    def take(self, most: int, seconds: float) -> list[Moment]:
        """Return up to `most` moments, none when there are none within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, seconds)
            found = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._changed.notify_all()
            return found
