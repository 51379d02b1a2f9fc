"""Pseudo-labels: the unlabelled pictures of which the heads are surest take a class, each class as many as it is estimated to have."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.errors import DataError

# At most this share of the unlabelled pictures become pseudo-labels: the surer half is right far more often.
SHARE = 0.5
STEPS = 5  # of the estimate of shares: with one it stays near the labels' own, and to the end a rare class can vanish


def at_their_shares(probabilities: np.ndarray, shares: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes) given where classes had `shares` (classes,), as they are where these are those of the `pool`.

    Labels that were chosen, or given class by class, are more even than the pictures; the shares of the `pool` (n,) bool are found
    by expectation-maximisation, stopped early. Source: Saerens et al. 2002, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, section 2.2.
    """
    found = probabilities
    for _ in range(STEPS if pool.any() else 0):
        found = probabilities * (found[pool].mean(axis=0) / np.maximum(shares, 1e-12))
        found = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
    return found


def pseudo_labels(probabilities: Any, most: int, allowed: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (m,) and class numbers (m,) of the pictures to take as labelled, class by class, the surest first.

    `probabilities` (n, classes) are of the classes as frequent as they are. At most `most` pictures in all, and at most half of
    those `allowed` (n,) bool. Of each class as many as its share, which is the mean of its probabilities, and of those alone whose most
    probable class it is: without quotas the surest are all of the easy class, and with as many of each class those of a rare
    one are wrong. `DataError` unless the probabilities are finite and >= 0.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise DataError(
            f"Probabilities of shape {probabilities.shape} must be a finite (pictures, classes) array, none negative.",
            "Give what predict_proba returns.",
        )
    free = np.flatnonzero(np.ones(len(probabilities), bool) if allowed is None else np.asarray(allowed, bool))
    if not len(free):
        return np.empty(0, int), np.empty(0, int)
    count, shares = min(most, int(SHARE * len(free))), probabilities[free].mean(axis=0)
    chosen, found = probabilities[free].argmax(axis=1), []
    quotas = _rounded(count * shares, np.bincount(chosen, minlength=len(shares)), count)
    for kind, quota in enumerate(quotas.tolist()):
        rows = free[chosen == kind]
        found.append(rows[np.argsort(-probabilities[rows, kind], kind="stable")[:quota]])
    rows = np.concatenate(found)
    return rows, probabilities[rows].argmax(axis=1)


def _rounded(quotas: np.ndarray, there: np.ndarray, most: int) -> np.ndarray:
    """Return how many to take of each class (classes,): its quota, rounded, or as many as are `there`; at most `most` in all, for
    which the quotas that were rounded up most are rounded down."""
    found: np.ndarray = np.minimum(np.round(quotas).astype(int), there)
    over = max(0, int(found.sum()) - most)
    found[np.argsort(quotas - found, kind="stable")[:over]] -= 1
    return found
