"""Step 4: a scorer fitted on what belongs, and the threshold that keeps the asked-for false-alarm rate."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from winnow.data.patches import picture_of
from winnow.data.splits import FEWEST_GROUPS
from winnow.learn.encodings import Encodings
from winnow.run import RunFolder
from winnow.steps.parts import check_parts, decisions, folder_of, load_way
from winnow.steps.synthetic import judge_synthetic

FEWEST_TIMED, MOST_TIMED = 64, 1024  # pictures by which the decisions' speeds are compared
A_TURN, ROUNDS, ENOUGH = 0.2, 5, 5.0  # seconds of a turn of the whole network, rounds, seconds after which no other begins
TOO_FEW = (
    f"With fewer than {FEWEST_GROUPS} pictures, parts of the same ones train the network and set the threshold, so that nothing "
    "can be promised of a new picture: give more good pictures, 99 held-out ones for 1 % false alarms."
)


def calibrate(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Fits a detector for each decision and sets its threshold from pictures of held-out groups.

    Of pictures cut into patches, thresholds per picture and the level of a heat map are set as well, and each decision
    is tried on synthetic defects.
    """
    from winnow.detect.detector import Detector
    from winnow.detect.pictures import by_picture

    run.require("encode")
    if resume and run.done("calibrate"):
        return run.result("calibrate")
    started = time.perf_counter()
    check_parts(run, "scorer")
    options = run.options.detect
    found: dict[str, dict[str, Any]] = {}
    detectors = {}
    for decision in decisions(run):
        encodings = Encodings.load(folder_of(run, "encode", "fast" if decision == "fast" else "reconstruction"))
        detector = Detector(
            scorer=_scorer(decision, options.scorer, encodings),
            neighbours=options.neighbours,
            false_alarms=options.false_alarms,
            confident=options.confident,
            dirt=options.dirt,
        ).fit(encodings)
        detector.save(folder_of(run, "calibrate", decision))
        detectors[decision] = detector
        found[decision] = {"scorer": detector.scorer_name, **_promise(detector)}
        if run.options.ingest.patches:
            found[decision] |= {"pictures": _promise_of_pictures(encodings, by_picture(detector))}
            found[decision] |= _heat_levels(run, decision, detector)
    synthetic = judge_synthetic(run, detectors) if run.options.ingest.patches else {}
    speed = _speeds(run, detectors)
    run.record("calibrate", started, **found["reconstruction"], decisions=found, synthetic=synthetic, speed=speed)
    return run.result("calibrate")


def _scorer(decision: str, chosen: str, encodings: Encodings) -> str:
    """The scorer of a decision: the user's for the whole network; for the encoder alone the latent loss, or the distance
    of the code where there is none; for the fast network its evidence."""
    if decision == "reconstruction":
        return chosen
    if decision == "fast":
        return "peak"
    return "latent" if "latent" in encodings.measures else "gaussian"


def _promise(detector: Any) -> dict[str, Any]:
    threshold = detector.threshold
    return {
        "threshold": threshold.value,
        "false_alarms": threshold.achieved,
        "calibrated_on": threshold.n,
        "note": threshold.note,
    }


def _promise_of_pictures(encodings: Encodings, detector: Any) -> dict[str, Any]:
    """What the threshold promises per picture: nothing, where parts of the same pictures trained the network."""
    promise = _promise(detector)
    if len(set(picture_of(encodings.ids))) < FEWEST_GROUPS:
        return {**promise, "false_alarms": 1.0, "note": TOO_FEW}
    return promise


def _heat_levels(run: RunFolder, decision: str, detector: Any) -> dict[str, float | None]:
    """Evidence of damage in held-out pictures: what is usual, the median over patches of their mean; and the level that
    only the asked-for share of pictures reaches anywhere. None for a decision without a map."""
    from winnow.data.pool import Pool
    from winnow.detect.pictures import most_foreign
    from winnow.detect.threshold import conformal
    from winnow.learn.encode import heat

    way, options = load_way(run, decision), run.options.detect
    if not way.maps:
        return {"heat_usual": None, "heat_level": None}
    pool = Pool.open(run.folder("ingest"))
    rows = np.flatnonzero(np.isin(pool.column("id").astype(str), detector.ids.astype(str)) & pool.usable)
    means, peaks = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        maps = heat(way.model, pool.pixels(rows[part]))
        means[part], peaks[part] = maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))
    _, highest, _ = most_foreign(picture_of(pool.column("id")[rows]), peaks)
    level = conformal(highest, options.false_alarms, options.confident).value
    return {"heat_usual": float(np.median(means)), "heat_level": level}


def _speeds(run: RunFolder, detectors: dict[str, Any]) -> dict[str, float]:
    """Pictures (or patches) a second of each decision, the best of a few rounds in which they take turns."""
    from winnow.data.pool import Pool

    pool, device = Pool.open(run.folder("ingest")), run.options.train.device
    ways = {name: load_way(run, name, detector.scorer.reads()) for name, detector in detectors.items()}

    def seconds(name: str, rows: np.ndarray) -> float:
        started = time.perf_counter()
        detectors[name].score(ways[name].encode(pool, rows, device))
        return time.perf_counter() - started

    few = np.arange(min(FEWEST_TIMED, len(pool)))
    many = len(few) * A_TURN / seconds("reconstruction", few)
    rows = np.arange(min(max(int(many), FEWEST_TIMED), MOST_TIMED, len(pool)))
    best, begun = dict.fromkeys(ways, 0.0), time.perf_counter()
    for _ in range(ROUNDS):
        for name in ways:
            # Twice: threads of the decision before, which scores with another library, spin on for a while.
            best[name] = max(best[name], max(len(rows) / seconds(name, rows) for _ in range(2)))
        if time.perf_counter() - begun > ENOUGH:
            break
    return {name: round(speed, 1) for name, speed in best.items()}
