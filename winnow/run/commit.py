"""A step as a transaction: what it writes is staged, and takes the place of the old by renames, all at once or not at all.

    R/.staging/STEP.lock           held while the step writes
    R/.staging/STEP/new/...        what the step has written, at the paths that it will have in R
    R/.staging/STEP/scratch/...    what a killed step goes on with
    R/.staging/STEP/record.json    the new record, written when all of `new` is on the disk
    R/.staging/STEP/moving/...     the old record and files, while they are moved here
    R/.staging/STEP/old/...        the same, when all of them are: from here on, what is in R is new
    R/.staging/STEP.done           what is left of a commit, to be removed

The rename of record.json to R/steps/STEP.json is the moment of the commit. Killed before it, the next call puts the old
back, the record last; killed after it, only the staging is left to be removed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from winnow import torchrun
from winnow.errors import RunError
from winnow.files import locked, reason, sync, told, write_text
from winnow.stages import STAGES

STAGING, RECORDS, DONE = ".staging", "steps", ".done"


class Staged:
    """What a step writes until it is committed.

    `keep` names what of an earlier, killed call stays to go on with, as long as its `inputs` were the same.
    """

    def __init__(self, run: Path, step: str, inputs: str, keep: tuple[str, ...] = ()) -> None:
        self.run, self.step = run, step
        self.root = run / STAGING / step
        self.new, self.scratch = self.root / "new", self.root / "scratch"
        self.record = ""
        mark = self.root / "inputs"
        stays = {mark.name, *keep} if mark.exists() and mark.read_text(encoding="utf-8") == inputs else set()
        for path in self.root.iterdir() if self.root.exists() else ():
            if path.name not in stays:
                remove(path)
        for path in [*self.root.rglob(".*.tmp")]:
            path.unlink()
        self.new.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(exist_ok=True)
        if not mark.exists():
            write_text(mark, inputs)

    def path(self, name: str) -> Path:
        """Return where a file or folder of the run is staged."""
        return self.new / name

    @property
    def folder(self) -> Path:
        """Return the staged folder of a step, which is the first of its places."""
        return self.new / STAGES[self.step].places[0]

    def commit(self) -> None:
        """Put what is staged in the place of the old; on any error all is as it was before."""
        write_text(self.root / "record.json", self.record)
        _sync_all(self.new)
        try:
            self._swap()
        except OSError:
            recover(self.run, self.step)
            raise
        recover(self.run, self.step)

    def _swap(self) -> None:
        moving, old, records = self.root / "moving", self.root / "old", self.run / RECORDS
        records.mkdir(exist_ok=True)
        moving.mkdir()
        name = f"{self.step}.json"
        for path in (Path(RECORDS) / name, *map(Path, STAGES[self.step].replaced)):
            _move(self.run / path, moving / path)
        sync(self.run)
        os.rename(moving, old)
        for place in STAGES[self.step].replaced:
            _move(self.new / place, self.run / place)
        sync(self.run)
        os.rename(self.root / "record.json", records / name)
        sync(records)


def drop(run: Path, step: str) -> None:
    """Remove what is staged but for what a later call could go on with."""
    root = run / STAGING / step
    if not any(path.is_file() for name in ("checkpoints", "trainings") for path in root.rglob(f"{name}/*")):
        remove(root)


def recover(run: Path, step: str) -> None:
    """Bring a commit to an end: put everything old back in its place where it was cut off before its moment, and remove what
    is left of it after that. May itself be killed and called again."""
    root = run / STAGING / step
    moving, old = root / "moving", root / "old"
    if _is_cut_off(root) and old.exists():
        for place in STAGES[step].replaced:
            _move(run / place, root / "new" / place)
        os.rename(old, moving)
    if moving.exists():
        for path in (*map(Path, STAGES[step].replaced), Path(RECORDS) / f"{step}.json"):
            _move(moving / path, run / path)
        sync(run)
        remove(moving)
    done = root.with_name(f"{step}{DONE}")
    if old.exists():
        os.rename(
            root, done
        )  # or a kill in the midst of the removal would leave what looks like the beginning of a step
    remove(done)


def _is_cut_off(root: Path) -> bool:
    """Return whether a commit was killed before its moment."""
    return (root / "moving").exists() or ((root / "old").exists() and (root / "record.json").exists())


def recover_all(run: Path) -> None:
    """Put in order what steps were killed at.

    A step that is at work is left alone, and one of your own, which puts itself in order at its next start. A run that can
    only be read is read as it is, unless a commit was cut off in it: `RunError`. Of processes that torchrun has started the
    first does it for all.
    """
    if torchrun.rank():
        return
    for step in STAGES:
        root = run / STAGING / step
        left = root.with_name(f"{step}{DONE}").exists() or (root / "old").exists()
        if not (_is_cut_off(root) or (left and os.access(run / STAGING, os.W_OK))):
            continue
        try:
            with told(run), locked(run / STAGING / f"{step}.lock", step):
                recover(run, step)
        except RunError as error:
            if not isinstance(error.__cause__, OSError):
                continue  # its step is at work
            raise RunError(
                f"{run} was left by a step '{step}' that was killed, and cannot be put in order ({reason(error.__cause__)}).",
                "Make it writable, or copy it to a folder that is.",
            ) from error


def _move(path: Path, to: Path) -> None:
    if path.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, to)


def remove(path: Path) -> None:
    """Remove a file or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_all(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder, folder.parent]:
        sync(path)


def at_work(run: Path, but: str = "") -> None:
    """Raise `RunError` when a step `but` one is writing the run."""
    for path in (run / STAGING).glob("*.lock"):
        if path.stem not in (but, "run"):
            with locked(path, f"The step '{path.stem}' of {run}"):
                pass
