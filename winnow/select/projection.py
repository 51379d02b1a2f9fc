"""Embeddings in two dimensions: a map of a few, on which all others are placed among their neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from winnow.embeddings import blocks, spread
from winnow.select.components import components

DRAWN, COMPONENTS = 1500, 50  # rows that the map is drawn from, and the components that they are compared in
NEIGHBOURS = 5  # drawn rows between which another is placed
SMALL = 1e-6  # share of the largest squared distance that counts as none


def projected(vectors: np.ndarray, draw: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return positions (n, 2) float32 of embeddings (n, d), each axis from 0 to 1; `draw` makes a map (m, 2) of features (m, k).

    1,500 rows, evenly spread, are drawn. Every other is placed at the mean of the five drawn ones most like it, weighted by
    the inverse of their squared distances.
    """
    import faiss

    if not len(vectors):
        return np.zeros((0, 2), np.float32)
    features = components(vectors, COMPONENTS)
    drawn = np.arange(len(features))[spread(len(features), DRAWN)]
    positions = np.asarray(draw(features[drawn]), np.float32)
    found = np.empty((len(features), 2), np.float32)
    for part in blocks(len(features)):
        apart, near = faiss.knn(features[part], features[drawn], min(NEIGHBOURS, len(drawn)))
        weights = 1 / (np.maximum(apart, 0) + SMALL * max(float(apart.max()), 1e-12))
        found[part] = (positions[near] * (weights / weights.sum(axis=1, keepdims=True))[:, :, None]).sum(axis=1)
    found -= found.min(axis=0)
    return found / np.maximum(found.max(axis=0), 1e-12)
