"""Tell the class of new pictures and frames, how sure that is, and what does not belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.embeddings import Embeddings
from winnow.errors import RunError
from winnow.files import read_json
from winnow.models.contract import Model
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_network
from winnow.run.fine_tuning import vectors_for
from winnow.run.folder import RunFolder
from winnow.run.predictions import write_predictions
from winnow.run.results import PREDICTIONS, Results, publish
from winnow.steps.score import judge


def load_classifier(run: RunFolder) -> Classifier:
    """The run's classifier; `RunError` when there is none, or when it was learnt from other embeddings than those of now."""
    run.require("classify")
    classifier = Classifier.load(run.folder("classify"))
    vectors = read_json(run.folder("encode") / "embeddings.json")["sha256"]["vectors.npy"]
    if read_json(run.folder("classify") / "classifier.json")["vectors_sha256"] != vectors:
        raise RunError(
            f"The classifier of {run.path} was learnt from other embeddings.",
            f"Run it again: winnow classify --run {run.path}",
        )
    return classifier


def network_of(run: RunFolder, classifier: Classifier) -> Model | None:
    """The network whose embeddings the classifier reads, where it is not that of the run's mode: a tuned one, or, because the fast
    mode has one of its own, the run's."""
    return load_network(run) if classifier.network is None and run.options.score.mode == "fast" else classifier.network


def predict(run: RunFolder, sources: Sequence[str | Path], *, to: Path | None = None) -> dict[str, Any]:
    """Writes predictions.csv: a row for each picture, frame, patch or crop, with its class, its probability, one a class, and
    whether it belongs by the one-class score.

    To the folder `to`, by default the run's `predictions`; predictions.json, the counts, is written last. What does not
    belong has a class too, which then means little. Returns the counts and the folder.
    """
    classifier = load_classifier(run)
    parts: list[np.ndarray] = []
    network = network_of(run, classifier)

    def look(pool: Pool, rows: np.ndarray, embeddings: Embeddings) -> None:
        parts.append(
            classifier.predict_proba(vectors_for(network, pool, rows, embeddings.vectors, run.options.train.device))
        )

    names = classifier.classes.tolist()
    with Results(to or run.path / "predictions", PREDICTIONS) as results:
        scored = judge(run, sources, results.aside / "pool", earlier=results.folder / "pool", look=look)
        found = write_predictions(
            results.aside,
            scored.items,
            refused=scored.refused,
            classes=names,
            probabilities=np.concatenate([np.empty((0, len(names))), *parts]),
            p_values=scored.p_values,
            belongs=scored.belongs,
        )
        publish(results)
    return {**found, "folder": results.folder}
