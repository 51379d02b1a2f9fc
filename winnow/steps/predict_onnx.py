"""The same as `winnow predict`, by a file of `winnow export` in place of a run: no torch is needed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.deploy.judge import BATCH, Judged, damage, judged, notes_of
from winnow.deploy.runtime import WITHOUT_MAPS, Deployed
from winnow.errors import OptionError
from winnow.inspect.wholes import Wholes
from winnow.options import IngestOptions
from winnow.pool.blank import blanker_ones
from winnow.pool.ingest import ingest
from winnow.pool.originals import Originals
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.results import Predicted
from winnow.results.words import plural
from winnow.run.judge import pages_of
from winnow.run.located import write_located
from winnow.run.predictions import By, check_by, write_predictions
from winnow.run.publish import HEATMAPS, PREDICTIONS, Results, list_refused, publish


def predict_onnx(
    file: str | Path,
    sources: Sequence[str | Path],
    *,
    to: str | Path,
    heatmaps: str | Path | None = None,
    object_detector: str = "",
    by: By = "picture",
    max_refused: float | None = None,
) -> Predicted:
    """Read sources as the run of an exported file read its own, and write predictions.csv and predictions.json into `to`.

    The columns are those of `winnow.steps.predict`: classes only when the file has a classifier, p-value and verdict only
    when it has an anomaly model. Where pictures were cut into patches and the file has no classes, a row is a whole picture,
    judged by its most anomalous patch; of a file that looks for damage defects.csv has a row a defect, and the folder
    `heatmaps` gets the pictures that `winnow.steps.score` draws. `object_detector` finds the persons of a file that wants them.
    With `by` "track" the class of a crop is that of its track; `max_refused` takes the place of that of the run. Raises what
    `Deployed.open` and `winnow.pool.ingest.ingest` raise.
    """
    model = Deployed.open(file)
    if object_detector and not model.ingest.people:
        raise OptionError(
            f"{file} looks at whole pictures; --object-detector would find nothing in them.",
            "Leave --object-detector out.",
        )
    if heatmaps is not None:
        _check_maps(model)
    check_by(by, model.ingest, sources, model.classes is not None)
    given: dict[str, Any] = {"object_detector": object_detector}
    options = model.ingest.model_copy(update=given if max_refused is None else {**given, "max_refused": max_refused})
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(Results(to, PREDICTIONS, None))
        drawn = [] if heatmaps is None else [stack.enter_context(Results(heatmaps, HEATMAPS, None))]
        found = _write(model, options, sources, results, drawn[0].aside if drawn else None, by)
        shutil.rmtree(results.aside / "pool")  # nobody asked for the pixels
        publish(results, *drawn)
    return found


def _check_maps(model: Deployed) -> None:
    """Raise an error unless a file can say where a picture is damaged."""
    if not model.ingest.cuts or model.picture_threshold is None:
        raise OptionError(
            f"--heatmaps needs a file of a run that looks for damage, in tiles or patches, which {model.path} is not.",
            "Leave --heatmaps out, or export such a run, with its anomaly model: winnow export --run RUN --to FILE.onnx",
        )
    if model.format == WITHOUT_MAPS:
        raise OptionError(
            f"--heatmaps needs anomaly maps, which {model.path}, written by Winnow {model.version}, does not have.",
            "Export the run again with this version: winnow export --run RUN --to FILE.onnx",
        )


def _write(
    model: Deployed,
    options: IngestOptions,
    sources: Sequence[str | Path],
    results: Results,
    heatmaps: Path | None,
    by: By,
) -> Predicted:
    """Ingest sources and write what the model says of them, and pictures of it into `heatmaps`."""
    where = results.aside / "pool"
    detector = model.object_detector or ""
    usual = model.blank.usual if model.blank else None
    read = ingest(sources, where, options, keep_others=False, detector=detector, usual=usual)
    list_refused(results.aside, {"": where})
    pool = Pool.open(where)
    found = judged(model, pool, _found(model, pool))
    wholes = Wholes(Originals(pool, options).whole, pool.channels) if options.tiles and heatmaps is not None else None
    defects = _located(model, pool, found, wholes, results.aside, heatmaps)
    items, outputs, threshold = found.rows(model)
    further = [blanker_ones(pool), wholes.note if wholes else ""]
    return write_predictions(
        results,
        items,
        refused=read.refused,
        notes=[*read.notes, *notes_of(model, pool, found), *filter(None, further)],
        classes=model.classes or (),
        probabilities=outputs.get("probabilities"),
        p_values=outputs.get("p_value"),
        belongs=None if threshold is None else outputs["score"] <= threshold,
        scores=outputs.get("score"),
        regions=found.regions(model),
        defects=defects,
        by=by,
    )


def _located(
    model: Deployed, pool: Pool, found: Judged, wholes: Wholes | None, folder: Path, heatmaps: Path | None
) -> int | None:
    """Write the defects of a pool of patches into `folder`, and pictures of them; return how many, None of a file that knows none."""
    places = damage(model, pool, found, all_of_them=heatmaps is not None, wholes=wholes)
    if places is None:
        return None
    return sum(write_located(places[1], places[0], folder, heatmaps, pages=bool(pages_of(found.items))).values())


def _found(model: Deployed, pool: Pool) -> dict[str, np.ndarray]:
    """Return the outputs for all of a pool, batch after batch."""
    parts: list[dict[str, np.ndarray]] = []
    unit = model.ingest.unit(len(pool), len(pool.pictures))
    with progress("predict", len(pool), plural(unit)) as advance:
        for start in range(0, len(pool), BATCH):
            rows = np.arange(start, min(start + BATCH, len(pool)))
            parts.append(model(pool.pixels(rows)))
            advance(len(rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
