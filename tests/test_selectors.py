"""Each method against a slow obvious version; the contract, and what breaks it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.linalg import eigh

from winnow.check import ContractError, check_selector
from winnow.embeddings import Embeddings, unit_length
from winnow.errors import DataError, OptionError
from winnow.select import herding as herding_file
from winnow.select import selectors
from winnow.select.cells import Cells
from winnow.select.choose import choose
from winnow.select.geometry import EXACT, k_means, nearest, squared_distances, whitened
from winnow.select.herding import WIDTH, herding
from winnow.select.selectors import SELECTORS, at_random, find_selector, k_center, kmeans, typiclust

RNG = np.random.default_rng


def blobs(n: int, kinds: int = 6, d: int = 10, seed: int = 0, spread: float = 0.4) -> np.ndarray:
    """Return embeddings of a few kinds, some of them rare."""
    rng = RNG(seed)
    centres = rng.normal(size=(kinds, d))
    share = np.linspace(1, 0.1, kinds)
    return (centres[rng.choice(kinds, n, p=share / share.sum())] + spread * rng.normal(size=(n, d))).astype(np.float32)


def of(features: np.ndarray) -> Embeddings:
    return Embeddings.of(features)


@pytest.mark.parametrize("name", SELECTORS)
def test_our_selectors_keep_the_contract(name: str):
    check_selector(SELECTORS[name])


def test_kmeans_with_a_random_pick_keeps_the_contract():
    check_selector(partial(kmeans, pick="random"))


def test_herding_by_micro_clusters_keeps_the_contract(monkeypatch: pytest.MonkeyPatch):
    for clusters in (2, 4, 29):
        monkeypatch.setattr(herding_file, "MOST", clusters)
        monkeypatch.setattr(herding_file, "CLUSTERS", clusters)
        check_selector(herding)


def free_rows(embeddings: Embeddings, start: Any) -> np.ndarray:
    return np.setdiff1d(np.arange(len(embeddings)), np.asarray(start, int))


def broken(change: Callable[..., Any]) -> Callable[..., Any]:
    """Return a selector that takes the first free rows, with one thing changed."""

    def select(
        embeddings: Embeddings, n: int, rng: np.random.Generator, *, start: Any = (), weights: Any = None
    ) -> Any:
        return change(embeddings, n, rng, start, free_rows(embeddings, start)[:n])

    return select


def spoiling(embeddings: Embeddings, n: int, rng: Any, start: Any, rows: np.ndarray) -> np.ndarray:
    embeddings.vectors[:] *= 2
    return rows


def own_draw(embeddings: Embeddings, n: int, rng: Any, start: Any, rows: np.ndarray) -> np.ndarray:
    return RNG().permutation(free_rows(embeddings, start))[:n]


def global_draw(embeddings: Embeddings, n: int, rng: Any, start: Any, rows: np.ndarray) -> np.ndarray:
    return np.random.permutation(free_rows(embeddings, start))[:n]  # noqa: NPY002


def crashing(embeddings: Embeddings, n: int, rng: Any, start: Any, rows: np.ndarray) -> np.ndarray:
    if len(np.unique(embeddings.vectors, axis=0)) == 1:
        raise ZeroDivisionError("no spread")
    return rows


BROKEN = {
    "keeps it": (broken(lambda e, n, rng, start, rows: rows), ""),
    "too few": (broken(lambda e, n, rng, start, rows: rows[: max(0, n - 1)]), "exactly 1 rows"),
    "too many": (broken(lambda e, n, rng, start, rows: free_rows(e, start)[: n + 1]), "exactly"),
    "repeats": (broken(lambda e, n, rng, start, rows: np.repeat(rows[: (n + 1) // 2], 2)[:n]), "no row twice"),
    "ignores start": (broken(lambda e, n, rng, start, rows: np.arange(n)), "no row of start"),
    "out of range": (broken(lambda e, n, rng, start, rows: rows + 1), "existing rows"),
    "floats": (broken(lambda e, n, rng, start, rows: rows.astype(float)), "whole numbers"),
    "a list": (broken(lambda e, n, rng, start, rows: rows.tolist()), "an array"),
    "own draw": (broken(own_draw), "same rows for the same rng"),
    "global draw": (broken(global_draw), "global state"),
    "changes its input": (broken(spoiling), "must not change"),
    "constant embeddings": (broken(crashing), "not ZeroDivisionError"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_selector_is_found(name: str):
    select, words = BROKEN[name]
    if not words:
        check_selector(select)
        return
    with pytest.raises(ContractError, match=words):
        check_selector(select)


@pytest.mark.parametrize("start", [[], [5], [3, 50, 119]], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_herding_is_plain_greedy(start: list[int], weighted: bool):
    """Against the definition: every gain anew in every round. (Two pictures alone have one gain: either may come first.)"""
    features = whitened(blobs(120))
    weights = RNG(1).uniform(0.1, 3, 120).astype(np.float32) if weighted else None
    chosen = herding(of(features), 60, RNG(0), start=start, weights=weights)
    kernel = np.exp(-np.square(features[:, None] - features[None]).sum(axis=2).astype(np.float64) / WIDTH**2)
    covered = kernel[start].max(axis=0) if start else np.zeros(120)
    for place, row in enumerate(chosen):
        gains = np.maximum(kernel - covered, 0) @ (np.ones(120) if weights is None else weights)
        gains[[*start, *chosen[:place]]] = -1
        assert gains[row] == pytest.approx(gains.max(), abs=1e-5)
        covered = np.maximum(covered, kernel[row])


def test_weights_change_what_herding_takes():
    features = whitened(blobs(120))
    weights = np.ones(120, np.float32)
    weights[77] = 1000
    assert herding(of(features), 1, RNG(0), weights=weights)[0] == 77 != herding(of(features), 1, RNG(0))[0]


def test_prefixes_of_herding_are_the_smaller_choices():
    features, weights = whitened(blobs(300)), RNG(1).uniform(0.9, 1.1, 300).astype(np.float32)  # no two gains are one
    whole = herding(of(features), 100, RNG(0), weights=weights)
    for n in (1, 10, 60):
        assert np.array_equal(whole[:n], herding(of(features), n, RNG(1), weights=weights))
    rest = herding(of(features), 60, RNG(2), start=whole[:40], weights=weights)
    assert np.array_equal(whole[40:], rest)


def coverage(features: np.ndarray, chosen: np.ndarray) -> float:
    return float(np.exp(-nearest(features, features[chosen])[1] / WIDTH**2).mean())


@pytest.mark.parametrize("start", [0, 30])
def test_micro_clusters_cover_about_as_well(monkeypatch: pytest.MonkeyPatch, start: int):
    features = whitened(blobs(1500, kinds=20))
    taken = RNG(3).choice(1500, start, replace=False)
    exact = herding(of(features), 60, RNG(0), start=taken)
    monkeypatch.setattr(herding_file, "CLUSTERS", 300)
    micro = herding(of(features), 60, RNG(0), start=taken)
    drawn = at_random(of(features), 60, RNG(0), start=taken)
    best, close, poor = (coverage(features, np.append(taken, rows).astype(int)) for rows in (exact, micro, drawn))
    assert not np.array_equal(exact, micro)
    assert poor < close
    assert best - close < 0.25 * (best - poor)


def test_few_different_embeddings_in_micro_clusters_take_no_start_twice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(herding_file, "CLUSTERS", 50)
    monkeypatch.setattr(herding_file, "SHARE", 0)
    features = np.repeat(whitened(blobs(10)), 30, axis=0)
    start = np.arange(0, 300, 30)
    chosen = herding(of(features), 80, RNG(0), start=start)
    assert len(np.unique(chosen)) == 80 and not np.isin(chosen, start).any()


def test_k_center_is_its_definition():
    features = unit_length(blobs(90))
    chosen = k_center(of(features), 30, RNG(0), start=[4])
    taken, distances = [4], squared_distances(features.astype(np.float64), features.astype(np.float64))
    for row in chosen:
        distance = distances[:, taken].min(axis=1)
        assert distance[row] == pytest.approx(distance.max(), abs=1e-5)
        taken.append(int(row))


def test_k_center_without_a_start_begins_in_the_middle():
    features = unit_length(blobs(90))
    middle = np.square(features - features.mean(axis=0)).sum(axis=1).argmin()
    assert k_center(of(features), 3, RNG(0))[0] == middle


def clusters(features: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of each point and its squared distance to the centre, for the centres a method finds with this seed."""
    distances = np.square(features[:, None].astype(np.float64) - k_means(features, k, RNG(seed))[None]).sum(axis=2)
    return distances.argmin(axis=1), distances.min(axis=1)


