"""The same as `winnow predict`, by a file of `winnow export` in place of a run: no torch is needed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from winnow.deploy.runtime import WITHOUT_MAPS, Deployed
from winnow.detect.blank import counted, raised
from winnow.detect.pictures import keys_of, most_anomalous
from winnow.errors import OptionError
from winnow.inspect.locate import AnomalyMaps
from winnow.inspect.locate import located as locate
from winnow.inspect.wholes import Wholes
from winnow.pool.blank import bare_rows, blanker_ones
from winnow.pool.ingest import ingest
from winnow.pool.originals import Originals
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.results import Predicted
from winnow.results.words import plural
from winnow.run.judge import pages_of
from winnow.run.located import write_located
from winnow.run.predictions import By, check_by, write_predictions
from winnow.run.publish import HEATMAPS, PREDICTIONS, Results, list_refused, publish

BATCH = 16  # more brings no speed on a processor and takes memory
ITEMS = ("id", "source", "time", "page", "track")


def predict_onnx(
    file: str | Path,
    sources: Sequence[str | Path],
    *,
    to: str | Path,
    heatmaps: str | Path | None = None,
    object_detector: str = "",
    by: By = "picture",
) -> Predicted:
    """Read sources as the run of an exported file read its own, and write predictions.csv and predictions.json into `to`.

    The columns are those of `winnow.steps.predict`: classes only when the file has a classifier, p-value and verdict only
    when it has an anomaly model. Where pictures were cut into patches and the file has no classes, a row is a whole picture,
    judged by its most anomalous patch; of a file that looks for damage defects.csv has a row a defect, and the folder
    `heatmaps` gets the pictures that `winnow.steps.score` draws. `object_detector` finds the persons of a file that wants them.
    With `by` "track" the class of a crop is that of its track. Raises what `Deployed.open` and `winnow.pool.ingest.ingest` raise.
    """
    model = Deployed.open(file)
    if object_detector and not model.ingest.people:
        raise OptionError(
            f"{file} looks at whole pictures; --object-detector would find nothing in them.",
            "Leave --object-detector out.",
        )
    if heatmaps is not None:
        _check_maps(model)
    check_by(by, model.ingest, model.classes is not None)
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(Results(to, PREDICTIONS, None))
        drawn = [] if heatmaps is None else [stack.enter_context(Results(heatmaps, HEATMAPS, None))]
        found = _write(model, sources, results, drawn[0].aside if drawn else None, object_detector, by)
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
    sources: Sequence[str | Path],
    results: Results,
    heatmaps: Path | None,
    object_detector: str,
    by: By,
) -> Predicted:
    """Ingest sources and write what the model says of them, and pictures of it into `heatmaps`."""
    options = model.ingest.model_copy(update={"object_detector": object_detector})
    where = results.aside / "pool"
    detector = model.object_detector or ""
    usual = model.blank.usual if model.blank else None
    read = ingest(sources, where, options, keep_others=False, detector=detector, usual=usual)
    list_refused(results.aside, {"": where})
    pool = Pool.open(where)
    bare, items = bare_rows(pool), {name: pool.column(name) for name in ITEMS}
    found = _with_bare(model, items, _found(model, pool), bare)
    parts = _parts(items, found, bare)
    limits = None if parts is None else model.limits(parts)
    wholes = Wholes(Originals(pool, options), pool.channels) if options.tiles and heatmaps is not None else None
    defects = _located(model, pool, items, found, limits, wholes, results.aside, heatmaps)
    threshold: float | np.ndarray | None = model.threshold
    if limits is not None and model.classes is None:
        items, found = _whole(items, found)
        threshold = limits
    return write_predictions(
        results,
        items,
        refused=read.refused,
        notes=[*read.notes, *_notes(model, pool, parts, wholes)],
        classes=model.classes or (),
        probabilities=found.get("probabilities"),
        p_values=found.get("p_value"),
        belongs=None if threshold is None else found["score"] <= threshold,
        defects=defects,
        by=by,
    )


def _with_bare(
    model: Deployed, items: dict[str, np.ndarray], found: dict[str, np.ndarray], bare: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the outputs with the bare patches (n,) as damage, whatever the model says of them."""
    if model.blank is None or not bare.any():
        return found
    member = most_anomalous(keys_of(items), found["score"])[2]
    scores = raised(found["score"], bare, member, model.blank.score, partial(_thresholds, model))
    p_values = np.where(bare, np.minimum(found["p_value"], model.blank.p_value), found["p_value"])
    return {**found, "score": scores, "p_value": p_values}


def _thresholds(model: Deployed, parts: np.ndarray) -> np.ndarray:
    """Return the thresholds of pictures with so many patches, -inf of a file that judges none."""
    limits = model.limits(parts)
    return np.full(len(parts), -np.inf) if limits is None else limits


def _parts(items: dict[str, np.ndarray], found: dict[str, np.ndarray], bare: np.ndarray) -> np.ndarray | None:
    """Return the number of patches of each whole picture; None of a file that judges none."""
    if "score" not in found:
        return None
    _, _, member = most_anomalous(keys_of(items), found["score"])
    return counted(member, bare)


def _notes(model: Deployed, pool: Pool, parts: np.ndarray | None, wholes: Wholes | None) -> list[str]:
    """Return the sentences that `winnow score` says of pictures that are not like the run's own."""
    larger = ""
    if model.picture_limits is not None and parts is not None:
        larger = model.picture_limits.note(parts, promised=(model.false_alarm_rate or 0) < 1)
    unlike = model.usual.notes(pool) if model.usual else []
    return list(filter(None, [*unlike, larger, blanker_ones(pool), wholes.note if wholes else ""]))


def _located(
    model: Deployed,
    pool: Pool,
    items: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
    limits: np.ndarray | None,
    wholes: Wholes | None,
    folder: Path,
    heatmaps: Path | None,
) -> int | None:
    """Write the defects of a pool of patches into `folder`, and pictures of them; return how many, None of a file that knows none."""
    if limits is None or model.format == WITHOUT_MAPS:
        return None
    _, highest, _ = most_anomalous(keys_of(items), found["score"])
    wanted = np.flatnonzero(np.ones(len(highest), bool) if heatmaps is not None else highest > limits)
    maps = None
    if model.map_usual is not None and model.map_level is not None:
        maps = AnomalyMaps(partial(_maps, model), model.map_usual, model.map_level)
    located = locate(pool, found["score"], limits, wanted, maps, wholes)
    return sum(write_located(located, len(wanted), folder, heatmaps, pages=bool(pages_of(items))).values())


def _maps(model: Deployed, pixels: np.ndarray) -> np.ndarray:
    """Return the anomaly maps of patches, batch after batch."""
    return np.concatenate([model.anomaly_maps(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)])


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


def _whole(
    items: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return items and outputs of pictures, each those of its most anomalous patch."""
    _, highest, member = most_anomalous(keys_of(items), found["score"])
    worst = np.flatnonzero(found["score"] == highest[member])
    rows = worst[np.unique(member[worst], return_index=True)[1]]
    items = {name: column[rows] for name, column in items.items()}
    return {**items, "id": picture_of(items["id"])}, {name: values[rows] for name, values in found.items()}
