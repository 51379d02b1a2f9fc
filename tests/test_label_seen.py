"""What a person saw who decided, a suggestion or none, is kept with the label; stores and logs that are older than it are read."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest

from winnow.errors import LossWarning, RunError
from winnow.label.events import Event
from winnow.label.merge import take
from winnow.label.store import LabelStore
from winnow.run.folder import RunFolder
from winnow.run.labels import open_store
from winnow.steps.report.classifier import label_sections

from conftest import winnow_command
from labelling import Server, make_run, read_only

FIRST = """
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
PRAGMA application_id = 1464749911;
PRAGMA user_version = 1;
"""
"""The tables of version 1, as it wrote them."""
DONE = [
    ("class", "", "staff"),
    ("class", "", "guest"),
    ("label", "x", "staff"),
    ("label", "y", "guest"),
    ("skip", "z", ""),
]
LABELS = {"x": "staff", "y": "guest"}


def first_store(folder: Path) -> Path:
    """Return a store of version 1 with its log, written without any of our code."""
    folder.mkdir(exist_ok=True)
    path, lines, before = folder / "labels.sqlite", [], 0
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST)
        connection.execute("PRAGMA journal_mode = WAL")
        for seq, (kind, item, value) in enumerate(DONE, 1):
            uuid = f"class {value}" if kind == "class" else f"e-{seq}"
            event = [seq, uuid, "eve", "", "2025-01-01T00:00:00.000+00:00", item, kind, value]
            total = zlib.crc32("\0".join(map(str, event)).encode(), before)
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*event, total))
            lines.append(json.dumps([before, *event, total], ensure_ascii=False, separators=(",", ":")) + "\n")
            before = total
    connection.close()
    Path(f"{path}-log").write_text("".join(lines))
    return path


def labels(path: Path) -> dict[str, str]:
    with LabelStore.read(path) as store:
        return {item: label for item, (label, _, _) in store.labels().items()}


@pytest.fixture
def store(tmp_path: Path):
    with LabelStore.open(tmp_path / "labels.sqlite") as store:
        store.add_classes("eve", ["staff", "guest"])
        yield store


def test_what_was_seen_is_that_of_the_last_decision_also_after_an_undo(store: LabelStore):
    store.add("eve", [Event("1", "x", "label", "staff", seen="0.93 guest"), Event("2", "x", "skip", seen="none")])
    assert store.state("x").seen == "none"
    store.add("eve", [Event("3", "x", "note", "dark"), Event("4", "x", "undo", "2")])
    assert store.state("x").seen == "0.93 guest" and store.state("x").label == "staff"
    store.add("eve", [Event("5", "x", "label", "guest", seen="check 1 guest")])
    assert store.state("x").seen == "check 1 guest"
    with LabelStore.open(store.path) as other:  # which reads it from the disk
        assert other.state("x") == store.state("x")


@pytest.mark.parametrize("name", ["a b, c", 'quo"te', "写真", "none", "0.5 x"])
def test_a_suggested_class_may_have_any_name(store: LabelStore, name: str):
    assert store.add("eve", [Event("1", "x", "label", "staff", seen=f"0.5 {name}")]).saved == ["1"]
    assert store.state("x").seen == f"0.5 {name}"


def test_a_store_of_version_1_is_read_as_it_is_and_becomes_one_of_today_when_it_is_written(tmp_path: Path):
    path = first_store(tmp_path / "run")
    before = path.read_bytes()
    with read_only(path.parent):
        assert labels(path) == LABELS
    assert path.read_bytes() == before
    log = Path(f"{path}-log").read_bytes()
    with LabelStore.open(path) as store:  # and says nothing: a warning would fail the test
        assert store.classes == ["staff", "guest"] and store.state("z").skipped and store.state("x").seen == ""
        store.add("eve", [Event("new", "x", "label", "guest", seen="0.6 guest")])
        assert Path(f"{path}-log").read_bytes().startswith(log)
    with LabelStore.open(path) as store:
        assert store.seq == len(DONE) + 1 and store.state("x").seen == "0.6 guest"
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.DatabaseError, match="never deleted"):
        connection.execute("DELETE FROM events")
    connection.close()


def test_a_store_of_version_1_that_another_process_has_open_is_left_alone(tmp_path: Path):
    path = first_store(tmp_path / "run")
    with Path(f"{path}-log").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        before = path.read_bytes()
        with pytest.raises(RunError, match="older version of Winnow, and open"):
            LabelStore.open(path)
        assert path.read_bytes() == before and labels(path) == LABELS


@pytest.mark.parametrize("damage", ["database gone", "database cut", "log cut", "log gone"])
def test_a_damaged_store_of_version_1_is_mended(tmp_path: Path, damage: str):
    path = first_store(tmp_path / "run")
    which = path if damage.startswith("database") else Path(f"{path}-log")
    if damage.endswith("gone"):
        which.unlink()
    else:
        which.write_bytes(which.read_bytes()[: 4096 if which == path else 100] + b"x" * 60 + b"\n")
    if damage != "log gone":
        with pytest.warns(LossWarning):
            LabelStore.open(path).close()
    with LabelStore.open(path) as store:
        assert {item: label for item, (label, _, _) in store.labels().items()} == LABELS


def test_what_was_seen_comes_back_with_either_copy(store: LabelStore):
    store.add("eve", [Event("1", "x", "label", "staff", seen="0.93 guest")])
    for gone in (store.path, Path(f"{store.path}-log")):
        copy = Path(shutil.copytree(store.path.parent, store.path.parent.parent / f"without {gone.name}"))
        with LabelStore.open(copy / store.path.name):
            pass
        (copy / gone.name).unlink()
        with LabelStore.read(copy / store.path.name) as found:
            assert found.state("x").seen == "0.93 guest"


def test_two_copies_of_a_run_are_merged_with_what_was_seen(tmp_path: Path):
    ours, theirs = first_store(tmp_path / "ours"), first_store(tmp_path / "theirs")
    for path, item in ((ours, "x"), (theirs, "y")):
        with LabelStore.open(path) as store:
            store.add("eve", [Event(f"new-{item}", item, "label", "staff", seen=f"0.{len(item)} staff")])
    assert take(ours, Path(f"{theirs}-log").read_bytes(), "theirs")
    with LabelStore.open(ours) as store:
        assert store.state("x").seen == "0.1 staff" == store.state("y").seen and store.state("z").skipped


def test_what_became_of_suggestions_is_counted(store: LabelStore):
    assert store.suggested() == (0, 0, 0, 0)
    said = [
        ("x", "label", "staff", "0.9 staff"),  # took it
        ("y", "label", "staff", "0.9 guest"),
        ("z", "label", "staff", "none"),
        ("w", "skip", "", "0.9 staff"),  # no label
        ("v", "label", "guest", "0.9 guest"),  # and was given another later
        ("v", "label", "guest", "none"),
        ("y", "label", "guest", "check 0.9 guest"),  # changed
        ("z", "label", "staff", "check 0.9 guest"),  # kept
        ("x", "label", "guest", "check 0.9 guest"),  # undone
        ("y", "label", "guest", "check 0.9 staff"),  # looked at twice
    ]
    events = [
        Event(f"s-{number}", item, kind, value, seen=seen) for number, (item, kind, value, seen) in enumerate(said)
    ]
    assert len(store.add("eve", [*events, Event("u", "x", "undo", "s-8")]).saved) == 11
    assert store.suggested() == (2, 1, 2, 1)
    store.add_classes("eve", ["other"])
    store.change_class("eve", "c-1", "staff", "crew")
    store.add(
        "eve",
        [Event("k", "z", "label", "crew", seen="check 0.9 guest"), Event("l", "x", "label", "crew", seen="0.7 staff")],
    )
    assert store.suggested() == (2, 1, 2, 1)  # what was renamed is the same class


def test_the_report_says_what_became_of_suggestions(tmp_path: Path):
    run = make_run(tmp_path, ("a.png", "b.png"), groups=1)
    folder = RunFolder.open(run)
    assert label_sections(folder) == []
    with open_store(folder) as store:
        store.add_classes("eve", ["staff", "guest"])
        store.add(
            "eve",
            [Event("1", "x", "label", "staff", seen="0.9 staff"), Event("2", "y", "label", "guest", seen="0.9 staff")],
        )
        store.add("eve", [Event("3", "x", "label", "guest", seen="check 0.8 guest")])
    (section,) = label_sections(folder)
    assert section.text == [
        "2 labels were given where a suggestion was shown; 1 of them took it.",
        "1 label that held-out predictions contradicted was looked at again, and 1 changed.",
    ]


@pytest.mark.parametrize("name", ["labels.csv", "folder", "tasks.json", "coco.json"])
def test_an_export_and_its_import_keep_what_was_seen(tmp_path: Path, name: str):
    run = make_run(tmp_path, ("a.png", "b.png"), groups=1)
    with Server(run, "--classes", "staff,guest") as server:
        items = [item["id"] for item in server.get("/api/items?show=all")["items"]]
        sent = [
            {"uuid": f"e-{number}", "item": item, "kind": "label", "value": "staff", "seen": seen}
            for number, (item, seen) in enumerate(zip(items, ("0.93 guest", "none"), strict=True))
        ]
        assert len(server.post("/api/events", {"events": sent})["saved"]) == 2
    form = {"tasks.json": ["--format", "label-studio"], "coco.json": ["--format", "coco"]}.get(name, [])
    done = winnow_command("label", "--run", run, "--export", tmp_path / name, *form)
    assert done.returncode == 0, done.stderr
    for file in run.glob("labels.sqlite*"):
        file.unlink()
    done = winnow_command("label", "--run", run, "--import", tmp_path / name, "--classes", "staff,guest")
    assert done.returncode == 0, done.stderr
    with LabelStore.read(run / "labels.sqlite") as store:
        assert [store.state(item).seen for item in items] == ["0.93 guest", "none"]
