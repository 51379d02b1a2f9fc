"""Training of the fast network: it learns to find synthetic defects on normal pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from winnow.learn.feed import PixelSource, as_source, evenly, require_pictures, to_images
from winnow.learn.train import Trainer
from winnow.models.auxiliary import MOST_PICTURES
from winnow.models.fast import CELL, Fast
from winnow.options import TrainOptions
from winnow.results import Training
from winnow.synthetic.defects import damage

FIXED: dict[str, Any] = {
    "batch_size": 64,
    "optimizer": "adam",
    "lr": 2e-3,
    "schedule": "cosine",
    "patience": 0,
    "translate": 0.0,
    "hflip": False,
}
"""Options that follow from the task, whatever the autoencoder's are."""
UNHARMED = 0.2  # share of a batch without a defect
VALIDATED = 512
SEED, SEED_VALIDATE = 4, 5  # streams of random numbers; 0 to 2 are those of `winnow.learn.feed`


def train_fast(
    source: PixelSource | np.ndarray,
    rows: Mapping[str, np.ndarray],
    options: TrainOptions,
    folder: Path,
    *,
    resume: bool = False,
) -> Training:
    """Train a `Fast` model on the rows 'train' of a pool (or of a uint8 array), the best chosen by the rows 'validate'.

    Runs `options.fast` steps; of the other options only `seed`, `precision` and `device` apply. Writes into `folder` what
    `learn.train.train` writes, is resumed in the same way, and raises the same errors.
    """
    source = as_source(source)
    options = options.model_copy(
        update={**FIXED, "iterations": options.fast, "check_every": max(1, options.fast // 10)}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Fast(source.size, source.channels)
    return FastTrainer(model, source, rows, options, folder).run(resume)


class FastTrainer(Trainer):
    """Trainer of `Fast.network` by the share of damaged pixels in each cell; fits the rest of the model to the pictures."""

    model: Fast
    logged = ("train_loss",)

    def inspect(self, source: PixelSource, rows: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """Fit the texture, and draw the defects to validate by."""
        require_pictures(self.model, source, rows)
        self.model.texture.fit(source.pixels(evenly(np.asarray(rows["train"]), MOST_PICTURES)))
        self.clean = source.pixels(evenly(rows["validate"], VALIDATED))
        self.damaged, self.masks, _ = damage(self.clean, np.random.default_rng([self.options.seed, SEED_VALIDATE]))
        return 0, self.model.head.in_channels

    def draw(self) -> Sequence[Any]:
        """Return the pictures (n, h, w, c) uint8 of this step, damaged at masks (n, h, w): a pure function of (seed, step)."""
        step, seed = self.state.step, self.options.seed
        clean = self.feed.pixels(self.order(step)).cpu().numpy()
        damaged, masks, _ = damage(clean, np.random.default_rng([seed, SEED, step]))
        unharmed = round(UNHARMED * len(clean))
        damaged[:unharmed], masks[:unharmed] = clean[:unharmed], False
        return damaged, masks

    def losses(self, pixels: np.ndarray, masks: np.ndarray) -> Sequence[Tensor]:  # type: ignore[override]
        """Return the binary cross entropy of each cell (n, h / 4, w / 4) of pictures (n, h, w, c) uint8 damaged at masks (n, h, w).

        A cell half damaged counts as wholly damaged: most of a thin thread's cells are mostly undamaged.
        """
        with self.autocast():
            logits = self.model.logits(self.images(pixels))
        share = functional.avg_pool2d(torch.from_numpy(masks)[:, None].to(self.device, torch.float32), CELL)[:, 0]
        return [functional.binary_cross_entropy_with_logits(logits, (2 * share).clamp(max=1), reduction="none")]

    def loss(self, cells: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the mean of the cells' losses, twice: to minimise, and for the log."""
        loss = cells.mean()
        return loss, loss.detach()[None]

    def images(self, pixels: np.ndarray) -> Tensor:
        """Return float pictures (n, c, h, w) on the device."""
        return to_images(torch.from_numpy(pixels).to(self.device), self.arithmetic.channels_last)

    def batches(self) -> Iterator[slice]:
        """Yield the slices of the validation pictures, batch by batch."""
        yield from (slice(start, start + self.batch) for start in range(0, len(self.clean), self.batch))

    @torch.inference_mode()
    def validate(self) -> dict[str, Any]:
        """Return the loss on damaged pictures of the rows 'validate', the same ones each time."""
        self.model.eval()
        losses = [
            (self.losses(self.damaged[part], self.masks[part])[0].mean(), len(self.damaged[part]))
            for part in self.batches()
        ]
        self.model.train()
        return {"validation_loss": sum(float(loss) * count for loss, count in losses) / len(self.clean)}

    @torch.inference_mode()
    def complete(self) -> None:
        """Standardise the two detectors of the model on undamaged pictures of the rows 'validate'."""
        self.model.weigh([self.model.sides(self.images(self.clean[part])) for part in self.batches()])
