"""The report: everything a run folder knows, drawn on one page."""

from __future__ import annotations

from dataclasses import replace
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
from winnow.report.html import KeyFigure, Note, Page, Section, chart, render
from winnow.results import Calibrated, Classified, Evaluated, Scored, Selected, Trained
from winnow.results.words import count, percent, plural
from winnow.run.deliver import delivered
from winnow.run.folder import RunFolder
from winnow.run.manifest import check_place, check_replaced
from winnow.run.publish import reading
from winnow.run.split import split_of
from winnow.run.working_copy import push, ready
from winnow.show import would_find
from winnow.steps.report.classifier import classifier_sections, label_sections, stale_classifier
from winnow.steps.report.found import found_sections, says
from winnow.steps.report.inspection import inspection_sections
from winnow.steps.report.judged import evaluation_section, last_evaluation, last_scores
from winnow.steps.report.origin import options_section, refused_section, sources_section, training_section
from winnow.steps.report.pictures import OwnPictures
from winnow.steps.report.recalibration import recalibration_sections
from winnow.steps.report.selection import selection_sections, stale_selection
from winnow.steps.report.threshold import ends_section, finds_section, learnt, threshold_section
from winnow.steps.report.weight import last_search
from winnow.version import __version__

MARK, HEAD = b'<meta name="generator" content="Winnow">', 1 << 14


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
    """Return the page of all that the steps left: what was found, what set the threshold, and the rest, folded."""
    from winnow.run.artifacts import load_detector
    from winnow.run.regions import load_regions

    pool, embeddings = Pool.open(run.folder("ingest")), Embeddings.load(run.folder("encode"))
    regions, split = load_regions(run), split_of(run, pool).split
    detector = regions.joint if regions else load_detector(run, run.options.score.mode)
    whole = by_picture(detector) if run.options.ingest.cuts else detector
    for step, name in (("train", "train.jsonl"), ("ingest", "quarantine.csv")):
        run.verified(step, run.folder(step) / name)  # before figures are drawn
    (evaluation, other), (scored, stale) = last_evaluation(run), last_scores(run)
    finds = run.result(Calibrated).finds_by(run.options.score.mode)
    weak = f"The threshold is {would_find(finds)}" if finds and finds.weak else ""
    left_out = [other, stale, stale_selection(run), stale_classifier(run), last_search(run)[1]]
    pictures = OwnPictures(run, pool)
    labelling = [*classifier_sections(run, pool, pictures), *selection_sections(run, pool, pictures)]
    found = found_sections(run, evaluation, scored)
    own = detector.before or detector  # whose held-out pictures are in the pool
    set_by = by_picture(own) if run.options.ingest.cuts else own
    first_set = threshold_section(run, own, set_by, pictures, pool, decides=own is detector)
    decides = [*recalibration_sections(run), first_set]
    # A recipe that chooses pictures has a threshold too, which is not what it is for.
    first, then = ([*labelling], [*found, *decides]) if _chooses(run) else ([*found, *decides], labelling)
    folded = [
        *then,
        finds_section(run),
        evaluation_section(run, evaluation),
        *label_sections(run),
        ends_section(pool, embeddings, own, pictures),
        *inspection_sections(run),
        _rebuilt(run, pool, embeddings, split),
        training_section(run),
        sources_section(run, pool, split),
        refused_section(run),
        options_section(run),
    ]
    return Page(
        title=run.path.name,
        verdict=" ".join(_verdict(run, says(evaluation, scored), pool, whole)),
        key_figures=_key_figures(run, pool, whole, evaluation, scored),
        notes=[Note(text, "warning") for text in (*run.result(Trained).warnings, weak) if text]
        + [Note(text, "note") for text in (whole.threshold.note, *left_out) if text],
        sections=[*first, *(replace(part, folded=True) for part in folded)],
        made=f"Winnow {__version__}, " + ", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    )


def _chooses(run: RunFolder) -> bool:
    """Return whether a run is for choosing and labelling pictures, as what does not belong stays in, and has done so."""
    done = run.record("select") is not None or run.record("classify") is not None
    return run.options.ingest.keep_anomalous and done


def _is_report(path: Path) -> bool:
    """Return whether a file is a report of Winnow's."""
    with told(path):
        if not path.is_file():
            return False
        with path.open("rb") as page:
            return MARK in page.read(HEAD)


def _versions(run: RunFolder) -> dict[str, str]:
    """Return the versions that the model was trained with, but for Winnow's own, which is that of the page."""
    record = run.record("train")
    return {name: version for name, version in record.versions.items() if name != "winnow"} if record else {}


def _verdict(run: RunFolder, judged: list[str], pool: Pool, detector: Detector) -> list[str]:
    """Return in a sentence each what was found and chosen; of a run that has done neither what it learnt from."""
    found = run.result(Classified) if run.record("classify") and not stale_classifier(run) else None
    made = run.result(Selected) if run.record("select") and not stale_selection(run) else None
    chosen = [
        *(
            [
                f"Tells {len(found.classes):,} classes with macro F1 {found.macro_f1:.2f}, from {count(found.labelled, 'label')}."
            ]
            if found
            else []
        ),
        *([f"{made.chosen:,} of {count(made.pictures, 'picture')} are chosen for labelling."] if made else []),
    ]
    sentences = [*chosen, *judged] if _chooses(run) else [*judged, *chosen]
    return sentences or [learnt(run, pool, detector)]


def _of_labels(run: RunFolder) -> list[KeyFigure]:
    """Return the numbers of the classifier and of the choice, where they are those of now."""
    strip = []
    if run.record("classify") and not stale_classifier(run):
        found = run.result(Classified)
        between = f"{found.interval[0]:.2f} to {found.interval[1]:.2f}, " if found.interval else ""
        strip.append(KeyFigure("macro F1", f"{found.macro_f1:.3f}", f"{between}from {count(found.labelled, 'label')}"))
    if run.record("select") and not stale_selection(run):
        made = run.result(Selected)
        strip.append(KeyFigure("chosen to label", f"{made.chosen:,}", f"of {count(made.pictures, 'picture')}"))
    return strip


def _key_figures(
    run: RunFolder, pool: Pool, detector: Detector, evaluation: Evaluated | None, scored: Scored | None
) -> list[KeyFigure]:
    """Return the numbers of the strip on top: what was found, false alarms, and what it was learnt from."""
    strip = _of_labels(run)
    if scored and scored.pictures:
        out = scored.pictures - scored.belong
        strip.append(
            KeyFigure(
                "do not belong",
                f"{out:,}",
                f"of {count(scored.pictures, 'picture')}, {percent(out / scored.pictures)}",
            )
        )
        if scored.defects is not None:
            strip.append(KeyFigure("defects", f"{scored.defects:,}", f"in {count(out, 'picture')}"))
    if evaluation:
        groups = {name: part for name, part in evaluation.named().items() if part.detection_rate is not None}
        if groups:
            name, worst = min(groups.items(), key=lambda item: item[1].detection_rate or 0.0)
            strip.append(
                KeyFigure(
                    "found",
                    percent(worst.detection_rate or 0.0),
                    f"of {name}" + (", the hardest group" if len(groups) > 1 else ""),
                )
            )
        strip.append(
            KeyFigure(
                "false alarms seen",
                percent(evaluation.false_alarm_rate),
                f"of {count(evaluation.pictures, 'normal picture')}",
            )
        )
    strip.append(KeyFigure("false alarms", *_rate(detector.threshold)))
    unit = run.options.ingest.unit(len(pool), len(pool.pictures))
    of = count(len(set(pool.column("group"))), "group")
    of = f"{count(len(pool.pictures), 'picture')} in {of}" if unit != "picture" else of
    strip.append(KeyFigure(f"{plural(unit)} learnt from", f"{len(pool):,}", of))
    return strip


def _rate(threshold: Threshold) -> tuple[str, str]:
    """Return the false-alarm rate of a threshold and what it is."""
    if threshold.achieved >= 1:
        return "-", "nothing can be promised"
    if threshold.estimated:
        return percent(threshold.achieved, 2), "of pictures, estimated, not promised"
    return percent(threshold.achieved, 2), f"of pictures, {manner_of(threshold.confidence)}"


def _rebuilt(run: RunFolder, pool: Pool, embeddings: Embeddings, split: np.ndarray, most: int = 8) -> Section:
    if run.result(Trained).training is None:
        return Section("Originals and reconstructions")
    from winnow.learn.encode import rebuild
    from winnow.run.artifacts import load_network

    held = np.flatnonzero(~embeddings.seen) if not embeddings.seen.all() else np.arange(len(embeddings))
    rows = np.flatnonzero(split != "test")[held]
    originals = pool.pixels(rows[spread(len(rows), most)])
    rebuilt = rebuild(load_network(run), originals)
    title = "Held-out pictures, what the model makes of them, and the error"
    drawn = chart(title, grids.reconstruction_grid, originals, rebuilt, pictures=True)
    return Section("Originals and reconstructions", figures=[drawn])
