"""Step 2: a network that knows what belongs."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np

from winnow.data.pool import Pool
from winnow.data.splits import Split, assign
from winnow.run import RunFolder


def split_of(run: RunFolder, pool: Pool) -> Split:
    """Which pictures train, validate and calibrate: whole groups, the same at every call for the same pool and seed."""
    options = run.options.train
    given = pool.column("split").copy()
    given[~pool.usable] = "test"
    return assign(pool.column("group"), options.seed, options.validate_share, options.calibrate_share, given=given)


def train(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Trains the run's model on the 'train' groups, or loads the pretrained network, which needs no training.

    With `resume`, a finished training is left as it is and an interrupted one goes on to the identical result.
    """
    from winnow.learn.train import train as fit
    from winnow.models.registry import build, save_model

    run.require("ingest")
    if resume and run.done("train"):
        return run.result("train")
    started = time.perf_counter()
    options, pool = run.options, Pool.open(run.folder("ingest"))
    model = build(options.model, pool.size, pool.channels, seed=options.train.seed)
    if options.model.model == "pretrained":
        save_model(model, run.folder("train"))
        run.record("train", started, trained=False, parameters=sum(p.numel() for p in model.parameters()), warnings=[])
        return run.result("train")
    split = split_of(run, pool)
    rows = {name: np.flatnonzero(split.split == name) for name in ("train", "validate", "calibrate")}
    result = fit(model, pool, rows, options.train, run.folder("train"), resume=resume)
    run.record(
        "train",
        started,
        trained=True,
        split={name: len(chosen) for name, chosen in rows.items()},
        **{**asdict(result), "warnings": [*result.warnings, *([split.note] if split.note else [])]},
    )
    return run.result("train")
