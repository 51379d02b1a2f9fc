"""Outliers: pictures far above the others by anomaly score, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.errors import DataError
from winnow.select.outliers import outliers_of

RNG = np.random.default_rng


def test_it_is_so_many_robust_deviations_above_the_median():
    scores = np.array([1.0, 2, 3, 4, 5, 6, 7, 100, 50])  # median 5, median deviation 2
    assert outliers_of(scores, 3).tolist() == [7, 8]
    edge = 5 + 3 * 1.4826 * 2
    for value, found in ((edge - 1e-6, [7]), (edge + 1e-6, [7, 8])):
        scores[8] = value
        assert outliers_of(scores, 3).tolist() == found


@pytest.mark.parametrize("junk", [0, 10, 50, 200])
def test_some_junk_does_not_move_the_limit(junk: int):
    scores = np.append(RNG(0).normal(size=1000), RNG(1).normal(20, 1, junk))
    found = outliers_of(scores, 4)
    assert set(range(1000, 1000 + junk)) <= set(found)
    assert np.isin(found, np.arange(1000)).sum() <= 1


def test_the_most_anomalous_come_first_and_a_larger_limit_takes_fewer():
    scores = RNG(0).normal(size=1000)
    found = outliers_of(scores, 2)
    assert (np.diff(scores[found]) <= 0).all()
    assert outliers_of(scores, 3).tolist() == found[: len(outliers_of(scores, 3))].tolist()
    assert 0 < len(outliers_of(scores, 3)) < len(found)


@pytest.mark.parametrize("scores", [np.empty(0), np.ones(5), np.array([1.0]), np.array([1.0, 1, 1, 1, 9])], ids=len)
def test_without_spread_nothing_is_an_outlier(scores: np.ndarray):
    assert outliers_of(scores, 3).tolist() == []


def test_there_are_no_outliers_when_none_are_wanted():
    assert outliers_of(np.append(np.arange(10.0), 1e9), 0).tolist() == []


def test_a_score_that_is_no_number_does_not_hide_the_outliers():
    with pytest.raises(DataError, match="1 of 9 anomaly scores are not numbers"):
        outliers_of(np.array([1.0, 2, 3, 4, 5, 6, np.nan, 100, 50]), 3)
