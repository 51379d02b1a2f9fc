"""The parts of the report on what a run was made from: its training, its sources, what was refused, its options."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from winnow.errors import Damaged
from winnow.pool.pool import Pool
from winnow.report import figures
from winnow.report.html import Section, Table, chart
from winnow.results import Ingested, Trained
from winnow.run.folder import RunFolder
from winnow.run.working_copy import told
from winnow.show import count
from winnow.tables import read_table

FROZEN = (
    "Nothing was trained, so that the threshold comes from the pictures of the column train too, each held out in turn."
)


def training_section(run: RunFolder) -> Section:
    """Return the training's losses and numbers."""
    found = run.result(Trained)
    if found.training is None:
        return Section("Model", text=[f"A frozen network of {found.parameters:,} parameters; nothing was trained."])
    log = _log(run.folder("train") / "train.jsonl")
    facts = [
        (name.replace("_", " "), getattr(found.training, name))
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
        figures=[
            chart(
                "Loss",
                figures.loss_curves,
                log,
                alt=f"Training and validation loss; the best at step {found.training.best_step:,}",
            )
        ],
        tables=[Table((), facts, title="Training in numbers")],
    )


def _log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's log; `Damaged` when they are not what was written."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error}).", "Restore it, or train again.") from error


def sources_section(run: RunFolder, pool: Pool, split: np.ndarray) -> Section:
    """Return the sources, what was recognised of them, and what each group was used for."""
    sources = Table(("source",), [(source,) for source in run.asked.sources], title="Given")
    counts: dict[tuple[str, str], Counter[str]] = {}
    for group, joined, part in zip(pool.column("group"), pool.column("joined"), split, strict=True):
        counts.setdefault((group, joined), Counter())[part] += 1
    parts = ("train", "validate", "calibrate", "test")
    groups = Table(
        ("group", "held out with", *parts),
        [
            (group, joined if joined != group else "", *(used[part] for part in parts))
            for (group, joined), used in counts.items()
        ],
        title=f"{count(len(counts), 'group')} and what each was used for",
        folded=len(counts) > 12,
    )
    frozen = run.result(Trained).training is None
    text = [*run.result(Ingested).notes, *([FROZEN] if frozen else [])]
    return Section("What it learnt from", text=text, tables=[sources, groups])


def refused_section(run: RunFolder) -> Section:
    """Return the files that could not be used, and why."""
    table = run.folder("ingest") / "quarantine.csv"
    refused = [(row["source"], row["reason"]) for row in read_table(table)]
    reasons = Counter(reason for _, reason in refused)
    if not refused:
        return Section("Quarantine")
    return Section(
        "Quarantine",
        text=[f"{count(len(refused), 'file')} could not be used; pool/quarantine.csv lists all."],
        tables=[
            Table(("reason", "files"), reasons.most_common(20)),
            Table(("file", "reason"), refused[:50], title="The first of them", folded=True),
        ],
    )


def options_section(run: RunFolder) -> Section:
    """Return every option with who set it, and the command that makes the run again."""
    rows = [
        (name, value, run.set_by.get(f"{section}.{name}", "default"))
        for section, options in run.options.model_dump(mode="json").items()
        for name, value in options.items()
    ]
    marked = [number for number, row in enumerate(rows) if row[2] != "default"]
    return Section(
        "Options, and how to make it again",
        tables=[Table(("option", "value", "set by"), rows, marked=marked, folded=True)],
        commands=[_command(run)],
    )


def _command(run: RunFolder) -> str:
    """Return the command that makes the run again, as a shell reads it."""
    asked = run.options.model_dump(mode="json")
    words = ["winnow", "run", run.recipe or "RECIPE", *run.asked.sources, "--to", told(str(run.path))]
    for key, who in run.set_by.items():
        section, name = key.split(".")
        if who == "you" and section != "segments":  # which winnow score takes
            words += _flags(name.replace("_", "-"), asked[section][name])
    return shlex.join(words)


def _flags(name: str, value: Any) -> list[str]:
    """Return an option as words of a command line."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if value is None:
        return []
    if name == "only":  # each is a flag of its own
        return [word for each in value for word in ("--only", each)]
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
