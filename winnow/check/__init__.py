"""Public checks of the contracts: run them over Winnow's own parts and over yours.

    check_scorer(MyScorer)          # a class or a function that makes an unfitted scorer; fit and score are enough
    check_model(my_model)           # a winnow.models.contract.Model
    check_selector(my_selector)     # a function (embeddings, n, rng, *, start, weights) -> rows
    check_classifier(MyClassifier)  # a class or a function that makes an unfitted classifier
    check_head(MyHead)              # a winnow.classify.heads.Head, or a function that makes one
    check_runner(my_runner)         # a function (function, items, workers) -> results in the order of the items

Each returns None or raises `ContractError` with the sentence of the contract that is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.check.head import check_head
from winnow.check.rules import ContractError, refuses, require
from winnow.check.runner import check_runner
from winnow.embeddings import Embeddings

if TYPE_CHECKING:
    from winnow.detect.scorer import Scorer
    from winnow.models.contract import Model
    from winnow.select.selectors import Selector

__all__ = [
    "ContractError",
    "check_classifier",
    "check_head",
    "check_model",
    "check_runner",
    "check_scorer",
    "check_selector",
]

TOLERANCE = 1e-3
"""Relative difference between a batch and a single picture that the order of float32 sums may cause."""


def check_scorer(make: Callable[[], Any]) -> None:
    """Check the contract of a scorer made by `make()`: fit, score, what is saved, and errors, on made-up embeddings.

    The embeddings have 8 dimensions and every loss Winnow knows; in the anomalous ones each is unusual.
    """
    normal, new, anomalous = obvious(200, 0, False), obvious(60, 1, False), obvious(60, 2, True)
    from winnow.detect.scorer import Own, as_scorer

    scorer = as_scorer(make())
    name = type(scorer.part if isinstance(scorer, Own) else scorer).__name__
    refuses(lambda: scorer.score(new), f"{name}.score before fit must raise a WinnowError that says so")
    before = _copy(normal)
    require(scorer.fit(normal) is scorer, f"{name}.fit must return the scorer itself.")
    require(_same(before, normal), f"{name}.fit must not change the embeddings it is given.")
    before = _copy(new)
    scores = scorer.score(new)
    require(_same(before, new), f"{name}.score must not change the embeddings it is given.")
    shape = getattr(scores, "shape", type(scores).__name__)
    require(shape == (len(new),), f"{name}.score must return one score a picture, shape ({len(new)},), not {shape}.")
    require(bool(np.isfinite(scores).all()), f"{name}.score must be finite for finite embeddings.")
    require(scorer.score(new[:0]).shape == (0,), f"{name}.score of no pictures must be an array of shape (0,).")
    _check_per_picture(scorer, name, new, scores)
    require(
        np.array_equal(as_scorer(make()).fit(normal).score(new), scores),
        f"{name} must learn the same from the same normals.",
    )
    chance = (np.searchsorted(np.sort(scores), scorer.score(anomalous)) / len(scores)).mean()
    require(chance > 0.9, f"{name}.score must be higher for what does not belong; here only {chance:.0%} were higher.")
    _check_state(scorer, name, new, scores)
    refuses(lambda: as_scorer(make()).fit(normal[:0]), f"{name}.fit on no pictures must raise a WinnowError")
    if scorer.reads_vectors:
        spoilt = new.vectors.copy()
        spoilt[3, 2] = np.nan
        refuses(
            lambda: scorer.score(spoilt), f"{name}.score of embeddings that are not a number must raise a WinnowError"
        )
        refuses(lambda: scorer.score(new.vectors[:, :-1]), f"{name}.score of fewer dimensions must raise a WinnowError")


def _check_per_picture(scorer: Scorer, name: str, new: Embeddings, scores: np.ndarray) -> None:
    near = TOLERANCE * float(np.abs(scores).max())
    require(np.array_equal(scorer.score(new), scores), f"{name}.score must give the same scores when asked again.")
    alone = np.concatenate([scorer.score(new[row : row + 1]) for row in range(len(new))])
    require(
        np.allclose(alone, scores, rtol=TOLERANCE, atol=near),
        f"{name}.score of a picture must not depend on the others beside it.",
    )
    order = np.random.default_rng(3).permutation(len(new))
    require(
        np.allclose(scorer.score(new[order]), scores[order], rtol=TOLERANCE, atol=near),
        f"{name}.score must give each picture its own score in whatever order they come.",
    )


def _check_state(scorer: Scorer, name: str, new: Embeddings, scores: np.ndarray) -> None:
    from winnow.detect.registry import remake_scorer

    state, spec = scorer.state(), scorer.spec()
    plain = all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in state.values())
    require(plain, f"What {name} learns must be arrays of numbers, numbers or strings, so that it can be saved.")
    restored = remake_scorer(spec, own=_classes(scorer))
    assert not isinstance(restored, str)
    restored.restore({key: array.copy() for key, array in state.items()})
    require(
        np.array_equal(restored.score(new), scores),
        f"{name} made again from its options and from what it learnt must score as the scorer it came from.",
    )


def _classes(scorer: Scorer) -> list[type]:
    """Return the classes that a scorer and its components are made of."""
    from winnow.detect.combine import Combination
    from winnow.detect.scorer import Own

    parts = scorer.fitted if isinstance(scorer, Combination) else ()
    own = type(scorer.part) if isinstance(scorer, Own) else type(scorer)
    return [own, *(kind for part in parts for kind in _classes(part))]


def obvious(n: int, seed: int, anomalous: bool) -> Embeddings:
    """Return embeddings of n made-up pictures with every loss; anomalous ones differ in their vectors and in each loss."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 8)) * np.linspace(2.0, 0.2, 8) + (
        rng.choice([-6.0, 6.0], (n, 8)) if anomalous else 0.0
    )
    variance = 0.05 * np.exp(0.3 * rng.normal(size=n))
    background = variance * 0.1 * np.exp(0.2 * rng.normal(size=n))
    error = background * np.exp(0.2 * rng.normal(size=n)) * (8.0 if anomalous else 1.0)
    losses = {
        "reconstruction": error,
        "top_error": 6 * error,
        "top_local_error": 4 * error,
        "texture": 0.5 * error,
        "latent": 10 * np.exp(0.2 * rng.normal(size=n) + 2 * anomalous),
        "variance": variance,
        "background": background,
        "gradient": 0.01 * np.exp(0.2 * rng.normal(size=n) + 3 * anomalous),
    }
    cells = rng.normal(size=(n, 2, 3, 4)) + (rng.choice([-6.0, 6.0], (n, 2, 3, 4)) if anomalous else 0.0)
    return Embeddings.of(vectors, losses=losses, cells=cells)


