"""Step 3: a code and measures for every picture of the pool; the last step that needs torch for what follows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from winnow.data.pool import Pool
from winnow.run import RunFolder
from winnow.steps.parts import decisions, folder_of, load_companions, load_network, load_way
from winnow.steps.split import split_of


def encode(run: RunFolder, *, resume: bool = False) -> dict[str, Any]:
    """Encodes the usable pictures of the pool (exact copies and those given as 'test' stay out)."""
    from winnow.learn.encode import encode as encode_rows

    run.require("train")
    if resume and run.done("encode"):
        return run.result("encode")
    started = time.perf_counter()
    device, pool = run.options.train.device, Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    rows = np.flatnonzero(split != "test")
    trained = bool(run.result("train")["trained"])
    known: dict[str, Any] = {
        "ids": pool.column("id")[rows],
        "groups": pool.column("group")[rows],
        "seen": np.isin(split[rows], ("train", "validate")) & trained,
    }
    network = load_network(run)
    encodings = encode_rows(network, pool, rows, beside=load_companions(run), device=device, **known)
    encodings.save(run.folder("encode"))
    if "fast" in decisions(run):
        fast = encode_rows(load_way(run, "fast").model, pool, rows, decode=False, device=device, **known)
        fast.save(folder_of(run, "encode", "fast"))
    run.record(
        "encode",
        started,
        pictures=len(encodings),
        unit="patch" if run.options.ingest.patches else "picture",
        dimensions=int(encodings.codes.shape[1]),
        measures=sorted(encodings.measures),
    )
    return run.result("encode")
