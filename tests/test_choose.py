"""The choice from plain arrays: quotas, a random share, how many each stands for, seeds, and wrong input."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import winnow
from winnow.embeddings import Embeddings
from winnow.errors import DataError, OptionError
from winnow.select import herding as herding_file
from winnow.select.choose import AT_RANDOM, KINDS, OF_CLUSTER, OWN, WHY, kinds
from winnow.select.geometry import whitened
from winnow.select.herding import WIDTH, herding
from winnow.select.selectors import SELECTORS

RNG = np.random.default_rng
CODES = RNG(0).normal(size=(200, 8)) + np.repeat(RNG(1).normal(size=(10, 8)) * 3, 20, axis=0)
GROUPED = Embeddings.of(CODES, groups=[f"video {row // 50}" for row in range(200)])


@pytest.mark.parametrize("method", SELECTORS)
def test_every_method_takes_plain_embeddings(method: str):
    chosen = winnow.choose(CODES, 25, method)
    assert len(set(chosen.rows)) == 25 and set(chosen.rows) <= set(range(200))
    assert chosen.why == [WHY[method]] * 25
    assert len(chosen.kind) == len(chosen.stands_for) == 25
    assert np.array_equal(chosen.rows, winnow.choose(Embeddings.of(CODES), 25, method).rows)
    assert len(winnow.choose(CODES, 0, method).rows) == 0
    assert set(winnow.choose(CODES, 200, method).rows) == set(range(200))


def test_herding_is_the_default_and_works_on_whitened_embeddings():
    expected = herding(Embeddings.of(whitened(CODES)), 25, RNG(0))
    assert (
        winnow.choose(CODES, 25).rows.tolist()
        == expected.tolist()
        == winnow.choose(CODES * 100 + 5, 25, seed=9).rows.tolist()
    )


def test_seeds():
    for method in ("random", "kmeans"):
        first, second = (winnow.choose(CODES, 25, method, seed=seed).rows for seed in (0, 1))
        assert first.tolist() == winnow.choose(CODES, 25, method, seed=0).rows.tolist() != second.tolist()


def test_what_is_labelled_is_not_chosen_and_counts_as_covered():
    first = winnow.choose(CODES, 20)
    second = winnow.choose(CODES, 20, start=first.rows, features=whitened(CODES))
    assert not set(first.rows) & set(second.rows)
    assert np.append(first.rows, second.rows).tolist() == winnow.choose(CODES, 40).rows.tolist()
    assert (
        winnow.choose(CODES, 20, start=[3, 3, 4]).rows.tolist()
        == winnow.choose(CODES, 20, start=np.array([4, 3])).rows.tolist()
    )


def test_candidates_are_kept_to():
    some = np.arange(0, 200, 4)
    assert set(winnow.choose(CODES, 30, candidates=some).rows) <= set(some)
    assert set(winnow.choose(CODES, 48, candidates=some, start=[0, 4]).rows) == set(some) - {0, 4}


@pytest.mark.parametrize("method", ["herding", "kmeans", "typiclust", "random"])
@pytest.mark.parametrize("start", [[], [0, 1, 2, 60]], ids=str)
def test_quotas_hold_with_those_labelled_before(method: str, start: list[int]):
    chosen = winnow.choose(GROUPED, 30, method, per_group=10, start=start, random_share=0.2)
    assert len(set(chosen.rows)) == 30 and not set(chosen.rows) & set(start)
    used = np.bincount(np.append(chosen.rows, start).astype(int) // 50, minlength=4)
    assert used.max() <= 10
    full = winnow.choose(GROUPED, 40 - len(start), method, per_group=10, start=start)
    assert np.bincount(np.append(full.rows, start).astype(int) // 50).tolist() == [10, 10, 10, 10]
    more = winnow.choose(GROUPED, 41 - len(start), method, per_group=10, start=start)
    assert len(more.rows) == 40 - len(start)
    assert more.note.endswith(f"and {40 - len(start)} are all that can be chosen, 10 of a group at most.")
    assert full.note == ""


def test_a_quota_that_is_not_reached_changes_nothing():
    assert winnow.choose(GROUPED, 20, per_group=50).rows.tolist() == winnow.choose(GROUPED, 20).rows.tolist()


def test_groups_with_more_labels_than_the_quota_get_none():
    chosen = winnow.choose(GROUPED, 6, per_group=2, start=range(12))
    assert np.bincount(chosen.rows // 50, minlength=4).tolist() == [0, 2, 2, 2]


@pytest.mark.parametrize("most", [1, 3, 10])
def test_herding_within_quotas_is_plain_greedy(most: int):
    """Against the definition: all pictures count, those of groups with room may be chosen. (Two alone have one gain.)"""
    group, features = RNG(5).integers(0, 12, 200), whitened(CODES).astype(np.float64)
    rows = winnow.choose(Embeddings.of(CODES, groups=group.astype(str)), 12 * most, per_group=most).rows
    assert np.bincount(group[rows]).tolist() == [most] * 12
    kernel = np.exp(-np.square(features[:, None] - features[None]).sum(axis=2) / WIDTH**2)
    covered, left = np.zeros(200), np.full(12, most)
    for place, row in enumerate(rows):
        gains = np.maximum(kernel - covered, 0).sum(axis=1)
        gains[left[group] == 0] = -1
        gains[rows[:place]] = -1
        assert gains[row] == pytest.approx(gains.max(), abs=1e-5)
        covered, left[group[row]] = np.maximum(covered, kernel[row]), left[group[row]] - 1


def test_quotas_make_one_kernel_however_many_groups_become_full(monkeypatch: pytest.MonkeyPatch):
    made = []
    kernel = herding_file._kernel
    monkeypatch.setattr(herding_file, "_kernel", lambda *given: made.append(1) or kernel(*given))
    winnow.choose(GROUPED, 40, per_group=10)
    assert len(made) == 1


@pytest.mark.parametrize("groups", [4, 60])
def test_quotas_hold_among_small_clusters(groups: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(herding_file, "CLUSTERS", 20)
    monkeypatch.setattr(herding_file, "SHARE", 0)
    group = RNG(5).permutation(200) % groups
    embeddings = Embeddings.of(CODES, groups=group.astype(str))
    start = np.flatnonzero(group == 0)[:1]
    chosen = winnow.choose(embeddings, groups - 1, per_group=1, start=start)
    assert np.bincount(group[np.append(start, chosen.rows)]).tolist() == [1] * groups


def test_a_share_at_random_lies_evenly_in_the_list():
    chosen = winnow.choose(CODES, 100, random_share=0.25)
    drawn = np.array([why == AT_RANDOM for why in chosen.why])
    assert drawn.sum() == 25
    for prefix in (4, 20, 60, 100):
        assert abs(drawn[:prefix].sum() - prefix / 4) <= 1
    rest = chosen.rows[~drawn]
    assert rest.tolist() == winnow.choose(CODES, 75, start=chosen.rows[drawn], features=whitened(CODES)).rows.tolist()


def test_what_was_drawn_is_listed_once_and_not_for_every_row():
    def listings(n):
        seen = []
        sys.setprofile(lambda frame, event, called: seen.append(getattr(called, "__name__", "")))
        try:
            winnow.choose(CODES, n, "random", random_share=0.25)
        finally:
            sys.setprofile(None)
        return seen.count("tolist")

    winnow.choose(CODES, 1, "random", random_share=0.25)  # imports
    assert listings(160) - listings(20) < 20


def test_the_random_share_is_of_all_rows_and_fair():
    counts, some = np.zeros(200), np.arange(100)
    for seed in range(400):
        chosen = winnow.choose(CODES, 20, "random", candidates=some, features=CODES, random_share=0.5, seed=seed)
        drawn = [row for row, why in zip(chosen.rows, chosen.why, strict=True) if why == AT_RANDOM]
        assert len(drawn) == 10 and set(chosen.rows) - set(drawn) <= set(some)
        counts[drawn] += 1
    assert counts[:100].sum() / counts.sum() == pytest.approx(0.5, abs=0.03)
    assert counts.max() < 45 and counts.min() > 3  # 20 each are expected


def test_a_list_that_grows_by_little_has_its_share_at_random_too():
    drawn = sum(
        winnow.choose(CODES, 1, "random", random_share=0.2, seed=seed).why == [AT_RANDOM] for seed in range(300)
    )
    assert drawn == pytest.approx(60, abs=20)


def test_stands_for_is_the_number_of_nearest_candidates():
    candidates = np.arange(0, 200, 2)
    features = whitened(CODES, candidates)
    chosen = winnow.choose(CODES, 12, candidates=candidates)
    assert chosen.stands_for.sum() == 100 and chosen.stands_for.min() >= 1
    cells = np.square(features[candidates, None] - features[chosen.rows]).sum(axis=2).argmin(axis=1)
    assert chosen.stands_for.tolist() == np.bincount(cells, minlength=12).tolist()
    more = winnow.choose(CODES, 12, candidates=candidates, start=chosen.rows)
    assert more.stands_for.sum() < 88  # others stand for themselves and what is near them


def test_every_picture_stands_for_itself():
    chosen = winnow.choose(np.repeat(CODES[:5], 10, axis=0), 20)
    assert chosen.stands_for.min() == 1


def test_kinds_are_numbered_by_size_and_the_same_for_the_same_points():
    features = whitened(CODES)
    kind = kinds(features)
    sizes = np.bincount(kind)[1:]
    assert len(sizes) == KINDS and sizes.tolist() == sorted(sizes, reverse=True)
    assert np.array_equal(kind, kinds(features.copy()))
    assert kinds(features[:5]).tolist() == [1] * 5
    assert winnow.choose(CODES, 9, features=features).kind.tolist() == kind[winnow.choose(CODES, 9).rows].tolist()


def test_weights_and_pick_and_reasons():
    weights = np.where(np.arange(200) == 123, 1000.0, 1.0)
    assert winnow.choose(CODES, 1, "anomalous", weights=weights).rows.tolist() == [123]
    by_chance = winnow.choose(CODES, 9, "kmeans", pick="random")
    assert set(by_chance.why) == {OF_CLUSTER}
    assert by_chance.rows.tolist() != winnow.choose(CODES, 9, "kmeans").rows.tolist()
    assert set(winnow.choose(CODES, 3, herding).why) == {OWN}


def test_a_method_of_ones_own_gets_the_embeddings_as_they_are():
    seen = []

    def look(embeddings, n, rng, *, start=(), weights=None):
        seen.append((embeddings.vectors, list(embeddings.ids), list(start)))
        return np.arange(n)

    chosen = winnow.choose(CODES, 3, look, start=[1, 2])
    assert chosen.rows.tolist() == [0, 3, 4]
    vectors, ids, start = seen[0]
    assert (
        np.allclose(vectors[:198], np.delete(CODES, [1, 2], axis=0), atol=1e-6)
        and ids[198:] == ["1", "2"]
        and start == [198, 199]
    )


@pytest.mark.parametrize("change", [
    lambda rows, m: rows[:-1],
    lambda rows, m: np.append(rows, 7),
    lambda rows, m: rows * 0,
    lambda rows, m: rows + m - len(rows),
    lambda rows, m: rows - 1,
    lambda rows, m: rows.astype(float),
    lambda rows, m: None,
], ids=["few", "many", "repeats", "labelled", "negative", "floats", "none"])  # fmt: skip
def test_a_method_of_ones_own_that_errs_is_refused(change):
    def wrong(embeddings, n, rng, *, start=(), weights=None):
        return change(np.arange(n), len(embeddings))

    with pytest.raises(DataError, match="did not return as many different ones"):
        winnow.choose(CODES, 5, wrong, start=[7, 8])


def test_where_there_are_fewer_all_are_taken_and_it_is_said():
    found = winnow.choose(CODES, 201)
    assert (
        len(set(found.rows)) == 200 and found.note == "201 pictures were asked for, and 200 are all that can be chosen."
    )
    assert winnow.choose(CODES, 200).note == ""
    assert len(winnow.choose(CODES, 1000, start=range(10), random_share=0.3).rows) == 190
    nothing = winnow.choose(np.empty((0, 4)), 1)
    assert not len(nothing.rows) and nothing.note == "1 picture was asked for, and none can be chosen."


def test_input_that_is_wrong():
    with pytest.raises(OptionError, match="n is -1"):
        winnow.choose(CODES, -1)
    for wrong in ({"per_group": -1}, {"random_share": 1.0}, {"random_share": -0.1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            winnow.choose(CODES, 5, **wrong)
    for wrong in ({"start": [200]}, {"start": [-1]}, {"candidates": [5, 200]}, {"weights": np.ones(199)}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            winnow.choose(CODES, 1, **wrong)
    with pytest.raises(DataError, match="shape"):
        winnow.choose(CODES[0], 1)
    with pytest.raises(OptionError, match="'herdin'"):
        winnow.choose(CODES, 1, "herdin")


def weighted(*first: object) -> np.ndarray:
    """Return a weight of 1 for every picture, but for the first ones."""
    return np.array([*first, *[1.0] * (200 - len(first))], dtype=object)


@pytest.mark.parametrize("method", SELECTORS)
@pytest.mark.parametrize(
    ("weights", "told"),
    {
        "NaN": (weighted(np.nan), "1 of 200 weights are negative or not finite, the first in row 0"),
        "infinite": (weighted(1, np.inf), "1 of 200 weights are negative or not finite, the first in row 1"),
        "negative": (weighted(1, 1, -0.5, -1), "2 of 200 weights are negative or not finite, the first in row 2"),
        "missing": (weighted(None), "weights are negative or not finite"),
        "too large": (np.full(200, 1e300), "weights are negative or not finite"),
        "too large together": (np.full(200, 1e37), "The sum of 200 weights is not finite"),
        "text": (weighted("much"), "'weights' holds what is no number"),
        "a table": (np.ones((200, 2)), "'weights' has shape"),
    }.values(),
    ids=["NaN", "infinite", "negative", "missing", "too large", "too large together", "text", "a table"],
)
def test_weights_that_are_none_are_refused(method: str, weights: np.ndarray, told: str):
    with pytest.raises(DataError, match=told):  # with one NaN, herding never ended
        winnow.choose(CODES, 5, method, weights=weights)


@pytest.mark.parametrize("weights", [weighted(np.nan), weighted(-1), weighted(np.inf)], ids=["NaN", "negative", "inf"])
def test_herding_alone_refuses_such_weights_too(weights: np.ndarray):
    with pytest.raises(DataError, match="weights are negative or not finite"):
        herding(Embeddings.of(CODES), 5, RNG(0), weights=weights)


def test_weights_that_are_all_zero_are_all_alike():
    for zeros in (np.zeros(200), np.where(np.arange(200) == 7, 1.0, 0.0)):
        start = np.flatnonzero(zeros)  # what counts is labelled already
        alike = winnow.choose(CODES, 20, start=start)
        assert np.array_equal(winnow.choose(CODES, 20, start=start, weights=zeros).rows, alike.rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 3e38])
@pytest.mark.parametrize("method", SELECTORS)
def test_embeddings_that_are_not_finite_or_too_large_are_refused(method: str, value: float):
    wrong = CODES.astype(np.float32)
    wrong[3, 2] = value
    for given in ({"embeddings": wrong}, {"embeddings": CODES, "features": wrong}):
        with pytest.raises(DataError, match=r"1 of 200 embeddings are (not finite|too large), the first in row 3"):
            winnow.choose(n=5, method=method, **given)


@pytest.mark.parametrize(
    "wrong",
    [{"n": 1.5}, {"n": float("nan")}, {"n": "5"}, {"per_group": 0.5}, {"random_share": float("nan")}],
    ids=repr,
)
def test_numbers_that_are_no_numbers_are_refused(wrong: dict[str, object]):
    with pytest.raises(OptionError, match="whole numbers"):
        winnow.choose(CODES, **{"n": 5, **wrong})


@pytest.mark.parametrize("name", ["start", "candidates"])
def test_rows_that_are_no_rows_are_refused(name: str):
    for wrong in ([0.5], ["a"], [True, False]):
        with pytest.raises(DataError, match=f"'{name}' holds what is no row number"):
            winnow.choose(CODES, 1, **{name: wrong})


def test_equal_embeddings_and_tiny_pools():
    for method in SELECTORS:
        assert sorted(winnow.choose(np.ones((30, 4)), 30, method).rows) == list(range(30))
        assert winnow.choose(np.ones((1, 4)), 1, method).rows.tolist() == [0]
        assert len(winnow.choose(np.empty((0, 4)), 0, method).rows) == 0
