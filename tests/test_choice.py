"""Chosen against drawn halves of the labels: a slow obvious version, known answers, the methods, and too few labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from winnow.classify.classifier import Classifier
from winnow.embeddings import Embeddings, unit_length
from winnow.errors import OptionError
from winnow.options import SelectOptions
from winnow.run.choice import worth_of_choice
from winnow.select.choose import choose
from winnow.select.geometry import whitened

KINDS = np.array(["staff", "kunde ä", "dog"], object)


def fitted(
    distance: float = 1.0, labelled: int = 90, n: int = 240, head: str = "logistic", seed: int = 0
) -> tuple[Classifier, Embeddings]:
    """Return a classifier of three drawn classes in twelve groups, and all embeddings."""
    rng = np.random.default_rng(seed)
    truth, groups = rng.integers(0, 3, n), np.repeat(np.arange(12), n // 12).astype(str).astype(object)
    vectors = (np.eye(3, 8)[truth] * distance + rng.normal(size=(n, 8)) * 0.5 + 2).astype(np.float32)
    labels = np.full(n, "", object)
    rows = rng.permutation(n)[:labelled]
    labels[rows] = KINDS[truth[rows]]
    return Classifier(head).fit(vectors, labels, groups), Embeddings.of(vectors, groups=groups)


def first_rows(embeddings: Embeddings, n: int, rng: np.random.Generator, **_: Any) -> np.ndarray:
    """Choose, as a method of one's own, the rows that come first."""
    return np.arange(n)


def lowest(embeddings: Embeddings, n: int, rng: np.random.Generator, **_: Any) -> np.ndarray:
    """Choose, as a poor method of one's own, the rows with the smallest first number, which are of two of the three classes."""
    return np.argsort(embeddings.vectors[:, 0], kind="stable")[:n]


def by_hand(classifier: Classifier, embeddings: Embeddings, halves: dict[int, np.ndarray]) -> float:
    """Return macro F1 by scikit-learn: for each fold a new regression from the rows of its half."""
    held, target = classifier.held_out, classifier.cross_fitter.target
    vectors = unit_length(embeddings.vectors - classifier.centre)
    said = np.empty(len(held.rows), int)
    for fold, half in halves.items():
        rows = np.sort(half)  # as the classifier has them: in another order a doubtful picture may fall the other way
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=2000).fit(vectors[rows], target[rows])
        said[held.fold == fold] = model.predict(vectors[held.rows[held.fold == fold]])
    return float(f1_score(held.target, said, average="macro"))


