"""Cross-fitting: a head is fitted to the same pictures with each fold held out in turn."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from winnow.classify.folds import Folds, deal, follow
from winnow.classify.heads import Head
from winnow.classify.pseudo import pseudo_labels
from winnow.classify.tracks import Tracks
from winnow.metrics.classification import Tally, f1_drawn, standard_error

COLDEST, HOTTEST = -4.0, 6.0  # natural logarithms of the temperatures that are tried


@dataclass(frozen=True)
class HeldOut:
    """Predictions for m labelled pictures by heads that had not seen them.

    `rows` of the embeddings, class numbers `target`, `fold`, `groups` and `units` (groups, or the parts into which they had
    to be split), each (m,), and `probabilities` (m, classes).
    """

    rows: np.ndarray
    target: np.ndarray
    fold: np.ndarray
    groups: np.ndarray
    units: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Return the number of the most probable class (m,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def tally(self) -> Tally:
        """Return the confusion by units, from which all metrics are computed."""
        return Tally.of(self.target, self.predicted, self.units, self.probabilities.shape[1])


@dataclass(frozen=True)
class CrossFit:
    """Targets of the heads and the held-out predictions.

    `target` (n,) is that of the final head; `fold_targets` (folds, n) those with each fold held out, free of anything learnt
    from it. From the latter come `temperature`, which calibrates the logits, and `held_out`.
    """

    target: np.ndarray
    fold_targets: np.ndarray
    temperature: float
    held_out: HeldOut


class CrossFitter:
    """Fits a head to targets of n pictures, given as features (n, d) or as row numbers (n,) of what the head learns from.

    `target` (n,) holds the true class numbers, -1 where a picture has no label. A label counts for the crops of its track that are
    in its fold.
    """

    def __init__(
        self,
        head: Head,
        features: np.ndarray,
        target: np.ndarray,
        groups: np.ndarray,
        folds: Folds,
        seed: int,
        twins: np.ndarray | None = None,
        tracks: Tracks | None = None,
    ) -> None:
        self.head, self.features, self.target, self.groups, self.seed = head, features, target, groups, seed
        self.twins = twins
        self.rows, self.classes = np.flatnonzero(target >= 0), int(target.max()) + 1
        self.folds, self.units = range(folds.count), folds.units
        self.tracks = Tracks.named(None, len(target)) if tracks is None else tracks
        if self.tracks:
            twins = self.tracks.together(np.arange(len(target)) if twins is None else twins)
        self.fold = follow(folds, self.rows, groups, seed, twins)
        self.parts = self.tracks.within(self.fold)

    def fit(self, head: Head, target: np.ndarray, tracks: Tracks) -> Head:
        """Fit a head to a target (n,), whose labels count for the crops of their tracks."""
        if not tracks:
            return head.fit(self.features, target, self.classes)
        taught, weights = tracks.taught(target)
        return head.fit(self.features, taught, self.classes, weights)

    def final(self, target: np.ndarray) -> Head:
        """Return a head of its own, fitted to a target (n,) with no fold held out."""
        return self.fit(copy.copy(self.head), target, self.tracks)

    def dealt(self, count: int) -> CrossFitter:
        """Return another with the head's default setting and so many folds, dealt anew: it depends on the labels alone."""
        rows = self.rows
        twins = None if self.twins is None else self.twins[rows]
        names = tuple(map(str, range(self.classes)))
        folds = deal(self.target[rows], self.groups[rows], names, count, self.seed, twins)
        return CrossFitter(type(self.head)(), self.features, self.target, self.groups, folds, self.seed, self.twins)

    def tuned(self) -> CrossFit:
        """Learn with the head's usual setting, or with another whose macro F1 is higher by more than its standard error.

        With few labels the best setting is a matter of luck: chosen by log loss alone, it did worse than the usual one
        (docs/log.md).
        """
        fold_targets, settings = self.fold_targets(self.target), (self.head.setting, *self.head.settings)
        best = 0
        if len(settings) > 1:
            tallies = []
            for setting in settings:
                self.head.setting = setting
                tallies.append(self.measured(fold_targets).tally)
            drawn = f1_drawn(tallies, self.seed)
            for place in range(1, len(settings)):
                gain = tallies[place].macro_f1 - tallies[best].macro_f1
                if gain > standard_error(drawn[place] - drawn[best]):
                    best = place
        self.head.setting = settings[best]
        return self.learn(self.target, fold_targets)

    def with_pseudo(self, cross_fit: CrossFit, most: int, free: np.ndarray) -> CrossFit:
        """Learn from pseudo-labels of `free` (n,) pictures too, at most `most` a class, predicted by the heads of `cross_fit`."""
        fold_targets = np.stack(
            [self._pseudo(cross_fit.fold_targets[fold], cross_fit.temperature, most, free, fold) for fold in self.folds]
        )
        return self.learn(self._pseudo(cross_fit.target, cross_fit.temperature, most, free, -1), fold_targets)

    def _pseudo(self, target: np.ndarray, temperature: float, most: int, free: np.ndarray, without: int) -> np.ndarray:
        """Return the true target with new pseudo-labels in place of those in `target`.

        Each is predicted by a head that has seen neither the picture nor any of its fold. The fold `without` is left out
        altogether: what its labels teach would otherwise return to measure itself.
        """
        logits, predicted = np.zeros((len(self.features), self.classes)), np.zeros(len(self.features), bool)
        for fold in self.folds:
            mine = self.fold == fold
            rest = np.where(mine, -1, target)
            if fold != without and (rest >= 0).any():  # of two folds, the other one's labels are all that there are
                self.fit(self.head, rest, self.parts)
                logits[mine], predicted[mine] = self.head.logits(self.features[mine]), True
        rows, kinds = pseudo_labels(probabilities(logits, temperature), most, free & predicted)
        result = np.where(self.fold == without, -1, self.target)
        result[rows] = kinds
        return result

    def fold_targets(self, target: np.ndarray) -> np.ndarray:
        """Return the target (folds, n) with each fold held out."""
        return np.stack([np.where(self.fold == fold, -1, target) for fold in self.folds])

    def learn(self, target: np.ndarray, fold_targets: np.ndarray) -> CrossFit:
        """Learn from targets with the current setting, and calibrate."""
        logits = self._logits(fold_targets)
        temperature = calibrated(logits, self.target[self.rows])
        return CrossFit(target, fold_targets, temperature, self._held_out(logits, temperature))

    def measured(self, fold_targets: np.ndarray) -> HeldOut:
        """Return what `learn` would hold out, not calibrated: for comparisons."""
        return self._held_out(self._logits(fold_targets), 1.0)

    def by_track(self, cross_fit: CrossFit) -> HeldOut:
        """Return the held-out predictions with the probabilities of each labelled crop averaged over its track."""
        found = cross_fit.held_out.probabilities.copy()
        for fold in self.folds:
            mine = self.fold[self.rows] == fold
            rows = self.parts.looked_at(self.rows[mine])
            if mine.any() and (cross_fit.fold_targets[fold] >= 0).any():
                self.fit(self.head, cross_fit.fold_targets[fold], self.parts)
                chances = probabilities(self.head.logits(self.features[rows]), cross_fit.temperature)
                averaged = Tracks(self.parts.of[rows]).averaged(chances)
                found[mine] = averaged[np.searchsorted(rows, self.rows[mine])]
        return replace(cross_fit.held_out, probabilities=found)

    def _held_out(self, logits: np.ndarray, temperature: float) -> HeldOut:
        rows = self.rows
        return HeldOut(
            rows, self.target[rows], self.fold[rows], self.groups[rows], self.units, probabilities(logits, temperature)
        )

    def _logits(self, fold_targets: np.ndarray) -> np.ndarray:
        """Return logits (m, classes) of the labelled pictures, each by the head that holds its fold out."""
        logits = np.zeros((len(self.rows), self.classes))
        for fold in self.folds:
            mine = self.fold[self.rows] == fold
            if mine.any() and (fold_targets[fold] >= 0).any():  # of the first few labels, all may be of one fold
                self.fit(self.head, fold_targets[fold], self.parts)
                logits[mine] = self.head.logits(self.features[self.rows[mine]])
        return logits


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax (n, classes) of logits at a temperature."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def calibrated(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature at which logits (n, classes) have the least log loss: Guo et al. 2017, On Calibration, section 4.2.

    A share 1 / (n + 2) of each true label counts as another class (Platt 1999, section 2.2): a few labels that are all
    predicted correctly do not make a classifier certain.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))
    shifted = logits - logits.max(axis=1, keepdims=True)
    other = np.isfinite(shifted)
    other[rows, truth] = False
    wrong = np.where(other, shifted, 0).sum(axis=1) / np.maximum(other.sum(axis=1), 1)
    share = 1 / (len(truth) + 2)
    smoothed = (1 - share) * shifted[rows, truth] + share * wrong

    def loss(logarithm: float) -> float:
        cold = np.exp(-logarithm)
        return float(np.log(np.exp(shifted * cold).sum(axis=1)).mean() - (smoothed * cold).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded").x))
