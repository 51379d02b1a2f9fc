"""How good a run is where the truth is known: AUROC, average precision and rates for each anomalous group."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data.sources import expand
from winnow.detect.registry import make_scorer
from winnow.detect.scorer import Scorer
from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.files import replacing, write_json
from winnow.inspect.masks import against_masks, masks_in
from winnow.metrics.detection import evaluate as measure
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.run.results import EVALUATION, Results, publish
from winnow.steps.inspect import whole
from winnow.steps.score import Scored, judge, verdicts
from winnow.tables import write_table


def evaluate(
    run: RunFolder,
    normal: Sequence[str | Path],
    anomalous: Mapping[str, Sequence[str | Path]],
    *,
    masks: Path | None = None,
    to: Path | None = None,
) -> dict[str, Any]:
    """Score normal pictures and groups of anomalous ones, and write evaluation.json, scores.csv and figures.

    Pictures cut into patches are judged as wholes; with a folder of `masks` their patches and pixels are measured too.

    The baseline 'gradient' is sharpness alone: where it is as good as the run's scorer, the pictures differ in focus or
    compression and not in what they show.
    """
    if "all" in anomalous or "belongs" in anomalous:
        raise OptionError("An anomalous group cannot be called 'all' or 'belongs'.", "Give it another name.")
    if not normal or not anomalous:
        raise OptionError(
            "An evaluation needs normal pictures and at least one anomalous group.",
            "Give --normal DIR and --anomalous NAME=DIR.",
        )
    run.require("calibrate")
    if masks is not None and not run.options.ingest.patches:
        raise OptionError("--masks needs a run whose pictures are cut into patches.", "Leave the masks out.")
    for sources in (normal, *anomalous.values()):  # before hours of scoring
        expand(sources)
    known = None if masks is None else masks_in(masks)
    with Results(to or run.path / "evaluation", EVALUATION) as results:
        pools = _pools(results.aside / "pools", anomalous)
        baseline, old = _baseline(run), results.folder / "pools"
        parts = {
            name: judge(run, {"belongs": normal, **anomalous}[name], pool, baseline, earlier=old / pool.name)
            for name, pool in pools.items()
        }
        result = _write(run, parts, pools, known, results.aside)
        publish(results)
    return {**result, "folder": results.folder}


def _pools(folder: Path, anomalous: Iterable[str]) -> dict[str, Path]:
    """The folder of each group's pool, 'belongs' first; those of groups that a killed call left behind are removed."""
    pools = {"belongs": folder / "belongs"}
    for name in anomalous:
        path = folder / f"anomalous-{_slug(name)}"
        pools[name] = path if path not in pools.values() else path.with_name(f"{path.name}-{len(pools)}")
    for path in folder.iterdir() if folder.exists() else ():
        if path not in pools.values():
            shutil.rmtree(path)
    return pools


def _write(
    run: RunFolder, parts: dict[str, Scored], pools: dict[str, Path], masks: dict[str, list[str]] | None, folder: Path
) -> dict[str, Any]:
    """Measures the judged groups, writes their table, figures and numbers, and returns the numbers."""
    groups = {name: whole(part) for name, part in parts.items()} if run.options.ingest.patches else parts
    threshold = groups["belongs"].threshold.value
    result: dict[str, Any] = {
        "mode": groups["belongs"].mode,
        "scorer": groups["belongs"].detector.scorer_name,
        "threshold": threshold,
        "false_alarm_rate_asked": run.options.detect.false_alarm_rate,
        **_measured(groups, lambda scored: scored.scores, threshold),
    }
    has_baseline = "gradient" in groups["belongs"].others
    sharpness = _measured(groups, lambda scored: scored.others["gradient"], None)["anomalous"] if has_baseline else {}
    result["baseline"] = {name: part["auroc"] for name, part in sharpness.items()}
    result["seen_in_training"] = _known(run, groups["belongs"])
    if masks is not None:
        result["masks"] = against_masks(run, parts, pools, masks, folder / "damaged")
    write_table(
        folder / "scores.csv",
        ("group", "id", "source", "score", "p_value", "belongs"),
        (
            (name, *row)
            for name, scored in groups.items()
            for row in zip(scored.items["id"], scored.items["source"], *verdicts(scored), strict=True)
        ),
    )
    _draw(folder, groups, threshold)
    write_json(folder / "evaluation.json", result)
    return result


def _baseline(run: RunFolder) -> dict[str, Scorer]:
    """Sharpness alone, where the mode encodes it."""
    if run.options.score.mode != "full":
        return {}
    return {"gradient": make_scorer("gradient").fit(Embeddings.load(run.folder("encode")))}


def _measured(groups: dict[str, Scored], pick: Any, threshold: float | None) -> dict[str, Any]:
    names = [name for name in groups if name != "belongs"]
    scores = np.concatenate([pick(groups[name]) for name in ("belongs", *names)])
    belongs = np.concatenate([np.full(len(groups[name].scores), name == "belongs") for name in ("belongs", *names)])
    kinds = np.concatenate(
        [
            np.full(len(groups[name].scores), "" if name == "belongs" else name, dtype=object)
            for name in ("belongs", *names)
        ]
    )
    units = np.concatenate([groups[name].items["group"] for name in ("belongs", *names)])
    return measure(scores, belongs, kinds, threshold, units)


def _known(run: RunFolder, scored: Scored) -> int:
    """How many of the pictures given as belonging are in the run's own pool: their scores flatter."""
    own = picture_of(Pool.open(run.folder("ingest")).column("id"))
    return int(np.isin(scored.items["id"].astype(str), own.astype(str)).sum())


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
