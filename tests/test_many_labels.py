"""What classifying many pictures rests on, against the slow obvious versions: folds, the bootstrap, neighbours, halves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from winnow.classify import folds as fast
from winnow.classify import heads
from winnow.classify.classifier import Classifier
from winnow.classify.cross_fit import HeldOut
from winnow.classify.heads import KNearest, LabelSpreading
from winnow.classify.neighbours import EXACT, Neighbours
from winnow.embeddings import Embeddings, unit_length
from winnow.metrics.bootstrap import group_draws
from winnow.metrics.classification import Tally, f1_drawn
from winnow.options import SelectOptions
from winnow.pool.splits import deal_out
from winnow.run import choice
from winnow.steps.classify import _write_labelled
from winnow.tables import read_table


def drawn(n: int, classes: int, groups: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class numbers (each twice or more), group names in a drawn order, and numbers of near-identical pictures."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([np.repeat(np.arange(classes), 2), rng.integers(0, classes, n)])
    target = rng.permutation(target)
    group = np.sort(rng.integers(0, groups, len(target))) if seed % 2 else rng.integers(0, groups, len(target))
    return target, np.array([f"g{number}" for number in group]), rng.integers(0, len(target), len(target))


# ---- folds


def followed(folds: fast.Folds, rows: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Do what `follow` does, group by group."""
    names, group = np.unique(groups.astype(str), return_inverse=True)
    fold = np.full(len(groups), -1)
    fold[rows] = folds.fold
    for number in np.unique(group[rows]):
        own, labelled = np.flatnonzero(group == number), rows[group[rows] == number]
        middles = (labelled[:-1] + labelled[1:]) / 2
        fold[own] = np.where(fold[own] < 0, fold[labelled[np.searchsorted(middles, own)]], fold[own])
    sizes = np.bincount(group, minlength=len(names))
    free = np.setdiff1d(np.arange(len(names)), group[rows])
    place = np.full(len(names), -1)
    place[free] = deal_out(sizes[free], np.bincount(fold[fold >= 0], minlength=folds.count), seed)
    return np.where(fold < 0, place[group], fold)


