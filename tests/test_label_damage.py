"""A label store of which a file is damaged: nothing changes in silence, what is whole is kept, and what is lost is said."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from winnow.errors import LossWarning, RunError
from winnow.label.event_log import checksum, event_of, line_of
from winnow.label.events import Event
from winnow.label.store import LabelStore, count_labels
from winnow.pool.pool import Pool

from conftest import winnow_command
from labelling import Server, make_run, read_only, tree


def bench() -> ModuleType:
    """Return bench/fuzz_labels.py, of which the tests here run a sample."""
    spec = importlib.util.spec_from_file_location("fuzz_labels", Path(__file__).parents[1] / "bench/fuzz_labels.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_labels"] = module
    spec.loader.exec_module(module)
    return module


fuzz = bench()
LABELS = {f"item {number}": ("staff", "customer")[number % 2] for number in range(40)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, fuzz.Acknowledged]]:
    folder = tmp_path_factory.mktemp("made")
    return {state: (folder / state, fuzz.make(folder / state, state, 100)) for state in fuzz.STATES}


@pytest.mark.parametrize("kind", fuzz.DAMAGE)
@pytest.mark.parametrize(
    ("state", "names"), [(state, names) for state in fuzz.STATES for names in fuzz.cases(state)], ids=str
)
def test_damage_changes_nothing_in_silence(
    made: dict[str, tuple[Path, fuzz.Acknowledged]], tmp_path: Path, state: str, names: tuple[str, ...], kind: str
):
    source, meant = made[state]
    for number in range(2):
        copy = Path(shutil.copytree(source, tmp_path / str(number)))
        fuzz.damage(copy, names, kind, random.Random(f"{state} {names} {kind} {number}"))
        end = fuzz.judge(copy, fuzz.Acknowledged(dict(meant.events), meant.states, meant.classes))
        assert end in (("whole", "whole, told") if len(names) == 1 else ("whole", "whole, told", "told"))


# ---- single damages, seen closely


@pytest.fixture
def store(tmp_path: Path):
    """Forty labels, all of them in the write-ahead log as if the server were killed."""
    path = tmp_path / "run" / "labels.sqlite"
    path.parent.mkdir()

    def fill() -> None:
        opened = LabelStore.open(path)
        opened.add_classes("eve", ["staff", "customer"])
        for item, value in LABELS.items():
            opened.add("eve", [Event(f"e-{item.split()[1]}", item, "label", value)])

    fuzz.in_its_own_process(fill)
    return path


def labels(path: Path) -> dict[str, str]:
    with LabelStore.read(path) as store:
        return {item: label for item, (label, _, _) in store.labels().items()}


def change(path: Path, act: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    act(content)
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 40, 4200, -300])
def test_a_flipped_bit_in_the_write_ahead_log_loses_no_acknowledged_label(store: Path, place: int):
    change(Path(f"{store}-wal"), lambda content: content.__setitem__(place, content[place] ^ 1))
    with contextlib.suppress(sqlite3.OperationalError), sqlite3.connect(store) as alone:
        assert (
            alone.execute("SELECT count(*) FROM events").fetchone()[0] < 42
        )  # SQLite drops what follows, and says nothing
    assert labels(store) == LABELS


def test_labels_come_back_when_the_database_is_gone(store: Path):
    for name in (store, Path(f"{store}-wal"), Path(f"{store}-shm")):
        name.unlink(missing_ok=True)
    assert labels(store) == LABELS and count_labels(store) == 40
    with (
        pytest.warns(LossWarning, match="lacked 42 of 42 entries; they were put back from labels.sqlite-log"),
        LabelStore.open(store) as again,
    ):
        assert again.classes == ["staff", "customer"]
    assert labels(store) == LABELS


def test_a_damaged_database_is_mended_and_the_damaged_files_are_kept(store: Path):
    with LabelStore.open(store):
        pass
    change(store, lambda content: content.__setitem__(slice(4096, 8192), bytes(4096)))
    damaged = store.read_bytes()
    with pytest.warns(LossWarning, match=r"labels\.sqlite was damaged; no label is lost"):
        assert labels(store) == LABELS
    assert store.read_bytes() == damaged  # reading mends nothing
    with (
        pytest.warns(LossWarning, match="damaged files are kept in .*labels.damaged-1"),
        LabelStore.open(store) as again,
    ):
        again.add("eve", [Event("new", "item 3", "label", "staff")])
    assert (store.parent / "labels.damaged-1" / "labels.sqlite").read_bytes() == damaged
    assert labels(store) == LABELS | {"item 3": "staff"}


def test_where_both_copies_are_damaged_what_is_whole_is_kept_and_the_loss_is_counted(store: Path):
    with LabelStore.open(store):
        pass
    with sqlite3.connect(store) as connection:
        connection.execute("DROP TRIGGER never_updated")
        connection.execute("UPDATE events SET value = 'staff' WHERE uuid IN ('e-7', 'e-9')")
    connection.close()
    log = Path(f"{store}-log")
    change(log, lambda content: content.__setitem__(content.find(b'"e-7"') + 2, ord("x")))
    change(log, lambda content: content.__setitem__(content.find(b'"e-8"') + 2, ord("x")))
    kept = {item: label for item, label in LABELS.items() if item != "item 7"}
    with pytest.warns(LossWarning, match="41 entries .* are whole and kept, 1 of 42 entries are lost"):
        assert labels(store) == kept
    with pytest.warns(LossWarning, match="1 of 42 entries are lost"):
        again = LabelStore.open(store)
    with again:
        assert again.add("eve", [Event("u", "item 5", "undo", "e-5")]).saved == ["u"]
        assert again.state("item 5").label is None
    del kept["item 5"]
    assert labels(store) == kept


def test_a_class_that_is_lost_is_made_again_from_its_labels(store: Path):
    Path(f"{store}-wal").unlink()
    store.unlink()
    change(Path(f"{store}-log"), lambda content: content.__setitem__(content.find(b"class customer"), ord("x")))
    with pytest.warns(LossWarning, match="1 of 42 entries are lost"):
        again = LabelStore.open(store)
    with again:
        assert sorted(again.classes) == ["customer", "staff"]
        assert {item: label for item, (label, _, _) in again.labels().items()} == LABELS


def test_a_damaged_log_is_written_again(store: Path):
    log = Path(f"{store}-log")
    whole = log.read_bytes()
    change(log, lambda content: content.__setitem__(500, content[500] ^ 4))
    with pytest.warns(LossWarning, match="labels.sqlite-log was damaged; no label is lost"), LabelStore.open(store):
        assert log.read_bytes() == whole
    change(log, lambda content: content.__delitem__(slice(700, None)))
    with LabelStore.open(store):  # as after a kill: the other copy has all, and there is nothing to say
        assert log.read_bytes() == whole


def test_a_store_that_another_process_has_open_is_not_mended(store: Path):
    log = Path(f"{store}-log")
    with LabelStore.open(store) as other:
        change(log, lambda content: content.__setitem__(500, content[500] ^ 4))
        before = tree(store.parent)
        with pytest.raises(RunError, match=r"labels\.sqlite-log is not what was written") as caught:
            LabelStore.open(store)
        assert "End every winnow label" in caught.value.remedy
        assert before.keys() == tree(store.parent).keys()
        assert other.add("eve", [Event("still", "item 1", "label", "staff")]).saved == ["still"]
    with pytest.warns(LossWarning, match="no label is lost"), LabelStore.open(store) as again:
        assert again.state("item 1").label == "staff"


def test_two_copies_of_two_stores_are_not_mixed(store: Path, tmp_path: Path):
    with LabelStore.open(tmp_path / "other.sqlite") as other:
        other.add_classes("bob", ["dog"])
    for name in (store, Path(f"{store}-wal"), Path(f"{store}-shm")):
        name.unlink(missing_ok=True)
    shutil.copy(tmp_path / "other.sqlite", store)
    for act in (LabelStore.open, LabelStore.read):
        with pytest.raises(RunError, match="two different stores") as caught:
            act(store)
        assert "Move the one away" in caught.value.remedy
    store.unlink()
    assert labels(store) == LABELS


def test_an_older_copy_of_the_database_gets_the_later_labels_back(store: Path, tmp_path: Path):
    with LabelStore.open(store):
        pass
    shutil.copy(store, tmp_path / "backup.sqlite")
    with LabelStore.open(store) as again:
        again.add("eve", [Event("later", "item 1", "label", "staff")])
    shutil.copy(tmp_path / "backup.sqlite", store)
    assert labels(store)["item 1"] == "staff"
    with pytest.warns(LossWarning, match="lacked 1 of 43 entries"), LabelStore.open(store):
        pass
    shutil.copy(tmp_path / "backup.sqlite", store)
    Path(f"{store}-log").unlink()  # as docs/label.md says of going back
    assert labels(store)["item 1"] == "customer"


def test_a_store_without_a_log_gets_one(store: Path):
    Path(f"{store}-log").unlink()
    assert labels(store) == LABELS
    with LabelStore.open(store):
        assert Path(f"{store}-log").read_bytes().count(b"\n") == 42
    store.unlink()
    assert labels(store) == LABELS


@pytest.mark.parametrize("stop", ["before the commit", "in the middle of a line"])
def test_a_server_killed_between_its_two_copies_leaves_them_to_agree(store: Path, stop: str):
    log = Path(f"{store}-log")
    with LabelStore.open(store) as live, LabelStore.open(store) as other:
        seq, total = live.end = live._log.end()
        event = (seq + 1, "sent", "bob", "", "2026-01-01", "item 1", "label", "staff", "")
        line = line_of((*event, checksum(event, total)), total)
        with log.open("ab") as file:
            file.write(line if stop == "before the commit" else line[:20])
        assert other.add("eve", [Event("next", "item 2", "label", "customer")]).saved == ["next"]
        took_over = stop == "before the commit"
        assert live.seq == other.seq == seq + 1 + took_over
        assert other.state("item 1").label == ("staff" if took_over else "customer")
        assert live.add("eve", [Event("sent", "item 1", "label", "staff")]).saved == ["sent"]  # the page sends it again
        assert live.seq == seq + 2
    assert [event_of(line + b"\n")[1][0] for line in log.read_bytes().splitlines()] == list(range(1, seq + 3))


def test_what_cannot_be_written_to_the_log_is_not_saved(store: Path, monkeypatch: pytest.MonkeyPatch):
    with LabelStore.open(store) as live:
        size, write, left = live._log.size, os.write, [1]

        def full(handle: int, content: bytes) -> int:
            if left:
                left.pop()
                return write(handle, content[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RunError, match="No space left"):
            live.add("eve", [Event("new", "item 1", "label", "staff")])
        monkeypatch.undo()
        assert live._log.size == size and live.state("item 1").label == "customer"
        assert live.add("eve", [Event("new", "item 1", "label", "staff")]).saved == ["new"]


@pytest.mark.parametrize("seen", ["", "0.5 g\u00e4st"])
def test_no_line_of_another_event_is_taken_for_whole(seen: str):
    event = (1, "u", "eve", "", "now", "x", "label", "st\u00e4ff", seen)
    line = line_of((*event, checksum(event, 0)), 0)
    assert event_of(line) == (0, (*event, checksum(event, 0)))
    for place, bit in itertools.product(range(len(line) - 1), range(8)):
        flipped = bytearray(line)
        flipped[place] ^= 1 << bit
        assert event_of(bytes(flipped)) is None, flipped
    for wrong in (b"", b"\n", b"[]\n", b"null\n", b"[" * 5000 + b"\n", line[:-1], b"\0" * 512 + b"\n"):
        assert event_of(wrong) is None


# ---- the commands


def test_the_commands_say_what_is_lost_and_go_on(tmp_path: Path):
    run = make_run(tmp_path)
    path = run / "labels.sqlite"
    items = Pool.open(run / "pool").column("id").tolist()[:10]
    with LabelStore.open(path) as store:
        store.add_classes("eve", ["staff"])
        store.add("eve", [Event(f"e{number}", item, "label", "staff") for number, item in enumerate(items)])
    change(path, lambda content: content.__setitem__(slice(4096, 8192), bytes(4096)))
    with read_only(run):
        done = winnow_command("label", "--run", run, "--export", tmp_path / "out.csv")
    assert done.returncode == 0 and "Exported 10 labels" in done.stdout
    assert (
        done.stderr == f"winnow: {path} was damaged; no label is lost, labels.sqlite-log beside it has what it lost.\n"
    )
    with Server(run) as server:
        assert server.get("/api/state")["classes"][0]["count"] == 10
        status, _, err = server.stop()
    assert status == 0 and "kept in" in err and "Traceback" not in err
    assert (run / "labels.damaged-1").is_dir()
