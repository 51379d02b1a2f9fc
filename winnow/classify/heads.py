"""Heads: small classifiers on features, learnt in a second or so. Numpy, scipy and scikit-learn.

A new one is a subclass of `Head` and a line in `HEADS`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from winnow.classify.neighbours import Neighbours

BLOCK = 8192  # rows of a block of votes
GRAPH = 10  # neighbours in the graph of 'label_spreading'
KEPT = 0.99  # share of a picture's class that comes from its neighbours in 'label_spreading'
SHARPNESS = 10.0  # weight exp(10 (cosine - 1)) of a neighbour
SMOOTH = 1e-3  # share that no class falls below


class Head(ABC):
    """Classifier of features (n, d) of length 1 whose `target` (n,) is a class number, -1 where there is none.

    `fit` discards what was learnt before. `setting` is the one number that may be tuned: `usual`, or one of `settings`.
    """

    usual: ClassVar[float] = 1.0
    settings: ClassVar[tuple[float, ...]] = ()

    def __init__(self, setting: float | None = None) -> None:
        self.setting = self.usual if setting is None else setting

    @abstractmethod
    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        """Learn from what has a class, each as much as its weight (n,); a class without a picture is never predicted."""

    @abstractmethod
    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (n, classes); their softmax are probabilities, not yet calibrated; -inf for a class that was not seen."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return what was learnt, as arrays of numbers."""

    def restore(self, state: dict[str, np.ndarray]) -> Self:
        """Restore what `state` returned."""
        for name, array in state.items():
            setattr(self, name, array)
        return self


class Logistic(Head):
    """Logistic regression with an L2 penalty, all classes with the same total weight; the setting is C, its inverse strength."""

    usual, settings = 10.0, (0.01, 0.1, 1.0, 100.0)

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        from sklearn.linear_model import LogisticRegression

        rows = np.flatnonzero(target >= 0)
        present = np.unique(target[rows])
        self.weights, self.bias = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        if len(present) == 1:
            self.bias[present] = 0
            return self
        balance: Any = "balanced"
        if weights is not None:
            total = np.bincount(target[rows], weights[rows], minlength=classes)[present]
            balance = dict(zip(present.tolist(), total.sum() / len(present) / total, strict=True))
        with warnings.catch_warnings():  # scikit-learn takes many classes with few labels each for a regression
            warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
            model = LogisticRegression(C=self.setting, class_weight=balance, max_iter=2000).fit(
                features[rows], target[rows], None if weights is None else weights[rows]
            )
        weights, bias = model.coef_, model.intercept_
        if len(present) == 2:
            weights, bias = np.vstack([-weights, weights]) / 2, np.append(-bias, bias) / 2
        self.weights[present], self.bias[present] = weights, bias
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weights.T + self.bias

    def state(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "bias": self.bias}


class NearestMean(Head):
    """The class whose mean is nearest, by cosine: all that one or two pictures a class can teach."""

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        self.means, self.bias = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        for kind in np.unique(target[target >= 0]):
            rows = np.flatnonzero(target == kind)
            share = None if weights is None else weights[rows]
            mean = np.average(features[rows].astype(np.float64), axis=0, weights=share)
            self.means[kind], self.bias[kind] = mean / max(float(np.linalg.norm(mean)), 1e-12), 0
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.means.T + self.bias

    def state(self) -> dict[str, np.ndarray]:
        return {"means": self.means, "bias": self.bias}


