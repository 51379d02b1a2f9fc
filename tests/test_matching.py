"""Labels of files find their own pictures: by content, by address, by a path's end that only one has, never by a bare name elsewhere."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import winnow
from winnow.errors import InputError
from winnow.label import matching
from winnow.label.catalogue import Catalogue
from winnow.label.matching import matched
from winnow.label.records import Record
from winnow.label.store import Event, LabelStore
from winnow.options import IngestOptions
from winnow.pool.originals import Originals, content_in
from winnow.pool.pool import Pool

import videos
from conftest import stripes, winnow_command


def camera(folder: Path, seed: int, names: tuple[str, ...] = ("0001.png", "0002.png", "0003.png")) -> Path:
    """Draw the pictures of a camera, whose file names are those of any other."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(stripes(rng)).save(folder / name)
    return folder


def run_of(path: Path, *sources: Path) -> winnow.Run:
    run = winnow.Run(path, size=(16, 16))
    run.ingest(sources)
    return run


def listed(path: Path, rows: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
    return path


def by_name(run: winnow.Run) -> dict[str, str]:
    """Return the labels of a run by the end of each picture's path."""
    pool = Pool.open(run.folder.folder("ingest"))
    sources = dict(zip(pool.column("id")[pool.usable], pool.column("source")[pool.usable], strict=True))
    return {"/".join(Path(sources[item]).parts[-2:]): label for item, (label, _, _) in run.labels().items()}


# ---- another camera with the same file names


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_labels_of_one_camera_never_land_on_another(tmp_path: Path, gone: bool):
    a, b = camera(tmp_path / "camA", 1), camera(tmp_path / "camB", 2)
    run = run_of(tmp_path / "run", b)
    beside = {path.name: "cat" for path in sorted(a.iterdir())}
    for labels in (
        listed(tmp_path / "list.csv", {f"camA/{name}": "cat" for name in beside}),
        listed(tmp_path / "whole.csv", {str(a / name): "cat" for name in beside}),
        *([] if gone else [listed(a / "labels.csv", beside)]),
    ):
        if gone:
            shutil.rmtree(a, ignore_errors=True)
        with pytest.raises(InputError, match="No item of the run") as caught:
            run.import_labels(labels, classes=["cat"])
        assert ("in another folder" if gone else "has the content of its file") in str(caught.value)
    assert run.labels() == {}


def test_a_correct_list_of_two_cameras_is_taken_by_a_run_of_one(tmp_path: Path):
    camera(tmp_path / "camA", 1), camera(tmp_path / "camB", 2)
    rows = {f"cam{cam}/000{n}.png": "cat" if cam == "A" else "dog" for cam in "AB" for n in (1, 2, 3)}
    run = run_of(tmp_path / "run", tmp_path / "camB")
    result = run.import_labels(listed(tmp_path / "both.csv", rows), classes=["cat", "dog"])
    assert (result.new, len(result.unknown), result.matched) == (3, 3, "3 by path")
    assert set(by_name(run).values()) == {"dog"}


def test_an_export_of_one_cameras_video_does_not_fit_anothers(tmp_path: Path):
    for cam, first in (("cam1", 0), ("cam2", 100)):
        (tmp_path / cam).mkdir()
        videos.write(tmp_path / cam / "ch01.mp4", [videos.picture(first + n) for n in range(50)], rate=10)
    one, two = (run_of(tmp_path / f"run {cam}", tmp_path / cam) for cam in ("cam1", "cam2"))
    items = Pool.open(one.folder.folder("ingest")).column("id").tolist()
    with LabelStore.open(one.folder.path / "labels.sqlite") as store:
        store.add_classes("ann", ["open"])
        store.add("ann", [Event(f"e{n}", item, "label", "open") for n, item in enumerate(items)])
    one.export_labels(tmp_path / "labels.csv")
    for there in (True, False):  # the video of the first camera
        with pytest.raises(InputError, match="No item of the run"):
            two.import_labels(tmp_path / "labels.csv", classes=["open"])
        if there:
            (tmp_path / "elsewhere" / "cam1").mkdir(parents=True)
            (tmp_path / "cam1" / "ch01.mp4").rename(tmp_path / "elsewhere" / "cam1" / "ch01.mp4")
    # The same video in a folder of another name is told by its content, and by its path where it is not at hand.
    again = run_of(tmp_path / "again", tmp_path / "elsewhere")
    shutil.copy(tmp_path / "elsewhere" / "cam1" / "ch01.mp4", tmp_path / "cam1" / "ch01.mp4")
    assert again.import_labels(tmp_path / "labels.csv", classes=["open"]).matched == f"{len(items)} by content"
    (tmp_path / "cam1" / "ch01.mp4").unlink()
    other = run_of(tmp_path / "other", tmp_path / "elsewhere")
    said = other.import_labels(tmp_path / "labels.csv", classes=["open"]).matched
    assert said.startswith(f"{len(items)} by the end of the path ({tmp_path}/cam1/ch01.mp4 as ")


# ---- content before names


def test_a_label_of_a_copy_lands_on_the_picture_it_is_a_copy_of(tmp_path: Path):
    a, b = camera(tmp_path / "a", 1, ("x.png", "y.png")), tmp_path / "b"
    b.mkdir()
    shutil.copy(a / "y.png", b / "x.png")  # a copy, under the name of another picture
    run = run_of(tmp_path / "run", a, b)
    assert run.import_labels(listed(tmp_path / "l.csv", {"b/x.png": "dog"}), classes=["dog"]).new == 1
    assert by_name(run) == {"a/y.png": "dog"}


def test_a_label_of_a_frame_lands_on_the_video_that_is_used_of_two_copies(tmp_path: Path):
    film = videos.write(tmp_path / "a.mp4", [videos.picture(number) for number in range(30)], rate=10)
    shutil.copy(film, tmp_path / "b.mp4")
    pool = Pool.open(run_of(tmp_path / "run", tmp_path / "a.mp4", tmp_path / "b.mp4").folder.folder("ingest"))
    used = np.array([source.endswith("a.mp4") for source in pool.column("source")])
    originals = Originals(pool, IngestOptions())
    about = matched([Record("x", source=str(tmp_path / "b.mp4"), time=1.0)], Catalogue(pool.items, used), originals)
    assert list(about.found) == [f"{tmp_path}/a.mp4@1.000"]


def test_a_sorted_folder_of_copies_is_told_by_content(tmp_path: Path):
    a = camera(tmp_path / "a", 1)
    run = run_of(tmp_path / "run", a)
    for name, label in (("0001.png", "cat"), ("0002.png", "dog")):
        (tmp_path / "sorted" / label).mkdir(parents=True)
        shutil.copy(a / name, tmp_path / "sorted" / label / f"new {name}")
    camera(tmp_path / "sorted" / "bird", 7, ("0003.png",))  # another picture with a name of the run's
    result = run.import_labels(tmp_path / "sorted", classes=["cat", "dog", "bird"])
    assert (result.matched, len(result.unknown)) == ("2 by content", 1)
    assert by_name(run) == {"a/0001.png": "cat", "a/0002.png": "dog"}


def test_a_path_to_a_file_that_has_changed_is_not_followed(tmp_path: Path):
    a = camera(tmp_path / "a", 1)
    run = run_of(tmp_path / "run", a)
    labels = listed(tmp_path / "l.csv", {f"a/000{n}.png": "cat" for n in (1, 2, 3)})
    (a / "0001.png").rename(a / "spare")
    (a / "0002.png").rename(a / "0001.png")  # renumbered, which keeps the times of files
    (a / "spare").rename(a / "0002.png")
    result = run.import_labels(labels, classes=["cat"])
    assert (result.new, len(result.unknown)) == (1, 2) and "changed since it was ingested" in result.unknown[0]
    assert by_name(run) == {"a/0003.png": "cat"}


@pytest.mark.parametrize("written", ["{}", "a/{}", "/of/another/machine/a/{}"], ids=["name", "end", "whole"])
def test_a_name_of_a_file_that_has_changed_finds_nothing(tmp_path: Path, written: str):
    a = camera(tmp_path / "pictures" / "a", 1)
    run = run_of(tmp_path / "run", a)
    labels = listed(tmp_path / "l.csv", {written.format(f"000{n}.png"): "cat" for n in (1, 2, 3)})
    (a / "0001.png").rename(a / "spare")
    (a / "0002.png").rename(a / "0001.png")
    (a / "spare").rename(a / "0002.png")
    result = run.import_labels(labels, classes=["cat"])
    assert (result.new, len(result.unknown)) == (1, 2) and "changed since it was ingested" in result.unknown[0]
    assert by_name(run) == {"a/0003.png": "cat"}


def test_an_id_of_another_content_is_not_taken_for_a_picture_of_its_path(tmp_path: Path):
    a = camera(tmp_path / "a", 1)
    run = run_of(tmp_path / "run", a)
    labels = tmp_path / "l.csv"
    labels.write_text(f"id,path,label\n{'0' * 16},a/0001.png,cat\n")
    with pytest.raises(InputError, match="by its id it is a picture that the run does not have"):
        run.import_labels(labels, classes=["cat"])


# ---- what a path alone tells


def paths(tmp_path: Path, record: Record) -> tuple[str | None, str]:
    """Return the item of a record among those of `crops`, whose files are gone, and how it was found, or why not."""
    about = matched([record], crops(), Originals(SimpleNamespace(folder=tmp_path), None))
    return (next(iter(about.found)), next(iter(about.how))) if about.found else (None, about.unknown[0][1])


def crops() -> Catalogue:
    """Two frames of a video with two persons each, one of another, three pictures."""
    rows = [
        ("v@1#1", "/v/shop.mp4", 1.0, "0,0,10,20"), ("v@1#2", "/v/shop.mp4", 1.0, "30,0,10,20"),
        ("v@2#1", "/v/shop.mp4", 2.04, "0,0,10,20"), ("w@1", "/w/shop.mp4", 1.0, None), ("p", "/p/a, b.jpg", None, None),
        ("q1", "/q/cam1/000.jpg", None, None), ("q2", "/q/cam2/000.jpg", None, None),
    ]  # fmt: skip
    names, sources, times, boxes = zip(*rows, strict=True)
    table = {
        "id": names,
        "source": sources,
        "group": sources,
        "time": pa.array(times, pa.float64()),
        "box": pa.array(boxes),
    }
    return Catalogue(pa.table({**table, "confidence": pa.nulls(len(rows), pa.float64())}))


CASES = [
    (Record("a", id="v@1#2"), "v@1#2", "id"),
    (Record("a", id="gone", source="/p/a, b.jpg"), "p", "address"),
    (Record("a", source="/l/a, b.jpg", written="a, b.jpg"), "p", "name"),
    (Record("a", source="/elsewhere/a, b.jpg"), None, "in another folder"),
    (Record("a", source="/home/p/a, b.jpg"), "p", "path"),
    (Record("a", source="/l/./p/a, b.jpg", written="./p/a, b.jpg"), "p", "path"),
    (Record("a", source="/l/C:\\p\\a, b.jpg", written="C:\\p\\a, b.jpg"), "p", "path"),
    (Record("a", source="/l/000.jpg", written="000.jpg"), None, "several items"),
    (Record("a", source="/l/x/p/a, b.jpg", written="x/p/a, b.jpg"), None, "in another folder"),
    (Record("a", source="/mnt/cam2/000.jpg"), "q2", "path"),
    (Record("a", source="/mnt/cam3/000.jpg"), None, "in another folder"),
    (Record("a", source="/v/shop.mp4", time=1.0, box=(30, 0, 10, 20)), "v@1#2", "address"),
    (Record("a", source="/v/shop.mp4", time=2.041), "v@2#1", "address"),
    (Record("a", source="/v/shop.mp4", time=1.0), None, "several items"),  # which of two
    (Record("a", source="/v/shop.mp4", time=1.0, box=(1, 0, 10, 20)), None, "nothing at its time and box"),
    (Record("a", source="/v/shop.mp4", time=1.5), None, "nothing at its time and box"),
    (Record("a", source="/x/v/shop.mp4", time=1.0, box=(30, 0, 10, 20)), "v@1#2", "path"),
    (Record("a", source="/elsewhere/shop.mp4", time=1.0, box=(30, 0, 10, 20)), None, "in another folder"),
    (Record("a", source="/w/shop.mp4"), "w@1", "address"),
    (Record("a", source="/p/a, b.jpg", box=(0, 0, 5, 5)), None, "nothing at its time and box"),  # a part is not the whole
    (Record("a", source="http://host/upload/a, b.jpg", written="a, b.jpg"), "p", "name"),
    (Record("a", id="nobody"), None, "its id is unknown"),
    (Record("a"), None, "it names no picture"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "item", "how"), CASES)
def test_a_record_finds_its_item_or_none(tmp_path: Path, record: Record, item: str | None, how: str):
    found, way = paths(tmp_path, record)
    assert found == item and how in way


def test_paths_below_a_root_that_has_moved_agree_with_one_another(tmp_path: Path):
    records = [
        Record("a", source="/old/q/cam1/000.jpg"),
        Record("b", source="/old/x/cam2/000.jpg"),
        Record("c", id="p"),
    ]
    about = matched(records, crops(), Originals(SimpleNamespace(folder=tmp_path), None))
    assert {item: record.label for item, record in about.found.items()} == {"q1": "a", "p": "c"}
    assert about.unknown == [(records[1], "by the other paths of the file, its folder is not among those of the run")]


def test_a_path_is_not_compared_with_every_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compared, alike = [], matching._alike
    monkeypatch.setattr(matching, "_alike", lambda *paths: compared.append(paths) or alike(*paths))
    sources = [f"/new/{outer}/{clip}/0001.png" for outer in "ab" for clip in range(100)]
    n = len(sources)
    table = {
        "id": [f"i{row}" for row in range(n)],
        "source": sources,
        "group": sources,
        "time": pa.nulls(n, pa.float64()),
    }
    catalogue = Catalogue(pa.table({**table, "box": pa.nulls(n, pa.string()), "confidence": pa.nulls(n, pa.float64())}))
    records = [Record("a", source=source.replace("/new", "/old")) for source in reversed(sources)]
    found = matched(records, catalogue, Originals(SimpleNamespace(folder=tmp_path), None)).found
    assert {catalogue.source(catalogue.row(item)): record.source for item, record in found.items()} == {
        record.source.replace("/old", "/new"): record.source for record in records
    }
    assert len(compared) <= 2 * n


def test_the_frames_of_a_video_are_not_looked_through_for_each_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    n = 300
    table = {"id": [f"f{row}" for row in range(n)], "source": ["/v/film.mp4"] * n, "group": ["film"] * n}
    table |= {"time": pa.array(np.arange(n)[::-1] / 25), "box": pa.nulls(n, pa.string())}
    catalogue = Catalogue(pa.table({**table, "confidence": pa.nulls(n, pa.float64())}))
    asked, checked, time = [], [], Catalogue.time
    monkeypatch.setattr(Originals, "check", lambda _, source: checked.append(source))
    monkeypatch.setattr(Catalogue, "time", lambda self, row: asked.append(row) or time(self, row))
    written = [*(f"/v/film.mp4 {row / 25:.3f}" for row in range(n)), "/v/film.mp4 0.020"]
    records = [Record("a", source=source, time=float(at)) for source, at in map(str.split, written)]
    about = matched(records, catalogue, Originals(SimpleNamespace(folder=tmp_path), None))
    assert {item: record.time for item, record in about.found.items()} == {
        f"f{n - 1 - row}": row / 25 for row in range(n)
    }
    assert [reason for _, reason in about.unknown] == ["the run has nothing at its time and box"]
    assert len(asked) <= 2 * n and checked == ["/v/film.mp4"]


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_end_is_the_one_that_comparing_all_finds(seed: int):
    rng = np.random.default_rng(seed)
    ends = sorted((list(rng.choice(list("ab"), rng.integers(1, 5))), f"s{number}") for number in range(30))
    end = list(rng.choice(list("abc"), 4))
    common = [matching._alike(end, other) for other, _ in ends]
    expected = [source for (_, source), many in zip(ends, common, strict=True) if many == max(common)]
    assert matching._longest_end(end, ends) == (max(common), expected)


def test_two_files_that_could_be_the_one_are_both_left_out(tmp_path: Path):
    records = [Record("a", source="/old/cam1/000.jpg"), Record("b", source="/new/cam1/000.jpg"), Record("c", id="p")]
    about = matched(records, crops(), Originals(SimpleNamespace(folder=tmp_path), None))
    assert set(about.found) == {"p"} and len(about.unknown) == 2
    assert all("two files" in reason for _, reason in about.unknown)


# ---- said


def test_what_was_matched_how_is_printed(tmp_path: Path):
    a = camera(tmp_path / "a", 1)
    run = run_of(tmp_path / "run", a)
    item = Pool.open(run.folder.folder("ingest")).column("id")[0]
    (tmp_path / "l").mkdir()
    with (tmp_path / "l" / "labels.csv").open("w", newline="") as file:
        rows = [(item, "", "cat"), ("", a / "0002.png", "cat"), ("", "0003.png", "cat"), ("", "b/0003.png", "cat")]
        csv.writer(file).writerows([("id", "path", "label"), *rows])
    done = winnow_command(
        "label", "--run", run.folder.path, "--import", tmp_path / "l" / "labels.csv", "--classes", "cat"
    )
    assert f"Matched: 1 by id, 1 by path, 1 by file name alone (0003.png as {a}/0003.png)." in done.stdout, done.stderr
    assert "1 label left out" in done.stdout and "in another folder" in done.stdout


# ---- any files, any names


@pytest.mark.parametrize("seed", range(6))
def test_no_label_lands_on_another_content_than_that_of_the_file_named(tmp_path: Path, seed: int):
    """Cameras with the same file names and copies among them; after the ingest, files are exchanged, copied, moved and removed."""
    rng = np.random.default_rng(seed)
    names = [f"cam{cam}/day{day}/{number}.png" for cam in range(2) for day in range(2) for number in range(3)]
    contents = [stripes(rng, 24) for _ in range(8)]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(contents[rng.integers(8)]).save(tmp_path / "in" / name)
    run = run_of(
        tmp_path / "run", *(tmp_path / "in" / cam for cam in (("cam0",), ("cam1",), ("cam0", "cam1"))[seed % 3])
    )
    for one, other in rng.choice(names, (5, 2)):
        a, b, kind = tmp_path / "in" / one, tmp_path / "in" / other, rng.integers(4)
        if kind == 0 and a.exists() and b.exists():
            first, second = a.read_bytes(), b.read_bytes()
            a.write_bytes(second), b.write_bytes(first)
        elif kind == 1 and a.exists():
            b.write_bytes(a.read_bytes())
        elif kind == 2 and a.exists():
            a.replace(b)
        elif kind == 3:
            a.unlink(missing_ok=True)
    pool = Pool.open(run.folder.folder("ingest"))
    originals = Originals(pool, run.folder.options.ingest)
    records = [Record("x", source=str(tmp_path / "in" / name), written=name) for name in names]
    about = matched(records, Catalogue(pool.items, pool.usable), originals)
    sources = set(pool.column("source"))
    for item, record in about.found.items():
        file = Path(record.source)
        assert content_in(file.read_bytes()) == item if file.exists() else record.source in sources
    there = {content_in((tmp_path / "in" / name).read_bytes()) for name in names if (tmp_path / "in" / name).exists()}
    elsewhere = {
        content_in(Path(r.source).read_bytes()) for r in records if Path(r.source).exists() and r.source not in sources
    }
    assert (
        elsewhere & set(pool.column("id")) <= set(about.found) and there
    )  # a copy outside the run is found by its content
