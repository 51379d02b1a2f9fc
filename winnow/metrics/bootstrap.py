"""The bootstrap over groups: frames of one video are not independent evidence, so whole groups are drawn."""

from __future__ import annotations

import numpy as np

REPEATS = 1000
LEVEL = 0.95  # of an interval


def group_draws(groups: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often (repeats, groups) each group comes up when as many are drawn with replacement.

    The cluster bootstrap of Efron 1979: whatever is counted by group is then a weighted sum.
    """
    return rng.multinomial(groups, np.full(groups, 1 / groups), repeats)


def interval(drawn: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return the percentile interval (2, ...) of values drawn along the first axis."""
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
