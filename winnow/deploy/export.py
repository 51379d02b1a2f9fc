"""Export of a `Graph` as one ONNX file, written only if onnxruntime computes with it what the run itself computes."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from winnow.deploy.graph import Graph, scaled_part
from winnow.deploy.int8 import Wanted, compared, quantised
from winnow.deploy.runtime import INPUT, REMEDY, with_sum
from winnow.detect.parts import PARTS
from winnow.detect.regions import Regions
from winnow.detect.scorer import Scorer
from winnow.detect.scorers.fisher import Fisher
from winnow.embeddings import Embeddings
from winnow.errors import MissingExtra, ModelError, in_one_line
from winnow.files import replacing
from winnow.learn.encode import anomaly_maps, encode
from winnow.onnx import MOST_BYTES, OPSET, TOLERANCE, import_onnxruntime, quiet, session_of
from winnow.results import Int8

NETWORKS = ("model", "auxiliary", "classifier_network")  # the parts of a `Graph` that int8 is for
LAYERS = ("Conv", "Gemm", "MatMul")
SAMPLE = 64  # pictures that the check looks at as they are, and a quarter of them in each other form


@dataclass(frozen=True)
class Parity:
    """How far onnxruntime is from the run at most, by output, relatively, and the share of values that `stepped`."""

    difference: dict[str, float]
    stepped: float


@dataclass(frozen=True)
class Written:
    """A written file: the result of `check`, its size in `bytes`, the `seconds` it took, the opset, and what int8 changes."""

    parity: Parity
    bytes: int
    seconds: float
    opset: int
    int8: Int8 | None = None


def export(
    graph: Graph,
    to: Path,
    *,
    pixels: np.ndarray,
    metadata: Mapping[str, str],
    any_size: bool = True,
    int8: Wanted | None = None,
) -> Written:
    """Write `graph` to the file `to`, which it replaces only after it has passed `check` on `pixels` (n, h, w, c) uint8.

    Without `any_size` the file takes pictures of the network's size only. The same graph is written as the same bytes. In
    `int8`, the file in float32 is checked first, then what int8 changes.
    Raises `MissingExtra` without onnx or onnxscript, `ModelError` when torch cannot write the network, when it exceeds the
    size of an ONNX file, and when the check fails.
    """
    started = time.perf_counter()
    _require()
    held = sum(value.nbytes for value in graph.state_dict().values())
    if held > MOST_BYTES:
        raise ModelError(
            f"{to} would hold {held / 1e9:.1f} GB; an ONNX file holds {MOST_BYTES / 1e9:.0f} at most.",
            "Choose a smaller network, a --scorer that keeps no embeddings ('mahalanobis') or a --head that keeps none ('logistic').",
        )
    plain, network = _written(graph, metadata, any_size)
    content, changes = with_sum(plain), None
    with replacing(to) as temporary:
        temporary.write_bytes(content)
        parity = check(temporary, graph, pixels, any_size=any_size)
        if int8 is not None:
            smaller = with_sum(quantised(plain, network, int8.pixels))
            changes = compared(content, smaller, int8)
            content = smaller
            temporary.write_bytes(content)
    return Written(parity, len(content), time.perf_counter() - started, OPSET, changes)


def _require() -> None:
    """Raise a `MissingExtra` when a library of the exporter is missing, before any work is done."""
    try:
        import_onnxruntime()
        for name in ("onnx", "onnxscript"):
            __import__(name)
    except (MissingExtra, ModuleNotFoundError) as error:
        raise MissingExtra("winnow export", "export") from error


def _written(graph: Graph, metadata: Mapping[str, str], any_size: bool) -> tuple[bytes, list[str]]:
    """Return the bytes of the ONNX file, without its sum, and the names of those nodes of its networks that int8 is for."""
    height, width = graph.model.size
    names = ("n", "height", "width") if any_size else ("n",)
    dynamic = {axis: torch.export.Dim(name) for axis, name in enumerate(names)}
    # Two pictures, not of the network's size: torch takes a dimension that agrees with another for constant.
    example = torch.zeros(2, height + 5 * any_size, width + 3 * any_size, graph.model.channels, dtype=torch.uint8)
    try:
        with quiet():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes=(dynamic,),
                input_names=[INPUT],
                output_names=list(graph.outputs),
                opset_version=OPSET,
            )
            assert program is not None
            proto = program.model_proto
    except Exception as error:  # the exporter and the libraries below it raise classes of their own
        raise ModelError(
            f"torch cannot write the network '{type(graph.model).__name__}' as ONNX ({in_one_line(error)}).",
            "A network of your own must avoid what torch.export does not support; Winnow's and the backbones can be written.",
        ) from error
    inside = proto.graph
    network = _layers(inside)
    for noted in (proto, inside, *inside.node, *inside.initializer, *inside.input, *inside.output, *inside.value_info):
        noted.ClearField("metadata_props")  # the exporter's notes, with paths of this machine
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return bytes(proto.SerializeToString(deterministic=True)), network


def _layers(graph: Any) -> list[str]:
    """Return the names of the nodes with weights that belong to a network, not to the resizing, the scorer or the classifier."""
    weights, found = {one.name for one in graph.initializer}, []
    for node in graph.node:
        scopes = {one.key: one.value for one in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "[]")
        part = (*ast.literal_eval(scopes), "", "")[1].partition(".")[0]
        if part in NETWORKS and node.op_type in LAYERS and node.input[1] in weights:
            found.append(node.name)
    return found


def check(path: Path, graph: Graph, pixels: np.ndarray, *, any_size: bool = True) -> Parity:
    """Return the largest difference of each output of an ONNX file from the run's own, by torch and numpy, and what stepped.

    On `pixels` (n, h, w, c) of the network's size, one, two and many at once, and on noise; with `any_size` also on
    larger and smaller pictures, scaled by `graph.resize`. Differences are relative: for scores to at least their standard
    deviation over the calibration, for positions along directions to at least theirs, for probabilities and p-values to at
    least 0.01, for anomaly maps to at least what lies between their levels. `ModelError` when one is above
    `TOLERANCE`, unless it is a step: Fisher's sum and p-values are made of ranks, which step at every calibration
    score. Counted are the values that stepped as they would in the run with scorers off by a `TOLERANCE`.
    """
    session, found = session_of(path, remedy=REMEDY, cpu=True), dict.fromkeys(graph.outputs, 0.0)
    steps = values = 0
    for pictures in _samples(pixels, any_size):
        given = dict(zip(graph.outputs, session.run(list(graph.outputs), {INPUT: pictures}), strict=True))
        with torch.inference_mode():
            resized = graph.resize(torch.from_numpy(pictures)).numpy()
        for name, (low, own, high, floor) in _own(graph, resized).items():
            got, least = given[name], np.maximum(np.abs(own), floor)
            difference = np.abs(got - own) / least
            slack = 1e-6 * least  # of the outputs' float32
            step = (difference > TOLERANCE) & (got >= low - slack) & (got <= high + slack)
            wrong = ~((difference <= TOLERANCE) | step)
            if wrong.any():
                raise ModelError(
                    f"The ONNX file computes another {name.replace('_', '-')} than the run: {got[wrong][0]:.6g} instead of "
                    f"{own[wrong][0]:.6g}; the relative difference is up to {difference[wrong].max():.1e} where {TOLERANCE:.0e} "
                    "is allowed. Nothing was written.",
                    "Use a network that computes the same every time and on every machine; if it is one of Winnow's, please report this.",
                )
            found[name] = max(found[name], float(difference[~step].max(initial=0.0)))
            steps, values = steps + int(step.sum()), values + step.size
    return Parity(found, steps / values)


def _samples(pixels: np.ndarray, any_size: bool) -> Iterator[np.ndarray]:
    """Yield batches of the pictures, of some of them at unusual sizes, and of noise."""
    few = pixels[: max(1, len(pixels) // 4)]
    height, width = pixels.shape[1:3]
    sizes = [(height, width)]
    if any_size:
        sizes += [(2 * height + 1, width + 7), (max(1, height // 2), max(1, 2 * width // 3)), (height, 3 * width)]
    yield from (part for part in (pixels[:1], pixels[1:3], pixels) if len(part))
    for down, right in sizes:
        yield np.random.default_rng(0).integers(0, 256, (2, down, right, pixels.shape[3]), np.uint8)
        if (down, right) != (height, width):
            rows, columns = np.arange(down) * height // down, np.arange(right) * width // right
            yield few[:, rows][:, :, columns]


Range = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""Lowest admissible values (n, ...), the run's own and the highest admissible, and the least scale of differences."""


