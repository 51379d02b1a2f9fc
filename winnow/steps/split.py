"""Which pictures of a run train, validate and calibrate."""

from __future__ import annotations

from winnow.data.pool import Pool
from winnow.data.splits import Split, assign
from winnow.run import RunFolder


def split_of(run: RunFolder, pool: Pool) -> Split:
    """Which pictures train, validate and calibrate: whole groups, the same at every call for the same pool and seed."""
    options = run.options.train
    given = pool.column("split").copy()
    given[~pool.usable] = "test"
    return assign(pool.column("group"), options.seed, options.validate_share, options.calibrate_share, given=given)
