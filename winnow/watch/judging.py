"""What a file says of moments: verdicts, and the segments of each source that has frames."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from winnow.data.cuts import length_of
from winnow.deploy.judge import judged
from winnow.deploy.runtime import DIRECTIONS, Deployed
from winnow.deploy.serve.answers import picture_answer
from winnow.detect.live import LiveSegments, State
from winnow.results import Segment
from winnow.watch.book import Book
from winnow.watch.log import Event
from winnow.watch.moments import Moment

ROUNDED = 1e-6  # share by which a p-value of an exported file, float32, may miss the one of the run that it equals


def verdicts(
    model: Deployed, moments: Sequence[Moment], *, drift: bool = False
) -> list[tuple[list[Event], np.ndarray | None]]:
    """Return the verdicts on each moment that is a picture or frame, all seen by the network at once; none for others.

    With `drift` also the positions of its items along directions of the embeddings (n, k), where the file knows them.
    """
    pools = [moment.pool for moment in moments if moment.pool is not None and len(moment.pool)]
    found: dict[str, np.ndarray] = {}
    if pools:
        names = model.drift_names if drift else model.verdict_names
        found = model.outputs(np.concatenate([pool.pixels(slice(None)) for pool in pools]), names)
    said: list[tuple[list[Event], np.ndarray | None]] = []
    start = 0
    for moment in moments:
        if moment.pool is None or not len(moment.pool):
            said.append(([], None))
            continue
        rows = slice(start, start + len(moment.pool))
        start = rows.stop
        own = {name: values[rows] for name, values in found.items()}
        answer = picture_answer(moment.source, model, moment.pool, judged(model, moment.pool, own), moment.refused)
        about = {"source": moment.source, "time": moment.time}
        events = [{"event": "verdict", "id": row.pop("id"), **about, **row} for row in answer["rows"]]
        for key in ("defects", "notes"):
            if events and answer[key]:
                events[0][key] = answer[key]
        events += [
            {"event": "refused", **about, "page": one["page"], "reason": one["error"]} for one in answer["refused"]
        ]
        said.append(([named(event, moment, event.get("id", "")) for event in events], own.get(DIRECTIONS)))
    return said


def plain(moment: Moment) -> Event:
    """Return the event of what befell a source."""
    return named({"event": moment.event, "source": moment.source, "time": moment.time, **moment.said}, moment, "")


def named(event: Event, moment: Moment, picture: str) -> Event:
    """Return an event with an id of its own, the same however often it is told; `picture` is what the verdict is on."""
    parts = (moment.source, moment.mark, str(event.get("time")), str(event.get("start", "")), event["event"], picture)
    found = {**event, "id": hashlib.sha256("\n".join((*parts, str(event.get("page", "")))).encode()).hexdigest()[:32]}
    return {**found, "picture": picture} if picture else found


class Timelines:
    """The segments of each source that has frames, and what is kept of them in a book."""

    def __init__(self, model: Deployed, book: Book) -> None:
        self._book, self._open = book, dict[str, LiveSegments]()
        self.model = model

    def add(self, moment: Moment, said: Sequence[Event]) -> list[Event]:
        """Take the verdicts on a frame, or that a source has ended or is away; return the segments that are final now."""
        if moment.time is None and moment.event == "verdict":
            return []
        if moment.event in ("ended", "away"):
            line = self._line(moment)
            end = length_of(moment.source, self.model.ingest.pixel_limit) if moment.event == "ended" else None
            return [self._told(moment, one) for one in line.finish(end)] if line else []
        rows = [event for event in said if event["event"] == "verdict" and "belongs" in event]
        line = self._line(moment) if rows else None
        if line is None or moment.time is None:
            return []
        worst = min(rows, key=lambda row: float(row["p_value"]))
        # Of whole pictures that are cut the file knows no p-value, only whether they belong.
        of_pieces = self.model.picture_threshold is not None
        p_value = float(worst["belongs"]) if of_pieces else float(worst["p_value"])
        found = line.add(moment.time, float(worst["score"]), p_value, worst.get("region") or "")
        return [self._told(moment, one) for one in found]

    def state(self, source: str) -> State | None:
        """Return what is sure of a source's last frames; None of one without frames."""
        return self._open[source].state if source in self._open else None

    def kept(self, source: str) -> dict[str, Any] | None:
        """Return what is to be kept of a source."""
        return self._open[source].as_json() if source in self._open else None

    def forget(self, sources: Sequence[str]) -> None:
        """Forget sources that have ended: a folder may bring videos for months."""
        for source in sources:
            self._open.pop(source, None)

    def _line(self, moment: Moment) -> LiveSegments | None:
        level = self.model.about.level or self.model.false_alarm_rate
        if self.model.threshold is None or not level or level >= 1:
            return None
        if moment.source not in self._open:
            how = self.model.about.segments
            line = LiveSegments(
                level * (1 + ROUNDED), smooth=how.smooth, min_length=how.min_length, hysteresis=how.hysteresis
            )
            kept = self._book.kept(f"source {moment.source}")
            if kept and kept["segments"] and kept["mark"] == moment.mark:
                line.remember(kept["segments"])
            self._open[moment.source] = line
        return self._open[moment.source]

    def _told(self, moment: Moment, one: Segment) -> Event:
        event = {
            "event": "segment",
            "source": moment.source,
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "belongs": one.belongs,
            "score": float(f"{one.score:.6g}"),
        }
        return named({**event, "region": one.region} if one.region else event, moment, "")
