"""Whether the threshold of an exported file still holds for what comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from winnow.deploy.runtime import Calibration, Deployed
from winnow.detect.changes import TOLD, WORDS, changed, looks
from winnow.detect.drift import Drift, check_alarm
from winnow.detect.live_drift import LiveDrift
from winnow.errors import OptionError
from winnow.pool.pool import Items


def check_drift(model: Deployed, alarm: float, seconds: float) -> None:
    """Raise `OptionError` for a chance of an alarm or a block that is none, and for a file without calibration scores."""
    check_alarm(alarm)
    if not seconds > 0:
        raise OptionError(f"--drift-block is {seconds:g}; it must be above 0 seconds.")
    if model.about.calibration is None:
        raise OptionError(
            f"--drift-alarm needs calibration scores, and {model.path} has none.",
            "Export its run again with this version: winnow export --run RUN --to FILE.onnx",
        )


def calibration_of(model: Deployed) -> tuple[Calibration, float]:
    """Return what says whether a file's threshold holds, and that threshold; of pictures that are cut, that of whole ones."""
    calibration, threshold = model.about.calibration, model.picture_threshold
    threshold = model.threshold if threshold is None else threshold
    assert calibration is not None and threshold is not None
    return calibration, threshold


def drift_of(model: Deployed, alarm: float) -> LiveDrift:
    """Return the bets on what comes, none made yet."""
    calibration, threshold = calibration_of(model)
    return LiveDrift(Drift(calibration.scores, threshold, alarm=alarm))


def drift_key(model: Deployed, alarm: float, seconds: float) -> str:
    """Return what changes with all that bets depend on: a file with another threshold begins anew, one that is exported again does not."""
    calibration, threshold = calibration_of(model)
    text = json.dumps([calibration.scores, threshold, alarm, seconds])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def scores_of(model: Deployed, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the scores that count of the rows of one picture: of pictures that are cut, the highest, else each."""
    scores = [float(row["score"]) for row in rows if row.get("score") is not None]
    return [max(scores)] if scores and model.picture_threshold is not None else scores


def look_of(pool: Items) -> list[float]:
    """Return what a picture looks like, in the order of `WORDS`, as the network sees it."""
    found = looks(pool.pixels(slice(None)))
    return [float(f"{found[name].mean():.5g}") for name in WORDS]


def what_changed(model: Deployed, since: Sequence[Sequence[float]]) -> list[str]:
    """Return in words how pictures whose looks were kept differ from the held-out ones of the run."""
    if not since:
        return []
    now = dict(zip(WORDS, np.array(since).T, strict=True))
    moved = changed(calibration_of(model)[0].looks, now)
    return [change.text for change in moved if abs(change.moved) >= TOLD]
