"""Encoding by a frozen network on a CPU: torch against onnxruntime, by the size of a batch, in turns.

    python bench/encode.py [--quick]

The network is MobileNetV2, whole (pretrained) and dense. Pictures are noise, weights random: neither changes the work. Best of
five turns; one thread. `difference` is that of onnxruntime's embeddings from torch's, relative to a value or to their deviation.
"""

from __future__ import annotations

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
    given, started = arguments(__doc__), time.perf_counter()
    hold_memory()
    torch.set_num_threads(1)
    rows = [measured(kind, size, 1 if given.quick else 5) for kind, size in SIZES]
    table(rows, "Milliseconds a picture, by the pictures in a batch")
    finish("encode", started, encode=rows)


def measured(kind: Any, size: tuple[int, int], turns: int) -> dict[str, Any]:
    """Return the milliseconds a picture of both engines in batches of each size."""
    network, pictures = kind(size, 3), torch.rand(COUNT, 3, *size)
    sessions = {batch: session(network, batch) for batch in BATCHES}
    ways: dict[str, Any] = {f"torch {batch}": (batch, lambda images: network(images).vectors) for batch in BATCHES}
    for batch, one in sessions.items():
        ways[f"onnxruntime {batch}"] = batch, lambda images, one=one: one.run(None, {INPUT: images.numpy()})[0]
    best = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for _ in range(turns):
            for name, (batch, embed) in ways.items():
                begun = time.perf_counter()
                for start in range(0, COUNT, batch):
                    embed(pictures[start : start + batch])
                best[name] = min(best[name], 1000 * (time.perf_counter() - begun) / COUNT)
        difference = apart(network(pictures).vectors, torch.from_numpy(ways["onnxruntime 16"][1](pictures)))
    shown = {name: round(value, 1) for name, value in best.items()}
    ratio = min(best[f"torch {batch}"] for batch in BATCHES) / best["onnxruntime 1"]
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
