"""Write the table of `winnow predict`, for predictions of a run or of an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from winnow.results import Predicted
from winnow.run.judge import pages_of, seconds
from winnow.run.publish import Results, write_result
from winnow.tables import write_table


def write_predictions(
    results: Results,
    items: dict[str, np.ndarray],
    *,
    refused: int,
    notes: Sequence[str] = (),
    classes: Sequence[str] = (),
    probabilities: np.ndarray | None = None,
    p_values: np.ndarray | None = None,
    belongs: np.ndarray | None = None,
    defects: int | None = None,
) -> Predicted:
    """Write predictions.csv, a row for each of n `items` (columns `id`, `source`, `time`, `page`), and, last, predictions.json.

    Of `probabilities` (n, classes) come the columns `class`, `probability` and `p_NAME`; of `p_values` (n,) and `belongs`
    (n,) bool those of the same names; what is not given has no columns. `defects` is how many were found.
    """
    found: dict[str, int] | None = None
    anomalous = None
    columns: list[tuple[str, Any]] = [
        ("id", items["id"]),
        ("source", items["source"]),
        ("time", map(seconds, items["time"])),
        *pages_of(items).items(),
    ]
    if probabilities is not None:
        best = probabilities.argmax(axis=1)
        columns += [("class", [classes[kind] for kind in best]), ("probability", _decimals(probabilities.max(axis=1)))]
        columns += [(f"p_{name}", _decimals(column)) for name, column in zip(classes, probabilities.T, strict=True)]
        found = {name: int((best == kind).sum()) for kind, name in enumerate(classes)}
    if p_values is not None and belongs is not None:
        columns += [("p_value", [f"{value:.6g}" for value in p_values])]
        columns += [("belongs", ["yes" if value else "no" for value in belongs])]
        anomalous = int((~belongs).sum())
    header, values = zip(*columns, strict=True)
    write_table(results.aside / "predictions.csv", header, zip(*values, strict=True))
    result = Predicted(len(items["id"]), refused, results.folder, found, anomalous, defects, list(notes))
    write_result(results.aside / "predictions.json", result)
    return result


def _decimals(values: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in values]
