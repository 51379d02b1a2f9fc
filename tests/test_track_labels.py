"""A label counts for its track: what is learnt, folds, votes, and the tracks that a person is asked to check."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.classify.classifier import Classifier
from winnow.classify.cross_fit import probabilities
from winnow.classify.folds import deal
from winnow.classify.heads import HEADS
from winnow.classify.tracks import MOST, Tracks
from winnow.embeddings import Embeddings, unit_length
from winnow.errors import DataError
from winnow.run.suggest import Suggester, held_out
from winnow.run.tracks import turn


def crowd(tracks: int, each: int, seed: int = 0, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors (n, 16), classes (n,) and tracks (n,): persons who look alike in their class, seen from many sides."""
    rng = np.random.default_rng(seed)
    kind = np.arange(tracks) % classes
    person = np.eye(16)[kind] * 1.2 + rng.normal(0, 0.5, (tracks, 16))
    vectors = np.repeat(person, each, axis=0) + rng.normal(0, 1.0, (tracks * each, 16))
    names = np.repeat(np.array([f"film@{track}" for track in range(tracks)], object), each)
    return vectors.astype(np.float32), np.repeat(np.array(["a", "b", "c"], object)[kind], each), names


def one_of_each(truth: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return labels (n,) of the first crop of each track alone."""
    first = np.unique(names, return_index=True)[1]
    labels = np.full(len(truth), "", object)
    labels[first] = truth[first]
    return labels


# ---- what is taught


def test_what_is_taught_is_what_a_slow_version_says():
    rng = np.random.default_rng(0)
    names = rng.choice(["", "x", "y", "z", "v"], 200, p=[0.2, 0.1, 0.1, 0.2, 0.4]).astype(object)
    target = np.where(rng.random(200) < 0.02, rng.integers(0, 2, 200), -1)
    target[np.flatnonzero(names == "z")[:2]] = [0, 1]  # a contradiction
    target[names == "v"] = -1
    target[np.flatnonzero(names == "x")[3]] = 1
    tracks = Tracks.named(names, 200)
    taught, weights = tracks.taught(target)
    for name in ("x", "y", "z", "v"):
        rows = np.flatnonzero(names == name)
        kinds = set(target[rows].tolist()) - {-1}
        if len(kinds) == 1:
            learnt = rows[taught[rows] >= 0]
            assert set(taught[learnt]) == kinds and len(learnt) == min(MOST, len(rows))
        else:
            learnt = rows[target[rows] >= 0]
            assert np.array_equal(taught[rows], target[rows])
        assert weights[learnt].sum() == pytest.approx(float(len(learnt) > 0))
    alone = names == ""
    assert np.array_equal(taught[alone], target[alone]) and (weights[alone] == 1).all()
    assert np.array_equal(
        tracks.labelled(target), np.isin(names, ["x", "z"]) | ((names == "y") & (target[names == "y"] >= 0).any())
    )


def test_without_tracks_nothing_changes():
    tracks = Tracks.named(None, 5)
    assert not tracks and not Tracks.named(["", None, ""], 3)
    vectors, truth, _ = crowd(20, 3)
    plain = Classifier().fit(vectors, truth)
    same = Classifier().fit(vectors, truth, tracks=np.full(len(truth), "", object))
    assert np.array_equal(plain.predict_proba(vectors), same.predict_proba(vectors)) and same.by_track is None
    with pytest.raises(DataError, match="'tracks' has shape"):
        Classifier().fit(vectors, truth, tracks=["x"])


def test_a_mean_over_tracks_leaves_what_has_none():
    values = np.arange(12.0).reshape(6, 2)
    averaged = Tracks.named(["t", "", "u", "t", "", "u"], 6).averaged(values)
    assert averaged.tolist() == [[3, 4], [2, 3], [7, 8], [3, 4], [8, 9], [7, 8]]


@pytest.mark.parametrize("name", HEADS)
def test_a_picture_of_weight_two_counts_as_two(name: str):
    """Against the same pictures given twice; neighbours of a vote would count a copy as one more, so only shares agree there."""
    rng = np.random.default_rng(1)
    vectors, truth, _ = crowd(40, 1, classes=3)
    features = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    target = np.unique(truth, return_inverse=True)[1]
    weights = rng.integers(1, 4, 40).astype(float)
    head = HEADS[name]().fit(features, target, 3, weights)
    if name in ("logistic", "nearest_mean"):
        twice = np.repeat(np.arange(40), weights.astype(int))
        expected = HEADS[name]().fit(features[twice], target[twice], 3).logits(features)
        np.testing.assert_allclose(head.logits(features), expected, atol=0.05)
    elif name == "knn":
        for kind in range(3):
            own = target == kind
            np.testing.assert_allclose(head.votes[own, kind], weights[own] / weights[own].sum())
    even = HEADS[name]().fit(features, target, 3, np.ones(40)).logits(features)
    np.testing.assert_allclose(even, HEADS[name]().fit(features, target, 3).logits(features), atol=1e-4)
    assert np.abs(head.logits(features) - even).max() > 1e-3


# ---- what it is worth


def test_labels_of_tracks_are_worth_more_than_labels_of_crops():
    vectors, truth, names = crowd(60, 20)
    new, expected, who = crowd(200, 20, seed=1)
    labels = one_of_each(truth, names)
    by_crop = Classifier("logistic").fit(vectors, labels)
    by_track = Classifier("logistic").fit(vectors, labels, tracks=names)
    alone = (by_crop.predict(new) == expected).mean()
    learnt = (by_track.predict(new) == expected).mean()
    voted = Tracks.named(who, len(who)).averaged(by_track.predict_proba(new)).argmax(axis=1)
    assert learnt > alone + 0.02
    assert (by_track.classes[voted] == expected).mean() > learnt + 0.02
    assert by_track.by_track.tally.macro_f1 > by_track.held_out.tally.macro_f1
    assert len(by_track.held_out.rows) == 60  # only true labels are judged


def test_a_track_counts_once_however_many_of_its_crops_are_labelled():
    vectors, truth, names = crowd(30, 10)
    few = Classifier("nearest_mean").fit(vectors, one_of_each(truth, names), tracks=names)
    all_of_one = one_of_each(truth, names)
    all_of_one[names == names[0]] = truth[0]
    more = Classifier("nearest_mean").fit(vectors, all_of_one, tracks=names)
    np.testing.assert_allclose(few.fitted.means, more.fitted.means, atol=1e-9)


def test_no_pseudo_label_is_given_to_a_crop_of_a_labelled_track():
    vectors, truth, names = crowd(40, 10)
    labels = np.where(np.isin(names, np.unique(names)[:20]), one_of_each(truth, names), "")
    found = Classifier("nearest_mean", pseudo=20).fit(vectors, labels, tracks=names)
    free = found.cross_fitter.with_pseudo(
        found.cross_fitter.tuned(), 20, ~found.cross_fitter.tracks.labelled(found.cross_fitter.target)
    )
    added = np.flatnonzero((free.target >= 0) & (found.cross_fitter.target < 0))
    assert len(added) and set(names[added]).isdisjoint(set(names[labels != ""]))
    assert free.sure is not None
    for name in np.unique(names):  # what is said of an unlabelled track is said of all its crops
        assert np.ptp(free.sure[names == name]) < 1e-9


# ---- folds


@pytest.mark.parametrize("seed", range(6))
def test_no_track_is_divided_between_folds(seed: int):
    rng = np.random.default_rng(seed)
    tracks = rng.integers(0, 25, 120)
    groups = np.where(tracks < 12, "one film", "another") if seed % 2 else np.full(120, "film")
    target = np.where(
        rng.random(120) < 0.1, rng.integers(0, 3, 120), tracks % 3
    )  # some contradict the others of their track
    tracks = np.where(rng.random(120) < 0.1, -1, tracks)
    found = deal(target, groups, ("a", "b", "c"), 5, seed, tracks=tracks)
    for track in range(25):
        assert len(set(found.fold[tracks == track])) <= 1 and len(set(found.units[tracks == track])) <= 1
    assert all(len(set(found.fold[target == kind])) > 1 for kind in range(3))


def test_the_worth_of_choosing_is_measured_by_folds_that_divide_no_track():
    vectors, truth, names = crowd(20, 6)
    order = np.random.default_rng(0).permutation(len(truth))  # the crops of all tracks among one another, in one film
    classifier = Classifier("logistic").fit(
        vectors[order], truth[order], np.full(len(order), "film"), tracks=names[order]
    )
    fold = classifier.quick.dealt(5).fold
    assert all(len(set(fold[names[order] == name])) == 1 for name in names)


def test_a_track_that_was_labelled_wrongly_as_a_whole_is_contradicted():
    tracks = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 6))
    target = tracks % 2
    # A crop shows its class, and more clearly whose track it is of.
    features = unit_length(np.hstack([np.eye(2)[target], 3 * np.eye(20)[tracks]]).astype(np.float32))
    film, alone, wrong = np.full(120, "film"), np.arange(120).astype(str), tracks == 4
    target[wrong] = 1
    assert (held_out(features, target, film, alone, tracks).kind[wrong] == 0).all()
    assert (held_out(features, target, film, alone).kind[wrong] == 1).all()  # by heads that have seen other crops of it
    every, names = np.arange(120), np.array([f"film@{track}" for track in tracks], object)
    live = Suggester(Embeddings.of(features, groups=film), features, every, every, 120, names)
    found = live(target, np.empty(0, int))
    assert (found["held_kind"][wrong[found["held"]]] == 0).all()


def test_one_track_with_all_labels_of_a_class_is_divided_and_that_is_said():
    target, tracks = np.array([0, 0, 0, 1, 1, 1]), np.array([4, 4, 4, 5, 6, 7])
    found = deal(target, np.full(6, "film"), ("a", "b"), 3, tracks=tracks)
    assert len(set(found.fold[:3])) > 1
    assert "All labels of 'a' are of one track" in found.notes[0]
    vectors, truth, names = crowd(8, 10)
    labels = one_of_each(truth, names)
    labels[labels == "a"] = ""
    labels[names == names[0]] = "a"
    classifier = Classifier("logistic").fit(vectors, labels, tracks=names)
    assert np.isfinite(classifier.held_out.probabilities).all()


def test_what_is_taught_in_a_fold_is_nothing_of_what_it_holds_out():
    vectors, truth, names = crowd(24, 10)
    fitter = Classifier("logistic").fit(vectors, one_of_each(truth, names), tracks=names).cross_fitter
    for target, fold in zip(fitter.fold_targets(fitter.target), fitter.folds, strict=True):
        taught, _ = fitter.parts.taught(target)
        held = set(names[fitter.rows[fitter.fold[fitter.rows] == fold]])
        assert held and held.isdisjoint(set(names[taught >= 0]))


def test_held_out_votes_are_those_of_heads_that_saw_nothing_of_the_track():
    vectors, truth, names = crowd(24, 10)
    classifier = Classifier("logistic").fit(vectors, one_of_each(truth, names), tracks=names)
    fitter, held = classifier.cross_fitter, classifier.held_out
    for place, row in enumerate(held.rows):
        crops = np.flatnonzero(names == names[row])
        target = np.where(fitter.fold == held.fold[place], -1, fitter.target)
        head = fitter.fit(HEADS["logistic"](fitter.head.setting), target, fitter.parts)
        mean = probabilities(head.logits(fitter.features[crops]), classifier.temperature).mean(axis=0)
        np.testing.assert_allclose(classifier.by_track.probabilities[place], mean, atol=1e-6)


# ---- tracks to check


def test_a_track_turns_where_two_persons_are_one():
    first, second = np.array([0.9, 0.1]), np.array([0.2, 0.8])
    margin, at, before, after = turn(np.array([first] * 5 + [second] * 7))
    assert (at, before, after) == (5, 0, 1) and margin == pytest.approx(0.6)
    assert turn(np.array([first] * 9)) == (0.0, 0, 0, 0)
    assert turn(np.array([first, second, second])) == (0.0, 0, 0, 0)
    assert turn(np.array([first, second] * 6))[0] < 0.35
