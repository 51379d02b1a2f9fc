"""Step 2: a network that knows what belongs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import torch

from winnow.data.sources import expand
from winnow.detect.registry import fewest_of
from winnow.embeddings import spread
from winnow.errors import DataError, ModelError, OptionError
from winnow.files import quoted
from winnow.learn.device import choose_device, threads
from winnow.learn.fast import train_fast
from winnow.learn.processes import Processes, joined
from winnow.learn.train import train as fit
from winnow.learn.training_state import threads_of
from winnow.models.auxiliary import MOST_PICTURES, Linear, Texture
from winnow.models.contract import Model
from winnow.models.registry import build, save_model
from winnow.options import Options
from winnow.pool.pool import Pool
from winnow.pool.splits import Split
from winnow.results import Trained, WeightSearch, as_json, from_json
from winnow.results.words import count, verb
from winnow.run.addresses import check_address, check_object_detector, read_as_own
from winnow.run.artifacts import check_parts
from winnow.run.folder import RunFolder
from winnow.run.split import split_of
from winnow.run.working import Working
from winnow.steps.weight import check as check_search
from winnow.steps.weight import folder_of_trial, search_weight
from winnow.synthetic.scenes import generic_pictures

GENERIC = 500
FEWEST_HELD = 2  # pictures that a threshold from pictures that the network has not seen needs


def train(run: RunFolder, *, resume: bool = False) -> Trained:
    """Train the run's model on the 'train' groups, or load the pretrained network, which needs no training; then, where
    it is asked for, the fast network.

    With the weight 'auto' of a VAE's latent loss it is `search_weight` that trains, and the network that it chooses is kept.
    With `resume`, a finished training is left as it is and an interrupted one goes on to the identical result. Of processes
    that torchrun has started the first works in the run folder, and the others only train along.
    """
    processes = joined()
    processes.wait()  # the first has put in order what a killed step may have left in the folder
    run.require("ingest")
    if resume and run.done("train"):
        return run.result(Trained)
    check_parts(run, "model")
    pool = Pool.open(run.folder("ingest"))
    model = network_for(run, pool.size, pool.channels)
    split = split_of(run, pool)
    _check_enough(split.split, fewest_of(run.options.detect.scorer) if model.frozen else None)
    _check_alone(run, processes)
    search = search_weight(run) if run.options.train.latent_weight == "auto" else None
    if not processes.is_first:
        processes.wait()  # the first has the step's lock
        if not model.frozen:
            _train_along(run, pool, model, split, resume)
    else:
        with run.working("train", resume=resume) as step:
            processes.wait()
            if model.frozen:
                save_model(model, step.folder)
                step.finish(Trained(parameters=sum(p.numel() for p in model.parameters()), warnings=[]))
            else:
                step.finish(_trained(run, pool, model, split, step, resume, search))
    # The others may see the pool of a run alone, and not what the first has written.
    return from_json(Trained, processes.from_first(lambda: ({}, as_json(run.result(Trained))))[1])


def _check_alone(run: RunFolder, processes: Processes) -> None:
    """Raise `OptionError` for a search of several processes: it trains many networks, and judges them in between."""
    if processes.size > 1 and run.options.train.latent_weight == "auto":
        raise OptionError(
            "--latent-weight auto trains several networks in one process.",
            f"Search without torchrun (winnow lambda --run {quoted(run.path)} --use), then train the chosen one by it.",
        )


def _check_enough(split: np.ndarray, fewest: int | None) -> None:
    """Raise `DataError` for fewer pictures than a threshold can be set with, which would end the run only after the training.

    A frozen network leaves all of them to the scorer, which takes the `fewest`; None for a network that is trained.
    """
    held, needed = (split == "calibrate", FEWEST_HELD) if fewest is None else (split != "test", fewest)
    if held.sum() < needed:
        raise DataError(
            f"{verb(int((split != 'test').sum()), 'picture is', 'pictures are')} too few: {held.sum()} can set the threshold, and that "
            f"takes {needed}.",
            "Add pictures; a few hundred are a good start.",
        )


def network_for(run: RunFolder, size: Sequence[int], channels: int) -> Model:
    """Return the network that the run's options ask for, not trained yet.

    Raises `OptionError` for a device that is not there and options that do not go together, `InputError` for a background
    that is not there, `ModelError` for weights that are not there, and for a network that no memory holds.
    """
    options = run.options
    choose_device(options.train.device)
    if options.train.validate_share + options.train.calibrate_share >= 1:
        raise OptionError(
            f"--validate-share {options.train.validate_share} and --calibrate-share {options.train.calibrate_share} "
            "leave no picture to train on.",
            "Let them add up to less than 1.",
        )
    if options.train.latent_weight == "auto":
        check_search(run)
    if options.train.background != "generic":
        check_address(run, "its background", options.train.background)
        check_object_detector(run)
        expand([options.train.background])
    try:
        model = build(options.model, size, channels, seed=options.train.seed)
    except (MemoryError, RuntimeError, TypeError) as error:  # a TypeError for sizes beyond 64 bits
        if not isinstance(error, MemoryError) and "alloc" not in str(error) and "overflow" not in str(error).lower():
            raise
        raise ModelError(
            f"A network with --latent {options.model.latent} and --width {options.model.width} does not fit into the memory.",
            "Give smaller numbers.",
        ) from error
    if model.frozen and options.train.fast:
        raise OptionError("--fast needs a network that is trained, not a frozen one.", "Leave it out, or train one.")
    _check_mode(options, model.frozen)
    return model


def _check_mode(options: Options, frozen: bool) -> None:
    """Raise `OptionError` when what shall be trained cannot decide by the mode asked for."""
    mode = options.score.mode
    if mode == "fast" and not options.train.fast:
        raise OptionError(
            "--mode fast decides by the small network that --fast trains, and --fast is 0.",
            "Give --fast 1000, or --mode full.",
        )
    if mode == "encoder" and frozen:
        raise OptionError(
            "--mode encoder needs a network that is trained, not a frozen one.", "Leave it out: --mode full."
        )


def _trained(
    run: RunFolder, pool: Pool, model: Model, split: Split, step: Working, resume: bool, search: WeightSearch | None
) -> Trained:
    """Train the network, unless a search has, and the auxiliary models, into the step's folder."""
    options, fast = run.options, step.folder / "fast"
    rows, chosen, machine = _rows_of(split), options.train, torch.get_num_threads()
    if search is not None:  # its training is at its end, so that going on with it only takes it over
        chosen = chosen.model_copy(update={"latent_weight": search.chosen})
        rmtree(step.folder / "checkpoints", ignore_errors=True)
        copytree(folder_of_trial(run, search.chosen), step.folder, dirs_exist_ok=True)
    go_on = resume or search is not None
    with threads(threads_of(step.folder, options.train, go_on)):
        _auxiliary(
            run, pool, rows["train"], step
        )  # first: a background without pictures is told before hours of training
        result = fit(model, pool, rows, chosen, step.folder, resume=go_on)
        auxiliary = train_fast(pool, rows, options.train, fast, resume=resume) if options.train.fast else None
    notes = [*result.warnings, split.note]
    if result.threads != (options.train.threads or machine) and result.device == "cpu":
        notes.append(
            f"It went on with the {count(result.threads, 'thread')} that it was begun with, where this machine would take {machine}: "
            "with another number the weights would not be the same to the bit."
        )
    return Trained(
        parameters=result.parameters,
        warnings=[note for note in notes if note],
        unit=options.ingest.unit(len(pool), len(pool.pictures)),
        split={name: len(chosen) for name, chosen in rows.items()},
        training=result,
        fast=auxiliary,
        latent_weight=search.chosen if search else None,
        chosen_because=search.reason if search else "",
    )


