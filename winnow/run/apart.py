"""What a choice goes by, of a run's embeddings: features, and the pictures that are no outliers and no near-duplicates of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from winnow.embeddings import Embeddings
from winnow.pool.pool import Pool
from winnow.run.cache import Cache, kept_features, kept_stand_ins, sum_of
from winnow.run.folder import RunFolder


class Apart(NamedTuple):
    """Of n embeddings the whitened `features` (n, k), the rows of the `candidates` and of the `outliers`, the most anomalous first,
    and how many others are near-duplicates."""

    features: np.ndarray
    candidates: np.ndarray
    outliers: np.ndarray
    duplicates: int


def set_apart(
    run: RunFolder,
    cache: Cache,
    pool: Pool,
    embeddings: Embeddings,
    outliers_among: Callable[[np.ndarray], np.ndarray],
    drawn: bool = False,
) -> Apart:
    """Part near-duplicates and outliers from the candidates, by the run's options; features are learnt from the candidates.

    `outliers_among` returns the outliers, given the rows that are near-duplicates of no earlier one: where a camera sees an empty
    scene most of the time, what nearly all pictures differ by is no measure of how far others are from them. With `drawn`
    all pictures are candidates: of a part of them a random choice would tell nothing of all.
    """
    options, places = run.options.select, pool.rows_of(embeddings.ids)
    everything, vectors = np.arange(len(embeddings)), run.sums("encode").get("vectors.npy")
    alike = kept_stand_ins(
        cache,
        (vectors, sum_of(embeddings.ids)),
        embeddings.vectors,
        options.duplicate_distance,
        rows=everything,
        sources=pool.column("source")[places],
        times=pool.column("time")[places],
        seconds=options.duplicate_seconds,
    )
    distinct = np.flatnonzero(alike == everything)
    outliers = outliers_among(distinct)
    candidates = np.setdiff1d(distinct, outliers)
    learnt = candidates if len(candidates) else everything
    features = kept_features(cache, (vectors, sum_of(embeddings.ids, learnt)), embeddings.vectors, learnt)
    if drawn:
        return Apart(features, everything, outliers, 0)
    return Apart(features, candidates, outliers, len(everything) - len(np.union1d(distinct, outliers)))
