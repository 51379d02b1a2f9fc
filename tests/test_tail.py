"""Estimated thresholds: what is estimated against what is seen over draws, p-values that agree, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from winnow.deploy.scorers import PValues
from winnow.detect.detector import Detector
from winnow.detect.tail import FEWEST, tail_of
from winnow.detect.threshold import conformal

DRAWS = {
    "exponential": lambda rng, size: rng.exponential(size=size),
    "normal": lambda rng, size: rng.normal(size=size),
    "lognormal": lambda rng, size: rng.lognormal(0, 0.5, size=size),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize(("n", "rate"), [(10, 0.05), (10, 0.02), (20, 0.01), (50, 0.005)])
def test_as_many_are_refused_as_was_estimated_over_draws(kind: str, n: int, rate: float) -> None:
    rng, seen = np.random.default_rng(0), []
    for _ in range(400):
        threshold = conformal(DRAWS[kind](rng, n), rate, estimate=True)
        assert threshold.estimated and threshold.achieved == rate
        seen.append(float((DRAWS[kind](rng, 1000) > threshold.value).mean()))
    assert np.mean(seen) - 3 * np.std(seen) / 20 < rate
    if kind == "exponential":  # what the tail is taken for
        assert np.mean(seen) + 3 * np.std(seen) / 20 > rate


def test_what_can_be_promised_is_not_estimated() -> None:
    scores = np.random.default_rng(0).normal(size=99)
    assert conformal(scores, 0.01, estimate=True) == conformal(scores, 0.01)
    assert conformal(scores, 0.005, estimate=True).value > scores.max() == conformal(scores, 0.005).value
    few = scores[: FEWEST - 1]
    assert tail_of(few) is None and not conformal(few, 0.01, estimate=True).estimated


@pytest.mark.parametrize(
    "scores", [np.random.default_rng(1).normal(size=20), np.ones(20), np.r_[np.zeros(15), np.ones(5)]]
)
def test_a_score_is_above_the_threshold_exactly_when_its_p_value_is_at_most_the_level(scores: np.ndarray) -> None:
    detector = Detector("knn", false_alarm_rate=0.01, estimate=True).fit(np.random.default_rng(2).normal(size=(20, 3)))
    detector.calibration = scores
    threshold = detector.threshold
    new = np.concatenate(
        [
            scores,
            np.linspace(scores.min() - 1, threshold.value + 2, 500),
            [threshold.value, np.nextafter(threshold.value, 99)],
        ]
    )
    found = detector.p_values(new)
    assert ((found <= threshold.level) == (new > threshold.value)).all() or abs(threshold.value - scores.max()) < 1e-6
    order = np.argsort(new)
    assert (np.diff(found[order]) <= 1e-15).all()
    np.testing.assert_allclose(PValues(detector)(torch.from_numpy(new)).numpy(), found, rtol=1e-12)


def test_an_estimate_is_kept_and_called_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    detector = Detector("knn", false_alarm_rate=0.01, estimate=True).fit(rng.normal(size=(20, 3)))
    assert "1 % false alarms are an estimate" in detector.threshold.note and "not a promise" in detector.threshold.note
    assert detector.threshold.note.endswith("these can promise 4.76 % at best; 1 % needs 99, 79 more.")
    detector.save(tmp_path)
    loaded, new = Detector.load(tmp_path), 3 * rng.normal(size=(50, 3))
    assert loaded.threshold == detector.threshold
    assert loaded.p_values(new).tolist() == detector.p_values(new).tolist() and loaded.p_values(new).min() < 0.01


def test_how_many_more_are_needed_is_said() -> None:
    assert conformal(np.arange(10.0), 0.05).note.endswith("can promise no less than 9.09 %; 5 % needs 19, 9 more.")
    assert conformal(np.arange(10.0), 0.05, 0.95).note.endswith("5 % needs 59, 49 more.")
    assert conformal(np.arange(40.0)).note.endswith("would be set by an odd one; 5 % needs 79, 39 more.")
