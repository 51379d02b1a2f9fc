"""Another threshold by pictures that came since and were reviewed; the old one stays in force until the new one is confirmed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from winnow.data.layouts import Reading
from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.errors import DataError, InputError, OptionError, RunError
from winnow.files import quoted
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.results import Recalibrated, ThresholdCompared
from winnow.results.words import count
from winnow.run.artifacts import check_mode, load_detector
from winnow.run.folder import RunFolder
from winnow.run.judge import judge
from winnow.run.map_levels import measured_levels
from winnow.run.publish import alone
from winnow.run.recalibration import (
    FOLDER,
    Recalibration,
    confirm,
    detector_key,
    in_force,
    propose,
    proposed,
    take_back,
)
from winnow.run.working_copy import push, ready

SAMPLE, RING, WATCH = "sample", "ring", "watch.json"


def recalibrate(
    run: RunFolder, sources: Sequence[str | Path] = (), *, confirmed: bool = False, undo: bool = False
) -> Recalibrated:
    """Propose the threshold that reviewed pictures of what belongs set, put a proposed one in force, or take one back.

    `sources` are read as `score` reads them; of the folder of a `winnow watch --keep` its sample. The scorer stays as it is. The old
    threshold decides until the new one is `confirmed`, in this call or a later one; `undo` puts that of `winnow calibrate` in force
    again. Without any of them it is said how things stand. Raises `OptionError` for a run that judges parts and for options that do
    not go together, `DataError` where no picture is left, `RunError` where nothing waits to be confirmed or is in force.
    """
    mode = run.options.score.mode
    check_mode(run, mode)
    run.require("calibrate")
    if run.options.score.regions:
        raise OptionError(
            f"winnow recalibrate sets the threshold of whole pictures, and {run.path} judges their parts too.",
            f"Do without them: winnow calibrate --run {quoted(run.path)} --no-regions",
        )
    if undo and (sources or confirmed):
        raise OptionError("--undo does not go with --from or --confirm.", "Give it alone.")
    ready(run.path)
    if sources:
        found = _found(run, mode, sources)
        with alone(run.path / FOLDER):
            propose(run, found)
            if confirmed:
                confirm(run)
    elif confirmed or undo:
        with alone(run.path / FOLDER):
            waiting = (proposed if confirmed else in_force)(run, mode)
            if waiting is None:
                raise RunError(
                    f"{run.path} has no threshold {'that waits to be confirmed' if confirmed else 'to take back'}.",
                    f"Propose one: winnow recalibrate --run {quoted(run.path)} --from FOLDER",
                )
            found = waiting
            (confirm if confirmed else take_back)(run)
    else:
        standing = proposed(run, mode) or in_force(run, mode)
        if standing is None:
            raise OptionError(
                f"{run.path} decides by the threshold of winnow calibrate, and no other was proposed.",
                "Give reviewed pictures of what belongs: --from FOLDER",
            )
        found = standing
    push(run.path)
    return compared(run, mode, found)


def compared(run: RunFolder, mode: str, found: Recalibration) -> Recalibrated:
    """Return what the threshold of `winnow calibrate` and another one do to the pictures that set them."""
    old, later = deciding(run, mode, found)
    force = in_force(run, mode)
    return Recalibrated(
        mode=mode,
        in_force=force is not None and force.scores == found.scores,
        sources=found.sources,
        pictures=len(later.calibration),
        own_pictures=len(old.calibration),
        old=_compared(old, later, old),
        new=_compared(later, later, old),
    )


def deciding(run: RunFolder, mode: str, found: Recalibration) -> tuple[Detector, Detector]:
    """Return the detectors of pictures with the threshold of `winnow calibrate` and with another one."""
    old = _own(run, mode)
    both = old, found.applied(old)
    return (by_picture(both[0]), by_picture(both[1])) if run.options.ingest.cuts else both


def _own(run: RunFolder, mode: str) -> Detector:
    """Return the detector as `winnow calibrate` left it."""
    detector = load_detector(run, mode)
    return detector.before or detector


def _compared(deciding: Detector, later: Detector, own: Detector) -> ThresholdCompared:
    threshold = deciding.threshold
    return ThresholdCompared(
        threshold.value,
        threshold.achieved,
        threshold.n,
        threshold.note,
        int((later.calibration > threshold.value).sum()),
        int((own.calibration > threshold.value).sum()),
    )


def _found(run: RunFolder, mode: str, sources: Sequence[str | Path]) -> Recalibration:
    """Return the scores of reviewed pictures, without those that are the run's own: the network knows them.

    Patches that are damage because they are blank have no score of their own, and no part in it.
    """
    wanted = [_reviewed(source) for source in sources]
    with tempfile.TemporaryDirectory(prefix="winnow-recalibrate-") as scratch:
        judged = judge(run, wanted, Path(scratch) / "pool", reading=Reading("normal"))
        names = judged.items["id"].astype(str)
        own = Pool.open(run.folder("ingest")).column("id").astype(str)
        bare = np.zeros(len(names), bool) if judged.bare is None else judged.bare
        rows = np.flatnonzero(~np.isin(names, own) & ~bare)
        if not len(rows):
            raise DataError(
                f"Of {count(len(set(picture_of(names))), 'picture')} none can set a threshold: they are the run's own, or blank.",
                "Give pictures that came since.",
            )
        found = Recalibration(
            mode,
            detector_key(run, mode),
            [str(source) for source in sources],
            judged.scores[rows].tolist(),
            [str(group) for group in judged.items["group"][rows]],
            names[rows].tolist(),
        )
        if not run.options.ingest.cuts:
            return found
        levels = measured_levels(run, mode, found.applied(_own(run, mode)), Pool.open(Path(scratch) / "pool"))
        return replace(found, map_levels=levels and list(levels))


def _reviewed(source: str | Path) -> str | Path:
    """Return the pictures of a source: of the folder of a watch the sample of all that came; `InputError` for its ring, in which are only
    pictures that were refused."""
    folder = Path(source)
    if (folder / WATCH).is_file():
        if not (folder / SAMPLE).is_dir():
            raise InputError(
                f"{source} has no sample of what came.",
                "Watch with --keep MINUTES, and review watched/sample; or give a folder of reviewed pictures.",
            )
        return folder / SAMPLE
    if folder.name == RING and (folder.parent / WATCH).is_file():
        raise InputError(
            f"{source} holds only pictures that were refused; a threshold set by those alone would let all pass.",
            f"Review {folder.parent / SAMPLE}, and give --from {folder.parent}",
        )
    return source
