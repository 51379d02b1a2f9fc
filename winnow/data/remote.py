"""Objects below an address such as s3://bucket/prefix, written whole or not at all; see docs/s3.md.

A name is created once, whoever else tries (`If-None-Match: *`), or replaced only where nobody has meanwhile (`If-Match` by
ETag; on gs:// by generation). A file is seen when its upload is finished, never half of it. Several files become seen together
by one object that names them, written last: here `shards/NAME/whole.json`, and the manifest of a run (`winnow.run.bucket`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from winnow.data import buckets, storage
from winnow.errors import Damaged, InputError, RunError, Unreadable
from winnow.files import replacing, sha256, verify

THREADS = 16  # files under way at once
PARTS = 4  # of 5 MB, of each file that goes up, under way at once: with THREADS the bound of the memory
RANGE = 16 << 20  # bytes asked for at once: each is tried again alone, and a large file meets no limit of time
LARGEST_JSON = 1 << 28
PROBE = "winnow-probe-"
NOBODYS = {"e_tag": '"0"', "version": "0"}  # what no object has
SHARDS, WHOLE = "shards", "whole.json"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a bucket: the name of its object, its SHA-256 and its size in bytes."""

    key: str
    sha256: str
    size: int


def stored(path: Path, name: str, mark: str = "") -> Stored:
    """Return how a file will be stored: under its own name, with a part of its SHA-256 before the suffix, as in
    pixels-00000.3f2a9c1b.npy, so that no other content ever takes its place."""
    content = sha256(path)
    pure = PurePosixPath(name)
    return Stored(
        pure.with_name(f"{pure.stem}.{mark}{content[:8]}{pure.suffix}").as_posix(), content, path.stat().st_size
    )


