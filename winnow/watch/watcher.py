"""The loop of a watch: moments are taken, judged, written down with where they came from, and shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.deploy.judge import BATCH
from winnow.deploy.serve.served import Current
from winnow.errors import InputError
from winnow.watch.board import Board
from winnow.watch.book import Book
from winnow.watch.drifts import Drifts
from winnow.watch.judging import Timelines, named, plain, verdicts
from winnow.watch.log import Event
from winnow.watch.messages import Messenger
from winnow.watch.moments import Inbox, Moment
from winnow.watch.ring import Ring, pixels_of, write_jpeg
from winnow.watch.sources import Camera, Reading, Source, source_of
from winnow.watch.view import Seen, Standing, View

DRIFT = "drift"  # the folder of pictures before and since a change
SAMPLE_SECONDS = 60.0
LEAVE_SECONDS = 5.0  # for what is still to be sent


class Watcher:
    """Watches sources with a file, until it is stopped or nothing more can come."""

    def __init__(
        self,
        addresses: Sequence[str],
        current: Current,
        book: Book,
        view: View,
        *,
        poll: float,
        away: float,
        messengers: Sequence[Messenger] = (),
        ring: Ring | None = None,
        sample: Ring | None = None,
        drifts: Drifts | None = None,
        board: Board | None = None,
    ) -> None:
        """Raise `InputError` for an address that cannot be watched."""
        self.current, self.book, self.view, self.messengers, self.ring = current, book, view, messengers, ring
        self.board = board
        self.stop, self.inbox = threading.Event(), Inbox()
        served = current.served
        reading = Reading(served.options, served.find, served.usual, poll, away, ring is not None or board is not None)
        found = [source_of(one) for one in addresses]
        self.sources: list[Source] = [kind(one, reading, self.inbox, book, self.stop) for kind, one in found]
        self.lines, self.drifts = Timelines(served.model, book), drifts
        self.sample, self._sampled = sample, dict[str, float]()
        self.standing: dict[str, Standing] = {source.name: Standing() for source in self.sources}

    def run(self, open_within: float) -> None:
        """Watch until the sources have ended or a `KeyboardInterrupt`; `InputError` where a camera does not open in so many seconds."""
        for source in self.sources:
            source.start()
        for messenger in self.messengers:
            messenger.start()
        try:
            self._await_cameras(open_within)
            looked = 0.0
            while not self.stop.is_set():
                if time.monotonic() - looked > 1.0:
                    looked = time.monotonic()
                    self.current.look()
                    self.lines.model = self.current.served.model
                    if self.drifts:
                        self.drifts.follow(self.lines.model)
                ended = all(source.ended.is_set() for source in self.sources)
                moments = self.inbox.take(BATCH, 0.2)
                self.judge(moments)
                for failed in [one.failed for one in self.sources] + [one.failed for one in self.messengers]:
                    if failed:
                        raise failed
                if ended and not moments:
                    break
                self.view.show(self.standing, self.inbox.left_out, self.messengers)
                if self.board:
                    self.board.show(self.standing, self.inbox.left_out)
        finally:
            self.stop.set()
            for messenger in self.messengers:
                messenger.finish(LEAVE_SECONDS)
            self.view.close(self.standing, self.inbox.left_out)
            if self.board:
                self.board.show(self.standing, self.inbox.left_out, ended=True)

    def judge(self, moments: Sequence[Moment]) -> None:
        """Judge moments and write down what is said of them; one commit for all, so that none is lost or told twice."""
        if not moments:
            return
        events: list[Event] = []
        seen: list[tuple[str, str]] = []
        kept: dict[str, Any] = {}
        judged = verdicts(self.current.served.model, moments, drift=self.drifts is not None)
        for moment, (said, directions) in zip(moments, judged, strict=True):
            said = said if moment.event == "verdict" else [plain(moment)]
            events += self._noted(moment, said, directions)
            if moment.mark and moment.time is None:
                seen.append((moment.source, moment.mark))
            if moment.time is not None or moment.event == "ended":
                kept[f"source {moment.source}"] = {
                    "time": moment.time,
                    "mark": moment.mark,
                    "ended": moment.event == "ended",
                    "segments": self.lines.kept(moment.source),
                }
        drift, scores = self.drifts.take() if self.drifts else ({}, [])
        self.book.commit(events, seen, kept | drift, scores)
        self.lines.forget([moment.source for moment in moments if moment.event == "ended"])
        for ring in filter(None, (self.ring, self.sample)):
            ring.prune()

    def _noted(self, moment: Moment, said: list[Event], directions: np.ndarray | None) -> list[Event]:
        """Return the events of a moment, in their order: every verdict passes here, with its time, p-value and pixels."""
        foreign = any(event.get("belongs") is False for event in said)
        if self.ring and foreign and (pixels := pixels_of(moment.picture)) is not None:
            said[0]["kept"] = self.ring.keep(said[0]["id"], pixels)
        segments = self.lines.add(moment, said)
        name = (
            moment.source
            if moment.source in self.standing
            else next((one for one in self.standing if moment.source.startswith(one.rstrip("/") + "/")), moment.source)
        )
        about = self.standing.setdefault(name, Standing())
        if self.sample and moment.event == "verdict" and said:
            self._keep_sample(self.sample, name, moment, said[0]["id"])
        alarms = self._alarms(name, moment, said, directions)
        about.warning = self.drifts.says(name) if self.drifts else ""
        for event in said:
            about.counts[event["event"]] += 1
            about.counts["foreign"] += event.get("belongs") is False
            if "p_value" in event:
                about.last.append(Seen(float(event["p_value"]), event.get("belongs") is not False))
        if moment.event == "verdict":
            about.state = self.lines.state(moment.source) or about.state
        elif moment.event != "refused":
            goes_on = moment.event == "back" or moment.source != name  # a folder does, when a video in it has ended
            about.state = "" if goes_on else moment.event
        events = said + segments + alarms
        if self.board:
            self.board.note(name, moment, events)
        return events

    def _alarms(self, name: str, moment: Moment, said: list[Event], directions: np.ndarray | None) -> list[Event]:
        """Return the alarm on a source where it is raised now, which is told of; pictures before and since the change are kept."""
        found = self.drifts.add(name, moment, said, directions) if self.drifts else None
        if found is None:
            return []
        alarm, pixels = named(found[0], moment, ""), found[1]
        changes = "; ".join(alarm["changes"]) or "nothing that pictures show"
        shown = ""
        if pixels is not None:
            alarm["pictures"] = f"{DRIFT}/{write_jpeg(self.book.folder / DRIFT, alarm['id'], pixels)}"
            shown = f" Before and since: {self.book.folder / alarm['pictures']}"
        self.view.tell(f"{name}: THE THRESHOLD MAY NOT HOLD ANY MORE. What changed: {changes}.{shown}")
        return [alarm]

    def _keep_sample(self, sample: Ring, name: str, moment: Moment, event: str) -> None:
        """Keep the first picture of each minute of a source, whatever is said of it, for `winnow recalibrate`."""
        minute = (time.time() if moment.time is None else moment.time) // SAMPLE_SECONDS
        if self._sampled.get(name) != minute and (pixels := pixels_of(moment.picture)) is not None:
            self._sampled[name] = minute
            sample.keep(event, pixels)

    def _await_cameras(self, seconds: float) -> None:
        """Wait until every camera has opened; what else comes meanwhile waits."""
        until = time.monotonic() + seconds
        for camera in self.sources:
            while isinstance(camera, Camera) and seconds and not camera.opened.wait(0.1):
                if time.monotonic() > until:
                    raise InputError(
                        f"{camera.name} did not open within {seconds:g} seconds ({camera.why}).",
                        "Check the address; or --open-within 0 waits for it as long as it takes.",
                    )


def folder_of(to: str | Path, addresses: Sequence[str]) -> Path:
    """Return the folder of a watch; `InputError` where its own pictures would be watched."""
    folder = Path(to).expanduser().absolute()
    for address in addresses:
        where = Path(address).expanduser().absolute()
        if where.is_dir() and folder.is_relative_to(where):
            raise InputError(
                f"--to {to} is inside {address}, which is watched.", "Choose a folder elsewhere: --to FOLDER"
            )
    return folder
