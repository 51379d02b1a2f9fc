"""Pseudo-labels: the unlabelled pictures of which the head is surest take its class, up to a quota a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.errors import DataError

SHARE = (
    0.5  # at most this share of the pictures predicted as a class become pseudo-labels: a rare class has few sure ones
)


def pseudo_labels(probabilities: Any, per_class: int, allowed: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (m,) and class numbers (m,) of the pictures to take as labelled, class by class, the surest first.

    `probabilities` (n, classes) should come from a head that has not seen the pictures. Of each class at most `per_class`,
    and at most half of those whose most probable class it is: without a quota the surest are all of the easy class; with
    a quota that ignores how rare a class is, they are wrong (Cascante-Bonilla et al. 2021, Curriculum Labeling, takes
    shares as well). `allowed` (n,) bool excludes the others. `DataError` unless they are finite and >= 0.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise DataError(
            f"Probabilities of shape {probabilities.shape} must be a finite (pictures, classes) array, none negative.",
            "Give what predict_proba returns.",
        )
    free = np.ones(len(probabilities), bool) if allowed is None else np.asarray(allowed, bool)
    chosen = probabilities.argmax(axis=1) if probabilities.size else np.empty(0, int)
    found = []
    for kind in range(probabilities.shape[1]):
        rows = np.flatnonzero(free & (chosen == kind))
        most = min(per_class, int(SHARE * len(rows)))
        found.append(rows[np.argsort(-probabilities[rows, kind], kind="stable")[:most]])
    rows = np.concatenate(found) if found else np.empty(0, int)
    return rows, chosen[rows]
