"""Near-duplicates planted among others are found, by embedding alone and by embedding and time; the first of them stays."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.embeddings import blocks
from winnow.errors import DataError
from winnow.select import duplicates as near_file
from winnow.select.duplicates import distinct, stand_ins

RNG = np.random.default_rng


def planted(n: int, copies: int, d: int = 24, noise: float = 0.01, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return n different embeddings followed by `copies` near-duplicates of some of them, and whether each is an original."""
    rng = RNG(seed)
    vectors = rng.normal(size=(n, d))
    again = vectors[rng.choice(n, copies, replace=False)] + noise * rng.normal(size=(copies, d))
    return np.concatenate([vectors, again]), np.arange(n + copies) < n


def plain(vectors: np.ndarray, near: float) -> np.ndarray:
    """Apply the definition, pair by pair, to few embeddings: nine in ten have a smaller median distance than the usual one."""
    features = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.square(features[:, None] - features[None]).sum(axis=2)
    some = np.linspace(0, len(features) - 1, min(len(features), 1000)).astype(int)
    limit = near * np.quantile(np.median(distances[np.ix_(some, some)], axis=1), 0.9)
    stays = np.ones(len(features), bool)
    for row in range(len(features)):
        stays[row] = not (distances[row, :row][stays[:row]] <= limit).any()
    return stays


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6])
def test_it_is_the_definition(share: float):
    vectors, _ = planted(150, 50, d=6, noise=0.1)
    stays = distinct(vectors, share)
    assert 0 < stays.sum() < 200
    assert np.array_equal(stays, plain(vectors, share))


def test_where_all_are_near_in_the_first_components_it_is_the_definition(monkeypatch: pytest.MonkeyPatch):
    """Pictures differ in all of 60 directions, so that any 4 of them tell few apart; a fifth is near."""
    monkeypatch.setattr(near_file, "COMPONENTS", 4)
    rng = RNG(3)
    vectors = rng.normal(size=(250, 60))
    vectors[200:] = vectors[rng.choice(200, 50, replace=False)] + 0.5 * rng.normal(size=(50, 60))
    rows, other = np.triu_indices(250, 1)
    codes = near_file._Codes(vectors, None)
    assert (np.square(codes.short[rows] - codes.short[other]).sum(axis=1) < 0.2 * codes.usual()).mean() > 0.3
    for share in (0.19, 0.21, 0.3):
        stays = distinct(vectors, share)
        assert np.array_equal(stays, plain(vectors, share)) and 200 <= stays.sum() < 250


def test_pairs_that_are_compared_at_once_are_those_that_are_near(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_file, "blocks", lambda n, most=70: blocks(n, most))
    vectors = RNG(4).normal(size=(400, 200)).astype(np.float32)
    codes, rows = near_file._Codes(vectors, None), np.arange(300, 400)
    distances = near_file.squared_distances(codes[rows], codes[slice(0, 300)])
    limit = float(np.quantile(distances, 0.3))
    everything = np.repeat(np.arange(100), 300), np.tile(np.arange(300), 100)
    place, other = codes.near(rows, everything, limit)
    assert np.array_equal(np.column_stack([place, other]), np.argwhere(distances <= limit))
    few = np.arange(50), RNG(5).permutation(300)[:50]
    assert codes.near(rows, few, limit) is few  # each is compared by itself


def test_planted_near_duplicates_go_and_originals_stay():
    vectors, original = planted(400, 120)
    assert np.array_equal(distinct(vectors, 0.1), original)
    assert distinct(vectors, 0.0).all()


def test_embeddings_of_another_length_are_duplicates_all_the_same():
    vectors, _ = planted(50, 0)
    assert distinct(np.append(vectors, vectors * 3, axis=0), 0.1).tolist() == [True] * 50 + [False] * 50


def test_a_chain_keeps_pictures_that_are_no_duplicate_of_one_that_stays():
    angles = np.arange(9) * 0.1
    chain = np.column_stack([np.cos(angles), np.sin(angles)])  # each near the next, none near the next but one
    others = np.column_stack([np.cos(angles + 2), np.sin(angles + 2)])
    vectors = np.append(chain, others, axis=0)
    features = np.square(vectors[:, None] - vectors[None]).sum(axis=2)
    share = 0.015 / np.quantile(np.median(features, axis=1), 0.9)
    assert distinct(vectors, share).tolist() == [True, False] * 4 + [True] + [True, False] * 4 + [True]


def test_a_crowd_larger_than_the_neighbours_looked_at():
    vectors, _ = planted(300, 0)
    crowd = vectors[[7]] + 0.001 * RNG(1).normal(size=(200, 24))
    stays = distinct(np.append(vectors, crowd, axis=0), 0.1)
    assert stays.tolist() == [True] * 300 + [False] * 200
    assert distinct(np.append(vectors, np.repeat(vectors[[7]], 200, axis=0), axis=0), 0.1).sum() == 300


@pytest.mark.parametrize(
    "vectors", [np.ones((40, 5)), np.zeros((40, 5)), np.full((40, 300), 0.1)], ids=["ones", "zeros", "wide"]
)
def test_of_equal_embeddings_one_stays(vectors: np.ndarray):
    assert distinct(vectors, 0.1).tolist() == [True] + [False] * 39


@pytest.mark.parametrize("n", [0, 1])
def test_a_single_embedding_stays(n: int):
    assert distinct(np.ones((n, 3)), 0.5).tolist() == [True] * n


def auxiliary(vectors: np.ndarray) -> np.ndarray:
    """Return embeddings at a fifth of the usual distance: too far apart for one picture, near enough for the next frame."""
    along = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    across = RNG(2).normal(size=vectors.shape)
    across -= (across * along).sum(axis=1, keepdims=True) * along
    return 0.8 * along + 0.6 * across / np.linalg.norm(across, axis=1, keepdims=True)


