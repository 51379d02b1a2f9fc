"""Shards: the parts of a step's work, fixed by its content and options, each made by whoever runs it, and whole or absent.

    FOLDER/.shards/encode/job.json          the work: what was asked for, and what all its shards depend on (`key`)
    FOLDER/.shards/encode/KEY/00007/        a finished shard
    FOLDER/.shards/encode/KEY/.00007.3f2a.tmp/   one at work, or one whose maker was killed

A shard is written beside its place and renamed into it, so that any number of machines may write one folder, the same
shard even, without locks. In a bucket it is uploaded then, below `shards/`, and seen when its last object is created. The step
itself joins them: it takes what is there, and makes what is not.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from winnow.data.remote import SHARDS, Remote
from winnow.errors import OptionError, RunError
from winnow.files import as_written, read_json, sealed, sync, told, unsealed, write_json
from winnow.progress import Advance, silent

FOLDER = ".shards"
JOB = "job.json"
AGAIN = "Remove that folder, and run the step again."


@dataclass(frozen=True)
class Place:
    """Where shards lie: a folder that all machines share or, of a run or results in a bucket (`remote`), one of this machine.

    `name` is what the user calls it, a path or an address, and what another process finds it by.
    """

    folder: Path
    remote: Remote | None = None

    @property
    def name(self) -> str:
        return self.remote.address if self.remote else str(self.folder)


class Work(Protocol):
    """A step's work in `count` shards: `make` writes one into a folder, the same to the byte whoever does it and when.

    `opened` is what another process opens it by: a function 'module:name' and its arguments, as JSON; `sizes` are the items
    of each shard, for the progress.
    """

    step: str
    shards: Shards
    sizes: Sequence[int]

    def make(self, number: int, folder: Path, advance: Advance) -> None:
        """Write a shard into an empty folder; `advance(count)` says how many items are done."""

    @property
    def opened(self) -> tuple[str, dict[str, Any]]:
        """Return how another process opens the same work."""


class Shards:
    """The finished shards of one work in a place, by number; those of another `key` are of other work, and are not seen."""

    def __init__(self, place: Place, step: str, key: str) -> None:
        self.place, self.step, self.key = place, step, key
        self.root = place.folder / FOLDER / step
        self.folder = self.root / key

    def path(self, number: int) -> Path:
        """Return the folder of a shard on this machine, which is there when it was made, or fetched, here."""
        return self.folder / f"{number:05d}"

    def at_hand(self, number: int) -> Path:
        """Return the folder of a finished shard, fetched from the bucket where it was made elsewhere."""
        if self.place.remote is not None and not self.path(number).is_dir():
            with self._whole(number) as temporary:
                self.place.remote.get_whole(self._name(number), temporary)
        return self.path(number)

    def finished(self) -> set[int]:
        """Return the numbers of the shards that are there."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        if self.place.remote is not None:  # those of this machine alone may not have been uploaded
            names = [name.rpartition("/")[2] for name in self.place.remote.names(f"{self.step}/{self.key}")]
        return {int(name) for name in names if re.fullmatch(r"\d{5,}", name)}

    def others(self) -> bool:
        """Return whether finished shards of the same step lie there that are of other work."""
        paths = [path.relative_to(self.root).as_posix() for path in self.root.glob("*/*")] if self.root.is_dir() else []
        names = [name.partition("/")[2] for name in self.place.remote.names(self.step)] if self.place.remote else paths
        return any(re.fullmatch(r"[^/.][^/]*/\d{5,}", name) and not name.startswith(f"{self.key}/") for name in names)

    @contextmanager
    def making(self, number: int) -> Iterator[Path]:
        """Yield an empty folder that becomes the shard when the block ends well; one that another has finished meanwhile stays."""
        with self._whole(number) as temporary:
            yield temporary
        if self.place.remote is not None:
            path = self.path(number)
            last = max(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
            self.place.remote.put_whole(path, self._name(number), last)

    @contextmanager
    def _whole(self, number: int) -> Iterator[Path]:
        """Yield an empty folder that takes the place of the shard's, unless another was first."""
        temporary = self.folder / f".{number:05d}.{uuid.uuid4().hex[:8]}.tmp"
        with told(self.folder):
            temporary.mkdir(parents=True)
            try:
                yield temporary
                for path in [*temporary.rglob("*"), temporary]:
                    sync(path)
                try:
                    os.rename(temporary, self.path(number))
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                sync(self.folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _name(self, number: int) -> str:
        return f"{self.step}/{self.key}/{number:05d}"

    def only(self) -> None:
        """Remove what is left of other work of the same step on this machine."""
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path.name != self.folder.name and path.is_dir():
                self._drop(path)

    def remove(self) -> None:
        """Remove the shards, which are joined now, and all that is left of the step's work."""
        if self.place.remote is not None:
            self.place.remote.drop_whole(self.step)
        if self.root.is_dir():
            self._drop(self.root)
        if self.root.parent.is_dir() and not any(self.root.parent.iterdir()):
            self.root.parent.rmdir()

    def _drop(self, path: Path) -> None:
        """Remove a folder of shards under another name, or one that is removed in part would look whole to the next call."""
        gone = f".{self.step}.gone."
        os.rename(path, self.root.with_name(f"{gone}{uuid.uuid4().hex[:8]}.tmp"))
        for left in self.root.parent.glob(f"{gone}*.tmp"):
            shutil.rmtree(left, ignore_errors=True)


def make_shard(work: Work, number: int, advance: Advance = silent) -> int:
    """Make a shard unless it is there; return the number of its items."""
    if work.shards.place.remote is not None or not work.shards.path(number).is_dir():
        with work.shards.making(number) as folder:
            work.make(number, folder, advance)
    return work.sizes[number]


# ---- one machine's share of it


@dataclass(frozen=True)
class Share:
    """Of all shards those of one machine: every `of`-th from `index` on."""

    index: int
    of: int

    @classmethod
    def read(cls, text: str) -> Share:
        """Return the share 'I/N', I from 0 to N - 1; with 'N' alone, or '/N', I is the index of the array job that this is.

        Raises `OptionError` for another text, and where no array job says which one this is.
        """
        index, _, of = text.rpartition("/")
        index = index or array_index(text)
        if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
            raise OptionError(
                f"--shard '{text}' is no share of the work.",
                "Give I/N with I from 0 to N - 1, such as --shard 3/64; in an array job /64 is enough.",
            )
        return cls(int(index), int(of))

    def numbers(self, count: int) -> range:
        """Return the numbers of its shards."""
        return range(self.index, count, self.of)


ARRAY_INDEXES = ("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID")
"""Where Kubernetes, AWS Batch and Slurm say which of an array job's tasks this is."""


def array_index(text: str) -> str:
    """Return the index that a scheduler gave this process; Slurm's counts from the least of the array."""
    for name in ARRAY_INDEXES:
        if os.environ.get(name):
            least = os.environ.get("SLURM_ARRAY_TASK_MIN") or "0" if name.startswith("SLURM") else "0"
            if not (os.environ[name].isdecimal() and least.isdecimal()):
                raise OptionError(
                    f"{name} is '{os.environ[name]}', no number of a task.", "Give I/N, such as --shard 3/64."
                )
            return str(int(os.environ[name]) - int(least))
    raise OptionError(
        f"--shard '{text}' does not say which share, and no array job does ({', '.join(ARRAY_INDEXES)} are not set).",
        "Give I/N, such as --shard 3/64.",
    )


# ---- what was asked for


@dataclass(frozen=True)
class Job:
    """Work in shards: the `step`, what was asked for (`given`), what the first to come found (`plan`), so that all cut it alike, and
    whether machines share it or one call does it alone."""

    step: str
    given: dict[str, Any]
    plan: dict[str, Any] = field(default_factory=dict)
    shared: bool = False

    @classmethod
    def at(cls, place: Place, step: str) -> Job | None:
        """Return the job of a step in a place, None where there is none; `Damaged` when it is not what was written."""
        path = place.folder / FOLDER / step / JOB
        if place.remote is not None:
            found = place.remote.read(f"{SHARDS}/{step}/{JOB}")
            content = None if found is None else json.loads(found[0])
        else:
            content = read_json(path) if path.exists() else None
        if content is None:
            return None
        with as_written(path, AGAIN):
            return cls(**unsealed(path, content, AGAIN))

    @classmethod
    def begun(
        cls, place: Place, step: str, given: dict[str, Any], plan: Callable[[], dict[str, Any]], alone: bool = False
    ) -> Job:
        """Return the job of a step in a place, begun here unless it is there; `RunError` when there something else was asked for.

        Of several that begin it at once one wins, and its plan is that of all. A call that works on the step `alone` has a
        plan of its own, and begins anew where another is held.
        """
        given = json.loads(json.dumps(given, default=str))
        held = None if alone else cls.at(place, step)
        if held is None:
            job = cls(step, given, json.loads(json.dumps(plan(), default=str)), shared=not alone)
            job._write(place, replace=alone)
            held = cls.at(place, step)
        assert held is not None
        if held.given != given:
            other = next(name for name in {**held.given, **given} if held.given.get(name) != given.get(name))
            raise RunError(
                f"{place.name} holds shards of another '{step}', with {other} {_short(held.given.get(other))}, not "
                f"{_short(given.get(other))}.",
                f"Join those first: winnow join {place.name}; or remove {root_of(place)}/{step}.",
            )
        return held

    @staticmethod
    def check_none_shared(place: Place, step: str) -> None:
        """Raise `RunError` where machines share a step's work, which a call of its own would make void or be lost to."""
        held = Job.at(place, step)
        if held is not None and held.shared:
            raise RunError(
                f"{place.name} holds shards of '{step}' that several machines make.",
                f"Join those first: winnow join {place.name}; or give them up: remove {root_of(place)}/{step}.",
            )

    def _write(self, place: Place, replace: bool) -> None:
        """Write the job where there is none, or in the place of one."""
        content = sealed(asdict(self))
        if place.remote is not None:
            name, data = f"{SHARDS}/{self.step}/{JOB}", json.dumps(content).encode()
            if replace:
                place.remote.put(name, data)
            else:
                place.remote.create(name, data)
            return
        path = place.folder / FOLDER / self.step / JOB
        mine = path.with_name(f".{JOB}.{uuid.uuid4().hex[:8]}.tmp")
        write_json(mine, content)
        if replace:
            os.replace(mine, path)
            return
        with suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()


def root_of(place: Place) -> str:
    """Return where the shards of a place lie."""
    return f"{place.name}/{SHARDS if place.remote else FOLDER}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def key_of(content: Any) -> str:
    """Return a hash of what all shards of a work depend on."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
