"""Whether a threshold still holds while pictures come one after another: a conformal test martingale over their scores.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2nd ed., 2022), chapter 8; the betting is the Simple Jumper of Vovk
et al., Retrain or not retrain: conformal test martingales for change-point detection (COPA 2021), algorithm 1.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from winnow.errors import DataError, OptionError

ALARM = 0.01
"""Chance of ever raising an alarm over a process that does not change."""
FOREIGN = 0.3
"""Share of what comes that may be refused without the process having changed."""
BLOCK = 60.0  # seconds of a video that count as one picture
JUMP = 0.01  # share of the capital that changes its bet at each step, so that a late change is found as soon as an early one
SLOPES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # bets 1 + slope (p - 1/2): negative ones win where p-values are small
SHARES = np.array([0.5, 0.7, 0.9])  # of refused pictures, bet on by likelihood ratios
MOST = 1_000_000  # scores that new ones are ranked among; among so many a rank is off by a thousandth at most


class Drift:
    """Bets against an unchanged process, one score a block of time, so that its capital grows only where the process has changed.

        drift = Drift(detector.calibration, detector.threshold.value)
        for score in scores:  # of one picture a block, since those of a minute are alike
            drift.update(score)
            if drift.alarmed: ...

    From a capital of 1 the chance that it ever reaches 1/`alarm` is at most `alarm`, however long one watches (Ville's inequality), while

    - the scores that belong, the calibration ones and those that came, are exchangeable: each new one is ranked among *all* before it,
      ties broken at random, which makes the ranks independent and uniform. Ranks among the calibration scores alone would raise an alarm
      on every long stream, by the chance of which pictures they came from; and
    - at most a share `foreign` of the blocks is refused. Foreign pictures are no change of the process, so that refused ones take no part
      in the ranks; where more than that are refused, it is more likely that the camera was moved.

    Half of the capital bets on each. The same scores and `seed` give the same capital: a list of scores is all that needs to be stored,
    or that list and `as_json`, with which another process need not bet again. `at` is the block of the alarm, `since` the one from
    which on the capital only grew, in which the change began, as far as can be told.
    It bets on slow and sudden changes either way, not on pictures that are too equal (a camera that stands still).
    """

    def __init__(
        self, calibration: Any, threshold: float, *, alarm: float = ALARM, foreign: float = FOREIGN, seed: int = 0
    ) -> None:
        check_alarm(alarm)
        if not 0 < foreign < SHARES[0]:
            raise OptionError(f"foreign is {foreign}; it must be above 0 and below {SHARES[0]}.")
        scores = np.asarray(calibration, dtype=np.float64)
        if not (scores.ndim == 1 and np.isfinite(scores).all()):
            raise DataError("The calibration scores must be a list of finite numbers.")
        self.threshold, self.alarm, self.foreign = threshold, alarm, foreign
        self._before = sorted(scores[scores <= threshold].tolist())
        self._random = np.random.default_rng(seed)
        self._ranks = np.full(len(SLOPES), 1 / len(SLOPES))
        self._refused = np.full(1 + len(SHARES), 1 / (1 + len(SHARES)))  # the first one bets on nothing
        self._logs = [
            0.0,
            0.0,
        ]  # of the capital of each half; kept apart, so that a long unchanged time loses no digits
        self.blocks, self.since, self._lowest = 0, 1, 0.0
        self.at: int | None = None

    def update(self, score: float) -> float:
        """Bet on the score of one more block, and return the logarithm (base 10) of the capital; `DataError` for no finite number."""
        if not math.isfinite(score):
            raise DataError(f"A score is {score}; it must be finite.")
        self.blocks += 1
        refused = score > self.threshold
        odds = SHARES / self.foreign if refused else (1 - SHARES) / (1 - self.foreign)
        self._refused = self._bet(1, self._refused, np.append(1.0, odds))
        if not refused:
            self._ranks = self._bet(0, self._ranks, 1 + SLOPES * (self._p_value(score) - 0.5))
        if self.log10 < self._lowest and self.at is None:
            self._lowest, self.since = self.log10, self.blocks + 1
        if self.at is None and self.log10 >= -math.log10(self.alarm):
            self.at = self.blocks
        return self.log10

    def extend(self, scores: Iterable[float]) -> list[float]:
        """Bet on the scores of many blocks, as those of an interrupted watch; return the logarithm of the capital after each."""
        return [self.update(float(score)) for score in scores]

    def as_json(self) -> dict[str, Any]:
        """Return how the bets stand, without the scores, for `remember` of another process."""
        return {
            "ranks": self._ranks.tolist(),
            "refused": self._refused.tolist(),
            "logs": list(self._logs),
            "blocks": self.blocks,
            "at": self.at,
            "since": self.since,
            "lowest": self._lowest,
            "random": self._random.bit_generator.state,
        }

    def remember(self, kept: dict[str, Any], scores: Iterable[float]) -> None:
        """Go on where another went on from: what its `as_json` returned, and all scores that it was given, or the first `MOST`."""
        self._ranks, self._refused = np.array(kept["ranks"]), np.array(kept["refused"])
        self._logs, self.blocks, self.at = list(kept["logs"]), kept["blocks"], kept["at"]
        self.since, self._lowest = kept["since"], kept["lowest"]
        self._random.bit_generator.state = kept["random"]
        belong = [score for score in scores if score <= self.threshold]
        self._before = sorted(self._before + belong[: max(0, MOST - len(self._before))])

    @property
    def log10(self) -> float:
        """Return the logarithm (base 10) of the capital: 2 is a hundred times what it began with."""
        ranks, refused = self._logs
        return float(np.logaddexp(ranks, refused) - math.log(2)) / math.log(10)

    @property
    def alarmed(self) -> bool:
        """Return whether the capital has ever reached 1/`alarm`, first in block `at`."""
        return self.at is not None

    def _p_value(self, score: float) -> float:
        """Return the rank of a score among all before it as a share, ties at random; the score is then one of them."""
        first, last = bisect.bisect_left(self._before, score), bisect.bisect_right(self._before, score)
        above, equal = len(self._before) - last, last - first + 1
        found = (above + self._random.random() * equal) / (len(self._before) + 1)
        if len(self._before) < MOST:
            self._before.insert(last, score)
        return found

    def _bet(self, half: int, shares: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Return the shares of the bets in a half's capital after one more outcome, which it multiplies by so many `factors`."""
        shares = ((1 - JUMP) * shares + JUMP / len(shares)) * factors
        self._logs[half] += math.log(shares.sum())
        return shares / shares.sum()


def blocks(sources: Any, times: Any, seconds: float, seed: int = 0) -> np.ndarray:
    """Return a row for each block, in their order: a frame drawn from each `seconds` of each video, and every picture.

    `sources` and `times` (n,) are the rows', NaN for a picture that is no frame. Drawn at random, so that it is a frame like any other.
    """
    random = np.random.default_rng(seed)
    members: dict[tuple[Any, float], list[int]] = {}
    for row, (source, time) in enumerate(zip(sources, np.asarray(times, dtype=np.float64), strict=True)):
        members.setdefault((source, row) if math.isnan(time) else (source, time // seconds), []).append(row)
    return np.array([random.choice(rows) for rows in members.values()], dtype=int)


def check_alarm(alarm: float) -> None:
    """Raise `OptionError` for a chance of an alarm that is not between 0 and 1."""
    if not 0 < alarm < 1:
        raise OptionError(
            f"--drift-alarm is {alarm:g}; it must be above 0 and below 1.",
            "0.01 keeps false alarms to one stream in a hundred.",
        )
