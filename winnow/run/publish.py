"""Results of a call, written aside and put in place together: a folder holds those of one call, whole, or none.

A call writes into a hidden subfolder and then, with `publish`, removes the files of an earlier call, puts the new ones in
place and, last, the one whose presence means "whole". What is removed is what the folder's manifest, results.json, says
that Winnow wrote there; a folder is new, empty or has a manifest, and files of anyone else's in it are left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from winnow.errors import Damaged, OptionError, RunError
from winnow.files import read_sealed, sync, told, write_sealed
from winnow.results import as_json, from_json
from winnow.run.deliver import Outbox
from winnow.run.manifest import NAME, check_place, files_in, read_manifest, write_manifest
from winnow.run.working_copy import is_address, push, ready
from winnow.tables import read_table, write_table


@dataclass(frozen=True)
class Kind:
    """What a command leaves in a folder for results.

    The command, the option that names the folder, a pattern of the names that its files can have, the file written last (""
    where there is none), and its folders; `place` is where in a run folder it may be, the default place.
    """

    command: str
    option: str
    place: str
    files: str
    last: str = ""
    folders: tuple[str, ...] = ()

    @property
    def aside(self) -> str:
        """Return the name of the folder for results that are not finished."""
        return f".{self.command.replace(' --', '-')}.next"

    def takes(self, name: str) -> bool:
        """Return whether a file or folder of results can have a name."""
        return name in (self.last, NAME, *self.folders) or re.fullmatch(self.files, name, re.DOTALL) is not None


SCORES = Kind("score", "--to", "scores", r"(scores|segments|patches|defects|quarantine)\.csv|video-\d{3,}-.*\.(png|ffconcat)|drift\.html",
              "scores.json", ("pool",))  # fmt: skip
HEATMAPS = Kind("score --heatmaps", "--heatmaps", "scores", r"\d{5,}-.*\.(overlay|mask|map)\.png")
PREDICTIONS = Kind(
    "predict", "--to", "predictions", r"(predictions|defects|quarantine)\.csv", "predictions.json", ("pool",)
)
EVALUATION = Kind("evaluate", "--to", "evaluation", r"(scores|quarantine)\.csv|(histogram|roc)\.png", "evaluation.json",
                  ("pools", "damaged"))  # fmt: skip
ASIDE = re.compile(r"\..+\.next")


class Results:
    """The results of one call, written into `aside` by the body of a `with` statement and put in place by `publish`.

    `run` is the run folder whose results they are, None without one. Decoded pools stay aside when the call fails or is
    killed, so that repeating the call goes on from there; all else goes. Entering raises `OptionError` when the folder cannot
    be made or written, or holds what Winnow did not write; `RunError` while another call is writing there; a full disk is a
    `RunError` too. A folder s3://bucket/results is one on this disk until `publish` sends what is in it.
    """

    def __init__(self, folder: str | Path, kind: Kind, run: Path | None) -> None:
        self.outbox = Outbox(str(folder), kind.option) if is_address(folder) else None
        self.folder, self.kind, self.run = self.outbox.folder if self.outbox else Path(folder), kind, run
        self.aside = self.folder / kind.aside
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        try:
            ready(self.folder)
        except RunError as error:
            raise RunError(error.message, f"{error.remedy} Or give another place with {self.kind.option}.") from error
        if self.outbox:
            self.outbox.check()
        try:
            check_place(self.folder, self.kind.option, self.run, (self.kind.place,))
            if not self.aside.is_dir():  # nobody is writing there, who might move files while they are looked at
                _check(self.folder, self.kind)
            self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
            self._lock = _locked(self.aside, self.folder)
            try:
                _check(self.folder, self.kind)
                write_manifest(self.aside, self.kind.command, ())  # by which the next call knows it for ours
                self._keep_pools()
                for path in self.folder.glob(f".{NAME}.*.tmp"):
                    path.unlink()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise OptionError(
                f"{self.kind.option} {self.folder} is no folder that can be written ({_why(error)}).",
                f"Give another one with {self.kind.option}.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._keep_pools()
            if not any(self.aside.rglob("parts/*.json")):
                shutil.rmtree(self.aside)
                for path in self._made:  # the innermost first; none when results are in them
                    if any(path.iterdir()):
                        break
                    path.rmdir()
        finally:
            os.close(self._lock)
            if self.outbox:
                self.outbox.close()
        if isinstance(error, OSError) and self._is_ours(error):
            raise RunError(
                f"{self.folder} cannot be written ({_why(error)}).",
                "Free disk space or choose another folder; the results of earlier calls are as they were.",
            ) from error

    def _is_ours(self, error: OSError) -> bool:
        """Return whether an error is of a file in the folder; that of a full disk names none."""
        if error.filename is None:
            return bool(self.kind.last) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        return Path(os.fsdecode(error.filename)).absolute().is_relative_to(self.folder.absolute())

    def _keep_pools(self) -> None:
        for path in self.aside.iterdir():
            if path.name not in ("pool", "pools", NAME):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _withdraw(self) -> list[str]:
        """Take the mark of wholeness away: from here on the folder holds no results; return the files of the earlier call.

        The manifest then names the old files and the new: wherever a kill comes, the next call may remove what is there.
        """
        old = _earlier(self.folder, self.kind)
        write_manifest(self.folder, self.kind.command, [*old, *files_in(self.aside)])
        if self.kind.last:
            (self.folder / self.kind.last).unlink(missing_ok=True)
            sync(self.folder)
        return old

    def _place(self, old: list[str]) -> None:
        """Put the new in the place of the old, the mark of wholeness last."""
        new = files_in(self.aside)
        for name in old:
            if "/" not in name and name != NAME:
                (self.folder / name).unlink(missing_ok=True)
        for name in self.kind.folders:
            if (self.folder / name).exists():
                (self.folder / name).rename(self.aside / f"old {name}")
        names = {name.split("/")[0] for name in new} - {NAME, self.kind.last}
        for name in sorted(names):
            (self.aside / name).rename(self.folder / name)
        sync(self.folder)
        write_manifest(self.folder, self.kind.command, new)
        if self.kind.last:
            (self.aside / self.kind.last).rename(self.folder / self.kind.last)
            sync(self.folder)


def check_results(folder: str | Path, kind: Kind, run: Path) -> None:
    """Raise what `Results` would, of a folder that it is to be entered for later, by another."""
    if is_address(folder):
        Outbox(str(folder), kind.option).check()
        return
    check_place(Path(folder), kind.option, run, (kind.place,))
    _check(Path(folder), kind)


def publish(*results: Results) -> None:
    """Put the results of one call in place, those of its first folder last of all; call it inside their `with`."""
    with _held([one.folder for one in results], fcntl.LOCK_EX):
        old = [one._withdraw() for one in results]
        for one, files in reversed(list(zip(results, old, strict=True))):
            one._place(files)
    for one, files in reversed(list(zip(results, old, strict=True))):
        if one.outbox:
            one.outbox.send(one.kind.last, files)
        push(one.folder)


def reading(*folders: Path) -> AbstractContextManager[None]:
    """Keep calls that end from putting their results in place while those in some folders, existing or not, are read."""
    return _held([folder for folder in folders if folder.is_dir()], fcntl.LOCK_SH)


@contextmanager
def _held(folders: Sequence[Path], how: int) -> Iterator[None]:
    handles: list[int] = []
    try:
        for folder in folders:
            handles.append(os.open(folder, os.O_RDONLY))
            fcntl.flock(handles[-1], how)
        yield
    finally:
        for handle in handles:
            os.close(handle)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Write a file, and what belongs beside it, as the only call; `RunError` while another is at it."""
    aside = path.with_name(f".{path.name}.next")
    with told(path):
        handle = _locked(aside, path)
    try:
        yield
    finally:
        with suppress(OSError):  # of a folder that is not ours
            aside.rmdir()
        os.close(handle)


