"""From unlabelled crops to a classifier in production, command by command: ingest and choose, label (an oracle), classify, export, predict.

python bench/loop.py [--quick] [--labels 125] [--fine-tune] [--cores 2]

3713 crops of players and referees (`player_crops`), of which 125 are chosen and get their true label; then the test clips are
classified by the exported file. Every command is a process of its own, as a user would call it, start included.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selection import rows_of

from common import finish, need, table

CLASSES = "player,referee"


def command(cores: int, *words: object) -> tuple[float, str]:
    """Run a command of winnow on so many cores; return its seconds and output."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    call = [sys.executable, "-m", "winnow.cli", *map(str, words)]
    done = subprocess.run(call, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - started, done.stdout


def listing(path: Path, split: str, every: int) -> dict[str, str]:
    """Write a list of a split's crops with their clips as groups and without labels; return their classes by path."""
    rows = rows_of("player_crops", split)[::every]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "group"), *((crop, clip) for crop, clip, _ in rows)])
    return {str(crop): kind for crop, _, kind in rows}


def f1(said: dict[str, str], truth: dict[str, str], kind: str = "referee") -> float:
    """Return F1 of a class over the pictures of `truth`."""
    both = sum(said[path] == name == kind for path, name in truth.items())
    return 2 * both / max(1, sum(name == kind for name in said.values()) + sum(name == kind for name in truth.values()))


def main() -> None:
    """Print the seconds of each command, and the F1 of the exported file on the test clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the crops")
    parser.add_argument("--labels", type=int, default=125)
    parser.add_argument("--fine-tune", action="store_true")
    parser.add_argument("--cores", type=int, default=2)
    given, started = parser.parse_args(), time.perf_counter()
    weights = need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, every = folder / "run", 10 if given.quick else 1
        known, tests = listing(folder / "pool.csv", "pool", every), listing(folder / "test.csv", "test", every)
        size = ("--size", 96, 96, "--backbone", "mobilenet_v2", "--weights", weights)
        steps = {"read, encode, choose": command(
            given.cores, "run", "select", folder / "pool.csv", "--to", run, *size, "--number", given.labels
        )[0]}  # fmt: skip
        with (run / "selection.csv").open(encoding="utf-8", newline="") as file:
            chosen = [row["source"] for row in csv.DictReader(file)]
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("source", "label"), *((source, known[source]) for source in chosen)])
        steps["labels taken over"], _ = command(
            given.cores, "label", "--run", run, "--import", folder / "labels.csv", "--classes", CLASSES
        )
        tune = ("--fine-tune", "mobilenet_v2") if given.fine_tune else ()
        steps["classify"], words = command(given.cores, "classify", "--run", run, *tune)
        print(words)
        steps["export"], words = command(given.cores, "export", "--run", run, "--to", folder / "shop.onnx")
        print(words)
        before_new = sum(steps.values())
        steps["predict the test clips"], _ = command(
            given.cores, "predict", folder / "test.csv", "--onnx", folder / "shop.onnx", "--to", folder / "predicted"
        )
        with (folder / "predicted" / "predictions.csv").open(encoding="utf-8", newline="") as file:
            said = {row["source"]: row["class"] for row in csv.DictReader(file)}
        worth = f1(said, tests)
    table(
        [{"step": step, "seconds": f"{value:.1f}"} for step, value in steps.items()],
        f"{len(known)} crops, {given.cores} cores",
    )
    print(f"Exported after {before_new:.0f} s; F1 of the referee on {len(tests)} crops of the test clips: {worth:.3f}.")
    finish("loop", started, steps=steps, exported_after=before_new, f1=worth)


if __name__ == "__main__":
    main()
