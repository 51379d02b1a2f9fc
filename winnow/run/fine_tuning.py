"""The start of a fine-tuning, and the embeddings that a classifier reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow import torchrun
from winnow.classify.classifier import Classifier
from winnow.embeddings import Embeddings
from winnow.errors import ModelError, OptionError
from winnow.metrics.classification import rise, verdict
from winnow.pool.pool import Pool
from winnow.results import Classified, Comparison, as_json, from_json
from winnow.run.folder import RunFolder

if TYPE_CHECKING:
    from winnow.classify.fine_tuned import FineTuning
    from winnow.learn.feed import PixelSource
    from winnow.models.contract import Model
    from winnow.models.pretrained import Pretrained
    from winnow.options import Options

TRAININGS = "trainings"


def start(run: RunFolder, pool: Pool, embeddings: Embeddings, scratch: Path) -> tuple[FineTuning | None, np.ndarray]:
    """Return the fine-tuning that the run's options ask for, or None, and the embeddings (n, d) that it starts from.

    Those are the run's own where its network is the one to be tuned; else that network encodes the pool. Finished trainings
    are kept in the folder `trainings` of `scratch`. Raises `ModelError` as `Pretrained` does.
    """
    options = run.options
    if not options.tune.fine_tune:
        return None, np.asarray(embeddings.vectors)
    from winnow.learn.encode import encode

    folder = scratch / TRAININGS
    folder.mkdir(parents=True, exist_ok=True)
    tuning = _tuning(run, pool, embeddings, folder)
    if _is_own(options):
        return tuning, np.asarray(embeddings.vectors)
    return tuning, encode(tuning.network, pool, pool.rows_of(embeddings.ids), device=options.train.device).vectors


def check_shared(run: RunFolder) -> None:
    """Raise `OptionError` when torchrun has started several processes of a `classify` that fine-tunes nothing."""
    if torchrun.processes() > 1 and not run.options.tune.fine_tune:
        raise OptionError(
            f"{torchrun.processes()} processes were started, and a head on embeddings is learnt by one.",
            "Leave torchrun out, or give --fine-tune.",
        )


def wait_for_others() -> None:
    """Go on when all processes that torchrun has started have come here."""
    if torchrun.processes() > 1:
        from winnow.learn.processes import joined

        joined().wait()


def result_of_first(run: RunFolder) -> Classified:
    """Return what `classify` has recorded, of several processes what the first has: the others may not see what it wrote."""
    if torchrun.processes() == 1:
        return run.result(Classified)
    from winnow.learn.processes import joined

    return from_json(Classified, joined().from_first(lambda: ({}, as_json(run.result(Classified))))[1])


def train_along(run: RunFolder, pool: Pool, embeddings: Embeddings) -> None:
    """Train with the first of several processes, which learns and writes the classifier of the `embeddings`."""
    _tuning(run, pool, embeddings, None).train_along()


def _tuning(run: RunFolder, pool: Pool, embeddings: Embeddings, folder: Path | None) -> FineTuning:
    """Return the fine-tuning of the run's network, or another, on the pictures of the embeddings."""
    from winnow.classify.fine_tuned import FineTuning
    from winnow.learn.feed import Rows
    from winnow.run.artifacts import load_network

    options = run.options
    network: Model = load_network(run) if _is_own(options) else network_to_tune(options, pool.size, pool.channels)
    given: dict[str, Any] = options.train.model_dump(include={"seed", "device", "threads"})
    return FineTuning(network, Rows(pool, pool.rows_of(embeddings.ids)), options.tune, folder=folder, **given)


def _is_own(options: Options) -> bool:
    """Return whether the network to fine-tune is the run's own, with its weights."""
    from winnow.models.pretrained import TORCHVISION

    model, whole = options.model, TORCHVISION.get(options.tune.fine_tune, "")
    is_same = model.backbone == options.tune.fine_tune and (model.layer or whole) == whole
    return model.model == "pretrained" and is_same and options.tune.fine_tune_weights is None


def network_to_tune(options: Options, size: Sequence[int], channels: int, *, weights: bool = True) -> Pretrained:
    """Return the network that fine-tuning starts from, with its `weights` if they are wanted; raises `ModelError` as `Pretrained` does."""
    from winnow.models.pretrained import Pretrained

    try:
        network = Pretrained(size, channels, options.tune.fine_tune)
        if weights:
            network.load_weights(options.tune.fine_tune_weights)
    except ModelError as error:  # whose remedy names the options of a run's own network
        remedy = error.remedy.replace("--weights", "--fine-tune-weights").replace("--backbone", "--fine-tune")
        raise ModelError(error.message, remedy) from error
    return network


def against_head(classifier: Classifier) -> Comparison | None:
    """Return the macro F1 of a head on the embeddings in the folds of a fine-tuned classifier, the classifier's `rise` above it, and
    the standard `error` of the rise; None for a classifier on embeddings."""
    if classifier.tuning is None:
        return None
    head = classifier.quick
    before, after = head.measured(head.fold_targets(head.target)).tally, classifier.held_out.tally
    gain, error = rise(before, after, classifier.seed)
    says = (
        f"By the same folds a head on the embeddings of the network as it was has macro F1 {before.macro_f1:.3f}, the fine-tuned one "
        f"{after.macro_f1:.3f}: {verdict('fine-tuning', gain, error)}."
    )
    return Comparison(before.macro_f1, gain, error, says)


def vectors_for(
    network: Model | None, pool: PixelSource, rows: np.ndarray, vectors: np.ndarray, device: str, quiet: bool = True
) -> np.ndarray:
    """Return the embeddings (n, d) of some rows of a pool from a classifier's `network`, or, without one, the `vectors`."""
    if network is None:
        return vectors
    from winnow.learn.encode import encode

    return encode(network, pool, rows, decode=False, device=device, quiet=quiet).vectors
