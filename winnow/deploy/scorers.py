"""The scorers as layers that an ONNX file can hold: the same formulas, with what was learnt as buffers.

Only the k nearest neighbours and order statistics have code of their own, because ONNX has no search.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from winnow.detect.changes import Directions
from winnow.detect.combine import Combination
from winnow.detect.detector import Detector
from winnow.detect.regions import Regions
from winnow.detect.registry import SCORERS
from winnow.detect.scorer import Scorer, as_compared
from winnow.detect.scorers.fisher import Fisher, LogP
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.places import Places
from winnow.detect.threshold import survival, tail_p_values
from winnow.embeddings import Embeddings
from winnow.errors import ModelError

ModelOutput = Mapping[str, Tensor]
"""`vectors` (n, d) float32 and the losses (n,) of pictures, under their names in `winnow.learn.encode.outputs_of`."""


def twin_of(scorer: Scorer) -> nn.Module:
    """Return a module from `ModelOutput` to the fitted scorer's scores (n,) float64; `ModelError` for a scorer of one's own."""
    if type(scorer) not in SCORERS.values():
        raise ModelError(
            f"The scorer '{scorer.name}' is not one of Winnow's: what it computes cannot be written as an ONNX file.",
            "Calibrate with another: winnow calibrate --run RUN --scorer fisher; or export with --only classifier.",
        )
    if isinstance(scorer, Knn):
        return KnnModule(scorer)
    if isinstance(scorer, Fisher):
        return FisherModule(scorer)
    if isinstance(scorer, Places):
        return PlacesModule(scorer)
    return CombinationModule(scorer) if isinstance(scorer, Combination) else FormulaModule(scorer)


class Fitted(nn.Module):
    """A module with what was learnt, array by array, as buffers of the same names."""

    def __init__(self, **arrays: Any) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(array)))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...


class FormulaModule(Fitted):
    """A scorer whose own formula runs on tensors."""

    def __init__(self, scorer: Scorer) -> None:
        arrays = {name: array for name, array in scorer.learned().items() if isinstance(array, np.ndarray)}
        super().__init__(**arrays)
        self.scorer, self.names = scorer, tuple(arrays)

    def bound(self) -> Any:
        """Return the scorer with the buffers in place of its arrays."""
        scorer = copy.copy(self.scorer)
        for name in self.names:
            setattr(scorer, name, getattr(self, name))
        return scorer

    def forward(self, losses: ModelOutput) -> Tensor:
        embeddings = Embeddings(losses["vectors"], losses, cells=losses.get("cells"))  # type: ignore[arg-type]
        return self.bound()._score(embeddings)


class CombinationModule(FormulaModule):
    """A combination: the modules of its components, and its own formula to join them."""

    def __init__(self, scorer: Combination) -> None:
        super().__init__(scorer)
        self.components = nn.ModuleList(twin_of(part) for part in scorer.fitted)

    def forward(self, losses: ModelOutput) -> Tensor:
        return self.bound().join([part(losses) for part in self.components])


class KnnModule(Fitted):
    """`Knn`: faiss cannot be exported, so the nearest are found by `topk`.

    They are found by products of centred embeddings, as faiss does, and their distances then computed by differences: products
    alone lose the digits of |a - b|^2 for embeddings far from the origin.
    """

    def __init__(self, scorer: Knn) -> None:
        centre = scorer.bank.mean(axis=0)
        bank = scorer.bank - centre
        super().__init__(bank=bank, centre=centre, halves=0.5 * np.square(bank).sum(axis=1))
        self.k, self.metric = min(scorer.k, len(bank)), scorer.metric

    def forward(self, losses: ModelOutput) -> Tensor:
        centred = as_compared(losses["vectors"], self.metric).float() - self.centre
        nearest = (centred @ self.bank.T - self.halves).topk(self.k, dim=1).indices
        apart = centred[:, None] - self.bank[nearest]
        return apart.square().sum(dim=2).sqrt().mean(dim=1).double()


class PlacesModule(FormulaModule):
    """`Padim` and `Patchcore`: their own distances, and the highest by `topk`."""

    def forward(self, losses: ModelOutput) -> Tensor:
        distances = self.bound().distances(losses["cells"])
        return distances.topk(self.scorer.count, dim=1).values.mean(dim=1).double()  # type: ignore[attr-defined]

    def anomaly_map(self, losses: ModelOutput) -> Tensor:
        """Return the map (n, rows, columns) of `Places.anomaly_map`."""
        cells = losses["cells"]
        return self.bound().distances(cells).reshape(cells.shape[:3])


class DirectionsModule(Fitted):
    """`Directions.positions`."""

    def __init__(self, directions: Directions) -> None:
        super().__init__(mean=directions.mean, axes=directions.axes)

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) @ self.axes.T


class Order(Fitted):
    """Finds the positions of values (n, k) in k arrays of ascending numbers, as `numpy.searchsorted` with side='left'.

    It compares twice with about sqrt(m) of the m numbers: with the last of each block, then with those of one block.
    """

    def __init__(self, *ascending: np.ndarray) -> None:
        side = math.ceil(math.sqrt(max(map(len, ascending))))
        padded = [np.pad(numbers, (0, side * side - len(numbers)), constant_values=np.inf) for numbers in ascending]
        blocks = np.stack(padded).reshape(-1, side, side)
        super().__init__(last=blocks[:, :, -1], blocks=blocks.reshape(-1, side), first=side * np.arange(len(blocks)))
        self.side = side

    def forward(self, values: Tensor) -> Tensor:
        """Return the positions (n, k) int64."""
        block = (self.last < values[:, :, None]).sum(dim=2).clamp_max(self.side - 1)
        return block * self.side + (self.blocks[self.first + block] < values[:, :, None]).sum(dim=2)


class LogPModule(Fitted):
    """`LogP.of_new` of k kinds of scores (n, k) at once, for a graph that holds it k times takes minutes to be written."""

    def __init__(self, tails: Sequence[LogP]) -> None:
        most = max(len(tail.steps) for tail in tails)
        steps = [np.pad(tail.steps, (0, most - len(tail.steps)), mode="edge") for tail in tails]
        numbers = ("start", "at_start", "mean_excess")
        super().__init__(
            steps=np.concatenate(steps),
            first=most * np.arange(len(tails)),
            **{name: np.array([getattr(tail, name) for tail in tails]) for name in numbers},
        )
        self.order = Order(*(tail.calibration for tail in tails))

    def forward(self, scores: Tensor) -> Tensor:
        inside = self.steps[self.first + self.order(scores)]
        beyond = self.at_start + (scores - self.start) / self.mean_excess
        return torch.where(scores > self.start, beyond, inside)


class FisherModule(nn.Module):
    """`Fisher`: the modules of its components, and their log p-values added."""

    def __init__(self, scorer: Fisher) -> None:
        super().__init__()
        self.components = nn.ModuleList(twin_of(part) for part in scorer.fitted)
        self.log_p = LogPModule(scorer.tails)

    def forward(self, losses: ModelOutput) -> Tensor:
        return self.log_p(torch.stack([part(losses) for part in self.components], dim=1)).sum(dim=1)


class RegionsModule(nn.Module):
    """-log p of whole pictures and of each part of them (n, 1 + parts), from what the network says of each, in their order."""

    def __init__(self, regions: Regions) -> None:
        super().__init__()
        self.scores = nn.ModuleList(twin_of(one.scorer) for one in regions.detectors)
        self.log_p = LogPModule(regions.tails)

    def forward(self, losses: Sequence[ModelOutput]) -> Tensor:
        return self.log_p(torch.stack([score(said) for score, said in zip(self.scores, losses, strict=True)], dim=1))


class PValues(Fitted):
    """Conformal p-values (n,) float64 of scores (n,), as `Detector.p_values`."""

    def __init__(self, detector: Detector) -> None:
        ordered, above, effective = survival(detector.calibration, detector.weights)
        super().__init__(shares=(1 + above) / (effective + 1))
        self.order = Order(ordered)
        self.tail, self.largest, self.effective = detector.tail, float(ordered[-1]), effective

    def forward(self, scores: Tensor) -> Tensor:
        found = self.shares[self.order(scores[:, None])[:, 0]]
        if self.tail is None:
            return found
        return torch.where(scores > self.largest, tail_p_values(self.tail, scores, self.effective), found)
