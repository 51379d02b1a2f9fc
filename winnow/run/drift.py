"""Whether a run's threshold holds for the pictures of a call, in their order, and what changed where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from winnow.detect.changes import Change, Directions, changed_rows, changes, in_words, looks, usual_positions
from winnow.detect.drift import Drift, blocks
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.results import Drifted
from winnow.run.artifacts import load_embeddings, load_encoder
from winnow.run.folder import RunFolder
from winnow.run.judge import Judged

MOST = 200  # pictures before, and since, that are compared
SHOWN = 5  # of each in the figure


@dataclass(frozen=True)
class Drifting:
    """What was found: the logarithm of the capital after each block (n,), and pixels of pictures before and since (k, h, w, c)."""

    result: Drifted
    curve: list[float]
    changes: list[Change]
    before: np.ndarray
    since: np.ndarray


def drifting(run: RunFolder, judged: Judged, pool: Pool, alarm: float, seconds: float) -> Drifting:
    """Bet on the scores of pictures in the order of their sources, one a block of so many `seconds` of a video.

    Where the alarm is raised, the pictures since the capital was lowest before it are compared with held-out pictures of the run.
    """
    drift = Drift(judged.detector.calibration, judged.threshold.value, alarm=alarm)
    rows = blocks(judged.items["source"], judged.items["time"], seconds)
    curve = drift.extend(judged.scores[rows])
    if drift.at is None:
        return Drifting(Drifted(alarm, len(rows), max([0.0, *curve])), curve, [], np.empty(0), np.empty(0))
    first = drift.since - 1
    since = rows[first:][:MOST]
    first_rows = {name: row for row, name in reversed(list(enumerate(picture_of(pool.column("id")).tolist())))}
    now = np.array([first_rows[str(picture_of(judged.items["id"][[row]])[0])] for row in since])
    own = Pool.open(run.folder("ingest"))
    ids = picture_of((judged.detector.before or judged.detector).ids)
    held_out = np.flatnonzero(np.isin(picture_of(own.column("id")).astype(str), ids.astype(str)) & own.usable)
    held_out = held_out[:: max(1, len(held_out) // MOST)][:MOST]
    before = own.pixels(held_out)
    found = changes(looks(before), looks(pool.pixels(now)))
    if (directions := directions_of(run, judged.mode, own.column("id")[held_out])) is not None:
        encoder = load_encoder(run, judged.mode)
        vectors = encoder.encode(pool, now, run.options.train.device).vectors
        found += changed_rows(usual_positions(directions.count), len(held_out), directions.positions(vectors))
    found.sort(key=lambda change: -abs(change.errors))
    at = f"{Path(str(judged.items['source'][rows[drift.at - 1]])).name}"
    time = float(judged.items["time"][rows[drift.at - 1]])
    at += "" if np.isnan(time) else f" at {time:.0f} s"
    result = Drifted(alarm, len(rows), max(curve), drift.at, at, first + 1, in_words(found))
    return Drifting(result, curve, found, before[:SHOWN], pool.pixels(now[:SHOWN]))


def directions_of(run: RunFolder, mode: str, ids: np.ndarray) -> Directions | None:
    """Return the principal directions of the embeddings of some pictures of a run; None of a network without vectors."""
    known = load_embeddings(run, mode)
    place = {name: row for row, name in enumerate(known.ids.astype(str).tolist())}
    return Directions.of(known.vectors[[place[str(name)] for name in ids if str(name) in place]])
