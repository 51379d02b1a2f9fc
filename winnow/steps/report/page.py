"""The report: everything a run folder knows, drawn on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.detect.threshold import Threshold, manner_of
from winnow.embeddings import Embeddings, spread
from winnow.errors import OptionError
from winnow.files import make_folder, told, write_text
from winnow.pool.pool import Pool
from winnow.report import grids
from winnow.report.html import Figure, KeyFigure, Note, Page, Section, render
from winnow.results import Calibrated, Evaluated, Trained
from winnow.results.words import false_alarms, plural
from winnow.run.deliver import delivered
from winnow.run.folder import RunFolder
from winnow.run.manifest import check_place, check_replaced
from winnow.run.publish import reading
from winnow.run.review import REVIEW, described, extreme_items
from winnow.run.split import split_of
from winnow.run.working_copy import push, ready
from winnow.show import count, would_find
from winnow.steps.report.classifier import classifier_sections, label_sections, stale_classifier
from winnow.steps.report.inspection import inspection_sections
from winnow.steps.report.judged import (
    decision_section,
    evaluation_sections,
    last_evaluation,
    last_scores,
    video_sections,
)
from winnow.steps.report.origin import options_section, refused_section, sources_section, training_section
from winnow.steps.report.selection import selection_sections, stale_selection
from winnow.steps.report.weight import last_search
from winnow.version import __version__

MARK, HEAD = b'<meta name="generator" content="Winnow">', 1 << 14


HOLDING = 40  # pictures drawn of those that hold the threshold up


def report(run: RunFolder, to: str | Path | None = None) -> str | Path:
    """Write the file `to`, by default the run's report.html, from what the steps left, and return where it is.

    These are trainings, thresholds, and the last `score` and `evaluate`, if any.
    """
    from winnow.run.artifacts import check_mode

    check_mode(run, run.options.score.mode)
    with delivered(to or run.path / "report.html", "--to") as path:
        if path.is_dir():
            raise OptionError(f"--to {path} is a folder.", "Give the name of a file: --to report.html")
        if to is not None:
            check_place(path, "--to", run.path, ("report.html",))
            check_replaced(path, "--to", _is_report(path))
        make_folder(path.parent, "--to")
        ready(path)
        with reading(run.path / "scores", run.path / "evaluation"):
            page = _page(run)
        write_text(path, render(page))
    push(path)
    return to or path


def _page(run: RunFolder) -> Page:
    """Return the page of all that the steps left."""
    from winnow.run.artifacts import load_detector

    pool, embeddings = Pool.open(run.folder("ingest")), Embeddings.load(run.folder("encode"))
    detector, split = load_detector(run, run.options.score.mode), split_of(run, pool).split
    whole = by_picture(detector) if run.options.ingest.cuts else detector
    rows = np.flatnonzero(split != "test")
    held = np.flatnonzero(~embeddings.seen) if not embeddings.seen.all() else np.arange(len(embeddings))
    for step, name in (("train", "train.jsonl"), ("ingest", "quarantine.csv")):
        run.verified(step, run.folder(step) / name)  # before figures are drawn
    evaluation, other = last_evaluation(run)
    finds = run.result(Calibrated).finds_by(run.options.score.mode)
    weak = f"The threshold is {would_find(finds)}" if finds and finds.weak else ""
    left_out = [other, last_scores(run)[1], stale_selection(run), stale_classifier(run), last_search(run)[1]]
    return Page(
        title=f"{run.path.name}: what belongs",
        verdict=_verdict(run, pool, whole),
        key_figures=_key_figures(run, pool, whole, evaluation),
        notes=[Note(text, "warning") for text in (*run.result(Trained).warnings, weak) if text]
        + [Note(text, "note") for text in (whole.threshold.note, *left_out) if text],
        sections=[
            decision_section(run, whole),
            *evaluation_sections(run, evaluation),
            *classifier_sections(run, pool),
            *label_sections(run),
            *selection_sections(run),
            *video_sections(run, whole),
            *inspection_sections(run),
            _extremes(pool, embeddings, detector),
            _rebuilt(run, pool, rows[held]),
            training_section(run),
            sources_section(run, pool, split),
            refused_section(run),
            options_section(run),
        ],
        made=f"Winnow {__version__}, " + ", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    )


def _is_report(path: Path) -> bool:
    """Return whether a file is a report of Winnow's."""
    with told(path):
        return path.is_file() and MARK in path.open("rb").read(HEAD)


