"""The parts of a run's pictures: the detectors that judge them, fitted by `winnow calibrate --regions`, kept in detector/regions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.parts import PARTS, Box
from winnow.detect.regions import Regions
from winnow.embeddings import Embeddings, spread
from winnow.errors import DataError, OptionError, RunError
from winnow.files import quoted
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.results import Calibrated
from winnow.run.artifacts import ModeEncoder, load_detector, load_encoder, own_scorers
from winnow.run.folder import RunFolder

if TYPE_CHECKING:
    from winnow.learn.feed import PixelSource

FOLDER = "regions"
MOST = 2000  # pictures at most that parts are learnt from: each is encoded once a part


def check_regions(run: RunFolder) -> None:
    """Raise `OptionError` for `--regions` of a run that looks for damage, or judges by another mode than the whole network."""
    options = run.options
    if not options.score.regions:
        return
    if options.ingest.cuts:
        raise OptionError(
            f"--regions is for runs that judge whole pictures; {run.path} looks for damage, and says where it is.",
            "Leave --regions out.",
        )
    if options.score.mode != "full":
        raise OptionError(
            f"--regions judges by the whole network, not by --mode {options.score.mode}.",
            "Give --no-regions, or leave --mode out.",
        )


def fit_regions(run: RunFolder, whole: Detector, normal: Embeddings) -> Regions:
    """Return the detectors of all parts, fitted on the pictures of the pool that the detector of whole ones was, or on `MOST` of them.

    Raises `DataError` for a run of a single good picture.
    """
    if whole.unpromised:
        raise DataError(
            f"--regions needs several good pictures to hold some out, and {run.path} has one.", "Give more of them."
        )
    normal = normal[spread(len(normal), MOST)]
    pool = Pool.open(run.folder("ingest"))
    rows, encoder = pool.rows_of(normal.ids), load_encoder(run, "full", whole.scorer.reads())
    known = {column: getattr(normal, column) for column in ("ids", "groups", "twins", "seen")}
    parts = {}
    with progress("parts", len(rows) * len(PARTS), "parts") as advance:
        for name, box in PARTS.items():
            found = _encoded(encoder, pool, rows, box, run.options.train.device)
            parts[name] = Detector(**whole.get_params()).fit(replace(found, **known))
            advance(len(rows))
    return Regions(whole, parts)


def load_regions(run: RunFolder) -> Regions | None:
    """Return what judges the parts of pictures, None where they are not to be judged; `RunError` where nothing was fitted for them."""
    check_regions(run)
    if not run.options.score.regions:
        return None
    if run.result(Calibrated).regions is None:
        raise RunError(
            f"{run.path} has not learnt what parts of its pictures look like.",
            f"Run, once: winnow calibrate --run {quoted(run.path)} --regions",
        )
    whole = load_detector(run, "full")
    if whole.before is not None:
        raise RunError(
            f"winnow recalibrate has set the threshold of {run.path} anew for whole pictures, not for their parts.",
            f"Take it back: winnow recalibrate --run {quoted(run.path)} --undo; or give --no-regions.",
        )
    return Regions.load(whole, run.folder("calibrate") / FOLDER, own=own_scorers(run))


def scores_of_parts(
    encoder: ModeEncoder, regions: Regions, source: PixelSource, rows: np.ndarray, device: str
) -> np.ndarray:
    """Return the scores (rows, parts) of the parts of some pictures of a source, each by its detector."""
    columns = [
        detector.score(_encoded(encoder, source, rows, box, device))
        for detector, box in zip(regions.detectors[1:], PARTS.values(), strict=True)
    ]
    return np.column_stack(columns)


def _encoded(encoder: ModeEncoder, source: PixelSource, rows: np.ndarray, box: Box, device: str) -> Embeddings:
    from winnow.learn.feed import Region

    return encoder.encode(Region(source, box), rows, device)
