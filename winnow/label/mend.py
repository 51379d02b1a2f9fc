"""A damaged label store: what is whole of its two copies is read, put in place again, and what is lost is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from winnow.errors import RunError
from winnow.files import replacing, sync
from winnow.label.database import (
    COLUMNS,
    FIRST_COLUMNS,
    UNREADABLE,
    beside,
    check,
    insert,
    log_beside,
    make_tables,
    sqlite_errors,
)
from winnow.label.event_log import EventLog, Lines, Row, checksum, read_lines


class Found(NamedTuple):
    """The events that are whole in either copy, in order and numbered anew; which copies are whole; a sentence about it."""

    rows: list[Row]
    database_whole: bool
    log_whole: bool
    told: str


def found(path: Path, damage: RunError) -> Found:
    """Return what is whole of a store's two copies; raise `damage` where that is nothing.

    Raises `RunError` when each copy is whole but they are of two different stores.
    """
    log = log_beside(path)
    with sqlite_errors(path):
        lines = read_lines(log.read_bytes() if log.exists() else b"")
        events, whole = _salvaged(path, lines)
    logged = {number: row for number, (_, row) in lines.events.items()}
    if whole and lines.whole and lines.number:
        if all(events.get(number, row) == row for number, row in logged.items()):
            raise damage  # they agree: it is something else
        raise RunError(
            f"{path} and {log.name} beside it hold the labels of two different stores.",
            "Move the one away that does not belong to this run: the other alone holds all of its labels.",
        )
    union = {**events, **logged} if lines.whole else {**logged, **events}
    if not union:
        raise damage
    rows = renumbered(row for _, row in sorted(union.items()))
    last = max(*union, lines.number)
    known = whole or (
        lines.whole and not lines.torn
    )  # how many there were: a copy that is damaged may have lost its end
    return Found(
        rows, whole, lines.whole, _told(path, len(union), last if known or len(union) < last else None, whole, lines)
    )


def _told(path: Path, kept: int, last: int | None, whole: bool, lines: Lines) -> str:
    """Return the sentence about `kept` events of `last`, None where their number is not known."""
    log = log_beside(path)
    copies = {path: whole, path.parent / log.name: lines.whole or not log.exists()}
    damaged = " and ".join(str(copy) for copy, is_whole in copies.items() if not is_whole)
    if kept == last:
        other = log if lines.whole else path
        return f"{damaged} was damaged; no label is lost, {other.name} beside it has what it lost."
    lost = (
        "whether later ones are lost is not known" if last is None else f"{last - kept:,} of {last:,} entries are lost"
    )
    what = f"{damaged} {'were' if ' and ' in damaged else 'was'} damaged"
    return f"{what}: {kept:,} entries (labels, skips, notes, classes) are whole and kept, {lost}."


def _salvaged(path: Path, lines: Lines) -> tuple[dict[int, Row], bool]:
    """Return the events of a database that can be verified, and whether all of it is whole; nothing is changed."""
    if not path.is_file():
        return {}, False
    with TemporaryDirectory() as folder:
        copies = [
            Path(shutil.copyfile(file, Path(folder) / file.name)) for file in (path, beside(path)[0]) if file.exists()
        ]
        with closing(sqlite3.connect(copies[0], isolation_level=None)) as connection:
            whole = True
            try:
                check(path, connection)
            except (sqlite3.DatabaseError, RunError, *UNREADABLE):
                whole = False
            connection.text_factory = lambda text: text.decode(
                errors="replace"
            )  # such an event is not whole, others are
            return _verified(_readable(connection), lines, whole)


def _readable(connection: sqlite3.Connection) -> dict[int, Row]:
    """Return the rows that can be read from the front and, where that ends at a damaged page, from the back."""
    rows: dict[int, Row] = {}
    columns = FIRST_COLUMNS if _is_first(connection) else COLUMNS
    for order in ("", " DESC"):
        try:
            for row in connection.execute(f"SELECT {columns}, sum FROM events NOT INDEXED ORDER BY seq{order}"):
                rows.setdefault(row[0], row)
        except (sqlite3.DatabaseError, *UNREADABLE):
            continue
        break
    return rows


def _is_first(connection: sqlite3.Connection) -> bool:
    """Return whether the events are those of a store of version 1, which have no `seen`."""
    try:
        connection.execute(f"SELECT {COLUMNS} FROM events LIMIT 0")
    except sqlite3.OperationalError:
        return True
    except (sqlite3.DatabaseError, *UNREADABLE):
        pass
    return False


def _verified(rows: dict[int, Row], lines: Lines, whole: bool) -> tuple[dict[int, Row], bool]:
    """Return the rows whose checksum follows from that of the row before, in either copy; and whether they are whole as one."""
    events = {}
    for number, row in rows.items():
        before, logged = rows.get(number - 1), lines.events.get(number - 1)
        sums = {0} if number == 1 else {one[-1] for one in (before, logged and logged[1]) if one}
        if any(isinstance(known, int) and _is_whole(row, known) for known in sums):
            events[number] = row
    chained = all(number == 1 or rows.get(number - 1, (None,))[-1] is not None for number in events)
    return events, whole and chained and len(events) == len(rows) == max(rows, default=0)


def _is_whole(row: Row, before: int) -> bool:
    """Return whether a row holds what an event does, and its checksum follows from the one before."""
    if not isinstance(row[0], int) or not all(isinstance(field, str) for field in row[1:-1]):
        return False
    try:
        return bool(row[-1] == checksum(row[:-1], before))
    except UNREADABLE:
        return False


def renumbered(rows: Iterable[Row]) -> list[Row]:
    """Return events, each once, numbered and summed anew where some between them are lost; a class that is lost is made again."""
    kept: list[Row] = []
    known: set[str] = set()

    def keep(uuid: str, *fields: str) -> None:
        if uuid not in known:
            known.add(uuid)
            event = (len(kept) + 1, uuid, *fields)
            kept.append((*event, checksum(event, kept[-1][-1] if kept else 0)))

    for _, uuid, who, at, received, item, kind, value, seen, _ in rows:
        if kind == "label":
            keep(f"class {value}", who, "", received, "", "class", value, "")
        keep(uuid, who, at, received, item, kind, value, seen)
    return kept


def mend(path: Path, damage: RunError) -> str:
    """Put a store in place again from what is whole of it, and return a sentence about it; the damaged files are kept beside it.

    Raises `RunError` while another process has the store open, and `damage` where nothing of it is whole.
    """
    with sqlite_errors(path), closing(EventLog(log_beside(path))) as log:
        if not log.alone():
            raise RunError(damage.message, "End every winnow label of this run, then start it again: it is made good.")
        try:
            what = found(path, damage)
        except RunError:
            log.abandon()
            raise
        folder = _kept(path)
        if not what.database_whole:
            rebuild(path, what.rows)
        if not what.log_whole:  # last, as whoever waits for it goes on when it is replaced
            with replacing(log.path) as temporary, closing(EventLog(temporary)) as new:
                new.complete(what.rows, 0)
    return f"{what.told} The damaged files are kept in {folder}."


def _kept(path: Path) -> Path:
    """Copy the damaged files into a new folder beside the store, and return it."""
    number = 1
    while (folder := path.with_name(f"labels.damaged-{number}")).exists():
        number += 1
    folder.mkdir()
    try:
        for file in (path, beside(path)[0], log_beside(path)):
            if file.is_file():
                shutil.copy2(file, folder / file.name)
                sync(folder / file.name)
        sync(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def rebuild(path: Path, rows: Iterable[Row]) -> None:
    """Put a new database in the place of the damaged one, and of its journal, which would be folded into it."""
    place = Path(os.path.realpath(path))
    with replacing(place) as temporary:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN")
            make_tables(connection)
            insert(connection, rows)
            connection.execute("COMMIT")
        for rest in beside(path):
            rest.unlink(missing_ok=True)
