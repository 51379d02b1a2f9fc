"""Fine-tuning: the whole network learns the classes, from where a head on its embeddings stands."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from winnow.classify.heads import Head, Logistic
from winnow.embeddings import unit
from winnow.errors import Damaged, DataError, Interrupted, TrainingError
from winnow.learn.checkpoint import read_checkpoint, write_checkpoint
from winnow.learn.device import choose_device, hold_memory, repeatable
from winnow.learn.encode import encode
from winnow.learn.feed import BatchOrder, Feed, PixelSource, as_source, to_images
from winnow.models.contract import Model
from winnow.options import TuneOptions
from winnow.progress import progress

HEAD_RATE = 10.0  # times the rate of the layers
WARM_UP = 10  # steps in which the rate rises
FRESH = 3  # the stream of random numbers for changes of the pictures; 0 to 2 are those of `winnow.learn.feed`


class FineTuning(Head):
    """A head that takes the network along: logistic regression on the network's embeddings, then all layers learn together.

    `features` are numbers of rows of `pictures` (a pool, or bytes (n, h, w, c)). The head comes first, for a random one would
    wreck the features before it has learnt anything (Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features, section 3.4).
    Adam, cross entropy with every class of the same weight in all, pictures mirrored, turned and moved at random (Singh et al.,
    section on classification). Batch normalisation keeps the averages it came with: a hundred pictures are too few for new ones.
    Half of each batch are true labels, where there are pseudo-labels too.

    Each training is kept in `folder` under a hash of all that it depends on, so that one that was killed goes on with the next.
    After `fit`: `tuned`, the network, and `linear`, the head on its embeddings. Raises `DataError` when pictures and embeddings differ in
    number, `TrainingError` when the loss is not finite, `Interrupted` after Ctrl-C.
    """

    def __init__(
        self,
        network: Model,
        pictures: PixelSource | np.ndarray,
        options: TuneOptions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.network, self.pictures, self.options = network, as_source(pictures), options or TuneOptions()
        self.seed, self.device = seed, choose_device(device)
        self._own = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = Path(self._own.name) if self._own else Path(folder or "")

    def begin(self, features: np.ndarray, centre: np.ndarray, truth: np.ndarray) -> Self:
        """Takes the embeddings of all n pictures, made by the network, less `centre` (d,) and of length 1, and the true class numbers (n,)."""
        if len(features) != len(self.pictures):
            raise DataError(
                f"There are {len(features):,} embeddings of {len(self.pictures):,} pictures.",
                "Encode the same pictures.",
            )
        self.features, self.centre, self.truth = features, centre, truth
        return self

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int) -> Self:
        """Learns from the pictures of the rows `features` whose `target` (n,) is a class number."""
        known = np.full(len(self.features), -1)
        known[features] = target
        path = self.folder / f"{self._key(known)}.safetensors"
        tensors = _kept(path)
        if tensors is None:
            try:
                tensors = self._trained(known, classes)
            except KeyboardInterrupt:
                raise Interrupted(
                    "Fine-tuning was stopped.", "The same command goes on; finished trainings are kept."
                ) from None
            write_checkpoint(path, tensors, {})
        self.linear = Logistic()
        self.linear.weights, self.linear.bias = tensors.pop("head.weights").numpy(), tensors.pop("head.bias").numpy()
        self.tuned = copy.deepcopy(self.network)
        self.tuned.load_state_dict(tensors)
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of the pictures of the rows `features`."""
        vectors = encode(self.tuned, self.pictures, features, device=str(self.device), quiet=True).vectors
        return self.linear.logits(unit(vectors - self.centre))

    def state(self) -> dict[str, np.ndarray]:
        """The head on the embeddings of `tuned`; the network is kept as a model is."""
        return self.linear.state()

    def _key(self, target: np.ndarray) -> str:
        """The same only for the same embeddings of the starting network, classes and options."""
        digest = sha256(json.dumps([self.options.model_dump(mode="json"), self.seed, self.device.type]).encode())
        for array in (self.features, self.centre, target, self.truth):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:24]

    def _trained(self, target: np.ndarray, classes: int) -> dict[str, Tensor]:
        """The tensors of the network and its head, on the processor, after training on the rows of `target` (n,) that have a class."""
        start = Logistic().fit(self.features, target, classes)
        network = copy.deepcopy(self.network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.requires_grad_(True).eval()
        head = nn.ParameterDict(
            {name: torch.from_numpy(array).float().to(self.device) for name, array in start.state().items()}
        )
        if len(np.unique(target[target >= 0])) > 1:
            self._learn(network, head, target, classes)
        network.requires_grad_(False)
        tensors = {name: value.cpu() for name, value in network.state_dict().items()}
        return tensors | {f"head.{name}": value.detach().cpu().double() for name, value in head.items()}

    def _learn(self, network: Model, head: nn.ParameterDict, target: np.ndarray, classes: int) -> None:
        options, rows = self.options, np.flatnonzero(target >= 0)
        feed = Feed(self.pictures, rows, self.device, channels_last=True)
        truth = torch.from_numpy(target[rows]).to(self.device)
        counts = torch.bincount(truth, minlength=classes).float()
        weights = len(rows) / (counts.clamp_min(1) * (counts > 0).sum())
        draw = _Batches(self.truth[rows] < 0, options.fine_tune_batch_size, self.seed)
        steps = options.fine_tune_iterations
        centre = torch.from_numpy(self.centre).to(self.device)
        layers: list[dict[str, Any]] = [
            {"params": list(network.parameters())},
            {"params": list(head.parameters()), "share": HEAD_RATE},
        ]
        optimizer = torch.optim.Adam(layers, options.fine_tune_lr, fused=self.device.type in ("cpu", "cuda"))
        hold_memory()
        with progress("fine-tune", steps * draw.size, "pictures") as advance, repeatable(tf32=True):
            for step in range(steps):
                chosen = draw(step)
                images = self._varied(to_images(feed.pixels(chosen), channels_last=True), step)
                vectors = functional.normalize(network(images, decode=False).vectors - centre, dim=1)
                logits = vectors @ head["weights"].T + head["bias"]
                loss = functional.cross_entropy(logits, truth[torch.from_numpy(chosen).to(self.device)], weight=weights)
                for group in optimizer.param_groups:
                    group["lr"] = options.fine_tune_lr * group.get("share", 1.0) * _share(step, steps)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                _check(loss, step)
                advance(len(chosen), f"loss {loss.item():.3g}")

    def _varied(self, images: Tensor, step: int) -> Tensor:
        """Pictures (n, c, h, w) mirrored, turned and moved at random, the border repeated."""
        options, count, rng = self.options, len(images), np.random.default_rng([self.seed, FRESH, step])
        angle = np.deg2rad(options.fine_tune_rotate) * rng.uniform(-1, 1, count)
        mirrored = np.where(options.fine_tune_hflip & (rng.random(count) < 0.5), -1.0, 1.0)
        moved = (
            2 * options.fine_tune_translate * rng.uniform(-1, 1, (count, 2))
        )  # a picture is 2 wide and high in such coordinates
        ratio = images.shape[2] / images.shape[3]
        across = np.stack([mirrored * np.cos(angle), -np.sin(angle) * ratio, moved[:, 0]], axis=1)
        down = np.stack([mirrored * np.sin(angle) / ratio, np.cos(angle), moved[:, 1]], axis=1)
        places = torch.from_numpy(np.stack([across, down], axis=1)).float().to(images.device)
        grid = functional.affine_grid(places, list(images.shape), align_corners=False)
        found = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return found.contiguous(memory_format=torch.channels_last)


def _kept(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a finished training; None where there is none, or a damaged one, which is then made anew."""
    try:
        return read_checkpoint(path)[0] if path.exists() else None
    except Damaged:
        return None


class _Batches:
    """Which of n rows make the batch of a step, as a pure function of the step: true labels, and where there are pseudo-labels,
    `pseudo` (n,) bool, as many of either. `size` is that of a batch."""

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


def _share(step: int, steps: int) -> float:
    """Of the rate at a step: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _check(loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"The loss of fine-tuning is not finite at step {step}.", "Lower the rate: --fine-tune-lr 0.00003"
        )
