"""A finished run of 32 drawn pictures, and how the tests look at a run folder."""

from __future__ import annotations

import csv
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import winnow
from winnow import cli

from conftest import blocks, stripes, write_pictures

OPTIONS = {"size": (32, 32), "width": 4, "latent": 4, "iterations": 4, "check_every": 2, "folds": 2, "device": "cpu"}
FLAGS = [
    word
    for name, value in OPTIONS.items()
    for word in (f"--{name.replace('_', '-')}", *(value if name == "size" else [value]))
]
RECORDED = {"steps", ".staging", ".shards", ".cache", "run.json"}


def small_run(base: Path) -> winnow.Run:
    """Make `good`, `bad`, the run `run` of what is good, and `labels.csv` of half of its pictures; return the run."""
    write_pictures(base / "good", 8, 4, partial(stripes, size=32))
    write_pictures(base / "bad", 2, 3, partial(blocks, size=32), seed=1)
    run = winnow.Run(base / "run", **OPTIONS)
    run.ingest(base / "good")
    run.train()
    run.encode()
    run.calibrate()
    write_labels(base / "labels.csv", run)
    return run


def judged_run(base: Path) -> winnow.Run:
    """Make a small run that has chosen and classified too."""
    run = small_run(base)
    run.select(4)
    run.classify(labels=base / "labels.csv", head="nearest_mean")
    return run


def command(*words: object) -> int:
    """Run the command `winnow` in this process; return its status."""
    try:
        cli.main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def write_labels(path: Path, run: winnow.Run, every: int = 2) -> Path:
    """Write two classes, in turn, for every so many pictures of a run."""
    ids = run.embeddings.ids[::every]
    path.write_text(
        "id,label\n" + "".join(f"{name},{'ab'[number % 2]}\n" for number, name in enumerate(ids)), encoding="utf-8"
    )
    return path


def listed(folder: Path) -> list[str]:
    """Return the ids of selection.csv."""
    with (folder / "selection.csv").open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the SHA-256 and the time of change of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a step wrote: of all but records, run.json, locks, and what has times in it."""
    timed = ("train.jsonl", "last.safetensors", "report.html")
    return {
        name: digest
        for name, (digest, _) in tree(folder).items()
        if name.split("/")[0] not in RECORDED and not name.endswith((*timed, ".lock", ".tmp"))
    }


def results(folder: Path) -> dict[str, Any]:
    """Return the results in the records of a run, without what is measured by the clock."""
    return {
        path.stem: _untimed(json.loads(path.read_text(encoding="utf-8"))["result"])
        for path in sorted((folder / "steps").iterdir())
    }


def _untimed(value: Any) -> Any:
    timed = ("seconds", "pictures_per_second", "speed")
    return (
        {name: _untimed(part) for name, part in value.items() if name not in timed}
        if isinstance(value, dict)
        else value
    )
