"""Write the table of `winnow predict`, for predictions of a run or of an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.files import write_json
from winnow.steps.score import seconds
from winnow.tables import write_table


def write_predictions(
    folder: Path,
    items: dict[str, np.ndarray],
    *,
    refused: int,
    classes: Sequence[str] = (),
    probabilities: np.ndarray | None = None,
    p_values: np.ndarray | None = None,
    belongs: np.ndarray | None = None,
) -> dict[str, Any]:
    """Write predictions.csv, a row for each of n `items` (columns `id`, `source`, `time`), and, last, predictions.json, the counts.

    `probabilities` (n, classes) become the columns `class`, `probability` and `p_NAME`; `p_values` (n,) and `belongs` (n,) bool
    those of the same names; an argument left out has no columns. Returns the counts.
    """
    result: dict[str, Any] = {"pictures": len(items["id"])}
    columns: list[tuple[str, Any]] = [
        ("id", items["id"]),
        ("source", items["source"]),
        ("time", map(seconds, items["time"])),
    ]
    if probabilities is not None:
        best = probabilities.argmax(axis=1)
        columns += [("class", [classes[kind] for kind in best]), ("probability", _decimals(probabilities.max(axis=1)))]
        columns += [(f"p_{name}", _decimals(column)) for name, column in zip(classes, probabilities.T, strict=True)]
        result["classes"] = {name: int((best == kind).sum()) for kind, name in enumerate(classes)}
    if p_values is not None and belongs is not None:
        columns += [("p_value", [f"{value:.6g}" for value in p_values])]
        columns += [("belongs", ["yes" if value else "no" for value in belongs])]
        result["anomalous"] = int((~belongs).sum())
    header, values = zip(*columns, strict=True)
    write_table(folder / "predictions.csv", header, zip(*values, strict=True))
    result["refused"] = refused
    write_json(folder / "predictions.json", result)
    return result


def _decimals(values: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in values]