def _copy(embeddings: Embeddings) -> Embeddings:
    return Embeddings.of(
        embeddings.vectors.copy(),
        losses={name: values.copy() for name, values in embeddings.losses.items()},
        ids=embeddings.ids.copy(),
        groups=embeddings.groups.copy(),
        seen=embeddings.seen.copy(),
        cells=None if embeddings.cells is None else embeddings.cells.copy(),
    )


def _same(one: Embeddings, other: Embeddings) -> bool:
    columns = ("vectors", "ids", "groups", "seen", "cells")
    return one.losses.keys() == other.losses.keys() and all(
        np.array_equal(a, b)
        for a, b in [
            *((getattr(one, name), getattr(other, name)) for name in columns),
            *((one.losses[name], other.losses[name]) for name in one.losses),
        ]
    )


def check_selector(select: Selector) -> None:
    """Check the contract of a selector: number and type of its rows, `start`, repeats, on ordinary and on awkward embeddings."""
    name = getattr(select, "__name__", type(select).__name__)
    usual = obvious(60, 0, False)
    copies = Embeddings.of(np.repeat(usual.vectors[:5], 12, axis=0))
    constant = Embeddings.of(np.ones((30, 8)))
    for what, embeddings in {
        "ordinary embeddings": usual,
        "embeddings that repeat": copies,
        "embeddings that are all equal": constant,
    }.items():
        size = len(embeddings)
        for n, start in (
            (0, []),
            (1, []),
            (7, []),
            (size, []),
            (0, [3]),
            (7, [3, 20]),
            (size - 2, [3, 20]),
            (1, list(range(1, size))),
        ):
            _check_rows(select, name, embeddings, n, start, what)
    for size in (1, 2, 3):
        _check_rows(select, name, usual[:size], size, [], "a tiny pool")
    _check_rows(select, name, usual[:2], 1, [0], "a tiny pool")
    _check_side_effects(select, name, usual)