@pytest.mark.parametrize("start", [[], [0, 31, 100]], ids=str)
def test_kmeans_takes_the_nearest_of_each_cluster_the_largest_first(start: list[int]):
    features = blobs(120)
    chosen = kmeans(of(features), 9, RNG(4), start=start)
    cluster, distance = clusters(features, 9 + len(start), 4)
    size = np.bincount(cluster)
    assert not set(cluster[chosen]) & set(cluster[start]) and len(set(cluster[chosen])) == 9
    for row in chosen:
        assert distance[row] == pytest.approx(distance[cluster == cluster[row]].min(), abs=1e-4)
    sizes = size[cluster[chosen]].tolist()
    assert sizes == sorted(sizes, reverse=True)
    passed = set(cluster) - set(cluster[chosen]) - set(cluster[start])
    assert all(size[kind] <= min(sizes) for kind in passed)


def test_kmeans_draws_a_member_of_each_cluster_at_random():
    features = blobs(120)
    first, second = find_selector("kmeans", "random")(of(features), 9, RNG(4)), kmeans(of(features), 9, RNG(4))
    cluster, _ = clusters(features, 9, 4)
    assert cluster[first].tolist() == cluster[second].tolist() and first.tolist() != second.tolist()


def plain_typiclust(features: np.ndarray, cluster: np.ndarray, n: int, start: list[int]) -> list[int]:
    """Return typiClust as its authors wrote it, with the clusters given: of those with the fewest labels the largest, its most typical."""
    distances = np.square(features[:, None].astype(np.float64) - features[None]).sum(axis=2)
    labelled, chosen = list(start), []
    sizes = np.bincount(cluster)
    while len(chosen) < n:
        open_ = [kind for kind in range(len(sizes)) if set(np.flatnonzero(cluster == kind)) - set(labelled)]
        kind = min(
            open_, key=lambda kind: (sizes[kind] <= 5, sum(cluster[row] == kind for row in labelled), -sizes[kind])
        )
        members = np.flatnonzero(cluster == kind)
        neighbours = min(20, max(1, len(members) // 2))
        distance_of = {
            row: np.sort(distances[row, members])[1 : neighbours + 1].mean() for row in members if row not in labelled
        }
        row = min(distance_of, key=distance_of.__getitem__)
        chosen.append(int(row))
        labelled.append(int(row))
    return chosen


@pytest.mark.parametrize("start", [[], [0, 31, 100]], ids=str)
def test_typiclust_is_that_of_its_authors(monkeypatch: pytest.MonkeyPatch, start: list[int]):
    monkeypatch.setattr(selectors, "MOST_CLUSTERS", 12)
    features = unit_length(blobs(120))
    cluster, _ = clusters(features, 12, 4)
    assert (np.bincount(cluster) <= 5).any()  # a tiny one, to be left for last
    assert typiclust(of(features), 30, RNG(4), start=start).tolist() == plain_typiclust(features, cluster, 30, start)


def test_typiclust_makes_500_clusters_at_most(monkeypatch: pytest.MonkeyPatch):
    made = []

    def watched(features: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        made.append(k)
        return k_means(features, k, rng)

    monkeypatch.setattr(selectors, "k_means", watched)
    features = unit_length(RNG(0).normal(size=(700, 3)).astype(np.float32))
    for n in (60, 500, 600):
        assert len(set(typiclust(of(features), n, RNG(0)).tolist())) == n
    assert made == [60, 500, 500]


def test_how_typical_is_by_the_20_nearest_of_the_whole_cluster():
    features = blobs(300)
    distances = np.sort(np.square(features[:, None].astype(np.float64) - features[None]).sum(axis=2), axis=1)
    assert np.allclose(
        selectors._mean_distance(features, RNG(0)), distances[:, 1:21].mean(axis=1), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("m", "n", "clusters"),
    [(8192, 10, 0), (8193, 10, 8192), (8193, 2049, 0), (20_000, 2500, 10_000), (20_001, 9000, 20_000)],
)
def test_more_than_8192_pictures_become_small_clusters_four_a_picture(
    m: int, n: int, clusters: int, monkeypatch: pytest.MonkeyPatch
):
    class Asked(Exception):  # before the work, which takes seconds
        pass

    def watched(features: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        raise Asked(k)

    def whole(features: np.ndarray, crowd: herding_file.Crowd) -> np.ndarray:
        raise Asked(0)

    monkeypatch.setattr(herding_file.Cells, "of", watched)
    monkeypatch.setattr(herding_file, "_kernel", whole)
    with pytest.raises(Asked, match=f"^{clusters}$"):
        herding(of(RNG(0).normal(size=(m, 2)).astype(np.float32)), n, RNG(0))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_cluster_is_covered_by_its_own_picture_and_by_the_mean_distance_to_its_members(
    monkeypatch: pytest.MonkeyPatch, weighted: bool
):
    """Against the definition, with the clusters given."""
    monkeypatch.setattr(herding_file, "CLUSTERS", 25)
    monkeypatch.setattr(herding_file, "SHARE", 0)
    features, counts = whitened(blobs(400)), RNG(1).uniform(0, 3, 400) if weighted else np.ones(400)
    chosen = herding(of(features), 10, RNG(0), weights=counts)
    found, distance = (column[:, 0] for column in Cells.of(features, 25, RNG(0)).nearest(features))
    members = [np.flatnonzero(found == kind) for kind in np.unique(found)]
    central = np.array([own[distance[own].argmin()] for own in members])
    distances = np.square(features[:, None].astype(np.float64) - features[None]).sum(axis=2)
    mean = np.stack([np.average(distances[:, own], axis=1, weights=counts[own]) for own in members], axis=1)
    kernel, total = np.exp(-mean / WIDTH**2), np.array([counts[own].sum() for own in members])
    for kind, (own, row) in enumerate(zip(members, central, strict=True)):
        kernel[row, kind] = np.average(np.exp(-distances[row, own] / WIDTH**2), weights=counts[own])
    covered = np.zeros(len(members))
    for row in chosen:
        gains = np.maximum(kernel - covered, 0) @ total
        assert row in central and gains[row] == pytest.approx(gains[central].max(), rel=1e-4)
        covered = np.maximum(covered, kernel[row])


def test_cells_are_small_clusters_and_nearly_the_nearest_is_found():
    features = blobs(3000, kinds=40, spread=1.0)
    cells = Cells.of(features, 200, RNG(0))
    found, distance = cells.nearest(features, 3)
    every = squared_distances(features, cells.centres)
    assert abs(len(cells.centres) - 200) < 20 and cells.first[-1] == len(cells.centres)
    assert np.allclose(np.take_along_axis(every, found, axis=1), distance, atol=1e-4)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (found[:, 0] == every.argmin(axis=1)).mean() > 0.8
    assert distance[:, 0].mean() < 1.1 * every.min(axis=1).mean() < 0.5 * every.mean()


def test_cells_of_few_or_equal_embeddings():
    for features in (np.ones((5, 2), np.float32), blobs(4), np.zeros((4, 0), np.float32)):
        cells = Cells.of(features, 3, RNG(0))
        found, distance = cells.nearest(features, 4)
        assert (found[:, 0] >= 0).all() and len(found) == len(features) == len(distance)
        assert (found < len(cells.centres)).all()


def test_random_is_a_fair_draw():
    counts = np.zeros(20)
    for seed in range(2000):
        counts[at_random(of(np.eye(20)), 5, RNG(seed), start=[0])] += 1
    assert counts[0] == 0
    assert np.abs(counts[1:] / 2000 - 5 / 19).max() < 0.04


@pytest.mark.parametrize("name", [name for name in SELECTORS if name != "random"])
def test_embeddings_that_are_not_finite_are_named_by_their_row(name: str):
    from winnow.select.choose import choose

    vectors = blobs(50)
    vectors[[17, 30], 2] = np.nan
    with pytest.raises(DataError, match="2 of 50 embeddings are not finite, the first in row 17"):
        choose(vectors, 5, name)
    if name != "anomalous":
        with pytest.raises(DataError, match="row 17"):
            SELECTORS[name](of(vectors), 5, RNG(0))


def test_a_method_that_is_not_known():
    with pytest.raises(OptionError, match="hearding") as told:
        find_selector("hearding")
    assert "herding" in told.value.remedy


def test_a_method_of_ones_own(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_methods.py").write_text(
        "number = 3\ndef last(embeddings, n, rng, *, start=(), weights=None): return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_selector("my_methods:last")(None, 1, None) == 1
    for name in ("my_methods:first", "no_module:f", ".my_methods:last"):
        with pytest.raises(OptionError, match=r"cannot be imported|has no 'first'"):
            find_selector(name)
    with pytest.raises(OptionError, match="is not a selection method"):
        find_selector("my_methods:number")
    for name in ("", ":last", "my_methods:"):
        with pytest.raises(OptionError, match="There is no selection method"):
            find_selector(name)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (3, 1), (200, 300)])
def test_whitened_embeddings_have_length_one_or_none(shape: tuple[int, int]):
    features = whitened(RNG(0).normal(size=shape))
    lengths = np.linalg.norm(features, axis=1)
    assert len(features) == shape[0] and features.shape[1] <= min(128, shape[1])
    assert np.isclose(lengths, 1, atol=1e-4).all() or not features.size


def test_whitening_spreads_every_direction_alike():
    rng = RNG(0)
    vectors = rng.normal(size=(5000, 6)) * [30, 10, 3, 1, 0.5, 0]
    features = whitened(vectors, np.arange(0, 5000, 2))
    assert features.shape == (5000, 5)
    spread = features.std(axis=0)
    assert spread.max() / spread.min() < 3  # 60 to 1 in the embeddings


def kinds_of_pictures(n: int, kinds: int = 10, seed: int = 0) -> np.ndarray:
    """Return embeddings (n, 200) like a network's, of some kinds in turn: a few wide directions and ever narrower ones."""
    rng = RNG(seed)
    wide = (rng.normal(size=(n, 300)) / np.arange(1, 301) ** 0.7) @ rng.normal(size=(300, 200))
    return (wide + rng.normal(size=(kinds, 200))[np.arange(n) % kinds]).astype(np.float32)


@pytest.mark.parametrize("n", [30, 90, 129, 250])
def test_few_pictures_are_not_all_as_far_apart(n: int):
    """Whitened to equal variance, n pictures were: in a pool of 90 the distances were 1.422, spread 0.0000."""
    features, kind = whitened(kinds_of_pictures(n)), np.arange(n) % 10
    apart = np.sqrt(squared_distances(features, features))
    same = (kind == kind[:, None]) & ~np.eye(n, dtype=bool)
    assert apart[same].mean() < 0.9 * apart[kind != kind[:, None]].mean()


@pytest.mark.parametrize("n", [60, 90, 129])
def test_of_a_small_pool_more_kinds_are_chosen_than_by_chance(n: int):
    kinds = [
        len(set(herding(Embeddings.of(whitened(kinds_of_pictures(n, seed=seed))), 10, RNG(0)) % 10))
        for seed in range(5)
    ]
    assert np.mean(kinds) >= 8  # drawn at random: 6.5


METHODS = ["herding", "kmeans", "typiclust", "k-center", "anomalous"]


@pytest.mark.parametrize("n", [30, 90, 129, 200])
@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_change_the_choice(method: str, n: int):
    import faiss
    from threadpoolctl import threadpool_limits

    vectors, found, threads = kinds_of_pictures(n), [], faiss.omp_get_max_threads()
    for number in (1, 2, 4):
        with threadpool_limits(number):
            faiss.omp_set_num_threads(number)
            found.append(choose(vectors, n // 4, method).rows.tolist())
    faiss.omp_set_num_threads(threads)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n", [30, 90, 129, 200])
@pytest.mark.parametrize("method", METHODS)
def test_noise_of_a_millionth_changes_next_to_nothing_of_the_choice(method: str, n: int):
    """Whitened to equal variance, herding shared half of its pictures or less: it chose by rounding."""
    shared = []
    for seed in range(3):
        vectors = kinds_of_pictures(n, seed=seed)
        noisy = vectors * (1 + 1e-6 * RNG(1).normal(size=vectors.shape))
        one, other = (set(choose(some, n // 4, method).rows.tolist()) for some in (vectors, noisy))
        shared.append(len(one & other) / len(one))
    assert np.mean(shared) > (0.9 if method == "kmeans" else 0.97)


def test_whitening_learns_from_50000_rows_evenly_spread():
    vectors = RNG(0).normal(size=(60_000, 3)) * np.linspace(1, 3, 60_000)[:, None] * [1, 5, 20]
    assert np.array_equal(whitened(vectors), whitened(vectors, np.linspace(0, 59_999, 50_000).astype(int)))


def plain_whitened(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `whitened` of all rows at once."""
    vectors = vectors.astype(np.float64) if len(rows) <= EXACT else vectors
    directions = unit_length(vectors - vectors[rows].mean(axis=0, dtype=np.float64).astype(vectors.dtype))
    centre = directions[rows].mean(axis=0)
    sample = directions[rows] - centre
    covariance = sample.T @ sample / len(rows)
    variances, axes = eigh(covariance, subset_by_index=(max(0, sample.shape[1] - 128), sample.shape[1] - 1))
    scales = np.sqrt(variances + 2 * np.trace(covariance) / len(rows))
    deviations = np.sqrt(np.maximum(variances, 0))
    kept = deviations > max(1e-3 * deviations.max(), 1e-6)
    return unit_length((directions - centre) @ (axes[:, kept] / scales[kept])[:, ::-1].astype(vectors.dtype))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("d", [10, 150])
def test_whitening_by_blocks_is_that_of_all_at_once(d: int, step: int):
    vectors, rows = RNG(0).normal(size=(20_001, d)).astype(np.float32), np.arange(0, 20_001, step)
    features = whitened(vectors, rows)
    assert np.allclose(features, plain_whitened(vectors, rows), rtol=0, atol=1e-6)
    assert np.array_equal(unit_length(vectors), np.concatenate([unit_length(vectors[:9]), unit_length(vectors[9:])]))
    some = RNG(1).permutation(20_001)[:500]
    assert np.allclose(whitened(vectors, rows, of=some), features[some], atol=1e-6)


def held(work: Any, *given: Any) -> float:
    """Return how many bytes of arrays a call holds at most, beside what it is given."""
    tracemalloc.start()
    try:
        work(*given)
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def test_whitening_and_near_duplicates_take_a_fraction_of_the_embeddings(monkeypatch: pytest.MonkeyPatch):
    from winnow.select import duplicates, geometry

    vectors = RNG(0).normal(size=(60_000, 600)).astype(np.float32)
    monkeypatch.setattr(geometry, "LEARNT_FROM", 5000)
    monkeypatch.setattr(geometry, "EXACT", 1000)
    monkeypatch.setattr(duplicates, "FLAT", 10_000)
    assert held(whitened, vectors) < 0.6 * vectors.nbytes
    assert held(duplicates.distinct, vectors, 0.01) < 0.9 * vectors.nbytes