def dealt(target: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Do what `_dealt` does, with a table of all units by all classes."""
    held = np.zeros((units.max() + 1, target.max() + 1))
    np.add.at(held, (units, target), 1)
    total = held.sum(axis=0)
    load, fold = np.zeros((count, len(total))), np.empty(len(held), int)
    for unit in np.lexsort((np.random.default_rng(seed).permutation(len(held)), -held.sum(axis=1))):
        has = held[unit] > 0
        whole = ((load + held[unit])[:, has] >= total[has]).any(axis=1)
        cost = load @ (held[unit] / np.maximum(total, 1) ** 2)
        fold[unit] = np.lexsort((load.sum(axis=1), np.round(cost, 12), whole))[0]
        load[fold[unit]] += held[unit]
    return fold[units]


@pytest.mark.parametrize("seed", range(12))
def test_folds_are_those_that_a_search_group_by_group_finds(seed):
    target, groups, twins = drawn(400, classes=3 + 3 * seed, groups=(3, 40, 400)[seed % 3], seed=seed)
    units = np.unique(groups, return_inverse=True)[1]
    assert np.array_equal(fast._dealt(target, units, 5, seed), dealt(target, units, 5, seed))
    cut = np.random.default_rng(seed).random(units.max() + 1) < 0.5
    place = np.zeros(len(target), int)
    for number in np.flatnonzero(cut):
        for kind in np.unique(target[units == number]):
            rows = np.flatnonzero((units == number) & (target == kind))
            place[rows] = fast.blocks(np.zeros(len(rows), int), twins[rows], min(5, len(rows)))
    expected = np.unique(units * 5 + place, return_inverse=True)[1]
    assert np.array_equal(fast._units(target, units, cut, 5, twins, np.arange(len(target))), expected)
    alone = [kind for kind in range(target.max() + 1) if len(set(units[target == kind])) == 1]
    assert fast._alone(target, units) == alone
    rows = np.sort(np.random.default_rng(seed).choice(len(target), 150, replace=False))
    folds = fast.Folds(np.random.default_rng(seed).integers(0, 5, 150), np.arange(150), 5)
    assert np.array_equal(fast.follow(folds, rows, groups, seed), followed(folds, rows, groups, seed))


def test_of_many_pictures_some_are_looked_at_for_leaks():
    rng = np.random.default_rng(0)
    features = unit_length(rng.normal(size=(3000, 16)).astype(np.float32))
    features[2000:] = features[1000:2000]
    target, fold = rng.integers(0, 3, 3000), np.repeat([0, 1], [2000, 1000])
    assert fast.leaks(features, target, fold) == 2000
    assert fast.leaks(features, target, fold, most=600) == pytest.approx(400, abs=40)


# ---- the bootstrap


def test_one_draw_in_blocks_is_the_draw_of_each_tally():
    rng = np.random.default_rng(0)
    groups = rng.integers(10, 47, 500)  # numbers that are in the same order as text
    truth = rng.integers(0, 5, 500)
    said = [np.where(rng.random(500) < share, truth, rng.integers(0, 5, 500)) for share in (0.2, 0.9)]
    at_once = np.random.default_rng(7).multinomial(37, np.full(37, 1 / 37), 50)
    in_blocks = list(group_draws(37, 50, np.random.default_rng(7), held=200))
    assert len(in_blocks) == 10 and np.array_equal(np.concatenate(in_blocks), at_once)
    found = f1_drawn([Tally.of(truth, each, groups, 5) for each in said], 7, 50)
    for tally, each in zip(found, said, strict=True):
        slow = [f1_score(truth, each, average=None, sample_weight=row[groups - 10]) for row in at_once]
        assert np.allclose(tally, slow, atol=1e-12)


def test_tallies_of_many_groups_and_classes_take_the_memory_of_their_pictures():
    truth = np.arange(200_000) % 2000
    tally = Tally.of(truth, np.roll(truth, 1), np.arange(len(truth)), 2000)
    assert tally.counts.nnz <= 3 * len(truth) and tally.groups == len(truth)  # as matrices: 6 TB


# ---- neighbours


def slow_graph(features: np.ndarray) -> np.ndarray:
    """Return the graph of label spreading, dense, from all pairs."""
    cosine = features @ features.T
    np.fill_diagonal(cosine, -np.inf)
    edges = np.zeros_like(cosine, dtype=np.float64)
    for row, found in enumerate(np.argsort(-cosine, axis=1)[:, : heads.GRAPH]):
        edges[row, found] = np.exp(heads.SHARPNESS * (cosine[row, found].astype(np.float64) - 1))
    edges = np.maximum(edges, edges.T)
    scale = 1 / np.sqrt(edges.sum(axis=1))
    return edges * scale[:, None] * scale


def clusters(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, 16) of length 1 in 60 clusters, and their classes."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, 60, n)
    centres = np.random.default_rng(99).normal(size=(60, 16))
    return unit_length((centres[number] + 0.35 * rng.normal(size=(n, 16))).astype(np.float32)), number % 6


def test_the_graph_is_that_of_all_pairs():
    features, _ = clusters(300)
    assert np.allclose(heads.graph_of(features, Neighbours(features)).toarray(), slow_graph(features), atol=1e-6)


def test_cells_find_nearly_all_neighbours():
    features, _ = clusters(12_000)
    found, cosine = Neighbours(features, exact=0).search(features[:500], 10)
    true, highest = Neighbours(features).search(features[:500], 10)
    assert np.mean([len(np.intersect1d(*both)) / 10 for both in zip(found, true, strict=True)]) > 0.97
    assert (cosine <= highest + 1e-6).all()


@pytest.mark.parametrize("kind", [KNearest, LabelSpreading])
def test_heads_of_many_pictures_say_nearly_the_same_and_to_each_picture_alone_too(kind):
    features, truth = clusters(EXACT + 2000)
    new, of = clusters(400, seed=1)
    target = np.where(np.arange(len(truth)) % 20 == 0, -1, truth)
    head = kind().fit(features, target, 6)
    assert head.neighbours.rows > EXACT and hasattr(head.neighbours.index, "nprobe")
    said = head.logits(new)
    assert (said.argmax(axis=1) == of).mean() > 0.97
    assert np.allclose(np.vstack([head.logits(new[row : row + 1]) for row in range(20)]), said[:20], atol=1e-6)
    again = kind(head.setting).restore(head.state())
    assert np.array_equal(again.logits(new), said)


# ---- halves


def test_of_many_labels_halves_of_some_are_compared(monkeypatch):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 900)
    vectors = (np.eye(3, 8)[truth] + 0.5 * rng.normal(size=(900, 8))).astype(np.float32)
    classifier = Classifier("nearest_mean").fit(vectors, truth)
    all_labels = choice.worth_of_choice(classifier, Embeddings.of(vectors), SelectOptions(), draws=2)
    assert all_labels.labels == 360 and "half of the labels reach" in all_labels.says
    monkeypatch.setattr(choice, "MOST", 200)
    some = choice.worth_of_choice(classifier, Embeddings.of(vectors), SelectOptions(), draws=2)
    assert some.labels == pytest.approx(80, abs=4) and "half of 200 of the labels reach" in some.says


def test_the_table_of_labels_looks_for_the_most_probable_classes_once(tmp_path: Path):
    searches = []

    class Counted(np.ndarray):
        def argmax(self, *args, **given):
            searches.append(self.shape)
            return np.asarray(self).argmax(*args, **given)

    rng, n = np.random.default_rng(0), 300
    target, chances = rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n)
    held = HeldOut(np.arange(n), target, target, target, target, chances.view(Counted))
    classes = np.array(["a", "b", "c"], object)
    _write_labelled(tmp_path, SimpleNamespace(held_out=held, classes=classes), lambda row: (str(row), "", ""))  # type: ignore[arg-type]
    written = [row["class"] for row in read_table(tmp_path / "labelled.csv")]
    assert written == classes[chances.argmax(axis=1)].tolist()
    assert len(searches) == 1
