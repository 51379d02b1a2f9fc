"""Encoding by a frozen network on a CPU: torch against onnxruntime, by the size of a batch, in turns.

    python bench/encode.py [--quick] [--backbone vit_small_patch14_dinov2 --sizes 98,224,518]

The network is MobileNetV2, whole (pretrained) and dense, or another at those sizes, four pictures. Pictures are noise, weights
random: neither changes the work. Best of five turns; one thread. `difference` is that of onnxruntime's embeddings from torch's,
relative to a value or to their deviation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from winnow.learn.device import hold_memory
from winnow.learn.exported import INPUT, write_network
from winnow.models.contract import Model
from winnow.models.dense import Dense
from winnow.models.pretrained import Pretrained
from winnow.onnx import session_of

from common import arguments, finish, table

SIZES = ((Pretrained, (96, 96)), (Dense, (96, 96)), (Dense, (224, 224)), (Dense, (384, 384)))
BATCHES = (16, 4, 1)
COUNT = 16


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--backbone", default="mobilenet_v2")
    extra.add_argument("--sizes", default="")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    hold_memory()
    torch.set_num_threads(1)
    sides = [int(side) for side in own.sizes.split(",") if side]
    sizes = [(kind, (side, side)) for side in sides for kind in (Pretrained, Dense)] if sides else SIZES
    turns, count = 1 if given.quick else 5, 4 if sides else COUNT
    rows = [measured(kind, size, own.backbone, turns, count) for kind, size in sizes]
    table(rows, "Milliseconds a picture, by the pictures in a batch")
    finish("encode", started, encode=rows)


def measured(kind: Any, size: tuple[int, int], backbone: str, turns: int, count: int) -> dict[str, Any]:
    """Return the milliseconds a picture of both engines in batches of each size."""
    network, pictures = kind(size, 3, backbone), torch.rand(count, 3, *size)
    batches = [batch for batch in BATCHES if batch <= count]
    sessions = {batch: session(network, batch) for batch in batches}
    ways: dict[str, Any] = {f"torch {batch}": (batch, lambda images: network(images).vectors) for batch in batches}
    for batch, one in sessions.items():
        ways[f"onnxruntime {batch}"] = batch, lambda images, one=one: one.run(None, {INPUT: images.numpy()})[0]
    best = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for _ in range(turns):
            for name, (batch, embed) in ways.items():
                begun = time.perf_counter()
                for start in range(0, count, batch):
                    embed(pictures[start : start + batch])
                best[name] = min(best[name], 1000 * (time.perf_counter() - begun) / count)
        difference = apart(
            network(pictures[: batches[0]]).vectors,
            torch.from_numpy(ways[f"onnxruntime {batches[0]}"][1](pictures[: batches[0]])),
        )
    shown = {name: round(value, 1) for name, value in best.items()}
    ratio = min(best[f"torch {batch}"] for batch in batches) / best["onnxruntime 1"]
    return {
        "model": kind.__name__,
        "size": f"{size[0]}x{size[1]}",
        **shown,
        "ratio": round(ratio, 1),
        "difference": f"{difference:.0e}",
    }


def session(network: Model, batch: int) -> Any:
    """Return an onnxruntime session that takes so many pictures at once."""
    with tempfile.TemporaryDirectory() as folder:
        write_network(network, Path(folder) / "network.onnx", batch)
        return session_of(Path(folder) / "network.onnx", cpu=True, threads=1)


def apart(own: Tensor, found: Tensor) -> float:
    """Return the largest difference of embeddings, relative to a value or to the deviation of all."""
    return float(((found - own).abs() / own.abs().clamp_min(float(own.std()))).max())


if __name__ == "__main__":
    main()
