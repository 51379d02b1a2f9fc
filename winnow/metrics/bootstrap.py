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


def corrected_interval(found: np.ndarray, drawn: np.ndarray, without: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return intervals (m, 2) of m values from the bootstrap: percentiles corrected for bias and skewness, and for few groups.

    `found` (m,) is what was measured, `drawn` (repeats, m) the bootstrap's draws of it, `without` (n, m) the value with each group
    left out, `groups` (m,) how many groups tell something of it. Percentiles alone are too narrow with few groups, and lie on the wrong
    side where draws are skewed. Sources: Efron 1987, Better Bootstrap Confidence Intervals, section 6 (BCa); Hesterberg 2015,
    What Teachers Should Know About the Bootstrap, section 5.3 (quantiles of Student's t in place of the normal's).
    """
    from scipy.special import ndtr, ndtri
    from scipy.stats import t as student

    below = (drawn < found).mean(axis=0) + (drawn == found).mean(axis=0) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    apart = without.mean(axis=0) - without
    spread = (apart**2).sum(axis=0) ** 1.5
    skewness = np.divide((apart**3).sum(axis=0), 6 * spread, out=np.zeros(len(found)), where=spread > 0)
    free = np.maximum(groups - 1, 1)
    far = student.ppf((1 + LEVEL) / 2, free) * np.sqrt((free + 1) / free)
    shifted = bias + np.stack([-far, far])
    scale = 1 - skewness * shifted
    levels = ndtr(bias + np.where(scale > 0, shifted / np.where(scale > 0, scale, 1), np.copysign(np.inf, shifted)))
    return np.stack([np.quantile(drawn[:, one], levels[:, one]) for one in range(len(found))])
