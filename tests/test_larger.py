"""Pictures with more patches than those that set the threshold: as many are refused as was promised or estimated."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.detect.detector import Detector
from winnow.detect.limits import STEP, limits_of, p_values_by_parts
from winnow.detect.pictures import by_picture

PARTS = 12


def detector_of(rng: np.random.Generator, pictures: int, parts: int = PARTS) -> Detector:
    """Return a detector calibrated on patches of normal scores, some pictures a little higher as a whole."""
    found = Detector("knn", false_alarm_rate=0.1).fit(rng.normal(size=(9, 2)))
    names = np.repeat(np.arange(pictures), parts).astype(str)
    found.calibration = drawn(rng, pictures, parts).ravel()
    found.ids = np.array([f"{name}#{place},0,1,1" for place, name in enumerate(names)], object)
    found.groups, found.weights = names.astype(object), np.ones(len(names))
    return found


def drawn(rng: np.random.Generator, pictures: int, parts: int) -> np.ndarray:
    return rng.normal(size=(pictures, parts)) + 0.3 * rng.normal(size=(pictures, 1))


@pytest.mark.parametrize(("pictures", "times"), [(200, 4), (200, 16), (20, 4), (20, 16), (40, 100)])
def test_larger_pictures_are_refused_as_rarely_as_usual_ones(pictures: int, times: int) -> None:
    rng, refused, before = np.random.default_rng(0), [], []
    for _ in range(60):
        whole = by_picture(detector_of(rng, pictures))
        limits = limits_of(whole, whole.parts)
        parts = np.full(200, times * PARTS)
        scores = drawn(rng, 200, times * PARTS).max(axis=1)
        above = scores > limits.of(parts)
        refused.append(above.mean())
        before.append((scores > whole.threshold.value).mean())
        p = p_values_by_parts(whole, limits, scores, parts)
        assert ((p <= whole.threshold.level + 1e-12) == above).all()
    assert np.mean(refused) < 0.1 + 2 * np.std(refused) / np.sqrt(60)
    assert np.mean(before) > 0.2


def test_pictures_of_the_usual_size_are_judged_as_ever() -> None:
    rng = np.random.default_rng(1)
    whole = by_picture(detector_of(rng, 40))
    limits, parts = limits_of(whole, whole.parts), rng.integers(1, PARTS + 1, 100)
    scores = rng.normal(2, 1, 100)
    assert limits.most == PARTS and limits.usual == PARTS and limits.values[0] == whole.threshold.value
    assert (limits.of(parts) == whole.threshold.value).all()
    assert p_values_by_parts(whole, limits, scores, parts).tolist() == whole.p_values(scores).tolist()


def test_limits_rise_with_the_patches_and_say_from_where_they_are_estimated() -> None:
    whole = by_picture(detector_of(np.random.default_rng(2), 99))
    limits = limits_of(whole, whole.parts)
    assert (np.diff(limits.values) >= 0).all() and limits.values[-1] > whole.calibration.max()
    assert limits.steps(np.array([1, PARTS, PARTS + 1, 2 * PARTS, 16 * PARTS])).tolist() == [0, 0, 1, 4, 16]
    promised = [step for step in range(len(limits.values)) if 0.1 / STEP**step >= 1 / 100]  # 99 pictures promise 1 %
    assert limits.estimated == len(promised)


def test_the_patches_estimate_what_ten_pictures_cannot() -> None:
    values = []
    for seed in range(40):
        whole = by_picture(detector_of(np.random.default_rng(seed), 10))
        of_both = limits_of(whole, whole.parts).values[16]
        whole.patch_tail = None
        values.append((of_both, limits_of(whole, whole.parts).values[16]))
    both, pictures = np.mean(values, axis=0)
    assert 3.5 < both < pictures - 0.5
