"""Twins of the scorers: the same scores and p-values from tensors, as layers that an ONNX file can hold.

Double precision wherever the numpy versions have it. `TWINS` has one for every scorer of `winnow.detect.scorers.SCORERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from winnow.detect.combine import Combined, Places, Surprise
from winnow.detect.detector import Detector
from winnow.detect.scorer import FLOOR, Scorer
from winnow.detect.scorers import (
    Background,
    Both,
    Complexity,
    Cosine,
    Directions,
    Expected,
    Gaussian,
    Gradient,
    Latent,
    Measure,
    Neighbours,
    Peak,
    Reconstruction,
    Relative,
    Residual,
    Texture,
    Unexplained,
    Worst,
)
from winnow.detect.threshold import survival
from winnow.errors import ModelError

ModelOutput = Mapping[str, Tensor]
"""`codes` (n, d) float32 and the measures (n,) of pictures, as `winnow.learn.encode.measures_of` names them."""


def twin_of(scorer: Scorer) -> nn.Module:
    """A module that maps `ModelOutput` to the fitted scorer's scores (n,) float64; `ModelError` for a scorer of one's own."""
    make = TWINS.get(type(scorer))
    if make is None:
        raise ModelError(
            f"The scorer '{scorer.name}' is not one of Winnow's: what it computes cannot be written as an ONNX file.",
            "Calibrate with another: winnow calibrate --run RUN --scorer combined; or export with --only classifier.",
        )
    return make(scorer)


def log(values: Tensor) -> Tensor:
    """As `winnow.detect.scorer.log`."""
    return values.double().clamp_min(FLOOR).log()


def log_error(losses: ModelOutput) -> Tensor:
    """As `winnow.detect.scorers.log_error`."""
    errors = [log(losses[name]) for name in ("reconstruction", "linear") if name in losses]
    return torch.stack(errors).mean(dim=0)


def unit(vectors: Tensor) -> Tensor:
    """As `winnow.detect.scorers.unit`."""
    vectors = vectors.double()
    lengths = vectors.square().sum(dim=1, keepdim=True).sqrt()
    return (vectors / torch.where(lengths > 0, lengths, torch.ones_like(lengths))).float()


class Fitted(nn.Module):
    """Holds what a scorer has learnt, array by array, as buffers of the same names."""

    def __init__(self, **arrays: Any) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(array)))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...


class MeasureTwin(nn.Module):
    """Of every scorer that reads one measure."""

    def __init__(self, scorer: Measure) -> None:
        super().__init__()
        self.measure = scorer.needs[0]

    def forward(self, losses: ModelOutput) -> Tensor:
        return log(losses[self.measure])


class LessTwin(nn.Module):
    """Of `Unexplained` and `Background`: log error less another log measure."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.other = scorer.needs[1]

    def forward(self, losses: ModelOutput) -> Tensor:
        return log_error(losses) - log(losses[self.other])


class BothTwin(Fitted):
    """Of `Both`."""

    def __init__(self, scorer: Both) -> None:
        super().__init__(centre=scorer.centre, spread=scorer.spread)
        self.needs = scorer.needs

    def forward(self, losses: ModelOutput) -> Tensor:
        columns = torch.stack([log(losses[name]) for name in self.needs], dim=1)
        return ((columns - self.centre) / self.spread).sum(dim=1)


class ResidualTwin(Fitted):
    """Of `Complexity` and `Expected`."""

    def __init__(self, scorer: Residual) -> None:
        super().__init__(slopes=scorer.slopes, intercept=scorer.intercept)
        self.given = scorer.needs[1:]

    def forward(self, losses: ModelOutput) -> Tensor:
        given = torch.stack([log(losses[name]) for name in self.given], dim=1)
        return log_error(losses) - (given * self.slopes).sum(dim=1) - self.intercept


class GradientTwin(Fitted):
    """Of `Gradient`."""

    def __init__(self, scorer: Gradient) -> None:
        super().__init__(centre=scorer.centre)

    def forward(self, losses: ModelOutput) -> Tensor:
        return (log(losses["gradient"]) - self.centre).abs()


class GaussianTwin(Fitted):
    """Of `Gaussian` and, with embeddings of length 1, of `Directions`."""

    def __init__(self, scorer: Gaussian) -> None:
        super().__init__(mean=scorer.mean, precision=scorer.precision)
        self.directions = isinstance(scorer, Directions)

    def forward(self, losses: ModelOutput) -> Tensor:
        vectors = unit(losses["vectors"]) if self.directions else losses["vectors"]
        return mahalanobis(vectors, self.mean, self.precision)


class RelativeTwin(Fitted):
    """Of `Relative`."""

    def __init__(self, scorer: Relative) -> None:
        super().__init__(**{name: getattr(scorer, name) for name in scorer.learned})

    def forward(self, losses: ModelOutput) -> Tensor:
        near = mahalanobis(losses["vectors"], self.mean, self.precision)
        return near - mahalanobis(losses["vectors"], self.background_mean, self.background_precision)


