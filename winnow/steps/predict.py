"""Tell the class of new pictures and frames, how sure that is, and what does not belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from winnow.embeddings import Embeddings
from winnow.pool.pool import Pool
from winnow.results import Predicted
from winnow.run.artifacts import load_classifier, network_of
from winnow.run.fine_tuning import vectors_for
from winnow.run.folder import RunFolder
from winnow.run.judge import judge
from winnow.run.predictions import write_predictions
from winnow.run.publish import PREDICTIONS, Results, publish


def predict(run: RunFolder, sources: Sequence[str | Path], *, to: str | Path | None = None) -> Predicted:
    """Write predictions.csv: a row for each picture, frame, patch or crop, with its class, its probability, one a class, and
    whether it belongs by the one-class score.

    To the folder `to`, by default the run's `predictions`; predictions.json, the result, is written last. What does not
    belong has a class too, which then means little.
    """
    classifier = load_classifier(run)
    parts: list[np.ndarray] = []
    network = network_of(run, classifier)

    def look(pool: Pool, rows: np.ndarray, embeddings: Embeddings) -> None:
        parts.append(
            classifier.predict_proba(vectors_for(network, pool, rows, embeddings.vectors, run.options.train.device))
        )

    names = classifier.classes.tolist()
    with Results(to or run.path / "predictions", PREDICTIONS, run.path) as results:
        judged = judge(run, sources, results.aside / "pool", earlier=results.folder / "pool", look=look)
        found = write_predictions(
            results,
            judged.items,
            refused=judged.refused,
            notes=judged.notes,
            classes=names,
            probabilities=np.concatenate([np.empty((0, len(names))), *parts]),
            p_values=judged.p_values,
            belongs=judged.belongs,
        )
        publish(results)
    return found
