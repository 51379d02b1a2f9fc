"""The latent loss: a picture whose embedding is far from where the encoder puts normals does not belong."""

from __future__ import annotations

from typing import Any

from winnow.detect.scorer import Scorer, log
from winnow.embeddings import Embeddings


class Latent(Scorer):
    """Log KL divergence of the embedding's posterior from N(0, 1): needs no decoder (Soukup and Pinetz, latent mode)."""

    name = "latent"
    needs = ("latent",)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> Any:
        return log(embeddings.losses["latent"])
