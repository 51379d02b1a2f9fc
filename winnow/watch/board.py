"""What the page of a watch shows: how each source stands, what did not belong, what befell the sources; small pictures, in memory."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from winnow.watch.log import Event
from winnow.watch.moments import Moment
from winnow.watch.ring import pixels_of
from winnow.watch.view import Standing

FOREIGN, HAPPENED = 24, 50  # pictures that did not belong, and other events, of which the newest are shown
APART = 5.0  # seconds between two frames of a source that are shown, or an advert would drive all else out
LONGEST_SIDE = 640
EVERY = 0.5  # seconds between two states
RED = (213, 94, 0)

Box = tuple[int, int, int, int]
Picture = tuple[Callable[[], np.ndarray], Sequence[Box]]


class Board:
    """The state of a watch for its page: written by the thread that judges, read by the one that answers.

    A frame that did not belong is kept as a small JPEG, since nobody can read it again; a picture of a folder is read when it is
    asked for. Of each source the newest picture is there, too.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._foreign: deque[Event] = deque(maxlen=FOREIGN)
        self._happened: deque[Event] = deque(maxlen=HAPPENED)
        self._pictures: dict[str, Picture | bytes] = {}
        self._newest: dict[str, Picture] = {}
        self._shown: dict[str, float] = {}  # by source: the time of its last frame that is shown
        self._lock = threading.Lock()
        self._last = -EVERY
        self.state = self._as_json({}, {}, ended=False)

    def note(self, source: str, moment: Moment, events: Sequence[Event]) -> None:
        """Take what was said of a moment of a source."""
        if moment.event == "ended":  # a folder may bring videos for months
            self._shown.pop(moment.source, None)
        verdicts = [event for event in events if event["event"] == "verdict"]
        self._happened.extend(event for event in events if event["event"] != "verdict")
        for event in events:
            if event.get("event") == "drift" and event.get("pictures"):
                with self._lock:
                    self._pictures[event["id"]] = (Path(self.folder) / event["pictures"]).read_bytes()
        foreign = [event for event in verdicts if event.get("belongs") is False]
        picture = None if moment.picture is None or not verdicts else (moment.picture, _boxes(foreign))
        if picture:
            with self._lock:
                self._newest[source] = picture
        if not foreign or not self._is_apart(moment):
            return
        worst = max(foreign, key=lambda event: float(event["score"]) / (abs(float(event["threshold"])) or 1.0))
        keys = ("id", "source", "time", "page", "class", "score", "threshold", "p_value", "region")
        shown = {key: worst.get(key) for key in keys}
        made = _jpeg(*picture) if picture and moment.time is not None else picture
        with self._lock:
            if len(self._foreign) == FOREIGN:
                self._pictures.pop(self._foreign[0]["id"], None)
            self._foreign.append(shown | {"at": time.time(), "pictured": made is not None})
            if made is not None:
                self._pictures[worst["id"]] = made

    def show(self, standing: Mapping[str, Standing], left_out: Mapping[str, int], *, ended: bool = False) -> None:
        """Take how the sources stand, where that is due or the watch has `ended`."""
        if ended or time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self.state = self._as_json(standing, left_out, ended=ended)

    def picture(self, name: str) -> bytes | None:
        """Return a picture as JPEG, by the id of a verdict or the name of a source for its newest; None where there is none."""
        with self._lock:
            found = self._pictures.get(name) or self._newest.get(name)
        return found if found is None or isinstance(found, bytes) else _jpeg(*found)

    def _is_apart(self, moment: Moment) -> bool:
        """Return whether a picture, or a frame, is far enough from the last frame that is shown of its source."""
        if moment.time is None:
            return True
        last = self._shown.get(moment.source)
        if last is not None and last <= moment.time < last + APART:
            return False
        self._shown[moment.source] = moment.time
        return True

    def _as_json(self, standing: Mapping[str, Standing], left_out: Mapping[str, int], *, ended: bool) -> bytes:
        sources = [
            {
                "name": name,
                "state": one.state,
                "warning": one.warning,
                "judged": one.counts["verdict"],
                "foreign": one.counts["foreign"],
                "refused": one.counts["refused"],
                "left_out": left_out.get(name, 0),
                "last": list(one.last),
                "pictured": name in self._newest,
            }
            for name, one in standing.items()
        ]
        found = {"folder": self.folder, "ended": ended, "sources": sources}
        return json.dumps(
            found | {"foreign": list(self._foreign)[::-1], "happened": list(self._happened)[::-1]}, ensure_ascii=False
        ).encode()


def _boxes(foreign: Sequence[Event]) -> list[Box]:
    """Return where in a picture that lies which does not belong: crops, patches and damaged places."""
    places = [event["box"] for event in foreign if event.get("box")]
    places += [
        [one[side] for side in ("x", "y", "width", "height")] for event in foreign for one in event.get("defects", ())
    ]
    return [(x, y, width, height) for x, y, width, height in places]


def _jpeg(read: Callable[[], np.ndarray], boxes: Sequence[Box]) -> bytes | None:
    """Return a small picture with its boxes as JPEG, None of one that cannot be read any more."""
    from PIL import Image, ImageDraw

    pixels = pixels_of(read)
    if pixels is None:
        return None
    image = Image.fromarray(pixels)
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    draw = ImageDraw.Draw(image)
    for x, y, width, height in boxes:
        draw.rectangle([round(side * scale) for side in (x, y, x + width, y + height)], outline=RED, width=2)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return data.getvalue()
