"""Results at s3://bucket/folder: written on this disk first, then uploaded whole under their own names, their record last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from winnow.data.own_folders import IN_BUCKET, RESULTS
from winnow.data.remote import PROBE, SHARDS, Remote, at_once
from winnow.errors import InputError, OptionError, RunError
from winnow.run.commit import remove
from winnow.run.manifest import files_in
from winnow.run.working_copy import NAMES, cache_folder, is_address

KEPT_HERE = ("pool", "pools")
"""Folders of results with decoded pictures, by which a call that was killed goes on; no one reads them in a bucket."""


OF_OTHERS = (f"{SHARDS}/", PROBE)
"""What else may lie at a place of results, of calls on other machines at this moment: their shards, and what they try a bucket by."""


class Outbox:
    """The folder on this disk for results whose place is an address; `option` is the flag that names it."""

    def __init__(self, address: str, option: str) -> None:
        self.remote, self.option = Remote(address), option
        self.address = self.remote.address
        where = f"{os.environ.get('AWS_ENDPOINT_URL', '')} {self.address}"
        name = self.address.rpartition("/")[2]
        self.folder = cache_folder() / "results" / hashlib.sha256(where.encode()).hexdigest()[:16] / name
        NAMES[self.folder] = self.address
        self.is_sent = False

    def check(self) -> None:
        """Raise `OptionError` or `RunError`, before any work, where results cannot be put at the address; have what lies there
        known in the folder."""
        refuse_within_run(self.address, self.option)
        remedy = f"Give a new or an empty place with {self.option}."
        found = self.remote.read(RESULTS)
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():  # what could not be sent; decoded pictures of a killed call are hidden
            if not path.name.startswith("."):
                remove(path)
        if found is not None:
            (self.folder / RESULTS).write_bytes(found[0])
        elif any(not name.startswith(OF_OTHERS) for name, _ in self.remote.listing()):
            raise OptionError(
                f"{self.option} {self.address} is not empty, and what is in it was not written by Winnow.", remedy
            )
        check_writable(self.remote)

    def send(self, last: str, before: Collection[str]) -> None:
        """Put the results in the place of those of an earlier call, the files `before`: first the mark of wholeness goes, and it comes
        last."""
        files = [
            name for name in files_in(self.folder) if name.split("/")[0] not in KEPT_HERE and not name.startswith(".")
        ]
        ends = [name for name in (RESULTS, last) if name in files]
        try:
            self.remote.delete([last] if last else [])
            at_once(lambda name: self.remote.put_file(name, self.folder / name), sorted(set(files) - set(ends)))
            self.remote.delete(sorted(name for name in set(before) - set(files) if name.split("/")[0] not in KEPT_HERE))
            for name in ends:
                self.remote.put_file(name, self.folder / name)
        except RunError as error:
            raise RunError(f"{error.message} The results are kept on this machine.", error.remedy) from error
        self.is_sent = True

    def close(self) -> None:
        """Remove the folder when what was in it is at the address."""
        if self.is_sent:
            remove(self.folder.parent)


@contextmanager
def delivered(to: str | Path, option: str, beside: str = "") -> Iterator[Path]:
    """Yield the path of a file to write: `to` itself or, where that is an address, one on this disk, which is uploaded when the block
    ends well.

    With the suffix `beside` so is the file of that suffix, and first. What lies at the address is there in the block, so that
    the block can refuse to replace what is not Winnow's.
    """
    if not is_address(to):
        yield Path(to)
        return
    folder, _, name = str(to).rpartition("/")
    if not name or folder.endswith(":/"):
        scheme = str(to).partition("/")[0]
        raise OptionError(f"{option} {to} is not the name of a file.", f"Write {option} {scheme}//BUCKET/FOLDER/NAME")
    remote = Remote(folder)
    refuse_within_run(folder, option)
    check_writable(remote)
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / name
        NAMES[path.parent] = folder
        paths = [*([path.with_suffix(beside)] if beside else []), path]
        for one in paths:
            remote.get(one.name, one)
        yield path
        for one in paths:
            remote.put_file(one.name, one)


def check_writable(remote: Remote) -> None:
    """Raise `RunError` where nothing may be written; the work of hours would be lost."""
    remote.honours_conditions()


def refuse_within_run(address: str, option: str) -> None:
    """Raise `OptionError` for a place among the files of a run in a bucket, which its next push would not know."""
    at = Remote(address)
    while True:
        try:
            found = at.read(IN_BUCKET)
        except InputError as error:
            raise OptionError(error.message, error.remedy) from error
        if found is not None and "push" in json.loads(found[0]):
            raise OptionError(
                f"{option} {address} is in {at.address}, a run.", f"Give a place outside of it, or leave {option} out."
            )
        if not at.prefix:
            return
        at = Remote(at.address.rpartition("/")[0])