def mahalanobis(vectors: Tensor, mean: Any, precision: Any) -> Tensor:
    """As `winnow.detect.scorers.mahalanobis`."""
    apart = vectors.double() - mean
    return ((apart @ precision) * apart).sum(dim=1)


class NeighboursTwin(Fitted):
    """Of `Neighbours` and, with embeddings of length 1, of `Cosine`.

    As there, the nearest are found by products of centred embeddings, and their true distances measured then: |a - b|^2 by
    products alone loses its digits for embeddings that are far from the origin.
    """

    def __init__(self, scorer: Neighbours) -> None:
        centre = scorer.bank.mean(axis=0)
        bank = scorer.bank - centre
        super().__init__(bank=bank, centre=centre, halves=0.5 * np.square(bank).sum(axis=1))
        self.neighbours = min(scorer.neighbours, len(bank))
        self.directions = isinstance(scorer, Cosine)

    def forward(self, losses: ModelOutput) -> Tensor:
        vectors = unit(losses["vectors"]) if self.directions else losses["vectors"].float()
        centred = vectors - self.centre
        nearest = (centred @ self.bank.T - self.halves).topk(self.neighbours, dim=1).indices
        apart = centred[:, None] - self.bank[nearest]
        return apart.square().sum(dim=2).sqrt().mean(dim=1).double()


class Order(Fitted):
    """The place of values (n,) in ascending numbers, as `numpy.searchsorted` of the side 'left'.

    Two comparisons with about sqrt(m) of m numbers each: their blocks by the last of each, then the block's own.
    """

    def __init__(self, ascending: np.ndarray) -> None:
        side = math.ceil(math.sqrt(len(ascending)))
        padded = np.pad(ascending, (0, side * side - len(ascending)), constant_values=np.inf)
        super().__init__(blocks=padded.reshape(side, side))
        self.side = side

    def forward(self, values: Tensor) -> Tensor:
        """Places (n,) int64."""
        block = (self.blocks[:, -1] < values[:, None]).sum(dim=1).clamp_max(self.side - 1)
        return block * self.side + (self.blocks[block] < values[:, None]).sum(dim=1)


class SurpriseTwin(Fitted):
    """Of `Surprise.of_new`."""

    def __init__(self, surprise: Surprise) -> None:
        one = surprise.above[0] / len(surprise.calibration)
        inside = -np.log((surprise.above[:-1] + one) / (surprise.above[0] + one))
        at_start = -np.log(surprise.mass / surprise.above[0])
        super().__init__(inside=np.minimum(np.append(inside, inside[-1]), at_start))
        self.order = Order(surprise.calibration)
        self.start, self.at_start = surprise.start, float(at_start)
        self.mean_excess = max(surprise.excess / surprise.mass, surprise.least)

    def forward(self, scores: Tensor) -> Tensor:
        beyond = self.at_start + (scores - self.start) / self.mean_excess
        return torch.where(scores > self.start, beyond, self.inside[self.order(scores)])


class CombinedTwin(nn.Module):
    """Of `Combined` and `Places`."""

    def __init__(self, scorer: Combined) -> None:
        super().__init__()
        self.scorers = nn.ModuleList(twin_of(part) for part, _ in scorer.fitted.values())
        self.surprises = nn.ModuleList(SurpriseTwin(surprise) for _, surprise in scorer.fitted.values())

    def forward(self, losses: ModelOutput) -> Tensor:
        parts = [surprise(scorer(losses)) for scorer, surprise in zip(self.scorers, self.surprises, strict=True)]
        return torch.stack(parts).sum(dim=0)


class PValues(Fitted):
    """Conformal p-values (n,) float64 of scores (n,), as `Detector.p_values`."""

    def __init__(self, detector: Detector) -> None:
        ordered, above, effective = survival(detector.calibration, detector.weights)
        super().__init__(shares=(1 + above) / (effective + 1))
        self.order = Order(ordered)

    def forward(self, scores: Tensor) -> Tensor:
        return self.shares[self.order(scores)]


TWINS: dict[type[Scorer], Callable[[Any], nn.Module]] = {
    **dict.fromkeys((Combined, Places), CombinedTwin),
    **dict.fromkeys((Reconstruction, Worst, Peak, Texture, Latent), MeasureTwin),
    **dict.fromkeys((Unexplained, Background), LessTwin),
    **dict.fromkeys((Complexity, Expected), ResidualTwin),
    **dict.fromkeys((Gaussian, Directions), GaussianTwin),
    **dict.fromkeys((Neighbours, Cosine), NeighboursTwin),
    Both: BothTwin,
    Gradient: GradientTwin,
    Relative: RelativeTwin,
}
