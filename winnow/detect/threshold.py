"""From scores to decisions: conformal p-values, and a threshold whose false-alarm rate is promised.

Split conformal prediction (Bates et al., Testing for Outliers with Conformal p-values, arXiv 2104.08279, sections 2
and 3). A promise is about pictures exchangeable with the calibration ones: held out from training, and of groups
(videos, folders) like those that will come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from winnow.detect.tail import Tail, tail_of
from winnow.errors import DataError, OptionError
from winnow.estimator import within

USUAL_RATE = 0.05
"""Rate where none is asked for."""
FEWEST_ABOVE = 3
"""Calibration scores above a threshold below which one odd picture among them can blind the detector."""
LOOSEST = 2.0
"""How many times `USUAL_RATE` may be promised, so that the threshold need not rest on fewer."""
_ROUNDING = 1e-9  # (n + 1)(1 - rate) is often a whole number that floating point misses by a hair


@dataclass(frozen=True)
class Threshold:
    """A threshold: scores above `value` are called anomalous; `achieved` is the false-alarm rate promised for that.

    `false_alarm_rate` is the rate asked for; `achieved` is above it only when the `n` calibration scores are too few, which `note`
    then says. `above` of the calibration scores are above `value`. A score is above it exactly when its p-value is at most `level`.
    `estimated`: `achieved` is not promised but estimated, from the tail of the scores. `groups` is the number of groups the
    calibration scores come from (0: unknown), `effective` how many equally weighted scores they amount to.
    """

    value: float
    false_alarm_rate: float
    achieved: float
    n: int
    confidence: float
    note: str = ""
    level: float = 0.0
    groups: int = 0
    effective: float = 0.0
    above: int = 0
    estimated: bool = False


def group_weights(groups: Any) -> np.ndarray:
    """Return weights (n,) of pictures by their groups (n,): 1, but no group weighs more than the median group has pictures.

    Otherwise a long video would set the threshold alone, though it is a single example of a normal video.
    """
    _, member, sizes = np.unique(np.asarray(groups).astype(str), return_inverse=True, return_counts=True)
    return (np.minimum(sizes, np.median(sizes)) / sizes)[member] if len(member) else np.empty(0)


def p_values(calibration: Any, scores: Any, weights: Any = None, tail: Tail | None = None) -> np.ndarray:
    """Return conformal p-values (m,) of `scores` (m,): the share of normals at least as anomalous, (1 + #{c >= s}) / (n + 1).

    `calibration` (n,) are scores of held-out normals; with `weights` (n,) their share is weighted and n is Kish's
    effective number (sum w)^2 / sum w^2. Small = anomalous; never 0. With a `tail` those of scores above
    all of `calibration` are estimated by it. `DataError` when there are no calibration scores or
    a value is not a number.
    """
    ordered, above, effective = survival(calibration, weights)
    scores = _scores(scores, "scores", empty=True)
    found = (1 + above[np.searchsorted(ordered, scores, side="left")]) / (effective + 1)
    return found if tail is None else np.where(scores > ordered[-1], tail_p_values(tail, scores, effective), found)


def check_rate(false_alarm_rate: float | None, confidence: float = 0.0) -> None:
    """Raise `OptionError` for a rate that is not between 0 and 1 (None stands for the usual one), or a confidence that is none."""
    if false_alarm_rate is not None and (false_alarm_rate == 0 or not within(false_alarm_rate, 0, 1)):
        raise OptionError(
            f"false_alarm_rate is {false_alarm_rate}; it must be above 0 and below 1.",
            "0.01 asks for one in a hundred.",
        )
    if not within(confidence, 0, 1):
        raise OptionError(
            f"confidence is {confidence}; it must be from 0 to below 1.", "0.95 is usual; 0 keeps the rate on average."
        )


def conformal(
    calibration: Any,
    false_alarm_rate: float | None = None,
    confidence: float = 0.0,
    *,
    groups: Any = None,
    weights: Any = None,
    estimate: bool = False,
) -> Threshold:
    """Return the threshold that calls at most a share `false_alarm_rate` of new normals anomalous.

    It is the k-th smallest of the n calibration scores: k = ceil((n + 1)(1 - rate)) keeps the rate on average over
    calibration sets; with a `confidence`, such as 0.95, k is the smallest that keeps it in 95 % of calibration sets (the share of new
    normals above the k-th of n is Beta(n + 1 - k, k) distributed). `weights` (n,) as in `p_values`; `groups` (n,) are
    counted for the note. With too few scores it is the largest, with the rate that can be promised and a note.

    Without a rate it is `USUAL_RATE`, and the threshold leaves `FEWEST_ABOVE` scores above it, where that promises no more than
    `LOOSEST` times the rate; else as many as that allows. With `estimate` a rate that cannot be promised is estimated
    (`winnow.detect.tail`). `OptionError` when the rate is not between 0 and 1; `DataError`
    when there are no scores or one is not a number.
    """
    check_rate(false_alarm_rate, confidence)
    ordered, above, effective = survival(calibration, weights)
    n = len(ordered)
    if groups is not None and len(groups) != n:
        raise DataError(f"There are {n} calibration scores but {len(groups)} groups.", "Give each score its group.")
    promised = _promised(effective, above[1:], confidence)
    rate = USUAL_RATE if false_alarm_rate is None else false_alarm_rate
    kept = np.flatnonzero(promised <= rate + _ROUNDING)
    place = int(kept[0]) if kept.size else n - 1
    if false_alarm_rate is None:
        loose = np.flatnonzero(promised <= LOOSEST * rate + _ROUNDING)
        place = min(place, max(n - 1 - FEWEST_ABOVE, int(loose[0]))) if loose.size else place
    counted = 0 if groups is None else len(set(np.asarray(groups).tolist()))
    found = Threshold(
        float(ordered[place]),
        rate,
        float(promised[place]),
        n,
        confidence,
        level=float((1 + above[place + 1]) / (effective + 1)),
        groups=counted,
        effective=effective,
        above=int((ordered > ordered[place]).sum()),
    )
    tail = tail_of(ordered, np.diff(-above)) if estimate and found.achieved > rate + _ROUNDING else None
    if tail is not None:
        value = max(tail.value(rate), float(ordered[-1]))
        level = float(np.nextafter(tail_p_values(tail, np.array([value]), effective)[0], 0))
        found = replace(found, value=value, achieved=rate, level=level, above=0, estimated=True)
    return replace(found, note=_note(found, usual=false_alarm_rate is None))


def tail_p_values(tail: Tail, scores: Any, effective: float) -> Any:
    """Return estimated p-values (m,) of scores (m,) above all of so many calibration scores, in the library of their array."""
    from array_api_compat import array_namespace

    return array_namespace(scores).clip(tail.chance(scores), None, 1 / (effective + 1))


def needed(false_alarm_rate: float, confidence: float = 0.0) -> int:
    """Return how many independent normals are enough to promise the rate (99 for 1 % on average, 299 with 95 % confidence)."""
    if confidence:
        return math.ceil(math.log(1 - confidence) / math.log1p(-false_alarm_rate) - _ROUNDING)
    return max(1, math.ceil(1 / false_alarm_rate - 1 - _ROUNDING))


def survival(calibration: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Return sorted scores (n,), the weight from each position on (n + 1,), and the effective number, which is the weight of all."""
    scores = _scores(calibration, "calibration scores")
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != scores.shape or not (np.isfinite(weights).all() and (weights > 0).all()):
        raise DataError(f"The {len(scores)} calibration scores need as many weights, finite and above 0.")
    order = np.argsort(scores, kind="stable")
    weights = weights[order] * (weights.sum() / (weights**2).sum())
    from_here = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    return scores[order], from_here, float(from_here[0])


def _promised(n: float, above: np.ndarray, confidence: float) -> np.ndarray:
    """Return the false-alarm rate that a threshold with `above` of the n calibration scores above it can promise."""
    if not confidence:
        return (1 + above) / (n + 1)
    from scipy.special import betaincinv

    return 1 - betaincinv(n - above, 1 + above, 1 - confidence)


def _note(found: Threshold, usual: bool) -> str:
    """Say where less is promised than was asked for, and what the threshold rests on; nothing where all is well."""
    n, groups, asked = found.n, found.groups, found.false_alarm_rate
    enough = needed(asked, found.confidence)
    origin = _count(n, "held-out picture") + ("" if groups in (0, n) else f" from {_count(groups, 'group')}")
    if round(found.effective) < n:
        origin += f" (unequal ones, worth {found.effective:.0f} pictures)"
    if found.estimated:
        return (
            f"{percent(asked)} false alarms are an estimate by the tail of the scores of {origin}, not a promise: these can promise "
            f"{percent(1 / (found.effective + 1))} at best; {_wanted(found, enough)}."
        )
    if usual and found.above and found.achieved > asked + _ROUNDING:
        return (
            f"{percent(found.achieved)} false alarms are promised, not the usual {percent(asked)}: {origin} are few, and a "
            f"threshold above all{f' but {found.above - 1}' if found.above > 1 else ''} of them would be set by an odd one; "
            f"{_wanted(found, math.ceil((FEWEST_ABOVE + 1) / asked) - 1)}."
        )
    if found.achieved > asked + _ROUNDING:
        return (
            f"{percent(asked)} false alarms {manner_of(found.confidence)} were requested, but {origin} can promise no less than "
            f"{percent(found.achieved)}; {_wanted(found, enough)}."
        )
    if found.above < FEWEST_ABOVE:
        return (
            f"Only {found.above} of {origin} score above the threshold: one odd picture among them can blind the detector; "
            f"look at them, give more pictures, or ask for a higher rate than {percent(asked)}."
        )
    if 0 < groups < min(n, enough):
        return (
            f"The threshold comes from {origin}: pictures of one group are alike and count for less than independent "
            f"ones, so in single new groups the rate may differ widely from {percent(asked)}; "
            f"calibrate on more groups (videos, folders)."
        )
    return ""


def _wanted(found: Threshold, enough: int) -> str:
    """Return how many held-out pictures promise what was asked, and how many of them are missing."""
    return f"{percent(found.false_alarm_rate)} needs {enough:,}, {max(1, enough - math.floor(found.effective)):,} more"


def manner_of(confidence: float) -> str:
    """Return how a rate is promised, in words: on average, or with a confidence."""
    return f"with {percent(confidence)} confidence" if confidence else "on average"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def percent(rate: float) -> str:
    """Return a rate as a percentage of three digits."""
    return f"{100 * rate:.3g} %"


def _scores(values: Any, what: str, empty: bool = False) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"The {what} must be a list of numbers, not an array of shape {array.shape}.")
    if not empty and len(array) == 0:
        raise DataError(
            f"There are no {what}.",
            "Keep some normal pictures out of training (calibrate_share) and calibrate on them.",
        )
    if np.isnan(array).any():
        raise DataError(
            f"{int(np.isnan(array).sum())} of {len(array)} {what} are not a number.",
            "Look for pictures or weights with NaN; scores must be finite.",
        )
    return array
