"""What moves the weights: the optimiser and its learning rate."""

from __future__ import annotations

import math

import torch

from winnow.models.contract import Model
from winnow.options import TrainOptions


def optimizer_of(model: Model, options: TrainOptions, device: torch.device) -> torch.optim.Optimizer:
    """Return Adam (Kingma & Ba 2015), or Adadelta (Zeiler 2012, arXiv 1212.5701, decay 0.95), of the trainable parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if options.optimizer == "adadelta":
        return torch.optim.Adadelta(trainable, lr=options.lr, rho=0.95)
    return torch.optim.Adam(trainable, lr=options.lr, fused=device.type in ("cpu", "cuda"))


def rate_at(step: int, options: TrainOptions) -> float:
    """Return the learning rate of step 0, 1, 2, ...: constant, or half a cosine down to zero (Loshchilov & Hutter 2017)."""
    if options.schedule == "constant":
        return options.lr
    return options.lr * 0.5 * (1.0 + math.cos(math.pi * step / options.iterations))
