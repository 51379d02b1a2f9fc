"""Split the pictures of a run into those that train, validate and calibrate."""

from __future__ import annotations

from dataclasses import replace

from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.pool.splits import FEWEST_GROUPS, Split, assign
from winnow.run.folder import RunFolder

PARTED = (
    "There are too few groups to keep whole ones apart, so pictures of the same group train the network and set the threshold: "
    "they are alike, and the false-alarm rate on a new group will be higher than stated."
)


def split_of(run: RunFolder, pool: Pool) -> Split:
    """Return which pictures train, validate and calibrate: whole groups, the same at every call for the same pool and seed.

    Pictures that were cut into patches stay whole where the groups are too few: blocks would separate their patches.
    """
    options, groups = run.options.train, pool.column("group")
    given = pool.column("split").copy()
    given[~pool.usable] = "test"
    few = run.options.ingest.patches and len(set(groups)) < FEWEST_GROUPS <= len(pool.pictures)
    if few:
        groups = picture_of(pool.column("id"))
    split = assign(groups, options.seed, options.validate_share, options.calibrate_share, given=given)
    return replace(split, note=f"{PARTED} {split.note}".strip()) if few and (given == "").any() else split