def _check_rows(select: Selector, name: str, embeddings: Embeddings, n: int, start: list[int], what: str) -> None:
    where = f"of {len(embeddings)} pictures with {len(start)} labelled ({what})"
    try:
        rows = select(embeddings, n, np.random.default_rng(0), start=start)
    except Exception as error:
        raise ContractError(f"{name} must return {n} rows {where}, not {type(error).__name__} ({error}).") from error
    require(
        isinstance(rows, np.ndarray) and (rows.dtype.kind in "iu" or not rows.size),
        f"{name} must return an array of whole numbers {where}.",
    )
    require(rows.shape == (n,), f"{name} must return exactly {n} rows {where}, not an array of shape {rows.shape}.")
    require(bool(((rows >= 0) & (rows < len(embeddings))).all()), f"{name} must return existing rows {where}.")
    require(len(np.unique(rows)) == n, f"{name} must return no row twice {where}.")
    require(not np.isin(rows, start).any(), f"{name} must return no row of start {where}.")


def _check_side_effects(select: Selector, name: str, embeddings: Embeddings) -> None:
    """Check that it repeats, and changes neither its input nor numpy's global random state."""
    before, start = _copy(embeddings), np.array([3, 20])
    weights = np.linspace(0.5, 2, len(embeddings)).astype(np.float32)
    given, state = weights.copy(), np.random.get_state()  # noqa: NPY002
    rows = select(embeddings, 9, np.random.default_rng(5), start=start, weights=weights)
    untouched = _same_state(state, np.random.get_state())  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    require(untouched, f"{name} must draw from the rng that it is given, not from numpy's global state.")
    unchanged = _same(before, embeddings) and np.array_equal(given, weights) and np.array_equal(start, [3, 20])
    require(unchanged, f"{name} must not change the embeddings, start or weights that it is given.")
    again = select(embeddings, 9, np.random.default_rng(5), start=start, weights=weights)
    require(np.array_equal(rows, again), f"{name} must return the same rows for the same rng.")


