"""What a long step in a bucket could go on with, a training's checkpoint, reaches the bucket now and then: machines are taken away.

    s3://bucket/run/unfinished/train/whole.json    the files of .staging/train: path -> object, SHA-256, size

It is of nobody but the step that goes on with it (`--resume`), on this machine or another, and goes when the step is done.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfile

from winnow.data.remote import Remote
from winnow.errors import InputError, LossWarning, RunError, WinnowError
from winnow.run.commit import STAGING, remove
from winnow.run.copies import LARGE
from winnow.run.working_copy import opened, push, ready
from winnow.stages import STAGES

EVERY = 300.0
"""Seconds between two looks for something new to send."""
FOLDER = "unfinished"
Marks = dict[str, tuple[int, int]]


@contextmanager
def pushed(run: Path, step: str, *, resume: bool) -> Iterator[None]:
    """Push a run in a bucket when the block has done a step, and send what it could go on with meanwhile, and where it fails.

    With `resume` what another machine has sent of the step is fetched first. Nothing is done to a run in a folder. Raises
    `RunError`, before the block, where the bucket cannot be written.
    """
    ready(run)
    copy = opened(run)
    if copy is None:
        yield
        return
    if not STAGES[step].keep:
        yield
        push(run)
        return
    sender = _Sender(copy.bucket.remote, copy.folder / STAGING / step, f"{FOLDER}/{step}")
    if resume or STAGES[step].goes_on:
        sender.fetch()
    try:
        with sender:
            yield
    except BaseException:
        sender.send()
        raise
    push(run)
    sender.drop()


class _Sender:
    """Sends the files below a folder, from a thread of its own, whenever they have changed."""

    def __init__(self, remote: Remote, folder: Path, name: str) -> None:
        self.remote, self.folder, self.name = remote, folder, name
        self._sent: Marks = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"winnow {name}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self.send()

    def fetch(self) -> None:
        """Fetch what another machine has sent, where this one holds nothing to go on with."""
        if not self.folder.exists():
            try:
                self.remote.get_files(self.name, self.folder)
            except RunError:  # there is nothing, or not all of it
                remove(self.folder)

    def send(self) -> None:
        """Send what is there now; whatever goes wrong is told, and the step goes on."""
        linked = self.folder.with_name(f".{self.folder.name}.sent")
        try:
            marks = _marks(self.folder)
            if not marks or marks == self._sent:
                return
            remove(linked)
            for path, (size, _) in marks.items():
                (linked / path).parent.mkdir(parents=True, exist_ok=True)
                (os.link if size > LARGE else copyfile)(self.folder / path, linked / path)  # logs grow in place
            if _marks(self.folder) == marks:  # else it was not one moment's; the next look will find another
                self.remote.put_files(self.name, linked)
                self._sent = marks
        except (OSError, WinnowError) as error:
            what = error.message if isinstance(error, WinnowError) else str(error)
            warnings.warn(f"The checkpoint is on this machine alone: {what}", LossWarning, stacklevel=2)
        finally:
            with suppress(OSError):
                remove(linked)

    def drop(self) -> None:
        """Remove what was sent; the step is done."""
        with suppress(InputError, RunError):
            self.remote.delete([name for name, _ in self.remote.listing(self.name)])


def _marks(folder: Path) -> Marks:
    """Return size and time of change of the files below a folder, but for temporary ones."""
    found: Marks = {}
    for path in folder.rglob("*"):
        if not path.name.startswith("."):
            with suppress(FileNotFoundError):
                status = path.lstat()
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found
