"""The classifier on drawn embeddings with known classes: heads against slow obvious versions, folds, pseudo-labels, bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import winnow
from winnow.check import check_classifier
from winnow.classify.classifier import Classifier, numbered
from winnow.classify.cross_fit import calibrated, calibrated_by_class, probabilities
from winnow.classify.folds import deal, follow, leaks
from winnow.classify.heads import HEADS, KNearest, LabelSpreading, Logistic, NearestMean
from winnow.classify.pseudo import at_their_shares, pseudo_labels
from winnow.embeddings import unit_length
from winnow.errors import Damaged, DataError, OptionError, RunError
from winnow.metrics.bootstrap import corrected_interval, interval
from winnow.metrics.classification import (
    Tally,
    calibration_error,
    f1_drawn,
    f1_of,
    reliability,
    rise,
    standard_error,
    verdict,
    wilson,
)


def drawn(n: int = 300, classes: int = 3, distance: float = 3.0, seed: int = 0, groups: int = 12):
    """Return embeddings in 16 dimensions, each class about a centre of its own, each group a little shifted; class numbers; groups."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, 16)) * distance / 2
    truth, group = rng.integers(0, classes, n), np.sort(rng.integers(0, groups, n))
    aside = np.random.default_rng(98).normal(size=(groups, 16)) * 0.3
    vectors = centres[truth] + aside[group] + rng.normal(size=(n, 16)) + 5
    return vectors.astype(np.float32), truth, np.array([f"clip {number}" for number in group], object)


NAMES = np.array(["staff", "customer", 'grüße, "x"'], object)


def few(truth: np.ndarray, each: int, seed: int = 0) -> np.ndarray:
    """Return names of a few drawn pictures of each class, "" for the others."""
    rng, labels = np.random.default_rng(seed), np.full(len(truth), "", object)
    for kind in np.unique(truth):
        rows = rng.choice(np.flatnonzero(truth == kind), each, replace=False)
        labels[rows] = NAMES[kind]
    return labels


# ---- heads


@pytest.mark.parametrize("name", HEADS)
def test_every_head_learns_what_is_easy(name: str):
    vectors, truth, groups = drawn()
    classifier = Classifier(name).fit(vectors, few(truth, 10), groups)
    new, of, _ = drawn(seed=1)
    assert (classifier.predict(new) == NAMES[of]).mean() > 0.9
    assert classifier.head_name == name
    chance = classifier.predict_proba(new)
    assert chance.shape == (300, 3) and np.allclose(chance.sum(axis=1), 1) and (chance >= 0).all()
    assert classifier.classes.tolist() == sorted(NAMES)


@pytest.mark.parametrize("name", HEADS)
def test_the_contract_of_a_classifier_is_kept(name: str):
    check_classifier(lambda: Classifier(name))


@pytest.mark.parametrize(("classes", "dimensions"), [(2, 16), (3, 16), (2, 400), (3, 400)])
def test_logistic_regression_is_scikit_learns(classes: int, dimensions: int):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    target = np.repeat(np.arange(classes), [40, 15, 25][:classes])
    features = unit_length(rng.normal(size=(len(target), dimensions)) + np.eye(classes, dimensions)[target] * 3)
    mine = Logistic(1.0).fit(np.vstack([features, features[:5]]), np.append(target, [-1] * 5), classes)
    theirs = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-8, max_iter=5000).fit(features, target)
    new = unit_length(rng.normal(size=(50, dimensions)))
    assert np.allclose(probabilities(mine.logits(new), 1.0), theirs.predict_proba(new), atol=2e-3)


def test_the_nearest_mean_is_the_nearest_by_cosine():
    vectors, truth, _ = drawn()
    features = unit_length(vectors - vectors.mean(axis=0))
    means = np.stack([features[truth == kind].mean(axis=0) for kind in range(3)])
    slow = [max(range(3), key=lambda kind: point @ means[kind] / np.linalg.norm(means[kind])) for point in features]
    assert NearestMean().fit(features, truth, 3).logits(features).argmax(axis=1).tolist() == slow


def test_neighbours_vote_as_by_hand():
    vectors, truth, _ = drawn(n=80)
    features = unit_length(vectors - vectors.mean(axis=0))
    target = np.where(np.arange(80) < 60, truth, -1)
    counts = np.bincount(truth[:60])
    slow = np.zeros((20, 3))
    for row, point in enumerate(features[60:]):
        cosine = features[:60] @ point
        for other in np.argsort(-cosine)[:5]:
            slow[row, truth[other]] += np.exp(10 * (cosine[other] - 1)) / counts[truth[other]]
    slow /= slow.sum(axis=1, keepdims=True)
    assert np.allclose(np.exp(KNearest(5).fit(features, target, 3).logits(features[60:])), slow, atol=2e-3)


