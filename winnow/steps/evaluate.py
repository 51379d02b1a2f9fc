"""How good a run is where the truth is known: AUROC, average precision and rates for each foreign group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data.pool import Pool
from winnow.detect.scorers import make_scorer
from winnow.errors import OptionError
from winnow.files import replacing, write_json
from winnow.learn.encodings import Encodings
from winnow.report.measures import evaluate as measure
from winnow.run import RunFolder
from winnow.steps.score import Scored, judge, write_table


def evaluate(
    run: RunFolder,
    belongs: Sequence[str | Path],
    foreign: Mapping[str, Sequence[str | Path]],
    *,
    to: Path | None = None,
) -> dict[str, Any]:
    """Scores pictures that belong and groups of foreign ones, and writes evaluation.json, scores.csv and figures.

    The baseline 'gradient' (sharpness alone) stands beside the run's scorer: where it is as good, the pictures differ in
    focus or compression and not in what they show.
    """
    if "all" in foreign or "belongs" in foreign:
        raise OptionError("A foreign group cannot be called 'all' or 'belongs'.", "Give it another name.")
    if not belongs or not foreign:
        raise OptionError(
            "An evaluation needs pictures that belong and at least one foreign group.",
            "Give --belongs DIR and --foreign NAME=DIR.",
        )
    run.require("calibrate")
    folder = to or run.path / "evaluation"
    baseline = {"gradient": make_scorer("gradient", run.options.detect).fit(Encodings.load(run.folder("encode")))}
    groups = {"belongs": judge(run, belongs, folder / "pools" / "belongs", baseline)}
    for name, sources in foreign.items():
        groups[name] = judge(run, sources, folder / "pools" / f"foreign-{_slug(name)}", baseline)
    threshold = groups["belongs"].threshold.value
    result: dict[str, Any] = {
        "scorer": run.options.detect.scorer,
        "threshold": threshold,
        "false_alarms_asked": run.options.detect.false_alarms,
        **_measured(groups, lambda scored: scored.scores, threshold),
    }
    sharpness = _measured(groups, lambda scored: scored.others["gradient"], None)["foreign"]
    result["baseline"] = {name: part["auroc"] for name, part in sharpness.items()}
    result["seen_in_training"] = _known(run, groups["belongs"].pool)
    write_table(
        folder / "scores.csv",
        ("group", "id", "source", "score", "p_value", "belongs"),
        (
            (name, key, source, f"{value:.6g}", f"{p:.6g}", "yes" if verdict else "no")
            for name, scored in groups.items()
            for key, source, value, p, verdict in zip(
                scored.pool.column("id"),
                scored.pool.column("source"),
                scored.scores,
                scored.p_values,
                scored.belongs,
                strict=True,
            )
        ),
    )
    _draw(folder, groups, threshold)
    write_json(folder / "evaluation.json", result)
    return {**result, "folder": folder}


def _measured(groups: dict[str, Scored], pick: Any, threshold: float | None) -> dict[str, Any]:
    names = [name for name in groups if name != "belongs"]
    scores = np.concatenate([pick(groups[name]) for name in ("belongs", *names)])
    belongs = np.concatenate([np.full(len(groups[name].pool), name == "belongs") for name in ("belongs", *names)])
    kinds = np.concatenate(
        [
            np.full(len(groups[name].pool), "" if name == "belongs" else name, dtype=object)
            for name in ("belongs", *names)
        ]
    )
    units = np.concatenate([groups[name].pool.column("group") for name in ("belongs", *names)])
    return measure(scores, belongs, kinds, threshold, units)


def _known(run: RunFolder, pool: Pool) -> int:
    """How many of the pictures given as belonging are in the run's own pool: their scores flatter."""
    return int(np.isin(pool.column("id").astype(str), Pool.open(run.folder("ingest")).column("id").astype(str)).sum())


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "group"


def _draw(folder: Path, groups: dict[str, Scored], threshold: float) -> None:
    from winnow.report.figures import histograms, roc

    inside = groups["belongs"].scores
    figures = {
        "histogram.png": histograms({name: scored.scores for name, scored in groups.items()}, threshold),
        "roc.png": roc(
            {name: (inside, scored.scores) for name, scored in groups.items() if name != "belongs"}, threshold
        ),
    }
    for name, png in figures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(png)
