"""Training speed: Winnow's loop against a bare PyTorch loop on tensors in memory, same network, batch, precision, optimiser.

    python bench/train.py [--quick]

Both train the strided autoencoder (default width) from the same seed; they take turns, three each, and the ratio is of the
medians. Promise: at least 0.9. Then the rule for number formats: the same step in float32, bfloat16, with channels_last.
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


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    steps, repeats = (30, 1) if given.quick else (100, 3)
    rows = [loop_row(size, steps, repeats, given.to) for size in ((64, 64), (80, 60))]
    table(rows, f"Training pictures/s over {steps} iterations of {BATCH}")
    formats = [
        format_row(size, dtype, last, 10 if given.quick else 30)
        for size in ((64, 64), (80, 60))
        for dtype in (torch.float32, torch.bfloat16)
        for last in (False, True)
    ]
    table(formats, "One optimiser step by number format")
    finish("train", started, loop=rows, formats=formats)


def loop_row(size: tuple[int, int], steps: int, repeats: int, folder: Path) -> dict[str, object]:
    """Pictures/s of both loops and their ratio."""
    pixels = np.random.default_rng(0).integers(0, 256, (1500, *size, 3), dtype=np.uint8)
    ours, bare = [], []
    for number in range(repeats):
        ours.append(winnow_loop(pixels, size, steps, folder / f"{size}-{number}"))
        bare.append(steps * BATCH / bare_loop(pixels, size, steps))
    loop, whole, alone = (statistics.median(speeds) for speeds in (*zip(*ours, strict=True), bare))
    return {
        "size": "{}x{}".format(*size),
        "winnow": loop,
        "with validation and saving": whole,
        "bare loop": alone,
        "ratio": loop / alone,
        "ratio with all": whole / alone,
    }


def winnow_loop(pixels: np.ndarray, size: tuple[int, int], steps: int, folder: Path) -> tuple[float, float]:
    """Pictures/s of Winnow's optimiser steps, and with the validation and the checkpoints of a short run."""
    options = TrainOptions(iterations=steps, batch=BATCH, check_every=steps, shift=0.0)
    rows = {"train": np.arange(1000), "validate": np.arange(1000, 1128), "calibrate": np.arange(1128, 1500)}
    model = build(ModelOptions(), size, 3, seed=0)
    started = time.perf_counter()
    result = train(model, pixels, rows, options, folder, resume=False)
    return result.pictures_per_second, steps * BATCH / (time.perf_counter() - started)


def bare_loop(pixels: np.ndarray, size: tuple[int, int], steps: int) -> float:
    """Seconds of the shortest loop one would write by hand."""
    device = choose_device("auto")
    arithmetic = choose_arithmetic("auto", device)
    model = build(ModelOptions(), size, 3, seed=0).to(device, memory_format=torch.channels_last)
    images = (
        (torch.from_numpy(pixels[:1000]).permute(0, 3, 1, 2).float() / 255)
        .to(device)
        .contiguous(memory_format=torch.channels_last)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    values = images[0].numel()
    started = time.perf_counter()
    for _ in range(steps):
        batch = images[torch.randint(0, len(images), (BATCH,))]
        with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic.precision == "bfloat16"):
            error = model(batch).reconstruction
        optimiser.zero_grad()
        (error.mean() * values).backward()
        optimiser.step()
    return time.perf_counter() - started


def format_row(size: tuple[int, int], dtype: torch.dtype, last: bool, steps: int) -> dict[str, object]:
    """Milliseconds of an optimiser step in one number format."""
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
