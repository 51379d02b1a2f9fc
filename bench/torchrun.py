"""Training by several processes of torchrun: the same bytes, the loss curves, and what sharing costs and wins.

    python bench/torchrun.py [--quick]

VAEs of drawn pictures, each trained without torchrun (the batch in one piece) and by 1, 2 and 4 processes, one thread each, in turns; every
figure is a ratio to the training without torchrun in the same turn, its median and range. CPU seconds of all processes together
say what sharing costs, on a busy machine too; pictures/s say what it wins, where there are as many idle cores as processes. Last, how
far the validation losses of a batch in pieces lie from those of the whole one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np

from common import arguments, finish, table

PROCESSES = (0, 1, 2, 4)
"""0: without torchrun."""
CASES: dict[str, tuple[int, int, dict[str, object]]] = {
    "strided, 64x64, batches of 32": (64, 100, {"batch_size": 32}),
    "strided, 64x64, batches of 128": (64, 32, {"batch_size": 128}),
    "football, 32x32, batches of 32": (32, 10, {"batch_size": 32, "architecture": "football"}),
}
"""By name: height and width of the pictures, steps, and options."""


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    rows, curves = [], {}
    for name in CASES:
        turns = [
            [trained(given.to / f"{number}", name, number) for number in PROCESSES]
            for _ in range(1 if given.quick else 3)
        ]
        rows.append(row_of(name, turns))
        curves[name] = {number: turns[0][place]["curve"] for place, number in enumerate(PROCESSES)}
    table(rows, f"Training by several processes, one thread each, on {os.cpu_count()} cores")
    finish("torchrun", started, cores=os.cpu_count(), rows=rows, curves=curves)


def trained(folder: Path, case: str, processes: int) -> dict[str, object]:
    """Train in processes of their own; return the hash of the weights, pictures/s, CPU seconds and validation losses."""
    for old in folder.glob("cpu-*"):
        old.unlink()
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes else []
    subprocess.run([sys.executable, *launch, __file__, case, str(folder)], check=True, capture_output=True)
    log = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "bytes": sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "speed": statistics.median(line["pictures_per_second"] for line in log[1:]),
        "cpu": sum(float(path.read_text(encoding="utf-8")) for path in folder.glob("cpu-*")),
        "curve": [line["validation_loss"] for line in log],
    }


def work(case: str, folder: Path) -> None:
    """Train as one of the processes, and leave how many CPU seconds it took."""
    import torch

    from winnow.learn.train import train
    from winnow.models.registry import build
    from winnow.options import ModelOptions, TrainOptions
    from winnow.synthetic.scenes import generic_pictures

    side, steps, given = CASES[case]
    pictures = generic_pictures(400, (side, side), 3)
    rows = {"train": np.arange(360), "validate": np.arange(360, 400)}
    named = {"architecture": given.get("architecture", "strided"), "variational": True}
    model = build(ModelOptions(**named), (side, side), 3, seed=0)
    torch.optim.Adam(model.parameters())  # what it imports the first time is no training
    options = TrainOptions(
        iterations=steps,
        check_every=max(2, steps // 5),
        batch_size=given["batch_size"],
        threads=1,
        device="cpu",
        precision="float32",
    )
    before = time.process_time()
    train(model, pictures, rows, options, folder)
    (folder / f"cpu-{os.environ.get('RANK', 0)}").write_text(str(time.process_time() - before), encoding="utf-8")


def row_of(name: str, turns: list[list[dict[str, object]]]) -> dict[str, object]:
    """Return the ratios of one network's trainings to those without torchrun."""
    row: dict[str, object] = {"network": name}
    for what, key in (("CPU", "cpu"), ("pictures/s", "speed")):
        for place, number in enumerate(PROCESSES[1:], start=1):
            ratios = [turn[place][key] / turn[0][key] for turn in turns]
            row[f"{what}, {number}"] = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    row["same bytes by 1, 2, 4"] = len({one["bytes"] for turn in turns for one in turn[1:]}) == 1
    whole, pieces = (np.array(turns[0][place]["curve"]) for place in (0, 1))
    row["losses: pieces against whole"] = f"{np.abs(pieces / whole - 1).max():.0e}"
    return row


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CASES:
        work(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
