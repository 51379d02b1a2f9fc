"""Detectors of objects: ONNX files of YOLOX and FastestDet through onnxruntime, and those of torchvision by name.

A detector is called with a picture (h, w, 3) uint8 in RGB and the least confidence, and returns `Found`; `names` are its
classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from winnow.errors import ModelError, OptionError, did_you_mean, in_one_line
from winnow.onnx import session_of

OVERLAP = 0.45  # intersection over union above which two boxes of a class are one, as in both references
GREY = 114  # what YOLOX is trained to see around the picture
STRIDES = ((8, 16, 32), (8, 16, 32, 64))
FINITE_SIDE = 12.0  # log of a side in cells: larger ones are sides in pixels, not logarithms

COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]
"""The 80 classes of COCO, in the order of every detector trained on it."""


class Found(NamedTuple):
    """Boxes (n, 4) float of x, y, width, height in pixels of the picture, confidence (n,) in [0, 1], class numbers (n,)."""

    boxes: np.ndarray
    confidence: np.ndarray
    classes: np.ndarray


class Detector(Protocol):
    """The interface of a detector of objects; the most confident come first."""

    names: list[str]

    def __call__(self, picture: np.ndarray, least: float) -> Found: ...


class OnnxDetector:
    """A detector from the bytes of an ONNX file; YOLOX of any size and FastestDet are recognised by their shapes.

    Runs on the processor in the thread that calls it, so that results do not depend on the number of threads; many threads
    may call it at once. Raises `ModelError`, with `file`, for anything else.
    """

    def __init__(self, content: bytes, file: str) -> None:
        self._session = session_of(content, name=file, remedy=ONNX_REMEDY, cpu=True, threads=1)
        put = self._session.get_inputs()
        shape = put[0].shape if len(put) == 1 and put[0].type == "tensor(float)" else []
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) and side > 0 for side in shape[2:]):
            raise _unknown(file, f"it takes {', '.join(f'{one.type} {one.shape}' for one in put) or 'nothing'}")
        self._input: str = put[0].name
        self._size: tuple[int, int] = (shape[2], shape[3])
        self._detect, classes = self._recognised(file)
        self.names = list(COCO) if classes == len(COCO) else [str(number) for number in range(classes)]

    def __call__(self, picture: np.ndarray, least: float) -> Found:
        return suppressed(self._detect(self._run, self._size, picture, least))

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """Return the first output for pixels (h, w, 3) in RGB, without the batch dimension."""
        batch = np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)[None], np.float32)
        return self._session.run(None, {self._input: batch})[0][0]

    def _recognised(self, file: str) -> tuple[Decoder, int]:
        """Return how the output is decoded and its number of classes; from one run, as a graph may leave its shapes open."""
        try:
            output = self._run(np.full((*self._size, 3), GREY))
        except Exception as error:  # onnxruntime raises classes of its own
            raise ModelError(f"{file} cannot be run ({in_one_line(error)}).", ONNX_REMEDY) from error
        if output.ndim == 3 and output.shape[0] > 5 and output.shape[1:] == (self._size[0] // 16, self._size[1] // 16):
            if np.allclose(output[5:].sum(axis=0), 1, atol=1e-3):  # a softmax, unlike maps of other networks
                return fastestdet, output.shape[0] - 5
        elif (
            output.ndim == 2 and output.shape[1] > 5 and len(output) in (len(_cells(self._size, s)[0]) for s in STRIDES)
        ):
            if not (output[:, 2:4] < FINITE_SIDE).all():
                raise ModelError(f"{file} returns boxes in pixels, not in YOLOX's own form.",
                                 "Export it again without --decode_in_inference.")  # fmt: skip
            return yolox, output.shape[1] - 5
        raise _unknown(file, f"its output is of shape {[1, *output.shape]}")


Decoder = Callable[[Callable[[np.ndarray], np.ndarray], tuple[int, int], np.ndarray, float], Found]
"""Prepares a picture for a network of a size, runs it, and decodes the boxes of at least some confidence."""

ONNX_REMEDY = "Give an ONNX file of YOLOX or FastestDet."


def _unknown(file: str, what: str) -> ModelError:
    return ModelError(f"{file} is neither YOLOX nor FastestDet at a fixed size: {what}.", ONNX_REMEDY)


# ---- the networks


def yolox(run: Callable[[np.ndarray], np.ndarray], size: tuple[int, int], picture: np.ndarray, least: float) -> Found:
    """Run YOLOX (Ge et al. 2021, arXiv 2107.08430, and its demo for ONNX Runtime) on the picture in the upper left on grey."""
    height, width = picture.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    small = _resized(picture, max(1, int(height * ratio)), max(1, int(width * ratio)), Image.Resampling.BILINEAR)
    canvas = np.full((*size, 3), GREY, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    output = run(canvas)
    strides = next(strides for strides in STRIDES if len(_cells(size, strides)[0]) == len(output))
    cells, steps = _cells(size, strides)
    classes = output[:, 5:].argmax(axis=1)
    confidence = output[:, 4] * output[np.arange(len(output)), 5 + classes]
    sure = confidence >= least
    middles = (output[sure, :2] + cells[sure]) * steps[sure]
    sides = np.exp(output[sure, 2:4]) * steps[sure]
    return Found(np.hstack([middles - sides / 2, sides]) / ratio, confidence[sure], classes[sure])


def _cells(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row (n, 2) and stride (n, 1) of every prediction of YOLOX, finest grid first."""
    cells, steps = [], []
    for stride in strides:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.column_stack([x.ravel(), y.ravel()]))
        steps.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(steps).astype(np.float32)


