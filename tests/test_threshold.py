"""Thresholds and p-values against brute force, simulated coverage, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from winnow.detect.threshold import FEWEST_ABOVE, USUAL_RATE, conformal, group_weights, needed, p_values
from winnow.errors import DataError, OptionError


def brute_rank(n: int, rate: float, confidence: float) -> int | None:
    """The smallest rank that keeps the promise, by trying all; None when none does."""
    for rank in range(1, n + 1):
        kept = binom.cdf(rank - 1, n, 1 - rate) >= confidence if confidence else rank / (n + 1) >= 1 - rate - 1e-12
        if kept:
            return rank
    return None


@pytest.mark.parametrize("confidence", [0.0, 0.95])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5])
def test_rank_is_the_smallest_that_keeps_the_promise(rate: float, confidence: float) -> None:
    rng = np.random.default_rng(0)
    for n in [*range(1, 130), 298, 299, 300, 1000]:
        scores = rng.normal(size=n)
        threshold, rank = conformal(scores, rate, confidence), brute_rank(n, rate, confidence)
        assert threshold.value == np.sort(scores)[(rank or n) - 1]
        assert (threshold.achieved <= rate + 1e-9) == (rank is not None)
        assert ("can promise no less" in threshold.note) == (rank is None)
        assert threshold.above == n - (rank or n)
        assert ("can blind the detector" in threshold.note) == (rank is not None and threshold.above < FEWEST_ABOVE)


def test_known_numbers_of_normals() -> None:
    assert (needed(0.01), needed(0.05), needed(0.05, 0.95), needed(0.01, 0.95)) == (99, 19, 59, 299)
    for rate, confidence in [(0.01, 0.0), (0.05, 0.0), (0.05, 0.95), (0.01, 0.95), (0.1, 0.95), (0.05, 0.5)]:
        enough = needed(rate, confidence)
        assert "can promise no less" not in conformal(np.arange(enough), rate, confidence).note
        assert "can promise no less" in conformal(np.arange(enough - 1), rate, confidence).note


def test_without_a_rate_the_threshold_rests_on_three_where_that_promises_ten_per_cent_at_most() -> None:
    for n in range(1, 200):
        threshold, strict = conformal(np.arange(n)), conformal(np.arange(n), USUAL_RATE)
        assert threshold.false_alarm_rate == USUAL_RATE == 0.05
        most = max([0, *(above for above in range(1, FEWEST_ABOVE + 1) if (above + 1) / (n + 1) <= 0.1 + 1e-9)])
        assert threshold.above == max(strict.above, most)
        assert threshold.achieved == pytest.approx((threshold.above + 1) / (n + 1))
        assert bool(threshold.note) == (n < 79)
    assert conformal(np.arange(40)).above == 3 and conformal(np.arange(40), 0.05).above == 1
    assert "9.76 % false alarms are promised, not the usual 5 %" in conformal(np.arange(40)).note
    assert conformal(np.arange(10)).above == 0 and "9.09 %" in conformal(np.arange(10)).note
    assert conformal(np.arange(100), confidence=0.95).achieved <= 0.1


@pytest.mark.parametrize("dirt", [0.0, 0.01, 0.03, 0.05])
def test_the_rate_asked_for_is_kept_in_the_mean_of_draws(dirt: float) -> None:
    """200 draws of 150 normal scores, some of them anomalous: no more is refused; once looked through, all is found as well."""
    rng = np.random.default_rng(int(100 * dirt))
    rates: dict[float | None, list[float]] = {0.01: [], None: [], 0.1: []}
    found, reviewed = [], []
    for _ in range(200):
        anomalous = rng.random(150) < dirt
        scores, new = rng.gumbel(size=150) + 6 * anomalous, rng.gumbel(size=2000)
        for rate, refused in rates.items():
            refused.append(float((new > conformal(scores, rate).value).mean()))
        usual = conformal(scores).value
        found.append(float((new + 6 > usual).mean()))
        reviewed.append(float((new + 6 > conformal(scores[~anomalous | (scores <= usual)]).value).mean()))
    for rate, refused in rates.items():
        error = np.std(refused) / np.sqrt(len(refused))
        assert np.mean(refused) <= (rate or USUAL_RATE) + 2 * error
    assert np.mean(found) > {0.0: 0.97, 0.01: 0.97, 0.03: 0.9, 0.05: 0.7}[dirt] and np.mean(reviewed) > 0.96


def test_too_few_normals_say_what_can_be_promised() -> None:
    threshold = conformal(np.arange(30), 0.01, groups=np.repeat(["a", "b", "c"], 10))
    assert threshold.value == 29
    assert threshold.achieved == pytest.approx(1 / 31)
    for words in ("1 %", "30 held-out pictures", "3 groups", "3.23 %", "1 % needs 99, 69 more", "on average"):
        assert words in threshold.note
    confident = conformal(np.arange(30), 0.01, confidence=0.95)
    assert confident.achieved == pytest.approx(1 - 0.05 ** (1 / 30))
    assert "95 % confidence" in confident.note
    assert "299" in confident.note


def test_few_groups_are_noted_even_when_pictures_are_many() -> None:
    few = conformal(np.arange(1000), 0.01, groups=np.arange(1000) // 250)
    assert "4 groups" in few.note
    assert few.achieved <= 0.01
    assert conformal(np.arange(1000), 0.01, groups=np.arange(1000)).note == ""


def test_p_values_against_counting_with_ties() -> None:
    rng = np.random.default_rng(1)
    calibration, scores = rng.integers(0, 8, 41).astype(float), np.arange(-2.0, 11.0, 0.5)
    slow = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    assert p_values(calibration, scores) == pytest.approx(slow, abs=0)
    assert p_values([1.0], [2.0, 1.0, 0.0]).tolist() == [0.5, 1.0, 1.0]
    assert p_values([1.0, 2.0], []).shape == (0,)


@pytest.mark.parametrize("confidence", [0.0, 0.95])
@pytest.mark.parametrize("weighted", [False, True])
def test_above_the_threshold_is_the_same_as_a_p_value_of_at_most_the_level(confidence: float, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    for n in (1, 7, 60, 400):
        calibration = rng.integers(0, 50, n).astype(float)
        weights = rng.uniform(0.1, 1, n) if weighted else None
        scores = np.arange(-1.0, 52.0, 0.25)
        threshold = conformal(calibration, 0.05, confidence, weights=weights)
        anomalous = p_values(calibration, scores, weights) <= threshold.level
        assert anomalous.tolist() == (scores > threshold.value).tolist()


def test_false_alarms_on_average_are_those_asked_for() -> None:
    rng = np.random.default_rng(3)
    for n, rate in [(99, 0.01), (199, 0.05), (49, 0.1)]:
        rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
        assert conformal(np.arange(n), rate).value == rank - 1
        values = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, rank - 1]  # scores uniform: false alarms = 1 - value
        assert (1 - values).mean() == pytest.approx(rate, abs=4 * (1 - values).std() / 4000**0.5)


def test_false_alarms_with_confidence_are_kept_in_95_percent_of_calibrations() -> None:
    rng = np.random.default_rng(4)
    for n, rate in [(299, 0.01), (500, 0.05), (100, 0.1)]:
        rank = int(conformal(np.arange(n), rate, confidence=0.95).value) + 1
        values = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, rank - 1]
        kept = ((1 - values) <= rate).mean()
        assert kept > 0.94
        assert (1 - np.sort(rng.uniform(size=(4000, n)), axis=1)[:, rank - 2] <= rate).mean() < 0.96


def test_p_values_of_normals_are_uniform_or_larger() -> None:
    rng = np.random.default_rng(5)
    p = np.concatenate([p_values(rng.normal(size=50), rng.normal(size=50)) for _ in range(400)])
    for level in (0.02, 0.1, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=0.02)


def test_no_group_weighs_more_than_the_median_one() -> None:
    groups = np.repeat(["long", "a", "b", "c", "lone"], [200, 10, 12, 8, 1])
    weights = group_weights(groups)
    total = {name: weights[groups == name].sum() for name in dict.fromkeys(groups)}
    assert total == pytest.approx({"long": 10, "a": 10, "b": 10, "c": 8, "lone": 1})
    assert group_weights(np.arange(5)).tolist() == [1] * 5
    assert group_weights([]).shape == (0,)


def test_a_long_unusual_group_does_not_set_the_threshold_alone() -> None:
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(31), [600] + [20] * 30)
    scores = rng.normal(size=1200) + np.where(groups == 0, 5.0, 0.0)
    pooled, weighted = conformal(scores, 0.05), conformal(scores, 0.05, weights=group_weights(groups))
    assert pooled.value > 5
    assert weighted.value < 5
    assert weighted.effective < 1200
    assert conformal(scores, 0.05, weights=np.full(1200, 0.3)).value == pooled.value


def test_coverage_over_new_groups_of_unequal_size() -> None:
    """Groups differ in level; over new groups, each equally likely, the rate is near the one asked for."""
    rng = np.random.default_rng(7)
    alarms = []
    for _ in range(300):
        sizes = rng.choice([20, 200], 60)
        groups = np.repeat(np.arange(60), sizes)
        scores = rng.normal(size=60)[groups] + rng.normal(size=sizes.sum())
        threshold = conformal(scores, 0.1, weights=group_weights(groups)).value
        alarms.append((rng.normal() + rng.normal(size=200) > threshold).mean())
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, math.nan])
def test_rates_without_meaning_are_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="false_alarm_rate"):
        conformal([1.0, 2.0], rate)


def test_bad_scores_are_refused() -> None:
    with pytest.raises(DataError, match="no calibration scores"):
        conformal([], 0.05)
    with pytest.raises(DataError, match="1 of 2 calibration scores are not a number"):
        conformal([1.0, math.nan], 0.05)
    with pytest.raises(DataError, match="1 of 1 scores"):
        p_values([1.0], [math.nan])
    with pytest.raises(DataError, match="shape"):
        p_values([[1.0]], [1.0])
    with pytest.raises(DataError, match="groups"):
        conformal([1.0, 2.0], 0.05, groups=["a"])
    with pytest.raises(DataError, match="weights"):
        p_values([1.0, 2.0], [1.0], weights=[1.0, 0.0])


def test_infinite_scores_are_anomalous() -> None:
    assert p_values([1.0, 2.0, 3.0], [np.inf, -np.inf]).tolist() == [0.25, 1.0]
