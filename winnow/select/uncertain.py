"""How much each picture counts in the choice of what to label next: as much as its class is uncertain."""

from __future__ import annotations

import numpy as np


def uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy (n,) of probabilities (n, classes), 1 where all classes are equally probable."""
    logarithms = np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny))
    return -(probabilities * logarithms).sum(axis=1) / np.log(probabilities.shape[1])
