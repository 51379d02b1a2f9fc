"""Thresholds of pictures by the number of their patches: each patch more is one more that may be a false alarm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from winnow.detect.tail import tail_of
from winnow.detect.threshold import conformal, p_values

if TYPE_CHECKING:
    from winnow.detect.detector import Detector

STEP, STEPS = 2**0.25, 49  # so many times the patches of the step before; up to 4096 times as many as usual


@dataclass(frozen=True)
class Limits:
    """The thresholds (`values`) of pictures with as many patches as the calibration ones, and 2^(1/4), 2^(2/4), ... times as many.

    A picture with r times the patches is at most as likely to be refused as one of r usual ones: at the threshold for 1/r of the rate
    no more than the rate is (the union bound, whatever the patches have to do with one another). Calibration pictures have `usual`
    patches on average and `most` at most; up to so many nothing changes. From the step `estimated` on the pictures are too few to
    promise 1/r of the rate, and the threshold is that of an estimated one: by the tail of pictures or, where that is lower, by that of
    patches, of which there are many more (`winnow.detect.tail`).
    """

    usual: float
    most: int
    values: tuple[float, ...]
    estimated: int

    def steps(self, parts: np.ndarray) -> np.ndarray:
        """Return the step (n,) of pictures with so many patches (n,)."""
        grown = np.log(np.maximum(parts, 1) / self.usual) / np.log(STEP)
        found = np.clip(np.ceil(grown - 1e-9), 0, len(self.values) - 1).astype(int)
        return np.where(np.asarray(parts) <= self.most, 0, found)

    def of(self, parts: np.ndarray) -> np.ndarray:
        """Return the thresholds (n,) of pictures with so many patches (n,)."""
        return np.array(self.values)[self.steps(parts)]

    def note(self, parts: np.ndarray, *, promised: bool) -> str:
        """Return a sentence where pictures have more patches (n,) than those that set the threshold, "" where none has.

        `promised`: the threshold of usual pictures promises its rate.
        """
        steps = self.steps(parts)
        if not steps.any():
            return ""
        holds = (
            "the same false-alarm rate is promised"
            if steps.max() < self.estimated and promised
            else "their false-alarm rate is an estimate, no promise"
        )
        return (
            f"{int((steps > 0).sum()):,} of {len(steps):,} pictures have more patches (up to {int(parts.max()):,}) than those that set "
            f"the threshold ({self.most:,} at most): theirs is higher, and {holds}."
        )


def limits_of(whole: Detector, parts: np.ndarray) -> Limits:
    """Return the thresholds by a detector calibrated on pictures that have so many patches (n,)."""
    base = whole.threshold
    rate = conformal(whole.calibration, whole.false_alarm_rate, whole.confidence, weights=whole.weights).achieved
    rate = base.achieved if base.estimated else rate
    values, estimated = [base.value], 0 if base.estimated else STEPS
    for step in range(1, STEPS):
        found = conformal(
            whole.calibration, rate / STEP**step, whole.confidence, weights=whole.weights, estimate=not whole.unpromised
        )
        value = found.value
        if found.estimated and whole.patch_tail is not None:
            value = min(value, whole.patch_tail.value(rate / STEP**step / float(parts.mean())))
        values.append(max(values[-1], value, *([float(whole.calibration.max())] if found.estimated else [])))
        if found.estimated or found.achieved > rate / STEP**step + 1e-9:
            estimated = min(estimated, step)
    return Limits(float(parts.mean()), int(parts.max()), tuple(values), estimated)


def p_values_by_parts(whole: Detector, limits: Limits, scores: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return p-values (n,) of pictures with so many patches (n,): so many times as large as those of usual ones."""
    steps = limits.steps(parts)
    found = whole.p_values(scores)
    if steps.any() and not whole.unpromised:
        tail = tail_of(whole.calibration, whole.weights)
        grown = p_values(whole.calibration, scores, whole.weights, tail)
        if tail is not None and whole.patch_tail is not None:
            beyond = scores > whole.calibration.max()
            grown = np.where(beyond, np.minimum(grown, limits.usual * whole.patch_tail.chance(scores)), grown)
        found = np.where(steps > 0, grown, found)
    return np.minimum(1.0, found * STEP**steps)
