"""Bytes by address: a local path or s3://bucket/key (gs://, az://). Nothing here hangs, and every error names the address."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import stat as modes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from winnow.data import buckets
from winnow.errors import InputError, Unreadable

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_NUMBER = re.compile("([0-9]+)")
_BUFFER = 4 << 20
UNSURE = "?"
"""How a mark ends that two contents of one file may share."""
_TICK = 20_000_000  # nanoseconds; kernels stamp files by a clock that ticks every 1 to 10 ms
_COARSE = (
    10_000_000  # a time of change that is a multiple of it is from a file system with a coarser clock (FAT, some NFS)
)

Refuse = Callable[[str, str], None]
"""Called with the address and the reason, in a sentence, of each file of a folder that cannot be used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its address, its size in bytes, and a mark that changes when its content may have.

    The mark of a local file is its size, times of modification and of change, inode and device; in a bucket its ETag. It ends in
    `UNSURE` where a second change might not show: the file system's clock is coarse, the file is being written just now, or
    a store has no ETags.
    """

    uri: str
    size: int
    mark: str


def is_remote(uri: str) -> bool:
    """Return whether the address is in a bucket rather than on this machine; `InputError` for an unknown scheme."""
    if buckets.is_address(uri):
        return True
    if _SCHEME.match(uri) and not os.path.exists(uri):
        raise InputError(
            f"{uri} is not an address Winnow can read.",
            "Give a local path, or s3://bucket/key, gs://bucket/key or az://container/key.",
        )
    return False


def resolve(base: str, relative: str) -> str:
    """Return the address of `relative` from the folder `base`; an absolute path or an address in a bucket is returned as it is.

    Local addresses are absolute and without `.` and `..`, so that one file has one address in every run.
    """
    if is_remote(relative):
        return relative
    if is_remote(base) and not relative.startswith("/"):
        bucket, key = buckets.split(base)
        return bucket + posixpath.normpath(posixpath.join("/", key, relative))
    return os.path.abspath(os.path.join(base, relative))


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8; one that Python made of other bytes, or of half a character, cannot."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def parent(uri: str) -> str:
    """Return the folder of a file."""
    folder, _, _ = uri.rstrip("/").rpartition("/")
    return folder or "/"


def natural(text: str) -> tuple[list[str | int], ...]:
    """Return a key that sorts frame2 before frame10, ignoring case, and the segments of a path one by one."""
    return tuple(
        [int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(segment))]
        for segment in text.casefold().split("/")
    )


def is_folder(uri: str) -> bool:
    """Return whether the address is a folder; in a bucket, whether any key lies below it (a bucket is one even when empty)."""
    if not is_remote(uri):
        return os.path.isdir(uri)
    bucket, key = buckets.split(uri)
    with buckets.named(uri):
        return any(buckets.objects(bucket, key)) or not key


def stat(uri: str) -> Entry:
    """Return the entry of one file; `Unreadable` when it is missing, a folder, a pipe, a socket or a device.

    An `InputError` that is not `Unreadable` (no bucket, no credentials, no network) concerns more than this file.
    """
    if not is_remote(uri):
        return _local_entry(uri)
    bucket, key = buckets.split(uri)
    with buckets.named(uri, one=True):
        return _remote_entry(bucket, buckets.obstore().head(buckets.store(bucket), key))


def listing(uri: str, refuse: Refuse | None = None) -> Iterator[Entry]:
    """Yield every file below a folder, in natural order; hidden ones are left out, each real folder is read once.

    A path that cannot be used (a broken link, a pipe, a folder without permission) is passed to `refuse`, and is an
    `InputError` where there is none.
    """
    if not is_remote(uri):
        yield from _local_listing(uri, refuse or _raise)
        return
    bucket, key = buckets.split(uri)
    with buckets.named(uri):
        found = list(buckets.objects(bucket, key))
    for meta in sorted(found, key=lambda meta: (natural(meta["path"]), meta["path"])):
        below = meta["path"][len(key) :].lstrip("/")
        # A key that ends in "/" stands for an empty folder and is listed without its "/".
        marker = meta["size"] == 0 and "." not in posixpath.basename(below)
        if not marker and not any(part.startswith(".") for part in below.split("/")):
            yield _remote_entry(bucket, meta)


def read(uri: str, limit: int) -> bytes:
    """Return all bytes of a file; `Unreadable` when it cannot be read or holds more than `limit` bytes."""
    if is_remote(uri):
        return read_admitted(uri, limit, lambda size: True) or b""
    try:
        _check_size(uri, _local_entry(uri).size, limit)
        with open(uri, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Unreadable(f"{uri} cannot be read ({_why(error)}).") from error
    _check_size(uri, len(data), limit)
    return data


def read_admitted(uri: str, limit: int, admit: Callable[[int], bool]) -> bytes | None:
    """Return all bytes of a file in a bucket, as `read` does, but None where `admit` refuses their number; they are not fetched then."""
    bucket, key = buckets.split(uri)
    with buckets.named(uri, one=True):
        answer = buckets.obstore().get(buckets.store(bucket), key)
        _check_size(uri, answer.meta["size"], limit)
        return bytes(answer.bytes()) if admit(answer.meta["size"]) else None


def digest(uri: str) -> str:
    """Return the SHA-256 of a local file's content in hexadecimal; `Unreadable` when it cannot be read."""
    try:
        _local_entry(uri)
        with open(uri, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unreadable(f"{uri} cannot be read ({_why(error)}).") from error


def open_binary(uri: str) -> BinaryIO:
    """Open a seekable binary file, for video and parquet; `Unreadable` when it cannot be opened."""
    try:
        entry = stat(uri)
        if is_remote(uri):
            return cast(BinaryIO, io.BufferedReader(_RemoteFile(entry), buffer_size=_BUFFER))
        return open(uri, "rb")
    except OSError as error:
        raise Unreadable(f"{uri} cannot be read ({_why(error)}).") from error


def _check_size(uri: str, size: int, limit: int) -> None:
    if size > limit:
        raise Unreadable(f"{uri} holds {size / 1e6:,.1f} MB, more than the {limit / 1e6:,.1f} MB a file may hold.")


def _raise(uri: str, reason: str) -> None:
    raise InputError(reason, "Remove it, or name the files one by one.")


# ---- this machine


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _local_entry(uri: str) -> Entry:
    try:
        return _entry(uri, os.stat(uri))
    except FileNotFoundError:
        raise Unreadable(f"{uri} does not exist.", "Check the path and its spelling.") from None
    except (OSError, ValueError) as error:
        why = _why(error) if isinstance(error, OSError) else str(error)
        raise Unreadable(f"{uri!r} cannot be read ({why}).", "Check the path and its permissions.") from error


def _entry(uri: str, status: os.stat_result) -> Entry:
    # Opening a pipe or a terminal would wait for ever for somebody to write.
    if modes.S_ISDIR(status.st_mode):
        raise Unreadable(f"{uri} is a folder, not a file.", "Give a file.")
    if not modes.S_ISREG(status.st_mode):
        raise Unreadable(f"{uri} is a pipe, a socket or a device, not a file.", "Save its output to a file first.")
    if _young(status):  # another change could still get the same times: wait until it cannot
        time.sleep(_TICK / 1e9)
        status = os.stat(uri)
    unsure = _young(status) or status.st_ctime_ns % _COARSE == 0
    parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return Entry(uri, status.st_size, "-".join(map(str, parts)) + (UNSURE if unsure else ""))


def _young(status: os.stat_result) -> bool:
    """Return whether the file was changed within the last tick, or in the future by the clock of another machine."""
    return time.time_ns() - status.st_ctime_ns < _TICK


def _local_listing(folder: str, refuse: Refuse) -> Iterator[Entry]:
    seen: set[tuple[int, int]] = set()
    waiting = _inside(folder, refuse, seen)
    while waiting:
        entry = waiting.pop()
        try:
            if entry.is_dir():
                waiting += _inside(entry.path, refuse, seen)
                continue
            usable = _entry(entry.path, entry.stat())
        except OSError as error:
            refuse(entry.path, f"{entry.path} cannot be read ({_why(error)}).")
        except Unreadable as error:
            refuse(entry.path, error.message)
        else:
            yield usable


def _inside(folder: str, refuse: Refuse, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, last first; none when it was read before, so that circles of links end."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            inside = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        refuse(folder, f"{folder} cannot be read ({_why(error)}).")
        return []
    return sorted(inside, key=lambda entry: (natural(entry.name), entry.name), reverse=True)


# ---- buckets


def _remote_entry(bucket: str, meta: Any) -> Entry:
    mark = meta["e_tag"].strip('"') if meta["e_tag"] else f"{meta['last_modified'].isoformat()}{UNSURE}"
    return Entry(f"{bucket}/{meta['path']}", meta["size"], mark)


class _RemoteFile(io.RawIOBase):
    """A key read by ranges; `open_binary` wraps it into a buffer."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry, self._at = entry, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._entry.size}[whence]
        if start + offset < 0:
            raise OSError("The position is before the start of the file.")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._entry.size)
        if end <= self._at:
            return 0
        bucket, key = buckets.split(self._entry.uri)
        with buckets.named(self._entry.uri, one=True):
            data = buckets.obstore().get_range(buckets.store(bucket), key, start=self._at, end=end)
        buffer[: len(data)] = memoryview(data)
        self._at += len(data)
        return len(data)
