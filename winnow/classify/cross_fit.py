"""Cross-fitting: a head is fitted to the same pictures with each fold held out in turn."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from winnow.classify.folds import Folds, deal, follow
from winnow.classify.heads import Head
from winnow.classify.pseudo import at_their_shares, pseudo_labels
from winnow.classify.tracks import Tracks
from winnow.metrics.classification import Tally, f1_drawn, standard_error

COLDEST, HOTTEST = -4.0, 6.0  # natural logarithms of the temperatures that are tried
PENALTY = 0.5  # of a unit of the logarithm of a scale, and of a shift, squared
UNSEEN = -1e3  # logit of a class that was not seen, below the highest


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

    @cached_property
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
    from it. From the latter come `temperature`, which calibrates the logits, and `held_out`. `sure` (n,) and `fold_sure` (folds, n)
    are how much each picture counts: a pseudo-label by its probability, a label as one; None where there are labels alone.
    """

    target: np.ndarray
    fold_targets: np.ndarray
    temperature: float
    held_out: HeldOut
    sure: np.ndarray | None = None
    fold_sure: np.ndarray | None = None


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

    def fit(self, head: Head, target: np.ndarray, tracks: Tracks, sure: np.ndarray | None = None) -> Head:
        """Fit a head to a target (n,), whose labels count for the crops of their tracks, each picture as much as `sure` (n,)."""
        if not tracks:
            return head.fit(self.features, target, self.classes, sure)
        taught, weights = tracks.taught(target)
        return head.fit(self.features, taught, self.classes, weights if sure is None else weights * sure)

    def final(self, cross_fit: CrossFit) -> Head:
        """Return a head of its own, fitted to all that `cross_fit` has found, with no fold held out."""
        return self.fit(copy.copy(self.head), cross_fit.target, self.tracks, cross_fit.sure)

    def dealt(self, count: int) -> CrossFitter:
        """Return another with the head's default setting and so many folds, dealt anew: it depends on the labels, and their tracks, alone.

        A label counts for its own picture there, but no fold divides a track.
        """
        rows = self.rows
        twins = None if self.twins is None else self.twins[rows]
        tracks = self.tracks.of[rows] if self.tracks else None
        names = tuple(map(str, range(self.classes)))
        folds = deal(self.target[rows], self.groups[rows], names, count, self.seed, twins, tracks)
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
        """Learn from pseudo-labels of `free` (n,) pictures too, at most `most` in all, predicted by the heads of `cross_fit`."""
        own = [
            self._pseudo(cross_fit.fold_targets[fold], _of(cross_fit.fold_sure, fold), most, free, fold)
            for fold in self.folds
        ]
        target, sure = self._pseudo(cross_fit.target, cross_fit.sure, most, free, -1)
        return self.learn(target, np.stack([one for one, _ in own]), sure, np.stack([one for _, one in own]))

    def _pseudo(
        self, target: np.ndarray, sure: np.ndarray | None, most: int, free: np.ndarray, without: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the true target with new pseudo-labels in place of those in `target`, and how much each picture counts (n,).

        The classes are those that the heads of all folds agree on: the mean of their probabilities, each calibrated, class by
        class, by labels that these heads have not seen, and averaged over each track. The fold `without` is left out altogether: what
        its labels teach would otherwise return to measure itself.
        """
        heads, held = [], np.full((len(self.features), self.classes), -np.inf)
        for fold in self.folds:
            rest = np.where(self.fold == fold, -1, target)
            if fold != without and (rest >= 0).any():  # of two folds, the other one's labels are all that there are
                heads.append(self.fit(self.head, rest, self.parts, sure).logits(self.features))
                held[self.fold == fold] = heads[-1][self.fold == fold]
        found, sure = np.where(self.fold == without, -1, self.target), np.ones(len(target))
        if not heads:
            return found, sure
        own = self.rows[self.fold[self.rows] != without]
        scale, shift = calibrated_by_class(held[own], self.target[own])
        chances = self.tracks.averaged(np.mean([probabilities(one * scale + shift, 1.0) for one in heads], axis=0))
        shares, pool = probabilities(held[own] * scale + shift, 1.0).mean(axis=0), free & (self.fold != without)
        chances = at_their_shares(chances, shares, pool)
        rows, kinds = pseudo_labels(chances, most, pool)
        found[rows] = kinds
        true = (self.target >= 0) | self.tracks.labelled(self.target)
        return found, np.where(true, sure, chances.max(axis=1))

    def fold_targets(self, target: np.ndarray) -> np.ndarray:
        """Return the target (folds, n) with each fold held out."""
        return np.stack([np.where(self.fold == fold, -1, target) for fold in self.folds])

    def learn(
        self,
        target: np.ndarray,
        fold_targets: np.ndarray,
        sure: np.ndarray | None = None,
        fold_sure: np.ndarray | None = None,
    ) -> CrossFit:
        """Learn from targets with the current setting, and calibrate."""
        logits = self._logits(fold_targets, fold_sure)
        temperature = calibrated(logits, self.target[self.rows])
        return CrossFit(target, fold_targets, temperature, self._held_out(logits, temperature), sure, fold_sure)

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
                self.fit(self.head, cross_fit.fold_targets[fold], self.parts, _of(cross_fit.fold_sure, fold))
                chances = probabilities(self.head.logits(self.features[rows]), cross_fit.temperature)
                averaged = Tracks(self.parts.of[rows]).averaged(chances)
                found[mine] = averaged[np.searchsorted(rows, self.rows[mine])]
        return replace(cross_fit.held_out, probabilities=found)

    def _held_out(self, logits: np.ndarray, temperature: float) -> HeldOut:
        rows = self.rows
        return HeldOut(
            rows, self.target[rows], self.fold[rows], self.groups[rows], self.units, probabilities(logits, temperature)
        )

    def _logits(self, fold_targets: np.ndarray, fold_sure: np.ndarray | None = None) -> np.ndarray:
        """Return logits (m, classes) of the labelled pictures, each by the head that holds its fold out."""
        logits = np.zeros((len(self.rows), self.classes))
        for fold in self.folds:
            mine = self.fold[self.rows] == fold
            if mine.any() and (fold_targets[fold] >= 0).any():  # of the first few labels, all may be of one fold
                self.fit(self.head, fold_targets[fold], self.parts, _of(fold_sure, fold))
                logits[mine] = self.head.logits(self.features[self.rows[mine]])
        return logits


def _of(fold_sure: np.ndarray | None, fold: int) -> np.ndarray | None:
    """Return how much each picture counts (n,) with a fold held out; None where all count alike, as labels alone do."""
    return None if fold_sure is None or (fold_sure[fold] == 1).all() else fold_sure[fold]


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


def calibrated_by_class(logits: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the scale, and the shift of each class (classes,), at which logits (n, classes) have the least log loss.

    A head that counts all classes alike says nothing of how frequent they are among the labels; with the shift it does.
    Source: Alexandari et al. 2020, Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation,
    section 3; a penalty keeps a few labels from making the rest certain. Labels of classes that a head has not seen are left out.
    """
    from scipy.optimize import minimize

    seen = np.isfinite(logits[np.arange(len(truth)), truth])
    own, kinds = np.maximum(logits[seen] - logits[seen].max(axis=1, keepdims=True), UNSEEN), truth[seen]
    one = np.eye(logits.shape[1])[kinds]

    def loss(given: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = np.exp(given[0]), given[1:]
        chances = probabilities(own * scale + shift, 1.0)
        over = chances - one
        slope = np.append(scale * (over * own).sum(), over.sum(axis=0)) + 2 * PENALTY * given
        likely = np.log(np.maximum(chances[np.arange(len(kinds)), kinds], 1e-300))
        return float(PENALTY * (given**2).sum() - likely.sum()), slope

    found = minimize(loss, np.zeros(logits.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return float(np.exp(found[0])), found[1:]
