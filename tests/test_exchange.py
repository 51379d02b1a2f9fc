"""Labels to and from other tools: every format goes round, contradictions and unknown items are reported, nothing is overwritten."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.data.sources import expand
from winnow.errors import DataError, InputError, OptionError, Unreadable
from winnow.label.exchange import check_options, labels_of_files
from winnow.label.formats import FORMATS, read, write
from winnow.label.records import Record
from winnow.label.store import Event, LabelStore
from winnow.results import LabelsExported
from winnow.show import exported

from conftest import stripes, winnow_command
from labelling import NAMES, make_run

CLASSES = ["staff", "customer", "=SUM(A1)", 'gäste, "alle"']


@pytest.fixture
def run(tmp_path: Path) -> winnow.Run:
    """A run of pictures with awkward names, six of them labelled, some with notes."""
    run = winnow.Run(make_run(tmp_path))
    items = run_items(run)
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        store.add_classes("eve", CLASSES)
        for number, item in enumerate(items[:6]):
            note = '=1+1; "quoted"\nsecond line, ä' if number % 2 else ""
            store.add("ann", [Event(f"l{number}", item, "label", CLASSES[number % 4])] +
                      ([Event(f"n{number}", item, "note", note)] if note else []))  # fmt: skip
        store.add("ann", [Event("s", items[7], "skip")])
    return run


def run_items(run: winnow.Run) -> list[str]:
    from winnow.pool.pool import Pool

    return Pool.open(run.folder.folder("ingest")).column("id").tolist()


def second(run: winnow.Run, folder: Path) -> winnow.Run:
    """The same pictures in a run without labels."""
    shutil.copytree(run.folder.path, folder, ignore=shutil.ignore_patterns("labels.*"))
    return winnow.Run(folder)


def state(run: winnow.Run) -> dict[str, tuple[str | None, str]]:
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        return {item: (state.label, state.note) for item, state in store.states().items() if state.label}


TARGETS = {"csv": "labels.csv", "imagefolder": "labelled", "label-studio": "tasks.json", "coco": "coco.json"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_goes_round(run: winnow.Run, tmp_path: Path, form: str):
    target = tmp_path / "out ä" / TARGETS[form]
    assert run.export_labels(target, format=form) == LabelsExported(str(target), form, labels=6, gone=0)
    other = second(run, tmp_path / "other")
    result = other.import_labels(target, classes=CLASSES)
    assert (result.new, result.changed, result.same, result.notes, result.unknown) == (6, 0, 0, 3, [])
    assert state(other) == state(run)
    assert {who for _, who, _ in other.labels().values()} == {f"import {target.name}"}
    seq = store_seq(other)
    assert other.import_labels(target).same == 6
    assert store_seq(other) == seq  # what agrees adds nothing


def store_seq(run: winnow.Run) -> int:
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        return store.seq


@pytest.mark.parametrize("form", FORMATS)
def test_without_ids_the_sources_tell(run: winnow.Run, tmp_path: Path, form: str):
    target = tmp_path / TARGETS[form]
    run.export_labels(target, format=form)
    if form == "csv":
        drop_columns(target, {"id"})
    elif form == "imagefolder":
        drop_columns(target / "metadata.csv", {"id"})
    elif form == "label-studio":
        tasks = json.loads(target.read_text())
        for task in tasks:
            task["data"] = {"image": task["data"]["image"]}
        target.write_text(json.dumps(tasks))
    else:
        coco = json.loads(target.read_text())
        for annotation in coco["annotations"]:
            del annotation["item"]
        target.write_text(json.dumps(coco))
    other = second(run, tmp_path / "other")
    assert other.import_labels(target, classes=CLASSES).new == 6
    assert {item: label for item, (label, _) in state(other).items()} == {
        item: label for item, (label, _) in state(run).items()
    }


def drop_columns(path: Path, names: set[str]) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in names], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_an_imagefolder_is_what_others_read(run: winnow.Run, tmp_path: Path):
    run.export_labels(tmp_path / "labelled")
    with (tmp_path / "labelled" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        file = tmp_path / "labelled" / row["file_name"]
        assert file.parent.name == row["label"]
        assert file.read_bytes() == Path(row["source"]).read_bytes()  # whole pictures are not encoded again
    found = expand([tmp_path / "labelled"])  # our own ingest reads the labels back
    assert {(Path(source.uri).name, source.label) for source in found.sources} == {
        (Path(row["file_name"]).name, row["label"]) for row in rows
    }


def test_an_imagefolder_takes_names_as_long_as_a_file_system_does(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("\U00020000" * 62, "\u4eba" * 83, "x" * 251):
        Image.fromarray(stripes(np.random.default_rng(len(name)))).save(tmp_path / "in" / f"{name}.png")
    opened = winnow.Run(tmp_path / "run", size=(32, 32))
    opened.ingest(tmp_path / "in")
    with LabelStore.open(tmp_path / "run" / "labels.sqlite") as store:
        store.add_classes("ann", ["a"])
        items = run_items(opened)
        store.add("ann", [Event(str(number), item, "label", "a") for number, item in enumerate(items)])
    opened.export_labels(tmp_path / "out")
    assert len(list((tmp_path / "out" / "a").glob("*.png"))) == 3
    again = opened.import_labels(tmp_path / "out")
    assert again.same == 3


def test_label_studio_and_coco_are_of_the_form_their_tools_write(run: winnow.Run, tmp_path: Path):
    run.export_labels(tmp_path / "tasks.json", format="label-studio")
    task = json.loads((tmp_path / "tasks.json").read_text())[0]
    assert task["data"]["id"]
    (result,) = task["annotations"][0]["result"]
    assert result.pop("id") and result == {
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": ["staff"]},
    }
    run.export_labels(tmp_path / "coco.json", format="coco")
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert sorted(entry["id"] for entry in coco["categories"]) == [1, 2, 3, 4]
    assert {entry["category_id"] for entry in coco["annotations"]} == {1, 2, 3, 4}
    assert {entry["image_id"] for entry in coco["annotations"]} == {entry["id"] for entry in coco["images"]}


def test_coco_is_accepted_by_its_own_tools(run: winnow.Run, tmp_path: Path):
    """Loads an export, looks up by class and area, makes masks, and evaluates it against itself."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    run.export_labels(tmp_path / "coco.json", format="coco")
    given = coco.COCO(str(tmp_path / "coco.json"))
    assert (
        sorted(given.getCatIds(catNms=["staff"])) == [1]
        and len(given.getAnnIds(areaRng=[48 * 48 - 1, 48 * 48 + 1])) == 6
    )
    for image in given.loadImgs(given.getImgIds()):
        assert Image.open(image["file_name"]).size == (image["width"], image["height"]) == (48, 48)
    assert all(given.annToMask(entry).sum() == 48 * 48 for entry in given.loadAnns(given.getAnnIds()))
    boxes = [{**entry, "score": 1.0} for entry in given.loadAnns(given.getAnnIds())]
    judged = evaluation.COCOeval(given, given.loadRes(boxes), "bbox")
    judged.evaluate(), judged.accumulate(), judged.summarize()
    assert judged.stats[0] == pytest.approx(1.0)


