"""The labels of two copies of a run made one: every event of both is kept, none is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from winnow.errors import Damaged, RunError
from winnow.files import replacing
from winnow.label.database import beside, log_beside, sqlite_errors
from winnow.label.event_log import EventLog, Row, read_lines
from winnow.label.mend import rebuild, renumbered
from winnow.label.store import LabelStore

_UUID, _RECEIVED = 1, 4  # places in a row


def merged(ours: list[Row], theirs: list[Row]) -> list[Row]:
    """Return the events of two stores, each once: those they share, then the others in the order of their times, but never against
    the order that either store has them in; numbered and summed anew."""
    return renumbered(_in_order(ours, theirs))


def _in_order(ours: list[Row], theirs: list[Row]) -> Iterator[Row]:
    shared = next((place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(ours), len(theirs)) if shared is None else shared
    yield from ours[:start]
    here, there = start, start
    while here < len(ours) or there < len(theirs):
        if there == len(theirs) or (here < len(ours) and ours[here][_RECEIVED] <= theirs[there][_RECEIVED]):
            yield ours[here]
            here += 1
        else:
            yield theirs[there]
            there += 1


def _uuids(rows: list[Row]) -> set[str]:
    return {row[_UUID] for row in rows}


def take(path: Path, theirs: bytes, where: str) -> bool:
    """Add the events of a log, of which `where` says where it lies, to the store at `path`, begun where there is none.

    Return whether there was one to add. Raises `Damaged` when the log is not whole, `RunError` while a process has the store
    open. Killed at any moment, the store holds all that it held: until the log is replaced it is the old one, and the database,
    which is removed before, is made from it again.
    """
    lines = read_lines(theirs)
    if not lines.whole or lines.torn:
        raise Damaged(f"{where} is damaged: it is not what was written.", "Restore it from a copy.")
    rows = [row for _, row in lines.events.values()]
    log = log_beside(path)
    known = read_lines(log.read_bytes() if log.exists() else b"")
    if known.whole and _uuids(rows) <= _uuids([row for _, row in known.events.values()]):
        return False  # whoever labels at this moment goes on
    if path.exists() or log.exists():
        LabelStore.open(path).close()  # makes good what either of the two copies lacks
    with sqlite_errors(path), closing(EventLog(log)) as own:
        if not own.alone():
            raise RunError(f"The labels of {path.parent} are open on a page.", "End winnow label, then run it again.")
        held = [row for _, row in read_lines(log.read_bytes()).events.values()]
        both = merged(held, rows)
        for database in (path, *beside(path)):
            database.unlink(missing_ok=True)
        with replacing(log) as temporary, closing(EventLog(temporary)) as new:
            new.complete(both, 0)
        rebuild(path, both)
    return True
