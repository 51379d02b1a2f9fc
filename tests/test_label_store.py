"""The label store: the last event counts, nothing is overwritten, several processes at once, damage is reported."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from winnow.errors import Damaged, OptionError, RunError, WinnowError
from winnow.label.present import State
from winnow.label.store import Event, LabelStore, count_labels


@pytest.fixture
def store(tmp_path: Path):
    with LabelStore.open(tmp_path / "labels.sqlite") as store:
        store.add_classes("eve", ["staff", "customer"])
        yield store


def events(*kinds: tuple[str, str], item: str = "x", start: int = 0) -> list[Event]:
    return [Event(f"{item}-{number}", item, kind, value) for number, (kind, value) in enumerate(kinds, start)]


def now(store: LabelStore, item: str = "x") -> tuple[str | None, bool, str, str]:
    state = store.state(item)
    return state.label, state.skipped, state.note, state.by


def test_the_last_word_wins(store: LabelStore):
    store.add("ann", events(("label", "staff"), ("label", "customer")))
    assert now(store) == ("customer", False, "", "ann")
    store.add("bob", events(("skip", ""), start=2))
    assert now(store) == (None, True, "", "bob")
    store.add("ann", events(("label", "staff"), start=3))
    assert now(store) == ("staff", False, "", "ann")
    store.add("bob", events(("note", "back\nturned"), ("clear", ""), start=4))
    assert now(store) == (None, False, "back\nturned", "bob")
    assert store.labels() == {}


def test_undo_names_what_it_undoes(store: LabelStore):
    store.add(
        "ann", events(("label", "staff"), ("note", "one"), ("label", "customer"), ("note", "two"), ("undo", "x-2"))
    )
    assert now(store) == ("staff", False, "two", "ann")
    store.add("bob", events(("undo", "x-0"), ("undo", "x-3"), start=5))
    assert now(store) == (None, False, "one", "")
    store.add("bob", events(("undo", "x-0"), start=7))  # two people undo the same
    assert now(store) == (None, False, "one", "")


@pytest.mark.parametrize(
    "event",
    [
        Event("n-1", "x", "undo", "nobody"),
        Event("n-1", "y", "undo", "x-0"),  # of another item
        Event("n-1", "x", "undo", "x-1"),  # of an undo
        Event("n-1", "x", "undo", "class staff"),
        Event("n-1", "x", "label", "boss"),
        Event("n-1", "unknown", "skip"),
        Event("n-1", "x", "class", "boss"),
        Event("n-1", "x", "drop", ""),
        Event("n-1", "x", "skip", "staff"),
        Event("", "x", "skip"),
        Event("a b", "x", "skip"),
        Event("n" * 65, "x", "skip"),
        Event("n-1", "", "skip"),
        Event("n-1", "x", "note", "\ud800"),
        Event("n-1", "x", "note", "a\0b"),
        Event("n-1", "x", "note", "n" * 2001),
        Event("n-1", "x", "skip", "", "now" * 100),
        Event("n-1", "x", "skip", "", "", "staff"),
        Event("n-1", "x", "label", "staff", "", "1.5 staff"),
        Event("n-1", "x", "note", "dark", "", "none"),
        Event("x-0", "x", "label", "customer"),  # another event's uuid
    ],
    ids=repr,
)
def test_an_event_without_meaning_is_refused_and_the_others_are_saved(store: LabelStore, event: Event):
    store.add("ann", events(("label", "staff"), ("undo", "x-0")))
    good = Event("good-1", "x", "label", "staff")
    added = store.add("ann", [event, good], known={"x", "y"})
    assert added.saved == ["good-1"]
    assert [uuid for uuid, _ in added.refused] == [event.uuid]
    assert added.refused[0][1].endswith(".")
    assert now(store)[0] == "staff"


def test_what_is_sent_again_is_saved_once(store: LabelStore):
    batch = events(("label", "staff"), ("label", "customer"), ("undo", "x-1"), ("note", "é"))
    first = store.add("ann", batch)
    seq = store.seq
    assert store.add("ann", batch) == first == ([event.uuid for event in batch], [])
    assert store.seq == seq
    assert store.add("ann", [batch[3]._replace(value="e\u0301")]).saved == ["x-3"]  # the same word, decomposed


def test_state_is_that_of_a_slow_obvious_fold(store: LabelStore, tmp_path: Path):
    rng = random.Random(0)
    log: list[Event] = []
    for number in range(1500):
        item = f"item {rng.randrange(12)}"
        own = [event for event in log if event.item == item and event.kind != "undo"]
        kind = rng.choice(["label", "label", "skip", "clear", "note", "undo"])
        if kind == "undo" and not own:
            continue
        value = {
            "label": rng.choice(["staff", "customer"]),
            "note": f"note {number}",
            "undo": rng.choice(own).uuid if own else "",
        }
        log.append(Event(f"u{number}", item, kind, value.get(kind, "")))
    with LabelStore.open(tmp_path / "labels.sqlite") as other:
        for start in range(0, len(log), 7):
            added = rng.choice([store, other]).add("ann", log[start : start + 7])
            assert not added.refused

        undone = {event.value for event in log if event.kind == "undo"}
        for item in {event.item for event in log}:
            standing = [
                event for event in log if event.item == item and event.kind != "undo" and event.uuid not in undone
            ]
            notes = [event.value for event in standing if event.kind == "note"]
            last = ([event for event in standing if event.kind != "note"] or [Event("", "", "clear")])[-1]
            expected = (last.value if last.kind == "label" else None, last.kind == "skip", notes[-1] if notes else "")
            with LabelStore.open(store.path) as third:
                assert now(store, item)[:3] == now(other, item)[:3] == now(third, item)[:3] == expected


def test_since_tells_what_was_touched(store: LabelStore):
    begin = store.seq
    store.add("ann", [Event(f"e{number}", f"item {number}", "label", "staff") for number in range(10)])
    states, seq = store.since(begin)
    assert list(states) == [f"item {number}" for number in range(10)]
    assert seq == store.seq
    assert store.since(seq) == ({}, seq)
    assert store.since(10**30) == ({}, seq)
    seen, place = [], begin
    while True:
        states, place = store.since(place, 3)
        if not states:
            break
        assert len(states) <= 3
        seen += states
    assert seen == [f"item {number}" for number in range(10)]


def test_classes_keep_their_order_and_are_made_once(store: LabelStore, tmp_path: Path):
    with LabelStore.open(store.path) as other:
        assert other.add_classes("bob", [" staff ", "caf\u00e9", "cafe\u0301"]) == ["staff", "customer", "caf\u00e9"]
        assert store.classes == other.classes
        assert store.add("ann", [Event("1", "x", "label", "cafe\u0301")]).saved
        assert store.state("x").label == "caf\u00e9"


@pytest.mark.parametrize("name", ["", "  ", "\u00a0", "a\0", "a\nb", "a\u2028b", "a\u202eb", "\ud800", "n" * 101])
def test_a_name_that_cannot_be_a_class(store: LabelStore, name: str):
    with pytest.raises(OptionError, match="class"):
        store.add_classes("ann", ["fine", name])
    assert "fine" not in store.classes


@pytest.mark.parametrize("who", ["علی\u200cرضا", "अभिषेक्\u200dष", "Anna\u00a0B.", "\U0001f469\u200d\U0001f4bb"])
def test_a_name_with_joiners_is_somebodys(store: LabelStore, who: str):
    store.add_classes("me", ["staff"])
    assert store.add(who, [Event("1", "a.png", "label", "staff")]).saved == ["1"]
    assert store.state("a.png").by == who


@pytest.mark.parametrize("who", ["", " ", "n" * 101, "a\nb", "\0", "a\u202eb"])
def test_a_name_that_nobody_has(store: LabelStore, who: str):
    with pytest.raises(OptionError, match="who labels"):
        store.add(who, events(("skip", "")))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET value = 'customer'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT seq, uuid, 'eve', at, received, item, kind, 'customer', seen, sum FROM events",
        "REPLACE INTO events (seq, uuid, who, at, received, item, kind, value, seen, sum) "
        "VALUES (1, 'new', '', '', '', '', 'skip', '', '', 0)",
    ],
)
def test_events_are_never_changed(store: LabelStore, statement: str):
    store.add("ann", events(("label", "staff")))
    with sqlite3.connect(store.path) as connection, pytest.raises(sqlite3.IntegrityError, match="never"):
        connection.execute(statement)
    connection.close()
    assert store.labels()["x"][:2] == ("staff", "ann")


WRITER = """
import sys
from winnow.label.store import Event, LabelStore
path, name = sys.argv[1:]
with LabelStore.open(path) as store:
    store.add_classes(name, ["staff", "customer"])
    for number in range(60):
        item = f"{name} {number}"
        assert store.add(name, [Event(f"{name}-{number}", item, "label", "staff"),
                                Event(f"shared-{number}", f"shared {number}", "label", "customer")]).saved
