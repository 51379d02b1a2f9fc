"""What a choice goes by, of a run's embeddings: features, and the pictures that are no near-duplicates of others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from winnow.embeddings import Embeddings
from winnow.pool.pool import Pool
from winnow.run.cache import Cache, kept_features, kept_stand_ins, sum_of
from winnow.run.folder import RunFolder


class Apart(NamedTuple):
    """Of n embeddings the whitened `features` (n, k), the rows of the `candidates`, and for how many pictures each stands, `counts`."""

    features: np.ndarray
    candidates: np.ndarray
    counts: np.ndarray


def set_apart(
    run: RunFolder, cache: Cache, pool: Pool, embeddings: Embeddings, usual: np.ndarray, drawn: bool = False
) -> Apart:
    """Part near-duplicates from the rows that are no outliers, `usual`, by the run's options; features are learnt from these rows.

    With `drawn` all pictures are candidates: of a part of them a random choice would tell nothing of all.
    """
    options, places = run.options.select, pool.rows_of(embeddings.ids)
    made_of = run.sums("encode").get("vectors.npy"), sum_of(embeddings.ids, usual)
    features, counts = kept_features(cache, made_of, embeddings.vectors, usual), np.ones(len(embeddings))
    if drawn:
        return Apart(features, np.arange(len(embeddings)), counts)
    alike = kept_stand_ins(
        cache,
        made_of,
        embeddings.vectors,
        options.duplicate_distance,
        rows=usual,
        sources=pool.column("source")[places][usual],
        times=pool.column("time")[places][usual],
        seconds=options.duplicate_seconds,
    )
    stays = alike == np.arange(len(usual))
    # A person who stood there for a minute counts for all her pictures, though one of them is a candidate.
    np.add.at(counts, usual[alike[~stays]], 1)
    return Apart(features, usual[stays], counts)
