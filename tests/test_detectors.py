"""Object detectors: outputs decoded against the obvious loops, pictures prepared as in training, wrong files refused."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from winnow.data import video
from winnow.errors import ModelError, OptionError
from winnow.objects.detectors import (
    COCO,
    OVERLAP,
    Found,
    OnnxDetector,
    TorchvisionDetector,
    fastestdet,
    suppressed,
    yolox,
)

from tiny_detectors import BLUE, RED, SIDE, write_fastestdet, write_other, write_yolox

DATA = Path(os.environ.get("WINNOW_DATA", "../shared/data"))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.full((height, width, 3), 20, np.uint8)


def slow_yolox(output: np.ndarray, size: tuple[int, int], picture: np.ndarray, least: float) -> list[list[float]]:
    """Decode one prediction after the other, as the paper's demo does."""
    height, width = picture.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    boxes, row = [], 0
    for stride in (8, 16, 32):
        for y in range(size[0] // stride):
            for x in range(size[1] // stride):
                cx, cy, w, h, sure, *classes = output[row].tolist()
                row += 1
                best = max(range(len(classes)), key=classes.__getitem__)
                if sure * classes[best] >= least:
                    w, h = math.exp(w) * stride / ratio, math.exp(h) * stride / ratio
                    cx, cy = (cx + x) * stride / ratio, (cy + y) * stride / ratio
                    boxes.append([cx - w / 2, cy - h / 2, w, h, sure * classes[best], best])
    assert row == len(output)
    return boxes


def slow_fastestdet(output: np.ndarray, picture: np.ndarray, least: float) -> list[list[float]]:
    """Decode one cell after the other, as the reference implementation does."""
    height, width = picture.shape[:2]
    _, rows, columns = output.shape
    boxes = []
    for y in range(rows):
        for x in range(columns):
            sure, dx, dy, w, h, *classes = output[:, y, x].tolist()
            best = max(range(len(classes)), key=classes.__getitem__)
            confidence = sure**0.6 * classes[best] ** 0.4
            if confidence >= least:
                w, h = width / (1 + math.exp(-w)), height / (1 + math.exp(-h))
                cx, cy = (x + math.tanh(dx)) / columns * width, (y + math.tanh(dy)) / rows * height
                boxes.append([cx - w / 2, cy - h / 2, w, h, confidence, best])
    return boxes


def as_rows(found: Found) -> np.ndarray:
    return np.column_stack([found.boxes, found.confidence, found.classes])


@pytest.mark.parametrize("shape", [(480, 640), (640, 200), (31, 47), (1, 3000)])
def test_yolox_is_read_as_the_obvious_loop_reads_it(shape):
    rng = np.random.default_rng(1)
    output = rng.random((8 * 12 + 4 * 6 + 2 * 3, 5 + 80), dtype=np.float32)
    output[:, :4] = rng.normal(0, 1, (len(output), 4))
    picture = noise(*shape)
    found = yolox(lambda pixels: output, (64, 96), picture, 0.4)
    expected = slow_yolox(output, (64, 96), picture, 0.4)
    assert 10 < len(expected) < len(output)
    np.testing.assert_allclose(as_rows(found), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("shape", [(480, 640), (640, 200), (31, 47), (1, 3000)])
def test_fastestdet_is_read_as_the_obvious_loop_reads_it(shape):
    rng = np.random.default_rng(1)
    output = rng.random((85, 22, 20), dtype=np.float32)
    output[1:5] = rng.normal(0, 2, (4, 22, 20))
    picture = noise(*shape)
    found = fastestdet(lambda pixels: output, (352, 320), picture, 0.7)
    expected = slow_fastestdet(output, picture, 0.7)
    assert 10 < len(expected) < 440
    np.testing.assert_allclose(as_rows(found), expected, rtol=1e-4, atol=1e-2)


def test_yolox_sees_the_picture_in_the_upper_left_corner_on_grey():
    seen = []
    empty = np.zeros((64 + 16 + 4, 85), np.float32)
    for shape, filled in (((128, 64), (64, 32)), ((32, 128), (16, 64)), ((8, 16), (32, 64)), ((1, 1000), (1, 64))):
        yolox(lambda pixels: (seen.append(pixels), empty)[1], (64, 64), np.full((*shape, 3), 200, np.uint8), 0.4)
        canvas = seen[-1]
        assert canvas.shape == (64, 64, 3)
        assert (canvas[: filled[0], : filled[1]] == 200).all()
        canvas[: filled[0], : filled[1]] = 114
        assert (canvas == 114).all()


def test_fastestdet_sees_the_picture_stretched_from_0_to_1():
    seen = []
    picture = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    fastestdet(lambda pixels: (seen.append(pixels), np.zeros((85, 2, 2)))[1], (32, 32), picture, 0.4)
    np.testing.assert_allclose(seen[0][5, :, 0], picture[0, :, 0].reshape(32, 4).mean(axis=1) / 255, atol=0.5 / 255)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return intersection over union by counting: boxes of whole numbers."""
    cells = [
        {(x, y) for x in range(int(x0), int(x0 + w)) for y in range(int(y0), int(y0 + h))} for x0, y0, w, h in (a, b)
    ]
    return len(cells[0] & cells[1]) / max(1, len(cells[0] | cells[1]))


@pytest.mark.parametrize("seed", range(5))
def test_overlapping_boxes_are_dropped_as_the_obvious_way_drops_them(seed):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.integers(-5, 5, (60, 2)), rng.integers(1, 12, (60, 2))]).astype(float)
    found = Found(boxes, rng.integers(40, 60, 60) / 100, rng.integers(0, 2, 60))
    kept: list[int] = []
    for row in sorted(range(60), key=lambda row: -found.confidence[row]):
        rivals = [other for other in kept if found.classes[other] == found.classes[row]]
        if all(overlap(boxes[row], boxes[other]) <= OVERLAP for other in rivals):
            kept.append(row)
    assert 10 < len(kept) < 60
    np.testing.assert_array_equal(as_rows(suppressed(found)), as_rows(found)[kept])


def test_no_box_and_boxes_without_area():
    assert len(suppressed(Found(np.empty((0, 4)), np.empty(0), np.empty(0, int))).boxes) == 0
    assert len(suppressed(Found(np.zeros((3, 4)), np.ones(3), np.zeros(3, int))).boxes) == 3


def test_a_file_of_yolox_finds_what_is_there(tmp_path):
    find = OnnxDetector(write_yolox(tmp_path / "x.onnx").read_bytes(), "x.onnx")
    picture = scene(128, 128)
    picture[32:48, 64:80] = BLUE  # a cell of the input, at half the size
    picture[96:112, 16:32] = RED
    found = find(picture, 0.5)
    assert find.names == COCO and len(COCO) == 80
    rows = sorted(zip(found.boxes.round(3).tolist(), [COCO[number] for number in found.classes], strict=True))
    assert rows == [([8, 88, 32, 32], "bicycle"), ([56, 24, 32, 32], "person")]
    assert (found.confidence > 0.8).all()  # half the size blurs the edges
    assert len(find(picture, 0.99).boxes) == 0


def test_a_file_of_fastestdet_finds_what_is_there(tmp_path):
    find = OnnxDetector(write_fastestdet(tmp_path / "f.onnx").read_bytes(), "f.onnx")
    picture = scene(64, 128)
    picture[32:48, 64:96] = BLUE
    found = find(picture, 0.5)
    assert found.boxes.round(3).tolist() == [[32, 16, 64, 32]] and COCO[found.classes[0]] == "person"
    blue, red = BLUE[2] / 255, BLUE[0] / 255
    np.testing.assert_allclose(found.confidence, blue**0.6 * (0.5 + (blue - red) / 2) ** 0.4, rtol=1e-5)


@pytest.mark.parametrize(("classes", "side"), [(80, 96), (3, 64), (2, 160)])
def test_yolox_of_other_sizes_and_classes(tmp_path, classes, side):
    find = OnnxDetector(write_yolox(tmp_path / "x.onnx", classes=classes, side=side).read_bytes(), "x")
    assert find.names == (COCO if classes == 80 else [str(number) for number in range(classes)])
    picture = scene(side, side)
    picture[8:16, 24:32] = RED
    found = find(picture, 0.5)
    assert found.boxes.round(3).tolist() == [[20, 4, 16, 16]] and found.classes.tolist() == [1]
    np.testing.assert_allclose(found.confidence, (250 / 255) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be loaded as an ONNX file"),
        (b"plain text\n" * 99, "cannot be loaded as an ONNX file"),
        (b"\x08\x08\x12\x00", "cannot be loaded as an ONNX file"),
    ],
)
def test_files_that_are_not_onnx_are_refused(content, said):
    with pytest.raises(ModelError, match=f"dét.onnx {said}") as raised:
        OnnxDetector(content, "dét.onnx")
    assert "Give an ONNX file" in raised.value.remedy and len(str(raised.value)) < 400


def test_other_graphs_are_refused(tmp_path):
    whole = write_yolox(tmp_path / "x.onnx").read_bytes()
    for end in (10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ModelError, match="cut"):
            OnnxDetector(whole[:end], "cut")
    for options in (
        {},
        {"shape": (1, 1, 32, 32)},
        {"shape": (1, 3, "h", "w")},
        {"shape": (3, 32)},
        {"kind": TensorProto.UINT8},
    ):
        with pytest.raises(ModelError, match=r"other is neither YOLOX nor FastestDet"):
            OnnxDetector(write_other(tmp_path / "o.onnx", **options).read_bytes(), "other")
    with pytest.raises(ModelError, match="decode_in_inference"):
        OnnxDetector(write_yolox(tmp_path / "d.onnx", decoded=True).read_bytes(), "decoded")


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Return a cache of torchvision's hub with random weights under the name it looks for, and the name's path."""
    import torch
    from torchvision.models import detection

    weights = detection.FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.DEFAULT
    folder = tmp_path_factory.mktemp("torch")
    file = folder / "hub" / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    network = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=91
    ).eval()
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight *= 100  # random ones are sure of nothing
    torch.save(network.state_dict(), file)
    return folder, file, network


@pytest.mark.slow
def test_a_detector_of_torchvision_by_its_name(cached, monkeypatch):
    import torch

    folder, _, network = cached
    monkeypatch.setenv("TORCH_HOME", str(folder))
    find = TorchvisionDetector("fasterrcnn_mobilenet_v3_large_320_fpn")
    assert find.names[1] == "person" and len(find.names) == 91
    picture = noise(60, 90)
    with torch.inference_mode():
        plain = network([torch.from_numpy(picture).permute(2, 0, 1) / 255])[0]
    least = float(plain["scores"].median())
    runs = []
    find._network.register_forward_hook(lambda *_: runs.append(1))
    found = find(picture, least)
    assert len(runs) == 1
    assert len(found.boxes) and (found.confidence >= least).all()
    corners = np.hstack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]])
    known = plain["boxes"].numpy()
    assert all(np.abs(known - corner).max(axis=1).min() < 0.01 for corner in corners)


