"""Step 3: a code and measures for every picture of the pool; the last step that needs torch for what follows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from winnow.pool.pool import Pool
from winnow.run.artifacts import folder_of, load_auxiliary, load_encoder, load_network, modes
from winnow.run.folder import RunFolder
from winnow.run.split import split_of


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
    embeddings = encode_rows(network, pool, rows, auxiliary=load_auxiliary(run), device=device, **known)
    embeddings.save(run.folder("encode"))
    if "fast" in modes(run):
        fast = encode_rows(load_encoder(run, "fast").model, pool, rows, decode=False, device=device, **known)
        fast.save(folder_of(run, "encode", "fast"))
    run.record(
        "encode",
        started,
        pictures=len(embeddings),
        unit="patch" if run.options.ingest.patches else "picture",
        dimensions=int(embeddings.vectors.shape[1]),
        losses=sorted(embeddings.losses),
    )
    return run.result("encode")
