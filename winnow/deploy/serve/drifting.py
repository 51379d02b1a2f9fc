"""Whether the threshold still holds for what a server is asked: the bets of one worker, and the alarms of all."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.deploy.drift import check_drift, counted, drift_key, drift_of, pictures_of, what_changed
from winnow.deploy.runtime import Deployed
from winnow.detect.live_drift import LiveDrift
from winnow.errors import OptionError, RunError
from winnow.files import replacing, write_json
from winnow.pool.in_memory import InMemory


class ServedDrift:
    """One picture counts of each so many `seconds`, in which a client may have sent the frames of one scene.

    An alarm is written into the `folder` that all workers share, under the number of this `worker`, so that any of them can tell of it.
    A file with another threshold that takes the place of the one before is bet on anew; of one without calibration scores it is told
    that nothing can be said.
    """

    def __init__(
        self, alarm: float, seconds: float, tell: Callable[[str], None], folder: Path, worker: int = 0
    ) -> None:
        self._alarm, self._seconds, self._tell = alarm, seconds, tell
        self._folder, self._worker = folder, worker
        self._model: Deployed | None = None
        self._key = ""
        self.live: LiveDrift | None = None

    def add(
        self, model: Deployed, pool: InMemory, rows: Sequence[Mapping[str, Any]], directions: np.ndarray | None
    ) -> None:
        """Take what was said of a picture, and the `directions` (n, k) of its items."""
        if model is not self._model:
            self._follow(model)
        if self.live is None:
            return
        before, block = self.live.drift.alarmed, f"{time.time() // self._seconds:.0f}"
        for score, look in counted(model, pool, rows, directions):
            self.live.add(block, score, look)
        if self.live.drift.alarmed and not before:
            changes = what_changed(model, self.live.looks)
            told = "; ".join(changes) or "nothing that pictures show"
            where = f"/v1/drift tells more, /v1/drift/{self._worker} shows it"
            self._tell(f"THE THRESHOLD MAY NOT HOLD ANY MORE (worker {self._worker}). What changed: {told}. {where}.")
            try:
                self._write(self.live, changes)
            except RunError as error:  # of a full disk, of which the client that asked knows nothing
                self._tell(f"/v1/drift cannot tell of it: {error.message}")

    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms of all workers."""
        found = (_read(path) for path in sorted(self._folder.glob("drift-*.json")))
        return [json.loads(text) for text in found if text is not None]

    def picture(self, worker: int) -> bytes | None:
        """Return pictures before and since the change that a worker told of, as one JPEG; None where it told of none."""
        return _read(self._folder / f"drift-{worker}.jpg")

    def _write(self, live: LiveDrift, changes: list[str]) -> None:
        pictures, drift = pictures_of(live), live.drift
        if pictures is not None:
            with replacing(self._folder / f"drift-{self._worker}.jpg") as temporary:
                temporary.write_bytes(_jpeg(pictures))
        alarm = {
            "worker": self._worker,
            "time": time.time(),
            "blocks": drift.at,
            "since": drift.since,
            "changes": changes,
        }
        shown = {} if pictures is None else {"pictures": f"/v1/drift/{self._worker}"}
        write_json(self._folder / f"drift-{self._worker}.json", alarm | {"alarm": self._alarm} | shown)

    def _follow(self, model: Deployed) -> None:
        self._model = model
        try:
            check_drift(model, self._alarm, self._seconds)
        except OptionError as error:
            self._tell(f"Whether the threshold holds is not watched any more: {error.message}")
            self.live, self._key = None, ""
            self._forget()
            return
        key = drift_key(model, self._alarm, self._seconds)
        if key != self._key:
            self.live, self._key = drift_of(model, self._alarm), key
            self._forget()

    def _forget(self) -> None:
        """Take the alarm on the file of before back."""
        for kind in ("json", "jpg"):
            (self._folder / f"drift-{self._worker}.{kind}").unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """Return the content of a file, None where there is none, or none any more: another worker may take its alarm back."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=85)
    return data.getvalue()
