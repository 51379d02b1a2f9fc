"""Step 3: an embedding and losses of every picture of the pool; the last step that needs torch for what follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.pool.pool import Pool
from winnow.results import Encoded, Trained
from winnow.run.artifacts import load_auxiliary, load_encoder, load_network, modes, of_decision
from winnow.run.folder import RunFolder
from winnow.run.split import split_of


def encode(run: RunFolder, *, resume: bool = False) -> Encoded:
    """Encode the usable pictures of the pool (exact copies and those given as 'test' stay out)."""
    from winnow.learn.encode import encode as encode_rows
    from winnow.learn.exported import FILE, Exported, fastest

    run.require("train")
    if resume and run.done("encode"):
        return run.result(Encoded)
    pool = Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    rows = np.flatnonzero(split != "test")
    known: dict[str, Any] = {
        "ids": pool.column("id")[rows],
        "groups": pool.column("joined")[rows],
        "twins": pool.column("twin")[rows],
        "seen": np.isin(split[rows], ("train", "validate"))
        & (run.result(Trained).training is not None or (pool.column("split") == "calibrate").any()),
    }
    network, device = load_network(run), run.options.train.device
    with run.working("encode") as step:
        network, why = fastest(network, pool, rows, device, step.folder / FILE)
        embeddings = encode_rows(network, pool, rows, auxiliary=load_auxiliary(run), device=device, **known)
        embeddings.save(step.folder)
        if "fast" in modes(run):
            fast = encode_rows(load_encoder(run, "fast").model, pool, rows, decode=False, device=device, **known)
            fast.save(of_decision(step.folder, "fast"))
        step.finish(
            Encoded(
                pictures=len(embeddings),
                unit=run.options.ingest.unit(len(pool), len(pool.pictures)),
                dimensions=int(embeddings.vectors.shape[1]),
                losses=sorted(embeddings.losses),
                engine="onnxruntime" if isinstance(network, Exported) else "torch",
                why=why,
            )
        )
    return run.result(Encoded)
