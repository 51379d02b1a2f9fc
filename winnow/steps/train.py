"""Step 2: a network that knows what belongs."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from winnow.errors import OptionError
from winnow.learn.fast import train_fast
from winnow.learn.train import train as fit
from winnow.models.auxiliary import MOST_PICTURES, Linear, Texture
from winnow.models.registry import build, save_model
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool
from winnow.run.artifacts import check_parts
from winnow.run.folder import RunFolder
from winnow.run.split import split_of
from winnow.synthetic.scenes import generic_pictures

GENERIC = 500


def train(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Trains the run's model on the 'train' groups, or loads the pretrained network, which needs no training; then, where
    it is asked for, the fast network.

    With `resume`, a finished training is left as it is and an interrupted one goes on to the identical result.
    """
    run.require("ingest")
    if resume and run.done("train"):
        return run.result("train")
    started = time.perf_counter()
    check_parts(run, "model")
    options, pool = run.options, Pool.open(run.folder("ingest"))
    model = build(options.model, pool.size, pool.channels, seed=options.train.seed)
    fast = run.folder("train") / "fast"
    if fast.exists() and not (resume and options.train.fast):
        shutil.rmtree(fast)
    if options.model.model == "pretrained":
        if options.train.fast:
            raise OptionError(
                "--fast stands beside an autoencoder, not a pretrained network.", "Leave it out, or train one."
            )
        save_model(model, run.folder("train"))
        run.record("train", started, trained=False, parameters=sum(p.numel() for p in model.parameters()), warnings=[])
        return run.result("train")
    split = split_of(run, pool)
    rows = {name: np.flatnonzero(split.split == name) for name in ("train", "validate", "calibrate")}
    result = fit(model, pool, rows, options.train, run.folder("train"), resume=resume)
    _auxiliary(run, pool, rows["train"])
    auxiliary = train_fast(pool, rows, options.train, fast, resume=resume) if options.train.fast else None
    run.record(
        "train",
        started,
        trained=True,
        unit="patch" if options.ingest.patches else "picture",
        split={name: len(chosen) for name, chosen in rows.items()},
        fast=asdict(auxiliary) if auxiliary else None,
        **{**asdict(result), "warnings": [*result.warnings, *([split.note] if split.note else [])]},
    )
    return run.result("train")


def _auxiliary(run: RunFolder, pool: Pool, rows: np.ndarray) -> None:
    """Fits the linear autoencoders that stand beside the network: of what belongs, of any pictures at all, and, for
    patches, of small windows of what belongs."""
    own = pool.pixels(rows[np.linspace(0, len(rows) - 1, min(MOST_PICTURES, len(rows))).astype(int)])
    for name, pixels in (("linear", own), ("background", _background(run, pool))):
        save_model(Linear(pool.size, pool.channels).fit(pixels), run.folder("train") / name)
    if run.options.ingest.patches:
        save_model(Texture(pool.size, pool.channels).fit(own), run.folder("train") / "texture")


def _background(run: RunFolder, pool: Pool) -> np.ndarray:
    """Pictures of anything: drawn ones, or the user's."""
    source = run.options.train.background
    if source == "generic":
        return generic_pictures(GENERIC, pool.size, pool.channels)
    ingest([source], run.path / "background", run.options.ingest, keep_others=False)
    others = Pool.open(run.path / "background")
    return others.pixels(np.linspace(0, len(others) - 1, min(MOST_PICTURES, len(others))).astype(int))
