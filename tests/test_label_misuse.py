"""What people do wrong with `winnow label`, and files that are broken: each ends in one sentence, and nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from winnow.cli import main
from winnow.label.store import Event, LabelStore
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.run.truth import order_of, truth_of

from conftest import winnow_command
from labelling import make_run, tree


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which three pictures are labelled."""
    run = make_run(tmp_path_factory.mktemp("drawn"))
    with LabelStore.open(run / "labels.sqlite") as store:
        store.add_classes("eve", ["staff", "customer"])
        store.add("eve", [Event(f"e{number}", item, "label", "staff") for number, item in enumerate(ids(run)[:3])])
    return run


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return Path(shutil.copytree(drawn, tmp_path / "work" / "run"))


def ids(run: Path) -> list[str]:
    return Pool.open(run / "pool").column("id").tolist()


def one_sentence(status: int, said: str) -> None:
    """An error is one sentence and one remedy, in plain words."""
    assert status in (1, 2), said
    assert said.startswith("winnow: ") and "Traceback" not in said
    assert 1 <= len(said.strip().splitlines()) <= 2, said
    assert not any(name in said for name in ("Error(", "Error:", "errno", "Errno", "sqlite3.", "NoneType")), said


# ---- files that are imported, or given to classify


def text(content: str | bytes) -> Callable[[Path, list[str]], None]:
    """Writes a file in which {0}, {1}, ... are ids of the run's pictures."""

    def write(path: Path, items: list[str]) -> None:
        data = content.encode() if isinstance(content, str) else content
        for number in range(4):
            data = data.replace(b"{%d}" % number, items[number].encode())
        path.write_bytes(data)

    return write


def folder(path: Path, items: list[str]) -> None:
    path.mkdir()


def nothing(path: Path, items: list[str]) -> None:
    pass


def dangling(path: Path, items: list[str]) -> None:
    path.symlink_to(path.parent / "nowhere")


def pictures(path: Path, items: list[str]) -> None:
    (path / "staff").mkdir(parents=True)
    (path / "staff" / "nobody.png").write_bytes(b"")


def table_is_folder(path: Path, items: list[str]) -> None:
    (path / "metadata.csv").mkdir(parents=True)


def task(**data: object) -> str:
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["staff"]}}]
    return json.dumps([{"data": data, "annotations": [{"result": result}]}])


def coco(**annotation: object) -> str:
    entry = {"id": 1, "image_id": 1, "category_id": 1, **annotation}
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "x.png"}],
            "categories": [{"id": 1, "name": "staff"}],
            "annotations": [entry],
        }
    )


