"""Step 4: a scorer fitted on normal pictures, and the threshold that keeps the asked-for false-alarm rate."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.detect.election import elect
from winnow.detect.registry import candidates, make_scorer
from winnow.embeddings import Embeddings
from winnow.errors import RunError
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.pool.splits import FEWEST_GROUPS
from winnow.results import Calibrated, Mode, Promise, Trained
from winnow.run.artifacts import check_mode, check_parts, load_embeddings, load_encoder, modes, of_decision
from winnow.run.finds import finds
from winnow.run.folder import RunFolder
from winnow.run.map_levels import measured_levels
from winnow.run.regions import FOLDER as REGIONS
from winnow.run.regions import check_regions, fit_regions
from winnow.run.review import REVIEW, described, left_out, staying, write_review
from winnow.run.split import kept_apart, without
from winnow.run.synthetic import encoded, examples, judge_synthetic

if TYPE_CHECKING:
    from winnow.detect.detector import Detector

FEWEST_TIMED, MOST_TIMED = 64, 1024  # pictures by which the modes' speeds are compared
FEWEST_ALONE = 16  # by which that of a single mode is timed
FEW = 3  # pictures named in the terminal
A_TURN, ROUNDS, ENOUGH = 0.2, 5, 5.0  # seconds of a turn of the full mode, rounds, seconds after which no other begins
TOO_FEW = (
    f"With fewer than {FEWEST_GROUPS} pictures, parts of the same ones train the network and set the threshold, so that nothing "
    "can be promised of a new picture: give more good pictures, 79 held-out ones for 5 % false alarms."
)
OF_WHOLES = (
    "The network was trained on whole pictures; by parts such a one finds no more, and names the wrong one more often: --regions is for a "
    "pretrained one (recipe oneclass with weights)."
)


def calibrate(run: RunFolder, *, resume: bool = False) -> Calibrated:
    """Fit a detector for each mode and sets its threshold from pictures of held-out groups.

    Of pictures cut into patches, thresholds per picture and the level of an anomaly map are set as well, and each mode
    is tried on synthetic defects. The pictures that hold the threshold up are listed in the run's review.csv; those that a person marked
    there are left out.
    """
    mode_of_run = run.options.score.mode
    check_mode(run, mode_of_run, "encode")
    check_regions(run)
    if resume and run.done("calibrate"):
        before = run.result(Calibrated)
        if before.mode == mode_of_run and (before.regions is not None) == run.options.score.regions:
            return before
    check_parts(run, "scorer")
    marked = left_out(run.path)
    with run.working("calibrate") as step:
        pool, detectors, found = Pool.open(run.folder("ingest")), {}, {}
        made = examples(run) if run.options.ingest.cuts else None
        damaged: dict[str, Embeddings] = {}
        regions = None
        for mode in modes(run):
            embeddings = load_embeddings(run, mode, cells=True)
            embeddings = without(embeddings, kept_apart(pool, embeddings, "validate"))
            embeddings = without(embeddings, ~staying(run.path, embeddings.ids))
            elected: dict[str, float] = {}
            if mode == "full" and made and len(candidates(run.options.detect.scorer)) > 1:
                read = {loss for name in candidates(run.options.detect.scorer) for loss in make_scorer(name).reads()}
                damaged[mode] = encoded(run, mode, made, read)
                elected = elect(candidates(run.options.detect.scorer), embeddings, damaged[mode])
            detectors[mode] = _fitted(run, mode, embeddings, elected)
            detectors[mode].save(of_decision(step.folder, mode))
            found[mode] = _described(run, mode, detectors[mode], pool, embeddings, elected)
            if mode == "full" and run.options.score.regions:
                regions = fit_regions(run, detectors[mode], embeddings)
                regions.save(step.folder / REGIONS)
        synthetic = judge_synthetic(run, detectors, step.folder, made, damaged) if made else {}
        if left_out(run.path) != marked:
            raise RunError(f"{run.path / REVIEW} was changed meanwhile.", "Run winnow calibrate again.")
        own = detectors[mode_of_run]
        write_review(step.path(REVIEW), regions.joint if regions else own, pool, marked)
        would, unit = finds(run, mode_of_run, own), run.options.ingest.unit(len(pool), len(pool.pictures))
        of_regions = _of_regions(run, regions.joint, pool) if regions else None
        speeds = _speeds(run, detectors)
        step.finish(Calibrated(found, synthetic, speeds, would, len(marked), mode_of_run, unit, of_regions))
    return run.result(Calibrated)


def _fitted(run: RunFolder, mode: str, embeddings: Embeddings, elected: dict[str, float]) -> Detector:
    """Return the detector of a mode, by the scorer that was elected, where there was a choice of pictures enough to decide it."""
    from winnow.detect.detector import Detector

    options = run.options.detect
    chosen = max(elected, key=lambda name: elected[name], default=candidates(options.scorer)[0])
    detector = Detector(
        scorer=_scorer(mode, chosen, embeddings),
        false_alarm_rate=options.false_alarm_rate,
        confidence=options.confidence,
        estimate=options.estimate,
        contamination=options.contamination,
    ).fit(embeddings)
    if run.options.ingest.cuts and _parted(embeddings):
        detector.unpromised = TOO_FEW
    return detector


def _described(
    run: RunFolder, mode: str, detector: Detector, pool: Pool, embeddings: Embeddings, elected: dict[str, float]
) -> Mode:
    """Return how a mode decides: its threshold, that of pictures, the levels of its map, and where good pictures differ."""
    from winnow.detect.pictures import by_picture
    from winnow.detect.scorers.places import differences

    found = Mode(detector.scorer_name, _promise(detector, pool), elected=elected)
    if run.options.ingest.cuts:
        usual, level = measured_levels(run, mode, detector, pool) or (None, None)
        found = replace(found, whole=_promise(by_picture(detector), pool), map_usual=usual, map_level=level)
    if detector.scorer.reads_cells and len(embeddings) > 1:
        found = replace(found, differences=differences(detector.scorer, embeddings).round(4).tolist())
    return found


def _scorer(mode: str, chosen: str, embeddings: Embeddings) -> str:
    """Return the scorer of a mode: the user's for the full one; for the encoder the latent loss, or the Mahalanobis distance of
    the embedding where there is none; for the fast network the top of its anomaly map."""
    if mode == "full":
        return chosen
    if mode == "fast":
        return "error(pool=top_windows)"
    return "latent" if "latent" in embeddings.losses else "mahalanobis"


def _promise(detector: Detector, pool: Pool) -> Promise:
    threshold, extremes = detector.threshold, detector.extremes
    return Promise(
        threshold.value,
        threshold.achieved,
        threshold.n,
        threshold.note,
        len(extremes),
        described(pool, picture_of(detector.ids[extremes[:FEW]]).tolist()),
        detector.without_extremes(),
        threshold.estimated,
    )


def _of_regions(run: RunFolder, joint: Detector, pool: Pool) -> Promise:
    """Return the promise of pictures with their parts, and a note where the network has learnt whole pictures alone."""
    found = _promise(joint, pool)
    return replace(found, note=f"{found.note} {OF_WHOLES}".strip()) if run.result(Trained).training else found


def _parted(embeddings: Embeddings) -> bool:
    """Return whether parts of the same pictures were learnt from and held out, so that nothing is known of a new picture.

    With few pictures they are, unless nothing was trained and each is one tile, which is held out as a whole.
    """
    pictures = len(set(picture_of(embeddings.ids)))
    return pictures < FEWEST_GROUPS and bool(embeddings.seen.any() or pictures < len(embeddings))


def _speeds(run: RunFolder, detectors: dict[str, Any]) -> dict[str, float]:
    """Return the pictures (or patches) a second of each mode, the best of a few rounds in which they take turns."""
    pool, device = Pool.open(run.folder("ingest")), run.options.train.device
    encoders = {name: load_encoder(run, name, detector.scorer.reads()) for name, detector in detectors.items()}

    def seconds(name: str, rows: np.ndarray) -> float:
        started = time.perf_counter()
        detectors[name].score(encoders[name].encode(pool, rows, device))
        return time.perf_counter() - started

    if len(encoders) == 1:  # compared with none
        few = np.arange(min(FEWEST_ALONE, len(pool)))
        return {name: round(len(few) / seconds(name, few), 1) for name in encoders}
    few = np.arange(min(FEWEST_TIMED, len(pool)))
    many = len(few) * A_TURN / seconds("full", few)
    rows = np.arange(min(max(int(many), FEWEST_TIMED), MOST_TIMED, len(pool)))
    best, begun = dict.fromkeys(encoders, 0.0), time.perf_counter()
    for _ in range(ROUNDS):
        for name in encoders:
            # Twice: threads of the mode before, which scores with another library, spin on for a while.
            best[name] = max(best[name], max(len(rows) / seconds(name, rows) for _ in range(2)))
        if time.perf_counter() - begun > ENOUGH:
            break
    return {name: round(speed, 1) for name, speed in best.items()}
