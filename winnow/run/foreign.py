"""What in a run folder is a person's: no command removes it, neither a step that replaces its files nor a run begun anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from winnow.errors import Damaged, RunError
from winnow.files import quoted
from winnow.run.commit import RECORDS, STAGING
from winnow.run.manifest import files_in, read_manifest
from winnow.run.records import LOOSE, Record
from winnow.stages import STAGES
from winnow.tables import read_table

POOL = re.compile(r"pool/(pool\.json|(items|pictures)\.parquet|quarantine\.csv|pixels-\d+\.npy|parts/\d+\.json)")
OURS = re.compile(r"run\.json|report\.html|labels\.sqlite(-wal|-shm|-log)?|recalibration/(proposed|in-force)\.json")
AUDIT = "classifier/audit.csv"


def check_replaced_by(run: Path, step: str) -> None:
    """Raise `RunError` where a step would remove a file that is not the step's, in the folders that it replaces."""
    wrote = _written(run, [step])
    if wrote is not None:
        _refuse(run, _below(run, STAGES[step].replaced), wrote, f"the step '{step}'")


def check_begun_anew(run: Path, places: Iterable[str]) -> None:
    """Raise `RunError` where a run that is begun anew would remove what a person wrote: of the run's `places`, other files than
    Winnow's, marks in review.csv, and labels in audit.csv that are not imported."""
    from winnow.run.review import REVIEW, left_out

    marked = left_out(run)
    if marked:
        raise RunError(
            f"{run / REVIEW} marks {len(marked):,} picture{'s' * (len(marked) > 1)} to be left out, which --overwrite would remove.",
            "Move it away, or choose another folder.",
        )
    check_audit(run)
    steps = [path.stem for path in (run / RECORDS).glob("*.json")]
    wrote = _written(run, steps) if steps else None
    if wrote is None:
        # Nothing says whose its files are: the removal of an earlier run was cut off, or a record is damaged.
        return
    results = [run / name for name in ("scores", "evaluation", "predictions")]
    for folder in results:
        manifest = read_manifest(folder)
        wrote |= {f"{folder.name}/{name}" for name in manifest[1]} if manifest else set()
    _refuse(run, _below(run, set(places) - {RECORDS, STAGING}), wrote, "--overwrite")


def check_audit(run: Path) -> None:
    """Raise `RunError` for labels that a person has filled into audit.csv and not imported: the next classifier replaces it."""
    from winnow.label.store import LabelStore

    path = run / AUDIT
    filled = [row["id"] for row in read_table(path) if row.get("label")] if path.exists() else []
    if not filled:
        return
    with LabelStore.read(run / "labels.sqlite") as store:
        lost = set(filled) - store.labels().keys()
    if lost:
        what = "1 label that is" if len(lost) == 1 else f"{len(lost):,} labels that are"
        raise RunError(
            f"{path} holds {what} not imported, and would be replaced.",
            f"Import them (winnow label --run {quoted(run)} --import {quoted(path)}), or move it away.",
        )


def _written(run: Path, steps: Iterable[str]) -> set[str] | None:
    """Return the files that the records of steps name, None where there is no record or one is damaged."""
    try:
        records = [Record.read(run / RECORDS / f"{step}.json") for step in steps]
    except (Damaged, RunError, OSError):
        return None
    return {name for record in records for name in record.artefacts}


def _below(run: Path, places: Iterable[str]) -> Iterator[str]:
    """Yield the files of some places of a run, relative to it."""
    for place in sorted(places):
        path = run / place
        if path.is_dir() and not path.is_symlink():
            yield from sorted(f"{place}/{name}" for name in files_in(path))
        elif path.is_symlink() or path.exists():
            yield place


def _refuse(run: Path, names: Iterable[str], wrote: set[str], who: str) -> None:
    for name in names:
        parts = Path(name).parts
        hidden = any(part.startswith(".") for part in parts)  # of a system, or not finished
        known = name in wrote or name in LOOSE or LOOSE & set(parts) or POOL.fullmatch(name) or OURS.fullmatch(name)
        if hidden or known or (parts[0] == "export" and _is_export(run / name)):
            continue
        raise RunError(
            f"{run / name} was not written by Winnow, and {who} would remove it.", "Move it out of the run's folders."
        )


def _is_export(path: Path) -> bool:
    """Return whether a file is one that `winnow export` wrote, or its card."""
    from winnow.deploy.card import is_card, is_exported

    return is_card(path.with_suffix(".onnx")) if path.suffix == ".md" else is_exported(path)
