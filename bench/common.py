"""Shared parts of the benchmarks: the location of the data, tables, and the closing line of JSON."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("WINNOW_DATA", "../shared/data"))
TEST_CLIPS = ("744b27", "538438", "4b770a", "c01561")


SCORERS = (
    "fisher",
    "fisher(error(pool=top_windows), error(pool=texture))",
    "error",
    "error(pool=top_pixels)",
    "error(pool=top_windows)",
    "error(pool=texture)",
    "latent",
    "zsum(error, latent)",
    "error_over_variance",
    "variance_corrected",
    "error_over_background",
    "variance_corrected(background=true)",
    "gradient",
    "mahalanobis",
    "mahalanobis(metric=cosine)",
    "mahalanobis(relative=true)",
    "knn",
    "knn(metric=cosine)",
)
"""Every scorer of Winnow, with each of its options that makes another of it."""


def arguments(doc: str | None) -> argparse.Namespace:
    """Parse `--quick`, `--seeds N`, `--to FOLDER` (kept files; a temporary folder otherwise)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="the same columns on less data and fewer seeds, in under 5 minutes"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="keep what is made here")
    given = parser.parse_args()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.seeds = 1 if given.quick else given.seeds
    return given


def need(name: str) -> Path:
    """Return a path of the benchmark data; exit by name when it is absent."""
    path = DATA / name
    if not path.exists():
        sys.exit(f"{path} is not here: set WINNOW_DATA to the folder of the benchmark data.")
    return path.resolve()


def table(rows: Sequence[dict[str, Any]], title: str = "") -> None:
    """Print rows as a Markdown table, numbers with three decimals."""
    if title:
        print(f"\n{title}\n")
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in (columns, ["-" * width for width in widths], *cells):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |", flush=True)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def finish(name: str, started: float, **figures: Any) -> None:
    """Print the last line: one JSON object with the figures."""
    print(json.dumps({"bench": name, "seconds": round(time.perf_counter() - started, 1), **figures}, default=_plain))


def _plain(value: Any) -> Any:
    return (
        value.item()
        if isinstance(value, np.generic)
        else value.tolist()
        if isinstance(value, np.ndarray)
        else str(value)
    )


def mean_deviation(values: Iterable[float]) -> str:
    """Return mean and standard deviation over seeds, as text."""
    numbers = np.array(list(values), dtype=float)
    return f"{numbers.mean():.3f}" + (f" ± {numbers.std(ddof=1):.3f}" if len(numbers) > 1 else "")


def write_list(path: Path, rows: Iterable[tuple[Path, str]]) -> Path:
    """Write a list of pictures with their groups, as `winnow ingest` reads it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "group"))
        writer.writerows(rows)
    return path


def football_lists(folder: Path, most: int = 100_000) -> dict[str, Path]:
    """Return lists of the football data, split by clip as its card says: train, soccer (test), american, sports."""
    root, sports = need("football"), need("sports22")
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, list[tuple[Path, str]]] = {"train": [], "soccer": [], "american": [], "sports": []}
    for row in rows:
        kind = "american" if row["class"] != "soccer" else "soccer" if row["group"] in TEST_CLIPS else "train"
        parts[kind].append((root / row["path"], row["group"]))
    parts["sports"] = [
        (path, path.parent.name) for path in sorted(sports.rglob("*.jpg")) if path.parent.name != "football"
    ]
    for name in ("american", "sports"):
        parts[name] = parts[name][:: max(1, len(parts[name]) // most)]
    return {name: write_list(folder / f"{name}.csv", entries) for name, entries in parts.items()}


def aitex(fabric: str) -> dict[str, list[Any]]:
    """Return strips of one AITEX fabric ("01", "03"), split as the data card says: train, validation, defect, mask.

    Paths of 4096x256 grey strips; `mask` holds the 1-bit mask of each of `defect`, in the same order.
    """
    root, name = need("aitex"), f"fabric_{fabric}"
    if not (root / "good" / name).is_dir():
        sys.exit(f"There is no AITEX fabric '{fabric}' in {root}.")
    good = sorted((root / "good" / name).glob("*.jpg"))
    defect = sorted((root / "defect" / name).glob("*.jpg"))
    mask = [root / "mask" / name / f"{path.stem}.png" for path in defect]
    return {"train": good[:14], "validation": good[14:], "defect": defect, "mask": mask}
