"""The two levels of a mode's anomaly maps: what they are where a picture is as usual, and what pictures that belong keep below."""

from __future__ import annotations

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture, most_anomalous
from winnow.detect.threshold import conformal
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.results import Calibrated
from winnow.run.artifacts import load_encoder, maps_by
from winnow.run.folder import RunFolder
from winnow.run.recalibration import in_force

Levels = tuple[float, float]


def measured_levels(run: RunFolder, mode: str, detector: Detector, pool: Pool) -> Levels | None:
    """Return the median over patches of the mean of their maps, and the level that only the asked-for share of pictures exceeds anywhere;
    None for a mode without a map.

    They are of the pictures in `pool` that the detector is calibrated on. A scorer that compares places has learnt from the run's own,
    so that only its held-out scores, means of the highest of a map, tell what is usual; a picture is above the threshold only where
    its map is.
    """
    encoder, options = load_encoder(run, mode), run.options.detect
    draw = maps_by(encoder, detector, run.options.train.device)
    if draw is None:
        return None
    if detector.scorer.reads_cells:
        return float(np.median(detector.calibration)), by_picture(detector).threshold.value
    rows = np.flatnonzero(np.isin(pool.column("id").astype(str), detector.ids.astype(str)) & pool.usable)
    means, peaks = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        maps = draw(pool.pixels(rows[part]))
        means[part], peaks[part] = maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))
    _, highest, _ = most_anomalous(picture_of(pool.column("id")[rows]), peaks)
    level = conformal(highest, options.false_alarm_rate, options.confidence, estimate=options.estimate).value
    return float(np.median(means)), level


def map_levels(run: RunFolder, mode: str) -> Levels | None:
    """Return the levels that count: those of `winnow recalibrate` where its threshold is in force, else those of `winnow calibrate`; None
    without maps."""
    later = in_force(run, mode)
    if later is not None:
        return None if later.map_levels is None else (later.map_levels[0], later.map_levels[1])
    known = run.result(Calibrated).modes[mode]
    return None if known.map_usual is None or known.map_level is None else (known.map_usual, known.map_level)
