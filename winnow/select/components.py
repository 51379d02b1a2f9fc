"""Embeddings in fewer dimensions: their first principal components."""

from __future__ import annotations

import numpy as np

from winnow.embeddings import blocks, finite, spread, unit_length

LEARNT_FROM = 20_000  # rows that components are learnt from


def components(vectors: np.ndarray, most: int) -> np.ndarray:
    """Return embeddings (n, d) at length 1 in their first components (n, k), the strongest first; k is at most `most`.

    They are not scaled: distances in them are those of the embeddings, as far as they go.
    """
    from scipy.linalg import eigh

    vectors = finite(vectors)
    d = vectors.shape[1]
    some = unit_length(vectors[spread(len(vectors), LEARNT_FROM)])
    mean = some.mean(axis=0) if len(some) else np.zeros(d, np.float32)
    some = some - mean
    axes = eigh(some.T @ some, subset_by_index=(max(0, d - most), d - 1))[1][:, ::-1].astype(np.float32)
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)  # a sign of their own
    found = np.empty((len(vectors), axes.shape[1]), np.float32)
    for part in blocks(len(vectors)):
        found[part] = (unit_length(vectors[part]) - mean) @ axes
    return found