def test_label_spreading_is_the_closed_solution():
    vectors, truth, _ = drawn(n=120)
    features = unit_length(vectors - vectors.mean(axis=0))
    target = np.where(np.arange(120) % 8 == 0, truth, -1)
    head = LabelSpreading().fit(features, target, 3)
    cosine = features.astype(float) @ features.T
    near = np.zeros((120, 120))
    for row in range(120):
        for other in np.argsort(-cosine[row])[:11]:
            near[row, other] = np.exp(10 * (cosine[row, other] - 1))
    near = np.maximum(near, near.T)
    np.fill_diagonal(near, 0)
    scale = 1 / np.sqrt(near.sum(axis=1))
    start = np.zeros((120, 3))
    known = np.flatnonzero(target >= 0)
    start[known, target[known]] = 1 / np.bincount(target[known])[target[known]]
    closed = np.linalg.solve(np.eye(120) - 0.99 * near * scale[:, None] * scale, start)
    assert np.allclose(head.shares, closed, rtol=1e-3, atol=1e-4)
    assert (head.logits(features).argmax(axis=1) == truth).mean() > 0.9


def test_label_spreading_uses_pictures_without_labels():
    """Two chains of pictures that wander through six dimensions, labelled at one end: only who follows the chain knows the other."""
    rng, step = np.random.default_rng(0), np.linspace(0, 1, 75)[:, None]
    corners = np.eye(6)
    chains = [(1 - step) * corners[a] + step * corners[b] for a, b in ((0, 1), (1, 2), (3, 4), (4, 5))]
    vectors = np.vstack(chains) + rng.normal(0, 0.02, (300, 6))
    truth, labels = np.repeat(["one", "other"], 150), np.full(300, "", object)
    labels[[0, 5, 10, 15]], labels[[150, 155, 160, 165]] = "one", "other"
    spread = (Classifier("label_spreading").fit(vectors, labels).predict(vectors) == truth).mean()
    linear = (Classifier("logistic").fit(vectors, labels).predict(vectors) == truth).mean()
    assert spread > 0.98 > linear


def test_a_head_forgets_what_it_learnt_before():
    vectors, truth, _ = drawn()
    features = unit_length(vectors - vectors.mean(axis=0))
    for kind in HEADS.values():
        again = kind().fit(features, (truth + 1) % 3, 3).fit(features, truth, 3).logits(features)
        assert np.array_equal(again, kind().fit(features, truth, 3).logits(features))


@pytest.mark.parametrize("name", HEADS)
def test_a_class_that_was_not_seen_is_never_predicted(name: str):
    vectors, truth, _ = drawn()
    features = unit_length(vectors - vectors.mean(axis=0))
    for target in (np.where(truth == 1, -1, truth), np.where(truth == 1, 1, -1)):
        missing = sorted({0, 1, 2} - set(target[target >= 0]))
        chance = probabilities(HEADS[name]().fit(features, target, 3).logits(features), 1.0)
        assert np.isfinite(chance).all() and not chance[:, missing].any()


def test_auto_takes_the_nearest_mean_below_three_labels_a_class():
    vectors, truth, groups = drawn()
    assert Classifier().fit(vectors, few(truth, 2), groups).head_name == "nearest_mean"
    assert Classifier().fit(vectors, few(truth, 3), groups).head_name == "logistic"


# ---- folds


def test_folds_keep_groups_whole_and_classes_even():
    _, truth, groups = drawn(n=600, groups=30)
    folds = deal(truth, groups, ("a", "b", "c"), 5)
    assert folds.count == 5 and not folds.notes
    for name in set(groups):
        assert len(set(folds.fold[groups == name])) == 1
    counts = np.array([np.bincount(truth[folds.fold == fold], minlength=3) for fold in range(5)])
    assert (counts > 0.6 * counts.mean(axis=0)).all() and (counts < 1.4 * counts.mean(axis=0)).all()
    assert not np.array_equal(folds.fold, deal(truth, groups, ("a", "b", "c"), 5, seed=1).fold)


def test_pictures_that_are_their_own_groups_are_dealt_evenly():
    truth = np.repeat([0, 1], [50, 10])
    folds = deal(truth, np.arange(60), ("a", "b"), 5)
    assert [np.bincount(truth[folds.fold == fold]).tolist() for fold in range(5)] == [[10, 2]] * 5


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(8))
def test_in_the_rest_of_every_fold_every_class_occurs(count: int, seed: int):
    rng = np.random.default_rng(seed)
    truth = np.append([0, 0, 1, 1, 2, 2], rng.choice(3, int(rng.integers(0, 20)), p=[0.8, 0.1, 0.1]))
    groups = rng.integers(0, int(rng.integers(1, 6)), len(truth))
    folds = deal(truth, groups, ("a", "b", "c"), count, seed)
    assert set(folds.fold) <= set(range(folds.count)) and folds.count <= count
    for fold in set(folds.fold):
        assert set(truth[folds.fold != fold]) == {0, 1, 2}
    for unit_ in set(folds.units):
        assert len(set(folds.fold[folds.units == unit_])) == 1


def test_one_group_is_cut_into_contiguous_blocks_and_noted():
    truth = np.tile([0, 1], 50)
    folds = deal(truth, np.array(["film.mp4"] * 100), ("a", "b"), 5)
    assert "film.mp4" in folds.notes[0] and "one group" in folds.notes[0]
    for kind in (0, 1):
        blocks = folds.fold[truth == kind]
        assert (np.diff(blocks) != 0).sum() == 4 and set(np.bincount(blocks)) == {10}


