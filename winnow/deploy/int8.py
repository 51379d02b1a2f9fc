"""Exported networks in 8-bit integers, by onnxruntime's static quantisation, and how far their verdicts are from those of float32."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.deploy.runtime import INPUT
from winnow.errors import MissingExtra, ModelError, in_one_line
from winnow.onnx import quiet, session_of
from winnow.results import Int8
from winnow.results.words import percent

CALIBRATED = 128  # pictures by which the ranges of activations are found
COMPARED = 512  # held-out pictures whose verdicts are compared, at most
BATCH = 16


@dataclass(frozen=True)
class Wanted:
    """What a file in int8 is made by: pictures (n, h, w, c) that show the ranges, `held_out` ones whose verdicts are compared, the
    `thresholds` of these, what is 1 in differences of an output (`scales`), and the share of verdicts that may change."""

    pixels: np.ndarray
    held_out: np.ndarray
    thresholds: tuple[float, ...]
    scales: Mapping[str, float]
    most_changed: float


def quantised(content: bytes, network: Sequence[str], pixels: np.ndarray) -> bytes:
    """Return an ONNX file, without its sum, with the nodes of the `network` in 8-bit integers; all else stays as it is.

    Weights are rounded by channel, to 7 bits, so that sums do not overflow on processors without VNNI; activations range from the least
    to the greatest that the pictures (n, h, w, c) uint8 lead to. `ModelError` when there is nothing to round, or it cannot be done.
    """
    if not network:
        raise ModelError("The network has no layer that onnxruntime computes in int8.", "Leave --int8 out.")
    try:
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    except ModuleNotFoundError as error:
        raise MissingExtra("winnow export --int8", "export") from error

    with tempfile.TemporaryDirectory(prefix="winnow-int8-") as folder, quiet():
        to = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                onnx.load_model_from_string(content),
                to,
                _Pictures(pixels),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=list(network),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            return bytes(onnx.load(to).SerializeToString(deterministic=True))
        except Exception as error:  # onnxruntime and onnx raise classes of their own
            raise ModelError(
                f"onnxruntime cannot write the network in int8 ({in_one_line(error)}).", "Leave --int8 out."
            ) from error


def compared(before: bytes, after: bytes, wanted: Wanted) -> Int8:
    """Return how far a file in int8 is from the one in float32 on held-out pictures.

    A verdict is whether a picture belongs, by each threshold, and its class. `ModelError` when more of them change than may.
    """
    own, other = _outputs(before, wanted.held_out), _outputs(after, wanted.held_out)
    if not all(np.isfinite(values).all() for values in other.values()):
        raise ModelError("In int8 the file computes what is not finite. Nothing was written.", "Leave --int8 out.")
    changed = np.zeros(len(wanted.held_out), bool)
    for threshold in wanted.thresholds:
        changed |= (own["score"] <= threshold) != (other["score"] <= threshold)
    if "probabilities" in own:
        changed |= own["probabilities"].argmax(axis=1) != other["probabilities"].argmax(axis=1)
    apart = {name: np.abs(other[name] - values) / wanted.scales.get(name, 1.0) for name, values in own.items()}
    found = Int8(
        pictures=len(changed),
        changed=int(changed.sum()),
        mean={name: float(values.mean()) for name, values in apart.items()},
        largest={name: float(values.max()) for name, values in apart.items()},
        bytes_before=len(before),
    )
    if found.changed > wanted.most_changed * found.pictures:
        raise ModelError(
            f"In int8 {found.changed:,} of {found.pictures:,} held-out pictures get another verdict "
            f"({percent(found.changed / found.pictures)}), more than --max-changed {wanted.most_changed:g}. Nothing was written.",
            "Export without --int8, or allow more with --max-changed.",
        )
    return found


class _Pictures:
    """The pictures one after the other, as onnxruntime's calibration reads them."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(
            pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, None at the end."""
        with contextlib.suppress(StopIteration):
            return {INPUT: next(self._batches)}
        return None


def _outputs(content: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    session = session_of(content, name="the exported file", cpu=True)
    names = [one.name for one in session.get_outputs()]
    parts = [session.run(names, {INPUT: pixels[start : start + BATCH]}) for start in range(0, len(pixels), BATCH)]
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
