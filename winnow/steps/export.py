"""Write what a run has learnt as one ONNX file, checked against the run, with a model card beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from winnow import __version__
from winnow.classify.classifier import Classifier
from winnow.data.pool import Pool
from winnow.deploy.card import card
from winnow.deploy.export import SAMPLE
from winnow.deploy.export import export as write
from winnow.deploy.graph import Graph
from winnow.deploy.runtime import FORMAT
from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.errors import OptionError, RunError
from winnow.files import read_json, write_text
from winnow.run import RunFolder
from winnow.steps.parts import check_decision, load_detector, load_way
from winnow.steps.predict import load_classifier, network_of

Only = Literal["", "classifier", "detector"]


def export(run: RunFolder, to: Path | None = None, *, only: Only = "") -> dict[str, Any]:
    """Writes the run's classifier, if it has one, and its detector, that of its decision, to the ONNX file `to`.

    By default `export/model.onnx` in the run folder; `only` one of the two. Beside it stands a model card, the same name
    with the ending .md. The file is written only when onnxruntime gives with it what the run gives on pictures of its pool
    (`winnow.deploy.export.check`). Returns what `winnow.deploy.export.export` does, the file, the card and the outputs.
    Raises `RunError` when the run is not calibrated or has no classifier though `only` that is wanted, `OptionError` for a
    file that does not end in .onnx, `ModelError` for a scorer or network of one's own that cannot be written.
    """
    to = to or run.path / "export" / "model.onnx"
    if to.suffix.lower() != ".onnx" or to.is_dir():
        raise OptionError(f"--to {to} is not the name of an ONNX file.", "Give a name that ends in .onnx.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"--to {to} lies in no folder that can be made ({(error.strerror or str(error)).lower()}).", "Give another name."
        ) from error
    classifier, detector, decision = _wanted(run, only)
    options = run.options
    way = load_way(run, decision, detector.scorer.reads() if detector else ())
    network = network_of(run, classifier) if classifier else None
    graph = Graph(
        way.model if detector or network is None else network,
        beside=way.beside,
        decode=way.decode and detector is not None,
        detector=detector,
        classifier=classifier,
        classifier_network=network if detector else None,
    )
    about = about_file(run, graph.outputs, classifier, detector)
    pool = Pool.open(run.folder("ingest"))
    usable = np.flatnonzero(pool.usable)
    rows = usable[np.linspace(0, len(usable) - 1, min(SAMPLE, len(usable))).astype(int)]
    result = write(graph, to, pixels=pool.pixels(rows), metadata=metadata_of(about), any_size=not options.ingest.patches)
    result |= {"file": to, "card": to.with_suffix(".md"), "outputs": list(graph.outputs), "decision": decision if detector else None}
    measured = read_json(run.folder("classify") / "classifier.json")["measured"] if classifier else None
    promised = run.result("calibrate")["decisions"][decision] if detector else None
    text = card(about, result, recipe=run.content["recipe"], versions=run.content["versions"], measured=measured, promised=promised)
    write_text(result["card"], text)
    return result


def _wanted(run: RunFolder, only: Only) -> tuple[Classifier | None, Detector | None, str]:
    """The classifier and the detector to write, and the decision whose network it is."""
    run.require("calibrate")
    if only not in ("", "classifier", "detector"):
        raise OptionError(f"--only {only} is neither 'classifier' nor 'detector'.", "Leave it out to export all that the run has.")
    learnt = "classify" in run.content["steps"]
    if only == "classifier" and not learnt:
        raise RunError(f"{run.path} has no classifier.", f"Label some pictures and run: winnow classify --run {run.path}")
    classifier = load_classifier(run) if learnt and only != "detector" else None
    if only == "classifier":
        return classifier, None, "reconstruction"
    decision = run.options.score.decision
    check_decision(run, decision)
    return classifier, load_detector(run, decision), decision


def about_file(
    run: RunFolder, outputs: tuple[str, ...], classifier: Classifier | None, detector: Detector | None
) -> dict[str, Any]:
    """What the file says of itself: all that a program needs beside it."""
    ingest = run.options.ingest
    threshold = detector.threshold if detector else None
    whole = by_picture(detector).threshold if detector and ingest.patches else None
    return {
        "format": FORMAT,
        "version": __version__,
        "classes": classifier.classes.tolist() if classifier else None,
        "threshold": _up(threshold.value) if threshold else None,
        "false_alarms": threshold.achieved if threshold else None,
        "picture_threshold": _up(whole.value) if whole else None,
        "size": list(ingest.size),
        "channels": 1 if ingest.grey else 3,
        "ingest": ingest.model_dump(mode="json", exclude={"detector"}),
    }


def metadata_of(about: dict[str, Any]) -> dict[str, str]:
    """The same as texts under the keys of ONNX metadata; `classes` and `threshold` once more for programs that know no Winnow."""
    plain = {"classes": about["classes"], "threshold": about["threshold"]}
    return {"winnow": json.dumps(about)} | {key: json.dumps(value) for key, value in plain.items() if value is not None}


def _up(value: float) -> float:
    """The least float32 that is not below `value`: scores come as float32, and a picture at the threshold belongs."""
    near = np.float32(value)
    return float(near) if float(near) >= value else float(np.nextafter(near, np.float32(np.inf)))
