"""The report: everything a run folder knows, drawn on one page."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.detect.threshold import manner_of
from winnow.embeddings import Embeddings
from winnow.errors import Damaged, OptionError
from winnow.files import make_folder, read_json, write_text
from winnow.pool.pool import Pool
from winnow.report import figures, grids
from winnow.report.html import Figure, KeyFigure, Note, Page, Section, Table, render
from winnow.run.folder import RunFolder
from winnow.run.split import split_of
from winnow.show import count
from winnow.steps.report.classifier import classifier_sections
from winnow.steps.report.inspection import inspection_sections
from winnow.steps.report.selection import selection_sections
from winnow.version import __version__


def report(run: RunFolder, to: Path | None = None) -> Path:
    """Write the file `to`, by default the run's report.html, from what the steps left: trainings, thresholds, and the last
    `score` and `evaluate`, if any; return its path."""
    from winnow.run.artifacts import check_mode, load_detector

    check_mode(run, run.options.score.mode)
    path = to or run.path / "report.html"
    if path.is_dir():
        raise OptionError(f"--to {path} is a folder.", "Give the name of a file: --to report.html")
    make_folder(path.parent, "--to")
    pool, embeddings = Pool.open(run.folder("ingest")), Embeddings.load(run.folder("encode"))
    detector, split = load_detector(run, run.options.score.mode), split_of(run, pool).split
    whole = by_picture(detector) if run.options.ingest.patches else detector
    rows = np.flatnonzero(split != "test")
    held = np.flatnonzero(~embeddings.seen) if not embeddings.seen.all() else np.arange(len(embeddings))
    evaluation, other = _judged(run, "evaluation")
    _, another = _judged(run, "scores")
    page = Page(
        title=f"{run.path.name}: what belongs",
        verdict=_verdict(run, pool, whole),
        key_figures=_key_figures(run, pool, whole, evaluation),
        notes=[Note(text, "warning") for text in run.result("train")["warnings"]]
        + [Note(text, "note") for text in (whole.threshold.note, other, another) if text],
        sections=[
            _decision(run, whole),
            *_evaluated(run, evaluation),
            *classifier_sections(run, pool),
            *selection_sections(run),
            *_videos(run, whole),
            *inspection_sections(run),
            _extremes(pool, embeddings, detector),
            _rebuilt(run, pool, rows[held]),
            _training(run),
            _sources(run, pool, split),
            _refused(run),
            _options(run),
        ],
        made=f"Winnow {__version__}, " + ", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    )
    write_text(path, render(page))
    return path


def _versions(run: RunFolder) -> dict[str, str]:
    """Return the versions that the model was trained with, but for Winnow's own, which is that of the page."""
    record = run.record("train")
    return {name: version for name, version in record.versions.items() if name != "winnow"} if record else {}


def _judged(run: RunFolder, folder: str) -> tuple[dict[str, Any] | None, str]:
    """What the last `winnow evaluate` ("evaluation") or `winnow score` ("scores") left, and a sentence when it is left out:
    scores of another mode than the run's have another threshold."""
    path = run.path / folder / f"{folder}.json"
    if not path.exists():
        return None, ""
    found, mode = read_json(path), run.options.score.mode
    if found.get("mode", mode) == mode:
        return found, ""
    step = "evaluate" if folder == "evaluation" else "score"
    return None, f"The last winnow {step} was by the mode {found['mode']}; this report is of {mode}, and leaves it out."


def _verdict(run: RunFolder, pool: Pool, detector: Detector) -> str:
    threshold, trained = detector.threshold, run.result("train")
    noun = "patch" if run.options.ingest.patches else "picture"
    of = f" of {count(len(pool.pictures), 'picture')}" if run.options.ingest.patches else ""
    how = (
        f"Trained on {trained['split']['train']:,} of"
        if trained["trained"]
        else "Without training, by a pretrained network, learnt from"
    )
    return (
        f"{how} {count(len(pool), noun)}{of} in {count(len(set(pool.column('group'))), 'group')}. "
        f"Pictures that score above {threshold.value:.4g} are called anomalous; {threshold.achieved:.2%} false alarms are expected, "
        f"judged from {threshold.n:,} held-out pictures."
    )