def list_refused(folder: Path, pools: Mapping[str, Path]) -> None:
    """Write quarantine.csv into a folder for results: what was refused of the inputs, which are read into `pools`, by group where
    these have names. No file is written where nothing was."""
    rows = [
        (name, row["source"], row["reason"])
        for name, pool in pools.items()
        for row in read_table(pool / "quarantine.csv")
    ]
    named = any(pools)
    if rows:
        header = ("group", "source", "reason")
        write_table(folder / "quarantine.csv", header[not named :], (row[not named :] for row in rows))


Result = TypeVar("Result")


def write_result(path: Path, result: Any) -> None:
    """Write the typed result of a call as JSON, but for the folder it is in, which may be moved; with a seal, and the SHA-256 of the
    tables beside it."""
    content = {name: value for name, value in as_json(result).items() if name != "folder"}
    write_sealed(path, content, sorted(table.name for table in path.parent.glob("*.csv")))


def read_result(kind: type[Result], path: Path) -> Result:
    """Return the result that `write_result` wrote; `Damaged` when it, or a table beside it, is not what was written."""
    again = "Restore it, or run the command that writes it again."
    content = read_sealed(path, kind.__name__, again)
    try:
        return from_json(kind, {**content, "folder": path.parent})
    except (ValidationError, TypeError) as error:
        raise Damaged(f"{path} is not what Winnow writes ({_first(error)}).", again) from None


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "it is no object"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"


