"""A folder as data sets come, given by its root: what is learnt from, what is left out, and what is said of it."""

from __future__ import annotations

import os
import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import winnow
from winnow.data.layouts import Reading, folder_classes
from winnow.data.sources import Expansion, expand
from winnow.errors import InputError
from winnow.label.formats import read
from winnow.options import Options
from winnow.run.manifest import write_manifest

from conftest import blocks, stripes, winnow_command

NORMAL, CLASSES = Reading("normal", flags=True), Reading("classes", flags=True)
SMALL = {"size": (16, 16), "width": 4, "latent": 4, "iterations": 4, "check_every": 2, "batch_size": 4}


def draw(root: Path, *folders: str, each: int = 4) -> Path:
    """Draw pictures into folders, striped where they belong, of blocks where not, black and white where they are masks."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        last = folder.split("/")[-1].lower()
        for number in range(each):
            rng = np.random.default_rng(zlib.crc32(f"{folder}/{number}".encode()))
            if any(word in f"/{folder.lower()}" for word in ("mask", "truth", "/gt", "/label")):
                pixels = np.zeros((16, 16), np.uint8)
                pixels[: number + 2, :5] = 255
            else:
                pixels = (stripes if last in BELONGS else blocks)(rng, 16)
            Image.fromarray(pixels).save(root / folder / f"{number:03d}.png")
    return root


BELONGS = {"good", "ok", "normal", "ok_front", "nodefect_images", "rgb", "良品", "pass", "io", "mt_free"}
# Layout: its folders, those that one class is learnt from, those left out for testing, and words of what is said.
LAYOUTS: dict[str, tuple[list[str], list[str], list[str], list[str]]] = {
    "MVTec AD": (
        ["train/good", "test/good", "test/broken", "test/odd", "ground_truth/broken", "ground_truth/odd"],
        ["train/good"],
        ["test/good"],
        ["layout of MVTec AD", "8 that do not belong (test/broken, test/odd", "8 masks (ground_truth)"],
    ),
    "MVTec AD, all products": (
        ["bottle/train/good", "bottle/test/good", "bottle/test/bent", "bottle/ground_truth/bent", "nut/train/good", "nut/test/bent"],
        ["bottle/train/good", "nut/train/good"],
        ["bottle/test/good"],
        ["layout of MVTec AD", "bottle/test/bent, nut/test/bent", "masks (bottle/ground_truth)"],
    ),
    "MVTec LOCO": (
        ["train/good", "validation/good", "test/good", "test/logical_anomalies", "ground_truth/logical_anomalies/000"],
        ["train/good", "validation/good"],
        ["test/good"],
        ["4 to choose the checkpoint", "test/logical_anomalies", "4 masks"],
    ),
    "MVTec AD 2": (
        ["train/good", "validation/good", "test_public/good", "test_public/bad", "test_public/ground_truth/bad", "test_private"],
        ["train/good", "validation/good"],
        ["test_public/good"],
        ["8 that do not belong", "test_private", "4 masks (test_public/ground_truth)"],
    ),
    "MVTec 3D": (
        ["train/good/rgb", "train/good/gt", "train/good/xyz", "test/hole/rgb", "test/hole/gt"],
        ["train/good/rgb"],
        [],
        ["12 masks", "test/hole"],
    ),
    "BTAD": (
        ["01/train/ok", "01/test/ok", "01/test/ko", "01/ground_truth/ko"],
        ["01/train/ok"],
        ["01/test/ok"],
        ["layout of BTAD", "4 that do not belong (01/test/ko", "4 masks (01/ground_truth)"],
    ),
    "VisA": (
        ["Data/Images/Normal", "Data/Images/Anomaly", "Data/Masks/Anomaly"],
        ["Data/Images/Normal"],
        [],
        ["layout of VisA", "4 that do not belong (Data/Images/Anomaly", "4 masks (Data/Masks)"],
    ),
    "ok, ng": (["ok", "ng"], ["ok"], [], ["folders of good and bad pictures", "4 that do not belong (ng"]),
    "pass, fail, by line": (
        ["line 1/pass", "line 1/fail", "line 2/pass", "line 2/fail"],
        ["line 1/pass", "line 2/pass"],
        [],
        ["8 that do not belong (line 1/fail, line 2/fail"],
    ),
    "iO, niO": (["iO", "niO"], ["iO"], [], ["(niO"]),
    "Japanese": (["良品", "不良品"], ["良品"], [], ["(不良品"]),
    "AITEX": (
        ["NODefect_images", "Defect_images", "Mask_images"],
        ["NODefect_images"],
        [],
        ["(Defect_images", "4 masks (Mask_images)"],
    ),
    "one word of several": (
        ["data/train/ok_front", "data/train/def_front", "data/test/ok_front", "data/test/def_front"],
        ["data/train/ok_front"],
        ["data/test/ok_front"],
        ["data/train/def_front", "data/test/def_front"],
    ),
    "bad beside train": (["train/good", "rejected"], ["train/good"], [], ["4 that do not belong (rejected"]),
    "bad within train": (["train/good", "train/bad", "test/good"], ["train/good"], ["test/good"], ["(train/bad"]),
    "names with splits": (
        ["train_good", "test_good", "test_bad"],
        ["train_good"],
        ["test_good"],
        ["4 that do not belong (test_bad"],
    ),
    "batches beside bad": (["batch 1", "batch 2", "rejected"], ["batch 1", "batch 2"], [], ["(rejected"]),
    "DAGM": (["Train", "Train/Label", "Test", "Test/Label"], ["Train"], ["Test"], ["8 masks (Test/Label, Train/Label)"]),
    "YOLO classification": (
        ["train/cat", "train/dog", "val/cat", "val/dog", "test/cat"],
        ["train/cat", "train/dog", "val/cat", "val/dog"],
        ["test/cat"],
        ["folders of splits", "8 to train on", "8 to choose the checkpoint", "4 kept for testing", "one alone: --only cat"],
    ),
    "plain groups": (["clip 1", "clip 2"], ["clip 1", "clip 2"], [], []),
}  # fmt: skip


def folders(found: Expansion, root: Path) -> dict[str, str]:
    """Return the split of each folder that is read."""
    return {os.path.relpath(os.path.dirname(one.uri), root): one.split for one in found.sources}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_given_by_its_root(name: str, tmp_path: Path):
    drawn, learnt, tested, words = LAYOUTS[name]
    root = draw(tmp_path / "root", *drawn)
    found = winnow.Run(tmp_path / "run", **SMALL).ingest(root)
    items = pq.read_table(tmp_path / "run" / "pool" / "items.parquet").to_pylist()
    used = Counter(os.path.relpath(os.path.dirname(row["source"]), root) for row in items if row["split"] != "test")
    kept = Counter(os.path.relpath(os.path.dirname(row["source"]), root) for row in items if row["split"] == "test")
    assert used == dict.fromkeys(learnt, 4)
    assert kept == dict.fromkeys(tested, 4)
    said = " ".join(found.notes)
    assert all(word in said for word in words), said
    assert len([note for note in found.notes if "groups count as" not in note]) == bool(words)
    # As classes, and when they are judged, all but the masks is read.
    pictures = {
        folder
        for folder in drawn
        if not any(word in folder.lower() for word in ("mask", "truth", "/gt", "/xyz", "/label"))
    }
    if "rejected" not in drawn or "train/good" not in drawn:  # else it is not clear which split that is
        assert set(folders(expand([root], CLASSES), root)) == pictures
    judged = expand([root])
    assert set(folders(judged, root)) == pictures
    assert bool(judged.notes) == (len(pictures) < len(drawn))


def test_a_run_learns_from_no_defect_and_says_so(tmp_path: Path):
    root = draw(tmp_path / "bottle", "train/good", "test/good", "test/broken", "ground_truth/broken", each=12)
    words = ("--size", "16", "16", "--width", "4", "--latent", "4", "--iterations", "4", "--check-every", "2")
    done = winnow_command("run", "oneclass-from-scratch", root, "--to", tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    assert "layout of MVTec AD" in done.stdout and "12 masks (ground_truth)" in done.stdout
    assert "12 masks (ground_truth)" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    run = winnow.Run(tmp_path / "run")
    sources = {row["id"]: row["source"] for row in pq.read_table(tmp_path / "run/pool/items.parquet").to_pylist()}
    assert {os.path.dirname(sources[name]) for name in run.embeddings.ids} == {str(root / "train" / "good")}
    # Judged, the defects are pictures and the masks are not; as normal pictures only good ones count.
    scored = run.score(root, to=tmp_path / "scores")
    assert scored.pictures == 36 and "12 masks" in scored.note
    found = run.evaluate(root / "test", {"broken": root / "test" / "broken"})
    assert found.pictures == 12 and found.seen_in_training == 0
    assert "12 that do not belong (broken)" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("drawn", "words", "remedy"),
    [
        (["train/good", "extra"], "beside them extra (4)", "--only train"),
        (["train/a", "train/b", "."], "beside them its own (4)", "--only train"),
        (["good", "scuffed", "hole"], "hole (4), scuffed (4), beside good,", "--only good"),
        (["train/good", "train/worn"], "train/worn (4), beside train/good,", "--only train/good"),
        (["train/good", "val"], "val (4), beside train/good,", "--only train/good"),
        (["good", "."], "its own (4), beside good,", "--only good"),
        (["line 1/ok", "line 1/ng", "line 2"], "line 2 (4), beside line 1/ok,", "--only 'line 1/ok'"),
        (["Positive", "Negative"], "Negative (4), Positive (4)", "--only Negative"),
        (["ng", "ko"], "8 that do not belong", "--only ko"),
    ],
)
def test_what_is_unclear_is_refused_with_a_remedy_that_works(drawn: list[str], words: str, remedy: str, tmp_path: Path):
    root = draw(tmp_path / "root", *drawn)
    with pytest.raises(InputError) as caught:
        expand([root], NORMAL)
    assert words in caught.value.message and str(root) in caught.value.message
    assert remedy in caught.value.remedy
    named = remedy.removeprefix("--only ").strip("'")
    found = expand([root], Reading("normal", only=(named,), flags=True))
    assert found.sources and all(f"/{named}/" in one.uri for one in found.sources)
    assert expand([root]).sources  # judged, all is read


def test_nothing_is_written_for_a_folder_that_is_unclear(tmp_path: Path):
    root = draw(tmp_path / "root", "good", "worn")
    done = winnow_command("run", "oneclass-from-scratch", root, "--to", tmp_path / "run")
    assert done.returncode == 1 and "--only good" in done.stderr
    assert not (tmp_path / "run").exists()
    assert winnow_command("ingest", root, "--run", tmp_path / "run", "--only", "good").returncode == 0


def test_only_names_what_is_read(tmp_path: Path):
    root = draw(
        tmp_path / "mvtec",
        "bottle/train/good",
        "bottle/test/bent",
        "bottle/ground_truth/bent",
        "nut/train/good",
        "extra",
    )
    assert folders(expand([root], Reading("normal", ("bottle",))), root) == {"bottle/train/good": "train"}
    both = expand([root], Reading("normal", ("bottle/train", "extra")))
    assert folders(both, root) == {"bottle/train/good": "train", "extra": ""}
    assert "that --only does not name" in both.notes[0]
    assert set(folders(expand([root], Reading("normal", ("mvtec/nut",))), root)) == {"nut/train/good"}
    beside = draw(tmp_path / "beside", "train/a", "extra")
    assert folders(expand([beside], Reading("normal", ("train", "extra"))), beside) == {
        "train/a": "train",
        "extra": "train",
    }
    with pytest.raises(InputError, match="Did you mean 'bottle'"):
        expand([root], Reading("normal", ("botle",)))
    assert len(expand([root / "extra" / "000.png"], Reading("normal", ("bottle",))).sources) == 1  # named by itself
    run = winnow.Run(tmp_path / "run", **SMALL, only=("nut",))
    assert run.ingest(root).pictures == 4


def test_folders_named_beside_one_another_are_read_as_the_one_above(tmp_path: Path):
    root = draw(tmp_path / "parts", "ok", "ng", "other/a")
    for given in ([root / "ok", root / "ng"], [str(root / "[no]*g"), root / "ok"][::-1], [str(root / "*" / "*.png")]):
        if given[0] == root / "ok" and isinstance(given[1], str):
            continue
        assert set(folders(expand(given, NORMAL), root)) == {"ok"}
    assert set(folders(expand([root / "ng"], NORMAL), root)) == {"ng"}  # named alone, it is what is meant


def test_masks_beside_their_pictures(tmp_path: Path):
    root = draw(tmp_path / "root", "train", "test")
    for folder in ("train", "test"):
        draw(root, f"{folder}_masks", each=4)
        for number in range(4):
            (root / f"{folder}_masks" / f"{number:03d}.png").rename(root / folder / f"{number:03d}_GT.png")
    assert len(expand([root], NORMAL).sources) == 8
    assert "8 masks" in expand([root]).notes[0]
    twins = draw(tmp_path / "twins", "masks", each=3)
    for number in range(3):
        Image.fromarray(stripes(np.random.default_rng(number), 16)).save(twins / "masks" / f"{number:03d}.jpg")
    assert {Path(one.uri).suffix for one in expand([twins], NORMAL).sources} == {".jpg"}
    photos = draw(tmp_path / "photos", "a", each=3)
    for path in (photos / "a").glob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
    assert len(expand([photos], NORMAL).sources) == 6


def test_a_name_that_only_looks_like_masks(tmp_path: Path):
    for drawn in (["with_mask", "without_mask"], ["mask", "no_mask"], ["masks"]):
        root = draw(tmp_path / drawn[0], *drawn)
        assert set(folders(expand([root], NORMAL), root)) == set(drawn)
    root = draw(tmp_path / "bottles", "caps", "labels")
    assert set(folders(expand([root], NORMAL), root)) == {"caps"}  # drawn in two values
    root = tmp_path / "photos"
    draw(root, "caps", "prints")
    (root / "prints").rename(root / "labels")
    assert set(folders(expand([root], NORMAL), root)) == {"caps", "labels"}


def test_a_list_that_says_who_is_bad(tmp_path: Path):
    root = draw(tmp_path / "parts", "a", each=6)
    kinds = ["good", "good", "good", "bad", "bad", "good"]
    table = root / "list.csv"
    table.write_text("path,label\n" + "".join(f"a/{n:03d}.png,{kind}\n" for n, kind in enumerate(kinds)))
    found = expand([table], NORMAL)
    assert [one.label for one in found.sources] == ["good"] * 4
    assert "2 that do not belong (label bad" in found.notes[0]
    assert len(expand([table], CLASSES).sources) == len(expand([table]).sources) == 6
    table.write_text(table.read_text().replace("bad", "scuffed"))
    with pytest.raises(InputError) as caught:
        expand([table], NORMAL)
    assert "label scuffed (2), beside label good," in caught.value.message and "--only good" in caught.value.remedy
    assert len(expand([table], Reading("normal", ("good",))).sources) == 4
    assert len(expand([table], Reading("normal", ("scuffed",))).sources) == 2


def test_a_list_of_files_in_folders_of_bad_ones(tmp_path: Path):
    root = draw(tmp_path / "parts", "good", "defect/worn", "batch")
    (root / "index.txt").write_text("".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*.png"))))
    found = expand([root / "index.txt"], NORMAL)
    assert folders(found, root) == {"good": "", "batch": ""}  # a list names its files: only what is bad by name goes
    assert "4 that do not belong (defect" in found.notes[0]
    assert len(expand([root / "index.txt"]).sources) == len(expand([root / "index.txt"], CLASSES).sources) == 12
    (root / "said.csv").write_text("path,label\ndefect/worn/000.png,good\ngood/000.png,good\n")
    assert len(expand([root / "said.csv"], NORMAL).sources) == 2


def test_classes_are_the_folders_below_the_splits_or_above_them(tmp_path: Path):
    below = draw(tmp_path / "below", "train/cat/deep", "train/dog", "val/cat")
    above = draw(tmp_path / "above", "cat/train", "cat/val", "dog/train")
    boxes = draw(tmp_path / "boxes", "images/train", "images/val")
    for root, labels in ((below, {"cat", "dog"}), (above, {"cat", "dog"}), (boxes, {""})):
        found = expand([root], CLASSES).sources
        assert {one.label for one in found} == labels and {one.split for one in found} == {"train", "validate"}


def test_what_is_left_out_now_leaves_the_pool(tmp_path: Path):
    root = draw(tmp_path / "parts", "ok", "ng")
    run = winnow.Run(tmp_path / "run", **SMALL, keep_anomalous=True)
    assert run.ingest(root).pictures == 8
    found = run.set(keep_anomalous=False).ingest(root)
    assert found.pictures == 4 and "4 that do not belong (ng" in found.notes[0]


def test_recipes_of_classes_keep_what_those_of_one_class_leave_out():
    from winnow.run.recipe import load_recipe, recipe_names

    kept = {name for name in recipe_names() if load_recipe(name).options.ingest.keep_anomalous}
    assert kept == {"select", "select-ae", "classify-vgg16"}


def test_runs_and_results_among_the_pictures_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = draw(tmp_path / "match", "clip 1", "clip 2", each=6)
    monkeypatch.chdir(root)
    words = ("--size", "16", "16", "--width", "4", "--latent", "4", "--iterations", "4", "--check-every", "2")
    done = winnow_command("run", "oneclass-from-scratch", ".", "--to", "run", "--number", "4", *words)
    assert done.returncode == 0, done.stderr
    assert list((root / "run").rglob("*.png"))  # contact sheets, grids, ...
    (root / "heat").mkdir()
    write_manifest(root / "heat", "score --heatmaps", ["a.overlay.png"])
    draw(root, "heat/maps")
    wanted = {"clip 1", "clip 2"}
    for given in (".", str(root), "*", "**/*.png", "*/*.png"):
        assert set(folders(expand([given]), root)) == wanted, given
    monkeypatch.chdir(tmp_path)
    found = expand(sorted(str(path) for path in root.iterdir()))  # as a shell writes match/*
    assert set(folders(found, root)) == wanted
    assert any(f"{root / 'heat'} (results): 4 pictures that Winnow drew" in note for note in found.notes)
    assert winnow_command("run", "oneclass-from-scratch", root, "--to", root / "run", "--resume").returncode == 0
    assert len(pq.read_table(root / "run/pool/items.parquet")) == 12
    for own in ("run", "heat"):
        with pytest.raises(InputError, match="is a run or results of Winnow"):
            expand([root / own])
    (root / "run" / "run.json").write_text("{")  # damaged
    assert set(folders(expand([root]), root)) == wanted
    draw(root, "other")
    (root / "other" / "run.json").write_text('{"epochs": 3}')  # of another tool
    assert set(folders(expand([root]), root)) == {*wanted, "other"}


def test_labels_and_sources_read_folders_alike(tmp_path: Path):
    root = draw(tmp_path / "pets", "train/cat/day 1", "train/dog", "val/cat", "val/N%2FA")
    (root / "train" / "metadata.csv").write_text("file_name,label\ndog/000.png,wolf\n")
    run = winnow.Run(tmp_path / "run", **SMALL, keep_anomalous=True)
    run.ingest(root)
    items = pq.read_table(tmp_path / "run/pool/items.parquet").to_pylist()
    sources = {row["id"]: row["label"] for row in items}
    assert Counter(sources.values()) == {"cat": 8, "dog": 3, "wolf": 1, "N/A": 4}
    run.import_labels(root, classes=["cat", "dog", "wolf", "N/A"])
    assert {item: label for item, (label, _, _) in run.labels().items()} == sources
    plain = draw(tmp_path / "plain", "a/deep", "b", ".")
    assert {record.label for record in read(plain)} == {"a", "b"}


def test_folders_are_classes_below_the_source_that_was_named():
    def classes(given: list[str], *uris: str) -> list[str]:
        return folder_classes(given, uris)

    assert classes(["/d"], "/d/cat/x.png", "/d/dog/deep/x.png", "/d/x.png") == ["cat", "dog", "d"]
    assert classes(["/d/cat", "/d/dog/"], "/d/cat/x.png", "/d/dog/x.png") == ["cat", "dog"]
    assert classes(["/d"], "/d/train/cat/x.png", "/d/val/dog/x.png", "/d/val/x.png") == ["cat", "dog", ""]
    assert classes(["/d/train", "/d/val"], "/d/train/cat/x.png", "/d/val/x.png") == ["cat", ""]
    assert classes(["/d"], "/d/cat/train/x.png", "/d/dog/val/x.png") == ["cat", "dog"]
    assert classes(["/d/*/*.png"], "/d/cat/x.png") == ["cat"]
    assert classes(["/d/list.csv"], "/d/cat/x.png", "/elsewhere/dog/x.png") == ["cat", "dog"]
    assert classes(["s3://b/d"], "s3://b/d/cat/x.png") == ["cat"]


def test_a_class_called_as_a_split_or_as_masks_comes_back(tmp_path: Path):
    root = draw(tmp_path / "things", "a", each=6)
    names = ["train", "mask", "test", "val images", "labels", "cat"]
    run = winnow.Run(tmp_path / "run", **SMALL)
    run.ingest(root)
    labels = tmp_path / "labels.csv"
    labels.write_text("source,label\n" + "".join(f"things/a/{n:03d}.png,{name}\n" for n, name in enumerate(names)))
    run.import_labels(labels, classes=names)
    out = tmp_path / "out"
    run.export_labels(out)
    assert sorted(one.label for one in expand([out], CLASSES).sources) == sorted(names)
    (out / "metadata.csv").unlink()
    assert sorted(record.label for record in read(out)) == sorted(names)
    assert len(expand([out], NORMAL).sources) == 6


def test_addresses_are_those_of_the_folder_they_were_given_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for place in ("here", "there"):
        draw(tmp_path / place, "pics/a", "pics/b", "other", each=6)
    monkeypatch.chdir(tmp_path / "here")
    words = ("--size", "16", "16", "--width", "4", "--latent", "4", "--iterations", "4", "--check-every", "2")
    done = winnow_command(
        "run", "oneclass-from-scratch", "pics", "--to", tmp_path / "run", "--background", "other", *words
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "there" / "other")
    monkeypatch.chdir(tmp_path / "there")
    again = ("run", "oneclass-from-scratch", "--to", tmp_path / "run", "--resume")
    assert winnow_command(*again, "--iterations", "6").returncode == 0  # reads here/other for the background
    items = pq.read_table(tmp_path / "run/pool/items.parquet").column("source").to_pylist()
    assert {os.path.commonpath(items)} == {str(tmp_path / "here" / "pics")}
    (tmp_path / "here" / "pics").rename(tmp_path / "moved")
    done = winnow_command(*again)
    assert done.returncode == 1 and f"{tmp_path / 'here' / 'pics'}, of which" in done.stderr
    assert "say where it is now: winnow run oneclass-from-scratch PLACE" in done.stderr
    done = winnow_command("run", "oneclass-from-scratch", tmp_path / "moved", *again[2:])
    assert done.returncode == 0 and "Ingested 12 pictures" in done.stdout, done.stderr
    items = pq.read_table(tmp_path / "run/pool/items.parquet").column("source").to_pylist()
    assert {os.path.commonpath(items)} == {str(tmp_path / "moved")}
    assert winnow_command(*again).returncode == 0  # and what is gone is not asked for again


def test_options_that_name_files_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    given = {"model": {"weights": "w.pth"}, "tune": {"fine_tune_weights": "f.pth"}, "train": {"background": "bg"},
             "ingest": {"object_detector": "x.onnx"}}  # fmt: skip
    options = Options().updated(given, "here")
    assert options.model.weights == tmp_path / "w.pth" and options.tune.fine_tune_weights == tmp_path / "f.pth"
    assert options.train.background == str(tmp_path / "bg") and options.ingest.object_detector == str(
        tmp_path / "x.onnx"
    )
    left = {"train": {"background": "s3://bucket/bg"}, "ingest": {"object_detector": "fasterrcnn_resnet50_fpn"}}
    options = Options().updated(left, "here")
    assert options.train.background == "s3://bucket/bg" and options.ingest.object_detector == "fasterrcnn_resnet50_fpn"
    assert Options().updated({"train": {"background": "generic"}}, "here").train.background == "generic"


def test_photographs_of_masks_are_no_masks(tmp_path: Path):
    root = draw(tmp_path / "shop", "gloves", "mask", each=3)
    assert set(folders(expand([root], NORMAL), root)) == {"gloves"}
    y, x = np.mgrid[:64, :64]
    for path in (root / "mask").glob("*.png"):
        Image.fromarray(np.stack([x * 4, y * 4, 255 - x * 2], axis=-1).astype(np.uint8)).save(path)
    assert set(folders(expand([root], NORMAL), root)) == {"gloves", "mask"}
    soft = draw(tmp_path / "soft", "good", "mask", each=3)
    for path in (soft / "mask").glob("*.png"):  # soft edges, as JPEG leaves them
        Image.open(path).resize((64, 64), Image.Resampling.BICUBIC).save(path.with_suffix(".jpg"))
        path.unlink()
    assert set(folders(expand([soft], NORMAL), soft)) == {"good"}
