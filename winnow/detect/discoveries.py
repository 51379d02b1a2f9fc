"""A batch's false discoveries: which of many pictures to flag so that, on average, few of the flagged ones belong.

Benjamini and Hochberg (1995) on conformal p-values. These depend on one another, for all are ranks among the same calibration scores,
but in a way under which the procedure holds (Bates et al., Testing for Outliers with Conformal p-values, arXiv 2104.08279, theorem 2;
Jin and Candès, Selection by Prediction with Conformal p-values, JMLR 2023).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.threshold import percent
from winnow.errors import OptionError

_ROUNDING = 1e-12  # a q-value that is the rate but for the last digit


def q_values(p_values: Any) -> np.ndarray:
    """Return the q-value (m,) of each of a batch's p-values (m,): the lowest false-discovery rate at which it is flagged.

    The k-th smallest of m p-values is flagged at a rate where it, or a larger one, is at most k/m of the rate.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    needs = p[order] * len(p) / np.arange(1, len(p) + 1)
    found = np.empty(len(p))
    found[order] = np.minimum(1.0, np.minimum.accumulate(needs[::-1])[::-1])
    return found


def flagged(q: np.ndarray, rate: float) -> np.ndarray:
    """Return which pictures (m,) bool are flagged by their q-values (m,), of which on average at most a share `rate` belongs."""
    return q <= rate + _ROUNDING


def check_discoveries(rate: float | None) -> None:
    """Raise `OptionError` for a false-discovery rate that is not between 0 and 1; None stands for none."""
    if rate is not None and not 0 < rate < 1:
        raise OptionError(
            f"--false-discoveries is {rate:g}; it must be above 0 and below 1.",
            "0.1 flags pictures of which on average at most a tenth belongs.",
        )


def note_of(detector: Detector, rate: float, pictures: int, *, related: bool) -> str:
    """Return what is to be said of a batch of so many pictures: where the share is no promise, and where few cannot be flagged.

    `related`: some are frames of a video or crops of one picture, which are alike.
    """
    said = []
    if detector.unpromised:
        said.append("The share of false discoveries is not promised, for no p-value of this run is.")
    elif detector.tail is not None:
        said.append(
            "The share of false discoveries is an estimate, for small p-values are estimated by the tail of the scores."
        )
    else:
        least = float(detector.p_values(np.array([np.inf]))[0])
        fewest = math.ceil(pictures * least / rate - _ROUNDING)
        if fewest > 1:
            said.append(
                f"No p-value is below {least:.3g}, so that among {pictures:,} pictures nothing is flagged at {percent(rate)} false "
                f"discoveries unless {fewest:,} are more anomalous than nearly all good ones held out; with "
                f"{math.ceil(pictures / rate) - 1:,} of these a single one would be."
            )
    if related:
        said.append(
            "The share of false discoveries is promised for pictures taken independently; frames of one video or crops of one picture are "
            "alike, and may be wrong together."
        )
    return " ".join(said)
