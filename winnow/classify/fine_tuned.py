"""The head that fine-tunes the network itself instead of learning on its embeddings."""

from __future__ import annotations

import copy
import json
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from winnow import torchrun
from winnow.classify.heads import Head, Logistic
from winnow.embeddings import unit_length
from winnow.errors import Damaged, DataError, Interrupted
from winnow.learn.checkpoint import read_checkpoint, write_checkpoint
from winnow.learn.device import choose_device, threads
from winnow.learn.encode import encode
from winnow.learn.feed import PixelSource, as_source
from winnow.learn.finetune import LinearHead, fine_tune
from winnow.learn.processes import Kept, joined
from winnow.models.contract import Model
from winnow.options import TuneOptions


class FineTuning(Head):
    """Head that trains the network as well: logistic regression on its embeddings, then both together (`winnow.learn.finetune`).

    Its `features` are row numbers of `pictures` (a pool, or bytes (n, h, w, c)).

    Each training is kept in `folder` under a hash of everything it depends on, so that a killed run continues with the next
    training. After `fit`: `tuned`, the network, and `linear`, the head on its embeddings. Raises `DataError` when pictures
    and embeddings differ in number, `TrainingError` when the loss is not finite, `Interrupted` after Ctrl-C.
    """

    def __init__(
        self,
        network: Model,
        pictures: PixelSource | np.ndarray,
        options: TuneOptions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int = 0,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.network, self.pictures, self.options = network, as_source(pictures), options or TuneOptions()
        self.processes = joined()
        self.seed, self.device, self.threads = seed, self.processes.device(choose_device(device)), threads
        self._own = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = Path(self._own.name) if self._own else Path(folder or "")

    def begin(self, features: np.ndarray, centre: np.ndarray, truth: np.ndarray) -> Self:
        """Take the network's embeddings of all n pictures, less `centre` (d,) and of length 1, and the class numbers (n,) of
        what is no pseudo-label."""
        if len(features) != len(self.pictures):
            raise DataError(
                f"There are {len(features):,} embeddings for {len(self.pictures):,} pictures.",
                "Encode the same pictures.",
            )
        self.features, self.centre, self.truth = features, centre, truth
        return self

    def fit(self, features: np.ndarray, target: np.ndarray, classes: int, weights: np.ndarray | None = None) -> Self:
        """Learn from the pictures of the rows `features` whose `target` (n,) is a class number, each as much as its weight (n,)."""
        known, counts = np.full(len(self.features), -1), None
        known[features] = target
        if weights is not None:
            counts = np.ones(len(self.features))
            counts[features] = weights
        path = self.folder / f"{self._key(known, counts)}.safetensors"
        tensors = _kept(path)
        if tensors is None:
            linear = Logistic().fit(self.features, known, classes, counts)
            start = LinearHead(self.centre, linear.weights, linear.bias)
            try:
                tensors = self._trained(known, self.truth < 0, start, counts)
            except KeyboardInterrupt:
                raise Interrupted(
                    "Fine-tuning was stopped.", "Run the same command to continue; finished trainings are kept."
                ) from None
            write_checkpoint(path, tensors, {})
        self.linear = Logistic()
        self.linear.weights, self.linear.bias = tensors.pop("head.weights").numpy(), tensors.pop("head.bias").numpy()
        self.tuned = copy.deepcopy(self.network)
        self.tuned.load_state_dict(tensors)
        return self

    def _trained(
        self, target: np.ndarray, pseudo: np.ndarray, start: LinearHead, counts: np.ndarray | None
    ) -> dict[str, Tensor]:
        """Train, together with the other processes, which are told what."""
        arrays = {
            "target": target,
            "pseudo": pseudo,
            "centre": start.centre,
            "weights": start.weights,
            "bias": start.bias,
            **({} if counts is None else {"counts": counts}),
        }
        task = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        self.processes.from_first(lambda: (task, {}))
        return self._shared(task)

    def train_along(self) -> None:
        """Do the trainings of the first process with it, until it says that there are no more (`done`)."""
        while (told := self.processes.from_first(_nothing)) is not None:
            self._shared(told[0])

    def done(self) -> None:
        """Tell the other processes that there are no more trainings."""
        self.processes.from_first(_nothing)

    def _shared(self, task: dict[str, Tensor]) -> dict[str, Tensor]:
        given = {name: value.numpy() for name, value in task.items()}
        start = LinearHead(given["centre"], given["weights"], given["bias"])
        about: dict[str, Any] = {"pseudo": given["pseudo"], "seed": self.seed, "device": self.device}
        about["counts"] = given.get("counts")
        about["title"] = f"fine-tune, training {len(list(self.folder.glob('*.safetensors'))) + 1}"
        with threads(self.threads):
            return fine_tune(
                self.network, self.pictures, given["target"], start, self.options, processes=self.processes, **about
            )

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (n, classes) of the pictures of the rows `features`."""
        vectors = encode(self.tuned, self.pictures, features, device=str(self.device), quiet=True).vectors
        return self.linear.logits(unit_length(vectors - self.centre))

    def state(self) -> dict[str, np.ndarray]:
        """Return the head on the embeddings of `tuned`; the network is saved as a model."""
        return self.linear.state()

    def _key(self, target: np.ndarray, counts: np.ndarray | None) -> str:
        """Return a hash of the options, the seed, the starting network's embeddings, the class numbers and what sets the last bits."""
        bits = [self.threads, torchrun.is_launched()] if self.threads or torchrun.is_launched() else []
        about = [self.options.model_dump(mode="json"), self.seed, self.device.type, *bits]
        digest = sha256(json.dumps(about).encode())
        for array in (self.features, self.centre, target, self.truth, *([] if counts is None else [counts])):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:24]


def _nothing() -> Kept | None:
    return None


def _kept(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a finished training; None where there is none, or a damaged one, which is then trained anew."""
    try:
        return read_checkpoint(path)[0] if path.exists() else None
    except Damaged:
        return None
