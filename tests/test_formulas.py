"""The scorers' numbers are fixed, and the same formula gives them in numpy, in torch and as an exported layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from winnow.check import obvious
from winnow.deploy.scorers import twin_of
from winnow.detect.detector import Detector
from winnow.detect.registry import SCORERS, parse
from winnow.embeddings import Embeddings

# Scores of three normal pictures and two others, and the threshold for 5 % false alarms, as version 0.1 first computed them.
EXPECTED = {
    "error": (-5.77253644, -6.04469689, -5.38280561, -3.4566448, -3.61257631, -4.62958789),
    "error(pool=top_pixels)": (-3.98077697, -4.25293742, -3.59104614, -1.66488534, -1.82081684, -2.83782842),
    "error(pool=top_windows)": (-4.38624208, -4.65840253, -3.99651125, -2.07035044, -2.22628195, -3.24329353),
    "error(pool=texture)": (-6.46568362, -6.73784407, -6.07595279, -4.14979199, -4.30572349, -5.32273507),
    "latent": (2.71113941, 2.43192569, 2.43519777, 4.47087687, 4.32832822, 2.70600267),
    "zsum(error, latent)": (0.713082242, -1.25550982, 0.290634101, 14.5088299, 13.4645222, 2.2894295),
    "error_over_variance": (-1.94617621, -2.44117974, -2.31811985, -0.148232612, -0.877935757, -1.72123281),
    "variance_corrected": (0.349067212, -0.159121422, -0.063553454, 2.11974079, 1.3612676, 0.53466055),
    "variance_corrected(background=true)": (0.527608246, -0.128723753, -0.0640637789, 1.74717632, 1.73411218, 0.468217279),
    "error_over_background": (0.440846961, -0.181323245, -0.0589991476, 1.74301192, 1.75233784, 0.469591195),
    "gradient": (0.096586492, 0.323400252, 0.0397077312, 3.22188327, 3.15070096, 0.36529146),
    "mahalanobis": (4.55239735, 1.01190559, 2.32997578, 379.850373, 408.261296, 17.4715175),
    "mahalanobis(metric=cosine)": (6.98389647, 6.38310782, 10.4084394, 17.4855424, 14.7451302, 10.6854459),
    "mahalanobis(relative=true)": (3.35424995, 0.734211316, 2.01553494, 342.547366, 357.007187, 12.3649322),
    "knn": (1.71877098, 1.63104284, 1.51875782, 13.0898609, 14.9271975, 3.1784451),
    "knn(metric=cosine)": (0.632236719, 0.553912461, 0.720423639, 0.865728557, 0.792704999, 0.807220459),
    "padim": (1.82572937, 2.32915854, 2.75654602, 12.9240246, 13.4969692, 3.64963818),
    "patchcore": (0.419484466, 0.592399657, 0.882548332, 10.342104, 10.6252308, 1.27943182),
    "fisher": (8.62184702, 1.12604053, 2.81612732, 109.531528, 89.6578289, 13.0415617),
    "fisher(error(pool=top_windows), error(pool=texture))": (0.360252332, 0.113024421, 1.197673, 27.3576655, 24.5235888, 6.0074343),
}  # fmt: skip


SEARCHING = ("knn", "knn(metric=cosine)", "fisher")
"""They look for neighbours with faiss, which takes numpy's arrays alone."""


def made(n: int, seed: int, anomalous: bool) -> Embeddings:
    """Embeddings with every measure, groups of five, and a quarter of the pictures seen in training."""
    plain = obvious(n, seed, anomalous)
    linear = plain.losses["reconstruction"] * np.exp(0.1 * np.random.default_rng(seed).normal(size=n))
    groups, seen = (np.arange(n) // 5).astype(str), np.arange(n) % 4 == 0
    return Embeddings.of(
        plain.vectors, losses={**plain.losses, "linear": linear}, groups=groups, seen=seen, cells=plain.cells
    )


def new() -> Embeddings:
    one, other = made(3, 1, False), made(2, 2, True)
    losses = {name: np.concatenate([one.losses[name], other.losses[name]]) for name in one.losses}
    cells = np.concatenate([one.cells, other.cells])
    return Embeddings.of(np.concatenate([one.vectors, other.vectors]), losses=losses, cells=cells)


def test_every_scorer_has_its_numbers_here() -> None:
    assert {parse(text).name for text in EXPECTED} == set(SCORERS)


def not_by_numpy(tensor: torch.Tensor, *given: object, **about: object) -> np.ndarray:
    """Refuse what numpy takes of its own accord, as a tensor on another device does."""
    raise TypeError("can't convert to numpy")


@pytest.mark.parametrize("text", EXPECTED)
def test_a_scorer_gives_the_same_numbers_as_ever_in_every_library(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector(text, false_alarm_rate=0.05).fit(made(120, 0, False))
    scores, threshold = EXPECTED[text][:-1], EXPECTED[text][-1]
    in_numpy = detector.score(new())
    assert in_numpy.dtype == np.float64
    np.testing.assert_allclose(in_numpy, scores, rtol=1e-6, atol=1e-7)
    assert detector.threshold.value == pytest.approx(threshold, rel=1e-6)
    losses = {name: torch.from_numpy(values) for name, values in new().losses.items()}
    vectors, cells = torch.from_numpy(new().vectors), torch.from_numpy(new().cells)
    with monkeypatch.context() as patch:
        if text not in SEARCHING:
            patch.setattr(torch.Tensor, "__array__", not_by_numpy)
        in_torch = detector.score(Embeddings(vectors, losses, cells=cells))
    assert isinstance(in_torch, torch.Tensor) and in_torch.dtype == torch.float64
    np.testing.assert_allclose(in_torch, scores, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        twin_of(detector.scorer)({"vectors": vectors, "cells": cells, **losses}), scores, rtol=1e-6, atol=1e-7
    )
