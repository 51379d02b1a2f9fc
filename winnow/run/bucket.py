"""A run at s3://bucket/prefix: its files under names that never come again, and winnow.json, which says which of them it is.

    s3://bucket/prefix/winnow.json                            the manifest: path -> object, SHA-256, size
    s3://bucket/prefix/pool/pixels-00000.v7-3f2a9c1b.npy      pool/pixels-00000.npy as the 7th manifest first named it

A commit writes the new files, then the manifest, where it is still the one that was read, then removes what the old one alone
named. So a run in a bucket is whole or as before, wherever its writer is killed; and of two writers one wins.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from winnow.data.own_folders import IN_BUCKET
from winnow.data.remote import PROBE, Remote, Stored, as_json, at_once, is_inside, stored_in
from winnow.errors import Damaged, InputError, RunError
from winnow.files import sealed, unsealed

FORMAT = 1
GRACE = timedelta(days=1)
"""Age from which on a file that no manifest names is removed: it is of a writer that was killed."""
OURS = re.compile(r"\.v\d+-[0-9a-f]{8}(\.|$)")
LEFT = (PROBE, "shards/", "unfinished/")
"""How other names begin that Winnow may have left."""
AGAIN = "Restore it from a copy, or make the run anew at another address."


@dataclass(frozen=True)
class Manifest:
    """What a run in a bucket is: its files by path, the number of the manifest, its own mark, and the ETag it was read with."""

    files: Mapping[str, Stored]
    number: int = 0
    push: str = ""
    etag: str = ""


NOTHING = Manifest({})
"""That of an address where there is no run."""


class RunInBucket:
    """The run at an address."""

    def __init__(self, address: str) -> None:
        self.remote = Remote(address)
        self.address = self.remote.address
        if not self.remote.prefix:
            raise InputError(f"{address} is a whole bucket.", f"Name a folder in it: {self.address}/runs/match")

    def read(self) -> Manifest:
        """Return the run's manifest, NOTHING where there is none; `Damaged` when it is not what was written."""
        found = self.remote.read(IN_BUCKET)
        if found is None:
            return NOTHING
        data, etag = found
        uri = self.remote.uri(IN_BUCKET)
        try:
            content = unsealed(Path(IN_BUCKET), json.loads(data), AGAIN)
        except (ValueError, RecursionError, Damaged):
            raise Damaged(f"{uri} is damaged: it is not what was written.", AGAIN) from None
        if content.get("format") != FORMAT:
            remedy = "Use the version of Winnow that wrote it, or make the run anew at another address."
            raise RunError(f"{uri} is of format {content.get('format')}, and this version reads {FORMAT}.", remedy)
        files = stored_in(json.dumps(content["files"]).encode(), uri) if content["files"] else {}
        return Manifest(files, content["number"], content["push"], etag)

    def check_free(self) -> None:
        """Raise `RunError` where something else than the beginning of a run is below the address."""
        names = [name for name, _ in self.remote.listing() if not (OURS.search(name) or name.startswith(LEFT))]
        if names:
            raise RunError(
                f"{self.address} is not empty and not a run of Winnow: {self.remote.uri(names[0])}.",
                "Choose a new or an empty folder of the bucket.",
            )

    def commit(
        self,
        base: Manifest,
        held: Mapping[str, tuple[str, int]],
        read: Mapping[str, Path | bytes],
        still: Callable[[], bool],
    ) -> Manifest | None:
        """Make the run in the bucket what `held` says, SHA-256 and size by path, and return its manifest.

        None, with nothing changed that is seen, when another has committed since `base` was read, or what was written is not
        `still` what `held` says. `read` has the files that `base` does not name.
        """
        number = base.number + 1
        files: dict[str, Stored] = {}
        new: dict[str, Stored] = {}
        for path, (content, size) in held.items():
            known = base.files.get(path)
            if known is None or known.sha256 != content:
                known = Stored(_key(path, number, content), content, size)
                new[path] = known
            files[path] = known
        at_once(lambda path: self._put(new[path].key, read[path]), list(new))
        if not still():
            return None
        made = Manifest(files, number, uuid.uuid4().hex)
        about: dict[str, Any] = {"format": FORMAT, "number": number, "push": made.push}
        whole = as_json(sealed({**about, "files": {path: asdict(file) for path, file in sorted(files.items())}}))
        if base.etag:
            self.remote.replace(IN_BUCKET, whole, base.etag)
        else:
            self.remote.create(IN_BUCKET, whole)
        now = self.read()  # an answer may have been lost: what is there tells
        if now.push != made.push:
            return None
        self._sweep(base, now)
        return now

    def _put(self, name: str, content: Path | bytes) -> None:
        if isinstance(content, bytes):
            self.remote.put(name, content)
        else:
            self.remote.put_file(name, content)

    def _sweep(self, base: Manifest, now: Manifest) -> None:
        """Remove what `base` alone named, and what a writer that was killed left a day ago; another who had read `base` cannot commit
        any more."""
        named = {file.key for file in now.files.values()}
        gone = {file.key for file in base.files.values()} - named
        old = datetime.now(UTC) - GRACE
        left = {name for name, changed in self.remote.listing() if _is_left(name) and changed < old}
        self.remote.delete(sorted((gone | left) - named))


def _is_left(name: str) -> bool:
    return bool(OURS.search(name)) or name.startswith(PROBE)


def _key(path: str, number: int, content: str) -> str:
    """Return the name of a file's object: no two manifests give the same, so that one that is removed is never one that is new."""
    pure = PurePosixPath(path)
    assert is_inside(path)
    return pure.with_name(f"{pure.stem}.v{number}-{content[:8]}{pure.suffix}").as_posix()
