"""Fine-tuning: a network and a linear head on its embeddings learn the classes together."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from winnow.errors import TrainingError
from winnow.learn.device import hold_memory, repeatable
from winnow.learn.feed import BatchOrder, Feed, PixelSource, to_images
from winnow.learn.pieces import check_shared, learn_in_pieces, pieces_of
from winnow.learn.processes import Processes
from winnow.models.contract import Model
from winnow.options import TuneOptions
from winnow.progress import progress

HEAD_RATE = 10.0  # times the learning rate of the layers
WARM_UP = 10  # steps in which the learning rate rises
ALONE = Processes()
FRESH = 3  # the stream of random numbers for augmentation; 0 to 2 are those of `winnow.learn.feed`


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier on unit-length embeddings less `centre` (d,): `weights` (classes, d) and `bias` (classes,)."""

    centre: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


def fine_tune(
    network: Model,
    pictures: PixelSource,
    target: np.ndarray,
    start: LinearHead,
    options: TuneOptions,
    *,
    pseudo: np.ndarray,
    seed: int,
    device: torch.device,
    counts: np.ndarray | None = None,
    processes: Processes = ALONE,
    title: str = "fine-tune",
) -> dict[str, Tensor]:
    """Train a copy of `network` and `start` on the pictures whose `target` (n,) is a class number, -1 where there is none.

    The head comes first, for a random one would wreck the features before it has learnt anything (Kumar et al. 2022,
    Fine-Tuning can Distort Pretrained Features, section 3.4). Adam, cross entropy with every class of the same weight in all,
    pictures flipped, rotated and translated at random (Singh et al., section on classification). Batch normalisation keeps
    its pretrained averages: a hundred pictures are too few for new ones. `pseudo` (n,) bool marks pseudo-labels; where
    there are any, half of each batch are true labels. A picture counts as much as `counts` (n,) says, all alike without.
    `title` is that of the progress.

    Returns the tensors of the network and `head.weights`, `head.bias` (float64), on the processor. Raises `TrainingError`
    when the loss is not finite, and `OptionError` when the `processes`, all of which call this, cannot share the batches.
    """
    network = copy.deepcopy(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(True).eval()
    arrays = {"weights": start.weights, "bias": start.bias}
    head = nn.ParameterDict({name: torch.from_numpy(array).float().to(device) for name, array in arrays.items()})
    if len(np.unique(target[target >= 0])) > 1:
        _learn(
            network,
            head,
            pictures,
            target,
            torch.from_numpy(start.centre).to(device),
            options,
            pseudo,
            counts,
            seed,
            processes,
            title,
        )
    network.requires_grad_(False)
    tensors = {name: value.cpu() for name, value in network.state_dict().items()}
    return tensors | {f"head.{name}": value.detach().cpu().double() for name, value in head.items()}


def _learn(
    network: Model,
    head: nn.ParameterDict,
    pictures: PixelSource,
    target: np.ndarray,
    centre: Tensor,
    options: TuneOptions,
    pseudo: np.ndarray,
    counts: np.ndarray | None,
    seed: int,
    processes: Processes,
    title: str,
) -> None:
    device, rows, classes = centre.device, np.flatnonzero(target >= 0), len(head["bias"])
    feed = Feed(pictures, rows, device, channels_last=True)
    truth = torch.from_numpy(target[rows]).to(device)
    share = None if counts is None else torch.from_numpy(counts[rows]).float().to(device)
    number = torch.bincount(truth, share, minlength=classes).float()
    weights = (len(rows) if share is None else share.sum()) / (number.clamp_min(1e-9) * (number > 0).sum())
    draw = _Batches(pseudo[rows], options.fine_tune_batch_size, seed)
    steps = options.fine_tune_iterations
    layers: list[dict[str, Any]] = [
        {"params": list(network.parameters())},
        {"params": list(head.parameters()), "share": HEAD_RATE},
    ]
    optimizer = torch.optim.Adam(layers, options.fine_tune_lr, fused=device.type in ("cpu", "cuda"))
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    pieces = pieces_of(draw.size)
    check_shared(pieces, draw.size, processes.size, option="--fine-tune-batch-size")

    def logits(images: Tensor) -> list[Tensor]:
        vectors = functional.normalize(network(images, decode=False).vectors - centre, dim=1)
        return [vectors @ head["weights"].T + head["bias"]]

    hold_memory()
    with progress(title, steps * draw.size, "pictures") as advance, repeatable(tf32=True):
        for step in range(steps):
            chosen = draw(step)
            images = augmented(to_images(feed.pixels(chosen), channels_last=True), options, [seed, FRESH, step])
            drawn = torch.from_numpy(chosen).to(device)
            classes_of, part = truth[drawn], None if share is None else share[drawn] * weights[truth[drawn]]

            def loss(found: Tensor, kinds: Tensor = classes_of, part: Tensor | None = part) -> tuple[Tensor, Tensor]:
                value = _cross_entropy(found, kinds, weights, part)
                return value, value.detach()

            for group in optimizer.param_groups:
                group["lr"] = options.fine_tune_lr * group.get("share", 1.0) * _schedule(step, steps)
            if pieces == 1:
                value, _ = loss(*logits(images))
                optimizer.zero_grad()
                value.backward()
            else:
                value = learn_in_pieces((images,), logits, loss, trained, pieces, processes)
            optimizer.step()
            _check(value, step)
            advance(len(chosen), f"loss {value.item():.3g}")


def _cross_entropy(found: Tensor, kinds: Tensor, weights: Tensor, part: Tensor | None) -> Tensor:
    """Return the mean cross entropy of logits (n, classes), by the weights of the classes or, where given, of each picture (n,)."""
    if part is None:
        return functional.cross_entropy(found, kinds, weight=weights)
    return (functional.cross_entropy(found, kinds, reduction="none") * part).sum() / part.sum()


def augmented(images: Tensor, options: TuneOptions, seed: list[int]) -> Tensor:
    """Flip, rotate and translate pictures (n, c, h, w) at random, the border repeated."""
    count, rng = len(images), np.random.default_rng(seed)
    angle = np.deg2rad(options.fine_tune_rotate) * rng.uniform(-1, 1, count)
    flipped = np.where(options.fine_tune_hflip & (rng.random(count) < 0.5), -1.0, 1.0)
    # In the coordinates of `affine_grid` a picture is 2 wide and high.
    moved = 2 * options.fine_tune_translate * rng.uniform(-1, 1, (count, 2))
    ratio = images.shape[2] / images.shape[3]
    across = np.stack([flipped * np.cos(angle), -np.sin(angle) * ratio, moved[:, 0]], axis=1)
    down = np.stack([flipped * np.sin(angle) / ratio, np.cos(angle), moved[:, 1]], axis=1)
    matrices = torch.from_numpy(np.stack([across, down], axis=1)).float().to(images.device)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    found = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.contiguous(memory_format=torch.channels_last)


class _Batches:
    """Rows that form the batch of a step, as a pure function of the step; `size` is that of a batch.

    Where `pseudo` (n,) bool marks pseudo-labels, half of a batch are true labels.
    """

    def __init__(self, pseudo: np.ndarray, batch: int, seed: int) -> None:
        parts = [rows for rows in (np.flatnonzero(~pseudo), np.flatnonzero(pseudo)) if len(rows)]
        sizes = [min(max(1, batch // len(parts)), len(rows)) for rows in parts]
        self.size = sum(sizes)
        self.parts = [
            (rows, BatchOrder(len(rows), size, seed + number))
            for number, (rows, size) in enumerate(zip(parts, sizes, strict=True))
        ]

    def __call__(self, step: int) -> np.ndarray:
        return np.concatenate([rows[order(step)] for rows, order in self.parts])


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _check(loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The loss of fine-tuning is not finite at step {step}.", "Lower the rate: --fine-tune-lr 0.00003"
        )