def test_label_studio_is_given_its_own_addresses_of_local_files(
    run: winnow.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for root in ("/", str(tmp_path)):
        monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", root)
        run.export_labels(tmp_path / f"tasks {len(root)}.json", format="label-studio")
        tasks = json.loads((tmp_path / f"tasks {len(root)}.json").read_text())
        for task in tasks:
            address = urlsplit(task["data"]["image"])
            # What Label Studio does with it: the file below its root that `d` names.
            assert address.path == "/data/local-files/" and not address.fragment
            assert Path(root, *parse_qs(address.query)["d"]) == Path(task["data"]["source"])
        for task in tasks:
            task["data"] = {"image": task["data"]["image"]}  # as a project of one's own gives it back
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / "back.json").write_text(json.dumps(tasks))
        other = second(run, tmp_path / f"other {len(root)}")
        assert other.import_labels(tmp_path / "elsewhere" / "back.json", classes=CLASSES).matched == "6 by path"
    monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path / "other 1"))
    with pytest.raises(OptionError, match="does not lie below"):
        run.export_labels(tmp_path / "x.json", format="label-studio")
    assert not (tmp_path / "x.json").exists()


# ---- frames and boxes


@pytest.mark.parametrize("form", ["csv", "label-studio", "coco"])
def test_times_and_boxes_go_round(tmp_path: Path, form: str):
    records = [
        Record("a", "v@1.000#0,0,10,20", "/v/shop.mp4", 1.0, (0, 0, 10, 20), "ann", "2026", "n"),
        Record("b", "v@1.000#30,0,10,20", "/v/shop.mp4", 1.0, (30, 0, 10, 20)),
        Record("b", "v@2.000#0,0,10,20", "/v/shop.mp4", 1 / 3, (0, 0, 10, 20)),
        Record("a", "p", "/p/a, b.jpg"),
    ]
    path = tmp_path / TARGETS[form]
    write(path, records, form, lambda item: (b"", ""), lambda item: (48, 64))
    back = read(path)
    assert [(r.label, r.id, r.source, r.time, r.box, r.note) for r in back] == [
        (r.label, r.id, r.source, r.time, r.box, r.note) for r in records
    ]
    if form == "coco":
        assert len(json.loads(path.read_text())["images"]) == 3  # two persons of one frame are of one image


