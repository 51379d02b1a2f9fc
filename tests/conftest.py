"""Pictures and runs the tests share; everything is drawn from seeds, nothing is read from elsewhere."""

from __future__ import annotations

import os

# The networks of the tests are tiny: a second thread costs more than it brings, and far more beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def stripes(rng: np.random.Generator, size: int = 48) -> np.ndarray:
    """What belongs in these tests: soft diagonal stripes of one colour family."""
    y, x = np.mgrid[:size, :size] / size
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * (3 * x + 2 * y) + rng.uniform(0, 6))
    picture = wave[..., None] * np.array([0.9, 0.6, 0.3]) + rng.normal(0, 0.02, (size, size, 3))
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def blocks(rng: np.random.Generator, size: int = 48) -> np.ndarray:
    """What does not belong: coloured blocks."""
    return np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((size // 4, size // 4, 1))).astype(np.uint8)


def write_pictures(folder: Path, groups: int, each: int, draw=stripes, seed: int = 0) -> Path:
    """Writes PNG files, `each` in each of `groups` folders."""
    rng = np.random.default_rng(seed)
    for group in range(groups):
        (folder / f"clip{group}").mkdir(parents=True, exist_ok=True)
        for number in range(each):
            Image.fromarray(draw(rng)).save(folder / f"clip{group}" / f"{number}.png")
    return folder


def winnow_command(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """Runs the command `winnow` in a process of its own."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "winnow.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        **options,
    )


SMALL = ("--size", "32", "32", "--width", "8", "--latent", "8", "--iterations", "60", "--check-every", "20")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight groups of twelve pictures that belong."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "good", 8, 12)


@pytest.fixture(scope="session")
def anomalous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of ten pictures that do not belong."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "anomalous", 2, 10, blocks, seed=1)


@pytest.fixture(scope="session")
def finished_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run; tests that change it copy it first."""
    to = tmp_path_factory.mktemp("runs") / "small"
    done = winnow_command("run", "oneclass-from-scratch", pictures, "--to", to, *SMALL)
    assert done.returncode == 0, done.stderr
    return to