def fastestdet(
    run: Callable[[np.ndarray], np.ndarray], size: tuple[int, int], picture: np.ndarray, least: float
) -> Found:
    """Run FastestDet (github.com/dog-qiuqiu/FastestDet, handle_preds) on the picture stretched, one grid, values from 0 to 1."""
    output = run(_resized(picture, *size, Image.Resampling.BOX) / np.float32(255))
    rows, columns = output.shape[1:]
    classes = output[5:].argmax(axis=0)
    confidence = output[0] ** 0.6 * output[5:].max(axis=0) ** 0.4
    y, x = np.nonzero(confidence >= least)
    dx, dy, wide, high = output[1:5, y, x]
    sides = 1 / (1 + np.exp(-np.column_stack([wide, high])))
    middles = np.column_stack([(x + np.tanh(dx)) / columns, (y + np.tanh(dy)) / rows])
    scale = np.tile(picture.shape[1::-1], 2)
    return Found(np.hstack([middles - sides / 2, sides]) * scale, confidence[y, x], classes[y, x])


def _resized(picture: np.ndarray, height: int, width: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def suppressed(found: Found) -> Found:
    """Apply non-maximum suppression: of boxes of a class that overlap by more than `OVERLAP`, keep the most confident."""
    order = np.argsort(-found.confidence, kind="stable")
    boxes, confidence, classes = (values[order] for values in found)
    # Boxes of each class are shifted so far that those of two classes never meet.
    corners = boxes + np.pad(classes[:, None] * (np.abs(boxes).max(initial=0) * 4 + 1), ((0, 0), (0, 3)))
    keep: list[int] = []
    left = np.arange(len(boxes))
    while len(left):
        first, left = left[0], left[1:]
        keep.append(first)
        left = left[_overlap(corners[first], corners[left]) <= OVERLAP]
    return Found(boxes[keep], confidence[keep], classes[keep])


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union (n,) of a box with others (n, 4)."""
    first = np.maximum(box[:2], others[:, :2])
    last = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    common = np.clip(last - first, 0, None).prod(axis=1)
    return common / np.maximum(box[2:].prod() + others[:, 2:].prod(axis=1) - common, 1e-9)


# ---- torchvision


def to_download(name: str) -> bool:
    """Return whether a detector is one of torchvision's whose weights this machine does not have yet."""
    if not name or ":" in name or name.lower().endswith(".onnx") or os.path.exists(name):
        return False
    from torch.hub import get_dir
    from torchvision.models import detection, get_model_weights, list_models

    if name not in list_models(module=detection):
        return False
    return not (Path(get_dir()) / "checkpoints" / Path(get_model_weights(name).DEFAULT.url).name).is_file()


class TorchvisionDetector:
    """A detector of torchvision by its name, with weights from the hub.

    Raises `OptionError` for an unknown name, `ModelError` without weights.
    """

    def __init__(self, name: str) -> None:
        from torchvision.models import detection, get_model, get_model_weights, list_models

        known = [known for known in list_models(module=detection) if "keypoint" not in known]
        if name not in known:
            raise OptionError(f"--object-detector {name}: there is no such file, and no detector of torchvision of that name.",
                              did_you_mean(name, known))  # fmt: skip
        weights = get_model_weights(name).DEFAULT
        try:
            # The builder reads the file again, by pickle; once it was read as plain weights, that runs no code.
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            self._network = get_model(name, weights=weights, progress=False).eval()
        except Exception as error:  # the network, the hub and pickle raise a dozen unrelated classes
            raise ModelError(f"The weights of '{name}' could not be downloaded ({in_one_line(error)}).",
                             "Connect to the network, or give an ONNX file of YOLOX or FastestDet.") from error  # fmt: skip
        self.names: list[str] = list(weights.meta["categories"])

    def __call__(self, picture: np.ndarray, least: float) -> Found:
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float() / 255
            (found,) = self._network([pixels])
        boxes, classes, confidence = (found[name].numpy() for name in ("boxes", "labels", "scores"))
        boxes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
        sure = confidence >= least
        return suppressed(Found(boxes[sure], confidence[sure], classes[sure]))
