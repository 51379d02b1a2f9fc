"""Step 3: a code and measures for every picture of the pool; the last step that needs torch for what follows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from winnow.data.pool import Pool
from winnow.run import RunFolder
from winnow.steps.split import split_of
from winnow.steps.train import load_companions


def encode(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Encodes the usable pictures of the pool (exact copies and those given as 'test' stay out)."""
    from winnow.learn.encode import encode as encode_rows
    from winnow.models.registry import load_model

    run.require("train")
    if resume and run.done("encode"):
        return run.result("encode")
    started = time.perf_counter()
    options, pool = run.options, Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    rows = np.flatnonzero(split != "test")
    trained = bool(run.result("train")["trained"])
    encodings = encode_rows(
        load_model(run.folder("train")),
        pool,
        rows,
        beside=load_companions(run),
        device=options.train.device,
        ids=pool.column("id")[rows],
        groups=pool.column("group")[rows],
        seen=np.isin(split[rows], ("train", "validate")) & trained,
    )
    encodings.save(run.folder("encode"))
    run.record(
        "encode",
        started,
        pictures=len(encodings),
        dimensions=int(encodings.codes.shape[1]),
        measures=sorted(encodings.measures),
    )
    return run.result("encode")
