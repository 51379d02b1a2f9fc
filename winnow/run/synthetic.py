"""Measure how well each mode finds damage it has never seen: synthetic defects on held-out patches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from winnow.detect.detector import Detector
from winnow.embeddings import spread
from winnow.metrics.detection import separation
from winnow.pool.pool import Pool
from winnow.results import Trained
from winnow.run.artifacts import load_encoder, of_decision
from winnow.run.folder import RunFolder
from winnow.run.split import split_of

MOST = 1000  # patches damaged


class Examples(NamedTuple):
    """Held-out patches by id (n,), (n, h, w, c) uint8 as they are and damaged, masks of the damage (n, h, w) and its kind (n,)."""

    ids: np.ndarray
    clean: np.ndarray
    damaged: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray


def examples(run: RunFolder, most: int = MOST) -> Examples:
    """Return patches kept from training, at most so many, each with a synthetic defect; the same for the same run."""
    from winnow.synthetic.defects import damage

    pool = Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    # Of a frozen network all pictures set the threshold, each held out in turn.
    held = np.flatnonzero(split == "calibrate" if run.result(Trained).training else split != "test")
    chosen = held[spread(len(held), most)]
    clean = pool.pixels(chosen)
    damaged = damage(clean, np.random.default_rng([run.options.train.seed, 3]))
    return Examples(pool.column("id")[chosen], clean, *damaged)


def judge_synthetic(run: RunFolder, detectors: dict[str, Detector], folder: Path) -> dict[str, dict[str, float]]:
    """Return the AUROC of each mode on synthetic defects against the same patches undamaged, in all and by kind.

    The whole network's embeddings of the damaged patches are saved in the folder of the calibration, for the report.
    """
    found = examples(run)
    rows, device = np.arange(len(found.clean)), run.options.train.device
    result = {}
    for mode, detector in detectors.items():
        encoder = load_encoder(run, mode, detector.scorer.reads())
        good = detector.score_own(replace(encoder.encode(found.clean, rows, device), ids=found.ids))
        embeddings = encoder.encode(found.damaged, rows, device)
        bad = detector.score(embeddings)
        result[mode] = {"all": separation(good, bad)}
        result[mode] |= {kind: separation(good, bad[found.kinds == kind]) for kind in sorted(set(found.kinds))}
        if mode == "full":
            replace(embeddings, cells=None).save(of_decision(folder, "synthetic"))
    return result


def held_out_scores(detectors: dict[str, Detector]) -> dict[str, Any]:
    """Return the calibration scores of each mode for the patches that all have, in one order."""
    common = sorted(set.intersection(*(set(detector.ids.tolist()) for detector in detectors.values())))
    scores = {}
    for name, detector in detectors.items():
        place = {key: row for row, key in enumerate(detector.ids)}
        scores[name] = detector.calibration[[place[key] for key in common]]
    return scores
