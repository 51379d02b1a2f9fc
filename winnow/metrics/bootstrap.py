"""The bootstrap over groups: frames of one video are not independent evidence, so whole groups are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

REPEATS = 1000
LEVEL = 0.95  # of an interval
HELD = 1 << 23  # counts of groups that are held at once, 64 MB: all of a million groups would be 8 GB


def group_draws(groups: int, repeats: int, rng: np.random.Generator, held: int = HELD) -> Iterator[np.ndarray]:
    """Yield how often (block, groups) each group comes up when as many are drawn with replacement, `repeats` rows in all.

    The cluster bootstrap of Efron 1979: whatever is counted by group is then a weighted sum. At most `held` counts, or one
    row, at a time; the rows are the same however they are cut.
    """
    rows = max(1, held // groups)
    chances = np.full(groups, 1 / groups)
    for start in range(0, repeats, rows):
        yield rng.multinomial(groups, chances, min(rows, repeats - start))


def interval(drawn: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return the percentile interval (2, ...) of values drawn along the first axis."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
