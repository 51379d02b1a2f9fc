"""Which of several scorers decides: the one that best tells synthetic defects of a product from its good pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from winnow.detect.registry import make_scorer
from winnow.detect.scorer import folds_of
from winnow.embeddings import Embeddings
from winnow.metrics.detection import separation

FOLDS = 4
FEWEST = 8  # good pictures by which it is decided: with four or six the memory was taken wrongly in every third draw (docs/log.md)


def elect(names: Sequence[str], good: Embeddings, damaged: Embeddings) -> dict[str, float]:
    """Return each scorer's AUROC on damaged copies of good pictures, which have their ids, against the good ones themselves.

    Every picture is scored, with its copies, by a scorer fitted without its group. Empty with fewer than eight pictures, by which
    nothing can be decided.
    """
    if len(good) < FEWEST:
        return {}
    fold = folds_of(good, FOLDS)
    row = {str(name): place for place, name in enumerate(good.ids)}
    copies = damaged[np.flatnonzero([str(name) in row for name in damaged.ids])]
    fold_of_copy = fold[[row[str(name)] for name in copies.ids]]
    return {name: _held_out_auroc(name, good, fold, copies, fold_of_copy) for name in names}


def _held_out_auroc(
    name: str, good: Embeddings, fold: np.ndarray, copies: Embeddings, fold_of_copy: np.ndarray
) -> float:
    scores, of_copies = [], []
    for number in range(fold.max() + 1):
        scorer = make_scorer(name).fit(good[np.flatnonzero(fold != number)])
        scores.append(scorer.score(good[np.flatnonzero(fold == number)]))
        of_copies.append(scorer.score(copies[np.flatnonzero(fold_of_copy == number)]))
    return separation(np.concatenate(scores), np.concatenate(of_copies))