def test_a_class_of_one_group_is_named_and_only_that_group_is_cut():
    truth, groups = np.tile([0, 1], 60), np.repeat([f"clip {number}" for number in range(6)], 20)
    truth[(truth == 1) & (groups != "clip 3")] = 0
    folds = deal(truth, groups, ("player", "referee"), 3)
    assert len(folds.notes) == 1 and "'referee'" in folds.notes[0] and "player" not in folds.notes[0]
    assert [len(set(folds.fold[groups == f"clip {number}"])) for number in range(6)] == [1, 1, 1, 3, 1, 1]


def test_folders_of_classes_are_noted():
    truth = np.repeat([0, 1], 30)
    folds = deal(truth, np.repeat(["cats", "dogs"], 30), ("cats", "dogs"), 5)
    assert folds.notes[0].startswith("Each class has a group of its own") and folds.count == 5


def test_folders_of_classes_with_a_few_corrected_labels_are_cut_too():
    """By the two folders, each fold's training would know one or three labels of a class, and F1 would be near 0."""
    truth = np.repeat([0, 1], 30)
    truth[:3], truth[30] = 1, 0
    folds = deal(truth, np.repeat(["cats", "dogs"], 30), ("cats", "dogs"), 5)
    for kind in (0, 1):
        assert np.bincount(folds.fold[truth == kind]).max() <= 0.4 * (truth == kind).sum()
    assert folds.count == 5 and "or nearly all, so 2 of 2 groups were cut" in folds.notes[0]


def test_only_the_group_that_holds_nearly_all_of_a_class_is_cut():
    groups = np.repeat([f"clip {number}" for number in range(6)], 20)
    truth = np.zeros(120, int)
    truth[60:79], truth[100] = 1, 1  # 19 referees in clip 3, one in clip 5
    folds = deal(truth, groups, ("player", "referee"), 3)
    assert [len(set(folds.fold[groups == f"clip {number}"])) for number in range(6)] == [1, 1, 1, 3, 1, 1]
    truth[100:106] = 1  # six of 25: whole groups leave enough of them
    assert not deal(truth, groups, ("player", "referee"), 3).notes


def test_every_other_picture_follows_its_group():
    _, truth, groups = drawn(n=400, groups=20)
    rows = np.sort(np.random.default_rng(0).choice(np.flatnonzero(groups != "clip 7"), 60, replace=False))
    folds = deal(truth[rows], groups[rows], ("a", "b", "c"), 5)
    everywhere = follow(folds, rows, groups)
    assert np.array_equal(everywhere[rows], folds.fold)
    for name in set(groups):
        assert len(set(everywhere[groups == name])) == 1
    one = follow(deal(np.tile([0, 1], 10), np.zeros(20), ("a", "b"), 2), np.arange(0, 200, 10), np.zeros(200))
    assert (np.diff(one) != 0).sum() == 1


def test_a_rise_below_three_decimals_or_within_two_errors_is_no_difference():
    for gain, error, word in (
        (0.0004, 0.0, "no difference"),
        (0.0006, 0.0, "pays"),
        (0.05, 0.03, "no difference"),
        (0.07, 0.03, "pays"),
        (-0.05, 0.03, "no difference"),
        (-0.07, 0.03, "costs"),
    ):
        assert word in verdict("Labelling", gain, error).split(", ")[1], (gain, error)


def test_a_split_that_leaks_is_noted():
    vectors, truth, _ = drawn(n=60)
    features = unit_length(vectors - vectors.mean(axis=0))
    twice, fold = np.vstack([features, features[:7]]), np.append(np.zeros(60, int), np.ones(7, int))
    assert leaks(twice, np.append(truth, truth[:7]), fold) == 14
    assert leaks(features, truth, np.arange(60) % 5) == 0
    assert leaks(features[:2], truth[:2], np.array([0, 1])) == 0
    for distance, found in (
        (1e-2, 0),
        (2e-4, 2),
    ):  # of three classes no two pictures tell the usual distance: rounding alone is near
        close = unit_length(np.array([[1, 0, 0], [1, distance, 0], [0, 0, 1]], np.float32))
        assert leaks(close.astype(np.float64), np.arange(3), np.arange(3)) == found
    doubled = np.vstack([vectors, vectors])
    note = Classifier().fit(doubled, np.tile(NAMES[truth], 2)).notes[-1]
    assert "near-identical" in note and "of the 120" in note


# ---- metrics


def test_f1_and_confusion_are_scikit_learns():
    from sklearn.metrics import confusion_matrix, f1_score

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    tally = Tally.of(truth, said, rng.integers(0, 9, 200), 4)
    assert np.array_equal(tally.confusion, confusion_matrix(truth, said))
    assert np.allclose(tally.f1, f1_score(truth, said, average=None))
    assert tally.macro_f1 == pytest.approx(f1_score(truth, said, average="macro"))
    assert f1_of(np.zeros((3, 3))).tolist() == [0, 0, 0]