def _same_state(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def check_classifier(make: Callable[[], Any]) -> None:
    """Check the contract of a classifier made by `make()`: fit, predict_proba, predict and errors.

    It learns from embeddings of three classes, a fifth of them labelled.
    """
    vectors, truth = _of_classes(300, 0)
    new, expected = _of_classes(90, 1)
    labels = np.where(np.arange(300) % 5 == 0, np.array(["one", "two", "three"], object)[truth], "")
    groups = np.arange(300) // 10
    classifier = make()
    name = type(classifier).__name__
    refuses(
        lambda: classifier.predict_proba(new), f"{name}.predict_proba before fit must raise a WinnowError that says so"
    )
    given = vectors.copy(), labels.copy(), groups.copy()
    require(classifier.fit(vectors, labels, groups) is classifier, f"{name}.fit must return the classifier itself.")
    untouched = all(np.array_equal(one, other) for one, other in zip(given, (vectors, labels, groups), strict=True))
    require(untouched, f"{name}.fit must not change what it is given.")
    require(sorted(classifier.classes) == ["one", "three", "two"], f"{name}.classes must be the classes of the labels.")
    chance = classifier.predict_proba(new)
    require(chance.shape == (90, 3), f"{name}.predict_proba must be of shape (90, 3), not {chance.shape}.")
    sound = bool(np.isfinite(chance).all() and (chance >= 0).all()) and np.allclose(chance.sum(axis=1), 1)
    require(sound, f"{name}.predict_proba must return probabilities that add up to 1.")
    said = classifier.predict(new)
    best = np.asarray(classifier.classes)[chance.argmax(axis=1)]
    require(np.array_equal(said, best), f"{name}.predict must return the most probable class.")
    right = float((said == np.array(["one", "two", "three"], object)[expected]).mean())
    require(right > 0.9, f"{name} must learn three classes that lie far apart; here {right:.0%} were right.")
    alone = np.concatenate([classifier.predict_proba(new[row : row + 1]) for row in range(len(new))])
    require(np.allclose(alone, chance, atol=TOLERANCE), f"{name}.predict_proba must not depend on the other pictures.")
    require(
        classifier.predict_proba(new[:0]).shape == (0, 3),
        f"{name}.predict_proba of no pictures must be of shape (0, 3).",
    )
    again = make().fit(vectors, labels, groups).predict_proba(new)
    require(np.array_equal(again, chance), f"{name} must learn the same from the same labels.")
    refuses(
        lambda: make().fit(vectors, np.full(300, "", object), groups),
        f"{name}.fit without a label must raise a WinnowError",
    )
    refuses(
        lambda: make().fit(vectors, np.full(300, "one", object), groups),
        f"{name}.fit on one class must raise a WinnowError",
    )
    refuses(
        lambda: classifier.predict_proba(new[:, :-1]),
        f"{name}.predict_proba of fewer dimensions must raise a WinnowError",
    )
    refuses(
        lambda: classifier.predict_proba(new * np.nan),
        f"{name}.predict_proba of embeddings that are not finite must raise a WinnowError",
    )


def _of_classes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings (n, 8) of three classes that lie far apart, and the class number of each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    return (rng.normal(size=(n, 8)) + 6 * np.eye(3, 8)[truth]).astype(np.float32), truth


def check_model(model: Model) -> None:
    """Check the contract of a model on six made-up pictures of its size: losses per picture, repeatable, finite.

    Runs in evaluation mode without gradients, where the model's parameters are; its mode is restored afterwards.
    """
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _check_model(model)
    finally:
        model.train(training)


def _check_model(model: Model) -> None:
    import torch

    name = type(model).__name__
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((6, model.channels, *model.size), generator=generator)
    images[1:3] *= torch.linspace(0, 1, model.size[1])
    images[5] = 0.5
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = images.to(device)
    before = images.clone()
    full = model(images)
    require(torch.equal(images, before), f"{name}.forward must not change the pictures it is given.")
    losses = {field: value for field, value in full._asdict().items() if value is not None}
    require(
        full.vectors.ndim == 2 and len(full.vectors) == 6,
        f"{name}.forward must return embeddings of shape (6, d), not {tuple(full.vectors.shape)}.",
    )
    for field, value in losses.items():
        if field == "cells":
            require(
                value.ndim == 4 and value.shape[0] == 6,
                f"{name}.forward must return 'cells' of shape (6, rows, columns, d), not {tuple(value.shape)}.",
            )
        elif field != "vectors":
            require(
                tuple(value.shape) == (6,),
                f"{name}.forward must return '{field}' of shape (6,), one per picture, not {tuple(value.shape)}.",
            )
            require(bool((value >= 0).all()), f"{name}.forward must return no negative '{field}'.")
        require(bool(torch.isfinite(value).all()), f"{name}.forward must return finite '{field}'.")
    _check_repeats(model, name, images, losses)
    fast = model(images, decode=False)
    require(
        _close(fast.vectors, full.vectors),
        f"{name}.forward(decode=False) must return the same embeddings as with the decoder.",
    )
    if full.reconstruction is not None:
        rebuilt = model.rebuild(images)
        require(
            rebuilt.shape == images.shape,
            f"{name}.rebuild must return pictures of the shape it was given, not {tuple(rebuilt.shape)}.",
        )
    twin = type(model)(size=model.size, channels=model.channels, **model.config())
    shapes = [{key: tuple(value.shape) for key, value in part.state_dict().items()} for part in (model, twin)]
    require(
        shapes[0] == shapes[1],
        f"{name}(size, channels, **config()) must build a network with the same weights' shapes.",
    )


def _check_repeats(model: Model, name: str, images: Any, losses: dict[str, Any]) -> None:
    import torch

    again = model(images)._asdict()
    alone = [model(images[row : row + 1])._asdict() for row in range(len(images))]
    order = torch.tensor([4, 2, 0, 5, 1, 3], device=images.device)
    shuffled = model(images[order])._asdict()
    for field, value in losses.items():
        require(
            _close(again[field], value),
            f"{name}.forward must return the same '{field}' when called again without noise.",
        )
        single = torch.cat([one[field] for one in alone])
        require(
            _close(single, value), f"'{field}' of a picture by {name}.forward must not depend on the other pictures."
        )
        require(
            _close(shuffled[field], value[order]),
            f"{name}.forward must return each picture's own '{field}' in whatever order they come.",
        )


def _close(one: Any, other: Any) -> bool:
    import torch

    return one.shape == other.shape and torch.allclose(
        one, other, rtol=TOLERANCE, atol=TOLERANCE * float(other.abs().max())
    )
