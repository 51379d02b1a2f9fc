"""Two finished runs of 30 drawn pictures, small enough to be copied for every test, and the command in this process."""

from __future__ import annotations

import csv
import hashlib
import os
from functools import partial
from pathlib import Path

from winnow.cli import main

from conftest import blocks, stripes, write_pictures

# A recipe of its own, so that neither a recipe's defaults nor weights that are at hand decide what is trained.
PLAIN = """
title = "tiny"
source = "the tests"
cost = "a second"
expect = "nothing"

[ingest]
size = [32, 32]

[model]
width = 4
latent = 4

[train]
iterations = 4
check_every = 2
device = "cpu"

[select]
number = 6

[classify]
folds = 2
"""
PATCHED = (
    PLAIN.replace("number = 6", "number = 0")
    .replace("size = [32, 32]", "size = [16, 16]\npatches = true\nblank = 0.0")
    .replace("check_every = 2", "check_every = 2\nfast = 2")
    .replace("[select]", '[detect]\nscorer = "fisher(error(pool=top_windows), error(pool=texture))"\n\n[select]')
)


def winnow(*words: object) -> int:
    """Run the command in this process, which spares each call the start of Python and torch; return its exit status."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def tiny_runs(base: Path) -> Path:
    """Make, unless `base` has them, `good`, `bad`, the recipe `tiny.toml`, and the runs `plain` (selected, labelled,
    classified) and `patched`; return `base`."""
    if (base / "made").exists():
        return base
    write_pictures(base / "good", 6, 5, partial(stripes, size=32))
    write_pictures(base / "bad", 2, 3, partial(blocks, size=32), seed=1)
    for name, text in (("tiny", PLAIN), ("patched", PATCHED)):
        (base / f"{name}.toml").write_text(text)
    assert winnow("run", base / "tiny.toml", base / "good", "--to", base / "plain") == 0
    assert winnow("run", base / "patched.toml", base / "good", "--to", base / "patched") == 0
    with (base / "plain" / "selection.csv").open(encoding="utf-8", newline="") as file:
        chosen = [row["id"] for row in csv.DictReader(file)]
    rows = "".join(f"{item},{'ab'[number % 2]}\n" for number, item in enumerate(chosen))
    (base / "labels.csv").write_text(f"id,label\n{rows}")
    assert winnow("label", "--run", base / "plain", "--import", base / "labels.csv", "--classes", "a,b") == 0
    assert winnow("classify", "--run", base / "plain") == 0
    for page in base.glob("*/report.html"):  # megabytes that every copy would copy
        page.unlink()
    (base / "made").touch()
    return base


def tree(folder: Path) -> dict[str, str]:
    """Return what lies under a folder: each path with the SHA-256 of its file, or with what else it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "" if path.is_file() else "other"
        found[os.fsencode(path.relative_to(folder)).decode("latin-1")] = (
            kind or hashlib.sha256(path.read_bytes()).hexdigest()
        )
    return found
