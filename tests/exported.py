"""Files as `winnow export` writes them, small enough to be written down: the mean colour decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from winnow.deploy.runtime import with_sum
from winnow.options import IngestOptions

ODD = ('größe, "绿" | \u0636\u064a\u0641 ' + "x" * 100)[:100]
"""The name of a class: a comma, quotes, a bar, two more scripts, 100 characters."""
COLOURS = ["red", ODD, "blue"]
SHARP, MIDDLE = 20.0, 0.5


def expected(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Return what such a file computes for pictures (n, h, w, c): classes by their mean colour, and the bright are anomalous."""
    mean = pictures.mean(axis=(1, 2), dtype=np.float64) / 255
    raised = np.exp(SHARP * (mean - mean.max(axis=1, keepdims=True)))
    score = mean.mean(axis=1)
    return {
        "probabilities": raised / raised.sum(axis=1, keepdims=True),
        "score": score,
        "p_value": 1 - score,
        "directions": (mean - MIDDLE) * SHARP,
        "anomaly_map": pictures.mean(axis=3) / 255,
    }


def metadata(
    classes: list[str] | None, threshold: float | None, ingest: IngestOptions, **changed: Any
) -> dict[str, Any]:
    """Return the file's description of itself."""
    return {
        "format": 3, "version": "0.1.0", "classes": classes, "threshold": threshold,
        "false_alarm_rate": None if threshold is None else 0.01, "size": list(ingest.size), "channels": 1 if ingest.grey else 3,
        "ingest": ingest.model_dump(mode="json", exclude={"object_detector"}), "picture_threshold": None, **changed,
    }  # fmt: skip


def write_exported(
    path: Path,
    *,
    classes: list[str] | None = COLOURS,
    threshold: float | None = 0.6,
    ingest: IngestOptions | None = None,
    levels: tuple[float, float] | None = None,
    outputs: tuple[str, ...] = (),
    said: Any = None,
    **changed: Any,
) -> Path:
    """Write a file with a classifier (`classes`), a detector (`threshold`) or both, and anomaly maps (`levels`); `outputs`,
    `said` (its metadata) and single values of the metadata can be made to disagree with it."""
    ingest = ingest or IngestOptions(size=(24, 32), workers=1)
    channels = 1 if ingest.grey else 3
    side: list[Any] = list(ingest.size) if ingest.patches else ["height", "width"]
    have = outputs or (
        *(["probabilities"] if classes else []),
        *(["score", "p_value"] if threshold is not None else []),
        *(["directions"] if (changed.get("calibration") or {}).get("directions") else []),
        *(["anomaly_map"] if levels else []),
    )
    changed = {**changed, **(dict(zip(("map_usual", "map_level"), levels, strict=True)) if levels else {})}
    shapes = {
        "probabilities": ["n", channels],
        "score": ["n"],
        "p_value": ["n"],
        "directions": ["n", channels],
        "anomaly_map": ["n", *side],
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT),
        node("ReduceMean", ["floats"], ["levels"], axes=[1, 2], keepdims=0),
        node("Div", ["levels", "white"], ["mean"]),
        node("Mul", ["mean", "sharp"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ReduceMean", ["mean"], ["score"], axes=[1], keepdims=0),
        node("Sub", ["one", "score"], ["p_value"]),
        node("Sub", ["mean", "middle"], ["off"]),
        node("Mul", ["off", "sharp"], ["directions"]),
        node("ReduceMean", ["floats"], ["grey"], axes=[3], keepdims=0),
        node("Div", ["grey", "white"], ["anomaly_map"]),
    ]
    constants = {"white": 255, "sharp": SHARP, "one": 1, "middle": MIDDLE}
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", *side, channels])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in have],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    said = metadata(classes, threshold, ingest, **changed) if said is None else said
    texts = {"winnow": said if isinstance(said, str) else json.dumps(said), "classes": json.dumps(classes)}
    helper.set_model_props(model, texts if said else {})
    onnx.checker.check_model(model)
    path.write_bytes(with_sum(model.SerializeToString()))
    return path


def same_maps(own: Path, told: Path, has_map: bool = True) -> None:
    """Check that two folders hold the same pictures, but for a level of a map, or a pixel at the level of a mask."""
    files = sorted(path.name for path in own.glob("*.png"))
    assert files == sorted(path.name for path in told.glob("*.png")) and len(files) % (2 + has_map) == 0
    for name in files:
        first, second = (np.asarray(Image.open(folder / name)).astype(int) for folder in (own, told))
        assert first.shape == second.shape and np.abs(first - second).max() <= (1 if "mask" in name else 3), name
        assert "mask" not in name or (first != second).mean() < 0.001
