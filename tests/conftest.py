"""Pictures and runs the tests share; everything is drawn from seeds, nothing is read from elsewhere."""

from __future__ import annotations

import os

# The networks of the tests are tiny: a second thread costs more than it brings, and far more beside another worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import fcntl
import hashlib
import io
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.cli import main

from buckets import bucket, server  # noqa: F401 (fixtures)

DRAWING = ("test_figures", "test_inspection_figures", "test_results")
FIGURES: dict[str, bytes] = {}
"""PNG files by what they were drawn of, in this process."""


@pytest.fixture(autouse=True, scope="session")
def no_lines_of_progress() -> Iterator[None]:
    """Print no progress in this process: whether ten seconds pass depends on what else the machine does."""
    from winnow import progress

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "EVERY", float("inf"))
        yield


@pytest.fixture(autouse=True, scope="module")
def coarse_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw each figure of the same values once, at a quarter of its dots, but where it is figures that are tested: copies of a run
    have the same, and drawing would be a quarter of the tests' time."""
    from winnow.report import style

    draw = style.png_of

    def drawn(figure: Callable[..., object], *args: object, **kwargs: object) -> bytes:
        try:
            key = repr((figure.__module__, figure.__qualname__, _exact(args), _exact(kwargs)))
        except TypeError:
            return draw(figure, *args, **kwargs)
        if key not in FIGURES:
            FIGURES[key] = draw(figure, *args, **kwargs)
        return FIGURES[key]

    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__ not in DRAWING:
            patch.setattr(style, "DOTS_PER_INCH", 50)
            patch.setattr(style, "png_of", drawn)
        yield


def _exact(value: object) -> object:
    """Return what is equal for equal values alone, when it is printed; `TypeError` for what is no plain value."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value)).hexdigest()
    if isinstance(value, np.ndarray | list | tuple):
        return type(value).__name__, [_exact(part) for part in value]
    if isinstance(value, Mapping):
        return [(_exact(key), _exact(part)) for key, part in value.items()]
    if is_dataclass(value):
        return type(value).__qualname__, [_exact(getattr(value, field.name)) for field in fields(value)]
    if value is None or isinstance(value, str | bytes | bool | int | float | np.generic | Path):
        return type(value).__name__, value
    raise TypeError(type(value))


@pytest.fixture(autouse=True, scope="session")
def drawn_once() -> Iterator[None]:
    """Draw the generic pictures of a size once: each training and calibration takes the same, and half of its time is theirs."""
    from winnow.synthetic import scenes

    draw, kept = scenes._draw, dict[tuple[object, ...], np.ndarray]()

    def drawn(rng: np.random.Generator, *of: object) -> np.ndarray:
        key = (str(rng.bit_generator.state), *of)
        if key not in kept:
            kept[key] = draw(rng, *of)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "_draw", drawn)
        yield


@pytest.fixture(autouse=True, scope="session")
def timed_briefly() -> Iterator[None]:
    """Compare the speeds of modes, which no test asks for, in one short round; where torch is loaded, without which none is."""
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules:
            from winnow.steps import calibrate

            patch.setattr(calibrate, "A_TURN", 0.001)
            patch.setattr(calibrate, "ROUNDS", 1)
        yield


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


def winnow_command(
    *words: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command `winnow` in this process, which need not import torch again; returns what a process of its own would."""
    arguments, status = list(map(str, words)), 0
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        except Exception:  # what the interpreter does with it
            traceback.print_exc()
            status = 1
    return subprocess.CompletedProcess(["winnow", *arguments], status, out.getvalue(), err.getvalue())


def winnow_process(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command `winnow` in a process of its own, as a user does: what it imports and all that it writes are the command's alone."""
    command = [sys.executable, "-m", "winnow.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make(folder)` has filled, once for all workers of pytest-xdist; nobody may change what is in it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of a worker lies in that of the session
    folder, finished = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half of it, when `make` failed in another worker
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, so that the workers of pytest-xdist end together; the order within a file stays."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


SMALL = ("--size", "32", "32", "--width", "8", "--latent", "8", "--iterations", "60", "--check-every", "20")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight groups of twelve pictures that belong."""
    return made_once(tmp_path_factory, "pictures", lambda folder: write_pictures(folder / "good", 8, 12)) / "good"


@pytest.fixture(scope="session")
def anomalous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of ten pictures that do not belong."""
    return (
        made_once(
            tmp_path_factory, "others", lambda folder: write_pictures(folder / "anomalous", 2, 10, blocks, seed=1)
        )
        / "anomalous"
    )


@pytest.fixture(scope="session")
def finished_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run, each worker's own copy, since some steps write into it; tests that change it copy it first."""

    def make(folder: Path) -> None:
        done = winnow_command("run", "oneclass-from-scratch", pictures, "--to", folder / "small", *SMALL)
        assert done.returncode == 0, done.stderr

    return Path(
        shutil.copytree(made_once(tmp_path_factory, "runs", make) / "small", tmp_path_factory.mktemp("runs") / "small")
    )
