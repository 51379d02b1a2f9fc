"""Scores of bare patches: blank ones, in a picture with clearly more of it than good ones have, are damage whatever a scorer says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from winnow.detect.detector import Detector


def highest_of(detector: Detector) -> float:
    """Return what no calibration score is above, nor the threshold."""
    return float(max(detector.calibration.max(), detector.threshold.value))


def above(scores: np.ndarray) -> np.ndarray:
    """Return scores just above others, told apart in tables too."""
    return scores + np.maximum(0.01 * np.abs(scores), 1e-6)


def counted(member: np.ndarray, bare: np.ndarray | None) -> np.ndarray:
    """Return how many patches (m,) of each picture may be a false alarm: all but the bare ones, of patches (n,) by their pictures' rows."""
    return np.bincount(member, None if bare is None else ~bare).astype(int)


def raised(
    scores: np.ndarray,
    bare: np.ndarray,
    member: np.ndarray,
    highest: float,
    limits: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the scores of patches (n,), those of bare ones above the `highest` of the calibration and the limit of their picture.

    `member` (n,) is the row of each patch's picture, `limits` returns the thresholds of pictures with so many patches.
    """
    if not bare.any():
        return scores
    least = above(np.maximum(limits(counted(member, bare)), highest))
    return np.where(bare, np.maximum(scores, least[member]), scores)
