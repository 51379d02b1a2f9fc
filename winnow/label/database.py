"""The label store's SQLite file: begun, opened to write, read without writing, and watched while it is open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from winnow.errors import Damaged, RunError

APPLICATION = 0x57_4E_4F_57  # "WNOW", by which SQLite's header identifies the program of a file
VERSION = 1
WAIT = 30.0  # seconds for another process that is writing
LOST = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)  # no table, a mixture of two files, no database

SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    received TEXT NOT NULL,
    item TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('class', 'label', 'skip', 'clear', 'note', 'undo')),
    value TEXT NOT NULL,
    sum INTEGER NOT NULL
);
CREATE INDEX events_of_item ON events (item);
CREATE TRIGGER never_updated BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER never_replaced BEFORE INSERT ON events
    WHEN EXISTS (SELECT 1 FROM events WHERE uuid = NEW.uuid OR seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


class StoreLost(RunError):
    """The file at the store's path is no longer the one that was opened: what is written to it would be lost."""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that syncs every commit, and begin the store where there is no file.

    Raises `RunError` when the file is another program's or cannot be written, `Damaged` when it is not what was written.
    """
    with sqlite_errors(path):
        connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
        try:
            if not _is_new(connection):
                _check_owner(path, connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            if _is_new(connection):
                _make_tables(connection)
            connection.execute("COMMIT")
            _check_content(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def read_copy(path: Path) -> sqlite3.Connection:
    """Return a read-only copy of the store in memory, as of now; it is empty where there is no file.

    Nothing is created or changed next to the file, except that SQLite may update the index (-shm) of a journal that a
    killed process left. Raises what `connect` does.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with sqlite_errors(path):
            _copy_into(memory, path)
            if _is_new(memory):
                _make_tables(memory)
            _check_owner(path, memory)
            _check_content(path, memory)
            memory.execute("PRAGMA query_only = ON")
    except BaseException:
        memory.close()
        raise
    return memory


def _copy_into(memory: sqlite3.Connection, path: Path) -> None:
    """Copy a store with the contents of its journal, even from a folder that cannot be written.

    A read-only connection needs the journal's index, and makes one where it can. Without a journal nobody has the store open
    and the file is complete; with a journal but no index nobody has it open either, and both are copied to where an index
    can be made.
    """
    wal, shm = _beside(path)
    while _exists(path):
        seen = _mark(path)
        try:
            if wal.exists() and shm.exists():
                return _backup(path, "mode=ro", memory)
            if wal.exists():
                with TemporaryDirectory() as folder:
                    copies = [
                        Path(shutil.copyfile(file, Path(folder) / file.name))
                        for file in (wal.with_name(wal.name[:-4]), wal)
                    ]
                    _backup(copies[0], "mode=rw", memory)
            else:
                _backup(path, "immutable=1", memory)
        except (sqlite3.DatabaseError, FileNotFoundError):
            if _mark(path) == seen:
                raise
            continue  # somebody began or ended meanwhile
        if _mark(path) == seen:
            return None
    return None


def _backup(path: Path, mode: str, memory: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", timeout=WAIT, uri=True)) as source:
        source.backup(memory)


class OpenFiles:
    """A watch on whether the files at a store's path are still those that were opened.

    SQLite goes on writing into files that were deleted, moved or replaced, and reports success. `check` compares device and
    inode, and the size, as a file of events that are only added never shrinks; `verify` also notices another copy that was
    written over the file in place.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, path.absolute()
        self._opened = {file: _identity(_stat(file)) for file in (self._place, *_beside(path))}
        self._lock = threading.Lock()  # a size read earlier must not be compared later
        self._size = 0
        self._mark: tuple[int, ...] | None = None
        self._lost: StoreLost | None = None

    def check(self) -> None:
        """Raise `StoreLost` when a file was deleted, moved, replaced or cut, and from then on always."""
        with self._lock:
            found = {file: _stat(file) for file in self._opened}
            for file, now in found.items():
                if self._lost is None and _identity(now) != self._opened[file]:
                    self._lose("moved or deleted" if now is None else "replaced by another file", file)
            size = getattr(found[self._place], "st_size", 0)
            if self._lost is None and size < self._size:
                self._lose("overwritten", self._place)
            self._size = size
        if self._lost is not None:
            raise self._lost

    def verify(self, count: int, total: int) -> None:
        """Raise `StoreLost` unless events 1 to `count`, whose sums add up to `total`, can be read at the path.

        They are read only when the file was written since the last time, as a checkpoint does, and through a new connection:
        an old one has pages in memory that are no longer in the file.
        """
        self.check()
        mark = _mark(self._place)
        if mark == self._mark:
            return
        try:
            with closing(sqlite3.connect(f"{self._place.as_uri()}?mode=ro", timeout=WAIT, uri=True)) as fresh:
                found = fresh.execute(
                    "SELECT count(sum), ifnull(sum(sum), 0) FROM events WHERE seq <= ?", (count,)
                ).fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in LOST:
                raise
            found = None
        if found != (count, total):
            self._lose("overwritten", self._place)
        self.check()
        self._mark = mark

    def _lose(self, how: str, file: Path) -> None:
        name = self._place.name
        self._lost = StoreLost(
            f"{self._path.parent / file.name} was {how} while labels were being saved; no label is saved since.",
            f"End every winnow label of this run. Put back {name} with {name}-wal, or a copy of {name} with no {name}-wal and "
            f"{name}-shm beside it; then start winnow label again.",
        )


def _beside(path: Path) -> tuple[Path, Path]:
    """Return the paths of the journal (-wal) and its index (-shm), next to the file itself where the path is a link."""
    real = os.path.realpath(path)
    return Path(f"{real}-wal"), Path(f"{real}-shm")


def _stat(path: Path) -> os.stat_result | None:
    """Return the status of a file, None when it cannot be reached."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    """Return the device and inode, which distinguish a file from all others that exist."""
    return found and (found.st_dev, found.st_ino)


def _mark(path: Path) -> tuple[int, ...] | None:
    """Return values that change when a file is written, None when it cannot be reached."""
    found = _stat(path)
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def _exists(path: Path) -> bool:
    """Return whether there is a file; unlike `Path.exists`, raise `OSError` when that is unknown."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _number(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _is_new(connection: sqlite3.Connection) -> bool:
    return not (
        _number(connection, "application_id") or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    )


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    if _number(connection, "application_id") != APPLICATION:
        raise RunError(f"{path} is a database of another program.", "Move it away, or choose another run folder.")


def _check_content(path: Path, connection: sqlite3.Connection) -> None:
    version = _number(connection, "user_version")
    if version != VERSION:
        raise RunError(
            f"{path} was written in format {version}, this version reads {VERSION}.",
            "Use the version of Winnow that wrote it, or a newer one.",
        )
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Run the schema's statements one by one: `executescript` would commit before them."""
    statement = ""
    for line in SCHEMA.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into ours."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise RunError(
            f"{path} cannot be read or written ({getattr(error, 'strerror', None) or error}).",
            "Check the folder, its permissions and the free space of the disk; labels already saved are kept.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise Damaged(
            f"{path} is damaged or no label store ({error}).",
            "Restore it from a copy; what was exported can be imported into a new run.",
        ) from error
