"""Heads: small classifiers on features, learnt in a second or so. Numpy, scipy and scikit-learn.

A new one is a subclass of `Head` and a line in `HEADS`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

BLOCK = 1024  # rows of a block of similarities
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
    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        """Learn from what has a class; a class without a picture is never predicted."""

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

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        from sklearn.linear_model import LogisticRegression

        rows = np.flatnonzero(target >= 0)
        present = np.unique(target[rows])
        self.weights, self.bias = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        if len(present) == 1:
            self.bias[present] = 0
            return self
        with warnings.catch_warnings():  # scikit-learn takes many classes with few labels each for a regression
            warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
            model = LogisticRegression(C=self.setting, class_weight="balanced", max_iter=2000).fit(
                features[rows], target[rows]
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

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        self.means, self.bias = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        for kind in np.unique(target[target >= 0]):
            mean = features[target == kind].mean(axis=0, dtype=np.float64)
            self.means[kind], self.bias[kind] = mean / max(float(np.linalg.norm(mean)), 1e-12), 0
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.means.T + self.bias

    def state(self) -> dict[str, np.ndarray]:
        return {"means": self.means, "bias": self.bias}


class KNearest(Head):
    """Vote of the k nearest labelled pictures, nearer ones with more weight, all classes with the same total weight.

    The setting is k.
    """

    usual, settings = 5.0, (1.0, 3.0, 10.0)

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        rows = np.flatnonzero(target >= 0)
        self.features, self.votes = np.array(features[rows]), np.zeros((len(rows), classes))
        counts = np.bincount(target[rows], minlength=classes)
        self.votes[np.arange(len(rows)), target[rows]] = 1 / counts[target[rows]]
        self.seen = counts > 0
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        found, nearness = nearest(features, self.features, int(self.setting))
        return _log_shares(np.einsum("nk,nkc->nc", nearness, self.votes[found]), self.seen)

    def state(self) -> dict[str, np.ndarray]:
        return {"features": self.features, "votes": self.votes, "seen": self.seen}


class LabelSpreading(Head):
    """Label spreading: classes flow along a graph of each picture's ten nearest, labelled or not.

    Source: Zhou et al. 2003, Learning with Local and Global Consistency: (1 - 0.99 S) F = Y, S the normalised graph. A new
    picture takes the classes of its nearest pictures in the graph. Keeps the features of all pictures.
    """

    def __init__(self, setting: float | None = None) -> None:
        super().__init__(setting)
        self.features = np.empty((0, 0))

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        from scipy.sparse import identity
        from scipy.sparse.linalg import cg

        if features is not self.features:  # the same pictures with other classes, as in folds, have the same graph
            self.features, self._graph = features, graph_of(features)
        start = np.zeros((len(features), classes))
        rows = np.flatnonzero(target >= 0)
        counts = np.bincount(target[rows], minlength=classes)
        start[rows, target[rows]] = 1 / counts[target[rows]]
        matrix = identity(len(features), format="csr") - KEPT * self._graph
        self.shares = np.stack([cg(matrix, column, rtol=1e-6)[0] for column in start.T], axis=1)
        self.seen = counts > 0
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        found, nearness = nearest(features, self.features, GRAPH)
        return _log_shares(np.einsum("nk,nkc->nc", nearness, self.shares[found]), self.seen)

    def state(self) -> dict[str, np.ndarray]:
        return {"features": self.features, "shares": self.shares, "seen": self.seen}


HEADS: dict[str, type[Head]] = {
    "logistic": Logistic,
    "nearest_mean": NearestMean,
    "knn": KNearest,
    "label_spreading": LabelSpreading,
}


def nearest(features: np.ndarray, others: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` nearest of `others` (m, d) to each of `features` (n, d), all of length 1, and their weights.

    Both are (n, count); the weight is exp(10 (cosine - 1)).
    """
    count = min(count, len(others))
    found, cosine = np.empty((len(features), count), int), np.empty((len(features), count))
    for start in range(0, len(features), BLOCK):
        part = slice(start, start + BLOCK)
        products = features[part] @ others.T
        found[part] = np.argpartition(-products, count - 1, axis=1)[:, :count]
        cosine[part] = np.take_along_axis(products, found[part], axis=1)
    return found, np.exp(SHARPNESS * (cosine - 1))


def graph_of(features: np.ndarray) -> Any:
    """Return the symmetric, normalised graph of ten nearest neighbours of features (n, d), as a sparse (n, n) matrix."""
    from scipy.sparse import csr_matrix, diags

    n = len(features)
    found, weight = nearest(features, features, min(GRAPH + 1, n))
    matrix = csr_matrix((weight.ravel(), (np.repeat(np.arange(n), found.shape[1]), found.ravel())), (n, n))
    matrix = matrix.maximum(matrix.T)
    matrix.setdiag(0)
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-12)))
    return (scale @ matrix @ scale).tocsr()


def _log_shares(votes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return log shares of the classes that were seen, none of them below a floor, so that a vote is never certain."""
    votes = np.where(seen, votes, 0)
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-300)
    floor = SMOOTH / max(1, int(seen.sum()))
    return np.where(seen, np.log((1 - SMOOTH) * shares + floor), -np.inf)
