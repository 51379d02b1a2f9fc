"""Step 4: a scorer fitted on what belongs, and the threshold that keeps the asked-for false-alarm rate."""

from __future__ import annotations

import time
from typing import Any

from winnow.learn.encodings import Encodings
from winnow.run import RunFolder


def calibrate(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Fits the detector on the encodings and sets its threshold from pictures of held-out groups."""
    from winnow.detect.detector import Detector

    run.require("encode")
    if resume and run.done("calibrate"):
        return run.result("calibrate")
    started = time.perf_counter()
    options = run.options.detect
    detector = Detector(
        scorer=options.scorer,
        neighbours=options.neighbours,
        false_alarms=options.false_alarms,
        confident=options.confident,
        dirt=options.dirt,
    ).fit(Encodings.load(run.folder("encode")))
    detector.save(run.folder("calibrate"))
    threshold = detector.threshold
    run.record(
        "calibrate",
        started,
        scorer=options.scorer,
        threshold=threshold.value,
        false_alarms=threshold.achieved,
        calibrated_on=threshold.n,
        note=threshold.note,
    )
    return run.result("calibrate")
