"""The parts of the report on the threshold: the scores on either side of it, the own pictures that set it, what it would find."""

from __future__ import annotations

import numpy as np

from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings, spread
from winnow.pool.pool import Pool
from winnow.pool.splits import FEWEST_GROUPS
from winnow.report import figures
from winnow.report.html import Figure, Gallery, Section, Table, chart
from winnow.report.style import percent
from winnow.results import Calibrated, Finds, Trained
from winnow.results.words import count, false_alarms
from winnow.run.folder import RunFolder
from winnow.run.review import REVIEW, highest_items
from winnow.steps.report.judged import scores_by_group
from winnow.steps.report.pictures import OwnPictures

NORMAL = "normal, new"
HOLDING = 20  # pictures drawn of those that hold the threshold up
NEAREST = 5  # pictures drawn at least, those nearest below the threshold among them
ENDS = 10  # pictures drawn of those that belong most, and of those set aside


def threshold_section(
    run: RunFolder, detector: Detector, whole: Detector, pictures: OwnPictures, pool: Pool, *, decides: bool
) -> Section:
    """Return the histogram of each group with the threshold, and the own pictures that hold it up.

    `whole` is the `detector` calibrated on pictures; it `decides` unless `winnow recalibrate` has set another threshold.
    """
    level = whole.threshold.value
    others = scores_by_group(run)
    groups = {
        "own, held out": whole.calibration,
        **{NORMAL if name == "belongs" else name: values for name, values in others.items()},
    }
    told = [
        f"{name}: {count(len(values), 'picture')}, {percent((values > level).mean())} above"
        for name, values in groups.items()
    ]
    above = len(whole.extremes)
    names, items = highest_items(detector, whole, HOLDING, NEAREST)
    score = dict(zip(whole.ids.astype(str).tolist(), whole.calibration.tolist(), strict=True))
    lines = [[f"score {score[name]:.4g}", "above" if score[name] > level else "below"] for name in names]
    return Section(
        f"The threshold{'' if decides else ' of winnow calibrate'}, and the own pictures that set it",
        text=[
            learnt(run, pool, whole),
            "A score says how anomalous a picture is; its size means nothing by itself. The threshold is the conformal quantile "
            f"of scores of what belongs, each given by a detector that had not seen the {_unseen(whole)}.",
        ],
        figures=[
            chart(
                "Scores of each group with the threshold",
                figures.histograms,
                groups,
                level,
                normal=1 + ("belongs" in others),
                alt=f"Histograms of the scores of each group; the threshold is {level:.4g}. " + "; ".join(told),
            )
        ],
        galleries=[
            Gallery(
                f"{count(above, 'own picture')} above the threshold"
                if above
                else "The own pictures nearest to the threshold",
                pictures.cards(pool.rows_of(items), lines),
                caption=f"The highest set the threshold. Mark what does not belong in {REVIEW} of the run, which lists by file those "
                "above; then winnow calibrate does without it.",
            )
        ],
    )


def learnt(run: RunFolder, pool: Pool, whole: Detector) -> str:
    """Return from what the threshold comes, and what it promises."""
    threshold, trained, aside = whole.threshold, run.result(Trained), run.result(Calibrated).left_out
    noun = run.options.ingest.unit(len(pool), len(pool.pictures))
    of = f" of {count(len(pool.pictures), 'picture')}" if noun != "picture" else ""
    how = (
        f"Trained on {trained.split['train']:,} of"
        if trained.training
        else "Without training, by a frozen network, learnt from"
    )
    return (
        f"{how} {count(len(pool), noun)}{of} in {count(len(set(pool.column('group'))), 'group')}. "
        f"Pictures that score above {threshold.value:.4g} are called anomalous; "
        f"{false_alarms(threshold.achieved, threshold.n, estimated=threshold.estimated)}"
        + (f"; {count(aside, 'picture')} left out, being marked in {REVIEW}." if aside else ".")
    )


def _unseen(detector: Detector) -> str:
    if len(set(detector.groups)) >= FEWEST_GROUPS:
        return "picture's group"
    return f"picture and its neighbours: there are fewer than {FEWEST_GROUPS} groups"  # folds are blocks of neighbours


def finds_section(run: RunFolder) -> Section:
    """Return what the threshold would find of pictures made up; an empty section where that was not tried."""
    finds, title = (
        run.result(Calibrated).finds_by(run.options.score.mode),
        "What the threshold would find of made-up pictures",
    )
    if not finds:
        return Section(title)
    told = ", ".join(f"{percent(share, 0)} of {kind}" for kind, share in finds.found.items())
    return Section(
        title,
        figures=[
            Figure(
                "Found of made-up pictures against false alarms",
                figures.found_curves(finds.rates, finds.curves),
                alt=f"Found of made-up pictures against the false-alarm rate; at the threshold {told}",
            )
        ],
        tables=[_found_table(finds)],
    )


def _found_table(finds: Finds) -> Table:
    return Table(
        ("made up from the run's own pictures", "found at the threshold"),
        [(kind, percent(share, 0)) for kind, share in finds.found.items()],
        caption=f"{finds.pictures:,} of each kind: drawn pictures of anything; own pictures with a synthetic defect; near-misses, which "
        "are own pictures with their quarters exchanged, a piece of another, or the middle upside down. What is not found "
        "here would pass unseen.",
    )


def ends_section(pool: Pool, embeddings: Embeddings, detector: Detector, pictures: OwnPictures) -> Section:
    """Return the own pictures that belong most, and those set aside as contamination."""
    scores, ids = detector.calibration, detector.ids
    most = np.argsort(scores, kind="stable")[:ENDS]
    lines = [[f"score {scores[place]:.3g}"] for place in most]
    galleries = [Gallery("Held-out pictures with the lowest scores", pictures.cards(pool.rows_of(ids[most]), lines))]
    aside = np.setdiff1d(embeddings.ids[~embeddings.seen].astype(str), ids.astype(str))
    if detector.contamination and len(aside):
        some = aside[spread(len(aside), ENDS)]
        title = f"Set aside as contamination: {len(aside):,} held-out pictures, some of them"
        galleries.append(Gallery(title, pictures.cards(pool.rows_of(some.tolist()), [()] * len(some))))
    return Section("What belongs most", galleries=galleries, folded=True)
