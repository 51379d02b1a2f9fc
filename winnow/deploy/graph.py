"""The network of an exported file: from pictures of any size to probabilities, score, p-value and anomaly map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from winnow.classify.classifier import Classifier
from winnow.deploy.heads import ClassifierTwin
from winnow.deploy.scorers import DirectionsModule, ModelOutput, PValues, RegionsModule, twin_of
from winnow.detect.changes import Directions
from winnow.detect.detector import Detector
from winnow.detect.parts import PARTS
from winnow.detect.regions import Regions
from winnow.learn.encode import outputs_of
from winnow.learn.feed import part_of, to_images
from winnow.models.contract import Model

# Grey levels that end in one half are common, and sums of products in another order miss it by a hair to either side.
HALF = 0.5 + 2**-12


class Resize(nn.Module):
    """Scales pictures (n, h, w, c) uint8 to (n, height, width, c) as Pillow's BILINEAR does, within a grey level.

    It is the triangle filter, widened by the factor of the reduction, as a matrix product across and another down, each rounded
    to whole grey levels (Pillow, src/libImaging/Resample.c). Pictures of the right size are unchanged, to the bit.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = (int(size[0]), int(size[1]))

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[1:3]
        values = pictures.permute(0, 3, 1, 2).float()
        values = rounded(values @ triangles(width, self.size[1]).T)
        values = rounded(triangles(height, self.size[0]) @ values)
        return values.to(torch.uint8).permute(0, 2, 3, 1)


def triangles(old: int, new: int) -> Tensor:
    """Return weights (new, old) float32 by which each new pixel is a mean of the old ones."""
    ratio = torch.scalar_tensor(old, dtype=torch.float64) / new
    middles = (torch.arange(new, dtype=torch.float64) + 0.5) * ratio
    places = torch.arange(old, dtype=torch.float64) + 0.5
    weights = (1 - (places - middles[:, None]).abs() / ratio.clamp_min(1)).clamp_min(0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def rounded(values: Tensor) -> Tensor:
    """Return whole grey levels; they need no clipping, as a mean is between its terms."""
    return (values + HALF).floor()


class Graph(nn.Module):
    """Maps pictures (n, h, w, c) uint8 to its `outputs`, float32, in this order:

    `probabilities` (n, classes), where a `classifier` is given: from the embeddings of `classifier_network`, or, without one, of
    `model`. `score` and `p_value` (n,), where a `detector` is given: from the outputs of `model` and of the `auxiliary` models;
    `decode=False` runs no decoder; with `regions`, whose joint detector that is, `score` is by pictures and their parts together, and
    `regions` (n, parts) -log p of each part. `directions` (n, k), where they are given: the positions of the embeddings of `model` along
    them. `anomaly_map` (n, rows, columns) where `map_levels`, its usual value and the level that held-out pictures keep below, are
    given: the scorer's, where it compares places, or the model's. Raises `ModelError` for a scorer that has no twin.
    """

    def __init__(
        self,
        model: Model,
        *,
        auxiliary: Mapping[str, Model] | None = None,
        decode: bool = True,
        detector: Detector | None = None,
        regions: Regions | None = None,
        classifier: Classifier | None = None,
        classifier_network: Model | None = None,
        directions: Directions | None = None,
        map_levels: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.companions, self.decode = model, dict(auxiliary or {}), decode
        self.classifier_network = classifier_network
        self.detector, self.classifier = detector, classifier
        self.resize = Resize(model.size)
        self.auxiliary = nn.ModuleDict(self.companions)
        self.known_regions = regions
        self.score = twin_of(detector.scorer) if detector and not regions else None
        self.log_p = RegionsModule(regions) if regions else None
        self.p_value = PValues(detector) if detector else None
        self.probabilities = ClassifierTwin(classifier) if classifier else None
        self.known_directions = directions
        self.directions = DirectionsModule(directions) if directions else None
        self.map_levels = map_levels
        self.outputs = (
            *(("probabilities",) if classifier else ()),
            *(("score", "p_value") if detector else ()),
            *(("regions",) if regions else ()),
            *(("directions",) if directions else ()),
            *(("anomaly_map",) if map_levels else ()),
        )
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        pictures = self.resize(pictures)
        images = to_images(pictures)
        losses = dict(outputs_of(self.model, self.companions, images, self.decode))
        found: list[Tensor] = []
        if self.probabilities is not None:
            other = self.classifier_network
            found.append(
                self.probabilities(losses["vectors"] if other is None else other(images, decode=False).vectors)
            )
        if self.p_value is not None and self.score is not None:
            score = self.score(losses)
            found += [score, self.p_value(score)]
        if self.p_value is not None and self.log_p is not None:
            log_p = self.log_p([losses, *self._of_parts(pictures)])
            score = log_p.amax(dim=1)
            found += [score, self.p_value(score), log_p[:, 1:]]
        if self.directions is not None:
            found.append(self.directions(losses["vectors"]))
        if self.map_levels is not None:
            draw = getattr(self.score, "anomaly_map", None)
            found.append(self.model.anomaly_map(images) if draw is None else draw(losses))
        return tuple(values.float() for values in found)

    def _of_parts(self, pictures: Tensor) -> list[ModelOutput]:
        """Return what the network says of each part of pictures; it sees all parts at once, or the graph would hold it once for each."""
        parts = to_images(torch.cat([scaled_part(pictures, name, self.resize) for name in PARTS]))
        said = dict(outputs_of(self.model, self.companions, parts, self.decode))
        split = {name: values.unflatten(0, (len(PARTS), pictures.shape[0])) for name, values in said.items()}
        return [{name: values[place] for name, values in split.items()} for place in range(len(PARTS))]


def scaled_part(pictures: Tensor, name: str, resize: Resize) -> Tensor:
    """Return a part of pictures (n, h, w, c) of the size that `resize` makes, made that size too, as `winnow.learn.feed.Region` does."""
    down, across = part_of(resize.size, PARTS[name])
    return resize(pictures[:, down, across])
