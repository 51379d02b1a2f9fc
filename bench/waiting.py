"""How threads of PyTorch wait for each other, spinning or sleeping: training alone and beside other work.

    python bench/waiting.py [--quick]

The strided VAE on drawn pictures of 64x64 in batches of 32, with a thread a core, in processes of their own in turns: as OpenMP waits
by itself, with `OMP_WAIT_POLICY=PASSIVE`, as the command `winnow` sets it, and with one thread. Beside other work: one process for each
core that does nothing but count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common import arguments, finish, table

WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "a thread a core": (os.cpu_count() or 1, {}),
    "a thread a core, OMP_WAIT_POLICY=PASSIVE": (os.cpu_count() or 1, {"OMP_WAIT_POLICY": "PASSIVE"}),
    "one thread": (1, {}),
}
STEPS = 40


def main() -> None:
    """Print a table, and the closing line of JSON."""
    given, started, rows = arguments(__doc__), time.perf_counter(), []
    for busy in (0, os.cpu_count() or 1):
        found: dict[str, list[dict[str, float]]] = {}
        with counting(busy):
            for _ in range(2 if given.quick else 5):
                for name, (threads, environment) in WAYS.items():
                    found.setdefault(name, []).append(trained(threads, environment))
        first = statistics.median(one["seconds"] for one in found["a thread a core"])
        for name, trials in found.items():
            seconds = [one["seconds"] for one in trials]
            rows.append(
                {
                    "beside": f"{busy} busy processes" if busy else "nothing",
                    "": name,
                    "ms a step": f"{1000 * statistics.median(seconds) / STEPS:.0f}",
                    "of the first": statistics.median(seconds) / first,
                    "lowest and highest": f"{1000 * min(seconds) / STEPS:.0f} to {1000 * max(seconds) / STEPS:.0f}",
                    "CPU, ms a step": f"{1000 * statistics.median(one['cpu'] for one in trials) / STEPS:.0f}",
                }
            )
    table(rows, f"Training on {os.cpu_count()} cores")
    finish("waiting", started, cores=os.cpu_count(), rows=rows)


@contextmanager
def counting(number: int) -> Iterator[None]:
    """Have so many processes count for the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trained(threads: int, environment: dict[str, str]) -> dict[str, float]:
    """Train in a process of its own; return the seconds it took, and those of processors."""
    done = subprocess.run(
        [sys.executable, __file__, "--work", str(threads)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def work(threads: int) -> None:
    """Train, and print how long it took."""
    from winnow.learn.train import train
    from winnow.models.registry import build
    from winnow.options import ModelOptions, TrainOptions
    from winnow.synthetic.scenes import generic_pictures

    pictures = generic_pictures(200, (64, 64), 3)
    rows = {"train": np.arange(160), "validate": np.arange(160, 200)}
    model = build(ModelOptions(architecture="strided", variational=True), (64, 64), 3, seed=0)
    options = TrainOptions(
        iterations=STEPS, check_every=STEPS, batch_size=32, threads=threads, device="cpu", precision="float32"
    )
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        train(model, pictures, rows, options, Path(folder))
        print(json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    work(int(sys.argv[2])) if sys.argv[1:2] == ["--work"] else main()
