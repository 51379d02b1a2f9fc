"""The start of a fine-tuning, and the embeddings that a classifier reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.embeddings import Embeddings
from winnow.errors import ModelError
from winnow.metrics.classification import rise, verdict
from winnow.pool.pool import Pool
from winnow.results import Comparison
from winnow.run.folder import RunFolder

if TYPE_CHECKING:
    from winnow.classify.fine_tuned import FineTuning
    from winnow.models.contract import Model

TRAININGS = "trainings"


def start(run: RunFolder, pool: Pool, embeddings: Embeddings, scratch: Path) -> tuple[FineTuning | None, np.ndarray]:
    """Return the fine-tuning that the run's options ask for, or None, and the embeddings (n, d) that it starts from.

    Those are the run's own where its network is the one to be tuned; else that network encodes the pool. Finished trainings
    are kept in the folder `trainings` of `scratch`. Raises `ModelError` as `Pretrained` does.
    """
    options = run.options
    name = options.tune.fine_tune
    if not name:
        return None, np.asarray(embeddings.vectors)
    from winnow.classify.fine_tuned import FineTuning
    from winnow.learn.encode import encode
    from winnow.learn.feed import Rows
    from winnow.models.pretrained import TORCHVISION, Pretrained
    from winnow.run.artifacts import load_network

    rows, device = pool.rows_of(embeddings.ids), options.train.device
    whole = TORCHVISION.get(name, "")
    own = (
        options.model.model == "pretrained"
        and options.model.backbone == name
        and (options.model.layer or whole) == whole
    )
    if own and options.tune.fine_tune_weights is None:
        network, vectors = load_network(run), np.asarray(embeddings.vectors)
    else:
        try:
            network = Pretrained(pool.size, pool.channels, name)
            network.load_weights(options.tune.fine_tune_weights)
        except ModelError as error:  # whose remedy names the options of a run's own network
            remedy = error.remedy.replace("--weights", "--fine-tune-weights").replace("--backbone", "--fine-tune")
            raise ModelError(error.message, remedy) from error
        vectors = encode(network, pool, rows, device=device).vectors
    folder = scratch / TRAININGS
    folder.mkdir(parents=True, exist_ok=True)
    return FineTuning(
        network, Rows(pool, rows), options.tune, seed=options.train.seed, device=device, folder=folder
    ), vectors


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
    network: Model | None, pool: Pool, rows: np.ndarray, vectors: np.ndarray, device: str, quiet: bool = True
) -> np.ndarray:
    """Return the embeddings (n, d) of some rows of a pool from a classifier's `network`, or, without one, the `vectors`."""
    if network is None:
        return vectors
    from winnow.learn.encode import encode

    return encode(network, pool, rows, decode=False, device=device, quiet=quiet).vectors
