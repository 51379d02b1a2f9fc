"""Sharpness alone: the trivial baseline that any other scorer must beat."""

from __future__ import annotations

from typing import Any

from winnow.detect.scorer import Scorer, log
from winnow.embeddings import Embeddings


class Gradient(Scorer):
    """Distance of the log gradient energy from the normals' mean, up or down."""

    name = "gradient"
    needs = ("gradient",)
    minimum = 1

    def _fit(self, normal: Embeddings) -> None:
        self.centre = float(log(normal.losses["gradient"]).mean())

    def _score(self, embeddings: Embeddings) -> Any:
        return abs(log(embeddings.losses["gradient"]) - self.centre)
