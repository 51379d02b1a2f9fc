"""Files that are whole or absent: written to a temporary name, synced, renamed; read back by their SHA-256."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shlex
import sys
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from winnow.errors import Damaged, OptionError, RunError, WinnowError, in_one_line

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn an `OSError` of the block, such as that of a full disk, into a `RunError` that names `path` or the file it is about."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL or "written" in str(error)  # numpy says only how much of an array it wrote
        remedy = remedy or "Correct the permissions, or choose another folder, and run it again."
        raise RunError(
            f"{error.filename or path} cannot be written ({reason(error)}).",
            "Free disk space, and run it again." if full else remedy,
        ) from error


def reason(error: OSError) -> str:
    """Return what the system says of an error, as a part of a sentence."""
    return (error.strerror or str(error)).lower()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it takes the place of `path` atomically.

    Raises `RunError` when it cannot be written: every file of ours is written here, so a full disk is told of here.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def make_folder(path: Path, flag: str) -> None:
    """Make a folder for results before any work is done; `OptionError`, which names `flag`, when nothing can be written in it."""
    probe = path / f".{uuid.uuid4().hex[:8]}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OptionError(
            f"Nothing can be written in {path} ({reason(error)}).", f"Choose another place: {flag} ..."
        ) from error


def sync(path: Path) -> None:
    """Have the system put a file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON atomically; the last write of a step, because its existence means "whole"."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; `RunError` when the file is missing, `Damaged` when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing.", "Run the step that writes it, or check the folder's name.") from None
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({reason(error)}).", "Correct that, or run the step that writes it again."
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise Damaged(
            f"{path} is not valid JSON ({error}).", "Restore it, or run the step that writes it again."
        ) from error


@contextmanager
def as_written(path: Path, again: str) -> Iterator[None]:
    """Turn whatever the block raises at what a file holds into `Damaged`, with the remedy `again`: its sums may have been made to fit."""
    try:
        yield
    except WinnowError:
        raise
    except Exception as error:  # a wrong value in a file may raise any class, far from where it is read
        raise Damaged(f"{path} does not hold what Winnow writes ({in_one_line(error)}).", again) from error


def bring(path: Path) -> None:
    """Fetch a large file of a run in a bucket, of which its working copy may hold the length alone; such a one is of 1970.

    Any process that opens such files comes through here, so the room that fetches them is found by its name, as a step's is.
    """
    with suppress(FileNotFoundError):
        if os.stat(path).st_mtime_ns == 0:
            import_module("winnow.run.working_copy").fetch(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    bring(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str, again: str = "") -> None:
    """Raise `Damaged`, with the remedy `again`, unless the file's SHA-256 is the one recorded when it was written."""
    try:
        found = sha256(path)
    except FileNotFoundError:
        raise RunError(f"{path} is missing.", "Run the step that writes it, or check the folder's name.") from None
    except OSError as error:
        raise Damaged(
            f"{path} cannot be read ({reason(error)}).", "Correct that, or run the step that writes it again."
        ) from error
    if found != expected:
        raise Damaged(
            f"{path} is damaged: its SHA-256 is not the one recorded when it was written.",
            again or "Copy the file again from its origin, or run the step that writes it again.",
        )


_VERIFIED: set[tuple[str, str, int, int]] = set()
"""Files that this process has verified: path, SHA-256, size and time of change."""


def verify_once(path: Path, expected: str, again: str = "") -> None:
    """Do as `verify`, but for a file that this process has verified and that has not been written since."""
    bring(path)
    with suppress(OSError):
        found = path.stat()
        mark = (os.path.abspath(path), expected, found.st_size, found.st_mtime_ns)
        if mark not in _VERIFIED:
            verify(path, expected, again)
            _VERIFIED.add(mark)
        return
    verify(path, expected, again)


def write_sealed(path: Path, content: dict[str, Any], files: Iterable[str] = ()) -> None:
    """Write the JSON file by which a folder is whole, last: the content, the SHA-256 of `files` beside it, and a seal."""
    write_json(path, sealed({**content, "sha256": {name: sha256(path.parent / name) for name in files}}))


def read_sealed(
    path: Path, what: str, again: str, version: int | None = None, *, verified: bool = True, but: Collection[str] = ()
) -> dict[str, Any]:
    """Read what `write_sealed` wrote, the files beside it verified unless they need not be, `but` for those of some names;
    `what` names it, `again` is the remedy.

    Raises `RunError` when it is not there or of another format than `version`, `Damaged` when a byte of it has changed.
    """
    if not path.exists():
        raise RunError(f"{path.parent} holds no finished {what}.", again)
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    is_other = version is not None and found is not None and found != version
    whole = content if is_other and "seal" not in content else unsealed(path, content, again)
    if is_other:
        raise RunError(f"{path.parent} holds a {what} of format {found}, and this version reads {version}.", again)
    with as_written(path, again):
        for name, expected in whole["sha256"].items() if verified else ():
            if name not in but:
                verify(path.parent / name, expected)
    return whole


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return JSON content with a seal, by which `unsealed` sees any change of it."""
    whole = json.loads(json.dumps(content, default=str))
    return {**whole, "seal": seal(whole)}


def unsealed(path: Path, content: Any, again: str) -> dict[str, Any]:
    """Return JSON content of a file without its seal; `Damaged`, with the remedy `again`, when it is not what was sealed."""
    whole = {name: value for name, value in content.items() if name != "seal"} if isinstance(content, dict) else None
    if whole is None or content.get("seal") != seal(whole):
        raise Damaged(f"{path} is damaged: it is not what was written.", again)
    return whole


def seal(content: dict[str, Any]) -> str:
    """Return a hash of JSON content, kept in it under another name, so that a change by hand is seen."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def locked(path: Path, what: str, wait: bool = False, remedy: str = "Wait until it has ended.") -> Iterator[None]:
    """Hold a lock file, which the system lets go of however the process ends.

    Raises `RunError` when another process holds it, unless this one shall `wait`.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise RunError(f"{what} is at work: {file.read().strip() or 'another process'}.", remedy) from None
        file.truncate(0)
        file.write(f"{_command()}, process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _command() -> str:
    name = Path(sys.argv[0]).name
    return " ".join(["winnow" if name in ("cli.py", "winnow") else name, *sys.argv[1:2]])


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path as it is written in a command, in quotes where a shell would take it for something else."""
    return shlex.quote(os.fspath(path))
