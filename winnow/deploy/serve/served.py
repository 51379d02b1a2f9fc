"""The file that a server serves, and the one that takes its place when it is replaced, once that has been checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from winnow.deploy.runtime import Deployed
from winnow.errors import OptionError, WinnowError
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.plan import finder_of

Mark = tuple[int, int, int]
"""Inode, size and time of change of a file, by which it is known to be another."""


@dataclass(frozen=True)
class Served:
    """A file in use: what reads pictures for it (`options`, `find`), what is blank in good ones (`usual`), and when it was loaded."""

    model: Deployed
    options: IngestOptions
    find: Finder | None
    usual: float | None
    since: float

    @classmethod
    def open(cls, path: Path, *, threads: int, most_pixels: float, object_detector: str = "") -> Served:
        """Load and check a file; raises what `Deployed.open` raises, `OptionError` where its object detector is missing or another."""
        model = Deployed.open(path, threads=threads)
        if object_detector and not model.ingest.people:
            raise OptionError(
                f"{path} looks at whole pictures; --object-detector would find nothing in them.",
                "Leave --object-detector out.",
            )
        limit = min(most_pixels, model.ingest.pixel_limit)
        options = model.ingest.model_copy(update={"object_detector": object_detector, "pixel_limit": limit})
        find = finder_of(options, model.object_detector or "")
        return cls(model, options, find, model.blank.usual if model.blank else None, time.time())


class Current:
    """The file that is served now. `look` takes in another one at its path; what is damaged is refused, and the old one stays."""

    def __init__(self, path: Path, load: Callable[[Path], Served], tell: Callable[[str], None]) -> None:
        self.path, self._load, self._tell = path, load, tell
        self._mark = mark_of(path)
        self.served = load(path)
        self.reloaded = self.refused = 0

    def look(self) -> None:
        """Load the file anew where it was replaced; one that changes meanwhile is looked at again the next time."""
        mark = mark_of(self.path)
        if mark in (self._mark, None):
            return
        try:
            served = self._load(self.path)
        except WinnowError as error:
            if mark_of(self.path) == mark:  # or it was still being written
                self._mark, self.refused = mark, self.refused + 1
                self._tell(f"The new {self.path.name} is refused, and the one before is served on: {error.message}")
            return
        if mark_of(self.path) == mark:
            self.served, self._mark, self.reloaded = served, mark, self.reloaded + 1
            self._tell(f"{self.path.name} was replaced: the new file is served.")


def mark_of(path: Path) -> Mark | None:
    """Return what tells one file from another at the same path, None where there is none that can be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
