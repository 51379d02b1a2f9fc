"""Metrics against scikit-learn and against obvious counting; intervals against a slow bootstrap."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from winnow.errors import DataError
from winnow.metrics.detection import (
    DetectionMetrics,
    auroc,
    average_precision,
    bootstrap,
    evaluate,
    rates,
)
from winnow.results import as_json, from_json


def made_up(seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"v{i}" for i in range(24)], 10)
    belongs = np.repeat(np.arange(24) < 12, 10)
    names = np.repeat(["", "", "american", "other"], 60)
    level = np.repeat(rng.normal(size=24), 10) * 0.5 + np.where(belongs, 0, 1.0) + (names == "other")
    scores = rng.normal(size=240) + level
    return np.round(scores, 0 if ties else 9), belongs, names, groups


def test_auroc_is_the_share_of_right_pairs() -> None:
    scores, belongs, _, _ = made_up(ties=True)
    pairs = [(f > b) + 0.5 * (f == b) for f in scores[~belongs] for b in scores[belongs]]
    assert auroc(scores, belongs) == pytest.approx(np.mean(pairs))
    assert average_precision(scores, belongs) == pytest.approx(average_precision_score(~belongs, scores))
    assert auroc([1, 2, 3, 4], [True, True, False, False]) == 1
    assert auroc([4, 3, 2, 1], [True, True, False, False]) == 0


def test_rates_are_shares_of_what_is_flagged() -> None:
    assert rates([0, 1, 2, 0, 5, 6, 7, 8], [True] * 3 + [False] * 5, 1) == (1 / 3, 4 / 5)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_against_a_slow_one(ties: bool) -> None:
    scores, belongs, _, groups = made_up(1, ties)
    fast = bootstrap(scores, belongs, 0.5, groups, repeats=60, seed=9)
    rng, drawn = np.random.default_rng(9), []
    sides = [np.unique(groups[side]) for side in (belongs, ~belongs)]
    often = [rng.multinomial(len(units), np.full(len(units), 1 / len(units)), 60) for units in sides]
    for repeat in range(60):
        rows = []
        for units, counts in zip(sides, often, strict=True):
            for unit in np.repeat(units, counts[repeat]):
                rows += np.flatnonzero(groups == unit).tolist()
        s, b = scores[rows], belongs[rows]
        flagged = s > 0.5
        drawn.append([roc_auc_score(~b, s), average_precision_score(~b, s), flagged[b].mean(), flagged[~b].mean()])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert [fast[name] for name in fast] == [pytest.approx(pair) for pair in zip(low, high, strict=True)]


def test_the_bootstrap_of_many_frames_holds_no_weight_of_each() -> None:
    rng, n = np.random.default_rng(0), 20_000
    groups = np.arange(n) // 100
    tracemalloc.start()
    try:
        found = bootstrap(rng.normal(size=n), groups % 2 == 0, 0.5, groups, repeats=500)
        assert tracemalloc.get_traced_memory()[1] < 20e6  # of 80 million bytes, a number for each frame in each draw
    finally:
        tracemalloc.stop()
    assert found is not None and found["auroc"][0] < 0.5 < found["auroc"][1]


def test_frames_of_few_groups_make_wide_intervals() -> None:
    _, belongs, _, groups = made_up(2)
    scores = np.repeat(np.random.default_rng(2).normal(size=24), 10) + ~belongs
    by_group = bootstrap(scores, belongs, 0.5, groups, seed=0)
    by_picture = bootstrap(scores, belongs, 0.5, np.arange(240), seed=0)
    assert np.ptp(by_group["auroc"]) > 2 * np.ptp(by_picture["auroc"])
    assert bootstrap(scores, belongs, 0.5, groups, seed=1) != by_group
    assert bootstrap(scores, belongs, 0.5, groups, seed=0) == by_group


def test_evaluate_separates_anomalous_groups() -> None:
    scores, belongs, names, groups = made_up(3)
    result = evaluate(scores, belongs, names, 1.0, groups, repeats=50)
    assert from_json(DetectionMetrics, json.loads(json.dumps(as_json(result), allow_nan=False))) == result
    assert set(result.anomalous) == {"american", "other", "all"}
    for name in ("american", "other"):
        rows = belongs | (names == name)
        part = result.anomalous[name]
        assert part.auroc == pytest.approx(roc_auc_score(~belongs[rows], scores[rows]))
        assert part.detection_rate == pytest.approx((scores[names == name] > 1).mean())
        assert (part.pictures, part.groups) == (60, 6)
        assert part.interval["auroc"][0] <= part.auroc <= part.interval["auroc"][1]
    assert result.anomalous["all"].pictures == 120
    assert result.anomalous["all"].auroc == pytest.approx(roc_auc_score(~belongs, scores))
    assert result.false_alarm_rate == pytest.approx((scores[belongs] > 1).mean())
    low, high = result.false_alarm_rate_interval
    assert low <= result.false_alarm_rate <= high


def test_evaluate_without_threshold_or_groups() -> None:
    scores, belongs, names, _ = made_up(4)
    result = evaluate(scores, belongs, names, None, repeats=20)
    assert result.false_alarm_rate is None
    assert result.anomalous["all"].detection_rate is None
    assert set(result.anomalous["all"].interval) == {"auroc", "average_precision"}
    lone = evaluate(scores, belongs, names, 1.0, np.where(belongs, "one", "two"), repeats=20)
    assert lone.anomalous["all"].interval is None
    assert lone.false_alarm_rate_interval is None
    json.dumps([as_json(result), as_json(lone)], allow_nan=False)


def test_a_anomalous_group_may_be_called_anything() -> None:
    result = evaluate([0, 1, 2, 3], [True, True, False, False], ["", "", "草地", "a'b"], 1.5, repeats=5)
    assert set(result.anomalous) == {"草地", "a'b", "all"}
    with pytest.raises(DataError, match="'all'"):
        evaluate([0, 1, 2], [True, True, False], ["", "", "all"], 1.5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="no anomalous"):
        auroc([1, 2], [True, True])
    with pytest.raises(DataError, match="no normal"):
        auroc([1, 2], [False, False])
    with pytest.raises(DataError, match="1 of 2 scores are not finite"):
        auroc([1, np.nan], [True, False])
    with pytest.raises(DataError, match="one length"):
        auroc([1, 2, 3], [True, False])
    with pytest.raises(DataError, match="2 scores, 2 names and 1 groups"):
        evaluate([1, 2], [True, False], ["", "x"], 1.0, ["a"])