ITEM = "{3}"
FILES = {
    "missing": ("labels.csv", nothing, "There is no"),
    "a link to nowhere": ("labels.csv", dangling, "There is no"),
    "a name that is too long": ("n" * 300 + ".csv", nothing, "too long"),
    "no known suffix": ("labels.xlsx", text(b"PK"), "no known format"),
    # CSV
    "empty.csv": ("labels.csv", text(""), "lacks a column"),
    "head alone": ("labels.csv", text("id,label\n"), "no label"),
    "a folder for a table": ("labels.csv", folder, "no label"),
    "no label column": ("labels.csv", text("id,klass\n{3},staff\n"), "lacks a column"),
    "no id column": ("labels.csv", text("name,label\n{3},staff\n"), "lacks a column"),
    "two label columns": ("labels.csv", text("id,Label,label\n{3},staff,customer\n"), "two columns 'label'"),
    "Latin-1": ("labels.csv", text("id,label\n{3},gäste\n".encode("latin-1")), "not UTF-8"),
    "UTF-16": ("labels.csv", text("id,label\n".encode("utf-16")), "not UTF-8"),
    "zero bytes": ("labels.csv", text("id,label\n{3}\0,staff\n"), "zero bytes"),
    "an open quote": ("labels.csv", text('id,label\n"{3},staff\n'), "not a CSV"),
    "an endless field": ("labels.csv", text('id,label\n{3},"' + "n" * 200_000 + '"\n'), "not a CSV"),
    "another class": ("labels.csv", text("id,label\n{3},boss\n"), "does not have: boss"),
    "a class with a control character": ("labels.csv", text("id,label\n{3},a\tb\n"), "control character"),
    "two labels of one": ("labels.csv", text("id,label\n{3},staff\n{3},customer\n"), "two labels"),
    "nobody": ("labels.csv", text("id,label\nnobody,staff\n"), "line 2"),
    "a time that is none": ("labels.csv", text("id,label,time\n{3},staff,soon\n"), "Line 2"),
    "a box that is none": ("labels.csv", text('id,label,box\n{3},staff,"1,2,3"\n'), "four numbers"),
    "a note that is too long": ("labels.csv", text("id,label,note\n{2},customer,\n{3},staff," + "n" * 3000 + "\n"), "2000 characters"),
    # a folder a class
    "empty folder": ("labels", folder, "no label"),
    "pictures of nobody": ("labels", pictures, "nobody.png"),
    "a folder for its table": ("labels", table_is_folder, "cannot be read"),
    # JSON
    "empty.json": ("labels.json", text(""), "not JSON"),
    "folder.json": ("labels.json", folder, "no label"),
    "cut": ("labels.json", text('[{"data": {'), "not JSON"),
    "deep": ("labels.json", text("[" * 100_000), "not JSON"),
    "JSON in Latin-1": ("labels.json", text('["gäste"]'.encode("latin-1")), "not UTF-8"),
    "an endless number": ("labels.json", text("[" + "9" * 10_000 + "]"), "not JSON"),
    "a number": ("labels.json", text("3"), "neither"),
    "another object": ("labels.json", text('{"a": 1}'), "neither"),
    "an empty list": ("labels.json", text("[]"), "no label"),
    "a list for a task": ("labels.json", text("[[1, 2]]"), "lacks what its format"),
    "a list for data": ("labels.json", text('[{"data": []}]'), "lacks what its format"),
    "a number for annotations": ("labels.json", text('[{"data": {"id": "{3}"}, "annotations": 3}]'), "lacks what its format"),
    "a list for a box": ("labels.json", text(task(id=ITEM, box=[1, 2, 3, 4])), "lacks what its format"),
    "an object for a time": ("labels.json", text(task(id=ITEM, time={"s": 1})), "cannot be read"),
    "half a character": ("labels.json", text(task(id=ITEM, note="\ud800")), "is not text"),
    "half a character for a class": ("labels.json", text(task(id=ITEM).replace('"staff"', '"\\ud800"')), "is not text"),
    "two choices": ("labels.json", text(task(id=ITEM).replace('["staff"]', '["staff", "customer"]')), "two labels"),
    "COCO of lists": ("labels.json", text('{"images": [[]], "annotations": [[]], "categories": [[]]}'), "lacks what its format"),
    "COCO of numbers": ("labels.json", text('{"images": 1, "annotations": 2, "categories": 3}'), "lacks what its format"),
    "COCO without its image": ("labels.json", text(coco(item=ITEM, image_id=7)), "lacks what its format"),
    "COCO without its class": ("labels.json", text(coco(item=ITEM, category_id=7)), "lacks what its format"),
    "COCO with a list for an id": ("labels.json", text(coco(item=ITEM, image_id=[1])), "lacks what its format"),
    "COCO with a number for a box": ("labels.json", text(coco(item=ITEM, bbox=3)), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_imported(run: Path, name: str, capsys: pytest.CaptureFixture[str]):
    file, make, reason = FILES[name]
    path = run.parent / file
    make(path, ids(run))
    before = tree(run.parent)
    with pytest.raises(SystemExit) as caught:
        main(["label", "--run", str(run), "--import", str(path)])
    said = capsys.readouterr().err
    one_sentence(caught.value.code, said)
    assert reason in said, said
    assert tree(run.parent) == before


@pytest.mark.parametrize("name", ["another class", "nobody", "a note that is too long"])
def test_what_cannot_be_imported_begins_no_store_and_adds_no_class(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    file, make, _ = FILES[name]
    make(run.parent / file, ids(run))
    without_store(run)
    before = tree(run.parent)
    with pytest.raises(SystemExit):
        main(["label", "--run", str(run), "--classes", "staff,customer", "--import", str(run.parent / file)])
    one_sentence(1, capsys.readouterr().err)
    assert tree(run.parent) == before


# ---- the command


def taken(name: str) -> Callable[[Path], None]:
    return lambda run: (run.parent / name).write_text("mine") and None


def full(run: Path) -> None:
    (run.parent / "out").mkdir()
    (run.parent / "out" / "mine.txt").write_text("mine")


def csv_folder(run: Path) -> None:
    (run.parent / "out.csv").mkdir()


def unchanged(run: Path) -> None:
    pass


EXPORTS = {
    "a folder that is not empty": (full, "out", (), "not empty"),
    "a folder for a table": (csv_folder, "out.csv", (), "a folder already"),
    "a folder for JSON": (full, "out", ("--format", "coco"), "a folder already"),
    "a file for a folder": (taken("out"), "out", (), "a file already"),
    "below a file": (taken("out"), "out/labels.csv", (), "Nothing can be written in"),
    "a folder below a file": (taken("out"), "out/labels", (), "Nothing can be written in"),
    "a name that is too long": (unchanged, "n" * 300 + ".csv", (), "too long"),
    "a folder whose name is too long": (unchanged, "n" * 300, (), "too long"),
    "JSON of two formats": (unchanged, "out.json", (), "two formats"),
    "no known suffix": (unchanged, "out.doc", (), "no known format"),
    "no known format": (unchanged, "out.csv", ("--format", "yolo"), "yolo"),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_place_where_nothing_is_exported_to(run: Path, name: str, capsys: pytest.CaptureFixture[str]):
    make, place, words, reason = EXPORTS[name]
    make(run)
    before = tree(run.parent)
    with pytest.raises(SystemExit) as caught:
        main(["label", "--run", str(run), "--export", str(run.parent / place), *words])
    said = capsys.readouterr().err
    one_sentence(caught.value.code, said)
    assert reason in said, said
    assert tree(run.parent) == before


def other_database(run: Path) -> None:
    (run / "labels.sqlite").unlink()
    with sqlite3.connect(run / "labels.sqlite") as connection:
        connection.execute("CREATE TABLE shop (name)")
    connection.close()


def newer_format(run: Path) -> None:
    with sqlite3.connect(run / "labels.sqlite") as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()


def cut(run: Path) -> None:
    os.truncate(run / "labels.sqlite", 5000)


def as_folder(name: str) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return make


def holding(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content) and None


def of_another_store(run: Path) -> None:
    (run / "labels.sqlite").unlink()
    with LabelStore.open(run.parent / "other.sqlite") as store:
        store.add_classes("eve", ["other"])
    shutil.move(run.parent / "other.sqlite", run / "labels.sqlite")


def without_log(harm: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a harm to a store's one copy, where there is no other."""

    def both(run: Path) -> None:
        (run / "labels.sqlite-log").unlink()
        harm(run)

    return both


STORES = {
    "a folder": (as_folder("labels.sqlite"), "cannot be read or written"),
    "text": (
        without_log(holding("labels.sqlite", b"not a database, but long enough to look like one " * 100)),
        "damaged",
    ),
    "another program's": (other_database, "another program"),
    "of a newer version": (newer_format, "format 3"),
    "cut": (without_log(cut), "damaged"),
    "two stores' copies": (of_another_store, "two different stores"),
}
COMMANDS = {
    "export": ("--export", "out.csv"),
    "import": ("--classes", "new", "--import", "new.csv"),
    "serve": ("--classes", "new", "--port", "0"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", STORES)
def test_a_broken_store(run: Path, name: str, command: str):
    harm, reason = STORES[name]
    (run.parent / "new.csv").write_text(f"id,label\n{ids(run)[3]},staff\n")
    harm(run)
    before = tree(run.parent)
    done = winnow_command("label", "--run", run, *COMMANDS[command], cwd=run.parent)
    one_sentence(done.returncode, done.stderr)
    assert reason in done.stderr and "labels.sqlite" in done.stderr, done.stderr
    assert tree(run.parent) == before


def without_store(run: Path) -> None:
    for file in run.glob("labels.sqlite*"):
        file.unlink()


SERVED = {
    "no class": (without_store, (), "no classes"),
    "only commas": (without_store, ("--classes", " , "), "no classes"),
    "a class with a control character": (unchanged, ("--classes", "new,a\tb"), "control character"),
    "a quoted class that does not end": (unchanged, ("--classes", 'new,"a, b'), "not a list of names"),
    "a name that is too long": (unchanged, ("--classes", "new", "--who", "n" * 200), "100 characters"),
    "a port that is none": (unchanged, ("--port", "70000"), "65535"),
    "a port that is no number": (unchanged, ("--port", "many"), "port"),
    "no pool": (lambda run: shutil.rmtree(run / "pool"), ("--classes", "new"), "pool"),
    "the list a folder": (as_folder("selection.csv"), ("--classes", "new"), "selection.csv"),
    "the list in Latin-1": (holding("selection.csv", "rank,id,why\n1,x,gäste\n".encode("latin-1")), ("--classes", "new"), "selection.csv"),
    "the list without ranks": (holding("selection.csv", b"rank,id,why\nfirst,x,\n"), ("--classes", "new"), "selection.csv"),
    "the outliers cut": (holding("outliers.csv", b'id,why,p_value\n"x'), ("--classes", "new"), "outliers.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVED)
def test_what_cannot_be_served(run: Path, name: str):
    harm, words, reason = SERVED[name]
    harm(run)
    before = tree(run.parent)
    done = winnow_command("label", "--run", run, *(words if "--port" in words else ("--port", "0", *words)))
    one_sentence(done.returncode, done.stderr)
    assert reason in done.stderr, done.stderr
    assert tree(run.parent) == before


def test_a_port_after_which_none_is_free(run: Path):
    before = tree(run.parent)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 65535))
        holder.listen()
        done = winnow_command("label", "--run", run, "--classes", "new", "--port", "65535")
    one_sentence(done.returncode, done.stderr)
    assert "No port from 65535 on is free" in done.stderr
    assert tree(run.parent) == before


@pytest.mark.parametrize("harm", [as_folder("selection.csv"), holding("selection.csv", b"rank,id,why\nfirst,x,\n")])
def test_a_broken_selection_is_reported_where_the_order_of_labels_is_needed(run: Path, harm: Callable[[Path], None]):
    from winnow.errors import RunError

    harm(run)
    folder = RunFolder.open(run)
    truth = truth_of(folder, Pool.open(run / "pool"))
    with pytest.raises(RunError, match=r"selection\.csv"):
        order_of(folder, truth, list(truth.labels))


def test_a_file_whose_name_is_no_text_is_imported(run: Path):
    path = Path(os.fsdecode(os.fsencode(run.parent) + b"/n\xff\n.csv"))
    path.write_text(f"id,label\n{ids(run)[3]},staff\n")
    import winnow

    assert winnow.Run(run).import_labels(path).new == 1
    assert winnow.Run(run).labels()[ids(run)[3]][1] == "import n??.csv"
