"""The parts of an exported file: twins against the scorers and heads they stand for, resizing against Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from winnow.check import obvious
from winnow.classify.classifier import Classifier
from winnow.classify.heads import HEADS, KNearest
from winnow.deploy import heads, scorers
from winnow.deploy.graph import Resize
from winnow.detect.detector import Detector
from winnow.detect.registry import SCORERS, make_scorer
from winnow.detect.scorer import Scorer
from winnow.detect.scorers.fisher import Fisher, LogP
from winnow.detect.scorers.knn import Knn
from winnow.detect.threshold import group_weights, p_values
from winnow.embeddings import Embeddings
from winnow.errors import ModelError
from winnow.onnx import OPSET, quiet, session_of


def with_linear(embeddings: Embeddings, seed: int) -> Embeddings:
    """Return the same with the error of an auxiliary linear autoencoder."""
    linear = embeddings.losses["reconstruction"] * np.exp(
        0.1 * np.random.default_rng(seed).normal(size=len(embeddings))
    )
    return Embeddings.of(embeddings.vectors, losses={**embeddings.losses, "linear": linear}, cells=embeddings.cells)


TEXTS = (
    *SCORERS, "error(pool=top_pixels)", "error(pool=top_windows)", "error(pool=texture)", "variance_corrected(background=true)",
    "mahalanobis(metric=cosine)", "mahalanobis(relative=true)", "knn(k=2, metric=cosine)", "zsum(error, knn, mahalanobis)",
    "fisher(error(pool=top_windows), error(pool=texture))",
)  # fmt: skip
NORMAL = obvious(200, 0, False)
NEW = Embeddings.of(
    # Usual ones, anomalous ones, embeddings far away in one direction, one of zeros, one of the bank itself.
    np.concatenate(
        [
            obvious(40, 1, False).vectors,
            obvious(40, 2, True).vectors,
            np.full((2, 8), 1e4),
            np.zeros((1, 8)),
            NORMAL.vectors[:1],
        ]
    ),
    losses={
        name: np.concatenate([values, obvious(40, 2, True).losses[name], [0.0, 1e-9, 1.0, 50.0]])
        for name, values in obvious(40, 1, False).losses.items()
    },
    cells=np.concatenate(
        [
            obvious(40, 1, False).cells,
            obvious(40, 2, True).cells,
            np.full((2, 2, 3, 4), 1e3),
            np.zeros((1, 2, 3, 4)),
            NORMAL.cells[:1],
        ]
    ),
)


def tensors(embeddings: Embeddings) -> dict[str, torch.Tensor]:
    columns = {"vectors": embeddings.vectors, "cells": embeddings.cells, **embeddings.losses}
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in columns.items()}


def as_float32(embeddings: Embeddings) -> Embeddings:
    """Return what the numpy route reads: losses come from the network as float32."""
    losses = {name: values.astype(np.float32) for name, values in embeddings.losses.items()}
    return Embeddings.of(embeddings.vectors, losses=losses, cells=embeddings.cells)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("auxiliary", [False, True], ids=["alone", "with linear"])
def test_every_scorer_has_a_twin_that_scores_the_same(name: str, auxiliary: bool) -> None:
    normal, new = (with_linear(part, 3) if auxiliary else part for part in (NORMAL, as_float32(NEW)))
    scorer = make_scorer(name).fit(normal)
    found = scorers.twin_of(scorer)(tensors(new)).numpy()
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, scorer.score(new), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("count", [1, 3, 300])
def test_knn_far_from_the_origin_and_fewer_than_asked_for(offset: float, count: int) -> None:
    bank, new = (offset + np.random.default_rng(seed).normal(size=(n, 16)) for seed, n in ((0, count), (1, 30)))
    for name in ("knn", "knn(metric=cosine)"):
        scorer = make_scorer(name).fit(bank.astype(np.float32))
        vectors = torch.from_numpy(new.astype(np.float32))
        np.testing.assert_allclose(scorers.twin_of(scorer)({"vectors": vectors}), scorer.score(new), rtol=2e-4)


def test_ones_own_scorer_and_a_scorer_without_a_twin_are_refused() -> None:
    class Own(Scorer):
        def _fit(self, normal: Embeddings) -> None: ...

        def _score(self, embeddings: Embeddings) -> np.ndarray:
            return embeddings.vectors[:, 0]

    with pytest.raises(ModelError, match=r"Own' is not one of Winnow's.*\n.*--only classifier"):
        scorers.twin_of(Own().fit(NORMAL))
    with pytest.raises(ModelError, match="not one of Winnow's"):
        scorers.twin_of(Fisher([Own(), Knn()]).fit(NORMAL))
    assert set(heads.TWINS) == set(HEADS.values())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 101])
def test_places_among_numbers_are_those_of_searchsorted(n: int) -> None:
    ascending = np.sort(np.random.default_rng(n).integers(0, 50, n).astype(float))
    values = np.r_[np.arange(-1, 52) / 1.0, np.arange(0, 50) + 0.5, -np.inf, np.inf, ascending]
    others = [np.array([7.0]), np.arange(30.0)]
    order = scorers.Order(ascending, *others)
    places = order(torch.from_numpy(np.stack([values, values[::-1], values], axis=1))).numpy().T
    for found, numbers, asked in zip(places, (ascending, *others), (values, values[::-1], values), strict=True):
        assert found.tolist() == np.searchsorted(numbers, asked, side="left").tolist()


@pytest.mark.parametrize("sizes", [[40], [30, 2, 8], [1]])
def test_log_p_and_p_values_step_where_they_step(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=sum(sizes)), 1)  # with ties
    weights = group_weights(np.repeat(np.arange(len(sizes)), sizes))
    new = np.r_[scores, scores + 1e-9, scores - 1e-9, -100, 100, 1e6]
    tails = [LogP(scores, weights), LogP(2 * scores[:1] + 1, weights[:1]), LogP(scores - 1, weights)]
    log_p = scorers.LogPModule(tails)(torch.from_numpy(np.stack([new, new, -new], axis=1)))
    slow = np.stack([tail.of_new(asked) for tail, asked in zip(tails, (new, new, -new), strict=True)], axis=1)
    np.testing.assert_allclose(log_p, slow, rtol=1e-12)
    detector = Detector("knn").fit(rng.normal(size=(30, 2)))
    detector.calibration, detector.weights = scores, weights
    np.testing.assert_allclose(
        scorers.PValues(detector)(torch.from_numpy(new)), p_values(scores, new, weights), rtol=1e-12
    )


def labelled(classes: int, head: str) -> tuple[Classifier, np.ndarray]:
    """Return a classifier fitted on embeddings of some classes, and other embeddings of them, an embedding of zeros among these."""
    rng = np.random.default_rng(classes)
    middles = rng.normal(size=(classes, 12)) * 2
    vectors = (np.repeat(middles, 12, axis=0) + rng.normal(size=(12 * classes, 12))).astype(np.float32)
    labels = np.array([f"ü{number}" if place % 3 else "" for number in range(classes) for place in range(12)], object)
    classifier = Classifier(head).fit(vectors, labels)
    return classifier, np.concatenate([vectors + 0.3, np.zeros((1, 12))]).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 9])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_a_twin_of_the_same_probabilities(head: str, classes: int) -> None:
    classifier, vectors = labelled(classes, head)
    found = heads.ClassifierTwin(classifier)(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found, classifier.predict_proba(vectors), rtol=1e-4, atol=1e-6)
    at_centre = heads.ClassifierTwin(classifier)(
        torch.from_numpy(classifier.centre[None])
    )  # as near to all: no order of its own
    assert torch.isfinite(at_centre).all()


@pytest.mark.parametrize("head", HEADS)
def test_a_class_that_was_not_seen_has_no_probability(head: str) -> None:
    classifier, vectors = labelled(3, head)
    target = np.where(classifier.cross_fitter.target == 1, -1, classifier.cross_fitter.target)
    classifier.fitted = HEADS[head]().fit(classifier.cross_fitter.features, target, 3)
    found = heads.ClassifierTwin(classifier)(torch.from_numpy(vectors)).numpy()
    assert (found[:, 1] == 0).all() and np.isfinite(found).all()
    np.testing.assert_allclose(found, classifier.predict_proba(vectors), rtol=1e-4, atol=1e-6)


class Everything(nn.Module):
    """All twins at once, so that one export tries every operation they are made of in onnxruntime."""

    def __init__(self, detectors: list[Detector], classifiers: list[Classifier], names: list[str]) -> None:
        super().__init__()
        self.scorers = nn.ModuleList(scorers.twin_of(detector.scorer) for detector in detectors)
        self.p_value = scorers.PValues(detectors[0])
        self.heads = nn.ModuleList(heads.ClassifierTwin(classifier) for classifier in classifiers)
        self.names = names

    def forward(
        self, vectors: torch.Tensor, cells: torch.Tensor, losses: torch.Tensor, points: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        given = {"vectors": vectors, "cells": cells, **dict(zip(self.names, losses.unbind(1), strict=True))}
        scores = [scorer(given) for scorer in self.scorers]
        return (*scores, self.p_value(scores[0]), *(head(points) for head in self.heads))


def test_onnxruntime_computes_every_twin_as_numpy_does(tmp_path: Path) -> None:
    normal, new = with_linear(NORMAL, 3), with_linear(as_float32(NEW), 4)
    detectors = [Detector(name, false_alarm_rate=0.1).fit(normal) for name in TEXTS]
    fitted = [labelled(4, head) for head in HEADS]
    names = list(new.losses)
    module = Everything(detectors, [classifier for classifier, _ in fitted], names).eval()
    losses = np.stack([new.losses[name] for name in names], axis=1).astype(np.float32)
    points = fitted[0][1][: len(new)]
    vectors, cells, losses = (values[: len(points)] for values in (new.vectors.astype(np.float32), new.cells, losses))
    given = {"vectors": vectors, "cells": cells, "losses": losses, "points": points}
    example, n = tuple(torch.from_numpy(values[:3]) for values in given.values()), torch.export.Dim("n")
    with quiet():
        program = torch.onnx.export(module, example, dynamo=True, dynamic_shapes=({0: n}, {0: n}, {0: n}, {0: n}),
                                    input_names=list(given), opset_version=OPSET)  # fmt: skip
    (tmp_path / "all.onnx").write_bytes(program.model_proto.SerializeToString())
    found = iter(session_of(tmp_path / "all.onnx").run(None, given))
    rows = Embeddings.of(vectors, losses=dict(zip(names, losses.T, strict=True)), cells=cells)
    scores = [next(found) for _ in detectors]
    for detector, got in zip(detectors, scores, strict=True):
        np.testing.assert_allclose(got, detector.score(rows), rtol=1e-5, atol=1e-5, err_msg=detector.scorer_name)
    np.testing.assert_allclose(next(found), detectors[0].p_values(scores[0]), rtol=1e-9)
    for classifier, _ in fitted:
        np.testing.assert_allclose(next(found), classifier.predict_proba(points), rtol=1e-4, atol=1e-6)


def test_resizing_is_pillows_within_a_grey_level() -> None:
    rng, apart = np.random.default_rng(0), []
    for _ in range(60):
        height, width, down, right = (int(side) for side in rng.integers(1, 150, 4))
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        # Pillow chooses which side comes first; each side for itself is in ours the same to a rounding.
        across = Image.fromarray(picture).resize((right, height), Image.Resampling.BILINEAR)
        there = np.asarray(across.resize((right, down), Image.Resampling.BILINEAR), int)
        whole = np.asarray(Image.fromarray(picture).resize((right, down), Image.Resampling.BILINEAR), int)
        found = Resize((down, right))(torch.from_numpy(picture)[None])[0].numpy().astype(int)
        assert found.shape == there.shape
        assert abs(found - whole).max() <= 1
        apart.append(float((found != there).mean()))
        assert abs(found - there).max() <= 1
    assert np.mean(apart) < 0.01


def test_pictures_of_the_right_size_pass_unchanged() -> None:
    for size in ((7, 5), (32, 40), (224, 224)):
        pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8))
        assert torch.equal(Resize(size)(pictures), pictures)


def test_a_vote_of_fewer_pictures_than_asked_for() -> None:
    points = np.eye(3, dtype=np.float32)
    head = KNearest(10).fit(points, np.array([0, 1, 1]), 2)
    found = heads.TWINS[KNearest](head)(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found, head.logits(points), rtol=1e-6)
