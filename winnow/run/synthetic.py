"""Measure how well each mode finds damage it has never seen: synthetic defects on held-out patches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings, spread
from winnow.metrics.detection import separation
from winnow.pool.pool import Pool
from winnow.results import Trained
from winnow.run.artifacts import load_encoder, of_decision
from winnow.run.folder import RunFolder
from winnow.run.split import split_of

MOST = 1000  # patches damaged
COPIES = 100  # pictures damaged, where a frozen network sees them whole


class Examples(NamedTuple):
    """Held-out patches by id (n,), (n, h, w, c) uint8 as they are and damaged, masks of the damage (n, h, w) and its kind (n,)."""

    ids: np.ndarray
    clean: np.ndarray
    damaged: np.ndarray
    masks: np.ndarray
    kinds: np.ndarray


def examples(run: RunFolder) -> Examples:
    """Return patches kept from training, each with a synthetic defect; the same for the same run.

    Of a frozen network all pictures set the threshold, each held out in turn: a hundred of them, or several copies of fewer.
    """
    from winnow.synthetic.defects import visible_damage

    pool, held = _held(run)
    trained = run.result(Trained).training
    copies = 1 if trained else max(1, round(COPIES / max(1, len(held))))
    chosen = np.repeat(held[spread(len(held), MOST if trained else COPIES)], copies)
    clean = pool.pixels(chosen)
    damaged = visible_damage(clean, np.random.default_rng([run.options.train.seed, 3]))
    return Examples(pool.column("id")[chosen], clean, *damaged)


def sheet(run: RunFolder, each: int) -> Examples:
    """Return so many examples of each kind of defect, on patches kept from training, for a figure."""
    from winnow.synthetic.defects import KINDS, visible_damage

    pool, held = _held(run)
    chosen = np.resize(held[spread(len(held), each * len(KINDS))], (len(KINDS), each))
    rng = np.random.default_rng([run.options.train.seed, 4])
    clean = [pool.pixels(rows) for rows in chosen]
    drawn = [visible_damage(pixels, rng, [kind]) for pixels, kind in zip(clean, KINDS, strict=True)]
    return Examples(
        pool.column("id")[chosen.ravel()], np.concatenate(clean), *map(np.concatenate, zip(*drawn, strict=True))
    )


def _held(run: RunFolder) -> tuple[Pool, np.ndarray]:
    """Return the pool and its rows that set the threshold."""
    pool = Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    return pool, np.flatnonzero(split == "calibrate" if run.result(Trained).training else split != "test")


def encoded(run: RunFolder, mode: str, found: Examples, reads: Collection[str] = ()) -> Embeddings:
    """Return the embeddings of damaged patches by a mode, with the ids of those they are copies of."""
    encoder = load_encoder(run, mode, reads)
    return replace(
        encoder.encode(found.damaged, np.arange(len(found.damaged)), run.options.train.device), ids=found.ids
    )


def judge_synthetic(
    run: RunFolder, detectors: dict[str, Detector], folder: Path, found: Examples, known: dict[str, Embeddings]
) -> dict[str, dict[str, float]]:
    """Return the AUROC of each mode on synthetic defects against the held-out scores of the patches undamaged, in all and by kind.

    `known` are embeddings of the damaged patches by mode, where a mode has some already. Those of the whole network are saved in the
    folder of the calibration, for the report.
    """
    result = {}
    for mode, detector in detectors.items():
        embeddings = known.get(mode) or encoded(run, mode, found, detector.scorer.reads())
        good = detector.calibration[np.isin(detector.ids.astype(str), found.ids.astype(str))]
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