def _versions(run: RunFolder) -> dict[str, str]:
    """Return the versions that the model was trained with, but for Winnow's own, which is that of the page."""
    record = run.record("train")
    return {name: version for name, version in record.versions.items() if name != "winnow"} if record else {}


def _verdict(run: RunFolder, pool: Pool, detector: Detector) -> str:
    threshold, trained, aside = detector.threshold, run.result(Trained), run.result(Calibrated).left_out
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


def _key_figures(run: RunFolder, pool: Pool, detector: Detector, evaluation: Evaluated | None) -> list[KeyFigure]:
    training, threshold = run.result(Trained).training, detector.threshold
    unit = run.options.ingest.unit(len(pool), len(pool.pictures))
    groups = count(len(set(pool.column("group"))), "group")
    strip = [
        KeyFigure(plural(unit), f"{len(pool):,}", f"{count(len(pool.pictures), 'picture')} in {groups}")
        if unit != "picture"
        else KeyFigure("pictures", f"{len(pool):,}", groups),
        KeyFigure("false alarms", *_rate(threshold)),
        KeyFigure("scorer", detector.scorer_name, f"threshold {threshold.value:.4g}"),
    ]
    if training:
        strip.append(
            KeyFigure("training", f"{training.seconds:,.0f} s", f"{training.pictures_per_second:,.0f} pictures/s")
        )
    if evaluation:
        worst = min(evaluation.anomalous.items(), key=lambda item: item[1].auroc)
        strip.append(KeyFigure("AUROC, hardest group", f"{worst[1].auroc:.3f}", worst[0]))
    return strip


def _rate(threshold: Threshold) -> tuple[str, str]:
    """Return the false-alarm rate of a threshold and what it is."""
    if threshold.achieved >= 1:
        return "-", "nothing can be promised"
    if threshold.estimated:
        return f"{threshold.achieved:.2%}", "of pictures, estimated, not promised"
    return f"{threshold.achieved:.2%}", f"of pictures, {manner_of(threshold.confidence)}"


def _extremes(pool: Pool, embeddings: Embeddings, detector: Detector, most: int = 10) -> Section:
    scores, ids = detector.calibration, detector.ids
    order = np.argsort(scores, kind="stable")
    shown = {"Most belonging": order[:most], "Least belonging": order[::-1][:most]}
    drawn = [
        Figure(
            f"{title} of the run's own held-out pictures",
            grids.picture_grid(
                pool.pixels(pool.rows_of(ids[chosen])),
                [f"{scores[i]:.3g}\n{ids[i]}" for i in chosen],
                belongs=list(scores[chosen] <= detector.threshold.value),
            ),
            pictures=True,
        )
        for title, chosen in shown.items()
    ]
    pictures, items = extreme_items(detector, HOLDING)
    if items:
        title = f"What holds the threshold up: {count(len(by_picture(detector).extremes), 'own picture')} above it"
        names = [f"{name}\n{place}" for name, place in zip(described(pool, pictures), pictures, strict=True)]
        drawn.append(Figure(title, grids.picture_grid(pool.pixels(pool.rows_of(items)), names), pictures=True))
    aside = np.setdiff1d(embeddings.ids[~embeddings.seen].astype(str), ids.astype(str))
    if detector.contamination and len(aside):
        title = f"Set aside as contamination: {len(aside):,} held-out pictures, some of them"
        some = aside[spread(len(aside), most)].tolist()
        drawn.append(Figure(title, grids.picture_grid(pool.pixels(pool.rows_of(some)), some), pictures=True))
    text = [f"Mark what does not belong in {REVIEW} of the run, then winnow calibrate leaves it out."] if items else []
    return Section("Most and least belonging", figures=drawn, text=text)


def _rebuilt(run: RunFolder, pool: Pool, rows: np.ndarray, most: int = 8) -> Section:
    if run.result(Trained).training is None:
        return Section("Originals and reconstructions")
    from winnow.learn.encode import rebuild
    from winnow.run.artifacts import load_network

    chosen = rows[spread(len(rows), most)]
    originals = pool.pixels(chosen)
    png = grids.reconstruction_grid(originals, rebuild(load_network(run), originals))
    return Section(
        "Originals and reconstructions",
        figures=[Figure("Held-out pictures, what the model makes of them, and the error", png, pictures=True)],
    )
