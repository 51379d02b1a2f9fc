"""Splits and folds: whole groups, close to the shares, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.errors import DataError
from winnow.pool.splits import assign, folds


def shares(split: np.ndarray) -> dict[str, float]:
    return {name: float((split == name).mean()) for name in ("train", "validate", "calibrate", "test")}


def groups_of(sizes) -> np.ndarray:
    return np.repeat([f"g{place}" for place in range(len(sizes))], sizes)


def whole(groups, parts) -> bool:
    return all(len(set(parts[groups == group])) == 1 for group in set(groups))


@pytest.mark.parametrize(
    "sizes",
    [
        [20] * 50,
        [1] * 40,
        list(range(1, 40)),
        [500] + [10] * 50,
        [1000, 5, 5, 5, 5],
        [7] * 5,
        [1] * 5,
        [300, 200, 1, 1, 1, 1],
    ],
)
def test_whole_groups_and_every_split(sizes):
    groups = groups_of(sizes)
    for seed in range(10):
        result = assign(groups, seed, 0.1, 0.25)
        assert result.note == ""
        assert whole(groups, result.split)
        assert set(result.split) == {"train", "validate", "calibrate"}


@pytest.mark.parametrize("sizes", [[20] * 50, [1] * 40, list(range(1, 40)), [500] + [10] * 50])
def test_shares_are_close(sizes):
    for seed in range(10):
        found = shares(assign(groups_of(sizes), seed, 0.1, 0.25).split)
        assert abs(found["calibrate"] - 0.25) < 0.03
        assert abs(found["validate"] - 0.1) < 0.03
        other = shares(assign(groups_of(sizes), seed, 0.05, 0.4).split)
        assert abs(other["calibrate"] - 0.4) < 0.03
        assert abs(other["validate"] - 0.05) < 0.03


def test_the_seed_and_the_order_of_rows():
    groups = groups_of(range(3, 30))
    first = assign(groups, 5, 0.1, 0.25).split
    np.testing.assert_array_equal(first, assign(groups, 5, 0.1, 0.25).split)
    assert any((first != assign(groups, seed, 0.1, 0.25).split).any() for seed in range(3))
    order = np.random.default_rng(0).permutation(len(groups))
    np.testing.assert_array_equal(first[order], assign(groups[order], 5, 0.1, 0.25).split)


def test_every_group_is_calibrated_with_at_some_time():
    groups = groups_of([10] * 12)
    drawn = {group for seed in range(60) for group in set(groups[assign(groups, seed, 0.1, 0.25).split == "calibrate"])}
    assert len(drawn) == 12


@pytest.mark.parametrize("sizes", [[100], [3], [4], [50, 50], [90, 5, 5], [1, 1, 1], [25, 25, 25, 25]])
def test_too_few_groups_are_cut_into_blocks(sizes):
    groups = groups_of(sizes)
    for seed in range(5):
        result = assign(groups, seed, 0.1, 0.25)
        assert "neighbouring pictures" in result.note
        assert set(result.split) == {"train", "validate", "calibrate"}
        if len(groups) >= 50:
            assert abs(shares(result.split)["calibrate"] - 0.25) < 0.06
            for group in set(groups):
                changes = (result.split[groups == group][1:] != result.split[groups == group][:-1]).sum()
                assert changes <= 12


def test_what_is_given_stays():
    groups = groups_of([10] * 20)
    given = np.full(200, "", dtype=object)
    given[:30], given[30:50], given[195:] = "test", "calibrate", "train"
    result = assign(groups, 0, 0.1, 0.25, given)
    np.testing.assert_array_equal(result.split[given != ""], given[given != ""])
    assert (result.split == "calibrate").sum() == 20
    assert abs((result.split == "validate").sum() - 17) <= 10
    assert (result.split == "test").sum() == 30
    complete = np.array(["train", "validate", "calibrate", "test"] * 50, dtype=object)
    np.testing.assert_array_equal(assign(groups, 0, 0.1, 0.25, complete).split, complete)


def test_all_that_is_free_may_go_to_one_split():
    given = np.array(["train"] * 60 + ["calibrate"] * 20 + [""] * 6, dtype=object)
    result = assign(groups_of([10] * 8 + [1] * 6), 0, 0.1, 0.25, given)
    assert (result.split == "validate").sum() == 6


def test_only_train_and_test_given():
    groups = groups_of([10] * 20)
    given = np.array(["train"] * 150 + ["test"] * 50, dtype=object)
    result = assign(groups, 0, 0.1, 0.25, given)
    assert set(result.split) == {"train", "validate", "calibrate", "test"}
    np.testing.assert_array_equal(result.split == "test", given == "test")
    assert "taken from those given as 'train'" in result.note
    assert whole(groups, result.split)


@pytest.mark.parametrize(
    ("groups", "given", "message"),
    [
        ([], None, "0 pictures"),
        (["a", "b"], None, "2 pictures"),
        (["a"] * 9, ["test"] * 7 + ["", ""], "2 pictures"),
        (["a"] * 4, ["calibrate"] * 4, "too few"),
        (["a"] * 4, ["trian"] * 4, "trian"),
        (["a"] * 4, ["train"], "1 splits"),
    ],
)
def test_too_little_is_an_error(groups, given, message):
    with pytest.raises(DataError, match=message):
        assign(np.array(groups, dtype=object), 0, 0.1, 0.25, given)


@pytest.mark.parametrize(("sizes", "k"), [([20] * 10, 5), ([1] * 7, 7), ([100, 5, 5, 5, 5], 5), (range(1, 30), 4)])
def test_folds_keep_groups_whole(sizes, k):
    groups = groups_of(sizes)
    found = folds(groups, k, 3)
    assert set(found) == set(range(k))
    assert whole(groups, found)
    np.testing.assert_array_equal(found, folds(groups, k, 3))
    if max(sizes) * k <= len(groups):
        assert np.bincount(found).max() - np.bincount(found).min() <= max(sizes)
    order = np.random.default_rng(0).permutation(len(groups))
    np.testing.assert_array_equal(found[order], folds(groups[order], k, 3))


@pytest.mark.parametrize(("sizes", "k"), [([100], 5), ([50, 50], 5), ([5], 5), ([1, 1, 98], 4), ([2, 3], 3)])
def test_folds_of_too_few_groups_are_blocks(sizes, k):
    groups = groups_of(sizes)
    found = folds(groups, k)
    assert set(found) == set(range(k))
    assert np.bincount(found).max() <= np.ceil(len(groups) / k) + max(1, len(sizes))


def test_folds_change_with_the_seed_and_need_enough_rows():
    groups = groups_of([10] * 12)
    assert any((folds(groups, 4, 0) != folds(groups, 4, seed)).any() for seed in range(1, 4))
    for n, k in ((3, 4), (5, 1)):
        with pytest.raises(DataError, match="folds"):
            folds(np.array(["a"] * n), k)