def _key_figures(run: RunFolder, pool: Pool, detector: Detector, evaluation: dict[str, Any] | None) -> list[KeyFigure]:
    trained, threshold = run.result("train"), detector.threshold
    manner = manner_of(threshold.confidence)
    groups = count(len(set(pool.column("group"))), "group")
    strip = [
        KeyFigure("patches", f"{len(pool):,}", f"{count(len(pool.pictures), 'picture')} in {groups}")
        if run.options.ingest.patches
        else KeyFigure("pictures", f"{len(pool):,}", groups),
        KeyFigure("false alarms", f"{threshold.achieved:.2%}", f"of pictures, {manner}"),
        KeyFigure("scorer", detector.scorer_name, f"threshold {threshold.value:.4g}"),
    ]
    if trained["trained"]:
        strip.append(
            KeyFigure("training", f"{trained['seconds']:,.0f} s", f"{trained['pictures_per_second']:,.0f} pictures/s")
        )
    if evaluation:
        worst = min(evaluation["anomalous"].items(), key=lambda item: item[1]["auroc"])
        strip.append(KeyFigure("AUROC, hardest group", f"{worst[1]['auroc']:.3f}", worst[0]))
    return strip


def _decision(run: RunFolder, detector: Detector) -> Section:
    groups = {"belongs (held out)": detector.calibration, **_scores_by_group(run)}
    return Section(
        "Scores and threshold",
        figures=[
            Figure("Histogram of each group with the threshold", figures.histograms(groups, detector.threshold.value))
        ],
        text=[
            "A score says how anomalous a picture is; its size means nothing by itself. The threshold is the conformal quantile "
            "of scores of what belongs, each given by a detector that had not seen the picture's group."
        ],
    )


def _scores_by_group(run: RunFolder) -> dict[str, np.ndarray]:
    """Scores of the last evaluation by group, else of the last `winnow score`; none of another mode."""
    folder = next((name for name in ("evaluation", "scores") if _judged(run, name)[0]), None)
    if folder is None:
        return {}
    path = run.path / folder / "scores.csv"
    found: dict[str, list[float]] = {}
    for row in _rows(path):
        found.setdefault(row.get("group", "scored"), []).append(float(row["score"]))
    return {name: np.array(values) for name, values in found.items()}


def _evaluated(run: RunFolder, evaluation: dict[str, Any] | None) -> list[Section]:
    if evaluation is None:
        return []
    scores = _scores_by_group(run)
    curves = {name: (scores["belongs"], values) for name, values in scores.items() if name != "belongs"}
    rows = [
        (
            name,
            part["pictures"],
            part["auroc"],
            _interval(part),
            part["average_precision"],
            part["detection_rate"],
            evaluation["baseline"].get(name),
        )
        for name, part in evaluation["anomalous"].items()
    ]
    masks = evaluation.get("masks", {})
    measured = Table((), [(name.replace("_", " "), value) for name, value in masks.items()], title="Against the masks")
    table = Table(
        (
            "anomalous group",
            "pictures",
            "AUROC",
            "95 % interval",
            "average precision",
            "detection rate",
            "AUROC of sharpness alone",
        ),
        rows,
        caption="Detection rate: share of the group that is flagged at the threshold. "
        "Intervals by bootstrap over groups.",
    )
    text = [
        f"False-alarm rate: {evaluation['false_alarm_rate']:.1%} of {evaluation['pictures']:,} normal pictures are flagged."
    ]
    if evaluation["seen_in_training"]:
        text.append(f"{evaluation['seen_in_training']:,} of them are in the run's own pool; their scores flatter.")
    return [
        Section(
            "Evaluation",
            text=text,
            figures=[Figure("ROC", figures.roc(curves, evaluation["threshold"]))],
            tables=[table, measured],
        )
    ]


def _interval(part: dict[str, Any]) -> str | None:
    low_high = (part["interval"] or {}).get("auroc")
    return f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else None


def _videos(run: RunFolder, detector: Detector) -> list[Section]:
    if _judged(run, "scores")[0] is None:
        return []
    frames: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(run.path / "scores" / "scores.csv"):
        if row["time"]:
            frames.setdefault(row["source"], []).append((float(row["time"]), float(row["score"])))
    spans: dict[str, list[tuple[float, float, bool]]] = {}
    table = []
    for row in _rows(run.path / "scores" / "segments.csv"):
        spans.setdefault(row["source"], []).append((float(row["start"]), float(row["end"]), row["verdict"] == "in"))
        table.append(
            (
                Path(row["source"]).name,
                figures.clock(float(row["start"])),
                figures.clock(float(row["end"])),
                row["verdict"],
                float(row["score"]),
            )
        )
    drawn = []
    for source, points in list(frames.items())[:12]:
        times, scores = np.array(points).T
        png = figures.timeline(times, scores, detector.threshold.value, spans.get(source, []), title=Path(source).name)
        drawn.append(Figure(Path(source).name, png))
    marked = [number for number, row in enumerate(table) if row[3] == "out"]
    segments = Table(
        ("video", "start", "end", "verdict", "mean score"),
        table,
        title="Segments",
        marked=marked,
        folded=len(table) > 30,
    )
    return [Section("Videos scored", figures=drawn, tables=[segments])] if drawn else []


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
    aside = np.setdiff1d(embeddings.ids[~embeddings.seen].astype(str), ids.astype(str))
    if detector.contamination and len(aside):
        title = f"Set aside as contamination: {len(aside):,} held-out pictures, some of them"
        some = [aside[i] for i in np.linspace(0, len(aside) - 1, min(most, len(aside))).astype(int)]
        drawn.append(Figure(title, grids.picture_grid(pool.pixels(pool.rows_of(some)), some), pictures=True))
    return Section("Most and least belonging", figures=drawn)


