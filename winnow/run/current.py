"""Whether what was learnt or judged before is of the run as it is now: its labels, its model, its threshold, its choice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.errors import DataError, InputError
from winnow.files import read_json, read_sealed, sha256
from winnow.label.formats import read
from winnow.pool.pool import Pool
from winnow.results import Classified, Ingested
from winnow.run.folder import RunFolder
from winnow.run.recalibration import in_force
from winnow.run.truth import truth_of
from winnow.stages import command_of


def key_of_judging(run: RunFolder, mode: str) -> str:
    """Return a hash of all that judging by a mode depends on: the model and detector of now, and the options they were made with."""
    below = "" if mode == "full" else mode
    files = [run.folder("calibrate") / below / "detector.json"]
    files += [run.folder("train") / (below if mode == "fast" else "") / "model.json"]
    later = in_force(run, mode)
    sums = [sha256(file) if file.exists() else None for file in files]
    regions = ["regions"] if run.options.score.regions else []
    return _hash([mode, run.key("calibrate"), sums, *([later.scores] if later else []), *regions])


def key_of_labels(run: RunFolder, pool: Pool, files: Sequence[str | Path] = ()) -> str:
    """Return a hash of the labels to learn from: what `files` hold, without any those that the run has now."""
    if not files:
        return _hash(sorted(truth_of(run, pool).labels.items()))
    records = [record for file in files for record in read(Path(file))]
    return _hash([[record.label, record.id, record.source, record.time, record.box] for record in records])


def labels_have_changed(run: RunFolder) -> bool:
    """Return whether the labels are others than those that the run's classifier learnt from.

    False where it learnt from files that are no longer there to compare with.
    """
    found = run.result(Classified)
    if not all(Path(file).exists() for file in found.label_files):
        return False
    try:
        return key_of_labels(run, Pool.open(run.folder("ingest")), found.label_files) != found.label_key
    except (DataError, InputError):  # there are none any more, or they contradict one another
        return True


def selection_is_current(run: RunFolder) -> bool:
    """Return whether the list of pictures to label was made with the options, embeddings and detector of now: that of the run's
    own mode, also in a call that judges by another."""
    if not run.fits("select"):
        return False
    made = read_json(run.path / "selection.json")
    return bool(
        made["vectors_sha256"] == run.sums("encode").get("vectors.npy")
        and made["detector_sha256"] == sum_of_detector(run, run.asked.options.score.mode)
    )


def sum_of_detector(run: RunFolder, mode: str) -> str:
    """Return the SHA-256 of what a mode's detector has learnt."""
    path = run.folder("calibrate") / ("" if mode == "full" else mode) / "detector.json"
    again = f"Run: {command_of('calibrate', run.path)}"
    return str(read_sealed(path, "detector", again, verified=False)["sha256"]["detector.npz"])


def key_of_search(run: RunFolder) -> str:
    """Return a hash of what a search for the weight of the latent loss is about: the pictures and the network."""
    return _hash([run.result(Ingested).fingerprint, run.options.model.identity()])


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
