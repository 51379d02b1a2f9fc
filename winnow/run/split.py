"""Split the pictures of a run into those that train, validate and calibrate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from winnow.embeddings import Embeddings
from winnow.pool.pool import Pool
from winnow.pool.splits import FEWEST_GROUPS, Split, assign, with_twins
from winnow.run.folder import RunFolder

FEWEST = 3  # pictures of which one each can train, choose the checkpoint and set the threshold
HELD_OUT = ("validate", "calibrate", "test")
PARTED = (
    "There are too few groups to keep whole ones apart, so pictures of the same group train the network and set the threshold: "
    "they are alike, and the false-alarm rate on a new group will be higher than stated."
)


def split_of(run: RunFolder, pool: Pool) -> Split:
    """Return which pictures train, validate and calibrate: whole joined groups, the same at every call for the same pool and seed.

    Pictures that were cut into patches stay whole where the groups are too few: blocks would separate their patches.
    """
    options, groups = run.options.train, pool.column("joined")
    given = pool.column("split")
    used = pool.usable & (given != "test")
    if used.sum() < FEWEST:  # enough for a network that is not trained, and nothing to choose from
        return Split(np.where(used, "train", "test"))
    few = run.options.ingest.cuts and len(set(groups)) < FEWEST_GROUPS <= len(pool.pictures)
    if few:
        groups = pool.column("twin")
    shares = options.validate_share, options.calibrate_share
    split = assign(groups, options.seed, *shares, given=given, twins=pool.column("twin"), left_out=~pool.usable)
    return replace(split, note=f"{PARTED} {split.note}".strip()) if few and (given == "").any() else split


def kept_apart(pool: Pool, embeddings: Embeddings, *splits: str) -> np.ndarray:
    """Return which of the embeddings (n,) are of pictures that the user gave as one of the splits, or of their twins."""
    given, _ = with_twins(pool.column("split"), pool.column("twin"))
    return np.isin(given, splits)[pool.rows_of(embeddings.ids)]


def without(embeddings: Embeddings, apart: np.ndarray) -> Embeddings:
    """Return the embeddings that are not `apart` (n,); all of them as they are, and not in memory, where none is."""
    return embeddings[~apart] if apart.any() else embeddings
