"""Write what a run has learnt as one ONNX file, checked against the run, with a model card beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.deploy.card import card, is_card, is_exported
from winnow.deploy.export import SAMPLE, deviation
from winnow.deploy.export import export as write
from winnow.deploy.graph import Graph
from winnow.deploy.int8 import CALIBRATED, COMPARED, Wanted
from winnow.deploy.runtime import FORMAT
from winnow.deploy.triton import check_repository, write_repository
from winnow.detect.blank import above, highest_of
from winnow.detect.changes import looks, usual
from winnow.detect.detector import Detector
from winnow.detect.limits import limits_of
from winnow.detect.pictures import by_picture
from winnow.detect.regions import Regions
from winnow.embeddings import spread
from winnow.errors import OptionError, RunError
from winnow.files import make_folder, quoted, told, write_text
from winnow.pool.blank import usual_blank
from winnow.pool.pool import Pool
from winnow.pool.usual import Usual
from winnow.results import Calibrated, Classified, Exported, Mode, Promise
from winnow.run.artifacts import check_mode, load_classifier, load_detector, load_encoder, network_of
from winnow.run.deliver import delivered
from winnow.run.drift import directions_of
from winnow.run.folder import RunFolder
from winnow.run.manifest import check_place, check_replaced
from winnow.run.map_levels import map_levels
from winnow.run.publish import alone
from winnow.run.records import versions
from winnow.run.regions import load_regions
from winnow.run.working_copy import is_address, push, ready
from winnow.version import __version__

Only = Literal["", "classifier", "anomaly-model"]
MAX_CHANGED = 0.01
MOST_SCORES, MOST_LOOKED = 2000, 200  # calibration scores in a file, and pictures of which it says how they look


def export(
    run: RunFolder,
    to: str | Path | None = None,
    *,
    only: Only = "",
    int8: bool = False,
    max_changed: float = MAX_CHANGED,
    triton: Path | None = None,
) -> Exported:
    """Write the run's classifier, if it has one, and its detector, that of its mode, to the ONNX file `to`.

    By default `export/model.onnx` in the run folder; `only` one of the two. Beside it stands a model card, the same name
    with the ending .md. The file is written only when onnxruntime gives with it what the run gives on pictures of its pool
    (`winnow.deploy.export.check`). In `int8` the networks are rounded to 8 bits, and the file is written only if not more than the
    share `max_changed` of the held-out pictures get another verdict. `triton` is a model repository that gets the file too.
    Raises `RunError` when the run is not calibrated or has no classifier though `only` that is wanted, `OptionError` for a file that
    does not end in .onnx, `ModelError` for a scorer or network of one's own that cannot be written.
    """
    how = _How(max_changed if int8 else None, triton, run.path.resolve().name if to is None else "")
    with delivered(to or run.path / "export" / "model.onnx", "--to", beside=".md") as path:
        ready(path)
        made = _export(run, path, only, how)
    push(path)
    if is_address(to):
        folder = str(to).rpartition("/")[0]
        return replace(made, file=str(to), card=f"{folder}/{Path(made.card).name}")
    return made


@dataclass(frozen=True)
class _How:
    """How a file is written: in int8 where a share of verdicts may change (`max_changed`), and for `triton` under a `name`, by default
    that of the file."""

    max_changed: float | None
    triton: Path | None
    name: str


def _export(run: RunFolder, to: Path, only: Only, how: _How) -> Exported:
    """Write the file `to` and its card on this disk."""
    with told(to):
        is_file = to.suffix.lower() == ".onnx" and not to.is_dir()
    if not is_file:
        raise OptionError(f"--to {to} is not the name of an ONNX file.", "Give a name that ends in .onnx.")
    check_place(to, "--to", run.path, ("export",))
    with told(to):
        check_replaced(to, "--to", is_exported(to))
        check_replaced(to.with_suffix(".md"), "--to", is_card(to))
    if how.triton is not None:
        check_place(how.triton, "--triton", run.path, ("export",))
        check_repository(how.triton, how.name or to.stem)
    learnt = _wanted(run, only)
    make_folder(to.parent, "--to")
    with alone(to):
        return _write(run, to, learnt, how)


@dataclass(frozen=True)
class _Learnt:
    """What a file is to hold: the classifier, the detector of a mode and, where it judges parts too, those that it joins."""

    classifier: Classifier | None
    detector: Detector | None = None
    regions: Regions | None = None
    mode: str = "full"


def _write(run: RunFolder, to: Path, learnt: _Learnt, how: _How) -> Exported:
    """Write the file and its card."""
    options, classifier, detector, mode = run.options, learnt.classifier, learnt.detector, learnt.mode
    encoder = load_encoder(run, mode, detector.scorer.reads() if detector else (), in_torch=True)
    network = network_of(run, classifier) if classifier else None
    pool = Pool.open(run.folder("ingest"))
    graph = Graph(
        encoder.model if detector or network is None else network,
        auxiliary=encoder.auxiliary,
        decode=encoder.decode and detector is not None,
        detector=detector,
        regions=learnt.regions,
        classifier=classifier,
        classifier_network=network if detector else None,
        directions=directions_of(run, mode, pool.column("id")[_looked_at(pool, detector)]) if detector else None,
        map_levels=map_levels(run, mode) if detector else None,
    )
    directions = graph.known_directions.count if graph.known_directions else 0
    regions = learnt.regions is not None
    about = about_file(run, classifier, detector, levels=graph.map_levels, directions=directions, regions=regions)
    usable = np.flatnonzero(pool.usable)
    pixels = pool.pixels(usable[spread(len(usable), SAMPLE)])
    int8 = None if how.max_changed is None else _int8(pool, usable, graph, about, how.max_changed)
    about |= {"precision": "int8"} if int8 else {}
    any_size = not options.ingest.patches
    written = write(graph, to, pixels=pixels, metadata=metadata_of(about), any_size=any_size, int8=int8)
    result = Exported(
        file=to,
        card=to.with_suffix(".md"),
        outputs=list(graph.outputs),
        mode=mode if detector else None,
        parity=written.parity.difference,
        stepped=written.parity.stepped,
        bytes=written.bytes,
        seconds=written.seconds,
        opset=written.opset,
        int8=written.int8,
    )
    write_text(Path(result.card), _card(run, about, result, learnt))
    if how.triton is None:
        return result
    there = write_repository(how.triton, how.name or to.stem, to.read_bytes(), about, graph.outputs)
    return replace(result, triton=there)


def _card(run: RunFolder, about: dict[str, Any], result: Exported, learnt: _Learnt) -> str:
    """Return the model card of a written file."""
    measured = run.result(Classified) if learnt.classifier else None
    promised = _promised(run, learnt.mode, learnt.detector) if learnt.detector else None
    return card(about, result, recipe=run.recipe, versions=versions(), measured=measured, promised=promised)


def _promised(run: RunFolder, mode: str, detector: Detector) -> Mode:
    """Return what a mode promises, by the threshold that decides now."""
    calibrated = run.result(Calibrated)
    found = calibrated.modes[mode]
    if run.options.score.regions and calibrated.regions is not None:
        return replace(found, promise=calibrated.regions)
    if detector.before is None:
        return found
    whole = _promise(by_picture(detector)) if found.whole else None
    return replace(found, promise=_promise(detector), whole=whole)


def _promise(detector: Detector) -> Promise:
    own = detector.threshold
    return Promise(own.value, own.achieved, own.n, own.note, own.above, estimated=own.estimated)


def _int8(pool: Pool, usable: np.ndarray, graph: Graph, about: dict[str, Any], max_changed: float) -> Wanted:
    """Return what a file in int8 is made and measured by: the verdicts are those on pictures that the threshold was set on."""
    detector = graph.detector
    held_out = usable if detector is None else pool.rows_of((detector.before or detector).ids)
    low, high = graph.map_levels or (0.0, 1.0)
    return Wanted(
        pool.pixels(usable[spread(len(usable), CALIBRATED)]),
        pool.pixels(held_out[spread(len(held_out), COMPARED)]),
        tuple(about[name] for name in ("threshold", "picture_threshold") if about[name] is not None),
        {"anomaly_map": high - low or 1.0}
        | (dict.fromkeys(("score", "regions"), deviation(detector.calibration)) if detector else {}),
        max_changed,
    )


def _wanted(run: RunFolder, only: Only) -> _Learnt:
    """Return what to write."""
    run.require("calibrate")
    if only not in ("", "classifier", "anomaly-model"):
        raise OptionError(
            f"--only {only} is neither 'classifier' nor 'anomaly-model'.",
            "Leave it out to export all that the run has.",
        )
    has_classifier = run.record("classify") is not None
    if only == "classifier" and not has_classifier:
        raise RunError(
            f"{run.path} has no classifier.", f"Label some pictures and run: winnow classify --run {quoted(run.path)}"
        )
    classifier = load_classifier(run) if has_classifier and only != "anomaly-model" else None
    if only == "classifier":
        return _Learnt(classifier)
    mode = run.options.score.mode
    check_mode(run, mode)
    regions = load_regions(run)
    return _Learnt(classifier, regions.joint if regions else load_detector(run, mode), regions, mode)


def about_file(
    run: RunFolder,
    classifier: Classifier | None,
    detector: Detector | None,
    *,
    levels: tuple[float, float] | None = None,
    directions: int = 0,
    regions: bool = False,
) -> dict[str, Any]:
    """Return what the file says of itself: all that a program needs beside it; `levels` are those of its anomaly maps, `directions`
    how many it knows, `regions` whether it judges parts."""
    ingest = run.options.ingest
    threshold = detector.threshold if detector else None
    pictures = by_picture(detector) if detector and ingest.cuts else None
    limits = limits_of(pictures, pictures.parts) if pictures else None
    usual = Usual.of(Pool.open(run.folder("ingest"))) if ingest.cuts else None
    return {
        "format": FORMAT,
        "version": __version__,
        "classes": classifier.classes.tolist() if classifier else None,
        "threshold": _up(threshold.value) if threshold else None,
        "false_alarm_rate": threshold.achieved if threshold else None,
        "level": threshold.level if threshold else None,
        "segments": run.options.segments.model_dump(mode="json"),
        "picture_threshold": _up(limits.values[0]) if limits else None,
        "picture_limits": limits and asdict(replace(limits, values=tuple(map(_up, limits.values)))),
        "blank": _blank(run, detector) if detector and ingest.patches else None,
        "usual": asdict(usual) if usual else None,
        "calibration": _calibration(run, detector, directions) if detector else None,
        "regions": regions,
        "map_usual": levels[0] if levels else None,
        "map_level": levels[1] if levels else None,
        "size": list(ingest.size),
        "channels": 1 if ingest.grey else 3,
        "ingest": ingest.model_dump(mode="json", exclude={"object_detector"}),
        "object_detector": run.about("ingest")["options"].get("object_detector"),
    }


def _blank(run: RunFolder, detector: Detector) -> dict[str, float] | None:
    """Return how much of the good pictures is blank at most, and what is said of a patch that is blank beyond that; None where it
    was not counted."""
    usual = usual_blank(Pool.open(run.folder("ingest")))
    if usual is None:
        return None
    highest = highest_of(detector)
    least = float(detector.p_values(above(np.array([highest])))[0])
    return {"usual": usual, "score": _up(highest), "p_value": least}


def _calibration(run: RunFolder, detector: Detector, directions: int) -> dict[str, Any]:
    """Return what says of what comes whether the threshold still holds."""
    pool, scores = Pool.open(run.folder("ingest")), detector.calibration
    if run.options.ingest.cuts:
        scores = by_picture(detector).calibration
    if len(scores) > MOST_SCORES:  # drawn at random, or they would not be like those that come
        scores = np.random.default_rng(0).choice(scores, MOST_SCORES, replace=False)
    pixels = pool.pixels(_looked_at(pool, detector))
    exact = [float(f"{score:.7g}") for score in scores]
    return {"scores": exact, "looks": usual(looks(pixels)), "looked": len(pixels), "directions": directions}


def _looked_at(pool: Pool, detector: Detector) -> np.ndarray:
    """Return the rows of held-out pictures that what comes is compared with."""
    rows = pool.rows_of((detector.before or detector).ids)
    return rows[spread(len(rows), MOST_LOOKED)]


def metadata_of(about: dict[str, Any]) -> dict[str, str]:
    """Return the same as texts under the keys of ONNX metadata; `classes` and `threshold` once more for programs that know no Winnow."""
    plain = {"classes": about["classes"], "threshold": about["threshold"]}
    return {"winnow": json.dumps(about)} | {key: json.dumps(value) for key, value in plain.items() if value is not None}


def _up(value: float) -> float:
    """Return the least float32 that is not below `value`: scores come as float32, and a picture at the threshold belongs."""
    near = np.float32(value)
    return float(near) if float(near) >= value else float(np.nextafter(near, np.float32(np.inf)))
