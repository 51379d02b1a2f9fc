"""A label server whose files are taken away: it says so, stops, and nothing that it called saved is missing."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from winnow.errors import RunError
from winnow.label.database import StoreLost
from winnow.label.store import Event, LabelStore
from winnow.pool.pool import Pool

from labelling import Server, make_run


def label(number: int | str, item: str = "x") -> Event:
    return Event(f"e{number}", item, "label", "staff")


@pytest.fixture
def store(tmp_path: Path):
    """A store of many labels, partly in the file and partly in its journal, and a copy of its beginning as backup.sqlite."""
    folder = tmp_path / "run"
    folder.mkdir()
    with LabelStore.open(folder / "labels.sqlite") as store:
        store.add_classes("eve", ["staff"])
        store.add("eve", [label(number) for number in range(50)])
    shutil.copy(folder / "labels.sqlite", tmp_path / "backup.sqlite")
    with LabelStore.open(folder / "labels.sqlite") as store:
        for start in range(50, 5050, 500):
            store.add("eve", [label(number) for number in range(start, start + 500)])
        store._connection.execute("PRAGMA wal_checkpoint(RESTART)")  # from here on it holds little
        yield store


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    os.replace(path.parent.parent / "backup.sqlite", path)


def overwrite(path: Path) -> None:
    shutil.copyfile(path.parent.parent / "backup.sqlite", path)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def begin_anew(path: Path) -> None:
    """What `--overwrite` did: the whole folder goes, and another one takes its place."""
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    LabelStore.open(path).close()


HARM: dict[str, Callable[[Path], None]] = {
    "removed": remove,
    "moved": move,
    "replaced by a backup": replace,
    "overwritten by a backup": overwrite,
    "emptied": empty,
    "the journal removed": lambda path: remove(path.with_name("labels.sqlite-wal")),
    "the index removed": lambda path: remove(path.with_name("labels.sqlite-shm")),
    "the log removed": lambda path: remove(path.with_name("labels.sqlite-log")),
    "the folder moved": lambda path: move(path.parent),
    "the folder removed": lambda path: shutil.rmtree(path.parent),
    "the folder begun anew": begin_anew,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_store_that_was_taken_away_acknowledges_nothing(store: LabelStore, harm: str):
    assert store.add("ann", [label("before")]).saved == ["ebefore"]
    HARM[harm](store.path)
    for _ in range(2):  # and it stays so
        with pytest.raises(StoreLost, match=r"labels\.sqlite.* while labels were being saved") as caught:
            store.add("ann", [label("after")])
        assert "winnow label" in caught.value.remedy
        for act in (store.states, store.check, lambda: store.add_classes("ann", ["new"])):
            with pytest.raises(StoreLost):
                act()


@pytest.mark.parametrize("harm", ["removed", "replaced by a backup", "the journal removed", "the folder moved"])
def test_a_store_that_is_taken_away_during_a_commit_acknowledges_nothing(store: LabelStore, harm: str):
    done = []

    def during(statement: str) -> None:
        if statement == "COMMIT" and not done:
            done.append(harm)
            HARM[harm](store.path)

    store._connection.set_trace_callback(during)
    with pytest.raises(StoreLost):
        store.add("ann", [label("after")])
    assert done == [harm]


def test_a_restored_backup_is_left_as_it_is(store: LabelStore, tmp_path: Path):
    replace(store.path)
    whole = store.path.read_bytes()
    with pytest.raises(StoreLost) as caught:
        store.add("ann", [label("after")])
    store.close()
    assert store.path.read_bytes() == whole
    assert "no labels.sqlite-wal" in caught.value.remedy
    for name in ("labels.sqlite-wal", "labels.sqlite-shm", "labels.sqlite-log"):  # as the remedy says
        (store.path.parent / name).unlink()
    with LabelStore.open(store.path) as again:
        assert again.seq == 51 and again.add("ann", [label("after")]).saved == ["eafter"]


def test_what_leaves_the_store_in_place_does_no_harm(store: LabelStore, tmp_path: Path):
    store.path.chmod(0o600)
    os.link(store.path, tmp_path / "hard link")
    os.utime(store.path)
    shutil.copy(store.path, tmp_path / "a copy")
    with LabelStore.open(store.path) as other:
        other.add("bob", [label("other")])
    moved = store.path.parent.rename(tmp_path / "moved")
    store.path.parent.symlink_to(moved)  # the path leads to the same file as before
    assert store.add("ann", [label("after")]).saved == ["eafter"]
    assert store.seq == 5053


def test_a_backup_written_over_the_file_loses_nothing_that_the_journal_holds(store: LabelStore, tmp_path: Path):
    store.close()
    shutil.copy(store.path, tmp_path / "backup.sqlite")
    with LabelStore.open(store.path) as again:
        again.add("ann", [label("since")])
        overwrite(store.path)
        assert again.add("ann", [label("after")]).saved == ["eafter"]
    with LabelStore.read(store.path) as copy:
        assert copy.seq == 5053


def test_a_full_disk_saves_nothing_and_later_all(store: LabelStore):
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    before = store.seq, store.states()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [label(f"full{number}") for number in range(200)]
    with pytest.raises(RunError, match="full") as caught:
        store.add("ann", many)
    assert "free space" in caught.value.remedy and not isinstance(caught.value, StoreLost)
    assert (store.seq, store.states()) == before
    store._connection.execute(f"PRAGMA max_page_count = {1 << 30}")
    assert len(store.add("ann", many).saved) == 200


# ---- the command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "run"))


def sent(run: Path, number: int | str) -> dict[str, object]:
    item = Pool.open(run / "pool").column("id")[0]
    return {"events": [{"uuid": f"e{number}", "item": item, "kind": "label", "value": "staff"}]}


def ended(server: Server) -> str:
    """What a server said at its end, which must be near, for a reason, and in a sentence."""
    server.process.wait(20)
    status, out, err = server.stop()
    assert status == 1 and "Traceback" not in err and "every label" not in out
    return err


@pytest.mark.parametrize("harm", ["replaced by a backup", "overwritten by a backup", "the folder begun anew"])
def test_a_server_whose_store_is_taken_away_says_so_and_ends(run: Path, tmp_path: Path, harm: str):
    with LabelStore.open(run / "labels.sqlite") as store:
        store.add_classes("eve", ["staff"])
    shutil.copy(run / "labels.sqlite", tmp_path / "backup.sqlite")
    with Server(run) as server, Server(run) as second:
        body = sent(run, "after")
        assert server.post("/api/events", sent(run, "before"))["saved"] == ["ebefore"]
        with LabelStore.open(run / "labels.sqlite") as store:
            store.add("eve", [label(number) for number in range(3000)])
            store._connection.execute("PRAGMA wal_checkpoint(RESTART)")
            store.add("eve", [label("last")])  # now the journal holds little
        for one in (server, second):
            one.get("/api/state")  # as their pages do every two seconds
        HARM[harm](run / "labels.sqlite")
        for one in (server, second):  # of two on one run, both
            for method, path in (("POST", "/api/events"), ("GET", "/api/state"), ("GET", "/api/pictures/0")):
                status, _, answer = one.request(method, path, body if method == "POST" else None)
                assert status == 503 and b"labels.sqlite was " in answer and b"no label is saved since" in answer, (
                    answer
                )
        for one in (server, second):
            said = ended(one)
            assert "labels.sqlite was " in said and "End every winnow label of this run" in said


def test_an_idle_server_ends_too(run: Path):
    with Server(run, "--classes", "staff") as server:
        (run / "labels.sqlite").unlink()
        assert "labels.sqlite was moved or deleted" in ended(server)


def test_ctrl_c_after_the_loss_does_not_call_it_saved(run: Path):
    with Server(run, "--classes", "staff") as server:
        server.get("/api/state")  # it serves, and no longer starts
        (run / "labels.sqlite").unlink()
        server.process.send_signal(signal.SIGINT)
        assert "labels.sqlite was moved or deleted" in ended(server)


def test_a_run_that_is_moved_and_back_has_all_that_was_saved_and_nothing_else(run: Path):
    with Server(run, "--classes", "staff") as server:
        for number in range(5):
            assert server.post("/api/events", sent(run, number))["saved"]
        away = run.rename(run.parent / "away")
        assert server.request("POST", "/api/events", sent(away, "after"))[0] == 503
        ended(server)
    away.rename(run)
    with LabelStore.read(run / "labels.sqlite") as store:
        log = store._connection.execute("SELECT uuid FROM events WHERE kind = 'label'").fetchall()
    assert log == [(f"e{number}",) for number in range(5)]


def test_a_server_on_a_full_disk_goes_on_when_there_is_room(run: Path):
    with Server(run, "--classes", "staff") as server:
        assert server.post("/api/events", sent(run, 0))["saved"]
        pid, limits = server.process.pid, resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, ((run / "labels.sqlite-wal").stat().st_size, limits[1]))
        status, _, answer = server.request("POST", "/api/events", sent(run, 1))
        assert status == 503 and b"free space" in answer, answer
        time.sleep(2)
        assert server.process.poll() is None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        assert server.post("/api/events", sent(run, 1))["saved"] == ["e1"]
        status, out, err = server.stop(signal.SIGINT)
        assert status == 0 and "every label" in out and not err
    with LabelStore.read(run / "labels.sqlite") as store:
        assert store.seq == 3
