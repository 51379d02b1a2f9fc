"""The parts of the report on what was judged: scores and threshold, the last evaluation, the videos scored."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from winnow.detect.detector import Detector
from winnow.pool.splits import FEWEST_GROUPS
from winnow.report import figures
from winnow.report.html import Figure, Section, Table
from winnow.results import AnomalousGroup, Calibrated, Evaluated, Finds, Scored
from winnow.results.words import promised
from winnow.run.current import key_of_judging
from winnow.run.folder import RunFolder
from winnow.run.publish import read_result
from winnow.show import count
from winnow.tables import read_table

Result = TypeVar("Result", Evaluated, Scored)


def last_evaluation(run: RunFolder) -> tuple[Evaluated | None, str]:
    """Return what the last `winnow evaluate` left, and a sentence when it is left out, being of another mode, model or threshold."""
    return _last(run, Evaluated, run.path / "evaluation" / "evaluation.json", "evaluate")


def last_scores(run: RunFolder) -> tuple[Scored | None, str]:
    """Return what the last `winnow score` left, and a sentence when it is left out, being of another mode, model or threshold."""
    return _last(run, Scored, run.path / "scores" / "scores.json", "score")


def _last(run: RunFolder, kind: type[Result], path: Path, step: str) -> tuple[Result | None, str]:
    if not path.exists():
        return None, ""
    found, mode = read_result(kind, path), run.options.score.mode
    if found.mode != mode:  # which has another threshold
        return (
            None,
            f"The last winnow {step} was by the mode {found.mode}; this report is of {mode}, and leaves it out.",
        )
    if found.key != key_of_judging(run, mode):
        return (
            None,
            f"The last winnow {step} was by another model or threshold than those of now; this report leaves it out.",
        )
    return found, ""


def decision_section(run: RunFolder, detector: Detector) -> Section:
    """Return the histogram of each group with the threshold, and what it would find of pictures made up."""
    finds = run.result(Calibrated).finds_by(run.options.score.mode)
    whole = len(set(detector.groups)) >= FEWEST_GROUPS  # otherwise folds are blocks of neighbours
    unseen = "picture's group" if whole else f"picture and its neighbours: there are fewer than {FEWEST_GROUPS} groups"
    groups = {"belongs (held out)": detector.calibration, **_scores_by_group(run)}
    return Section(
        "Scores and threshold",
        figures=[
            Figure("Histogram of each group with the threshold", figures.histograms(groups, detector.threshold.value)),
            *(
                [
                    Figure(
                        "Found of made-up pictures against false alarms",
                        figures.found_curves(finds.rates, finds.curves),
                    )
                ]
                if finds
                else []
            ),
        ],
        tables=[_found_table(finds)] if finds else [],
        text=[
            "A score says how anomalous a picture is; its size means nothing by itself. The threshold is the conformal quantile "
            f"of scores of what belongs, each given by a detector that had not seen the {unseen}."
        ],
    )


def _found_table(finds: Finds) -> Table:
    return Table(
        ("made up from the run's own pictures", "found at the threshold"),
        [(kind, f"{share:.0%}") for kind, share in finds.found.items()],
        caption=f"{finds.pictures:,} of each kind: drawn pictures of anything; own pictures with a synthetic defect; near-misses, which "
        "are own pictures with their quarters exchanged, a piece of another, or the middle upside down. What is not found "
        "here would pass unseen.",
    )


def _scores_by_group(run: RunFolder) -> dict[str, np.ndarray]:
    """Return the scores of the last evaluation by group, else of the last `winnow score`; none of another mode."""
    last = last_evaluation(run)[0] or last_scores(run)[0]
    if last is None:
        return {}
    found: dict[str, list[float]] = {}
    for row in read_table(last.folder / "scores.csv"):
        found.setdefault(row.get("group", "scored"), []).append(float(row["score"]))
    return {name: np.array(values) for name, values in found.items()}


def evaluation_sections(run: RunFolder, evaluation: Evaluated | None) -> list[Section]:
    """Return a section on the last evaluation, if there is one."""
    if evaluation is None:
        return []
    scores = _scores_by_group(run)
    curves = {name: (scores["belongs"], values) for name, values in scores.items() if name != "belongs"}
    rows = [
        (
            name,
            part.pictures,
            evaluation.refused.get(name, 0),
            part.detection_rate,
            part.auroc,
            _interval(part),
            part.average_precision,
            evaluation.baseline.get(name),
        )
        for name, part in evaluation.anomalous.items()
    ]
    masks = evaluation.masks.named() if evaluation.masks else []
    measured = Table((), list(masks), title="Against the masks")
    table = Table(
        (
            "anomalous group",
            "pictures",
            "refused files",
            "found",
            "AUROC",
            "95 % interval",
            "average precision",
            "AUROC of sharpness alone",
        ),
        rows,
        caption="Found: share of the group that is flagged at the threshold; refused files are in no rate. "
        "Intervals by bootstrap over groups.",
    )
    text = [
        f"False alarms: {promised(evaluation.false_alarm_rate_promised, evaluation.false_alarm_rate_estimated)}; "
        f"{evaluation.false_alarm_rate:.1%} of "
        f"{evaluation.pictures:,} normal pictures are flagged ({count(evaluation.refused.get('belongs', 0), 'file')} refused)."
    ]
    if evaluation.seen_in_training:
        text.append(f"{evaluation.seen_in_training:,} of them are in the run's own pool; their scores flatter.")
    return [
        Section(
            "Evaluation",
            text=text,
            figures=[Figure("ROC", figures.roc(curves, evaluation.threshold))],
            tables=[table, measured],
        )
    ]


def _interval(part: AnomalousGroup) -> str | None:
    low_high = (part.interval or {}).get("auroc")
    return f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else None


def video_sections(run: RunFolder, detector: Detector) -> list[Section]:
    """Return a section on the videos of the last `winnow score`, if there are any: their scores over time and their segments."""
    scored, _ = last_scores(run)
    if scored is None:
        return []
    frames: dict[str, list[tuple[float, float]]] = {}
    for row in read_table(scored.folder / "scores.csv"):
        if row["time"]:
            frames.setdefault(row["source"], []).append((float(row["time"]), float(row["score"])))
    spans = {video.source: [(part.start, part.end, part.belongs) for part in video.segments] for video in scored.videos}
    table = [
        (
            Path(video.source).name,
            figures.clock(part.start),
            figures.clock(part.end),
            "in" if part.belongs else "out",
            part.score,
        )
        for video in scored.videos
        for part in video.segments
    ]
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
