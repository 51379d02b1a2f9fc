"""A `Graph` as one ONNX file, checked: the file is there only if onnxruntime gives with it what the run itself gives."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from winnow.deploy.graph import Graph
from winnow.deploy.runtime import INPUT, in_one_line, session_of
from winnow.detect.scorer import Scorer
from winnow.detect.scorers.fisher import Fisher
from winnow.embeddings import Embeddings
from winnow.errors import MissingExtra, ModelError
from winnow.files import replacing
from winnow.learn.encode import encode

OPSET = 18
MOST_BYTES = 2_000_000_000  # an ONNX file is one protocol buffer, of 2 GiB at most
TOLERANCE = 1e-3  # measured: 3e-5 and less (docs/benchmarks.md)
SAMPLE = 64  # pictures that the check looks at as they are, and a quarter of them in each other form


def export(
    graph: Graph, to: Path, *, pixels: np.ndarray, metadata: Mapping[str, str], any_size: bool = True
) -> dict[str, Any]:
    """Writes `graph` to the file `to`, in whose place it stands only when it has passed `check` on `pixels` (n, h, w, c) uint8.

    Without `any_size` the file takes pictures of the network's size only. The same graph gives the same bytes. Returns
    `parity` (what `check` found), `bytes`, `seconds` and `opset`. `MissingExtra` without onnx or onnxscript; `ModelError`
    when torch cannot write the network, when it would be larger than an ONNX file can be, and when the check fails.
    """
    started = time.perf_counter()
    _require()
    held = sum(value.nbytes for value in graph.state_dict().values())
    if held > MOST_BYTES:
        raise ModelError(
            f"{to} would hold {held / 1e9:.1f} GB; an ONNX file holds {MOST_BYTES / 1e9:.0f} at most.",
            "Choose a smaller network, a --scorer that keeps no embeddings ('mahalanobis') or a --head that keeps none ('logistic').",
        )
    content = _written(graph, metadata, any_size)
    with replacing(to) as temporary:
        temporary.write_bytes(content)
        parity = check(temporary, graph, pixels, any_size=any_size)
    return {"parity": parity, "bytes": len(content), "seconds": time.perf_counter() - started, "opset": OPSET}


def _require() -> None:
    """All that the exporter needs, before it does half of its work."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            raise MissingExtra("winnow export", "export") from error


def _written(graph: Graph, metadata: Mapping[str, str], any_size: bool) -> bytes:
    """The bytes of the ONNX file."""
    height, width = graph.model.size
    names = ("n", "height", "width") if any_size else ("n",)
    dynamic = {axis: torch.export.Dim(name) for axis, name in enumerate(names)}
    # Two pictures, of a size that is not the network's: what is the same in an example is taken for constant.
    example = torch.zeros(2, height + 5 * any_size, width + 3 * any_size, graph.model.channels, dtype=torch.uint8)
    try:
        with _quiet():
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
            "A network of your own must do without what torch.export cannot follow; Winnow's and the backbones can be written.",
        ) from error
    inside = proto.graph
    for part in (proto, inside, *inside.node, *inside.initializer, *inside.input, *inside.output, *inside.value_info):
        part.ClearField("metadata_props")  # notes of the exporter, with the paths of this machine
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return bytes(proto.SerializeToString(deterministic=True))


def check(path: Path, graph: Graph, pixels: np.ndarray, *, any_size: bool = True) -> dict[str, float]:
    """The largest difference of each output of an ONNX file from what the run itself gives by torch and numpy, and `steps`.

    On `pixels` (n, h, w, c) of the network's size, one, two and many at once, and on noise; with `any_size` also on
    larger and smaller pictures, scaled by `graph.resize`. Differences are relative, of scores to their spread over the
    calibration where that is more, of probabilities and p-values to 0.01 where that is more. `ModelError` when one is above
    `TOLERANCE`, unless it is a step: Fisher's sum and p-values are made of ranks, which step at every calibration
    score. `steps` is the share of values that stepped as they would have in the run, were its scorers off by a `TOLERANCE`.
    """
    session, found = session_of(path, cpu=True), dict.fromkeys(graph.outputs, 0.0)
    steps = values = 0
    for pictures in _samples(pixels, any_size):
        given = dict(zip(graph.outputs, session.run(list(graph.outputs), {INPUT: pictures}), strict=True))
        with torch.inference_mode():
            resized = graph.resize(torch.from_numpy(pictures)).numpy()
        for name, (low, own, high, floor) in _own(graph, resized).items():
            got, least = given[name], np.maximum(np.abs(own), floor)
            apart = np.abs(got - own) / least
            slack = 1e-6 * least  # of the outputs' float32
            step = (apart > TOLERANCE) & (got >= low - slack) & (got <= high + slack)
            wrong = ~((apart <= TOLERANCE) | step)
            if wrong.any():
                raise ModelError(
                    f"The ONNX file gives another {name.replace('_', '-')} than the run: {got[wrong][0]:.6g} in place of "
                    f"{own[wrong][0]:.6g}; the relative difference is up to {apart[wrong].max():.1e} where {TOLERANCE:.0e} is allowed. "
                    "Nothing was written.",
                    "Use a network that gives the same every time and on every machine; if it is one of Winnow's, please report this.",
                )
            found[name] = max(found[name], float(apart[~step].max(initial=0.0)))
            steps, values = steps + int(step.sum()), values + step.size
    return {**found, "steps": steps / values}


def _samples(pixels: np.ndarray, any_size: bool) -> Iterator[np.ndarray]:
    """Batches of the pictures, of some of them at odd sizes, and of noise."""
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
"""Of values (n,) or (n, classes): the least and largest that are right, between them the run's own; and what differences are
relative to at least."""


def _own(graph: Graph, pixels: np.ndarray) -> dict[str, Range]:
    """What the run itself says of pictures (n, h, w, c) of the network's size."""
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
        low, own, high = _score_range(graph.detector.scorer, embeddings, graph.detector.calibration)
        p_values = [graph.detector.p_values(scores) for scores in (high, own, low)]
        found["score"] = low, own, high, _spread(graph.detector.calibration)
        found["p_value"] = p_values[0], p_values[1], p_values[2], 0.01
    return found


def _score_range(
    scorer: Scorer, embeddings: Embeddings, calibration: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The run's scores (n,) between the least and largest there would be, were each scorer that others do not make up off by a
    `TOLERANCE`."""
    own = scorer.score(embeddings)
    if isinstance(scorer, Fisher):
        parts = [
            [tail.of_new(scores) for scores in _score_range(part, embeddings, tail.calibration)]
            for part, tail in zip(scorer.fitted, scorer.tails, strict=True)
        ]
        low, _, high = np.sum(parts, axis=0)
        return low, own, high
    slack = TOLERANCE * np.maximum(np.abs(own), _spread(calibration))
    return own - slack, own, own + slack


def _spread(calibration: np.ndarray) -> float:
    return float(calibration.std()) or 1.0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every stage, and libraries below it warn of what they will change one day."""
    before = logging.root.manager.disable
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
