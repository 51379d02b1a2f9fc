"""Whether the threshold of an exported file still holds for what comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from winnow.deploy.runtime import Calibration, Deployed
from winnow.detect.changes import WORDS, changed_rows, in_words, looks, usual_positions
from winnow.detect.drift import Drift, check_alarm
from winnow.detect.live_drift import SHOWN, LiveDrift, Look
from winnow.errors import OptionError
from winnow.pool.pool import Items

SIDE, GAP, TEXT = 160, 4, 20  # pixels of a picture in the drawing, between two, and of a row's name


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


def counted(
    model: Deployed, pool: Items, rows: Sequence[Mapping[str, Any]], directions: np.ndarray | None
) -> list[tuple[float, Callable[[], Look]]]:
    """Return the scores that count of the `rows` of one picture, and what returns the look of each: of pictures that are cut, the
    highest, else each. `directions` (n, k) is what the file says of the items of the pool under this name."""
    scores = [float(row["score"]) for row in rows if row.get("score") is not None]
    if scores and model.picture_threshold is not None:
        return [(max(scores), partial(look_of, pool, slice(None), directions))]
    return [(score, partial(look_of, pool, slice(row, row + 1), directions)) for row, score in enumerate(scores)]


def look_of(pool: Items, items: slice, directions: np.ndarray | None = None) -> Look:
    """Return the look of some items of a picture, as the network sees them: the means of `WORDS`, in this order, and of positions
    (n, k) along directions. The first of them is shown."""
    pixels = pool.pixels(items)
    found = looks(pixels)
    places = [] if directions is None else directions[items].mean(axis=0).tolist()
    values = [*(found[name].mean() for name in WORDS), *places]
    return Look([float(f"{value:.5g}") for value in values], np.array(pixels[0]))


def what_changed(model: Deployed, since: Sequence[Sequence[float]]) -> list[str]:
    """Return in words how pictures whose looks were kept differ from the held-out ones of the run."""
    known = calibration_of(model)[0]
    if not known.looked:
        return ["not known, for the file was exported by an earlier version"]
    usual = {name: known.looks[name] for name in WORDS} | usual_positions(known.directions)
    whole = [values for values in since if len(values) == len(usual)]  # an earlier export may have known no directions
    if not whole:
        return []
    return in_words(changed_rows(usual, known.looked, np.array(whole)))


def pictures_of(live: LiveDrift) -> np.ndarray | None:
    """Draw the last pictures before a change in an upper row and those since in a lower one, (h, w, 3) uint8; None of none."""
    from PIL import Image, ImageDraw

    rows = [(name, kept) for name, kept in (("before", live.before), ("since", live.since)) if kept]
    if not rows:
        return None
    sheet = Image.new("RGB", (SHOWN * (SIDE + GAP) + GAP, len(rows) * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    for down, (name, kept) in enumerate(rows):
        top = down * (SIDE + TEXT)
        draw.text((GAP, top + GAP), name, "black")
        for across, pixels in enumerate(kept):
            picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            scale = SIDE / max(picture.size)  # small ones are enlarged, or nobody would see what they show
            picture = picture.resize([max(1, round(scale * side)) for side in picture.size])
            sheet.paste(picture.convert("RGB"), (GAP + across * (SIDE + GAP), top + TEXT))
    return np.asarray(sheet)
