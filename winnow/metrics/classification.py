"""Metrics of a classifier, with intervals that respect groups: F1, confusion, reliability, Wilson intervals. Numpy and scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.metrics.bootstrap import HELD, REPEATS, corrected_interval, group_draws

LEAST = 5e-4  # the least rise of F1 that counts: three decimals are shown
BINS = 10  # of the reliability curve
NORMAL = 1.959964  # standard deviations within which 95 % of a normal distribution lie


@dataclass(frozen=True)
class Tally:
    """The confusion matrix of n pictures, and what F1 needs of it by group, so that the bootstrap over groups only adds counts.

    `confusion` (classes, classes) int: a row per true class, a column per predicted one. `counts` (2 classes, groups), sparse:
    how often a group's pictures were rightly predicted as each class, then how often each class was true or predicted.
    """

    confusion: np.ndarray
    counts: Any

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, classes: int) -> Tally:
        """Count class numbers `truth` (n,) and `predicted` (n,) of each of `groups` (n,)."""
        from scipy.sparse import csr_matrix

        names, group = np.unique(groups.astype(str), return_inverse=True)
        confusion = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
        right = truth == predicted
        rows = np.concatenate([truth[right], classes + truth, classes + predicted])
        columns = np.concatenate([group[right], group, group])
        counts = csr_matrix((np.ones(len(rows), np.int64), (rows, columns)), (2 * classes, len(names)))
        return cls(confusion, counts)  # equal places have been added up

    @property
    def groups(self) -> int:
        """Return the number of groups."""
        return int(self.counts.shape[1])

    @property
    def f1(self) -> np.ndarray:
        """Return F1 of each class (classes,)."""
        return f1_of(self.confusion)

    @property
    def macro_f1(self) -> float:
        """Return the mean F1 of the classes."""
        return float(self.f1.mean())

    @property
    def macro_f1_of_present(self) -> float:
        """Return the mean F1 of the classes that some picture has or is taken for: of another nothing is known, and its F1 counts as 0."""
        present = (self.confusion.sum(axis=0) + self.confusion.sum(axis=1)) > 0
        return float(self.f1[present].mean())

    def intervals(self, seed: int = 0) -> tuple[np.ndarray, tuple[float, float]] | None:
        """Return 95 % intervals of F1, (classes, 2) and of the macro mean; None with fewer than two groups.

        As many groups count as evidence as hold or were said to hold the class; of the macro mean, as the class with fewest has.
        """
        if self.groups < 2:
            return None
        (drawn,) = f1_drawn([self], seed)
        told = np.diff(self.counts[len(self.confusion) :].tocsr().indptr)  # groups that tell something of each class
        found, drawn, without = (
            np.column_stack([of, of.mean(axis=1)]) for of in (self.f1[None], drawn, self._f1_without_each())
        )
        intervals = corrected_interval(
            found[0], drawn, without, np.append(told, told[told > 0].min(initial=self.groups))
        )
        return intervals[:-1], (float(intervals[-1, 0]), float(intervals[-1, 1]))

    def _f1_without_each(self) -> np.ndarray:
        """Return F1 (groups, classes) with each group left out in turn."""
        classes, counts = len(self.confusion), self.counts.tocsc()
        total, step = np.asarray(counts.sum(axis=1)), max(1, HELD // (2 * classes))
        rest = (total - counts[:, at : at + step].toarray() for at in range(0, self.groups, step))
        return np.concatenate([_f1(left[:classes], left[classes:]).T for left in rest])


def f1_of(matrices: np.ndarray) -> np.ndarray:
    """Return F1 (..., classes) of confusion matrices (..., classes, classes); 0 for a class neither present nor predicted."""
    return _f1(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1) + matrices.sum(axis=-2))


def _f1(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)


def f1_drawn(tallies: Sequence[Tally], seed: int = 0, repeats: int = REPEATS) -> np.ndarray:
    """Return F1 (tallies, repeats, classes) of groups drawn with replacement: one draw for all tallies, which have the same groups.

    The draws depend on the seed and the number of groups alone.
    """
    from scipy.sparse import vstack

    counts = vstack([tally.counts for tally in tallies], format="csr")
    shape = (len(tallies), 2, len(tallies[0].confusion), -1)
    parts = []
    for weights in group_draws(tallies[0].groups, repeats, np.random.default_rng(seed)):
        sums = (counts @ weights.T).reshape(shape)
        parts.append(_f1(sums[:, 0], sums[:, 1]))
    return np.ascontiguousarray(np.concatenate(parts, axis=2).swapaxes(1, 2))


def verdict(what: str, gain: float, error: float) -> str:
    """Return a phrase with a rise of macro F1, its standard error, and whether `what` helps or harms by more than two of them."""
    effect = f"{what} pays" if gain > 0 else f"{what} costs"
    word = effect if abs(gain) > max(2 * error, LEAST) else "no difference can be told"
    return f"{gain:+.3f} (standard error {error:.3f}), {word}"


def rise(before: Tally, after: Tally, seed: int = 0) -> tuple[float, float]:
    """Return the rise of macro F1 on the same pictures and its standard error, by a paired bootstrap over groups."""
    drawn = f1_drawn([before, after], seed)
    return after.macro_f1 - before.macro_f1, standard_error(drawn[1] - drawn[0])


def standard_error(differences: np.ndarray) -> float:
    """Return the standard error of a difference of macro F1 from those of F1 in the bootstrap (repeats, classes)."""
    return float(differences.mean(axis=1).std())


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
