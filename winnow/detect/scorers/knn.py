"""The k nearest neighbours among the normals."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.detect.scorer import METRICS, Scorer, as_compared, like, one_of
from winnow.embeddings import Embeddings
from winnow.errors import OptionError


class Knn(Scorer):
    """Mean distance of the embedding to those of the `k` nearest normals, searched exactly (faiss, flat index).

    `metric`: 'cosine' takes embeddings at length 1, whose squared Euclidean distances are twice the cosine distances. With fewer
    normals than `k`, the mean is over all of them. Pictures it was fitted on are at distance 0 from themselves;
    held-out scores come from `fit_held_out`.
    """

    name = "knn"
    minimum = 1
    reads_vectors = True

    def __init__(self, k: int = 5, metric: str = "euclidean") -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise OptionError(f"The scorer 'knn' has k={k}; it must be a whole number, 1 or more.", "Usual is 5.")
        self.k, self.metric = k, one_of(self.name, "metric", metric, METRICS)
        self._built: tuple[np.ndarray, np.ndarray, Any] | None = None

    def _fit(self, normal: Embeddings) -> None:
        self.bank = np.ascontiguousarray(as_compared(normal.vectors, self.metric), dtype=np.float32)

    def learned(self) -> dict[str, Any]:
        """Return what `Scorer.learned` does; the index is made of the bank."""
        return {name: value for name, value in super().learned().items() if name != "_built"}

    def _index(self) -> tuple[np.ndarray, Any]:
        """Return the bank's centre and the index of the bank around it, built once: of a large bank that takes longer than a search."""
        built = self._built
        if built is None or built[0] is not self.bank:  # fitted anew, also as a copy, or restored
            import faiss

            centre = self.bank.mean(axis=0)  # faiss expands |a - b|^2, which loses digits far from the origin
            index = faiss.IndexFlatL2(self.bank.shape[1])
            index.add(self.bank - centre)
            self._built = built = self.bank, centre, index
        return built[1], built[2]

    def _score(self, embeddings: Embeddings) -> Any:
        vectors = np.ascontiguousarray(as_compared(np.asarray(embeddings.vectors), self.metric), dtype=np.float32)
        centre, index = self._index()
        scores = np.empty(len(vectors))
        rows = max(1, 16_000_000 // (self.k * self.bank.shape[1]))
        for start in range(0, len(vectors), rows):
            part = vectors[start : start + rows]
            nearest = index.search(part - centre, min(self.k, len(self.bank)))[1]
            scores[start : start + rows] = np.linalg.norm(part[:, None] - self.bank[nearest], axis=2).mean(axis=1)
        return like(embeddings.vectors, scores)
