"""The same as `winnow predict`, by a file of `winnow export` in place of a run: no torch is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from winnow.deploy.runtime import Deployed
from winnow.detect.pictures import keys_of, most_anomalous
from winnow.errors import OptionError
from winnow.pool.ingest import ingest
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.results import Predicted
from winnow.run.predictions import write_predictions
from winnow.run.publish import PREDICTIONS, Results, publish

BATCH = 16  # more brings no speed on a processor and takes memory
ITEMS = ("id", "source", "time", "page")


def predict_onnx(file: str | Path, sources: Sequence[str | Path], *, to: Path, object_detector: str = "") -> Predicted:
    """Read sources as the run of an exported file read its own, and write predictions.csv and predictions.json into `to`.

    The columns are those of `winnow.steps.predict`: classes only when the file has a classifier, p-value and verdict only
    when it has an anomaly model. Where pictures were cut into patches and the file has no classes, a row is a whole picture,
    judged by its most anomalous patch. `object_detector` finds the persons of a file that wants them.
    Raises what `Deployed.open` and `winnow.pool.ingest.ingest` raise.
    """
    model = Deployed.open(file)
    if object_detector and not model.ingest.people:
        raise OptionError(
            f"{file} looks at whole pictures; --object-detector would find nothing in them.",
            "Leave --object-detector out.",
        )
    with Results(to, PREDICTIONS, None) as results:
        found = _write(model, sources, results, object_detector)
        publish(results)
    return found


def _write(model: Deployed, sources: Sequence[str | Path], results: Results, object_detector: str) -> Predicted:
    """Ingest sources and write what the model says of them."""
    options = model.ingest.model_copy(update={"object_detector": object_detector})
    where = results.aside / "pool"
    earlier, detector = results.folder / "pool", model.object_detector or ""
    read = ingest(sources, where, options, keep_others=False, earlier=earlier, detector=detector)
    pool = Pool.open(where)
    items, found = {name: pool.column(name) for name in ITEMS}, _found(model, pool)
    threshold = model.threshold
    if model.picture_threshold is not None and model.classes is None:
        items, found = _whole(items, found)
        threshold = model.picture_threshold
    return write_predictions(
        results,
        items,
        refused=read.refused,
        notes=read.notes,
        classes=model.classes or (),
        probabilities=found.get("probabilities"),
        p_values=found.get("p_value"),
        belongs=None if threshold is None else found["score"] <= threshold,
    )


def _found(model: Deployed, pool: Pool) -> dict[str, np.ndarray]:
    """Return the outputs for all of a pool, batch after batch."""
    parts: list[dict[str, np.ndarray]] = []
    with progress("predict", len(pool), "patches" if model.ingest.cuts else "pictures") as advance:
        for start in range(0, len(pool), BATCH):
            rows = np.arange(start, min(start + BATCH, len(pool)))
            parts.append(model(pool.pixels(rows)))
            advance(len(rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _whole(
    items: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return items and outputs of pictures, each those of its most anomalous patch."""
    _, highest, member = most_anomalous(keys_of(items), found["score"])
    worst = np.flatnonzero(found["score"] == highest[member])
    rows = worst[np.unique(member[worst], return_index=True)[1]]
    items = {name: column[rows] for name, column in items.items()}
    return {**items, "id": picture_of(items["id"])}, {name: values[rows] for name, values in found.items()}
