"""The check of a head: what learns classes from features inside a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from winnow.check.rules import require

CLASSES = 4
TOLERANCE = 1e-6
"""Difference between a batch and a single picture that the order of sums may cause."""


def check_head(make: Callable[[], Any]) -> None:
    """Check the contract of a head made by `make()`: fit, logits and what is saved, on made-up features.

    Of four classes three have pictures, a third of them without a class; the features have 8 dimensions and length 1.
    """
    features, truth = _features(240, 0)
    new, expected = _features(90, 1)
    target = np.where(np.arange(240) % 3 == 0, -1, truth)
    head = make()
    name = type(head).__name__
    given = features.copy(), target.copy()
    require(head.fit(features, target, CLASSES) is head, f"{name}.fit must return the head itself.")
    untouched = np.array_equal(given[0], features) and np.array_equal(given[1], target)
    require(untouched, f"{name}.fit must not change the features and classes that it is given.")
    logits = np.asarray(head.logits(new))
    shape = (90, CLASSES)
    require(logits.shape == shape, f"{name}.logits must be of shape {shape}, not {logits.shape}.")
    seen = np.array([True, True, True, False])
    require(bool(np.isneginf(logits[:, ~seen]).all()), f"{name}.logits of a class without a picture must be -inf.")
    require(bool(np.isfinite(logits[:, seen]).all()), f"{name}.logits of classes with pictures must be finite.")
    right = float((logits.argmax(axis=1) == expected).mean())
    require(right > 0.9, f"{name} must learn three classes that lie far apart; here {right:.0%} were right.")
    _check_per_picture(head, name, new, logits)
    require(
        np.array_equal(make().fit(features, target, CLASSES).logits(new), logits),
        f"{name} must learn the same from the same pictures.",
    )
    state = head.state()
    plain = all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in state.values())
    require(plain, f"{name}.state must return arrays of numbers, so that it can be saved.")
    restored = make().restore({key: array.copy() for key, array in state.items()})
    require(
        np.array_equal(restored.logits(new), logits), f"{name} restored from its state must return the same logits."
    )
    other = np.where(target == 0, -1, target)
    head.fit(features, other, CLASSES)
    require(
        np.array_equal(head.logits(new), make().fit(features, other, CLASSES).logits(new)),
        f"{name}.fit must forget what was learnt before.",
    )


def _check_per_picture(head: Any, name: str, new: np.ndarray, logits: np.ndarray) -> None:
    alone = np.concatenate([head.logits(new[row : row + 1]) for row in range(len(new))])
    require(
        np.allclose(alone, logits, rtol=TOLERANCE, atol=TOLERANCE),
        f"{name}.logits of a picture must not depend on the others beside it.",
    )
    empty = np.asarray(head.logits(new[:0])).shape
    require(empty == (0, CLASSES), f"{name}.logits of no pictures must be of shape (0, {CLASSES}), not {empty}.")


def _features(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, 8) of length 1 of three classes that lie far apart, and the class number of each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 8)) + 6 * np.eye(3, 8)[truth]
    return features / np.linalg.norm(features, axis=1, keepdims=True), truth
