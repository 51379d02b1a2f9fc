"""Twins of the heads: the same probabilities from embeddings, as layers that an ONNX file can hold.

Double precision wherever the numpy versions use it. `TWINS` has one for every head of `winnow.classify.heads.HEADS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from winnow.classify.classifier import Classifier
from winnow.classify.heads import GRAPH, SHARPNESS, SMOOTH, Head, KNearest, LabelSpreading, Logistic, NearestMean
from winnow.embeddings import unit_length


class LinearTwin(nn.Module):
    """Twin of `Logistic` and `NearestMean`: logits (n, classes) of features (n, d), -inf for a class that was not seen."""

    weights: Tensor
    bias: Tensor

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(np.asarray(weights, np.float64).T.copy()))
        self.register_buffer("bias", torch.from_numpy(np.asarray(bias, np.float64)))

    def forward(self, features: Tensor) -> Tensor:
        return features.double() @ self.weights + self.bias


class VoteTwin(nn.Module):
    """Twin of `KNearest` and `LabelSpreading`: the nearest of the kept features vote by their `votes` (m, classes)."""

    features: Tensor
    votes: Tensor
    unseen: Tensor

    def __init__(self, features: np.ndarray, votes: np.ndarray, seen: np.ndarray, count: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.from_numpy(np.array(features, np.float32)))
        self.register_buffer("votes", torch.from_numpy(np.where(seen, votes, 0.0)))
        self.register_buffer("unseen", torch.from_numpy(np.where(seen, 0.0, -np.inf)))
        self.count, self.floor = min(count, len(features)), SMOOTH / max(1, int(seen.sum()))

    def forward(self, features: Tensor) -> Tensor:
        cosine, found = (features @ self.features.T).topk(self.count, dim=1)
        nearness = (SHARPNESS * (cosine.double() - 1)).exp()
        votes = (nearness[:, :, None] * self.votes[found]).sum(dim=1)
        shares = votes / votes.sum(dim=1, keepdim=True).clamp_min(1e-300)
        return ((1 - SMOOTH) * shares + self.floor).log() + self.unseen


TWINS: dict[type[Head], Callable[[Any], nn.Module]] = {
    Logistic: lambda head: LinearTwin(head.weights, head.bias),
    NearestMean: lambda head: LinearTwin(head.means, head.bias),
    KNearest: lambda head: VoteTwin(head.features, head.votes, head.seen, int(head.setting)),
    LabelSpreading: lambda head: VoteTwin(head.features, head.shares, head.seen, GRAPH),
}


class ClassifierTwin(nn.Module):
    """Twin of a fitted `Classifier`: calibrated probabilities (n, classes) float64 of embeddings (n, d)."""

    centre: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.register_buffer("centre", torch.from_numpy(np.array(classifier.centre, np.float32)))
        self.head = TWINS[type(classifier.fitted)](classifier.fitted)
        self.temperature = float(classifier.temperature)

    def forward(self, vectors: Tensor) -> Tensor:
        features = unit_length(vectors.float() - self.centre)
        return torch.softmax(self.head(features) / self.temperature, dim=1)