"""


def test_several_processes_begin_and_write_the_same_store(tmp_path: Path):
    path = tmp_path / "labels.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("ann", "bob", "eve")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with LabelStore.open(path) as store:
        assert store.classes == ["staff", "customer"]
        assert len(store.labels()) == 3 * 60 + 60
        assert store.seq == 2 + 3 * 60 + 60  # what all three sent alike is there once


def test_a_writer_waits_for_another(store: LabelStore):
    with LabelStore.open(store.path) as other:
        other._connection.execute("BEGIN IMMEDIATE")
        store._connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(RunError, match="locked"):
            store.add("ann", events(("label", "staff")))
        other._connection.execute("ROLLBACK")
        assert store.state("x") == State()
        assert store.add("ann", events(("label", "staff"))).saved == ["x-0"]


def test_a_other_database_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "labels.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE shop (name)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match="another program"):
        LabelStore.open(path)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(store: LabelStore):
    store._connection.execute("PRAGMA user_version = 3")
    with pytest.raises(RunError, match="format 3"):
        LabelStore.open(store.path)


def test_a_store_of_which_nothing_is_whole_is_reported(tmp_path: Path):
    for content in (b"not a database, but long enough to look like one " * 100, b"SQLite format 3\0" + bytes(5000)):
        (tmp_path / "labels.sqlite").write_bytes(content)
        for opened in (LabelStore.open, LabelStore.read):
            with pytest.raises(Damaged, match="damaged"):
                opened(tmp_path / "labels.sqlite")
        assert [path.name for path in tmp_path.iterdir()] == ["labels.sqlite"]


def test_an_event_written_by_another_program_is_reported(store: LabelStore):
    with sqlite3.connect(store.path) as connection:
        connection.execute("INSERT INTO events VALUES (3, 'u', 'eve', '', '', 'x', 'label', 'staff', '', 7)")
    connection.close()
    with pytest.raises(Damaged, match="event 3"):
        store.labels()


def test_a_place_where_nothing_can_be_written(tmp_path: Path):
    with pytest.raises(WinnowError, match=r"labels\.sqlite"):
        LabelStore.open(tmp_path / "missing" / "labels.sqlite")
    (tmp_path / "labels.sqlite").mkdir()
    with pytest.raises(WinnowError, match=r"labels\.sqlite"):
        LabelStore.open(tmp_path / "labels.sqlite")


def test_every_commit_is_synced_whoever_began_the_store(store: LabelStore):
    with LabelStore.open(store.path) as other:
        for one in (store, other):
            assert one._connection.execute("PRAGMA synchronous").fetchone() == (
                2,
            )  # FULL: the journal is synced at each commit
            assert one._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_persons_work_is_counted(store: LabelStore, tmp_path: Path):
    assert count_labels(store.path) == 0 and count_labels(tmp_path / "none.sqlite") == 0
    store.add(
        "ann", [*events(("label", "staff")), *events(("skip", ""), item="y"), *events(("note", "dark"), item="z")]
    )
    store.add("ann", [*events(("label", "staff"), ("undo", "w-0"), item="w")])
    assert count_labels(store.path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "labels.sqlite",
        "labels.sqlite-log",
        "labels.sqlite-shm",
        "labels.sqlite-wal",
    ]
    (tmp_path / "text").write_text("no database, but long enough to look like one " * 100)
    with pytest.raises(Damaged):
        count_labels(tmp_path / "text")


def test_a_copy_that_is_read_cannot_be_written(store: LabelStore):
    with LabelStore.read(store.path) as copy:
        with pytest.raises(RunError, match="readonly"):
            copy.add("ann", events(("label", "staff")))
        with pytest.raises(RunError, match="readonly"):
            copy.add_classes("ann", ["boss"])
    assert store.states() == {} and store.classes == ["staff", "customer"]
