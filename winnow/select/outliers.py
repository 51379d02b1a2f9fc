"""Outliers: pictures so unlike the others that a person should review them separately; they teach a classifier little."""

from __future__ import annotations

import numpy as np

from winnow.errors import DataError

MAD_TO_STD = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution


def outliers_of(scores: np.ndarray, limit: float, distinct: np.ndarray | None = None) -> np.ndarray:
    """Return rows whose anomaly score (n,) lies more than `limit` robust standard deviations above the median (0: none).

    The most anomalous come first. Median and deviation are those of the rows `distinct` (all by default), of which no two are
    near-duplicates; they do not move with a few per cent of junk, as a quantile would.
    `DataError` for a score that is no number: beside it there would be no median, and no outlier.
    """
    if np.isnan(scores).any():
        raise DataError(
            f"{int(np.isnan(scores).sum()):,} of {len(scores):,} anomaly scores are not numbers.", "Calibrate again."
        )
    if not limit or not len(scores):
        return np.empty(0, int)
    of = scores if distinct is None else scores[distinct]
    middle = np.median(of)
    deviation = MAD_TO_STD * np.median(np.abs(of - middle))
    rows = np.flatnonzero(scores > middle + limit * deviation) if deviation > 0 else np.empty(0, int)
    return rows[np.argsort(-scores[rows], kind="stable")]
