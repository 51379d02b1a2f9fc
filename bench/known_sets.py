"""Embeddings of the labelled data sets by frozen networks whose weights are at hand: made once, kept, used by several benchmarks."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from winnow.learn.encode import encode
from winnow.models.pretrained import Pretrained

from common import TEST_CLIPS, need

WEIGHTS = {
    "mobilenet_v2": "mobilenet_v2_imagenet_bnrecal_fp16.pth",
    "tf_efficientnet_lite0": "tf_efficientnet_lite0_imagenet_fp16.pth",
    "tf_efficientnet_lite2": "tf_efficientnet_lite2_imagenet_fp16.pth",
}
SIZES = {"player_crops": 96, "vests": 96, "cats_dogs": 160, "sports22": 160}


@dataclass(frozen=True)
class Known:
    """Embeddings (n, d) of a set with labels, groups, and which are of the test split, each (n,)."""

    name: str
    vectors: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    test: np.ndarray

    @property
    def pool(self) -> np.ndarray:
        """Return the rows that are no test pictures."""
        return np.flatnonzero(~self.test)


def listed(name: str) -> list[tuple[Path, str, str, bool]]:
    """Return path, label, group and whether it is a test picture of each picture, split as the data card says."""
    root = need(name)
    if name == "football":
        with (root / "index.csv").open(encoding="utf-8") as file:
            frames = [(root / row["path"], row["class"], row["group"]) for row in csv.DictReader(file)]
        return [(*frame, frame[2] in TEST_CLIPS) for frame in frames]
    if name in ("player_crops", "vests"):
        with (root / "index.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["class"] != "goalkeeper"]
        column = "clip" if name == "player_crops" else "photo"
        photos = sorted({row[column] for row in rows})
        test = set(TEST_CLIPS if column == "clip" else photos[round(0.8 * len(photos)) :])
        return [(root / row["path"], row["class"], row[column], row[column] in test) for row in rows]
    if name == "cats_dogs":
        paths = sorted(root.rglob("*.jpg"))
        return [(path, path.parent.name, path.stem, path.parts[-3] == "test") for path in paths]
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(folder.rglob("*.jpg"))
        found += [(path, folder.name, path.stem, number >= int(0.8 * len(paths))) for number, path in enumerate(paths)]
    return found


def known(to: Path, name: str, backbone: str = "mobilenet_v2", size: int | tuple[int, int] = 0) -> Known:
    """Return the embeddings of a set at a size (squares of `SIZES` by default), kept in the folder `to`."""
    size, rows = size or SIZES[name], listed(name)
    height, width = (size, size) if isinstance(size, int) else size
    shape = f"{height}" if height == width else f"{height}x{width}"
    file = to / f"{name}-{backbone}-{shape}-{len(rows)}.npy"
    if not file.exists():
        model = network(backbone, (height, width))
        np.save(file, encode(model, pixels([path for path, *_ in rows], height, width)).vectors)
    columns = [np.array(column, object) for column in list(zip(*rows, strict=True))[1:3]]
    return Known(name, np.load(file), *columns, np.array([row[3] for row in rows]))


def network(backbone: str, size: tuple[int, int]) -> Pretrained:
    """Return a frozen network with its ImageNet weights, for pictures of a size."""
    model = Pretrained(size, 3, backbone)
    model.load_weights(need(f"weights/{WEIGHTS[backbone]}"))
    return model


def pixels(paths: list[Path], height: int, width: int) -> np.ndarray:
    """Return the pictures (n, height, width, 3)."""
    return np.stack([_read(path, height, width) for path in paths])


def _read(path: Path, height: int, width: int) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
