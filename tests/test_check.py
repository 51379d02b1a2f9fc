"""The checks pass over the registries, and each fails on a part broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from winnow.check import ContractError, check_head, check_model, check_runner, check_scorer
from winnow.classify.heads import HEADS, Head, NearestMean
from winnow.detect.registry import SCORERS
from winnow.detect.scorers.fisher import Fisher
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.mahalanobis import Mahalanobis
from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.models.contract import Model, ModelOutput
from winnow.models.registry import MODELS, build
from winnow.options import ModelOptions
from winnow.scale.local import run_local


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_our_scorers_keep_the_contract(name: str) -> None:
    check_scorer(SCORERS[name])


def test_mahalanobis_of_a_background_keeps_the_contract() -> None:
    background = np.random.default_rng(0).normal(size=(100, 8)) * 5
    check_scorer(lambda: Mahalanobis(background=background))


class FitAndScore:
    """As scikit-learn has them: fit and score alone."""

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, normal: Embeddings) -> None:
        self.mean = normal.vectors.mean(axis=0)

    def score(self, embeddings: Embeddings) -> np.ndarray:
        return (np.abs(embeddings.vectors - self.mean) ** self.power).sum(axis=1)


def test_fit_and_score_are_enough_and_are_checked_alike() -> None:
    check_scorer(FitAndScore)
    check_scorer(lambda: FitAndScore(power=4.0))
    check_scorer(lambda: Fisher([FitAndScore(), Knn(k=2)]))

    class Backwards(FitAndScore):
        def score(self, embeddings: Embeddings) -> np.ndarray:
            return -super().score(embeddings)

    with pytest.raises(ContractError, match=r"Backwards.score must be higher"):
        check_scorer(Backwards)


class Base(Knn):
    """A scorer that keeps the contract, to break one sentence at a time."""


class ScoresUnfitted(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        return super().score(embeddings) if self.dimensions else np.zeros(len(embeddings))


class CrashesUnfitted(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        return super().score(embeddings) if self.dimensions else {}["bank"]


class FitReturnsNothing(Base):
    def fit(self, normal: Any) -> Any:
        super().fit(normal)


class FitChangesItsInput(Base):
    def _fit(self, normal: Embeddings) -> None:
        super()._fit(normal)
        normal.vectors[:] -= normal.vectors.mean(axis=0)


class ScoreChangesItsInput(Base):
    def _score(self, embeddings: Embeddings) -> np.ndarray:
        scores = super()._score(embeddings)
        embeddings.losses["variance"][:] = 0
        return scores


class WrongShape(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        return super().score(embeddings)[:, None]


class NotFinite(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        scores = super().score(embeddings)
        return np.where(scores > np.median(scores), np.inf, scores) if len(scores) else scores


class Averages(Base):
    def _score(self, embeddings: Embeddings) -> np.ndarray:
        scores = super()._score(embeddings)
        return scores - scores.mean()


class Drifts(Base):
    calls = 0

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        self.calls += 1
        return super()._score(embeddings) + self.calls


class Guesses(Base):
    def _fit(self, normal: Embeddings) -> None:
        super()._fit(normal)
        self.bank = self.bank[np.random.default_rng().permutation(len(self.bank))[:20]]


class Sorts(Base):
    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return np.sort(super()._score(embeddings))


class UpsideDown(Base):
    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return -super()._score(embeddings)


class ForgetsItsState(Base):
    scale = 1.0

    def _fit(self, normal: Embeddings) -> None:
        super()._fit(normal)
        self.scale = 2.0

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return self.scale * super()._score(embeddings)

    def state(self) -> dict[str, np.ndarray]:
        return {name: array for name, array in super().state().items() if name != "scale"}


class PicklesItsState(Base):
    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "self": np.array([self], dtype=object)}


class TakesNothing(Base):
    minimum = 0

    def _fit(self, normal: Embeddings) -> None:
        self.bank = np.zeros((1, normal.vectors.shape[1]), np.float32) if not len(normal) else normal.vectors


class TakesNan(Base):
    def _checked(self, embeddings: Any) -> Embeddings:
        embeddings = embeddings if isinstance(embeddings, Embeddings) else Embeddings.of(embeddings)
        return Embeddings.of(np.nan_to_num(embeddings.vectors), losses=embeddings.losses)


class TakesOtherDimensions(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        if not isinstance(embeddings, Embeddings) and embeddings.shape[1] == self.dimensions - 1:
            embeddings = np.pad(embeddings, ((0, 0), (0, 1)))
        return super().score(embeddings)


class SpoilsEmpty(Base):
    def score(self, embeddings: Any) -> np.ndarray:
        return super().score(embeddings) if len(embeddings) else np.zeros((0, 1))


BROKEN_SCORERS: dict[Callable[[], Any], str] = {
    ScoresUnfitted: "before fit .* nothing was raised",
    CrashesUnfitted: "before fit .* not KeyError",
    FitReturnsNothing: "return the scorer itself",
    FitChangesItsInput: "fit must not change",
    ScoreChangesItsInput: "score must not change",
    WrongShape: "one score a picture",
    NotFinite: "must be finite",
    Averages: "must not depend on the others",
    Drifts: "same scores when asked again",
    Guesses: "learn the same",
    Sorts: "depend on the others|whatever order",
    UpsideDown: "higher for what does not belong",
    ForgetsItsState: "must score as the scorer it came from",
    PicklesItsState: "arrays of numbers",
    TakesNothing: "fit on no pictures",
    TakesNan: "not a number",
    TakesOtherDimensions: "fewer dimensions",
    SpoilsEmpty: "no pictures must be an array",
}


@pytest.mark.parametrize("broken", BROKEN_SCORERS, ids=lambda kind: kind.__name__)
def test_a_broken_scorer_is_found(broken: Callable[[], Any]) -> None:
    check_scorer(Base)
    with pytest.raises(ContractError, match=BROKEN_SCORERS[broken]):
        check_scorer(broken)


@pytest.mark.parametrize(
    "options", [{}, {"variational": True}, {"latent": 3, "width": 4}, {"architecture": "selection"}], ids=str
)
@pytest.mark.parametrize(("size", "channels"), [((32, 32), 3), ((40, 28), 1)])
def test_our_autoencoders_keep_the_contract(options: dict[str, Any], size: tuple[int, int], channels: int) -> None:
    model = build(ModelOptions(**options), size, channels)
    model.train()
    check_model(model)
    assert model.training


def test_our_pretrained_model_keeps_the_contract() -> None:
    assert "pretrained" in MODELS
    from winnow.models.pretrained import Pretrained

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Pretrained(size=(64, 64), channels=3, backbone="mobilenet_v2", layer="")
    check_model(model)


class Plain(Model):
    """A model that keeps the contract, to break one sentence at a time."""

    def __init__(self, size: tuple[int, int], channels: int, latent: int = 4) -> None:
        super().__init__()
        self.size, self.channels, self.latent = tuple(size), channels, latent
        self.down = torch.nn.Linear(channels * size[0] * size[1], latent)
        self.up = torch.nn.Linear(latent, channels * size[0] * size[1])
        self.calls = 0

    def config(self) -> dict[str, Any]:
        return {"latent": self.latent}

    def rebuild(self, images: Tensor) -> Tensor:
        return self.up(self.down(images.flatten(1))).sigmoid().view_as(images)

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        self.calls += 1
        vectors = self.down(images.flatten(1))
        return ModelOutput(vectors, (self.rebuild(images) - images).pow(2).mean((1, 2, 3)) if decode else None)


def changed(**changes: Callable[..., Any]) -> type[Plain]:
    """Return `Plain` with methods replaced; `forward` gets the model, the pictures, decode and the right output."""

    class Broken(Plain):
        def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
            losses = super().forward(images, decode)
            return changes["forward"](self, images, decode, losses) if "forward" in changes else losses

    for name, change in changes.items():
        if name != "forward":
            setattr(Broken, name, change)
    return Broken


def spoil(images: Tensor, losses: ModelOutput) -> ModelOutput:
    images.mul_(0.5)
    return losses


def put(field: str, change: Callable[[Tensor, Plain, bool], Tensor]) -> Callable[..., Any]:
    def forward(model: Plain, images: Tensor, decode: bool, losses: ModelOutput) -> ModelOutput:
        value = getattr(losses, field)
        return losses if value is None else losses._replace(**{field: change(value, model, decode)})

    return forward


BROKEN_MODELS: dict[str, tuple[type[Plain], str]] = {
    "changes pictures": (
        changed(forward=lambda model, images, decode, m: spoil(images, m)),
        "must not change the pictures",
    ),
    "one embedding": (changed(forward=put("vectors", lambda v, *_: v.mean(0))), "embeddings of shape"),
    "averaged loss": (changed(forward=put("reconstruction", lambda v, *_: v.mean())), "one per picture"),
    "batch mates": (
        changed(forward=put("reconstruction", lambda v, *_: v + v.mean())),
        "must not depend on the other pictures",
    ),
    "negative": (changed(forward=put("reconstruction", lambda v, *_: -v)), "no negative"),
    "nan": (changed(forward=put("vectors", lambda v, *_: v * torch.nan)), "finite 'vectors'"),
    "random": (changed(forward=put("vectors", lambda v, *_: v + torch.randn_like(v))), "when called again"),
    "drifts": (changed(forward=put("reconstruction", lambda v, m, _: v + m.calls)), "when called again"),
    "by row": (
        changed(forward=put("vectors", lambda v, *_: v + torch.arange(len(v))[:, None])),
        "depend on the other pictures|order",
    ),
    "other embedding without decoder": (
        changed(forward=put("vectors", lambda v, m, decode: v if decode else 2 * v)),
        "decode=False",
    ),
    "small rebuild": (
        changed(rebuild=lambda self, images: images[:, :, :1] * 0 + images.mean((2, 3), keepdim=True)),
        "rebuild must",
    ),
    "lost config": (changed(config=lambda self: {}), "config"),
}


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_a_broken_model_is_found(name: str) -> None:
    kind, words = BROKEN_MODELS[name]
    torch.manual_seed(0)
    check_model(Plain((16, 12), 3, latent=5))
    with pytest.raises(ContractError, match=words):
        check_model(kind((16, 12), 3, latent=5))


def test_the_error_is_an_assertion_and_no_user_error() -> None:
    assert issubclass(ContractError, AssertionError)
    assert not issubclass(ContractError, DataError)


@pytest.mark.parametrize("name", HEADS)
def test_our_heads_keep_the_contract(name: str) -> None:
    check_head(HEADS[name])


class RemembersClasses(NearestMean):
    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Any:
        before = getattr(self, "bias", np.full(classes, -np.inf))
        super().fit(features, target, classes)
        self.bias = np.maximum(self.bias, before)
        return self


class NeverSaysNo(NearestMean):
    def logits(self, features: np.ndarray) -> np.ndarray:
        return np.nan_to_num(super().logits(features))


class LooksAtNeighbours(NearestMean):
    def logits(self, features: np.ndarray) -> np.ndarray:
        return super().logits(features - features.mean(axis=0)) if len(features) > 1 else super().logits(features)


class SavesNothing(NearestMean):
    def state(self) -> dict[str, np.ndarray]:
        return {"means": self.means * 0, "bias": self.bias}


BROKEN_HEADS: dict[type[Head], str] = {
    RemembersClasses: "must forget what was learnt before",
    NeverSaysNo: "class without a picture must be -inf",
    LooksAtNeighbours: "must not depend on the others",
    SavesNothing: "restored from its state",
}


@pytest.mark.parametrize("broken", BROKEN_HEADS, ids=lambda kind: kind.__name__)
def test_a_broken_head_is_found(broken: type[Head]) -> None:
    check_head(NearestMean)
    with pytest.raises(ContractError, match=BROKEN_HEADS[broken]):
        check_head(broken)


def test_our_runner_keeps_the_contract() -> None:
    check_runner(run_local)


def as_they_end(function: Callable[[Any], Any], items: Any, workers: int) -> list[Any]:
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in as_completed([pool.submit(function, item) for item in items])]


def without_errors(function: Callable[[Any], Any], items: Any, workers: int) -> list[Any]:
    found = []
    for item in items:
        try:
            found.append(function(item))
        except ValueError:
            continue
    return found


def one_too_few(function: Callable[[Any], Any], items: Any, workers: int) -> list[Any]:
    return [function(item) for item in list(items)[: 12 if workers == 1 else 11]]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (as_they_end, "in the order of the items"),
        (without_errors, "with 1 worker, but nothing was raised"),
        (one_too_few, "all items .* with 2 workers"),
    ],
)
def test_a_broken_runner_is_found(broken: Callable[..., Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        check_runner(broken)