# ---- as other tools write


def test_a_label_studio_export_of_uploads_and_local_files(run: winnow.Run, tmp_path: Path):
    def task(image: str, *choices: str, **more: object) -> dict:
        result = [
            {"id": "x", "type": "choices", "from_name": "kind", "to_name": "img", "value": {"choices": list(choices)}}
        ]
        return {
            "id": 1,
            "data": {"image": image},
            "predictions": [],
            "annotations": [{"id": 5, "result": result, **more}],
        }

    names = {Path(source).name: source for source in sources(run)}
    rare = tmp_path / "in" / "clip 0" / "only.png"  # the others are there in every clip
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (48, 48, 3), np.uint8)).save(rare)
    run.ingest([str(rare)])
    path = tmp_path / "in" / "tasks.json"
    path.write_text(json.dumps([
        task("/data/local-files/?d=clip%201/plain.png", "staff"),
        task("/data/upload/3/1a2b3c4d-only.png", "customer"),
        task("/data/upload/3/1a2b3c4d-plain.png", "customer"),  # of three clips
        task("clip 2/plain.png", "staff", was_cancelled=True),
        {"id": 2, "data": {"image": "clip 2/plain.png"}, "annotations": []},
    ]))  # fmt: skip
    assert "plain.png" in names
    result = second(run, tmp_path / "other").import_labels(path, classes=CLASSES)
    assert result.new == 2 and len(result.unknown) == 1 and "task 3" in result.unknown[0]
    path.write_text(json.dumps([task("clip 1/plain.png", "staff", "customer")]))
    with pytest.raises(InputError, match="two labels"):
        run.import_labels(path)


def sources(run: winnow.Run) -> list[str]:
    from winnow.pool.pool import Pool

    return Pool.open(run.folder.folder("ingest")).column("source").tolist()


def test_a_folder_without_a_table(run: winnow.Run, tmp_path: Path):
    lone = tmp_path / "in" / "clip 0" / "lone.png"
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (48, 48, 3), np.uint8)).save(lone)
    run.ingest([str(lone)])
    for name, content in (("staff/lone.png", lone.read_bytes()), ("customer/plain.png", b"another"),
                          ("customer/readme.txt", b""), ("loose.png", b"")):  # fmt: skip
        (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / name).write_bytes(content)
    result = run.import_labels(tmp_path / "given")
    assert result.new == 1 and len(result.unknown) == 1


def test_a_spreadsheets_csv(run: winnow.Run, tmp_path: Path):
    (tmp_path / "in" / "list.csv").write_text(
        "﻿Path;Label;Extra\r\nclip 1/plain.png;staff;x\r\n;staff;\r\nclip 2/plain.png;;\r\n"
    )
    result = second(run, tmp_path / "other").import_labels(tmp_path / "in" / "list.csv", classes=CLASSES)
    assert result.new == 1 and len(result.unknown) == 1


def test_an_import_overwrites_nothing(run: winnow.Run, tmp_path: Path):
    item = run_items(run)[0]
    (tmp_path / "new.csv").write_text(f"id,label\n{item},customer\n")
    assert run.import_labels(tmp_path / "new.csv").changed == 1
    assert run.labels()[item][:2] == ("customer", "import new.csv")
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        last = store._connection.execute("SELECT uuid FROM events ORDER BY seq DESC").fetchone()[0]
        store.add("ann", [Event("undo-1", item, "undo", last)])
    assert run.labels()[item][:2] == ("staff", "ann")