def _rebuilt(run: RunFolder, pool: Pool, rows: np.ndarray, most: int = 8) -> Section:
    if not run.result("train")["trained"]:
        return Section("Originals and reconstructions")
    from winnow.learn.encode import rebuild
    from winnow.run.artifacts import load_network

    chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    originals = pool.pixels(chosen)
    png = grids.reconstruction_grid(originals, rebuild(load_network(run), originals))
    return Section(
        "Originals and reconstructions",
        figures=[Figure("Held-out pictures, what the model makes of them, and the error", png, pictures=True)],
    )


def _training(run: RunFolder) -> Section:
    trained = run.result("train")
    if not trained["trained"]:
        return Section(
            "Model", text=[f"A pretrained network of {trained['parameters']:,} parameters; nothing was trained."]
        )
    log = _log(run.folder("train") / "train.jsonl")
    facts = [
        (name.replace("_", " "), trained[name])
        for name in (
            "parameters",
            "steps",
            "best_step",
            "stopped_early",
            "seconds",
            "pictures_per_second",
            "active_units",
            "precision",
            "device",
        )
    ]
    return Section(
        "Training",
        figures=[Figure("Loss", figures.loss_curves(log))],
        tables=[Table((), facts, title="Training in numbers")],
    )


def _log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's log; `Damaged` when they are not what was written."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error}).", "Restore it, or train again.") from error


def _sources(run: RunFolder, pool: Pool, split: np.ndarray) -> Section:
    sources = Table(("source",), [(source,) for source in run.asked.sources], title="Given")
    counts: dict[str, Counter[str]] = {}
    for group, part in zip(pool.column("group"), split, strict=True):
        counts.setdefault(group, Counter())[part] += 1
    parts = ("train", "validate", "calibrate", "test")
    groups = Table(
        ("group", *parts),
        [(group, *(used[part] for part in parts)) for group, used in counts.items()][:500],
        title=f"{count(len(counts), 'group')} and what each was used for",
        folded=len(counts) > 12,
    )
    return Section("What it learnt from", tables=[sources, groups])


def _refused(run: RunFolder) -> Section:
    refused = [(row["source"], row["reason"]) for row in _rows(run.folder("ingest") / "quarantine.csv")]
    reasons = Counter(reason for _, reason in refused)
    if not refused:
        return Section("Quarantine")
    return Section(
        "Quarantine",
        text=[f"{len(refused):,} files could not be used; pool/quarantine.csv lists all."],
        tables=[
            Table(("reason", "files"), reasons.most_common(20)),
            Table(("file", "reason"), refused[:50], title="The first of them", folded=True),
        ],
    )


def _options(run: RunFolder) -> Section:
    rows = [
        (name, value, run.set_by.get(f"{section}.{name}", "default"))
        for section, options in run.options.model_dump(mode="json").items()
        for name, value in options.items()
    ]
    marked = [number for number, row in enumerate(rows) if row[2] != "default"]
    command = f"winnow run {run.recipe or 'RECIPE'} {' '.join(run.asked.sources)} --to {run.path.name}" + "".join(
        _flag(key.split(".")) + _value(run, key) for key, who in run.set_by.items() if who == "you"
    )
    return Section(
        "Options, and how to make it again",
        tables=[Table(("option", "value", "set by"), rows, marked=marked, folded=True)],
        commands=[command],
    )


def _flag(key: list[str]) -> str:
    return " --" + key[1].replace("_", "-")


def _value(run: RunFolder, key: str) -> str:
    section, name = key.split(".")
    value = run.options.model_dump(mode="json")[section][name]
    return "" if value is True else " " + (" ".join(map(str, value)) if isinstance(value, list) else str(value))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
