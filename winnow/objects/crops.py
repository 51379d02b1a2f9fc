"""Persons, or other objects that a detector knows, found in pictures and cut out of them."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from PIL import Image

from winnow.data import storage
from winnow.errors import InputError, OptionError, did_you_mean
from winnow.objects.detectors import Detector, OnnxDetector, TorchvisionDetector
from winnow.options import IngestOptions

VARIABLE = "WINNOW_OBJECT_DETECTOR"
LARGEST_DETECTOR = 2 << 30  # bytes

HOW_TO_GET_ONE = (
    "Give --object-detector FILE.onnx, or set WINNOW_OBJECT_DETECTOR to such a file: yolox_nano.onnx of the releases of "
    "Megvii-BaseDetection/YOLOX on GitHub (4 MB), or FastestDet.onnx of dog-qiuqiu/FastestDet (1 MB, twice as fast, less "
    "exact). With a connection also: --object-detector fasterrcnn_mobilenet_v3_large_320_fpn, which downloads its weights."
)


class Finder:
    """Finds the objects that the options ask for; called with a picture (h, w, 3) uint8 by any number of threads.

    `identity` is, besides the options, all that its results depend on: the hash of the detector's file, or its name.
    Raises `OptionError` when there is no detector or it does not know a class of `--objects`, `ModelError` when it cannot
    be used.
    """

    def __init__(self, options: IngestOptions) -> None:
        self.name = detector_name(options)
        self.detector, self.identity = _load(self.name)
        self.options = options
        self.wanted = [_class(name.strip(), self.detector) for name in options.objects.split(",")]

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (n, 4) int of x, y, width, height, margin included, inside the picture, and confidence (n,), the surest first."""
        found = self.detector(picture, self.options.box_confidence)
        asked = np.isin(found.classes, self.wanted)
        boxes = widened(found.boxes[asked], self.options.margin, picture.shape[:2])
        some = boxes[:, 2:].min(axis=1, initial=1) > 0
        boxes, confidence = boxes[some], found.confidence[asked][some]
        _, first = np.unique(boxes, axis=0, return_index=True)  # two classes can share a box
        first.sort()
        return boxes[first], confidence[first].astype(float)


def widened(boxes: np.ndarray, margin: float, size: tuple[int, ...]) -> np.ndarray:
    """Widen boxes (n, 4), float, by a share of their sides on each side, to whole pixels of a picture of `size` (h, w)."""
    more = boxes[:, 2:] * margin
    limits = np.array(size[::-1])
    first = np.floor(np.clip(boxes[:, :2] - more, 0, limits)).astype(int)
    last = np.ceil(np.clip(boxes[:, :2] + boxes[:, 2:] + more, 0, limits)).astype(int)
    return np.hstack([first, last - first])


def crops(picture: np.ndarray, boxes: np.ndarray, options: IngestOptions) -> list[np.ndarray]:
    """Return the contents of the boxes, each scaled as a picture file is, with one channel where the options want grey."""
    whole = Image.fromarray(picture)
    whole = whole.convert("L") if options.grey else whole
    height, width = options.size
    scaled = [
        np.asarray(whole.crop((x, y, x + wide, y + high)).resize((width, height), Image.Resampling.BILINEAR))
        for x, y, wide, high in boxes.tolist()
    ]
    return [pixels.reshape(height, width, -1) for pixels in scaled]


def detector_name(options: IngestOptions) -> str:
    """Return the name of the detector that finds what the options ask for; `OptionError` when none is named."""
    name = os.path.expanduser(options.object_detector or os.environ.get(VARIABLE, ""))
    if not name:
        raise OptionError(
            "Persons are to be cut out, as --people of this call or of the run asks, and no detector that finds them is named.",
            HOW_TO_GET_ONE,
        )
    return name


def _load(name: str) -> tuple[Detector, str]:
    if not name.lower().endswith(".onnx") and not os.path.exists(name):
        return TorchvisionDetector(name), name
    try:
        content = storage.read(name, LARGEST_DETECTOR)
    except InputError as error:
        raise OptionError(f"The detector cannot be read: {error.message}", HOW_TO_GET_ONE) from error
    return OnnxDetector(content, name), f"sha256:{hashlib.sha256(content).hexdigest()}"


def _class(name: str, detector: Detector) -> int:
    if name not in detector.names:
        raise OptionError(f"--objects {name!r}: the detector knows no such class.", did_you_mean(name, detector.names))
    return detector.names.index(name)
