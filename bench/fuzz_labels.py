"""Damaged label stores: flipped bits, files cut short and zeroed blocks, in each file of a store, closed in order or killed.

python bench/fuzz_labels.py [--quick] [--to FOLDER]

Every damaged copy is read, then opened to write, given a label and an undo, and read again, by the library as the commands
use it. What is read must be what was acknowledged, or a warning or an error has to say that it is not; a label that nobody
gave is a silent change whatever is said.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from winnow.errors import LossWarning, WinnowError
from winnow.label.events import Event
from winnow.label.present import State
from winnow.label.store import LabelStore

CLASSES = ("staff", "customer", "other")
FILES = ("labels.sqlite", "labels.sqlite-wal", "labels.sqlite-log")
ITEMS, BLOCK, PATIENCE = 60, 512, 30
STATES = ("closed", "killed", "killed, all in the journal", "two servers, one killed")


class Acknowledged(NamedTuple):
    """What a store held when its last answer came: every event with its fields, the state of items, the classes."""

    events: dict[str, tuple[Any, ...]]
    states: dict[str, State]
    classes: list[str]


def make(folder: Path, state: str, number: int = 400, seed: int = 0) -> Acknowledged:
    """Fill a store in a process of its own, which closes it or is killed; return what was acknowledged."""
    folder.mkdir(parents=True)
    in_its_own_process(lambda: _fill(folder / FILES[0], state, number, random.Random(seed)))
    copy = folder.with_name(f"{folder.name} whole")
    shutil.copytree(folder, copy)
    return held(copy / FILES[0])


def in_its_own_process(act: Callable[[], object]) -> None:
    """Call a function in a process that ends at once, as one does that is killed."""
    if not (pid := os.fork()):
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def _fill(path: Path, state: str, number: int, rng: random.Random) -> None:
    store = LabelStore.open(path)
    other = LabelStore.open(path) if state.startswith("two") else store
    if state.endswith("journal"):
        store._connection.execute("PRAGMA wal_autocheckpoint = 0")
    store.add_classes("eve", CLASSES)
    uuids: list[tuple[str, str]] = []
    while len(uuids) < number:
        batch = [_event(rng, len(uuids) + place, uuids) for place in range(rng.choice((1, 1, 1, 5)))]
        assert not rng.choice((store, other)).add(rng.choice(("ann", "bob")), batch).refused
        uuids += [(event.uuid, event.item) for event in batch if event.kind != "undo"]
    if state == "closed":
        store.close()


def _event(rng: random.Random, number: int, uuids: list[tuple[str, str]]) -> Event:
    kind = rng.choice(("label", "label", "label", "skip", "note", "undo"))
    uuid, item = f"{rng.getrandbits(64):016x}-{number}", f"clip {rng.randrange(ITEMS):03d}.mp4@1.25#3,0,64,128"
    if kind == "undo" and uuids:
        undone, item = rng.choice(uuids)
        return Event(uuid, item, "undo", undone)
    value = {"label": rng.choice(CLASSES), "note": 'gr\u00fcn, "dark"\nand small'}.get(kind, "")
    return Event(uuid, item, "skip" if kind == "undo" else kind, value, "2026-01-01T00:00:00Z")


def held(path: Path) -> Acknowledged:
    """Return all that a store holds, read as a command reads it."""
    with LabelStore.read(path) as store:
        rows = store._connection.execute("SELECT uuid, who, at, received, item, kind, value FROM events").fetchall()
        return Acknowledged({row[0]: row for row in rows}, store.states(), store.classes)


# ---- damage


def flip(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def cut(content: bytearray, rng: random.Random) -> None:
    """Cut a file off, but never the log behind a whole line: with the database damaged, too, nothing tells that from fewer labels."""
    del content[rng.randrange(len(content)) :]
    if content.endswith(b"]\n"):
        del content[-1:]


def zero(content: bytearray, rng: random.Random) -> None:
    """Write zeros over a block, as a file system does that lost it."""
    start = rng.randrange(0, len(content), BLOCK)
    content[start : start + BLOCK] = bytes(len(content[start : start + BLOCK]))


DAMAGE: dict[str, Callable[[bytearray, random.Random], None]] = {"flip": flip, "cut": cut, "zero": zero}


def damage(folder: Path, names: tuple[str, ...], kind: str, rng: random.Random) -> None:
    """Damage some files of a store."""
    for name in names:
        content = bytearray((folder / name).read_bytes())
        if content:
            DAMAGE[kind](content, rng)
        (folder / name).write_bytes(content)


# ---- judgement


@contextmanager
def in_time() -> Iterator[None]:
    """Raise `TimeoutError` in what hangs."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


