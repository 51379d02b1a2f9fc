"""A fresh environment with the extra 'runtime' alone: how long it takes to make, how large it is, and that it predicts.

python bench/runtime_env.py [--quick]

Installs this checkout with pip into a new virtual environment, as someone does who only runs an exported file, and predicts
pictures and a video there. The model is a small one that the tests draw; --quick changes nothing.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
from PIL import Image

from common import arguments, finish, table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from exported import write_exported  # noqa: E402
from videos import plain, write  # noqa: E402

PICTURES = 200
HEAVY = ("torch", "torchvision", "timm", "sklearn", "scipy", "faiss", "matplotlib")


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    python, seconds = install(given.to)
    sources, model = write_sources(given.to / "sources"), write_exported(given.to / "model.onnx")
    found = f"import importlib.util as u; print(*(name for name in {HEAVY!r} if u.find_spec(name)))"
    there = called(python, "-c", found).split()
    if there:
        sys.exit(f"The environment holds {', '.join(there)}.")
    before = time.perf_counter()
    said = called(python, "-m", "winnow.cli", "predict", sources, "--onnx", model, "--to", given.to / "predictions")
    predicted = time.perf_counter() - before
    print(said, called(python, "-m", "winnow.cli", "doctor"), sep="\n")
    with (given.to / "predictions" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == PICTURES + 4
    row = {
        "install s": seconds,
        "environment MB": megabytes(python.parent.parent),
        "packages": len(called(python, "-m", "pip", "list", "--format=freeze").splitlines()),
        f"predict {PICTURES} pictures and a video s": predicted,
    }
    table([row])
    finish("runtime_env", started, **row)


def install(folder: Path) -> tuple[Path, float]:
    """Make a virtual environment with this checkout and the extra; return its Python, and the seconds that pip took."""
    copy = folder / "checkout"  # pip builds in the folder it is given
    shutil.copytree(ROOT / "winnow", copy / "winnow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    venv.create(folder / "env", with_pip=True)
    python, before = folder / "env" / "bin" / "python", time.perf_counter()
    called(python, "-m", "pip", "install", "--quiet", f"{copy}[runtime]")
    return python, time.perf_counter() - before


def called(*words: object) -> str:
    """Return what a program prints; it sees nothing of this checkout; exit when it fails."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, cwd="/", env=outside)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def write_sources(folder: Path) -> Path:
    """Write pictures of noise and a video of four seconds."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)).save(folder / f"{number:03d}.jpg")
    write(folder / "film.mp4", [plain((200, 30, 30))] * 40, rate=10)
    return folder


def megabytes(folder: Path) -> int:
    """Return the size of a folder's files."""
    return round(
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
    )


if __name__ == "__main__":
    main()