@pytest.mark.parametrize("note", ["n" * 2001, "\u0958" * 1001], ids=["long", "longer once composed"])
def test_one_note_that_cannot_be_kept_stops_the_whole_import_and_its_line_is_named(
    run: winnow.Run, tmp_path: Path, note: str
):
    items, seq = run_items(run), store_seq(run)
    rows = [f"{item},boss,{note if number == 3 else 'fine'}\n" for number, item in enumerate(items)]
    (tmp_path / "new.csv").write_text("id,label,note\n" + "".join(rows), encoding="utf-8")
    with pytest.raises(InputError, match=r"line 5 of .*more than 2000 characters"):
        run.import_labels(tmp_path / "new.csv", classes=["boss"])
    assert store_seq(run) == seq


BROKEN = {
    "empty.csv": (b"", "lacks a column"),
    "head.csv": (b"id,label\n", "no label"),
    "columns.csv": (b"id,klass\nx,staff\n", "lacks a column"),
    "unlabelled.csv": (b"id,label\nx,\n", "no label"),
    "quote.csv": (b'id,label\n"x,staff\n', "not a CSV"),
    "latin.csv": ("id,label\nx,gäste\n".encode("latin-1"), "not UTF-8"),
    "zero.csv": (b"id,label\nx\0,staff\n", "zero bytes"),
    "time.csv": (b"id,label,time\nx,staff,soon\n", "Line 2 of"),
    "box.csv": (b'id,label,box\nx,staff,"1,2,3"\n', "four numbers"),
    "endless.csv": (b'id,label,box\nx,staff,"1,2,3,inf"\n', "Line 2 of"),
    "class.csv": (b"id,label\nx,a\x01b\n", "control character"),
    "cut.json": (b'[{"data"', "not JSON"),
    "deep.json": (b"[" * 100_000, "not JSON"),
    "empty.json": (b"[]", "no label"),
    "other.json": (b'{"a": 1}', "neither"),
    "number.json": (b"3", "neither"),
    "numbers.json": (b"[1, 2]", "lacks what its format"),
    "nodata.json": (b'[{"id": 1}]', "lacks what its format"),
    "image.json": (b'{"images": [], "categories": [{"id": 1, "name": "staff"}], "annotations": [{"image_id": 1, "category_id": 1}]}',
                   "lacks what its format"),
    "labels.txt": (b"x staff", "no known format"),
    "labels.xlsx": (b"PK", "no known format"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_an_unreadable_file_is_reported(tmp_path: Path, name: str):
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path / name)
    assert name in str(caught.value) and caught.value.remedy


def test_folders_and_files_that_are_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="no label"):
        read(tmp_path)
    with pytest.raises(InputError, match="There is no"):
        read(tmp_path / "missing.csv")


def test_contradictions_and_unknown_classes_add_nothing(run: winnow.Run, tmp_path: Path):
    items, seq = run_items(run), store_seq(run)
    for text, error, said in (
        (
            f"{items[8]},staff\n{items[9]},staff\n{items[8]},customer\n",
            InputError,
            "two labels: 'staff' in line 2 .* 'customer' in line 4",
        ),
        (f"{items[8]},staff\n{items[9]},boss\n", OptionError, "does not have: boss"),
        ("nobody,staff\n", InputError, "No item of the run"),
    ):
        (tmp_path / "new.csv").write_text("id,label\n" + text)
        with pytest.raises(error, match=said):
            run.import_labels(tmp_path / "new.csv")
        assert store_seq(run) == seq
    (tmp_path / "new.csv").write_text(f"id,label\n{items[8]},staff\n{items[8]},staff\nnobody,staff\n")
    result = run.import_labels(tmp_path / "new.csv")
    assert (result.new, result.unknown) == (1, [f"line 4 of {tmp_path / 'new.csv'}: its id is unknown"])


def test_classes_that_were_renamed_or_deleted_since_an_export_are_named(run: winnow.Run, tmp_path: Path):
    run.export_labels(tmp_path / "own.csv")
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        store.change_class("ann", "r", "staff", "team")
        store.change_class("ann", "d", "customer", "")
    with pytest.raises(OptionError, match=r"'customer' was deleted\. 'staff' is called 'team' now\."):
        run.import_labels(tmp_path / "own.csv")