def test_unknown_names_missing_and_hostile_weights(cached, monkeypatch, tmp_path):
    with pytest.raises(OptionError, match="no such file") as raised:
        TorchvisionDetector("fasterrcnn_mobilenet_v3_large_320_fpm")
    assert "fasterrcnn_mobilenet_v3_large_320_fpn" in raised.value.remedy
    file = cached[1]

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    evil = tmp_path / "torch" / "hub" / "checkpoints" / file.name
    evil.parent.mkdir(parents=True)
    evil.write_bytes(pickle.dumps({"backbone": Trap()}, protocol=2))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(ModelError, match="fasterrcnn_mobilenet_v3_large_320_fpn"):
        TorchvisionDetector("fasterrcnn_mobilenet_v3_large_320_fpn")
    assert not (tmp_path / "ran").exists()


# ---- the real ones


def real(name: str) -> OnnxDetector:
    path = DATA / "weights" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return OnnxDetector(path.read_bytes(), name)


def frame_of(name: str) -> np.ndarray:
    path = DATA / "videos" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return next(iter(video.frames(str(path), None))).image


@pytest.mark.parametrize("name", ["yolox_nano.onnx", "FastestDet.onnx"])
def test_the_real_networks_are_read_as_the_obvious_loops_read_them(name):
    find, picture, outputs = real(name), frame_of("people-walking.mp4"), []

    def kept(pixels: np.ndarray) -> np.ndarray:
        outputs.append(find._run(pixels))
        return outputs[-1]

    found = find._detect(kept, find._size, picture, 0.4)
    slow = (
        slow_yolox(outputs[0], find._size, picture, 0.4)
        if name[0] == "y"
        else slow_fastestdet(outputs[0], picture, 0.4)
    )
    assert len(slow) > 20
    np.testing.assert_allclose(as_rows(found), slow, rtol=1e-4, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("film", "fewest"), [("people-walking.mp4", 6), ("store-aisle-detection.gif", 2)])
def test_the_real_networks_agree_on_the_persons_that_are_plain(film, fewest):
    picture = frame_of(film)
    sure, any_ = (real(name)(picture, least) for name, least in (("yolox_nano.onnx", 0.75), ("FastestDet.onnx", 0.4)))
    boxes, others = (found.boxes[found.classes == 0].round() for found in (sure, any_))
    assert len(boxes) >= fewest
    assert all(max(overlap(box, other) for other in others) > 0.6 for box in boxes)