def _own(graph: Graph, pixels: np.ndarray) -> dict[str, Range]:
    """Return the run's own outputs for pictures (n, h, w, c) of the network's size."""
    found: dict[str, Range] = {}
    embeddings = encode(graph.model, pixels, auxiliary=graph.companions, decode=graph.decode, device="cpu", quiet=True)
    if graph.classifier is not None:
        other = graph.classifier_network
        vectors = (
            embeddings.vectors
            if other is None
            else encode(other, pixels, decode=False, device="cpu", quiet=True).vectors
        )
        own = graph.classifier.predict_proba(vectors)
        found["probabilities"] = own, own, own, 0.01
    if graph.detector is not None:
        if graph.known_regions is None:
            low, own, high = _score_range(graph.detector.scorer, embeddings, graph.detector.calibration)
        else:
            parts = _log_p_ranges(graph, graph.known_regions, pixels, embeddings)
            low, own, high = parts.max(axis=2)
            found["regions"] = *parts[:, :, 1:], deviation(graph.detector.calibration)
        p_values = [graph.detector.p_values(scores) for scores in (high, own, low)]
        found["score"] = low, own, high, deviation(graph.detector.calibration)
        found["p_value"] = p_values[0], p_values[1], p_values[2], 0.01
    if graph.known_directions is not None:
        places = graph.known_directions.positions(embeddings.vectors)
        found["directions"] = places, places, places, 1.0
    if graph.map_levels is not None:
        usual, level = graph.map_levels
        drawn = _maps(graph, pixels, embeddings)
        found["anomaly_map"] = drawn, drawn, drawn, level - usual or 1.0
    return found


