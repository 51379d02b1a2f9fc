"""The first parts of the report: what was found, the worst offenders by the names of their files, and the errors that are known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from winnow.report import figures
from winnow.report.html import Card, Figure, Gallery, Section, Share, Table, chart
from winnow.results import Evaluated, Scored
from winnow.results.words import count, percent, promised
from winnow.run.folder import RunFolder
from winnow.run.working_copy import in_command
from winnow.steps.report.inspection import inspected
from winnow.steps.report.pictures import judged_card, written
from winnow.tables import read_table

WORST = 12  # pictures shown of the last `winnow score`
ERRORS = 8  # pictures shown of those missed, and of the false alarms, in the last `winnow evaluate`
VIDEOS = 8  # videos whose scores are drawn
LISTED = 30  # segments listed; more are folded

ALL = "all"  # the group of all anomalous pictures together

Row = dict[str, str]


def found_sections(run: RunFolder, evaluation: Evaluated | None, scored: Scored | None) -> list[Section]:
    """Return what the last `winnow evaluate` and `winnow score` found; what to do next where there was neither."""
    sections = [
        *([_of_scores(run, scored)] if scored else []),
        *(_of_evaluation(run, evaluation) if evaluation else []),
    ]
    return sections or [
        Section(
            "What was found",
            text=["Nothing new has been judged yet. The threshold below is what the run's own pictures set."],
            commands=[f"winnow score PICTURES --run {in_command(run.path)}"],
        )
    ]


def says(evaluation: Evaluated | None, scored: Scored | None) -> list[str]:
    """Return in a sentence each what was found, the last `winnow score` first."""
    sentences = []
    if scored:
        out, n = scored.pictures - scored.belong, scored.pictures
        do = "does" if out == 1 else "do"
        line = f"{out:,} of {count(n, 'picture')} judged {do} not belong" if scored.defects is None else (
            f"{count(scored.defects, 'defect')} in {out:,} of {count(n, 'picture')} judged"
        )  # fmt: skip
        sentences.append(line + (f", in {count(len(scored.videos), 'video')}." if scored.videos else "."))
    if evaluation:
        groups = ", ".join(
            f"{percent(part.detection_rate, 0)} of {name}"
            for name, part in evaluation.named().items()
            if part.detection_rate is not None and name != ALL
        )
        alarms = promised(evaluation.false_alarm_rate_promised, evaluation.false_alarm_rate_estimated)
        found = f"Finds {groups}; " if groups else ""
        sentences.append(
            f"{found}{percent(evaluation.false_alarm_rate)} of normal pictures are false alarms ({alarms})."
        )
    return sentences


# ---- the last `winnow evaluate`, where the truth is known


def _of_evaluation(run: RunFolder, evaluation: Evaluated) -> list[Section]:
    refused = evaluation.refused
    rows = [
        ("normal (false alarms)", evaluation.pictures, refused.get("belongs") or None, Share(evaluation.false_alarm_rate), None),
        *(
            (name, part.pictures, refused.get(name) or None, None if part.detection_rate is None else Share(part.detection_rate),
             f"{part.auroc:.3f}")
            for name, part in evaluation.named().items()
        ),
    ]  # fmt: skip
    text = [f"False alarms: {promised(evaluation.false_alarm_rate_promised, evaluation.false_alarm_rate_estimated)}."]
    if evaluation.seen_in_training:
        text.append(
            f"{evaluation.seen_in_training:,} of the normal pictures are in the run's own pool; their scores flatter."
        )
    table = Table(
        ("group", "pictures", "refused files", "flagged", "AUROC"),
        rows,
        caption="Flagged: the share above the threshold; of an anomalous group, what is found. Refused files are in no rate.",
    )
    return [Section("What was found where the truth is known", text=text, tables=[table]), _errors(run, evaluation)]


def _errors(run: RunFolder, evaluation: Evaluated) -> Section:
    """Return the pictures on which the last evaluation was wrong: missed and false alarms."""
    path = evaluation.folder / "scores.csv"
    table = sorted(read_table(path), key=lambda row: float(row["score"]))
    missed = [row for row in table if row["group"] != "belongs" and row["belongs"] == "yes"]
    alarms = [row for row in reversed(table) if row["group"] == "belongs" and row["belongs"] == "no"]
    galleries = [
        Gallery(f"{title}: {count(len(rows), 'picture')}", _cards(run, path, rows[:ERRORS]))
        for title, rows in (
            ("Missed, the least anomalous first", missed),
            ("False alarms, the most anomalous first", alarms),
        )
        if rows
    ]
    return Section("Where it was wrong", galleries=galleries)


# ---- the last `winnow score`


def _of_scores(run: RunFolder, scored: Scored) -> Section:
    """Return what the last `winnow score` found: videos over time, and the worst offenders."""
    path = scored.folder / "scores.csv"
    table = read_table(path)
    text = [says(None, scored)[0]]
    if scored.refused:
        text.append(f"{count(scored.refused, 'file')} could not be judged.")
    drawn, segments = _videos(scored, table)
    if run.options.ingest.cuts:
        galleries, note = inspected(run, scored)
        text.append(note)
    else:
        galleries = [_worst(run, scored, path, table)]
    return Section("What was found", text=text, figures=drawn, galleries=galleries, tables=segments)


def _worst(run: RunFolder, scored: Scored, path: Path, table: list[Row]) -> Gallery:
    """Return the most anomalous pictures, and of videos the most anomalous frame of each segment that does not belong."""
    order = sorted((row for row in table if row["belongs"] == "no"), key=lambda row: -float(row["score"]))
    spans = {video.source: [part for part in video.segments if not part.belongs] for video in scored.videos}
    rows, lines, taken = [], [], set()
    for row in order:
        told = ""
        if row["time"]:
            time = float(row["time"])
            part = next((part for part in spans.get(row["source"], []) if part.start <= time <= part.end), None)
            if part is None or (row["source"], part.start) in taken:
                continue
            taken.add((row["source"], part.start))
            told = f"from {figures.clock(part.start)} to {figures.clock(part.end)}"
        rows.append(row)
        lines.append(told)
        if len(rows) == WORST:
            break
    out = scored.pictures - scored.belong
    title = f"The most anomalous of {count(out, 'picture')}" if len(rows) < out else "All that do not belong"
    return Gallery(title, _cards(run, path, rows, lines)) if rows else Gallery("", ())


def _cards(run: RunFolder, path: Path, rows: Iterable[Row], told: Iterable[str] = ()) -> list[Card]:
    """Return cards of rows of a table, with what is told of each, its group and its score."""
    since, extra = written(path), dict(enumerate(told))
    return [
        judged_card(
            row,
            run.options.ingest,
            since,
            [
                extra.get(number, ""),
                row.get("group", "").replace("belongs", "normal"),
                row.get("region", ""),
                f"score {float(row['score']):.4g}",
            ],
        )
        for number, row in enumerate(rows)
    ]


def _videos(scored: Scored, table: list[Row]) -> tuple[list[Figure], list[Table]]:
    """Return the scores of videos over time, and a table of the segments that do not belong."""
    frames: dict[str, list[tuple[float, float]]] = {}
    for row in table:
        if row["time"]:
            frames.setdefault(row["source"], []).append((float(row["time"]), float(row["score"])))
    spans = {video.source: [(part.start, part.end, part.belongs) for part in video.segments] for video in scored.videos}
    drawn = []
    for source, points in list(frames.items())[:VIDEOS]:
        times, scores = np.array(points).T
        name, found = Path(source).name, spans.get(source, [])
        out = [f"{figures.clock(start)} to {figures.clock(end)}" for start, end, belongs in found if not belongs]
        alt = f"Score over time of {name}; does not belong: {', '.join(out[:12]) or 'nothing'}"
        drawn.append(chart(name, figures.timeline, times, scores, scored.threshold, found, title=name, alt=alt))
    rows = [
        (Path(video.source).name, figures.clock(part.start), figures.clock(part.end), part.score, part.region or None)
        for video in scored.videos
        for part in video.segments
        if not part.belongs
    ]
    title = "Segments that do not belong"
    columns = ("video", "start", "end", "mean score", "region")
    return drawn, [Table(columns, rows, title=title, folded=len(rows) > LISTED)]