def _train_along(run: RunFolder, pool: Pool, model: Model, split: Split, resume: bool) -> None:
    """Train with the first process, which writes."""
    options, folder = run.options.train, run.folder("train")
    fit(model, pool, _rows_of(split), options, folder, resume=resume)
    if options.fast:
        train_fast(pool, _rows_of(split), options, folder / "fast", resume=resume)


def _rows_of(split: Split) -> dict[str, np.ndarray]:
    """Return the rows of the pool that train, that validate, and that are kept for the threshold."""
    return {name: np.flatnonzero(split.split == name) for name in ("train", "validate", "calibrate")}


def _auxiliary(run: RunFolder, pool: Pool, rows: np.ndarray, step: Working) -> None:
    """Fit the linear autoencoders: of normal pictures, of any pictures at all, and, for patches, of small windows."""
    own = pool.pixels(rows[spread(len(rows), MOST_PICTURES)])
    for name, pixels in (("linear", own), ("background", _background(run, pool, step.scratch / "background"))):
        save_model(Linear(pool.size, pool.channels).fit(pixels), step.folder / name)
    if run.options.ingest.cuts:
        save_model(Texture(pool.size, pool.channels).fit(own), step.folder / "texture")


def _background(run: RunFolder, pool: Pool, folder: Path) -> np.ndarray:
    """Return pictures of anything: drawn ones, or the user's, which are ingested into a folder."""
    source = run.options.train.background
    if source == "generic":
        return generic_pictures(GENERIC, pool.size, pool.channels)
    read_as_own(run, [source], folder)
    others = Pool.open(folder)
    return others.pixels(spread(len(others), MOST_PICTURES))
