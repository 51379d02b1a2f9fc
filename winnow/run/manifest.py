"""What a folder of results says of itself (results.json), and the places where results may go."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from winnow.data.own_folders import RESULTS, RESULTS_FORMAT
from winnow.errors import Damaged, OptionError
from winnow.files import read_json, sealed, unsealed, write_json
from winnow.run.commit import RECORDS, STAGING
from winnow.run.places import OWN

NAME, VERSION = RESULTS, 1
BEGUN = (RECORDS, STAGING, "pool")  # one of which every run has


def read_manifest(folder: Path) -> tuple[str, list[str]] | None:
    """Return the command that wrote a folder of results and the files it wrote, None where no manifest lies.

    Raises `Damaged` when it is not what Winnow writes: a command removes the files it names, and no other.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = unsealed(path, read_json(path), "Restore it, or give another folder.")
    try:
        command, files = content["command"], [PurePosixPath(name) for name in content["files"]]
        is_ours = content["format"] == RESULTS_FORMAT and content["version"] == VERSION and isinstance(command, str)
    except (KeyError, TypeError):
        is_ours = False
    if not is_ours or any(file.is_absolute() or ".." in file.parts or not file.parts for file in files):
        raise Damaged(f"{path} is not what Winnow writes.", "Restore it, or give another folder.")
    return command, [file.as_posix() for file in files]


def write_manifest(folder: Path, command: str, files: Collection[str]) -> None:
    """Write which files of a folder a command has written, or is about to."""
    content = {"format": RESULTS_FORMAT, "version": VERSION, "command": command, "files": sorted({*files, NAME})}
    write_json(folder / NAME, sealed(content))


def files_in(folder: Path) -> list[str]:
    """Return every file below a folder, relative to it; a link counts as a file, wherever it leads."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def check_replaced(path: Path, flag: str, is_ours: bool) -> None:
    """Raise `OptionError` for a file of somebody else's that one of ours would replace."""
    if os.path.exists(path) and not is_ours:
        raise OptionError(f"{path} was not written by Winnow and would be replaced.", f"Give another name with {flag}.")


def check_place(path: Path, flag: str, run: Path | None, own: Collection[str]) -> None:
    """Raise `OptionError` where results would get among what a run has learnt, or into a run that did not make them.

    `run` is the folder of the run that makes them, None without one; of its own names they may take `own`.
    """
    here = Path(os.path.realpath(path))
    for folder in (here, *here.parents):
        # os.path takes names that are too long, of which whoever writes there tells.
        if not (os.path.exists(folder / "run.json") and any(os.path.exists(folder / name) for name in BEGUN)):
            continue
        if folder == here:
            raise OptionError(f"{flag} {path} is a run folder.", "Give a place for the results alone.")
        if run is None or folder != Path(os.path.realpath(run)):
            raise OptionError(f"{flag} {path} is in {folder}, another run.", "Give a place outside of it.")
        first = here.relative_to(folder).parts[0]
        if first not in own and (first in OWN or first.startswith(".")):
            raise OptionError(f"{flag} {path} is a place of the run's own.", "Give another one.")
        return