def test_the_bootstrap_draws_whole_groups():
    rng = np.random.default_rng(0)
    truth, said, groups = rng.integers(0, 2, 90), rng.integers(0, 2, 90), np.repeat(np.arange(6), 15)
    tally = Tally.of(truth, said, groups, 2)
    weights = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), 5)
    from sklearn.metrics import f1_score

    slow = [f1_score(truth, said, average=None, sample_weight=part[groups]) for part in weights]
    assert np.allclose(f1_drawn([tally, tally], 0, 5), [slow, slow])
    (low, high), (lowest, highest) = tally.intervals()[0][0], tally.intervals()[1]
    assert low < tally.f1[0] < high and lowest < tally.macro_f1 < highest
    assert Tally.of(truth, said, np.zeros(90), 2).intervals() is None


def clips(rng: np.random.Generator, count: int) -> Tally:
    """Predictions for clips of ten pictures, two classes of which half of the clips hold both; each clip is hard or easy as a whole."""
    hard = rng.beta(2, 6, (count, 1))
    truth = (rng.random((count, 10)) < 0.2) & (rng.random((count, 1)) < 0.5)
    said = truth ^ (rng.random((count, 10)) < np.where(truth, 2 * hard, hard / 4))
    return Tally.of(*(of.ravel().astype(int) for of in (truth, said)), np.repeat(np.arange(count), 10), 2)


def test_the_interval_of_few_groups_holds_the_truth_as_often_as_it_promises():
    """Percentiles of the same bootstrap hold it in 83 to 86 % of draws."""
    rng = np.random.default_rng(0)
    truth = clips(rng, 20_000).macro_f1
    drawn = [clips(rng, 12) for _ in range(400)]
    both = [one.intervals()[1] for one in drawn]
    plain = [interval(f1_drawn([one])[0].mean(axis=1)) for one in drawn]
    new, old = (np.mean([low <= truth <= high for low, high in of]) for of in (both, plain))
    assert old < 0.88 and 0.91 < new < 0.99


def test_the_corrected_interval_of_many_groups_is_scipys():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).exponential(size=300)
    slow = bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    drawn = np.array([values[rows].mean() for rows in np.random.default_rng(2).integers(0, 300, (9999, 300))])
    without = (values.sum() - values) / 299
    found = corrected_interval(values.mean(keepdims=True), drawn[:, None], without[:, None], np.array([300]))
    assert np.allclose(found[0], slow, atol=0.006)
    one = corrected_interval(np.ones(1), np.ones((99, 1)), np.ones((5, 1)), np.array([1]))
    assert one.tolist() == [[1.0, 1.0]]  # all right: nothing to draw


def test_a_rise_has_the_error_of_the_difference():
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 2, 400), np.arange(400)
    said = np.where(rng.random(400) < 0.3, 1 - truth, truth)
    better = said.copy()
    better[:20] = truth[:20]
    before, after = (Tally.of(truth, each, groups, 2) for each in (said, better))
    gain, error = rise(before, after)
    assert gain > error > 0 and error < standard_error(f1_drawn([before])[0])
    assert rise(before, before) == (0.0, 0.0)


def test_wilson_is_the_published_interval():
    assert wilson(47, 50) == pytest.approx((0.8378, 0.9794), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0) and wilson(0, 10)[0] == 0 and wilson(10, 10)[1] == pytest.approx(1)


def test_temperature_finds_the_one_that_was_hidden():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 3)) * 2
    chance = probabilities(logits, 1.0)
    truth = (chance.cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)
    assert calibrated(logits * 5, truth) == pytest.approx(5, rel=0.05)
    right, sure = chance.argmax(axis=1) == truth, chance.max(axis=1)
    assert calibration_error(sure, right) < 0.02 < calibration_error(probabilities(logits, 0.2).max(axis=1), right)
    assert sum(number for *_, number in reliability(sure, right)) == 20000
    assert reliability(np.empty(0), np.empty(0, bool)) == []
    assert [number for *_, number in reliability(sure[:1000], right[:1000])] == [100] * 10
    assert len(reliability(sure[:45], right[:45])) == 4  # ten pictures a bin, where there are as many


@pytest.mark.parametrize(("labels", "classes"), [(6, 2), (40, 2), (40, 5)])
def test_labels_that_are_all_predicted_correctly_make_no_certainty(labels: int, classes: int):
    truth = np.arange(labels) % classes
    temperature = calibrated(np.eye(classes)[truth], truth)
    chance = probabilities(np.eye(classes)[truth], temperature)[np.arange(labels), truth]
    assert chance == pytest.approx((labels + 1) / (labels + 2), rel=1e-3)


def test_metrics_are_of_heads_that_have_not_seen_the_picture():
    """By hand: the same folds, a head fitted without each."""
    vectors, truth, groups = drawn(distance=1.0)
    labels = few(truth, 20)
    held = Classifier("nearest_mean").fit(vectors, labels, groups).held_out
    features, rows = unit_length(vectors - vectors.mean(axis=0)), np.flatnonzero(labels != "")
    names = sorted(NAMES)
    target = np.array([names.index(label) for label in labels[rows]])
    assert np.array_equal(held.rows, rows) and np.array_equal(held.target, target)
    said = np.empty(len(rows), int)
    for fold in set(held.fold):
        cross_fit = NearestMean().fit(features[rows[held.fold != fold]], target[held.fold != fold], 3)
        said[held.fold == fold] = cross_fit.logits(features[rows[held.fold == fold]]).argmax(axis=1)
    assert np.array_equal(held.predicted, said)
    for name in set(groups[rows]):
        assert len(set(held.fold[groups[rows] == name])) == 1


