"""Where a run may be begun: what counts as one already, and what no command deletes."""

from __future__ import annotations

from pathlib import Path

from winnow.errors import RunError
from winnow.files import quoted
from winnow.run.commit import RECORDS, STAGING, at_work, remove
from winnow.run.places import EARLY, OWN
from winnow.run.records import Asked


def check_free(path: Path, overwrite: bool, step: str = "") -> None:
    """Raise `RunError` unless a run may be begun in a folder: an empty one, one without a finished step, or one to overwrite.

    What is written there now by another step than the caller's own is a `RunError` too.
    """
    names = {entry.name for entry in path.iterdir()} if path.exists() else set()
    early = all(name in EARLY or (name.startswith(".run.json.") and name.endswith(".tmp")) for name in names)
    manifest = path / "run.json"
    if not names or (early and not has_records(path) and (not manifest.exists() or manifest.stat().st_size == 0)):
        return
    if not manifest.exists() and STAGING not in names:
        raise RunError(f"{path} is not empty and not a run of Winnow.", "Choose a new or an empty folder.")
    if not overwrite and not _is_unfinished(path):
        raise RunError(
            f"{path} already holds a run.",
            "Add --resume to go on with it, --overwrite to begin anew, or choose another folder.",
        )
    if _has_labels(path):
        raise RunError(
            f"{path} holds labels, which no command deletes.",
            f"Keep them (winnow label --run {quoted(path)} --export labels.csv), then delete {path / 'labels.sqlite'} and "
            "labels.sqlite-log yourself; or choose another folder.",
        )
    at_work(path, but=step)
    if overwrite:
        from winnow.run.foreign import check_begun_anew

        check_begun_anew(path, OWN)


def _is_unfinished(path: Path) -> bool:
    """Return whether a folder holds a run of this version without a finished step."""
    if has_records(path):
        return False
    if not (path / "run.json").exists():  # killed while a run was overwritten
        return True
    try:
        return bool(Asked.read(path / "run.json"))
    except RunError:
        return False


def has_records(path: Path) -> bool:
    return any((path / RECORDS).glob("*.json")) or any((path / STAGING).glob(f"*/*/{RECORDS}/*.json"))


def _has_labels(path: Path) -> bool:
    """Return whether a person has given labels, notes or skips; a store that cannot be read may hold some."""
    from winnow.label.store import LabelStore

    try:
        with LabelStore.read(path / "labels.sqlite") as held:
            return bool(held.states())
    except RunError:
        return True


def clear(path: Path, step: str) -> None:
    """Remove what an earlier run left, its records first, but for the lock that is held."""
    for name in (RECORDS, *sorted(OWN - {RECORDS, STAGING})):
        remove(path / name)
    for entry in (path / STAGING).iterdir():
        if entry.name != f"{step}.lock":
            remove(entry)