def _check(folder: Path, kind: Kind) -> None:
    """Raise `OptionError` unless a folder is new, empty or of earlier results of the same command, and none of them would be in the
    place of anyone else's file."""
    remedy = f"Give a new or an empty folder with {kind.option}."
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    try:
        manifest = read_manifest(folder)
        begun = [read_manifest(folder / name) for name in names if ASIDE.fullmatch(name)]
    except Damaged as error:
        raise OptionError(error.message, remedy) from error
    ours = manifest is not None or all(name.startswith(".") or (folder / name / NAME).exists() for name in names)
    if not ours:
        raise OptionError(f"{kind.option} {folder} is not empty, and what is in it was not written by Winnow.", remedy)
    for found in (manifest, *begun):
        if found and found[0] != kind.command:
            raise OptionError(f"{kind.option} {folder} holds results of winnow {found[0]}.", remedy)
    aside = folder / kind.aside
    new = aside.is_dir() and all(path.name.startswith(f".{NAME}.") for path in aside.iterdir())
    if aside.exists() and not (new or (aside / NAME).exists()):
        raise OptionError(f"{aside} was not written by Winnow and would be replaced.", remedy)
    _earlier(folder, kind)


def _earlier(folder: Path, kind: Kind) -> list[str]:
    """Return the files that an earlier call wrote into a folder; `OptionError` when another file could be replaced by new ones."""
    manifest = read_manifest(folder)
    files = manifest[1] if manifest else []
    for path in folder.iterdir() if folder.exists() else ():
        if not kind.takes(path.name) or path.name in files:
            continue
        is_folder = path.name in kind.folders and path.is_dir() and not path.is_symlink()
        inside = [f"{path.name}/{name}" for name in files_in(path)] if is_folder else [path.name]
        foreign = sorted(set(inside) - set(files))
        if foreign:
            raise OptionError(f"{folder / foreign[0]} was not written by Winnow and could be replaced.",
                              f"Give another folder with {kind.option}, or rename it.")  # fmt: skip
    return files


def _locked(folder: Path, what: Path) -> int:
    """Make a folder and lock it, while `what` is written; the system lets go of the lock when the process ends, however it ends."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunError(
                f"Another call is writing {what}.", "Wait until it has ended, or choose another folder."
            ) from None
        if folder.exists() and os.path.samestat(os.stat(folder), os.fstat(handle)):
            return handle
        os.close(handle)  # another call ended and removed it between the two


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
