"""Training: one explicit loop. Killed and resumed, it ends with the same weights, on a CPU bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from winnow.errors import Interrupted, ModelError, TrainingError
from winnow.learn.checkpoint import read_checkpoint, restore, restore_model, tensors_of, write_checkpoint
from winnow.learn.device import choose_arithmetic, choose_device, hold_memory, repeatable, threads
from winnow.learn.feed import BatchOrder, Feed, PixelSource, Vary, as_source, evenly, noise_of, require_pictures
from winnow.learn.losses import batch_losses, total_loss
from winnow.learn.optimizer import optimizer_of, rate_at
from winnow.learn.pieces import check_shared, learn_in_pieces, looks_at_the_batch, pieces_of
from winnow.learn.processes import Kept, joined
from winnow.learn.reconstructions import SHOWN, can_rebuild, rebuild_grid, write_png
from winnow.learn.training_state import State, append_log, asked_to_stop, check_same, clear, identity, trim_log
from winnow.models.contract import Model
from winnow.models.registry import save_model
from winnow.options import TrainOptions
from winnow.progress import progress
from winnow.results import Training

VALIDATED = 1024
LOOK_EVERY = 20
SAVE_SECONDS = 20.0
GRIDS = 10
ACTIVE_VARIANCE = 0.01


def train(
    model: Model,
    source: PixelSource | np.ndarray,
    rows: Mapping[str, np.ndarray],
    options: TrainOptions,
    folder: Path,
    *,
    resume: bool = False,
    on_grid: Callable[[Path], None] | None = None,
) -> Training:
    """Train `model` in place on the rows 'train' of a pool (or of a uint8 array), the best chosen by the rows 'validate'.

    Writes into `folder`: model.safetensors and model.json (the best), train.jsonl (a line per validation), checkpoints/,
    grids/ (at most ten pictures; `on_grid` is called with each). With `resume` it continues from the last checkpoint, if any.
    Raises `DataError` for no pictures or ones of another size, `ModelError` for a model with nothing to train,
    `TrainingError` when the loss is not finite, `RunError` when a resume has other options or pictures, `Interrupted`
    after Ctrl-C. Processes that torchrun has started share each batch; the first of them alone writes.
    """
    return Trainer(model, as_source(source), rows, options, folder).run(resume, on_grid)


class Trainer:
    """The model, its optimiser, its pictures, and the state of the training.

    `inspect`, `draw`, `losses`, `loss`, `validate` and `complete` are those of an autoencoder; everything else serves any model.
    """

    logged: ClassVar[tuple[str, ...]] = ("train_loss", "train_reconstruction")
    """Names in the log of the first of the numbers that `loss` returns for it."""

    def __init__(
        self, model: Model, source: PixelSource, rows: Mapping[str, np.ndarray], options: TrainOptions, folder: Path
    ) -> None:
        self.model, self.options, self.folder = model, options, folder
        self.vary = Vary(options.translate, options.hflip)
        self.processes = joined()
        self.device = self.processes.device(choose_device(options.device))
        self.arithmetic = choose_arithmetic(options.precision, self.device)
        self.noise_width, self.dimensions = self.inspect(source, rows)
        self.identity = identity(model, source, rows, options, self.arithmetic.precision, self.vary)
        order = torch.channels_last if self.arithmetic.channels_last else torch.contiguous_format
        model.to(device=self.device, memory_format=order)  # type: ignore[call-overload]
        self.optimizer = optimizer_of(model, options, self.device)
        self.feed = Feed(source, rows["train"], self.device, self.arithmetic.channels_last)
        self.validation = Feed(source, evenly(rows["validate"], VALIDATED), self.device, self.arithmetic.channels_last)
        self.values = source.size[0] * source.size[1] * source.channels
        self.batch = min(options.batch_size, len(self.feed))
        self.order = BatchOrder(len(self.feed), self.batch, options.seed)
        self.state = State()
        self.recent: list[Tensor] = []
        self.best_weights: dict[str, Tensor] | None = None
        self.counted, self.clock = 0, time.perf_counter()
        self.saved_at, self.save_cost = time.perf_counter(), 0.0

    def inspect(self, source: PixelSource, rows: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """Return the width of the noise that samples the model's embeddings (0: none) and their dimensions.

        Raises the errors of `train` for a model or pictures that cannot be used.
        """
        model = self.model
        require_pictures(model, source, rows)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ModelError(
                f"{type(model).__name__} has nothing to train: its weights are frozen.", "Encode with it right away."
            )
        device = next(model.parameters()).device
        model.eval()
        with torch.inference_mode():
            output = model(torch.zeros(1, model.channels, *model.size, device=device))
        if output.reconstruction is None:
            raise ModelError(f"{type(model).__name__} has no reconstruction loss to train by.", "Train an autoencoder.")
        return (0 if output.latent is None else output.vectors.shape[1]), output.vectors.shape[1]

    def run(self, resume: bool, on_grid: Callable[[Path], None] | None = None) -> Training:
        """Run the whole training, or with `resume` the rest of it."""
        state = self.resume() if resume else self.start()
        with threads(state.threads):
            self.learn(on_grid)
            return self.finish()

    def learn(self, on_grid: Callable[[Path], None] | None) -> None:
        """Do the steps that are left, with validations and checkpoints between them."""
        state, options = self.state, self.options
        hold_memory()
        started, seconds_before = time.perf_counter(), state.seconds
        left = (options.iterations - state.step) * self.batch
        with progress("train", left, "pictures") as advance, asked_to_stop() as asked, repeatable(tf32=True):
            self.model.train()
            while state.step < options.iterations and not state.stopped_early:
                self.step()
                advance(self.batch)
                at_check = state.step % options.check_every == 0 or state.step == options.iterations
                stop, save = self.processes.any(asked()), self.save_is_due()
                if at_check or stop or save or state.step % LOOK_EVERY == 0:
                    advance(0, f"loss {self.look():.4g}")
                state.seconds = seconds_before + time.perf_counter() - started
                if at_check:
                    self.check(on_grid)
                if self.processes.is_first and (
                    stop or save or state.stopped_early or state.step == options.iterations
                ):
                    self.save()
                if stop:
                    raise Interrupted(
                        f"Training was stopped at step {state.step} of {options.iterations}; it is saved.",
                        "Continue with the same command and --resume.",
                    )
        state.seconds = seconds_before + time.perf_counter() - started

    def start(self) -> State:
        """Begin anew, in a folder cleared of an earlier training; all processes with the weights of the first."""
        self.state.threads = self.options.threads or torch.get_num_threads()
        self.state.pieces = 1 if looks_at_the_batch(self.model) else pieces_of(self.batch)
        self.check_shared()
        if self.processes.is_first:
            clear(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        if self.processes.size > 1:
            self.take(self.processes.from_first(self.kept))
        return self.state

    def check_shared(self) -> None:
        """Raise `OptionError` unless the processes can share the batches."""
        check_shared(self.state.pieces, self.batch, self.processes.size, looks_at_the_batch(self.model))

    def resume(self) -> State:
        """Continue from the last checkpoint, or begin anew when there is none."""
        path = self.folder / "checkpoints" / "last.safetensors"
        kept = self.processes.from_first(lambda: read_checkpoint(path) if path.exists() else None)
        if kept is None:
            return self.start()
        self.take(kept)
        if self.processes.is_first:
            trim_log(self.folder / "train.jsonl", self.state.step)
        return self.state

    def kept(self) -> Kept:
        """Return what a checkpoint holds."""
        recent = torch.stack(self.recent) if self.recent else torch.empty(0, 3)
        tensors = {**tensors_of(self.model, self.optimizer), "recent": recent}
        return tensors, {"state": asdict(self.state), "identity": self.identity}

    def take(self, kept: Kept) -> None:
        """Go on from what a checkpoint holds; `RunError` when it is one of other options or pictures, `OptionError` when the
        processes cannot share its batches."""
        tensors, about = kept
        check_same(self.folder, about["identity"], self.identity)
        self.state = State(**about["state"])
        self.check_shared()
        self.recent = list(tensors["recent"].to(self.device))
        restore(tensors, self.model, self.optimizer)

    def autocast(self) -> torch.autocast:
        """Return the context that runs the layers in the chosen number format."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.arithmetic.dtype == torch.bfloat16)

    def step(self) -> None:
        """Run one batch and one step of the optimiser."""
        state, options = self.state, self.options
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(state.step, options)
        drawn = self.draw()
        if state.pieces == 1:
            loss, parts = self.loss(*self.losses(*drawn))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        else:
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            parts = learn_in_pieces(drawn, self.losses, self.loss, trained, state.pieces, self.processes)
        self.optimizer.step()
        self.recent.append(parts)
        state.step += 1
        self.counted += 1

    def draw(self) -> Sequence[Any]:
        """Return this step's batch, tensors or arrays of a row a picture: a pure function of (seed, step)."""
        step, seed = self.state.step, self.options.seed
        images = self.feed(self.order(step), self.vary, seed, step)
        if not self.noise_width:
            return (images,)
        return images, noise_of(seed, step, (self.batch, self.noise_width)).to(self.device)

    def losses(self, images: Tensor, noise: Tensor | None = None) -> Sequence[Tensor]:
        """Return the losses of pictures (n, c, h, w): reconstruction (n,) and, of a VAE, latent (n,)."""
        with self.autocast():
            output = self.model(images, noise=noise)
        return [values for values in (output.reconstruction, output.latent) if values is not None]

    def loss(self, reconstruction: Tensor, latent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch from the losses of its pictures, and numbers for the log, the loss first."""
        return batch_losses(reconstruction, latent, self.values, self.dimensions, self.options)

    def look(self) -> float:
        """Return the loss of the last step; `TrainingError` for the first since the last validation that is not finite."""
        losses = torch.stack(self.recent).cpu()
        wrong = torch.nonzero(~losses.isfinite().all(dim=1))
        if len(wrong):
            self.fail(self.state.step - len(losses) + int(wrong[0]) + 1)
        return float(losses[-1, 0])

    def fail(self, step: int) -> NoReturn:
        """Write the best weights so far and raise a `TrainingError` for a loss that is not finite."""
        self.keep_best()
        kept = f" The best weights, of step {self.state.best_step}, are in {self.folder / 'checkpoints'}."
        raise TrainingError(
            f"The loss of step {step} is not finite.",
            f"Train with a lower --lr than {self.options.lr:g}, or --precision float32."
            f"{kept if self.state.best_step else ''}",
        )

    def check(self, on_grid: Callable[[Path], None] | None) -> None:
        """Validate, log, remember the best weights, stop early, and draw a grid now and then."""
        state, options = self.state, self.options
        elapsed = time.perf_counter() - self.clock
        state.training_seconds += elapsed
        # Of the first process alone: what follows from it must be the same in all of them, to the last bit.
        _, record = self.processes.from_first(lambda: ({}, self.measured(elapsed)))
        if not math.isfinite(record["validation_loss"]):
            self.fail(state.step)
        if record["validation_loss"] < state.best_loss:
            state.best_loss, state.best_step, state.idle, state.best = record["validation_loss"], state.step, 0, record
            if self.processes.is_first:
                self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        else:
            state.idle += 1
            state.stopped_early = 0 < options.patience <= state.idle
        if self.processes.is_first:
            append_log(self.folder / "train.jsonl", record)
            self.draw_grid(on_grid)
        self.recent, self.counted, self.clock = [], 0, time.perf_counter()

    def measured(self, elapsed: float) -> dict[str, Any]:
        """Return the log's line of a validation, `elapsed` seconds of training after the last one."""
        means = torch.stack(self.recent).double().mean(dim=0).tolist()
        return {
            "step": self.state.step,
            **dict(zip(self.logged, means, strict=False)),
            **self.validate(),
            "lr": rate_at(self.state.step - 1, self.options),
            "pictures_per_second": round(self.counted * self.batch / elapsed, 1),
            "seconds": round(self.state.seconds, 3),
        }

    def draw_grid(self, on_grid: Callable[[Path], None] | None) -> None:
        """Write some pictures and their reconstructions, ten times in a training at most."""
        state, options = self.state, self.options
        total = math.ceil(options.iterations / options.check_every)
        number = math.ceil(state.step / options.check_every)
        if can_rebuild(self.model) and (total - number) % math.ceil(total / GRIDS) == 0:
            path = self.folder / "grids" / f"step-{state.step:06d}.png"
            write_png(path, rebuild_grid(self.model, self.validation(np.arange(min(SHOWN, len(self.validation))))))
            if on_grid is not None:
                on_grid(path)

    @torch.inference_mode()
    def validate(self) -> dict[str, Any]:
        """Return the losses of the rows 'validate', a VAE's at the posterior's mean, and the number of active latent units."""
        self.model.eval()
        outputs = []
        for start in range(0, len(self.validation), self.batch):
            with self.autocast():
                images = self.validation(np.arange(start, min(start + self.batch, len(self.validation))))
                outputs.append(self.model(images))
        self.model.train()
        reconstruction = torch.cat([out.reconstruction for out in outputs])
        latent = torch.cat([out.latent for out in outputs]) if self.noise_width else None
        active = None
        if self.noise_width and len(reconstruction) > 1:
            vectors = torch.cat([out.vectors for out in outputs])
            active = int((vectors.var(dim=0) > ACTIVE_VARIANCE).sum())
        loss = total_loss(reconstruction, latent, self.values, self.dimensions, self.options)
        return {
            "validation_loss": float(loss),
            "reconstruction": float(reconstruction.mean()),
            "latent": None if latent is None else float(latent.mean()),
            "active_units": active,
        }

    def save_is_due(self) -> bool:
        """Return whether the last checkpoint is old enough; large ones are written less often, so that they cost 10 %."""
        return self.processes.is_first and time.perf_counter() - self.saved_at >= max(SAVE_SECONDS, 10 * self.save_cost)

    def keep_best(self) -> None:
        """Write the best weights unless they are on disk already."""
        if self.best_weights is not None:
            write_checkpoint(
                self.best_path(),
                {f"model.{name}": value for name, value in self.best_weights.items()},
                {"step": self.state.best_step},
            )
            self.best_weights = None

    def best_path(self) -> Path:
        return self.folder / "checkpoints" / f"best-{self.state.best_step:06d}.safetensors"

    def save(self) -> None:
        """Write the best weights, then the state of the training, then remove older best weights.

        In this order a kill between any two leaves a checkpoint whose best weights are there.
        """
        begun = time.perf_counter()
        self.keep_best()
        write_checkpoint(self.folder / "checkpoints" / "last.safetensors", *self.kept())
        for old in (self.folder / "checkpoints").glob("best-*.safetensors"):
            if old != self.best_path():
                old.unlink()
        self.saved_at = time.perf_counter()
        self.save_cost = self.saved_at - begun

    def finish(self) -> Training:
        """Give the model its best weights, write it, and return how the training went."""
        state, best = self.state, self.state.best
        restore_model(self.processes.from_first(lambda: read_checkpoint(self.best_path()))[0], self.model)
        # Back to the memory order of a loaded model, so that both compute the very same scores.
        self.model.to(memory_format=torch.contiguous_format)
        self.model.eval()
        self.complete()
        if self.processes.is_first:
            save_model(
                self.model,
                self.folder,
                train=self.options.identity(),
                threads=state.threads,
                pieces=state.pieces,
                best_step=state.best_step,
                validation_loss=state.best_loss,
                precision=str(self.arithmetic),
            )
        return Training(
            steps=state.step,
            best_step=state.best_step,
            stopped_early=state.stopped_early,
            seconds=round(state.seconds, 2),
            pictures_per_second=round(state.step * self.batch / max(state.training_seconds, 1e-9), 1),
            train_loss=best["train_loss"],
            validation_loss=best["validation_loss"],
            active_units=best.get("active_units"),
            precision=str(self.arithmetic),
            device=str(self.device),
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            warnings=self.warnings(),
            threads=state.threads,
            processes=self.processes.size,
        )

    def complete(self) -> None:
        """Finish the trained model before it is written; for an autoencoder there is nothing to do."""

    def warnings(self) -> list[str]:
        """Return what the user should know of the trained model, a sentence each."""
        if self.state.best.get("active_units") == 0:
            return [
                f"None of the {self.dimensions} latent units is active (posterior collapse), so embeddings and latent "
                "loss carry no information: train with --loss sigma or a lower --latent-weight."
            ]
        return []