def judge(folder: Path, meant: Acknowledged) -> str:
    """Return what became of a damaged store: "whole", "told", "refused", or what must never be."""
    path, worst = folder / FILES[0], "whole"
    for turn in ("read", "write", "read again"):
        try:
            with warnings.catch_warnings(record=True) as said, in_time():
                warnings.simplefilter("always")
                now = _written(path, meant) if turn == "write" else held(path)
        except TimeoutError:
            return "hang"
        except WinnowError as error:
            return "refused" if "labels.sqlite" in error.message else "traceback"
        except Exception:
            traceback.print_exc()
            return "traceback"
        messages = [str(warning.message) for warning in said if warning.category is LossWarning]
        told = any("lost" in message and "no label is lost" not in message for message in messages)
        if any(meant.events.get(uuid) != event for uuid, event in now.events.items() if event[5] != "class"):
            return "silent change"
        if now != meant:
            if not told and turn != "read again":  # what was told and mended is not told twice
                return "silent change"
            if len(now.events) == len(meant.events):
                return "silent change"  # nothing is lost, and all the same it is another state
            worst, meant = "told", now
        elif said:
            worst = "whole, told" if worst == "whole" else worst
    return worst


def _written(path: Path, meant: Acknowledged) -> Acknowledged:
    """Open a store to write, label an item and take that back, and return what it holds but for these two."""
    with LabelStore.open(path) as store:
        name, states = f"mark-{time.time_ns()}", store.states()
        item = next(iter(states), "item")
        before = store.state(item)
        added = store.add("eve", [Event(name, item, "skip"), Event(f"{name}-u", item, "undo", name)])
        assert added.saved == [name, f"{name}-u"] and store.state(item) == before, (added, before, store.state(item))
    now = held(path)
    if item not in states:  # only classes were left
        meant.states[item] = now.states[item]
    for uuid in (name, f"{name}-u"):
        meant.events[uuid] = now.events[uuid]
    return now


# ---- the runs


def cases(state: str) -> list[tuple[str, ...]]:
    """Return which files are damaged together; the last two are more than one fault, of which only the telling is asked."""
    single = [(name,) for name in FILES if state != "closed" or not name.endswith("-wal")]
    return [*single, (FILES[0], FILES[2])]


def fuzz(folder: Path, each: int, seed: int = 0) -> list[dict[str, Any]]:
    """Damage `each` copies of every state, file and kind; return how many ended how."""
    rows = []
    for state in STATES:
        source = folder / state
        meant = make(source, state)
        for names, kind in itertools.product(cases(state), DAMAGE):
            ends: collections.Counter[str] = collections.Counter()
            for number in range(each):
                rng = random.Random(f"{seed} {state} {names} {kind} {number}")
                copy = folder / "copy"
                shutil.copytree(source, copy)
                damage(copy, names, kind, rng)
                ends[judge(copy, Acknowledged(dict(meant.events), dict(meant.states), list(meant.classes)))] += 1
                shutil.rmtree(copy)
            shown = {
                end: ends[end]
                for end in ("whole", "whole, told", "told", "refused", "silent change", "traceback", "hang")
            }
            rows.append({"state": state, "file": " and ".join(names), "damage": kind, **shown})
    return rows


def main() -> None:
    from common import arguments, finish, table

    given, began = arguments(__doc__), time.perf_counter()
    rows = fuzz(given.to / "stores", 4 if given.quick else 70)
    table(rows, "What became of damaged label stores")
    wrong = sum(row[end] for row in rows for end in ("silent change", "traceback", "hang"))
    count = sum(value for row in rows for value in row.values() if isinstance(value, int))
    print(f"\n{count:,} damaged stores, {wrong} silent changes, tracebacks or hangs.")
    finish("fuzz_labels", began, rows=rows, count=count, wrong=wrong)


if __name__ == "__main__":
    main()