def test_noise_is_worth_nothing():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(400, 64)), np.tile(["a", "b"], 200)
    for head in HEADS:
        classifier = Classifier(head, pseudo=0 if head == "label_spreading" else 50).fit(
            vectors, np.where(np.arange(400) < 150, labels, "")
        )
        assert abs(classifier.held_out.tally.macro_f1 - 0.5) < 0.15


# ---- pseudo-labels


def test_of_each_class_come_as_many_pseudo_labels_as_its_estimated_share():
    chance = np.array([[0.9, 0.1]] * 8 + [[0.6, 0.4]] * 2 + [[0.2, 0.8], [0.3, 0.7], [0.45, 0.55], [0.1, 0.9]])
    rows, kinds = pseudo_labels(chance, 5)  # 9.45 and 4.55 of 14 are expected
    assert rows.tolist() == [0, 1, 2, 13, 10] and kinds.tolist() == [0, 0, 0, 1, 1]
    assert pseudo_labels(chance, 100)[0].tolist() == [0, 1, 2, 3, 4, 13, 10]  # half of all
    allowed = np.ones(14, bool)
    allowed[[0, 13]] = False
    assert pseudo_labels(chance, 3, allowed)[0].tolist() == [1, 2, 10]
    assert len(pseudo_labels(chance, 0)[0]) == 0 and len(pseudo_labels(np.empty((0, 2)), 5)[0]) == 0
    assert len(pseudo_labels(chance, 5, np.zeros(14, bool))[0]) == 0


