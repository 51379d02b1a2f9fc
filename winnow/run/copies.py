"""A run in a bucket is worked on through a copy on this disk, so that every step stays a program over a local folder.

    CACHE/runs/HASH/NAME/         the working copy: a run folder
    CACHE/runs/HASH/copy.json     what it was made from: the address, the manifest, and which content each file had then
    CACHE/runs/HASH/lock

Small files are fetched when the run is opened. Large arrays stand in the copy as empty files of their length, whose time of
change is 0 (1970), until `winnow.files.bring` fetches them; the cache is bounded, and those go first that were not read for
longest. What a command has changed is pushed when it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from winnow.data.remote import Stored, at_once, stored_in
from winnow.errors import Damaged, InputError, RunError
from winnow.files import read_json, replacing, sealed, told, unsealed, write_json
from winnow.label.merge import take
from winnow.run.bucket import NOTHING, Manifest, RunInBucket
from winnow.run.commit import RECORDS, at_work, locked, recover_all
from winnow.run.records import LOOSE, Record

STATE, LOCK = "copy.json", "lock"
LABELS = "labels.sqlite-log"
LOCAL_ONLY = ("labels.sqlite", "labels.sqlite-wal", "labels.sqlite-shm")
"""What is made from `LABELS`, the log of all labels, again."""
LARGE = 1 << 20
TRIES = 5
CHANGED = "by another since this copy last agreed with it"
Mark = tuple[int, int]
"""Size of a file and its time of change, in ns."""


class NotPushed(RunError):
    """What was done is on this machine alone: the message names the working copy, not the address."""


@dataclass
class Agreed:
    """What a copy and its bucket last agreed on: the manifest, and the mark and SHA-256 of each file of the copy then. `applying`:
    the copy is being changed to it."""

    base: Manifest = NOTHING
    seen: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    applying: bool = False


class Copy:
    """A run folder on this disk and the run in a bucket that it is a copy of; `home` holds what is known of both."""

    def __init__(self, address: str, folder: Path, home: Path) -> None:
        self.bucket = RunInBucket(address)
        self.address = self.bucket.address
        self.folder, self.home = folder, home
        self.agreed = Agreed()

    @property
    def _anew(self) -> str:
        """Return what gives up what the copy alone holds."""
        return "pull into a new folder" if self.home.is_relative_to(self.folder) else f"remove {self.home}"

    # ---- what is known

    @contextmanager
    def alone(self, wait: bool = True) -> Iterator[None]:
        """Hold the copy against other processes that pull, push or fetch, and know what copy and bucket agreed on."""
        with told(self.home, "Name another folder for the cache: WINNOW_CACHE=FOLDER"):
            self.home.mkdir(parents=True, exist_ok=True)
            with locked(self.home / LOCK, f"The copy {self.folder}", wait=wait):
                self._load()
                yield

    def _load(self) -> None:
        path = self.home / STATE
        if not path.exists():
            self.agreed = Agreed()
            return
        again = f"Remove {self.home}, and with it what was not pushed; it is made again."
        content = unsealed(path, read_json(path), again)
        files = stored_in(json.dumps(content["files"]).encode(), str(path)) if content["files"] else {}
        base = Manifest(files, content["number"], content["push"], content["etag"])
        seen = {name: (size, changed, mark) for name, (size, changed, mark) in content["seen"].items()}
        self.agreed = Agreed(base, seen, content["applying"])

    def _save(self) -> None:
        base = self.agreed.base
        content = {
            "address": self.address,
            "folder": self.folder.name,
            "etag": base.etag,
            "number": base.number,
            "push": base.push,
        }
        files = {path: asdict(file) for path, file in base.files.items()}
        rest = {"files": files, "seen": self.agreed.seen, "applying": self.agreed.applying}
        write_json(self.home / STATE, sealed({**content, **rest}))

    def _marks(self) -> dict[str, Mark]:
        """Return size and time of change of every file of the copy that belongs to the run, by path."""
        found: dict[str, Mark] = {}
        for root, folders, names in os.walk(self.folder, followlinks=True):  # a pool may be a link to a larger disk
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = os.path.relpath(root, self.folder)
            for name in names:
                path = name if below == "." else f"{below}/{name}"
                if not name.startswith(".") and path not in LOCAL_ONLY:
                    with suppress(FileNotFoundError):
                        status = os.stat(os.path.join(root, name))
                        found[path] = (status.st_size, status.st_mtime_ns)
        return found

    def _contents(self, marks: Mapping[str, Mark]) -> dict[str, tuple[str, int]]:
        """Return SHA-256 and size of files, reading only those that have changed since they were seen."""
        found = {}
        for path, mark in marks.items():
            known = self.agreed.seen.get(path)
            if path == LABELS:
                found[path] = _sum(_finished(self.folder / path))
            elif known is not None and known[:2] == mark:
                found[path] = (known[2], mark[0])
            else:
                found[path] = (_hash(self.folder / path), mark[0])
                self.agreed.seen[path] = (*mark, found[path][0])
        return found

    def _mine(self) -> set[str]:
        """Return the paths that are not what copy and bucket last agreed on."""
        return _differing(self._contents(self._marks()), self.agreed.base.files)

    def pending(self) -> bool:
        """Return whether the copy holds a whole state that was not pushed."""
        with self.alone():
            if not (self.folder / RECORDS).exists() or not self._mine():
                return False
            try:
                self.check_whole()
            except NotPushed:  # a step was killed, which the next call goes on with
                return False
            return True

    def forget(self) -> None:
        """Know nothing of the bucket any more."""
        (self.home / STATE).unlink(missing_ok=True)

    # ---- from the bucket

    def refresh(self) -> None:
        """Make the copy what the run in the bucket is now, and keep what was not pushed yet.

        Raises `NotPushed` where both have changed, but for labels, which are merged. Nothing is written to the bucket.
        """
        with self.alone():
            self._refresh()

    def _refresh(self) -> None:
        theirs = self.bucket.read()
        if theirs is NOTHING and self.agreed.base is not NOTHING and self.agreed.base.etag:
            raise self._gone()
        if theirs.etag == self.agreed.base.etag and not self.agreed.applying:
            return
        mine = set() if self.agreed.applying else self._mine() - {LABELS}
        both = _differing(_held(self.agreed.base), theirs.files) - {LABELS}
        held = self._contents(self._marks())
        if mine and both and any(_other(held.get(path), theirs.files.get(path)) for path in mine | both):
            raise NotPushed(
                f"{self.address} was changed {CHANGED}, and {self.folder} holds changes of its own ({min(mine)}).",
                f"Keep them as a run of their own: winnow push {self.folder} s3://BUCKET/ANOTHER; or give them up: {self._anew}.",
            )
        if mine:
            self.agreed.base = theirs
        else:
            self._apply(theirs, held)
        self._take_labels(theirs)
        self._save()

    def _gone(self) -> NotPushed:
        """Return what is said of a run that is not in its bucket any more: what can become of what is here of it."""
        told, kept = f"There is no run at {self.address} any more.", f"{self.folder} is what this machine has of it"
        lacking = [path for path, mark in self._marks().items() if mark[1] == 0]
        if lacking:
            return NotPushed(
                told,
                f"Check the address, or restore it from a copy: {kept}, without large files such as {min(lacking)}. To use the "
                f"address for another run, remove {self.home}.",
            )
        back = f"winnow push {self.folder} s3://BUCKET/RUN"
        if self.home.is_relative_to(self.folder):
            back = f"remove {self.home}, then {back}"
        return NotPushed(
            told,
            f"Check the address, or put it back, there or elsewhere: {kept}, all of it: {back}. To give it up: {self._anew}.",
        )

    def _apply(self, theirs: Manifest, held: Mapping[str, tuple[str, int]]) -> None:
        """Make the files of the copy those of a manifest."""
        if self.folder.exists():
            at_work(self.folder)
        self.agreed.base, self.agreed.applying = theirs, True
        self._save()
        for path in held.keys() - theirs.files.keys() - {LABELS}:
            (self.folder / path).unlink()
            self.agreed.seen.pop(path, None)
        changed = [path for path, file in theirs.files.items() if _other(held.get(path), file) and path != LABELS]
        early = [path for path in changed if _is_late(path, theirs.files[path])]
        for path in early:
            _stand_in(self.folder / path, theirs.files[path].size)
        at_once(lambda path: self._get(path, theirs.files[path]), sorted(set(changed) - set(early)))
        for path in changed:
            self.agreed.seen[path] = (*_mark(self.folder / path), theirs.files[path].sha256)
        self.agreed.applying = False

    def _get(self, path: str, file: Stored) -> None:
        self.bucket.remote.get_file(file, self.folder / path)

    def _take_labels(self, theirs: Manifest) -> None:
        file = theirs.files.get(LABELS)
        if file is None:
            return
        here = self.folder / LABELS
        if here.exists() and _sum(_finished(here)) == (file.sha256, file.size):
            return
        uri = self.bucket.remote.uri(file.key)
        found = self.bucket.remote.read(file.key)
        if found is None or _sum(found[0]) != (file.sha256, file.size):
            raise Damaged(f"{uri} is gone or not what was written there.", "Restore it from a copy.")
        self.folder.mkdir(parents=True, exist_ok=True)
        take(self.folder / "labels.sqlite", found[0], uri)

    def fetch(self, paths: Iterable[str]) -> None:
        """Fetch large files that only stand in the copy so far."""
        with self.alone():
            wanted = {path: self.agreed.base.files[path] for path in paths if path in self.agreed.base.files}
        at_once(lambda path: self._get(path, wanted[path]), list(wanted))
        with self.alone():
            for path, file in wanted.items():
                self.agreed.seen[path] = (*_mark(self.folder / path), file.sha256)
            self._save()

    def fetch_all(self) -> None:
        """Fetch all that only stands in the copy."""
        with self.alone():
            late = [path for path, mark in self._marks().items() if mark[1] == 0]
        for path in late:
            self.fetch([path])

    def fetched(self) -> list[tuple[float, int, str]]:
        """Return the large files that are here and can be fetched again: when they were read last, their bytes and paths."""
        found = []
        for path, file in self.agreed.base.files.items():
            seen = self.agreed.seen.get(path)
            if _is_late(path, file) and seen is not None and seen[2] == file.sha256 and seen[1]:
                with suppress(FileNotFoundError):
                    if _mark(self.folder / path) == seen[:2]:
                        found.append((os.stat(self.folder / path).st_atime, file.size, path))
        return found

    def give_up(self, paths: Iterable[str]) -> None:
        """Leave of large files nothing but their length; they can be fetched again."""
        for path in paths:
            file = self.agreed.base.files[path]
            _stand_in(self.folder / path, file.size)
            self.agreed.seen[path] = (*_mark(self.folder / path), file.sha256)
        self._save()

    # ---- to the bucket

    def push(self) -> bool:
        """Make the run in the bucket what the copy is, if that is whole; return whether there was anything to push.

        Raises `NotPushed` where another has changed the run in the bucket, but for labels, which are merged; and for what cannot
        be written there. The copy stays as it is then, and the next command pushes it.
        """
        with self.alone():
            try:
                return self._push()
            except NotPushed:
                raise
            except (RunError, InputError) as error:
                told = f"{error.message} What was done is kept in {self.folder}, and not in the bucket."
                raise NotPushed(told, f"{error.remedy} The next command on {self.address} pushes it.") from error

    def _push(self) -> bool:
        for _ in range(TRIES):
            self._refresh()
            self._take_labels(self.agreed.base)  # no push takes a label away, whatever became of those here
            marks = self._marks()
            held = self._contents(marks)
            mine = _differing(held, self.agreed.base.files)
            if not mine:
                self._save()
                return False
            self.check_whole()
            if self.agreed.base is NOTHING or not self.agreed.base.etag:
                self.bucket.check_free()
            read: dict[str, Path | bytes] = {path: self.folder / path for path in mine & held.keys()}
            if LABELS in read:
                log = _finished(self.folder / LABELS)
                read[LABELS], held[LABELS] = log, _sum(log)
            made = self.bucket.commit(self.agreed.base, held, read, partial(self._is_still, marks))
            if made is not None:
                self.agreed.base = made
                self._save()
                return True
        raise NotPushed(f"{self.address} or {self.folder} is changed all the time.", "Push when others have ended.")

    def _is_still(self, before: Mapping[str, Mark]) -> bool:
        """Return whether the files are what they were, but for the log of labels, to which a person may add at any moment."""
        return {**self._marks(), LABELS: (0, 0)} == {**before, LABELS: (0, 0)}

    def check_whole(self) -> None:
        """Raise `RunError` unless every step that is recorded has all that it wrote: what a step was killed at is not pushed."""
        recover_all(self.folder)
        records = sorted((self.folder / RECORDS).glob("*.json"))
        if not records:
            raise NotPushed(f"{self.folder} holds no finished step, so it is not pushed.", "Run winnow ingest on it.")
        for path in records:
            for name, artefact in Record.read(path).artefacts.items():
                with suppress(FileNotFoundError):
                    if name in LOOSE or (self.folder / name).stat().st_size == artefact.bytes:
                        continue
                raise NotPushed(
                    f"{self.folder} is not whole ({name}): the step '{path.stem}' is at work or was not finished, so it is not pushed.",
                    "Run that step again, or wait until it has ended.",
                )


def _is_late(path: str, file: Stored) -> bool:
    """Return whether a file is fetched when it is opened: an array, which `winnow.arrays` opens."""
    return path.endswith(".npy") and file.size >= LARGE


def _stand_in(path: Path, size: int) -> None:
    """Put an empty file of some length in a place, and the mark that it is one."""
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.truncate(size)
        os.utime(temporary, ns=(0, 0))


def _mark(path: Path) -> Mark:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finished(path: Path) -> bytes:
    """Return the finished lines of the log of labels."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _sum(content: bytes) -> tuple[str, int]:
    return hashlib.sha256(content).hexdigest(), len(content)


def _other(held: tuple[str, int] | None, file: Stored | None) -> bool:
    """Return whether what a copy holds of a file is not what a manifest says."""
    return (held and held[0]) != (file and file.sha256)


def _differing(held: Mapping[str, tuple[str, int]], files: Mapping[str, Stored]) -> set[str]:
    return {path for path in held.keys() | files.keys() if _other(held.get(path), files.get(path))}


def _held(manifest: Manifest) -> dict[str, tuple[str, int]]:
    return {path: (file.sha256, file.size) for path, file in manifest.files.items()}
