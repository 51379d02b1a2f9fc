"""A camera that sees an empty scene most of the time: the labels go to the figures, and the figures are no outliers."""

from __future__ import annotations

import numpy as np
import pytest

from winnow.embeddings import unit_length
from winnow.select.choose import choose
from winnow.select.duplicates import distinct, usual_distance
from winnow.select.geometry import squared_distances
from winnow.select.outliers import outliers_of

RNG = np.random.default_rng


def camera(frames: int = 400, share: float = 0.2, walks: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene with noise through which a figure walks at times; return codes (n, 192), means of 8x8 pixels, and who is there."""
    rng = RNG(seed)
    scene, who = rng.uniform(40, 210, (12, 16, 1)).repeat(8, axis=0).repeat(8, axis=1), np.zeros(frames, int)
    long = round(frames * share / walks)
    for walk, begin in enumerate(np.linspace(0.04 * frames, 0.96 * frames - long, walks).astype(int), start=1):
        who[begin : begin + long] = walk
    codes = np.empty((frames, 192), np.float32)
    for number, walk in enumerate(who):
        picture = scene[:, :, 0] * (1 + 0.02 * np.sin(number / 40))
        if walk:
            step = np.flatnonzero(who == walk).tolist().index(number) / long
            left, tone = int(8 + step * 96), 30 + 25 * walk
            picture[24:56, left : left + 16] = tone
            picture[56:80, left + 2 : left + 14] = 255 - tone
        picture = (picture + rng.normal(0, 12, picture.shape)).clip(0, 255)
        codes[number] = picture.reshape(12, 8, 16, 8).mean(axis=(1, 3)).ravel()
    return codes, who


def scores_of(codes: np.ndarray) -> np.ndarray:
    """Return the distance of each frame to the fifth nearest at other times, as a detector that holds out clips has it."""
    apart = np.sqrt(squared_distances(codes, codes))
    number = np.arange(len(codes))
    apart[np.abs(number - number[:, None]) < 12] = np.inf
    return np.partition(apart, 4, axis=1)[:, 4]


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_labels_go_to_the_figures(share: float):
    codes, who = camera(share=share)
    stays = distinct(codes, 0.1)
    assert stays[who == 0].mean() < 0.15 < 0.4 < stays[who > 0].mean()
    chosen = choose(codes, 40, candidates=np.flatnonzero(stays)).rows
    assert (who[chosen] == 0).sum() <= 12 and len(
        set(who[chosen])
    ) >= 5  # a figure as light as the scene is hard to see


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_figures_are_no_outliers_and_what_is_of_another_place_is(share: float):
    codes, who = camera(share=share)
    broken = RNG(1).uniform(0, 255, (4, 192)).astype(np.float32)
    codes, who = np.concatenate([codes, broken]), np.append(who, np.full(4, -1))
    found = outliers_of(scores_of(codes), 3.0, np.flatnonzero(distinct(codes, 0.1)))
    assert set(np.flatnonzero(who == -1)) <= set(found)
    assert np.isin(found, np.flatnonzero(who > 0)).sum() <= 0.1 * (who > 0).sum()
    by_all = outliers_of(scores_of(codes), 3.0)
    assert np.isin(by_all, np.flatnonzero(who > 0)).sum() > 0.3 * (who > 0).sum()  # as it was


@pytest.mark.parametrize("junk", [0, 20])
def test_the_usual_distance_is_that_of_different_pictures_with_an_empty_scene_and_with_junk(junk: int):
    rng = RNG(0)
    different = unit_length(np.append(rng.normal(size=(400 - junk, 60)) + 3, 50 * rng.normal(size=(junk, 60)), axis=0))
    squared = squared_distances(different, different)
    usual = np.median(squared_distances(different[: 400 - junk], different[: 400 - junk]))
    assert usual_distance(squared) == pytest.approx(usual, rel=0.25)  # the pool's, not the junk's
    scene = np.repeat(different[:1], 320 - junk, axis=0) + 1e-3 * rng.normal(size=(320 - junk, 60))
    mostly = np.append(unit_length(scene), different[-80 - junk :], axis=0)
    squared = squared_distances(mostly, mostly)
    assert np.median(squared) < 0.001 < 0.5 * usual < usual_distance(squared)
