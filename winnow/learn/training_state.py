"""The state of a training, the check that a resumed one fits its checkpoint, and the log."""

from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from winnow.embeddings import spread
from winnow.errors import RunError
from winnow.files import as_written, write_text
from winnow.learn.checkpoint import read_checkpoint
from winnow.learn.feed import PixelSource, Vary
from winnow.models.contract import Model
from winnow.options import TrainOptions


@dataclass
class State:
    """Everything but weights and optimiser state that a training needs to resume."""

    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    idle: int = 0
    """Validations since the best one."""
    stopped_early: bool = False
    seconds: float = 0.0
    training_seconds: float = 0.0
    """The part of `seconds` spent on optimiser steps."""
    best: dict[str, Any] = field(default_factory=dict)
    """The log's line of the best validation."""
    threads: int = 0
    """Threads of the arithmetic on a CPU, in each process: with another number the weights differ in their last bits."""
    pieces: int = 1
    """Pieces into which each batch is cut, see `winnow.learn.pieces`."""


def identity(
    model: Model, source: PixelSource, rows: Mapping[str, np.ndarray], options: TrainOptions, precision: str, vary: Vary
) -> dict[str, Any]:
    """Return what a resumed training must have in common with its beginning; the device is not part of it."""
    config = {"class": type(model).__qualname__, "size": list(model.size), "channels": model.channels, **model.config()}
    chosen = {
        name: sha256(np.asarray(rows[name], dtype=np.int64).tobytes()).hexdigest()[:16]
        for name in ("train", "validate")
    }
    mine = {**options.identity(), "precision": precision, **vary._asdict()}
    del mine["device"]
    return {"option": mine, "model": config, "pictures": {"pixels": _fingerprint(source), **chosen}}


def _fingerprint(source: PixelSource) -> str:
    known = getattr(source, "fingerprint", None)
    if known is not None:
        return str(known)
    some = spread(len(source), 64)
    return sha256(repr((len(source), source.size)).encode() + source.pixels(some).tobytes()).hexdigest()[:16]


def threads_of(folder: Path, options: TrainOptions, resume: bool) -> int:
    """Return the number of threads of a training in a folder: of one that goes on, that with which it was begun."""
    path = folder / "checkpoints" / "last.safetensors"
    if resume and path.exists():
        return int(read_checkpoint(path)[1]["state"].get("threads", 0))
    return options.threads


def check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a `RunError` that names every option, model argument or set of pictures that differs from the checkpoint's."""
    if before["pictures"] != now["pictures"]:
        raise RunError(
            f"The training in {folder} was begun with other pictures.",
            "Train anew, without --resume, or restore the pictures.",
        )
    changed = [
        f"{name} was {before[kind].get(name)}, now {now[kind].get(name)}"
        for kind in ("option", "model")
        for name in sorted({*before[kind], *now[kind]})
        if before[kind].get(name) != now[kind].get(name)
    ]
    if changed:
        raise RunError(
            f"The training in {folder} was begun with other options: {'; '.join(changed)}.",
            "Give the same options, or train anew, without --resume.",
        )


def clear(folder: Path) -> None:
    """Remove what an earlier training left in its folder."""
    for name in ("checkpoints", "grids"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in ("train.jsonl", "model.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)


def append_log(path: Path, record: dict[str, Any]) -> None:
    """Append one line of JSON to the log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def trim_log(path: Path, step: int) -> None:
    """Keep the whole lines up to a step: steps after the checkpoint are repeated and logged again."""
    with as_written(path, "Train again, without --resume."):
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    write_text(path, "".join(line + "\n" for line in kept))


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed, so that no step is interrupted; a second Ctrl-C stops at once.

    Off the main thread, or where the caller ignores Ctrl-C, it always returns False.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: False
        return
    pressed = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