def test_label_files_are_matched_as_one_and_each_must_name_an_item(run: winnow.Run, tmp_path: Path):
    from winnow.pool.originals import Originals
    from winnow.pool.pool import Pool
    from winnow.run.labels import catalogue_of

    pool = Pool.open(run.folder.folder("ingest"))
    items, catalogue = run_items(run), catalogue_of(run.folder, pool)
    originals = Originals(pool, run.folder.options.ingest)
    for name, rows in (("a", f"{items[1]},staff\nnobody,staff\n"), ("b", f"{items[1]},staff\n{items[2]},customer\n"),
                       ("against", f"{items[1]},customer\n"), ("strangers", "nobody,staff\n")):  # fmt: skip
        (tmp_path / f"{name}.csv").write_text("id,label\n" + rows)

    def match(*names: str) -> tuple[dict[str, str], list[str]]:
        paths = [tmp_path / f"{name}.csv" for name in names]
        about = labels_of_files(paths, catalogue, originals, run.folder.path)
        return {item: record.label for item, record in about.found.items()}, [
            record.where for record, _ in about.unknown
        ]

    assert match("a", "b") == ({items[1]: "staff", items[2]: "customer"}, [f"line 3 of {tmp_path / 'a.csv'}"])
    with pytest.raises(
        InputError, match=r"two labels: 'staff' in line 2 of .*a\.csv, 'customer' in line 2 of .*against\.csv"
    ):
        match("a", "against")
    with pytest.raises(InputError, match=r"strangers\.csv names no item of"):
        match("a", "strangers")