class Remote:
    """The objects below an address s3://bucket/prefix; names are relative to it.

    Every method raises `InputError` for what cannot be read and `RunError` for what cannot be written, which name the address.
    """

    def __init__(self, address: str) -> None:
        self.bucket, self.prefix = buckets.split(address)
        self._version = buckets.service(address).version
        self.address = f"{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """Return the key of a name in the bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def uri(self, name: str) -> str:
        """Return the address of a name."""
        return f"{self.address}/{name}"

    # ---- one object

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return the bytes and the ETag (on gs:// the generation) of an object, None where there is none."""
        try:
            with buckets.named(self.uri(name)):
                answer = buckets.obstore().get(buckets.store(self.bucket), self.key(name))
                if answer.meta["size"] > LARGEST_JSON:
                    raise InputError(f"{self.uri(name)} is not what Winnow writes: it is too large.")
                return bytes(answer.bytes()), answer.meta[self._version] or ""
        except InputError as error:
            if isinstance(error.__cause__, FileNotFoundError) and "no such bucket" not in error.message:
                return None
            raise

    def create(self, name: str, data: bytes) -> bool:
        """Write an object where there is none; return False, and change nothing, where there is one."""
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, etag: str) -> bool:
        """Write an object in the place of the one with an ETag; return False, and change nothing, where it is another by now."""
        return self._put(name, data, {self._version: etag})

    def _put(self, name: str, data: bytes, mode: Any, called: str = "") -> bool:
        """Write an object, which errors call so, by default by its address; return False where the `mode` forbids it."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with buckets.named(called or self.uri(name), written=True):
            try:
                buckets.obstore().put(buckets.store(self.bucket), self.key(name), data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        self._put(name, data, "overwrite")

    def put_file(self, name: str, path: Path) -> None:
        """Write a file, seen when all of it is there."""
        with buckets.named(self.uri(name), written=True):
            buckets.obstore().put(buckets.store(self.bucket), self.key(name), path, max_concurrency=PARTS)

    def get_file(self, file: Stored, path: Path) -> None:
        """Write an object to a file, atomically, its content verified; `Damaged` where it is another or gone."""
        uri = self.uri(file.key)
        with replacing(path) as temporary:
            try:
                self._read_into(temporary, file.key, file.size)
            except InputError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise Damaged(f"{uri} is gone.", "Restore it, or make the run anew.") from error
                raise
            try:
                verify(temporary, file.sha256)
            except Damaged:
                raise Damaged(f"{uri} is not what was written there.", "Restore it, or make the run anew.") from None

    def get(self, name: str, path: Path) -> bool:
        """Write an object, as it is now, to a file; return False where there is none."""
        try:
            size = storage.stat(self.uri(name)).size
        except Unreadable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        self._read_into(path, name, size)
        return True

    def _read_into(self, path: Path, name: str, size: int) -> None:
        with path.open("wb") as out:
            for start in range(0, size, RANGE):
                with buckets.named(self.uri(name), one=True):
                    end = min(start + RANGE, size)
                    out.write(
                        buckets.obstore().get_range(buckets.store(self.bucket), self.key(name), start=start, end=end)
                    )

    def listing(self, prefix: str = "") -> list[tuple[str, datetime]]:
        """Return the names below a folder of names, with the time of the last change, in order."""
        with buckets.named(self.uri(prefix)):
            found = buckets.objects(self.bucket, self.key(prefix).rstrip("/"))
            cut = len(self.prefix) + 1 if self.prefix else 0
            return sorted((meta["path"][cut:], meta["last_modified"]) for meta in found)

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; one that is not there is none to remove."""
        if names:
            keys, client = [self.key(name) for name in names], buckets.store(self.bucket)
            with buckets.named(self.address, written=True):
                try:
                    buckets.obstore().delete(client, keys)
                except FileNotFoundError:  # S3 passes over what is not there, the others stop at it
                    for key in keys:
                        with suppress(FileNotFoundError):
                            buckets.obstore().delete(client, key)

    def honours_conditions(self) -> bool:
        """Return whether the store refuses to create or replace what is there; old versions of MinIO and Ceph do it all the same.

        Raises `RunError` where nothing may be written.
        """
        name = f"{PROBE}{uuid4().hex[:12]}"
        try:
            first = self._put(name, b"1", "create", self.address)  # nobody knows the object that it is tried with
            return first and not self.create(name, b"2") and not self.replace(name, b"3", NOBODYS[self._version])
        finally:
            with suppress(RunError):
                self.delete([name])

    # ---- the files of a shard, seen together

    def put_whole(self, folder: Path, name: str, last: str) -> bool:
        """Write the files below a folder as the shard `name`; return False, and change nothing seen, when another was first.

        They are seen together, by `get_whole` and `names`. `last` is the file that `get_whole` writes last.
        """
        where = f"{SHARDS}/{name}"
        return not self.read(f"{where}/{WHOLE}") and self.create(f"{where}/{WHOLE}", self._put_all(where, folder, last))

    def get_whole(self, name: str, folder: Path) -> None:
        """Write the files of a shard below a folder, each verified, the last one when all others are there; `RunError` without it."""
        self.get_files(f"{SHARDS}/{name}", folder)

    def put_files(self, where: str, folder: Path) -> None:
        """Write the files below a folder as those of `where`, seen together by `get_files`, in the place of earlier ones."""
        before = [name for name, _ in self.listing(where)]
        whole = self._put_all(where, folder)
        self.put(f"{where}/{WHOLE}", whole)
        named = {file.key for file in stored_in(whole, self.uri(where)).values()}
        self.delete([name for name in before if name not in named and name != f"{where}/{WHOLE}"])

    def get_files(self, where: str, folder: Path) -> None:
        """Write the files of `where` below a folder, each verified, the last one when all others are there; `RunError` without them."""
        found = self.read(f"{where}/{WHOLE}")
        if found is None:
            raise RunError(f"{self.uri(where)} is not there.", "Run what writes it again.")
        files = stored_in(found[0], self.uri(f"{where}/{WHOLE}"))
        *others, last = files
        at_once(lambda one: self.get_file(files[one], folder / one), others)
        self.get_file(files[last], folder / last)

    def _put_all(self, where: str, folder: Path, last: str = "") -> bytes:
        """Write the files below a folder, seen by none yet, and return the JSON that names them, `last` last."""
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        names = [*sorted(paths.keys() - {last}), *([last] if last else [])]
        files = {one: stored(paths[one], f"{where}/{one}") for one in names}
        at_once(lambda one: self.put_file(files[one].key, paths[one]), names)
        return as_json({one: asdict(file) for one, file in files.items()})

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the shards that are whole and whose names begin with the folders of `prefix`, in order."""
        end = f"/{WHOLE}"
        below = f"{SHARDS}/{prefix}".rstrip("/")
        names = [name for name, _ in self.listing(below) if name.endswith(end)]
        return [name.removeprefix(f"{SHARDS}/").removesuffix(end) for name in names]

    def drop_whole(self, prefix: str = "") -> None:
        """Remove the shards whose names begin with the folders of `prefix`, first what makes them seen."""
        names = [name for name, _ in self.listing(f"{SHARDS}/{prefix}".rstrip("/"))]
        self.delete([name for name in names if name.endswith(f"/{WHOLE}")])
        self.delete([name for name in names if not name.endswith(f"/{WHOLE}")])


def at_once(act: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return act(item) of every item, with several under way at once; the first error, in their order, is raised."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(act, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def as_json(content: Any) -> bytes:
    """Return content as readable JSON."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def stored_in(data: bytes, uri: str) -> dict[str, Stored]:
    """Return the files that JSON of an object names, by their paths; `Damaged` when it is not what Winnow writes."""
    try:
        found = json.loads(data).items()
        files = {path: Stored(str(one["key"]), str(one["sha256"]), int(one["size"])) for path, one in found}
    except (ValueError, TypeError, KeyError, AttributeError):
        files = {}
    if not files or not all(map(is_inside, files)):
        raise Damaged(f"{uri} is not what Winnow writes.", "Restore it, or make the run anew.")
    return files


def is_inside(path: str) -> bool:
    """Return whether a path from a bucket stays below the folder that it is written to."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path