def test_it_is_what_scikit_learn_says_of_the_same_halves():
    classifier, embeddings = fitted()
    found = worth_of_choice(classifier, embeddings, SelectOptions(method="herding"), draws=3)
    rows, fold = classifier.held_out.rows, classifier.held_out.fold
    rests = {number: np.flatnonzero(fold != number) for number in range(5)}
    features = whitened(embeddings.vectors)[rows]
    chosen = {
        number: rows[choose(embeddings[rows], len(rest) // 2, features=features, candidates=rest).rows]
        for number, rest in rests.items()
    }
    assert all((fold[np.isin(rows, half)] != number).all() for number, half in chosen.items())
    rng = np.random.default_rng(0)
    drawn = [
        {number: rows[rng.permutation(rest)[: len(rest) // 2]] for number, rest in rests.items()} for _ in range(3)
    ]
    assert found.chosen == pytest.approx(by_hand(classifier, embeddings, chosen), abs=1e-9)
    assert found.random == pytest.approx(np.mean([by_hand(classifier, embeddings, half) for half in drawn]), abs=1e-9)
    assert found.rise == pytest.approx(found.chosen - found.random, abs=1e-12)
    assert found.labels == 36 and found.draws == 3 and found.method == "herding"


def test_it_does_not_depend_on_the_folds_of_the_classifier():
    """As with fine-tuning, which has three: head and fine-tuning contradicted one another (+.066 and -.041)."""
    classifier, embeddings = fitted(distance=0.6)
    labels = np.full(len(embeddings), "", object)
    labels[classifier.held_out.rows] = classifier.classes[classifier.held_out.target]
    three = Classifier("logistic", folds=3).fit(embeddings.vectors, labels, embeddings.groups)
    assert worth_of_choice(three, embeddings, SelectOptions()) == worth_of_choice(
        classifier, embeddings, SelectOptions()
    )


def test_chosen_at_random_a_half_is_seldom_said_to_pay_or_cost():
    """The halves differ by luck alone."""
    told = 0
    for seed in range(12):
        classifier, embeddings = fitted(distance=0.6, labelled=60, seed=seed)
        shuffled = np.random.default_rng(seed).permuted(embeddings.vectors[:, :1])
        drawn = Embeddings.of(np.c_[shuffled, embeddings.vectors[:, 1:]], groups=embeddings.groups)
        found = worth_of_choice(classifier, drawn, SelectOptions(method="test_choice:first_rows"))
        told += "no difference" not in found.says
    assert told <= 2


def test_classes_that_any_half_tells_apart_show_no_difference():
    found = worth_of_choice(*fitted(distance=30), SelectOptions())
    assert (found.chosen, found.random, found.rise, found.error) == (1, 1, 0, 0)
    assert "no difference can be told" in found.says


def test_a_method_that_leaves_a_class_out_is_seen_to_cost():
    classifier, embeddings = fitted(distance=30, labelled=120)
    found = worth_of_choice(classifier, embeddings, SelectOptions(method="test_choice:lowest"))
    assert found.chosen < 0.7 and found.random == 1 and "choosing costs" in found.says
    assert -found.rise > 2 * found.error > 0


def test_a_choice_is_seen_to_pay_where_classes_are_rare_and_compact():
    """Twenty classes of four labels: a drawn half may have none of one, herding takes one of each first."""
    rng = np.random.default_rng(0)
    truth = np.r_[np.zeros(200, int), np.repeat(np.arange(1, 21), 4)]
    vectors = (np.eye(21)[truth] * 5 + rng.normal(size=(len(truth), 21)) * 0.2).astype(np.float32)
    classifier = Classifier("nearest_mean").fit(vectors, truth)
    found = worth_of_choice(classifier, Embeddings.of(vectors), SelectOptions())
    assert found.rise > 2 * found.error and "choosing pays" in found.says


def test_the_error_shrinks_with_the_labels():
    few, many = (worth_of_choice(*fitted(labelled=m, n=m + 24), SelectOptions(), draws=3).error for m in (72, 720))
    assert 0 < many < 0.6 * few


def test_the_method_of_the_run_chooses():
    classifier, embeddings = fitted(distance=0.6)
    found = {
        method: worth_of_choice(classifier, embeddings, SelectOptions(method=method), draws=2)
        for method in ("herding", "random", "kmeans", "typiclust", "k-center", "test_choice:first_rows")
    }
    assert found["random"] == found["herding"]  # drawn against drawn would show nothing
    assert len({part.chosen for part in found.values()}) >= 4
    assert len({part.random for part in found.values()}) == 1  # all are compared with the same halves
    weights = np.where(embeddings.vectors[:, 0] > 2, 100.0, 0.01)
    heavy = worth_of_choice(classifier, embeddings, SelectOptions(method="anomalous"), weights, draws=2)
    assert heavy.chosen != found["herding"].chosen
    by_chance = worth_of_choice(classifier, embeddings, SelectOptions(method="kmeans", pick="random"), draws=2)
    assert by_chance.chosen != found["kmeans"].chosen
    with pytest.raises(OptionError, match="herdng"):
        worth_of_choice(classifier, embeddings, SelectOptions(method="herdng"))


@pytest.mark.parametrize("head", ["nearest_mean", "knn", "label_spreading"])
def test_every_head_is_measured_and_predicts_as_before(head: str):
    classifier, embeddings = fitted(head=head)
    before = classifier.predict_proba(embeddings.vectors)
    first, again = (worth_of_choice(classifier, embeddings, SelectOptions(), draws=2) for _ in range(2))
    assert first == again and 0.3 < first.chosen <= 1
    assert np.array_equal(classifier.predict_proba(embeddings.vectors), before)


def test_labels_too_few_for_halves_are_left_out():
    enough = worth_of_choice(*fitted(labelled=21, seed=2), SelectOptions(), draws=1)
    assert enough is not None and enough.labels in (7, 8)
    assert worth_of_choice(*fitted(labelled=12, seed=2, head="nearest_mean"), SelectOptions()) is None
