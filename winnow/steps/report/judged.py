"""The parts of the report on what was judged: scores and threshold, the last evaluation, the videos scored."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from winnow.report import figures
from winnow.report.html import Figure, Section, Table
from winnow.results import AnomalousGroup, Evaluated, Scored
from winnow.run.current import key_of_judging
from winnow.run.folder import RunFolder
from winnow.run.publish import read_result
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


def scores_by_group(run: RunFolder) -> dict[str, np.ndarray]:
    """Return the scores of the last evaluation by group, else of the last `winnow score`; none of another mode."""
    last = last_evaluation(run)[0] or last_scores(run)[0]
    if last is None:
        return {}
    found: dict[str, list[float]] = {}
    for row in read_table(last.folder / "scores.csv"):
        found.setdefault(row.get("group", "scored"), []).append(float(row["score"]))
    return {name: np.array(values) for name, values in found.items()}


def evaluation_section(run: RunFolder, evaluation: Evaluated | None) -> Section:
    """Return the numbers behind the shares of the last evaluation: areas under curves, intervals, what masks say."""
    if evaluation is None:
        return Section("Evaluation in detail")
    scores = scores_by_group(run)
    curves = {name: (scores["belongs"], values) for name, values in scores.items() if name != "belongs"}
    rows = [
        (name, part.auroc, _interval(part), part.average_precision, evaluation.baseline.get(name))
        for name, part in evaluation.anomalous.items()
    ]
    masks = evaluation.masks.named() if evaluation.masks else []
    areas = ", ".join(f"{name} {part.auroc:.3f}" for name, part in evaluation.anomalous.items())
    return Section(
        "Evaluation in detail",
        figures=[Figure("ROC", figures.roc(curves, evaluation.threshold), alt=f"ROC, area under the curve: {areas}")],
        tables=[
            Table(
                ("anomalous group", "AUROC", "95 % interval", "average precision", "AUROC of sharpness alone"),
                rows,
                caption="Intervals by bootstrap over groups.",
            ),
            Table((), list(masks), title="Against the masks"),
        ],
    )


def _interval(part: AnomalousGroup) -> str | None:
    low_high = (part.interval or {}).get("auroc")
    return f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else None
