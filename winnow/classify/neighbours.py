"""The nearest labelled or unlabelled pictures: exact among few, by cells among many, so that time grows with the pictures alone."""

from __future__ import annotations

from typing import Any

import numpy as np

EXACT = 20_000  # pictures up to which all are compared
CELL = 256  # pictures of a cell, of more
PROBED = 16  # cells that are looked through: those whose centres are nearest
SAMPLE, ROUNDS = 40, 10  # pictures a cell, and rounds, of the k-means that makes the cells


class Neighbours:
    """Finds the nearest of features (m, d) of length 1, by an index of faiss that depends on them alone.

    Of more than `EXACT` they are found in the `PROBED` nearest cells of `CELL` pictures each (an inverted file: Jégou et al.
    2011, Product Quantization for Nearest Neighbor Search, section 4), which misses some: docs/scale.md.
    """

    def __init__(self, features: np.ndarray, exact: int = EXACT) -> None:
        import faiss

        self.rows, dimensions = features.shape
        flat: Any = faiss.IndexFlatIP(dimensions)
        if self.rows <= exact:
            self.index: Any = flat
        else:
            self.index = faiss.IndexIVFFlat(flat, dimensions, -(-self.rows // CELL), faiss.METRIC_INNER_PRODUCT)
            self.index.cp.niter, self.index.cp.max_points_per_centroid = ROUNDS, SAMPLE
            self.index.cp.min_points_per_centroid = 1  # or faiss prints a warning
            self.index.nprobe = PROBED
            self.index.train(_single(features))
        self.index.add(_single(features))

    def search(self, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and cosines (n, count) of the nearest to each of `features` (n, d), nearest first.

        Fewer than `count` where there are no more; a row -1, its cosine -1, where the cells hold no more.
        """
        cosine, found = self.index.search(_single(features), min(count, self.rows))
        return found, np.where(found < 0, -1, cosine)


def _single(features: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(features, dtype=np.float32)