def test_where_an_export_cannot_go(run: winnow.Run, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path, form, said in (
        (tmp_path / "full", "", "not empty"),
        (tmp_path / "full", "csv", "a folder already"),
        (tmp_path / "file", "imagefolder", "a file already"),
        (tmp_path / "x.json", "", "two formats"),
        (tmp_path / "x.doc", "", "no known format"),
        (tmp_path / "x.csv", "yolo", "no format 'yolo'"),
        (tmp_path / "file" / "x.csv", "", "Nothing can be written in"),
        (tmp_path / "file" / "x", "", "Nothing can be written in"),
    ):
        with pytest.raises(OptionError, match=said):
            run.export_labels(path, format=form)
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["mine.txt"]
    with pytest.raises(DataError, match="no labels to export"):
        second(run, tmp_path / "other").export_labels(tmp_path / "x.csv")
    assert second(run, tmp_path / "third").labels() == {}


@pytest.mark.parametrize("harm", ["gone", "renumbered"])
@pytest.mark.parametrize("form", ["imagefolder", "coco"])
def test_originals_that_are_gone_or_others_are_exported_only_from_the_pool_and_by_name(
    run: winnow.Run, tmp_path: Path, form: str, harm: str
):
    first, second_ = sorted((tmp_path / "in").rglob("*.png"))[:2]
    shutil.copy(second_, tmp_path / "spare")
    first.unlink() if harm == "gone" else (tmp_path / "spare").rename(first)
    target = tmp_path / "new folder" / TARGETS[form]
    with pytest.raises(Unreadable, match=r"does not exist" if harm == "gone" else "content has changed") as caught:
        run.export_labels(target, format=form)
    assert first.name in str(caught.value) and "--from-pool" in caught.value.remedy and not target.exists()
    done = run.export_labels(target, format=form, from_pool=True)
    assert (done.labels, done.from_pool) == (6, 1) and "1 picture, whose originals are missing or changed" in exported(
        done
    )
    if form == "imagefolder":
        sizes = sorted(Image.open(path).size for path in target.rglob("*.*") if path.suffix != ".csv")
        assert sizes == [(32, 32), *[(48, 48)] * 5]
    for form in ("csv", "label-studio"):  # they need no picture, so the labels can always be had
        assert run.export_labels(tmp_path / f"{form}.x", format=form).labels == 6
        with pytest.raises(OptionError, match="--from-pool is for pictures"):
            run.export_labels(tmp_path / "y", format=form, from_pool=True)


@pytest.mark.slow
def test_a_killed_export_leaves_no_half_folder(run: winnow.Run, tmp_path: Path):
    slow = (
        "import sys, time, winnow.steps.label as steps\n"
        "from winnow.run.folder import RunFolder\nfrom pathlib import Path\n"
        "made = steps._Pictures.file\n"
        "steps._Pictures.file = lambda *a: (time.sleep(0.2), print('one', flush=True), made(*a))[-1]\n"
        "steps.export_labels(RunFolder.open(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    words = [sys.executable, "-c", slow, str(run.folder.path), str(tmp_path / "labelled")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "labelled").exists()
    assert run.export_labels(tmp_path / "labelled").labels == 6


@pytest.mark.slow
def test_a_killed_import_goes_on_where_it_stopped(run: winnow.Run, tmp_path: Path):
    run.export_labels(tmp_path / "labels.csv")
    other = second(run, tmp_path / "other")
    slow = (
        "import sys, time, winnow\nfrom winnow.label import exchange, store\n"
        "exchange.AT_ONCE = 1\nadd = store.LabelStore.add\n"
        "store.LabelStore.add = lambda *a: (add(*a), print('one', flush=True), time.sleep(0.2))[0]\n"
        f"winnow.Run(sys.argv[1]).import_labels(sys.argv[2], classes={CLASSES!r})\n"
    )
    words = [sys.executable, "-c", slow, str(other.folder.path), str(tmp_path / "labels.csv")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert 0 < len(state(other)) < 6
    result = other.import_labels(tmp_path / "labels.csv")
    assert result.new and result.same and result.new + result.same == 6
    assert state(other) == state(run)
    assert store_seq(other) == len(CLASSES) + 6 + 3  # each label and note once


IGNORED = {
    "format without export": ({"form": "coco"}, "--format is the format of an export"),
    "format of an import": ({"form": "coco", "importing": True}, "--format is the format of an export"),
    "pictures of no export": ({"from_pool": True, "importing": True}, "--from-pool is for the pictures of an export"),
    "port": ({"port": 8765, "importing": True}, "--port is for the labelling page, which --import does not open"),
    "port 0": ({"port": 0, "exporting": True}, "--port is for the labelling page, which --export does not open"),
    "who and open": (
        {"who": "me", "open_browser": True, "importing": True},
        "--who and --open are for the labelling page",
    ),
    "blind": ({"blind": True, "importing": True}, "--blind is for the labelling page, which --import does not open"),
    "classes": ({"classes": ["staff"], "exporting": True}, "--classes adds classes, and --export only writes labels"),
}
NOTHING = {
    "importing": False,
    "exporting": False,
    "form": None,
    "port": None,
    "who": None,
    "open_browser": False,
    "blind": False,
    "classes": [],
    "from_pool": False,
}


@pytest.mark.parametrize("name", IGNORED)
def test_options_that_would_be_ignored_are_refused(name: str):
    given, message = IGNORED[name]
    with pytest.raises(OptionError, match=message):
        check_options(**(NOTHING | given))


@pytest.mark.parametrize("given", [
    {"port": 0, "who": "me", "open_browser": True, "blind": True, "classes": ["staff"]},
    {"importing": True, "classes": ["staff"]},
    {"exporting": True, "form": "coco", "from_pool": True},
    {"importing": True, "exporting": True, "form": "csv", "classes": ["staff"]},
])  # fmt: skip
def test_options_that_are_used_are_not_refused(given: dict[str, object]):
    check_options(**(NOTHING | given))


def test_the_command(run: winnow.Run, tmp_path: Path):
    done = winnow_command("label", "--run", run.folder.path, "--export", tmp_path / "labels.csv")
    assert done.stdout.startswith("Exported 6 labels as csv") and done.returncode == 0, done.stderr
    other = second(run, tmp_path / "other")
    failed = winnow_command("label", "--run", other.folder.path, "--import", tmp_path / "labels.csv")
    assert failed.returncode == 1 and "--classes" in failed.stderr
    with LabelStore.open(other.folder.path / "labels.sqlite") as store:
        store.add_classes("eve", CLASSES)
    done = winnow_command("label", "--run", other.folder.path, "--import", tmp_path / "labels.csv", "--export", tmp_path / "again",
                          "--format", "imagefolder")  # fmt: skip
    assert "Imported 6 labels" in done.stdout and "Exported 6 labels as imagefolder" in done.stdout, done.stderr
    assert len(list((tmp_path / "again").rglob("*.png"))) == 6
    assert set(NAMES) >= {Path(source).name for source in sources(other)}
