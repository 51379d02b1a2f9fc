"""The second copy of every event: a file of lines beside the database, from which what either loses is made good.

A line is a JSON array: the checksum of the event before, the event's fields, its own checksum. So every line can be
verified alone, and together with the line before it. A line is on the disk before its event is committed to the database.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from winnow.errors import Damaged
from winnow.files import sync

Row: TypeAlias = tuple[Any, ...]
"""An event as the database holds it: seq, uuid, who, at, received, item, kind, value, seen, sum."""

LONGEST_LINE = 1 << 18  # bytes; an item's id has at most 10,000 characters, of at most six bytes each
FIELDS = 10  # of a row
CHUNK = 5000  # events written at once when many are missing
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def checksum(event: Sequence[Any], before: int) -> int:
    """Return the checksum of an event and all before it: SQLite keeps none, and a flipped bit would be another label."""
    return zlib.crc32("\0".join(map(str, _short(event))).encode(), before)


def line_of(row: Row, before: int) -> bytes:
    """Return an event's line; `before` is the checksum of the event before it, 0 for the first."""
    return f"{_write([before, *_short(row[:-1]), row[-1]])}\n".encode()


def _short(event: Sequence[Any]) -> Sequence[Any]:
    """Return an event without an empty `seen`: as those were written that are older than it."""
    return event if event[-1] else event[:-1]


def event_of(line: bytes) -> tuple[int, Row] | None:
    """Return the checksum before an event, and the event, of its line; None when the line is not what was written."""
    try:
        before, *row = json.loads(line)
        if len(row) == FIELDS - 1:
            row.insert(-1, "")  # nothing seen
        whole = len(row) == FIELDS and type(before) is type(row[0]) is type(row[-1]) is int and 0 <= before < 1 << 32
        if whole and row[-1] == checksum(row[:-1], before) and line_of(tuple(row), before) == line:
            return before, tuple(row)
    except (ValueError, TypeError, RecursionError):
        pass
    return None


class Lines(NamedTuple):
    """What a file of lines holds: its whole events by number with the checksum before each, whether every line is whole and
    follows from the one before, and how many lines there are. A last line without an end is none: it was never finished, or
    the file is cut short (`torn`)."""

    events: dict[int, tuple[int, Row]]
    whole: bool
    number: int
    torn: bool


def read_lines(content: bytes) -> Lines:
    """Return what can be verified of a log, line by line."""
    events: dict[int, tuple[int, Row]] = {}
    whole, last, count = True, 0, 0
    for line in _finished(content):
        count += 1
        found = event_of(line)
        if found is None:
            whole = False
            continue
        before, row = found
        whole = whole and row[0] == count and before == last
        last = row[-1]
        events.setdefault(row[0], found)
    return Lines(events, whole, count, bool(content) and not content.endswith(b"\n"))


class Compared(NamedTuple):
    """How far a log and the events of a database agree: up to `size` bytes of the log. At most one of both has more: the log
    the events `ahead`, or the database the rest of the rows, of which `row` is the first and `before` the checksum before."""

    size: int
    ahead: list[Row]
    row: Row | None
    before: int


def compare(file: BinaryIO, rows: Iterator[Row], path: Path) -> Compared:
    """Read a log from its beginning beside the rows of a database; `Damaged` when a finished line differs from its row."""
    size, before = 0, 0
    differing = None
    for row in rows:
        line = line_of(row, before)
        if file.read(len(line)) != line:
            differing = row
            break
        size, before = size + len(line), row[-1]
    file.seek(size)
    rest = _finished(file.read())
    if differing is not None and not rest:
        return Compared(size, [], differing, before)
    ahead = []
    for line in rest:
        found = event_of(line)
        if differing is not None or found is None or found[0] != before:
            raise Damaged(f"{path} is not what was written.", "Start winnow label on the run: it is made good.")
        ahead.append(found[1])
        size, before = size + len(line), found[1][-1]
    return Compared(size, ahead, None, before)


def _finished(content: bytes) -> list[bytes]:
    """Return the lines of a log that have an end, with it."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


class EventLog:
    """A log that is open to write, under the database's write lock.

    Everyone who has it open shares a lock on it, so that nobody repairs a store (`alone`) that another process writes.
    """

    def __init__(self, path: Path) -> None:
        """Open a log, begun where there is none."""
        self.path = path
        self.is_new = not path.exists()
        while True:
            self._file = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_SH)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(self._file.fileno())):
                break
            self._file.close()  # it was replaced while we waited
        if self.is_new:
            sync(path.parent)

    def alone(self) -> bool:
        """Return whether nobody else has the log open, and keep it so until it is closed."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Let others have it open again."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def end(self) -> tuple[int, int] | None:
        """Return number and checksum of the last event, (0, 0) where there is none, and None when the last line is not whole."""
        size = self.size
        tail = os.pread(self._file.fileno(), LONGEST_LINE, max(0, size - LONGEST_LINE))
        found = event_of(tail[tail.rfind(b"\n", 0, -1) + 1 :])
        return (0, 0) if not size else None if found is None else (found[1][0], found[1][-1])

    def compare(self, rows: Iterator[Row]) -> Compared:
        """Compare the log with the rows of the database, and take away a last line that was never finished."""
        with open(self._file.fileno(), "rb", closefd=False) as file:
            file.seek(0)
            found = compare(file, rows, self.path)
        self.cut(found.size)
        return found

    def complete(self, rows: Iterable[Row], before: int) -> None:
        """Append the lines of many events; `before` is the checksum of the event before the first."""
        lines: list[bytes] = []
        for row in rows:
            lines.append(line_of(row, before))
            before = row[-1]
            if len(lines) == CHUNK:
                self.append(lines)
                lines.clear()
        self.append(lines)

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines at the end, on the disk when it returns; what cannot be written whole is taken back."""
        if not lines:
            return
        size, left = self.size, memoryview(b"".join(lines))
        try:
            while left:
                left = left[os.write(self._file.fileno(), left) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self.cut(size)
            raise

    def cut(self, size: int) -> None:
        """Take away what is beyond a size: a line that was not finished, or whose event was not committed."""
        if self.size > size:
            os.ftruncate(self._file.fileno(), size)

    def abandon(self) -> None:
        """Remove a log that was begun here and holds nothing, as there is no store to go with it; and close it."""
        if self.is_new and not self.size:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._file.close()
