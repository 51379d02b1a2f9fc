"""Results of a call, written aside and put in place together: a folder holds those of one call, whole, or none.

A call writes into a hidden subfolder and then, with `publish`, removes the files of an earlier call, puts the new ones in
place and, last, the one whose presence means "whole". Files that are not Winnow's are left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from winnow.errors import Damaged, OptionError, RunError
from winnow.files import read_json, sync, write_json
from winnow.results import as_json, from_json


@dataclass(frozen=True)
class Kind:
    """What a command leaves in a folder for results.

    The option that names the folder, a pattern of its files, the file written last ("" where there is none), and its
    folders, each with a pattern of something that only Winnow puts there.
    """

    name: str
    option: str
    files: str
    last: str = ""
    folders: dict[str, str] = field(default_factory=dict)


SCORES = Kind("scores", "--to", r"(scores|segments|patches|defects)\.csv|video-\d{3,}-.*\.(png|ffconcat)", "scores.json",
              {"pool": "parts"})  # fmt: skip
HEATMAPS = Kind("heatmaps", "--heatmaps", r"\d{5,}-.*\.(overlay|mask|map)\.png")
PREDICTIONS = Kind("predictions", "--to", r"predictions\.csv", "predictions.json", {"pool": "parts"})
EVALUATION = Kind("evaluation", "--to", r"scores\.csv|(histogram|roc)\.png", "evaluation.json",
                  {"pools": "*/parts", "damaged": "*.npy"})  # fmt: skip


class Results:
    """The results of one call, written into `aside` by the body of a `with` statement and put in place by `publish`.

    Decoded pools stay aside when the call fails or is killed, so that repeating the call goes on from there; all else goes.
    Entering raises `OptionError` when the folder cannot be made or written or is not one for results, `RunError` while
    another call is writing there; a full disk is a `RunError` too.
    """

    def __init__(self, folder: str | Path, kind: Kind) -> None:
        self.folder, self.kind = Path(folder), kind
        self.aside = self.folder / f".{kind.name}.next"
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        try:
            _check(self.folder, self.kind)
            self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
            self._lock = _locked(self.aside)
            self._keep_pools()
            for path in self.folder.iterdir():
                if _is_left_over(path.name, self.kind):
                    path.unlink()
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
            if path.name not in ("pool", "pools"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _withdraw(self) -> None:
        """Take the mark of wholeness away: from here on the folder holds no results."""
        if self.kind.last:
            (self.folder / self.kind.last).unlink(missing_ok=True)
            sync(self.folder)

    def _place(self) -> None:
        """Put the new in the place of the old, the mark of wholeness last."""
        for path in self.folder.iterdir():
            if re.fullmatch(self.kind.files, path.name):
                path.unlink()
        for name in self.kind.folders:
            if (self.folder / name).exists():
                (self.folder / name).rename(self.aside / f"old {name}")
        new = [path for path in self.aside.iterdir() if not path.name.startswith("old ")]
        for path in sorted(new, key=lambda path: path.name == self.kind.last):
            path.rename(self.folder / path.name)
        sync(self.folder)


def publish(*results: Results) -> None:
    """Put the results of one call in place, those of its first folder last of all; call it inside their `with`."""
    for one in results:
        one._withdraw()
    for one in reversed(results):
        one._place()


Result = TypeVar("Result")


def write_result(path: Path, result: Any) -> None:
    """Write the typed result of a call as JSON, but for the folder it is in, which may be moved."""
    write_json(path, {name: value for name, value in as_json(result).items() if name != "folder"})


def read_result(kind: type[Result], path: Path) -> Result:
    """Return the result that `write_result` wrote; `Damaged` when the file is not one of that kind."""
    content = read_json(path)
    try:
        return from_json(kind, {**content, "folder": path.parent})
    except (ValidationError, TypeError) as error:
        raise Damaged(
            f"{path} is not what Winnow writes ({_first(error)}).",
            "Restore it, or run the command that writes it again.",
        ) from None


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "it is no object"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"


def _check(folder: Path, kind: Kind) -> None:
    if (folder / "run.json").exists():
        raise OptionError(f"{kind.option} {folder} is a run folder.", "Give a folder for the results alone.")
    for name, pattern in kind.folders.items():
        path = folder / name
        if path.exists() and not (path.is_dir() and (any(path.glob(pattern)) or not any(path.iterdir()))):
            raise OptionError(f"{path} was not written by Winnow and would be replaced.",
                              f"Give another folder with {kind.option}, or rename it.")  # fmt: skip


def _is_left_over(name: str, kind: Kind) -> bool:
    """Return whether a file was to become one of the kind's when its writer was killed."""
    left = re.fullmatch(r"\.(.+)\.[0-9a-z]+\.tmp", name)
    return left is not None and (left[1] == kind.last or re.fullmatch(kind.files, left[1]) is not None)


def _locked(folder: Path) -> int:
    """Make a folder and lock it; the system lets go of the lock when the process ends, however it ends."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunError(
                f"Another call is writing {folder.parent}.", "Wait until it has ended, or choose another folder."
            ) from None
        if folder.exists() and os.path.samestat(os.stat(folder), os.fstat(handle)):
            return handle
        os.close(handle)  # another call ended and removed it between the two


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
