"""The reconstruction error: what the network did not learn to rebuild does not belong."""

from __future__ import annotations

from typing import Any

from winnow.detect.scorer import Scorer, log, one_of
from winnow.embeddings import Embeddings

POOLS = {"mean": "reconstruction", "top_pixels": "top_error", "top_windows": "top_local_error", "texture": "texture"}
"""The loss that each value of `pool` reads."""


class Error(Scorer):
    """Log reconstruction error, pooled over the picture.

    `pool`: 'mean', the mean squared error; 'top_pixels', the mean of its largest 5 %, for small defects that drown in the
    mean; 'top_windows', the mean of its 8 highest windows (or of the map of damage), for smaller ones still; 'texture', the
    same of the linear autoencoder of small windows, trained on pictures cut into patches.
    """

    name = "error"

    def __init__(self, pool: str = "mean") -> None:
        self.pool = one_of(self.name, "pool", pool, POOLS)

    @property
    def needs(self) -> tuple[str, ...]:
        return (POOLS[self.pool],)

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> Any:
        return log(embeddings.losses[POOLS[self.pool]])


def log_error(embeddings: Embeddings) -> Any:
    """Return the log reconstruction error (n,), averaged with that of the linear autoencoder where there is one.

    The two err on different pictures; together they did better than either (docs/benchmarks.md).
    """
    from array_api_compat import array_namespace

    errors = [log(embeddings.losses[name]) for name in ("reconstruction", "linear") if name in embeddings.losses]
    xp = array_namespace(*errors)
    return xp.mean(xp.stack(errors), axis=0)