def test_quotas_that_are_all_rounded_up_are_no_more_pseudo_labels_than_were_asked_for():
    chance = np.array([[0.6, 0.2, 0.2]] * 7 + [[0.2, 0.6, 0.2]] * 7 + [[0.2, 0.2, 0.6]] * 6)
    rows, kinds = pseudo_labels(chance, 5)  # 1.7, 1.7 and 1.6 of 5: rounded up they were 6
    assert rows.tolist() == [0, 1, 7, 8, 14] and kinds.tolist() == [0, 0, 1, 1, 2]
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, classes, most = (int(rng.integers(least, end)) for least, end in ((4, 80), (2, 6), (1, 20)))
        found = pseudo_labels(rng.dirichlet(np.full(classes, 0.5), n), most)[0]
        assert len(found) <= min(most, n // 2)


def test_quotas_of_a_rare_class_are_its_own_where_labels_are_even():
    """A twentieth is of the rare class, and half of the labels are: by the heads, which count classes alike, it is far more."""
    rng = np.random.default_rng(0)
    truth = (np.arange(1000) % 20 == 0).astype(int)
    vectors, labels = rng.normal(size=(1000, 8)), np.full(1000, "", object)
    vectors[:, 0] += 2.2 * truth
    for kind in (0, 1):
        labels[np.flatnonzero(truth == kind)[:20]] = ["often", "rare"][kind]
    classifier = Classifier(pseudo=400, rounds=1).fit(vectors, labels)
    counts = classifier.done[0].counts
    plain = (classifier.predict(vectors[labels == ""]) == "rare").mean()
    true = truth[labels == ""].mean()
    assert abs(counts[1] / sum(counts) - true) < abs(plain - true) / 2
    fitter = classifier.cross_fitter
    after = fitter.with_pseudo(fitter.tuned(), 400, fitter.target < 0)
    added = (after.target >= 0) & (fitter.target < 0)
    assert (after.target[added] == truth[added]).mean() > 0.97
    assert after.sure is not None and (after.sure[fitter.rows] == 1).all() and 0.5 <= after.sure[added].min() < 1


def test_the_calibration_of_each_class_finds_what_was_hidden():
    rng = np.random.default_rng(0)
    truth = (rng.random(2000) < 0.1).astype(int)
    one = rng.normal(size=2000) + 1.5 * truth - 0.75
    even = np.stack([np.zeros(2000), 1.5 * one], axis=1)  # its softmax is of classes that are alike frequent
    scale, shift = calibrated_by_class(even * 4, truth)
    chances = probabilities(even * 4 * scale + shift, 1.0)
    assert chances[:, 1].mean() == pytest.approx(truth.mean(), abs=0.01) and scale == pytest.approx(1 / 4, rel=0.1)
    assert np.exp(shift[1] - shift[0]) == pytest.approx(1 / 9, rel=0.2)
    unseen = np.where(
        [True, False], even, -np.inf
    )  # labels of a class that no head has seen teach nothing, and break nothing
    assert np.isfinite(calibrated_by_class(unseen[:50], truth[:50])[1]).all()


def test_shares_of_the_pool_are_estimated_where_labels_are_even():
    rng = np.random.default_rng(0)
    truth = (rng.random(4000) < 0.1).astype(int)
    even = probabilities(np.stack([np.zeros(4000), 2 * (rng.normal(size=4000) + 2 * truth - 1)], axis=1), 1.0)
    pool = np.arange(4000) < 3000
    found = at_their_shares(even, np.array([0.5, 0.5]), pool)
    assert abs(found[pool, 1].mean() - truth[pool].mean()) < 0.02 < even[pool, 1].mean() - truth[pool].mean() - 0.05
    odds = (found[:, 1] / found[:, 0]) / (even[:, 1] / even[:, 0])
    assert np.ptp(odds) < 1e-6  # one factor for all pictures
    assert np.array_equal(at_their_shares(even, np.array([0.5, 0.5]), np.zeros(4000, bool)), even)


@pytest.mark.parametrize("wrong", [[0.1, 0.9], [[np.nan, 1]], [[-0.1, 1.1]], np.zeros((2, 2, 2))])
def test_probabilities_that_are_none_are_refused(wrong: object):
    with pytest.raises(DataError, match="Probabilities of shape"):
        pseudo_labels(wrong, 1)


def pseudo_setting():
    """Return a labelled few at one end of two long clouds, so that the unlabelled show where these continue."""
    rng = np.random.default_rng(3)
    truth = np.tile([0, 1], 400)
    vectors = rng.normal(size=(800, 24)) * 0.9
    vectors[:, 0] += np.where(truth == 1, 1.2, -1.2)
    vectors[:, 1] += np.where(truth == 1, 1.2, -1.2)
    labels = np.full(800, "", object)
    rows = np.concatenate([rng.choice(np.flatnonzero(truth == kind), 12, replace=False) for kind in (0, 1)])
    labels[rows] = NAMES[truth[rows]]
    return vectors, labels, np.repeat(np.arange(80), 10)


def test_pseudo_labels_are_kept_only_while_f1_rises():
    vectors, labels, groups = pseudo_setting()
    for head in ("logistic", "nearest_mean", "knn"):
        plain, classifier = (
            Classifier(head).fit(vectors, labels, groups),
            Classifier(head, pseudo=150).fit(vectors, labels, groups),
        )
        assert [part.kept for part in classifier.done] == [part.rise > 2 * part.error for part in classifier.done]
        assert all(part.kept for part in classifier.done[:-1]) and 1 <= len(classifier.done) <= 3
        kept = [part for part in classifier.done if part.kept]
        assert len(classifier.pseudo_rows) == (sum(kept[-1].counts) if kept else 0)
        if not kept:
            assert np.array_equal(plain.predict_proba(vectors), classifier.predict_proba(vectors))
        assert (labels[classifier.pseudo_rows] == "").all()


@pytest.mark.parametrize(("gain", "kept"), [(-1.0, False), (0.0, False), (1.5, False), (2.0, False), (2.1, True)])
def test_a_round_stays_from_two_standard_errors_on(gain: float, kept: bool, monkeypatch: pytest.MonkeyPatch):
    vectors, labels, groups = pseudo_setting()
    before = Classifier("nearest_mean").fit(vectors, labels, groups).predict_proba(vectors)
    monkeypatch.setattr("winnow.classify.classifier.rise", lambda before, after, seed: (gain, 1.0))
    classifier = Classifier("nearest_mean", pseudo=50, rounds=2).fit(vectors, labels, groups)
    assert [part.kept for part in classifier.done] == ([True, True] if kept else [False])
    assert bool(len(classifier.pseudo_rows)) is kept
    assert np.array_equal(classifier.predict_proba(vectors), before) is not kept


def test_pseudo_labels_help_where_they_can():
    """The means of few labels in many dimensions are poor; those of many pictures that mostly have the right class are not.

    The stop rule is strict: few of these drawings get past two standard errors.
    """
    gains, kept = [], 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth, labels = np.tile([0, 1], 500), np.full(1000, "", object)
        centre = np.where(truth == 1, 0.5, -0.5)[:, None] * (np.arange(100) < 10)
        vectors, new = (rng.normal(size=(1000, 100)) + centre for _ in range(2))
        labels[:40] = NAMES[truth[:40]]
        before, after = (
            Classifier("nearest_mean").fit(vectors, labels),
            Classifier("nearest_mean", pseudo=400).fit(vectors, labels),
        )
        kept += len(after.pseudo_rows) > 0
        right = [(part.predict(new) == NAMES[truth]).mean() for part in (before, after)]
        gains.append(right[1] - right[0])
    assert kept >= 2 and np.mean(gains) > 0.01 and min(gains) > -0.01


def test_an_anomalous_picture_is_never_a_pseudo_label():
    vectors, labels, groups = pseudo_setting()
    anomalous = np.arange(800) % 3 == 0
    learner_of = Classifier("nearest_mean", pseudo=100)
    learner_of.fit(vectors, labels, groups, anomalous=anomalous)
    after = learner_of.cross_fitter.with_pseudo(
        learner_of.cross_fitter.tuned(), 100, (learner_of.cross_fitter.target < 0) & ~anomalous
    )
    added = (after.target >= 0) & (learner_of.cross_fitter.target < 0)
    assert added.any() and not (added & anomalous).any()


def test_no_pseudo_label_is_in_the_held_out_fold_or_has_learnt_from_it():
    vectors, labels, groups = pseudo_setting()
    classifier = Classifier("nearest_mean", pseudo=100).fit(vectors, labels, groups)
    cross_fitter = classifier.cross_fitter
    start = cross_fitter.learn(cross_fitter.target, cross_fitter.fold_targets(cross_fitter.target))
    after = cross_fitter.with_pseudo(start, 100, cross_fitter.target < 0)
    for fold in cross_fitter.folds:
        assert (after.fold_targets[fold][cross_fitter.fold == fold] == -1).all()
    # With the labels of one fold exchanged, what that fold's own head learns from does not change.
    other = cross_fitter.target.copy()
    mine = (cross_fitter.fold == 0) & (other >= 0)
    other[mine] = 1 - other[mine]
    cross_fitter.target = other
    again = cross_fitter.with_pseudo(cross_fitter.learn(other, cross_fitter.fold_targets(other)), 100, other < 0)
    assert np.array_equal(again.fold_targets[0], after.fold_targets[0]) and not np.array_equal(
        again.fold_targets[1], after.fold_targets[1]
    )


def test_pseudo_labels_of_one_class_alone_are_no_harm():
    vectors, truth, groups = drawn(classes=2)
    labels = few(truth, 5)
    only = (truth == 0) | (labels != "")
    classifier = Classifier(pseudo=50).fit(vectors[only], labels[only], groups[only])
    assert (classifier.predict(vectors) == NAMES[truth]).mean() > 0.85


def test_classes_without_pseudo_labels_are_named():
    vectors, truth, groups = drawn(classes=2, distance=8)
    labels = NAMES[truth]
    labels[np.flatnonzero(truth == 0)[:20]] = ""  # the others are of one class
    for hidden, named in (([], True), (np.flatnonzero(truth == 1)[:20], False)):
        labels[hidden] = ""
        classifier = Classifier(pseudo=5).fit(vectors, labels, groups)
        assert any(note.startswith(f"No pseudo-label of '{NAMES[1]}' was found") for note in classifier.notes) is named


# ---- options, input, files


def test_every_option_changes_something():
    vectors, truth, groups = drawn(distance=1.2)
    labels = few(truth, 8)
    base = Classifier().fit(vectors, labels, groups)
    assert np.array_equal(base.predict_proba(vectors), Classifier().fit(vectors, labels, groups).predict_proba(vectors))
    for option in ({"head": "nearest_mean"}, {"head": "knn"}, {"head": "label_spreading"}, {"folds": 3}, {"seed": 1}):
        assert not np.array_equal(
            base.predict_proba(vectors), Classifier(**option).fit(vectors, labels, groups).predict_proba(vectors)
        ), option
    first = [Classifier(pseudo=30, rounds=rounds).fit(vectors, labels, groups).done[0].counts for rounds in (1, 3)]
    assert sum(first[0]) > sum(first[1]) > 0
    assert not Classifier().fit(vectors, labels, groups).done
    assert not np.array_equal(base.held_out.fold, Classifier().fit(vectors, labels).held_out.fold)


def test_numbers_are_labels_too():
    vectors, truth, groups = drawn()
    labels = np.where(np.arange(300) % 5 == 0, truth * 10, -1)
    classifier = Classifier().fit(vectors, labels, groups)
    assert classifier.classes.tolist() == [0, 10, 20] and set(classifier.predict(vectors).tolist()) == {0, 10, 20}
    texts = [None if label < 0 else "x" * (1 + label // 10) for label in labels]
    assert Classifier().fit(vectors, texts).classes.tolist() == ["x", "xx", "xxx"]


@pytest.mark.parametrize("name", HEADS)
def test_measuring_leaves_what_was_learnt(name: str):
    vectors, truth, groups = drawn(distance=1.0)
    classifier = Classifier(name).fit(vectors, few(truth, 8), groups)
    before = classifier.predict_proba(vectors)
    classifier.learning_curve()
    classifier.cross_fitter.measured(classifier.cross_fitter.fold_targets(classifier.cross_fitter.target))
    assert np.array_equal(classifier.predict_proba(vectors), before)


def test_the_learning_curve_ends_where_the_classifier_is():
    vectors, truth, groups = drawn(distance=1.5)
    classifier = Classifier().fit(vectors, few(truth, 20), groups)
    curve = classifier.learning_curve()
    assert [count for count, _ in curve] == [15, 30, 45, 60]
    assert np.array_equal(curve[-1][1].predicted, classifier.held_out.predicted)
    assert curve[0][1].tally.macro_f1 < curve[-1][1].tally.macro_f1
    by_class = np.argsort(np.argsort(classifier.held_out.target, kind="stable"))
    assert (
        classifier.learning_curve(by_class)[0][1].tally.macro_f1 < curve[0][1].tally.macro_f1
    )  # the first are of one class


class NAType:
    """As pandas' missing value: it equals nothing, and has no truth."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None


MISSING = {"nan": float("nan"), "nan of numpy": np.float32("nan"), "none": None, "empty": "", "number": -1, "pandas": NAType(),
           "time": np.datetime64("NaT")}  # fmt: skip


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("classes", [("a", "b"), (1, 2)], ids=["text", "numbers"])
def test_what_is_missing_is_no_class(missing: str, classes: tuple[object, object]):
    labels = [classes[0], MISSING[missing], classes[1], classes[0], MISSING[missing], classes[1]]
    column = np.empty(6, object)
    column[:] = labels
    for given in (labels, column):
        found, target = numbered(given, 6)
        assert found.tolist() == list(classes) and target.tolist() == [0, -1, 1, 0, -1, 1]


BAD = [
    ({"labels": [""] * 6}, "There is no label"),
    ({"labels": ["a", "a", "", "", "", "a"]}, "All 3 labels are of one class, 'a'"),
    ({"labels": ["a", "a", "b", "", "", "c"]}, "'b', 'c' have one label"),
    ({"labels": ["a", "a", 3, 3, "", ""]}, "several types"),
    ({"labels": ["a", "b"]}, r"'labels' has shape \(2,\); with 6 embeddings"),
    ({"labels": ["a", "a", "b", "b", "", ""], "groups": ["x"]}, "'groups' has shape"),
    ({"labels": ["a", "a", "b", "b", "", ""], "anomalous": [True]}, "'anomalous' has shape"),
    (
        {"vectors": np.full((6, 2), np.nan), "labels": ["a", "a", "b", "b", "", ""]},
        "6 of 6 embeddings are not finite",
    ),
    ({"vectors": np.zeros(6), "labels": ["a"] * 6}, "must be a"),
]


@pytest.mark.parametrize(("given", "says"), BAD, ids=[says[:20] for _, says in BAD])
def test_bad_input_is_refused(given: dict, says: str):
    vectors = given.pop("vectors", np.random.default_rng(0).normal(size=(6, 2)))
    with pytest.raises(DataError, match=says):
        Classifier().fit(vectors, **given)


def test_bad_options_are_refused():
    with pytest.raises(OptionError, match="no head 'logistics'"):
        Classifier("logistics")
    for option in ({"folds": 1}, {"pseudo": -1}, {"rounds": 0}):
        with pytest.raises(OptionError, match="or more"):
            Classifier(**option)


def test_equal_embeddings_do_not_break_it():
    labels = ["a", "a", "a", "b", "b", "b"]
    for head in HEADS:
        chance = Classifier(head).fit(np.ones((6, 4)), labels).predict_proba(np.ones((3, 4)))
        assert np.isfinite(chance).all()


@pytest.mark.parametrize("name", HEADS)
def test_saved_and_loaded_it_predicts_the_same(name: str, tmp_path: Path):
    vectors, truth, groups = drawn()
    classifier = Classifier(name).fit(vectors, few(truth, 6), groups)
    classifier.save(tmp_path / "classifier", measured={"x": 1})
    loaded = winnow.Classifier.load(tmp_path / "classifier")
    assert np.array_equal(loaded.predict_proba(vectors), classifier.predict_proba(vectors))
    assert loaded.predict(vectors).tolist() == classifier.predict(vectors).tolist()
    assert json.loads((tmp_path / "classifier" / "classifier.json").read_text())["measured"] == {"x": 1}
    assert sorted(path.name for path in (tmp_path / "classifier").iterdir()) == ["classifier.json", "classifier.npz"]
    with pytest.raises(DataError, match="3 dimensions"):
        loaded.predict(vectors[:, :3])


def test_changed_files_are_refused(tmp_path: Path):
    vectors, truth, groups = drawn()
    with pytest.raises(DataError, match="not been fitted"):
        Classifier().save(tmp_path)
    with pytest.raises(DataError, match="not been fitted"):
        Classifier().predict(vectors)
    with pytest.raises(RunError, match="no finished classifier"):
        Classifier.load(tmp_path)
    Classifier().fit(vectors, few(truth, 6), groups).save(tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, data in whole.items():
        for spoilt in (data[: len(data) // 2], data.replace(b"1", b"2"), b""):
            path.write_bytes(spoilt)
            with pytest.raises(Damaged):
                Classifier.load(tmp_path)
        path.write_bytes(data)
    (tmp_path / "classifier.npz").unlink()
    with pytest.raises(RunError, match="missing"):
        Classifier.load(tmp_path)


KILLED = """
import os, sys, numpy as np, winnow.files as files
from winnow.classify.classifier import Classifier, numbered
rng = np.random.default_rng(int(sys.argv[2]))
made = Classifier("nearest_mean").fit(rng.normal(size=(40, 8)), ["a", "b"] * 20)
calls, replace = [0], os.replace
def stop(*args):
    calls[0] += 1
    if calls[0] == int(sys.argv[3]): os.kill(os.getpid(), 9)
    replace(*args)
os.replace = stop
made.save(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2])
def test_killed_while_writing_nothing_half_is_read(at: int, tmp_path: Path):
    def save(seed: int, kill: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(seed), str(kill)], check=False
        ).returncode

    assert save(0, 0) == 0
    Classifier.load(tmp_path)
    assert save(1, at) == -signal.SIGKILL
    with pytest.raises(RunError, match="no finished classifier"):
        Classifier.load(tmp_path)
    assert save(1, 0) == 0
    Classifier.load(tmp_path)
