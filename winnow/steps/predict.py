"""Tell the class of new pictures and frames, how sure that is, and what does not belong."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from winnow.detect.discoveries import check_discoveries
from winnow.results import Predicted
from winnow.run.artifacts import load_classifier
from winnow.run.discoveries import batch_of
from winnow.run.folder import RunFolder
from winnow.run.judge import judge
from winnow.run.judging import JudgeWork, judged_by
from winnow.run.predictions import By, check_by, write_predictions
from winnow.run.publish import PREDICTIONS, Results, list_refused, publish
from winnow.run.where import place_of_results


def predict(
    run: RunFolder,
    sources: Sequence[str | Path],
    *,
    to: str | Path | None = None,
    runner: str = "local",
    workers: int = 0,
    made: JudgeWork | None = None,
    by: By = "picture",
    false_discoveries: float | None = None,
) -> Predicted:
    """Write predictions.csv: a row for each picture, frame, patch or crop, with its class, its probability, one a class, and
    whether it belongs by the one-class score.

    To the folder `to`, by default the run's `predictions`; predictions.json, the result, is written last. What does not
    belong has a class too, which means little. With `by` "track" the class of a crop is that of its track. Pictures are judged by so
    many `workers` of a runner, or were judged in shards (`made`). With a rate of `false_discoveries` two columns more say which rows are
    flagged so that on average at most such a share of them belongs.
    """
    check_discoveries(false_discoveries)
    check_by(by, run.options.ingest, sources)
    names = load_classifier(run).classes.tolist()
    with Results(to or run.path / "predictions", PREDICTIONS, run.path) as results:
        made = made or judged_by(run, sources, place_of_results(to or results.folder), "predict", runner, workers)
        pool = results.aside / "pool"
        judged = judge(run, sources, pool, classes=True, made=made)
        list_refused(results.aside, {"": pool})
        found = write_predictions(
            results,
            judged.items,
            refused=judged.refused,
            notes=judged.notes,
            classes=names,
            probabilities=judged.probabilities,
            p_values=judged.p_values,
            belongs=judged.belongs,
            scores=judged.scores,
            regions=judged.regions,
            batch=batch_of(judged, false_discoveries),
            by=by,
        )
        shutil.rmtree(pool)  # nobody asked for the pixels
        publish(results)
    if made is not None:
        made.shards.remove()
    return found
