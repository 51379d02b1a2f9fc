"""Labels are read where nothing can be written: from a run that is read-only, with a journal or without, and nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import winnow
from winnow.label.store import Event, LabelStore, count_labels
from winnow.pool.pool import Pool
from winnow.run.truth import truth_of

from conftest import winnow_command
from labelling import Server, make_run, read_only, tree
from unprivileged import unprivileged, unprivileged_command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "run"))


def label_some(run: Path, kill: bool = False) -> dict[str, str]:
    """Labels three items in a process of its own, which is killed before it closes the store or ends in order."""
    ids = Pool.open(run / "pool").column("id").tolist()[:3]
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
    else:
        store = LabelStore.open(run / "labels.sqlite")
        store.add_classes("eve", ["staff"])
        store.add("eve", [Event(f"e{item}", item, "label", "staff") for item in ids])
        if not kill:
            store.close()
        os._exit(0)
    return dict.fromkeys(ids, "staff")


def read_of(folder: Path) -> list[object]:
    """Return what a process that permissions hold for reads of a run: its labels, the truth by them, and their number."""

    def read() -> int:
        run = winnow.Run(folder)
        labels = {item: label for item, (label, _, _) in run.labels().items()}
        truth = truth_of(run.folder, Pool.open(run.folder.folder("ingest"))).labels if labels else {}
        print(json.dumps([labels, truth, count_labels(run.folder.path / "labels.sqlite")]))
        return 0

    done = unprivileged(read)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


STATES = {
    "closed in order": (False, ()),
    "killed": (True, ()),
    "killed, copied without the index": (True, ("labels.sqlite-shm",)),
}


@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
@pytest.mark.parametrize("name", STATES)
def test_labels_are_read_and_exported_and_nothing_is_changed(run: Path, tmp_path: Path, name: str, writable: bool):
    kill, missing = STATES[name]
    labels = label_some(run, kill)
    for rest in missing:
        (run / rest).unlink()
    assert (run / "labels.sqlite-wal").exists() == kill
    before = tree(run)

    def read() -> None:
        assert read_of(run) == [labels, labels, 3]
        done = unprivileged_command("label", "--run", run, "--export", tmp_path / "out.csv")
        assert done.returncode == 0 and "Exported 3 labels" in done.stdout, done.stderr

    if writable:
        read()
    else:
        with read_only(run):
            read()
    after = tree(run)
    if writable and name == "killed":  # SQLite brings the index up to date, which holds no label
        del before["labels.sqlite-shm"], after["labels.sqlite-shm"]
    assert after == before
    assert (tmp_path / "out.csv").read_text().count("staff") == 3


def test_where_nothing_is_labelled_no_store_is_begun(run: Path, tmp_path: Path):
    before = tree(run)
    with read_only(run):
        assert read_of(run) == [{}, {}, 0]
    assert winnow.Run(run).labels() == {}
    for words in (
        ("--export", tmp_path / "out.csv"),
        ("--port", "0"),
        ("--import", tmp_path / "none.csv", "--classes", "staff"),
    ):
        done = winnow_command("label", "--run", run, *words)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert tree(run) == before


def test_what_a_server_just_saved_is_read_beside_it(run: Path, tmp_path: Path):
    item = Pool.open(run / "pool").column("id")[0]
    with Server(run, "--classes", "staff") as server:
        server.post("/api/events", {"events": [{"uuid": "e1", "item": item, "kind": "label", "value": "staff"}]})
        assert list(winnow.Run(run).labels()) == [item] and count_labels(run / "labels.sqlite") == 1
        assert winnow.Run(run).export_labels(tmp_path / "out.csv").labels == 1
        server.post("/api/events", {"events": [{"uuid": "e2", "item": item, "kind": "skip"}]})
        assert winnow.Run(run).labels() == {} and count_labels(run / "labels.sqlite") == 1


def test_labelling_a_read_only_run_is_refused_in_a_sentence(run: Path, tmp_path: Path):
    (tmp_path / "new.csv").write_text(f"id,label\n{Pool.open(run / 'pool').column('id')[0]},staff\n")
    before = tree(run)
    with read_only(run):
        for words in (("--port", "0"), ("--import", tmp_path / "new.csv")):
            done = unprivileged_command("label", "--run", run, "--classes", "staff", *words)
            assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
            assert "permission" in done.stderr.lower()
    assert tree(run) == before
