"""The label store's SQLite file: begun, opened to write, read without writing, and watched while it is open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from winnow.errors import Damaged, RunError
from winnow.label.event_log import Row

APPLICATION = 0x57_4E_4F_57  # "WNOW", by which SQLite's header identifies the program of a file
VERSION = 2  # 1 had no `seen`, and listed the kinds of events
WAIT = 30.0  # seconds for another process that is writing
FOLDED = 256  # pages of the journal after which it is folded into the database: some sixty labels
COLUMNS = "seq, uuid, who, at, received, item, kind, value, seen"
FIRST_COLUMNS = COLUMNS.replace("seen", "'' AS seen")  # of version 1
LOST = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)  # no table, a mixture of two files, no database
UNREADABLE = (UnicodeDecodeError, OverflowError)  # of a damaged file's texts and numbers, as Python tells them
OUTSIDE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_AUTH,
)  # what SQLite says of the system around a file, not of the file

_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    received TEXT NOT NULL,
    item TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    seen TEXT NOT NULL,
    sum INTEGER NOT NULL
);
CREATE INDEX events_of_item ON events (item);
CREATE TRIGGER never_updated BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER never_replaced BEFORE INSERT ON events
    WHEN EXISTS (SELECT 1 FROM events WHERE uuid = NEW.uuid OR seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END;
"""
SCHEMAS = {
    1: _SCHEMA.replace("    seen TEXT NOT NULL,\n", "").replace(
        "kind TEXT NOT NULL", "kind TEXT NOT NULL CHECK (kind IN ('class', 'label', 'skip', 'clear', 'note', 'undo'))"
    ),
    VERSION: _SCHEMA,
}


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
            connection.execute(f"PRAGMA wal_autocheckpoint = {FOLDED}")
            connection.execute("BEGIN IMMEDIATE")
            if _is_new(connection):
                make_tables(connection)
            elif _number(connection, "user_version") in SCHEMAS:
                upgrade(connection)
            connection.execute("COMMIT")
            _check_content(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def read_copy(path: Path) -> sqlite3.Connection:
    """Return a copy of the store in memory, as of now; it is empty where there is no file.

    Nothing is created or changed next to the file, except that SQLite may update the index (-shm) of a journal that a
    killed process left. Raises what `connect` does.
    """
    memory = _memory()
    try:
        with sqlite_errors(path):
            _copy_into(memory, path)
            if _is_new(memory):
                make_tables(memory)
            check(path, memory)
            upgrade(memory)
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
    wal, shm = beside(path)
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
        self._opened = {file: _identity(_stat(file)) for file in (self._place, *beside(path), log_beside(path))}
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
            f"End every winnow label of this run. Put back {name} with {name}-wal, or nothing: all labels are in {name}-log as "
            f"well; then start winnow label again. To go back to an older copy, leave no {name}-wal, {name}-shm and {name}-log "
            "beside it.",
        )


def log_beside(path: Path) -> Path:
    """Return the path of the second copy of the events (-log)."""
    return Path(f"{os.path.realpath(path)}-log")


def beside(path: Path) -> tuple[Path, Path]:
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


def check(path: Path, connection: sqlite3.Connection) -> None:
    """Raise `RunError` for another program's tables or a newer format, `sqlite3.DatabaseError` for what is damaged."""
    _check_owner(path, connection)
    _check_content(path, connection)


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    if _number(connection, "application_id") != APPLICATION:
        if _has_our_tables(connection):
            raise sqlite3.DatabaseError("its application id is not ours")
        raise RunError(f"{path} is a database of another program.", "Move it away, or choose another run folder.")


def _check_content(path: Path, connection: sqlite3.Connection) -> None:
    """Raise unless the tables are ours, and every index holds what its table does: by them events are found and undone."""
    version = _number(connection, "user_version")
    if VERSION < version < 100:
        raise RunError(
            f"{path} was written in format {version}, this version reads {VERSION}.",
            "Use the version of Winnow that wrote it, or a newer one.",
        )
    problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    if version not in SCHEMAS or not _has_our_tables(connection, version):
        raise sqlite3.DatabaseError("its format or its tables are not those of a label store")


def _has_our_tables(connection: sqlite3.Connection, version: int = 0) -> bool:
    """Return whether the tables are those of a version, or of any."""
    found = _schema(connection)
    for known in [version] if version else SCHEMAS:
        with closing(new_in_memory(known)) as fresh:
            if _schema(fresh) == found:
                return True
    return False


def is_older(path: Path) -> bool:
    """Return whether a store is of an older version, so that opening it to write changes its tables."""
    if not _exists(path):
        return False
    with (
        sqlite_errors(path),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=WAIT, uri=True)) as store,
    ):
        return 0 < _number(store, "user_version") < VERSION


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of an older version into the present form, within the transaction of the caller; events stay as they are."""
    if _number(connection, "user_version") == VERSION:
        return
    for name in [name for kind, name, *_ in _schema(connection) if kind == "trigger" or name == "events_of_item"]:
        connection.execute(f"DROP {'INDEX' if name == 'events_of_item' else 'TRIGGER'} {name}")
    connection.execute("ALTER TABLE events RENAME TO older")
    make_tables(connection)
    connection.execute(f"INSERT INTO events ({COLUMNS}, sum) SELECT {FIRST_COLUMNS}, sum FROM older ORDER BY seq")
    connection.execute("DROP TABLE older")


def new_in_memory(version: int = VERSION) -> sqlite3.Connection:
    """Return an empty store in memory."""
    memory = _memory()
    make_tables(memory, version)
    return memory


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def rows_of(connection: sqlite3.Connection, after: int = 0) -> sqlite3.Cursor:
    """Return the events after a number, in order, each with its checksum last."""
    return connection.execute(f"SELECT {COLUMNS}, sum FROM events WHERE seq > ? ORDER BY seq", (after,))


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add events as they are, within the transaction of the caller."""
    connection.executemany(f"INSERT INTO events ({COLUMNS}, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def make_tables(connection: sqlite3.Connection, version: int = VERSION) -> None:
    """Run the schema's statements one by one: `executescript` would commit before them."""
    statement = ""
    marks = f"PRAGMA application_id = {APPLICATION};\nPRAGMA user_version = {version};"
    for line in (SCHEMAS[version] + marks).splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into ours."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError, *UNREADABLE) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none: a text that cannot be decoded
        outside = code & 0xFF in OUTSIDE and code != sqlite3.SQLITE_IOERR_SHORT_READ
        if isinstance(error, OSError) or outside:
            raise RunError(
                f"{path} cannot be read or written ({getattr(error, 'strerror', None) or error}).",
                "Check the folder, its permissions and the free space of the disk; labels already saved are kept.",
            ) from error
        raise Damaged(
            f"{path} is damaged or no label store ({error}).",
            "Restore it from a copy; what was exported can be imported into a new run.",
        ) from error
