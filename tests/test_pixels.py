"""Pixel metrics against slow obvious counting and scikit-learn; cross entropy against closed forms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from winnow.errors import DataError, OptionError
from winnow.metrics.detection import FLOOR, cross_entropy
from winnow.metrics.pixels import aupro, pixel_auroc

Pictures = tuple[list[np.ndarray], list[np.ndarray]]


def pictures(seed: int, ties: bool = False, good: bool = True) -> Pictures:
    """Return anomaly maps of several sizes with a few rectangles of damage, which may touch; with `good`, one without damage."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for height, width in ((9, 14), (20, 7), (12, 12)):
        mask = np.zeros((height, width), bool)
        for _ in range(3):
            y, x = rng.integers(height - 2), rng.integers(width - 2)
            mask[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = True
        maps.append(np.round(rng.normal(size=mask.shape) + 1.2 * mask, 0 if ties else 9))
        masks.append(mask)
    if good:
        maps.append(np.round(rng.normal(size=(5, 8)), 0 if ties else 9))
        masks.append(np.zeros((5, 8), bool))
    return maps, masks


def regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return places of each 8-connected region, by flooding."""
    left, found = {tuple(place) for place in np.argwhere(mask).tolist()}, []
    while left:
        edge = [left.pop()]
        region = list(edge)
        while edge:
            y, x = edge.pop()
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    edge.append(near)
                    region.append(near)
        found.append(region)
    return found


def slow_aupro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """Integrate the curve at every value there is, by 200,000 tiny steps across it."""
    good = np.concatenate([anomaly_map[~mask] for anomaly_map, mask in zip(maps, masks, strict=True)])
    parts = [
        np.array([anomaly_map[place] for place in region])
        for anomaly_map, mask in zip(maps, masks, strict=True)
        for region in regions(mask)
    ]
    across, up = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([anomaly_map.ravel() for anomaly_map in maps]))[::-1]:
        across.append((good >= threshold).mean())
        up.append(np.mean([(part >= threshold).mean() for part in parts]))
    steps = limit * (np.arange(200_000) + 0.5) / 200_000
    return float(np.interp(steps, across, up).mean())


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_pixel_auroc_is_that_of_all_pixels_together(seed: int, ties: bool) -> None:
    maps, masks = pictures(seed, ties)
    every = [np.concatenate([array.ravel() for array in arrays]) for arrays in (masks, maps)]
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(*every), abs=1e-12)


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_against_a_slow_one(seed: int, ties: bool, limit: float) -> None:
    maps, masks = pictures(seed, ties)
    assert aupro(maps, masks, limit) == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-4)


def test_limit_changes_the_area() -> None:
    maps, masks = pictures(0)
    assert aupro(maps, masks) == aupro(maps, masks, 0.3) < aupro(maps, masks, 0.6)


def test_known_answers() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = True
    assert aupro([mask * 1.0], [mask]) == pixel_auroc([mask * 1.0], [mask]) == 1
    assert aupro([1.0 - mask], [mask]) == pixel_auroc([1.0 - mask], [mask]) == 0
    # all of one score: the curve is the diagonal
    assert pixel_auroc([np.zeros((10, 10))], [mask]) == 0.5
    assert aupro([np.zeros((10, 10))], [mask]) == pytest.approx(0.15)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:10, :10], mask[15, 15] = True, True
    anomaly_map = np.zeros((20, 20))
    anomaly_map[:10, :10] = 1.0  # the large one is found at once, the small one only when all is called damaged
    assert aupro([anomaly_map], [mask], 1e-9) == pytest.approx(0.5)
    assert pixel_auroc([anomaly_map], [mask]) == pytest.approx((100 + 0.5) / 101)


def test_corners_join_a_region() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True  # two regions: two pixels, one pixel
    anomaly_map = np.zeros((6, 6))
    anomaly_map[0, 0] = 1.0
    assert aupro([anomaly_map], [mask], 1e-9) == pytest.approx(0.25)


def test_a_good_picture_brings_only_false_alarms() -> None:
    maps, masks = pictures(1, good=False)
    hot, cold = np.full((9, 9), 99.0), np.full((9, 9), -99.0)
    empty = np.zeros((9, 9), bool)
    assert aupro([*maps, hot], [*masks, empty]) < aupro(maps, masks) < aupro([*maps, cold], [*masks, empty])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.uint8])
def test_kinds_of_numbers_and_of_masks_and_the_order_make_no_difference(kind: Any) -> None:
    maps, masks = pictures(2, ties=True)
    maps = [anomaly_map + 10 for anomaly_map in maps]
    given = (
        [anomaly_map.astype(kind) for anomaly_map in maps][::-1],
        [mask.astype(np.uint8) * 255 for mask in masks][::-1],
    )
    assert aupro(*given) == pytest.approx(aupro(maps, masks), abs=1e-12)
    assert pixel_auroc(*given) == pytest.approx(pixel_auroc(maps, masks), abs=1e-12)


@pytest.mark.parametrize("measure", [pixel_auroc, aupro])
def test_bad_pictures_are_refused(measure: Any) -> None:
    anomaly_map, mask = np.zeros((4, 4)), np.eye(4, dtype=bool)
    for maps, masks, message in (
        ([], [], "0 anomaly maps and 0 masks"),
        ([anomaly_map], [mask, mask], "1 anomaly maps and 2 masks"),
        ([anomaly_map, anomaly_map], [mask, mask[:2]], r"Picture 1 .*\(4, 4\) .*\(2, 4\)"),
        ([anomaly_map[0]], [mask[0]], "Picture 0"),
        ([anomaly_map, anomaly_map + np.nan], [mask, mask], "picture 1 holds values that are not finite"),
        ([anomaly_map], [~mask & mask], "no damaged pixel"),
        ([anomaly_map], [mask | ~mask], "no good pixel"),
    ):
        with pytest.raises(DataError, match=message):
            measure(maps, masks)


@pytest.mark.parametrize("limit", [0, -0.1, 1.1, float("nan")])
def test_a_limit_is_a_rate(limit: float) -> None:
    with pytest.raises(OptionError, match="no limit"):
        aupro(*pictures(0), limit)


def gaussians(mean: float, spread: float, n: int = 400_000) -> tuple[np.ndarray, np.ndarray, float]:
    """Return samples of N(0, 1) and N(mean, spread), and the cross entropy of their densities."""
    rng = np.random.default_rng(0)
    closed = 0.5 * math.log(2 * math.pi * spread**2) + (1 + mean**2) / (2 * spread**2)
    return rng.normal(size=n), rng.normal(mean, spread, n), closed


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (0.5, 1.5), (1, 2), (-0.7, 1.2)])
def test_cross_entropy_of_gaussians_is_the_closed_form_less_the_bins_width(mean: float, spread: float) -> None:
    p, q, closed = gaussians(mean, spread)
    edges = np.linspace(-9, 9, 181)  # every bin where p has scores is filled by q
    assert cross_entropy(p, q, edges) == pytest.approx(closed - math.log(0.1), abs=0.01)


def test_cross_entropy_of_a_sample_with_itself_is_its_entropy() -> None:
    p = np.random.default_rng(1).gamma(2, size=5000)
    counts, _ = np.histogram(p, 100)
    assert cross_entropy(p, p) == pytest.approx(entropy(counts))
    assert cross_entropy(p, p, 7) == pytest.approx(entropy(np.histogram(p, 7)[0]))
    edges = np.linspace(0, 20, 50)
    assert cross_entropy(p, p, edges) < cross_entropy(p, p * 1.5, edges)


def test_cross_entropy_against_a_slow_one() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.integers(0, 40, 300) / 4, rng.integers(20, 80, 200) / 4
    edges = np.linspace(min(p.min(), q.min()), max(p.max(), q.max()), 14)
    slow = 0.0
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        last = number == len(edges) - 2
        share = np.mean((p >= low) & ((p < high) | last))
        other = np.mean((q >= low) & ((q < high) | last))
        slow -= share * math.log(max(other, 1e-9))
    assert cross_entropy(p, q, 13) == pytest.approx(slow)
    assert cross_entropy(p, q, edges) == pytest.approx(slow)
    assert cross_entropy(p, q, 13) != pytest.approx(cross_entropy(q, p, 13))
    assert cross_entropy(p, q, 13) != pytest.approx(cross_entropy(p, q, 26))


def test_samples_far_apart_give_the_floor() -> None:
    p, q, _ = gaussians(1000, 1, 500)
    assert cross_entropy(p, q) == pytest.approx(-math.log(FLOOR)) == pytest.approx(20.72, abs=0.01)
    assert cross_entropy(p, q, [-10, 10, 2000]) == pytest.approx(-math.log(FLOOR))


def test_scores_beyond_the_edges_are_in_the_outermost_bins() -> None:
    edges = [0.0, 1.0, 2.0]
    assert cross_entropy([-5, 0.5, 1.5, 9], [0.5, 1.5], edges) == pytest.approx(math.log(2))


@pytest.mark.parametrize("value", [0.0, 3.0, -1e300, 1e-320])
def test_constant_samples(value: float) -> None:
    assert cross_entropy([value] * 3, [value]) == 0
    other = -value or 1.0
    assert cross_entropy([value] * 3, [value, other]) == pytest.approx(math.log(2))
    assert cross_entropy([value] * 3, [other]) == pytest.approx(-math.log(FLOOR))


def test_scores_of_any_size_and_place_are_binned_alike() -> None:
    rng = np.random.default_rng(3)
    p, q = rng.normal(size=400), rng.normal(0.3, 1, 400)
    assert cross_entropy(p * 2.0**1000, q * 2.0**1000) == pytest.approx(cross_entropy(p, q))
    assert cross_entropy(p * 2.0**-900, q * 2.0**-900) == pytest.approx(cross_entropy(p, q))
    assert cross_entropy([1, 1 + 1e-16], [1, np.nextafter(1, 2)]) >= 0


def test_cross_entropy_refuses_what_it_cannot_measure() -> None:
    for p, q in (([], [1.0]), ([1.0], []), ([1.0, np.nan], [1.0]), ([1.0], [np.inf])):
        with pytest.raises(DataError, match="two samples of finite scores"):
            cross_entropy(p, q)
    for bins in (0, -3, 2.5, float("nan")):
        with pytest.raises(OptionError, match="no number of bins"):
            cross_entropy([1.0], [2.0], bins)
    for edges in ([1.0], [1, 1], [2, 1], [0, np.nan, 1]):
        with pytest.raises(OptionError, match="do not rise"):
            cross_entropy([1.0], [2.0], edges)
