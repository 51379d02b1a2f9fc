"""Addresses s3://bucket/prefix in the place of run folders: the working copy of each, and when it is fetched and pushed.

A run is opened by `local`, which brings its working copy up to date. A command that writes to it calls `ready` before its work
and `push` after it. The cache is where WINNOW_CACHE says, else ~/.cache/winnow; WINNOW_CACHE_GB (20) bounds what of it can be
fetched again.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from winnow.data import buckets
from winnow.data.own_folders import IN_BUCKET
from winnow.errors import LossWarning, OptionError, RunError
from winnow.files import quoted, read_json
from winnow.run.bucket import LEFT, NOTHING, OURS
from winnow.run.commit import STAGING
from winnow.run.copies import STATE, Copy

PULLED = f"{STAGING}/bucket"
"""Where in a folder that was pulled lies what is known of its bucket."""
OPEN: dict[Path, Copy] = {}
"""The working copies that this process has opened, by their folders."""
NAMES: dict[Path, str] = {}
"""What folders of this process are called to the user: the addresses that they stand for."""
ADVISED: set[str] = set()
"""The runs in buckets of which the user was told how their files are reached."""


def is_address(path: str | Path | None) -> bool:
    """Return whether a run or a place for results is an address in a bucket."""
    return isinstance(path, str) and buckets.is_address(path)


def local(path: str | Path) -> Path:
    """Return the folder of a run: itself or, of an address, that of its working copy, brought up to date."""
    if not is_address(path):
        return Path(path)
    copy = copy_of_address(str(path))
    copy.refresh()
    OPEN[copy.folder], NAMES[copy.folder] = copy, copy.address
    return copy.folder


def ready(path: Path) -> None:
    """Make sure, before any work, that what is done to a run can be pushed, and push what an earlier call could not.

    Does nothing for a path outside of the working copies of this process. Raises `RunError` where the bucket cannot be written.
    """
    copy = opened(path)
    if copy is None:
        return
    _check_store(copy.address)
    if copy.pending() and copy.push():
        print(f"Pushed to {copy.address} what an earlier call had left here.", file=sys.stderr)


def push(path: Path) -> None:
    """Push the working copy that a path is in; nothing outside of those of this process."""
    copy = opened(path)
    if copy is not None:
        copy.push()


def told(text: str) -> str:
    """Return a text with the addresses of runs and results in the place of the folders that stand for them."""
    for folder, address in NAMES.items():
        text = text.replace(str(folder), address)
    return text


def in_command(run: Path) -> str:
    """Return a run folder as a command names it, by its address where it stands for one."""
    return told(quoted(run))


def advised(text: str) -> str:
    """Return a text for the user: `told`, and, once, how the files are reached that it names of a run in a bucket.

    Where the run is not in the bucket yet they are named as what they are, files of this disk.
    """
    for folder, copy in OPEN.items():
        if not copy.agreed.base.etag:
            text = re.sub(re.escape(str(folder)) + "(?!/)", copy.address, text)
    for folder, address in NAMES.items():
        if folder not in OPEN or OPEN[folder].agreed.base.etag:
            text = text.replace(str(folder), address)
    for address in {copy.address for copy in OPEN.values()} - ADVISED:
        files = re.findall(rf"{re.escape(address)}/([^\s;,:()'\"]+)", text)
        objects = [name for name in files if OURS.search(name) or name.startswith((*LEFT, IN_BUCKET))]
        if len(files) > len(objects):
            ADVISED.add(address)
            text += (
                f"\n  Files of {address} have these names in a copy, in which they are changed and pictures labelled: winnow pull "
                f"{address} COPY; afterwards: winnow push COPY {address}"
            )
    return text


def copied(address: str, command: str) -> str:
    """Return the commands by which a command that wants a folder, COPY, works on a run in a bucket."""
    return f"winnow pull {address} COPY; {command}; winnow push COPY {address}"


def refuse_page(folder: Path) -> None:
    """Raise `OptionError` for the labelling page of a run in a bucket."""
    copy = opened(folder)
    if copy is not None:
        raise OptionError(
            f"The labelling page works on this disk, not on {copy.address}.",
            f"Label a copy: {copied(copy.address, 'winnow label --run COPY')}",
        )


def on_this_disk(path: Path) -> Path:
    """Return a path; `OptionError` where it was an address in a bucket, of which a path has one slash."""
    address = "//".join([*path.parts[:1], "/".join(path.parts[1:])])
    if buckets.is_address(address):
        raise OptionError(
            f"{address} is in a bucket, and this is read and written on this disk alone.", "Give a local path."
        )
    return path


# ---- copies by hand


def pull(address: str, folder: Path) -> Copy:
    """Make a folder a copy of the run at an address, all files of it, or bring one up to date that was pulled from there."""
    copy = Copy(address, folder, folder / PULLED)
    if folder.exists() and any(folder.iterdir()) and _address(copy.home) != copy.address:
        raise RunError(f"{folder} is not empty and was not pulled from {copy.address}.", "Choose a new folder.")
    if copy.bucket.read() is NOTHING:
        raise RunError(f"There is no run at {copy.address}: it has no winnow.json.", "Check the address.")
    copy.refresh()
    copy.fetch_all()
    return copy


def push_to(folder: Path, address: str) -> bool:
    """Make the run at an address what a folder holds; labels of both are kept. Return whether there was anything to push.

    Raises `RunError` where the address holds a run that the folder was not made from, or one that has changed since then.
    """
    if not (folder / "run.json").exists():
        raise RunError(f"{folder} is not a run folder: it has no run.json.", "Check the folder.")
    whole = next((known for known in copies() if known.folder.resolve() == folder.resolve()), None)
    if whole is not None:
        whole.fetch_all()  # its large files may be in the bucket that it was made from alone
    copy = Copy(address, folder, folder / PULLED)
    if _address(copy.home) not in ("", copy.address):
        copy.forget()
    _check_store(copy.address)
    return copy.push()


# ---- the cache


def cache_folder() -> Path:
    """Return the folder for what can be fetched again, and for results on their way to a bucket."""
    named = os.environ.get("WINNOW_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "winnow"


def most() -> int:
    """Return how many bytes of large files the cache may hold."""
    text = os.environ.get("WINNOW_CACHE_GB", "20")
    try:
        return int(float(text) * 1e9)
    except ValueError:
        raise OptionError(f"WINNOW_CACHE_GB is '{text}', not a number.", "Give the gigabytes, such as 20.") from None


def copy_of_address(address: str) -> Copy:
    """Return the working copy of the run at an address, there or not."""
    address = address.rstrip("/")
    where = f"{os.environ.get('AWS_ENDPOINT_URL', '')} {address}"
    home = cache_folder() / "runs" / hashlib.sha256(where.encode()).hexdigest()[:16]
    return Copy(address, home / address.rpartition("/")[2], home)


def copies() -> Iterator[Copy]:
    """Yield the working copies of the cache."""
    for state in sorted((cache_folder() / "runs").glob(f"*/{STATE}")):
        with suppress(RunError, KeyError):  # a damaged one is told of when its run is opened
            content = read_json(state)
            yield Copy(content["address"], state.parent / content["folder"], state.parent)


def fetch(path: Path) -> None:
    """Fetch a file that stands in a working copy by its length alone, and make room for it; nothing for any other file."""
    path = Path(os.path.abspath(path))
    for folder in path.parents:
        for home in (folder.parent, folder / PULLED):
            if (home / STATE).is_file() and (home != folder.parent or read_json(home / STATE)["folder"] == folder.name):
                copy = Copy(read_json(home / STATE)["address"], folder, home)
                make_room(path.stat().st_size)
                copy.fetch([path.relative_to(folder).as_posix()])
                return


def make_room(size: int) -> None:
    """Leave of large files in the cache nothing but their length, those first that were not read for longest, until there is room."""
    held = []
    for copy in copies():
        try:
            with copy.alone(wait=False):
                held += [(*file, copy) for file in copy.fetched()]
        except RunError:  # another process is at it
            continue
    over = sum(file[1] for file in held) + size - most()
    for _, bytes_, path, copy in sorted(held, key=lambda file: file[0]):
        if over <= 0:
            return
        with copy.alone():
            copy.give_up([path])
        over -= bytes_


def opened(path: Path) -> Copy | None:
    """Return the working copy of this process that a path is in, None of any other path."""
    path = Path(os.path.abspath(path))
    return next((copy for folder, copy in OPEN.items() if path.is_relative_to(folder)), None)


def _address(home: Path) -> str:
    """Return the address that a copy was made from, "" for none."""
    return str(read_json(home / STATE)["address"]) if (home / STATE).is_file() else ""


@cache
def _check_store(address: str) -> None:
    """Raise `RunError` where nothing may be written to an address, and warn where two who write at once are not told apart."""
    if not Copy(address, Path(), Path()).bucket.remote.honours_conditions():
        warnings.warn(
            f"The store of {address} ignores If-None-Match and If-Match: of two who write to a run at once one may lose what he "
            "did. Let one at a time write to it.",
            LossWarning,
            stacklevel=3,
        )
