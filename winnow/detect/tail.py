"""The tail of calibration scores beyond what they can promise: an estimate, by a generalised Pareto distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FEWEST = 5  # calibration scores that a tail is estimated from
SHARE, EXCESSES = 0.25, 5  # of the scores, and at least so many of them, are the tail
TINY = 1e-9


@dataclass(frozen=True)
class Tail:
    """The chance that a normal's score is above x: mass (1 + shape (x - start) / scale)^(-1 / shape), for x from `start` on."""

    start: float
    mass: float
    scale: float
    shape: float

    def chance(self, scores: Any) -> Any:
        """Return the chance (m,) that a normal scores higher than each of `scores` (m,), in the library of their array."""
        from array_api_compat import array_namespace

        xp = array_namespace(scores)
        grown = xp.clip(1 + self.shape / self.scale * (scores - self.start), 1.0)
        return self.mass * xp.exp(-xp.log(grown) / self.shape)

    def value(self, rate: float) -> float:
        """Return the score that a normal exceeds with a chance of `rate`."""
        return self.start + self.scale / self.shape * float((self.mass / rate) ** self.shape - 1)


def tail_of(calibration: np.ndarray, weights: np.ndarray | None = None) -> Tail | None:
    """Return the tail of calibration scores (n,) with weights (n,); None of fewer than `FEWEST`.

    The k largest scores, a quarter of them or 5, exceed the next one by amounts that are taken for exponential (peaks over a
    threshold; Pickands 1975). Their mean is known from k of them only, and a new normal exceeds what the best guess says more often
    than it says: averaged over that uncertainty, the excess has a generalised Pareto distribution of shape 1/k, which is returned.
    A shape estimated from so few excesses made 1 % into 1.4 to 2.1 % (docs/log.md).
    """
    n = len(calibration)
    if n < FEWEST:
        return None
    weights = np.ones(n) if weights is None else weights
    order = np.argsort(calibration, kind="stable")
    scores, weights = calibration[order], weights[order] * (weights.sum() / np.square(weights).sum())
    count = min(n - 1, max(EXCESSES, round(SHARE * n)))
    start, share = float(scores[-count - 1]), weights[-count:]
    k = float(share.sum())
    mean = max(float(share @ (scores[-count:] - start)) / k, TINY * (1 + abs(start)))  # equal scores have no excess
    return Tail(start, (k + 1) / (float(weights.sum()) + 1), mean, 1 / k)