class Voting(Head):
    """A head that keeps features (m, d) and lets those nearest to a picture vote."""

    def __init__(self, setting: float | None = None) -> None:
        super().__init__(setting)
        self._keep(np.empty((0, 0)))

    def _keep(self, features: np.ndarray) -> None:
        self.features = features
        self._index: Neighbours | None = None

    @property
    def neighbours(self) -> Neighbours:
        """Return the index of the kept features, made when it is first needed."""
        if self._index is None:
            self._index = Neighbours(self.features)
        return self._index

    def restore(self, state: dict[str, np.ndarray]) -> Self:
        self._index = None
        return super().restore(state)

    def _shares(self, features: np.ndarray, count: int, votes: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return log shares (n, classes) of the `votes` (m, classes) of the `count` nearest."""
        return np.concatenate(
            [np.empty((0, votes.shape[1]))]
            + [
                _log_shares(np.einsum("nk,nkc->nc", closeness(cosine), votes[found]), seen)
                for start in range(0, len(features), BLOCK)
                for found, cosine in [self.neighbours.search(features[start : start + BLOCK], count)]
            ]
        )


class KNearest(Voting):
    """Vote of the k nearest labelled pictures, nearer ones with more weight, all classes with the same total weight.

    The setting is k.
    """

    usual, settings = 5.0, (1.0, 3.0, 10.0)

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        rows = np.flatnonzero(target >= 0)
        self._keep(np.array(features[rows]))
        self.votes = np.zeros((len(rows), classes))
        shares, self.seen = _shares_of(target[rows], classes, None if weights is None else weights[rows])
        self.votes[np.arange(len(rows)), target[rows]] = shares
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        return self._shares(features, int(self.setting), self.votes, self.seen)

    def state(self) -> dict[str, np.ndarray]:
        return {"features": self.features, "votes": self.votes, "seen": self.seen}


class LabelSpreading(Voting):
    """Label spreading: classes flow along a graph of each picture's ten nearest, labelled or not.

    Source: Zhou et al. 2003, Learning with Local and Global Consistency: (1 - 0.99 S) F = Y, S the normalised graph. A new
    picture takes the classes of its nearest pictures in the graph. Keeps the features of all pictures.
    """

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        from scipy.sparse import identity
        from scipy.sparse.linalg import cg

        if features is not self.features:  # the same pictures with other classes, as in folds, have the same graph
            self._keep(features)
            self._graph = graph_of(features, self.neighbours)
        start = np.zeros((len(features), classes))
        rows = np.flatnonzero(target >= 0)
        shares, self.seen = _shares_of(target[rows], classes, None if weights is None else weights[rows])
        start[rows, target[rows]] = shares
        matrix = identity(len(features), format="csr") - KEPT * self._graph
        self.shares = np.stack([cg(matrix, column, rtol=1e-6)[0] for column in start.T], axis=1)
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        return self._shares(features, GRAPH, self.shares, self.seen)

    def state(self) -> dict[str, np.ndarray]:
        return {"features": self.features, "shares": self.shares, "seen": self.seen}


HEADS: dict[str, type[Head]] = {
    "logistic": Logistic,
    "nearest_mean": NearestMean,
    "knn": KNearest,
    "label_spreading": LabelSpreading,
}


def closeness(cosine: np.ndarray) -> np.ndarray:
    """Return the weights of neighbours: exp(10 (cosine - 1))."""
    return np.exp(SHARPNESS * (cosine.astype(np.float64) - 1))


def _shares_of(kinds: np.ndarray, classes: int, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the share (m,) of each labelled picture in all of its class, and which classes there are."""
    total = np.bincount(kinds, weights, minlength=classes)
    return (1 if weights is None else weights) / total[kinds], np.bincount(kinds, minlength=classes) > 0


def graph_of(features: np.ndarray, neighbours: Neighbours) -> Any:
    """Return the symmetric, normalised graph of ten nearest neighbours of features (n, d), as a sparse (n, n) matrix."""
    from scipy.sparse import csr_matrix, diags

    n = len(features)
    found, cosine = neighbours.search(features, GRAPH + 1)
    own = np.repeat(np.arange(n), found.shape[1])
    there = (found.ravel() >= 0) & (found.ravel() != own)
    matrix = csr_matrix((closeness(cosine).ravel()[there], (own[there], found.ravel()[there])), (n, n))
    matrix = matrix.maximum(matrix.T)
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-12)))
    return (scale @ matrix @ scale).tocsr()


def _log_shares(votes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return log shares of the classes that were seen, none of them below a floor, so that a vote is never certain."""
    votes = np.where(seen, votes, 0)
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-300)
    floor = SMOOTH / max(1, int(seen.sum()))
    return np.where(seen, np.log((1 - SMOOTH) * shares + floor), -np.inf)