def _maps(graph: Graph, pixels: np.ndarray, embeddings: Embeddings) -> np.ndarray:
    """Return the run's own anomaly maps (n, rows, columns)."""
    draw = getattr(graph.detector.scorer, "anomaly_map", None) if graph.detector else None
    return np.asarray(anomaly_maps(graph.model, pixels) if draw is None else draw(embeddings))


def _log_p_ranges(graph: Graph, regions: Regions, pixels: np.ndarray, whole: Embeddings) -> np.ndarray:
    """Return the lowest admissible -log p of pictures and their parts, the run's own and the highest admissible (3, n, 1 + parts)."""
    given = torch.from_numpy(pixels)
    read = partial(encode, graph.model, auxiliary=graph.companions, decode=graph.decode, device="cpu", quiet=True)
    seen = [whole, *(read(scaled_part(given, name, graph.resize).numpy()) for name in PARTS)]
    ranges = [
        [tail.of_new(scores) for scores in _score_range(one.scorer, embeddings, one.calibration)]
        for one, tail, embeddings in zip(regions.detectors, regions.tails, seen, strict=True)
    ]
    return np.moveaxis(np.array(ranges), 0, 2)


def _score_range(
    scorer: Scorer, embeddings: Embeddings, calibration: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the run's scores (n,) between the lowest and highest that simple scorers off by a `TOLERANCE` would lead to."""
    own = scorer.score(embeddings)
    if isinstance(scorer, Fisher):
        parts = [
            [tail.of_new(scores) for scores in _score_range(part, embeddings, tail.calibration)]
            for part, tail in zip(scorer.fitted, scorer.tails, strict=True)
        ]
        low, _, high = np.sum(parts, axis=0)
        return low, own, high
    slack = TOLERANCE * np.maximum(np.abs(own), deviation(calibration))
    return own - slack, own, own + slack


def deviation(calibration: np.ndarray) -> float:
    """Return the standard deviation of calibration scores; a single one has none but its size."""
    return float(calibration.std() if len(calibration) > 1 else np.abs(calibration).max()) or 1.0
