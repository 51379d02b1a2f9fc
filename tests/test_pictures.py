"""From patches to pictures: the worst patch speaks, and the threshold is one of pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture, most_anomalous
from winnow.embeddings import Embeddings


def patches(pictures: int, each: int, seed: int = 0, groups: int = 0) -> Embeddings:
    """Embeddings of so many patches of so many pictures, as those of a pool, in an order of their own."""
    rng = np.random.default_rng(seed)
    ids = np.array(
        [f"{picture:02d}#{patch},0,1,1" for picture in range(pictures) for patch in range(each)], dtype=object
    )
    owners = np.array(
        [f"group {picture % groups if groups else picture}" for picture in range(pictures) for _ in range(each)]
    )
    order = rng.permutation(len(ids))
    return Embeddings.of(rng.normal(size=(len(ids), 3)), ids=ids[order], groups=owners[order])


def test_a_picture_has_the_score_of_its_worst_patch():
    rng = np.random.default_rng(1)
    names, scores = rng.choice(["b", "a", "c", "d"], 50), rng.normal(size=50)
    pictures, highest, member = most_anomalous(names, scores)
    seen = list(dict.fromkeys(names.tolist()))
    assert pictures.tolist() == seen
    assert highest.tolist() == [max(s for n, s in zip(names, scores, strict=True) if n == name) for name in seen]
    assert [seen[row] for row in member] == names.tolist()


def test_no_patches_are_no_pictures():
    assert [len(part) for part in most_anomalous([], [])] == [0, 0, 0]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_the_threshold_is_the_quantile_of_the_pictures_worst_patches(rate: float):
    detector = Detector("mahalanobis", false_alarm_rate=rate).fit(patches(40, 6))
    worst: dict[str, float] = {}
    for name, score in zip(detector.ids, detector.calibration, strict=True):
        worst[name.split("#")[0]] = max(score, worst.get(name.split("#")[0], -math.inf))
    ordered = sorted(worst.values())
    place = math.ceil(41 * (1 - rate) - 1e-9)
    threshold = by_picture(detector).threshold
    assert threshold.n == 40 and threshold.value == ordered[place - 1]
    assert threshold.value > detector.threshold.value


def test_false_alarms_are_those_of_pictures():
    rates = []
    for seed in range(30):
        detector = by_picture(Detector("mahalanobis", false_alarm_rate=0.2).fit(patches(60, 8, seed)))
        new = patches(200, 8, 1000 + seed)
        _, scores, _ = most_anomalous([name.split("#")[0] for name in new.ids], detector.score(new))
        rates.append((scores > detector.threshold.value).mean())
    assert 0.15 < np.mean(rates) < 0.22


def test_pictures_keep_their_groups_and_weigh_by_them():
    detector = Detector("mahalanobis", false_alarm_rate=0.2).fit(patches(20, 4, groups=3))
    whole = by_picture(detector)
    assert dict(zip(whole.ids, whole.groups, strict=True)) == {f"{n:02d}": f"group {n % 3}" for n in range(20)}
    sizes = {"group 0": 7, "group 1": 7, "group 2": 6}
    assert whole.weights.tolist() == [min(7, sizes[group]) / sizes[group] for group in whole.groups]
    assert whole.threshold.groups == 3


def test_the_detector_of_patches_stays_as_it_was():
    detector = Detector("mahalanobis", false_alarm_rate=0.2).fit(patches(20, 4))
    before = detector.threshold
    by_picture(detector)
    assert detector.threshold == before and len(detector.calibration) == 80


def test_pictures_that_were_not_cut_are_their_own():
    rng = np.random.default_rng(0)
    names = [f"{number}" for number in range(50)]
    detector = Detector("mahalanobis", false_alarm_rate=0.1).fit(Embeddings.of(rng.normal(size=(50, 3)), ids=names))
    whole = by_picture(detector)
    assert whole.threshold == detector.threshold and whole.ids.tolist() == names