def test_pictures_close_in_time_of_one_video_are_duplicates_at_more_distance():
    vectors, _ = planted(100, 0)
    both = np.append(vectors, auxiliary(vectors[:20]), axis=0)
    assert distinct(both, 0.1).all()
    times = np.append(np.arange(100) * 10.0, np.arange(20) * 10.0 + 1)
    film = np.array(["a.mp4"] * 120)
    assert distinct(both, 0.1, sources=film, times=times, seconds=1.5).tolist() == [True] * 100 + [False] * 20
    other = film.copy()
    other[100:] = "b.mp4"
    assert distinct(both, 0.1, sources=other, times=times, seconds=1.5).all()
    assert distinct(both, 0.1, sources=film, times=times, seconds=0.5).all()
    assert distinct(both, 0.1, sources=film, times=times, seconds=0).all()
    assert distinct(both, 0.1, sources=film, times=np.full(120, np.nan), seconds=1.5).all()  # pictures have no time


def test_the_first_in_time_stays_whatever_the_order_of_the_rows():
    vectors, _ = planted(30, 0)
    vectors[5] = auxiliary(vectors[[20]])[0]
    stays = distinct(
        vectors,
        0.1,
        sources=np.array(["a"] * 30),
        times=np.where(np.arange(30) == 5, 200.5, np.arange(30) * 10.0),
        seconds=1,
    )
    assert np.flatnonzero(~stays).tolist() == [5]


@pytest.mark.parametrize(("later", "stays"), [(1, False), (2, False), (32, False), (33, True)])
def test_a_picture_in_time_is_compared_with_the_32_after_it(later: int, stays: bool):
    vectors, _ = planted(60, 0, d=200)
    vectors[10 + later] = auxiliary(vectors[[10]])[0]
    found = distinct(vectors, 0.1, sources=np.array(["a"] * 60), times=np.arange(60.0), seconds=60)
    assert found[10 + later] == stays and found.sum() == 59 + stays


@pytest.mark.parametrize("d", [24, 200])
def test_by_cells_it_is_the_definition_but_for_a_few(monkeypatch: pytest.MonkeyPatch, d: int):
    vectors, original = planted(3000, 600, d)
    assert np.array_equal(distinct(vectors, 0.1), original)
    monkeypatch.setattr(near_file, "FLAT", 500)
    stays = distinct(vectors, 0.1)
    assert stays[original].all()
    assert (~stays[~original]).mean() > 0.99


@pytest.mark.parametrize("flat", [20_000, 500])
def test_near_the_limit_too_most_are_found(monkeypatch: pytest.MonkeyPatch, flat: int):
    rng = RNG(3)
    kinds = rng.normal(size=(40, 30))
    vectors = kinds[rng.integers(0, 40, 2500)] + 0.5 * rng.normal(size=(2500, 30))
    expected = plain(vectors, 0.1)
    monkeypatch.setattr(near_file, "FLAT", flat)
    stays = distinct(vectors, 0.1)
    assert 0.05 < (~expected).mean() < 0.6
    assert np.array_equal(stays, expected) if flat > 2500 else (stays == expected).mean() > 0.98


@pytest.mark.parametrize("flat", [20_000, 500])
def test_what_stands_for_a_picture_is_an_earlier_one_that_stays_and_is_near(monkeypatch: pytest.MonkeyPatch, flat: int):
    monkeypatch.setattr(near_file, "FLAT", flat)
    vectors, _ = planted(900, 300, d=150, noise=0.05)
    found = stand_ins(vectors, 0.1)
    features = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    gone = np.flatnonzero(found != np.arange(1200))
    assert len(gone) == 300 and (found[gone] < gone).all() and (found[found] == found).all()
    assert (np.square(features[gone] - features[found[gone]]).sum(axis=1) < 0.1 * 2).all()


def test_what_stands_for_a_frame_stays_itself():
    vectors, _ = planted(100, 0)
    both = np.concatenate(
        [vectors, auxiliary(vectors[:20]), vectors[:1]]
    )  # the frame before it is a copy of an early one
    times = np.concatenate([np.arange(100) * 10.0, np.arange(20) * 10.0 + 1, [2000.0]])
    both = np.append(both, auxiliary(vectors[[0]]), axis=0)
    found = stand_ins(both, 0.1, sources=np.array(["a"] * 122), times=np.append(times, 2001.0), seconds=1.5)
    assert found[:100].tolist() == list(range(100)) and found[100:120].tolist() == list(range(20))
    assert found[120:].tolist() == [0, 0]


def test_only_some_rows_are_compared():
    vectors, original = planted(100, 50)
    some = np.flatnonzero(original | (np.arange(150) % 2 == 0))[::-1]
    assert np.array_equal(stand_ins(vectors, 0.1, rows=some), stand_ins(vectors[some], 0.1))
    assert len(distinct(vectors, 0.1, rows=some)) == len(some)


@pytest.mark.parametrize("crowd", [800, 2500])
def test_a_crowd_by_cells_leaves_one(monkeypatch: pytest.MonkeyPatch, crowd: int):
    vectors, _ = planted(3000, 0)
    close = vectors[[7]] + 0.001 * RNG(1).normal(size=(crowd, 24))
    monkeypatch.setattr(near_file, "FLAT", 500)
    stays = distinct(np.append(vectors, close, axis=0), 0.1)
    assert stays[:3000].all() and stays[3000:].sum() < 3


def test_embeddings_that_are_not_finite_are_refused():
    vectors, _ = planted(30, 0)
    vectors[4] = np.inf
    with pytest.raises(DataError, match="row 4"):
        distinct(vectors, 0.1)
