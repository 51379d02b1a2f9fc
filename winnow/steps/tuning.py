"""What fine-tuning starts from, and the codes that a classifier reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.data.pool import Pool
from winnow.learn.encodings import Encodings
from winnow.run import RunFolder

if TYPE_CHECKING:
    from winnow.classify.finetune import FineTuning

TRAININGS = "trainings"


def start(run: RunFolder, pool: Pool, encodings: Encodings) -> tuple[FineTuning | None, np.ndarray]:
    """The fine-tuning that the run's options ask for, None where they ask for none, and the codes (n, d) that it starts from.

    Those are the run's own where its network is the one to be tuned; else that network encodes the pool. Finished trainings
    are kept in the run's folder `classifier/trainings` until `tidy`. Raises `ModelError` as `Pretrained` does.
    """
    options = run.options
    name = options.tune.fine_tune
    if not name:
        return None, np.asarray(encodings.codes)
    from winnow.classify.finetune import FineTuning
    from winnow.learn.encode import encode
    from winnow.learn.feed import Rows
    from winnow.models.pretrained import TORCHVISION, Pretrained
    from winnow.steps.parts import load_network

    rows, device = pool.rows_of(encodings.ids), options.train.device
    whole = TORCHVISION.get(name, "")
    own = options.model.model == "pretrained" and options.model.backbone == name and (options.model.layer or whole) == whole
    if own and options.tune.fine_weights is None:
        network, codes = load_network(run), np.asarray(encodings.codes)
    else:
        network = Pretrained(pool.size, pool.channels, name)
        network.load_weights(options.tune.fine_weights)
        codes = encode(network, pool, rows, device=device).codes
    folder = run.folder("classify") / TRAININGS
    folder.mkdir(parents=True, exist_ok=True)
    return FineTuning(network, Rows(pool, rows), options.tune, seed=options.train.seed, device=device, folder=folder), codes


def tidy(run: RunFolder) -> None:
    """Removes the trainings that a finished classifier needs no more."""
    shutil.rmtree(run.folder("classify") / TRAININGS, ignore_errors=True)


def codes_for(
    classifier: Classifier, pool: Pool, rows: np.ndarray, codes: np.ndarray, device: str, quiet: bool = True
) -> np.ndarray:
    """The codes (n, d) that the classifier reads of some rows of a pool: the run's own `codes` of them, or its tuned network's."""
    if classifier.network is None:
        return codes
    from winnow.learn.encode import encode

    return encode(classifier.network, pool, rows, device=device, quiet=quiet).codes
