"""Metrics of a classifier, with intervals that respect groups: F1, confusion, reliability, Wilson intervals. Numpy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from winnow.metrics.bootstrap import REPEATS, group_draws, interval

LEAST = 5e-4  # the least rise of F1 that counts: three decimals are shown
BINS = 10  # of the reliability curve
NORMAL = 1.959964  # standard deviations within which 95 % of a normal distribution lie


@dataclass(frozen=True)
class Tally:
    """Confusion matrices (groups, classes, classes), true class by predicted class, of n pictures by group.

    All metrics are computed from it, so that the bootstrap over groups (the cluster bootstrap, Efron 1979) only adds matrices.
    """

    matrices: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, classes: int) -> Tally:
        """Count class numbers `truth` (n,) and `predicted` (n,) of each of `groups` (n,)."""
        names, group = np.unique(groups.astype(str), return_inverse=True)
        matrices = np.zeros((len(names), classes, classes))
        np.add.at(matrices, (group, truth, predicted), 1)
        return cls(matrices)

    @property
    def confusion(self) -> np.ndarray:
        """Return counts (classes, classes) int: a row per true class, a column per predicted one."""
        return self.matrices.sum(axis=0).astype(int)

    @property
    def f1(self) -> np.ndarray:
        """Return F1 of each class (classes,)."""
        return f1_of(self.matrices.sum(axis=0))

    @property
    def macro_f1(self) -> float:
        """Return the mean F1 of the classes."""
        return float(self.f1.mean())

    def drawn(self, seed: int = 0, repeats: int = REPEATS) -> np.ndarray:
        """Return F1 (repeats, classes) of groups drawn with replacement; the same draws for tallies of the same groups."""
        weights = group_draws(len(self.matrices), repeats, np.random.default_rng(seed))
        return f1_of(np.tensordot(weights, self.matrices, axes=1))

    def intervals(self, seed: int = 0) -> tuple[np.ndarray, tuple[float, float]] | None:
        """Return 95 % intervals of F1, (classes, 2) and of the macro mean; None with fewer than two groups."""
        if len(self.matrices) < 2:
            return None
        drawn = self.drawn(seed)
        low, high = interval(drawn.mean(axis=1))
        return interval(drawn).T, (float(low), float(high))


def f1_of(matrices: np.ndarray) -> np.ndarray:
    """Return F1 (..., classes) of confusion matrices (..., classes, classes); 0 for a class neither present nor predicted."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    total = matrices.sum(axis=-1) + matrices.sum(axis=-2)
    return np.divide(2 * hits, total, out=np.zeros_like(hits, dtype=float), where=total > 0)


def verdict(what: str, gain: float, error: float) -> str:
    """Return a phrase with a rise of macro F1, its standard error, and whether `what` helps, harms or makes no clear difference."""
    effect = f"{what} pays" if gain > 0 else f"{what} costs"
    word = effect if abs(gain) > max(error, LEAST) else "no difference can be told"
    return f"{gain:+.3f} (standard error {error:.3f}), {word}"


def rise(before: Tally, after: Tally, seed: int = 0) -> tuple[float, float]:
    """Return the rise of macro F1 on the same pictures and its standard error, by a paired bootstrap over groups."""
    difference = after.macro_f1 - before.macro_f1
    return difference, float((after.drawn(seed) - before.drawn(seed)).mean(axis=1).std())


def reliability(probability: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Return mean probability, share that is right and number of the pictures in each of at most ten bins.

    `probability` (n,) of the class that was predicted; `right` (n,) bool. The bins hold equally many pictures.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // BINS)))
    return [(float(probability[part].mean()), float(right[part].mean()), len(part)) for part in parts if len(part)]


def calibration_error(probability: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: the mean distance of probabilities from the shares that are right."""
    bins = reliability(probability, right)
    return sum(abs(mean - share) * count for mean, share, count in bins) / max(1, len(probability))


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which `right` of n were seen (Wilson 1927); 0 to 1 for n = 0."""
    if not n:
        return 0.0, 1.0
    share, square = right / n, NORMAL**2 / n
    centre = (share + square / 2) / (1 + square)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)
