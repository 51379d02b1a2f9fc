"""Training speed: Winnow's loop against a bare PyTorch loop on tensors in memory, same network, batch, precision, optimiser.

    python bench/train.py [--quick]

Both train the strided autoencoder (default width) from the same seed with the same rate. After a short warm-up of both they take turns,
the one that begins changing, and every ratio is the median of the pairs: the speed of a machine drifts, less so within a pair. The bare
loop neither validates nor saves nor varies its pictures. Promise: at least 0.9. Then the rule for number formats: the same step in
float32, bfloat16, with channels_last.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from winnow.learn.device import choose_arithmetic, choose_device
from winnow.learn.train import train
from winnow.models.registry import build
from winnow.options import ModelOptions, TrainOptions

from common import arguments, finish, table

BATCH = 64
RATE = 1e-3


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    steps, repeats = (30, 1) if given.quick else (500, 3)
    loop_row((64, 64), False, 10, 1, given.to)  # what is loaded at the first step only
    cases = (((64, 64), False), ((80, 60), False), ((80, 60), True))
    rows = [loop_row(size, varied, steps, repeats, given.to) for size, varied in cases]
    table(rows, f"Training pictures/s over {steps} iterations of {BATCH}")
    formats = [
        format_row(size, dtype, last, 10 if given.quick else 30)
        for size in ((64, 64), (80, 60))
        for dtype in (torch.float32, torch.bfloat16)
        for last in (False, True)
    ]
    table(formats, "One optimiser step by number format")
    finish("train", started, loop=rows, formats=formats)


def loop_row(size: tuple[int, int], varied: bool, steps: int, repeats: int, folder: Path) -> dict[str, object]:
    """Return pictures/s of both loops and their ratio."""
    pixels = np.random.default_rng(0).integers(0, 256, (1500, *size, 3), dtype=np.uint8)
    pairs = []
    for number in range(repeats):
        bare = bare_loop(pixels, size, steps) if number % 2 else 0.0
        ours = winnow_loop(pixels, size, varied, steps, folder / f"{size}-{number}")
        pairs.append((*ours, bare or bare_loop(pixels, size, steps)))
    loop, whole, alone = (statistics.median(speeds) for speeds in zip(*pairs, strict=True))
    return {
        "size": "{}x{}".format(*size) + (", shifted and mirrored" if varied else ""),
        "bare loop": alone,
        "winnow's steps": loop,
        "the whole training": whole,
        "ratio of steps": statistics.median(pair[0] / pair[2] for pair in pairs),
        "ratio of the whole": statistics.median(pair[1] / pair[2] for pair in pairs),
        "least of the whole": min(pair[1] / pair[2] for pair in pairs),
    }


def winnow_loop(
    pixels: np.ndarray, size: tuple[int, int], varied: bool, steps: int, folder: Path
) -> tuple[float, float]:
    """Return pictures/s of Winnow's optimiser steps, and of the whole training with its default validations and checkpoints."""
    options = TrainOptions(
        iterations=steps, batch_size=BATCH, lr=RATE, schedule="constant", translate=0.05 * varied, hflip=varied
    )
    rows = {"train": np.arange(1000), "validate": np.arange(1000, 1128), "calibrate": np.arange(1128, 1500)}
    model = build(ModelOptions(), size, 3, seed=0)
    started = time.perf_counter()
    result = train(model, pixels, rows, options, folder, resume=False)
    return result.pictures_per_second, steps * BATCH / (time.perf_counter() - started)


def bare_loop(pixels: np.ndarray, size: tuple[int, int], steps: int) -> float:
    """Return pictures/s of the shortest loop one would write by hand."""
    device = choose_device("auto")
    arithmetic = choose_arithmetic("auto", device)
    model = build(ModelOptions(), size, 3, seed=0).to(device, memory_format=torch.channels_last)
    images = (
        (torch.from_numpy(pixels[:1000]).permute(0, 3, 1, 2).float() / 255)
        .to(device)
        .contiguous(memory_format=torch.channels_last)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    values = images[0].numel()
    started = time.perf_counter()
    for _ in range(steps):
        batch = images[torch.randint(0, len(images), (BATCH,))]
        with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic.precision == "bfloat16"):
            error = model(batch).reconstruction
        optimiser.zero_grad()
        (error.mean() * values).backward()
        optimiser.step()
    return steps * BATCH / (time.perf_counter() - started)


def format_row(size: tuple[int, int], dtype: torch.dtype, last: bool, steps: int) -> dict[str, object]:
    """Return milliseconds of an optimiser step in one number format."""
    device = choose_device("auto")
    layout = torch.channels_last if last else torch.contiguous_format
    model = build(ModelOptions(), size, 3, seed=0).to(device, memory_format=layout)
    batch = torch.rand(BATCH, 3, *size, device=device).contiguous(memory_format=layout)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            error = model(batch).reconstruction
        optimiser.zero_grad()
        error.mean().backward()
        optimiser.step()
        times.append(time.perf_counter() - started)
    return {
        "size": "{}x{}".format(*size),
        "format": str(dtype).removeprefix("torch."),
        "channels_last": last,
        "ms": 1000 * statistics.median(times),
    }


if __name__ == "__main__":
    main()
