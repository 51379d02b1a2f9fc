"""The Open Inference Protocol, version 2, over HTTP, with its extension for binary tensors.

https://github.com/kserve/open-inference-protocol and, for binary tensors, Triton's `protocol/extension_binary_data.md`: the JSON head of
a request or an answer, of which a header tells the length, is followed by the bytes of its tensors in order.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.deploy.runtime import DIRECTIONS, INPUT, MAP, REGIONS, Deployed
from winnow.detect.parts import PARTS
from winnow.errors import DataError, InputError

HEAD = b"inference-header-content-length"
REMEDY = "See GET /v2/models/NAME for what the model takes and returns."
JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """A request: its id, pictures (n, h, w, c) uint8, and the outputs with whether each is to come as binary."""

    id: str
    pixels: np.ndarray
    outputs: dict[str, bool]


def about(model: Deployed, name: str) -> dict[str, Any]:
    """Return the metadata of a model."""
    side = list(model.size) if model.ingest.patches else [-1, -1]
    known = model.about.calibration
    shapes = {
        "probabilities": [-1, len(model.classes or ())],
        "score": [-1],
        "p_value": [-1],
        REGIONS: [-1, len(PARTS)],
        DIRECTIONS: [-1, known.directions if known else 0],
        MAP: [-1, -1, -1],
    }
    return {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *side, model.channels]}],
        "outputs": [{"name": one, "datatype": "FP32", "shape": shapes[one]} for one in model.output_names],
    }


def asked(body: bytes, head: bytes | None, model: Deployed, most_pixels: float) -> Asked:
    """Return what a request asks for; `head` is its header with the length of its JSON. `InputError` where it makes no sense."""
    length = _length(head, len(body))
    given = _object(body[:length], "The request")
    inputs = given.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InputError(f"The request must have one input, '{INPUT}'.", REMEDY)
    pixels = _pixels(inputs[0], body[length:], most_pixels)
    try:
        model.check_pictures(pixels)
    except DataError as error:
        raise InputError(error.message, REMEDY) from None
    outputs = _outputs(given, model)
    name = given.get("id", "")
    if not isinstance(name, str):
        raise InputError("The request's id must be text.", REMEDY)
    return Asked(name, pixels, outputs)


def answer(asked: Asked, found: dict[str, np.ndarray], name: str) -> tuple[bytes, dict[str, str]]:
    """Return the body of an answer and its headers."""
    outputs, tail = [], []
    for output, binary in asked.outputs.items():
        values = np.ascontiguousarray(found[output], np.float32)
        about: dict[str, Any] = {"name": output, "datatype": "FP32", "shape": list(values.shape)}
        if binary:
            tail.append(values.astype("<f4").tobytes())
            about["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            about["data"] = [float(f"{value:.9g}") for value in values.ravel().tolist()]
        outputs.append(about)
    said: dict[str, Any] = {"model_name": name, "model_version": "1", "outputs": outputs}
    if asked.id:
        said["id"] = asked.id
    body = json.dumps(said).encode()
    if not tail:
        return body, {"content-type": JSON}
    return body + b"".join(tail), {"content-type": "application/octet-stream", HEAD.decode(): str(len(body))}


def _length(head: bytes | None, size: int) -> int:
    if head is None:
        return size
    if not head.isdigit() or len(head) > 12 or int(head) > size:
        raise InputError(f"Inference-Header-Content-Length must be a number up to the body's length of {size}.", REMEDY)
    return int(head)


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{what} is not JSON.", REMEDY) from None
    if not isinstance(found, dict):
        raise InputError(f"{what} must be a JSON object.", REMEDY)
    return found


def _parameters(of: dict[str, Any]) -> dict[str, Any]:
    found = of.get("parameters")
    return found if isinstance(found, dict) else {}


def _pixels(given: dict[str, Any], tail: bytes, most_pixels: float) -> np.ndarray:
    """Return the pictures of a request, from its JSON or from the bytes behind that."""
    shape = given.get("shape")
    if given.get("name") != INPUT or given.get("datatype") != "UINT8":
        raise InputError(f"The input must be '{INPUT}' of datatype UINT8.", REMEDY)
    sides = shape if isinstance(shape, list) else []
    if len(sides) != 4 or not all(type(side) is int and 0 < side < 1 << 31 for side in sides):
        raise InputError("The input's shape must be [n, height, width, channels], each at least 1.", REMEDY)
    count = math.prod(sides)
    if math.prod(sides[:3]) > most_pixels * 0.25e6:
        raise InputError(
            f"The pictures have more than {most_pixels * 0.25:g} million pixels together.",
            "Send fewer or smaller ones at once.",
        )
    size = _parameters(given).get("binary_data_size")
    if size is not None:
        if size != count or type(size) is not int or len(tail) != count:
            raise InputError(
                f"The shape needs {count} bytes of binary data; binary_data_size is {str(size)[:20]}, sent were {len(tail)}.",
                REMEDY,
            )
        return np.frombuffer(tail, np.uint8).reshape(sides)
    if tail:
        raise InputError("The request has bytes behind its JSON that no input claims by binary_data_size.", REMEDY)
    try:
        values = np.asarray(given.get("data"))
    except (ValueError, OverflowError):
        values = np.empty(0, object)
    if values.dtype.kind not in "iu" or values.size != count or values.min() < 0 or values.max() > 255:
        raise InputError(f"The input's data must be {count} whole numbers from 0 to 255.", REMEDY)
    return values.astype(np.uint8).reshape(sides)


def _outputs(given: dict[str, Any], model: Deployed) -> dict[str, bool]:
    """Return the wanted outputs, all where none are named, and whether each is to be binary."""
    usual = _parameters(given).get("binary_data_output") is True
    wanted = given.get("outputs")
    if wanted is None or wanted == []:
        return dict.fromkeys(model.output_names, usual)
    found: dict[str, bool] = {}
    for one in wanted if isinstance(wanted, list) else [None]:
        output = one if isinstance(one, dict) else {}
        name = output.get("name")
        if not isinstance(name, str) or name not in model.output_names:
            raise InputError(f"The outputs must be among {', '.join(model.output_names)}.", REMEDY)
        binary = _parameters(output).get("binary_data", usual)
        if not isinstance(binary, bool):
            raise InputError("binary_data must be true or false.", REMEDY)
        found[name] = binary
    return found
