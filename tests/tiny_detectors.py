"""Detectors small enough to be written down: blue is a person, red a bicycle. Inputs and outputs are those of the real ones.

Each looks at cells of its finest grid of a 64x64 input. A cell is as sure as its bluest or reddest channel is strong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 64
BLUE, RED = (10, 20, 250), (250, 20, 10)


def write_persons(base: Path) -> Path:
    """Write 24 pictures of a person each to `persons`, in six folders, and a detector `yolox.onnx`; return its path."""
    rng = np.random.default_rng(0)
    for number in range(24):
        scene = rng.integers(0, 30, (64, 64, 3), dtype=np.uint8)
        scene[16:24, 8 + number : 16 + number] = BLUE
        path = base / "persons" / "abcdef"[number % 6] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(path)
    return write_yolox(base / "yolox.onnx")


def write_yolox(path: Path, *, classes: int = 80, side: int = SIDE, decoded: bool = False) -> Path:
    """Write a network with cells of 8 pixels, boxes of 16 round their middles; the coarser grids see nothing."""
    fine = (side // 8) ** 2
    rest = (side // 16) ** 2 + (side // 32) ** 2
    box = [0.5, 0.5, np.log(2), np.log(2)] if not decoded else [20, 20, 16, 16]
    steps = _seen(255.0, 8)
    for name in ("blue", "red", "sure"):
        steps += [helper.make_node("Reshape", [name, "column"], [f"{name}_column"])]
    steps += [
        helper.make_node("Concat", ["boxes", "sure_column", "blue_column", "red_column", "others"], ["fine"], axis=2),
        helper.make_node("Concat", ["fine", "coarse"], ["output"], axis=1),
    ]
    constants = {
        "column": np.array([1, fine, 1], np.int64),
        "boxes": np.tile(np.array(box, np.float32), (1, fine, 1)),
        "others": np.zeros((1, fine, classes - 2), np.float32),
        "coarse": np.zeros((1, rest, 5 + classes), np.float32),
    }
    return _write(path, steps, constants, (1, 3, side, side), (1, fine + rest, 5 + classes))


def write_fastestdet(path: Path) -> Path:
    """Write a network with cells of 16 pixels, boxes of half the picture round their upper left corners."""
    grid = SIDE // 16
    steps = _seen(1.0, 16)
    steps += [
        helper.make_node("Sub", ["blue", "red"], ["more"]),
        helper.make_node("Mul", ["more", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], ["person"]),
        helper.make_node("Sub", ["one", "person"], ["bicycle"]),
        helper.make_node("Concat", ["sure", "boxes", "person", "bicycle", "others"], ["output"], axis=1),
    ]
    constants = {
        "half": np.float32(0.5),
        "one": np.float32(1),
        "boxes": np.zeros((1, 4, grid, grid), np.float32),
        "others": np.zeros((1, 78, grid, grid), np.float32),
    }
    return _write(path, steps, constants, (1, 3, SIDE, SIDE), (1, 85, grid, grid))


def write_other(path: Path, *, shape: tuple[int | str, ...] = (1, 3, 32, 32), kind: int = TensorProto.FLOAT) -> Path:
    """Write a graph that returns its input: no detector."""
    return _write(path, [helper.make_node("Identity", ["images"], ["output"])], {}, shape, shape, kind)


def _seen(white: float, cell: int) -> list[onnx.NodeProto]:
    """Return how blue, how red and how much of either each cell is, from 0 to 1; the input is BGR."""
    pool = {"kernel_shape": [cell, cell], "strides": [cell, cell]}
    white_node = helper.make_node("Constant", [], ["white"], value=numpy_helper.from_array(np.float32(white)))
    split = helper.make_node("Split", ["images"], ["b", "g", "r"], axis=1)
    means = [helper.make_node("AveragePool", [name], [f"{name}_mean"], **pool) for name in "br"]
    shares = [helper.make_node("Div", [f"{name[0]}_mean", "white"], [name]) for name in ("blue", "red")]
    return [white_node, split, *means, *shares, helper.make_node("Max", ["blue", "red"], ["sure"])]


def _write(
    path: Path,
    steps: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    taken: tuple,
    given: tuple,
    kind: int = TensorProto.FLOAT,
) -> Path:
    graph = helper.make_graph(
        steps,
        "tiny",
        [helper.make_tensor_value_info("images", kind, taken)],
        [helper.make_tensor_value_info("output", kind, given)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
