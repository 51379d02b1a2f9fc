"""Bins of histograms that share one axis, and the sentence on what lies beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edges_of(
    samples: Sequence[np.ndarray], bins: int, *, ratio: float, reach: float, threshold: float | None = None
) -> tuple[np.ndarray, bool]:
    """Return the edges (bins + 1,) over the usual range of samples (n,), none of them empty, and whether they are logarithmic.

    The range leaves out the lowest 0.2 % and the highest 1 % of each sample, and holds `threshold` where it is finite. Positive
    values that span more than a factor of `ratio` get a logarithmic axis; a linear one ends `reach` interquartile ranges from
    the median of the first sample, so that a far sample does not press the first into one bin.
    """
    marks = [threshold] if threshold is not None and np.isfinite(threshold) else []
    low = min([*(np.sort(values)[len(values) // 500] for values in samples), *marks])
    high = max([*(np.sort(values)[-1 - len(values) // 100] for values in samples), *marks])
    if low > 1e-12 * high and high > ratio * low > 0:
        return np.geomspace(low / 1.1, high * 1.1, bins + 1), True
    quarter, middle, three = np.quantile(samples[0], (0.25, 0.5, 0.75))
    if three > quarter:
        span = reach * (three - quarter)
        low, high = min([max(low, middle - span), *marks]), max([min(high, middle + span), *marks])
    margin = 0.03 * (high - low) or max(abs(high), 1.0) * 0.01
    return np.linspace(low - margin, high + margin, bins + 1), False


def shares_in(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the share of values (n,) in each bin; values beyond the edges count in the outermost bins."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts / max(len(values), 1)


def beyond(samples: Sequence[np.ndarray], edges: np.ndarray) -> str:
    """Return a remark on how many values lie beyond the edges, "" for none."""
    outside = sum(int(((values < edges[0]) | (values > edges[-1])).sum()) for values in samples)
    return f"{outside:,} beyond the axis are in the outermost bins" if outside else ""
