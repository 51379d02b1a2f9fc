"""Files of several pages are judged page by page, as pictures of one group; ids stay apart whatever a path is made of."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.detect.pictures import keys_of, most_anomalous
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool

from conftest import blocks, stripes
from small_runs import OPTIONS
from videos import write

SIZE = (12, 16)


def page(shade: int, height: int = 24, width: int = 32) -> Image.Image:
    """A page of one shade, with some grain so that no patch of it is blank."""
    grain = np.random.default_rng(shade).integers(-8, 9, (height, width, 3))
    return Image.fromarray((shade + grain).clip(0, 255).astype(np.uint8))


def scan(path: Path, shades: list[int], **options: object) -> Path:
    """Write a file of a page for each shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = map(page, shades)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def made(sources: Path, to: Path, **options: object) -> Pool:
    ingest([sources], to, IngestOptions(**{"size": SIZE, "on_error": "skip", "max_refused": 0.9, **options}))
    return Pool.open(to)


def test_every_page_is_a_picture_of_the_group_of_its_file(tmp_path):
    path = scan(tmp_path / "in" / "a.tif", [20, 80, 140, 200])
    page(100).save(tmp_path / "in" / "b.png")
    found = ingest([tmp_path / "in"], tmp_path / "pool", IngestOptions(size=SIZE))
    pool = Pool.open(tmp_path / "pool")
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert found.pictures == len(pool) == 5 and found.groups == 2
    assert pool.column("id")[:4].tolist() == [f"{content}/{number}" for number in (1, 2, 3, 4)]
    assert pool.column("page").tolist() == [1, 2, 3, 4, None]
    assert pool.column("source").tolist() == [str(path)] * 4 + [str(tmp_path / "in" / "b.png")]
    assert pool.column("group").tolist() == [str(path)] * 4 + [str(tmp_path / "in")]
    assert np.abs(pool.pixels(slice(None)).mean(axis=(1, 2, 3)) - [20, 80, 140, 200, 100]).max() < 3


@pytest.mark.parametrize(
    ("name", "options"), [("a.webp", {"lossless": True}), ("a.png", {}), ("a.avif", {"quality": 90})]
)
def test_frames_of_an_animated_picture_are_pages_too(tmp_path, name, options):
    scan(tmp_path / "in" / name, [20, 140, 80], **options)
    pool = made(tmp_path / "in", tmp_path / "pool")
    assert pool.column("page").tolist() == [1, 2, 3] and np.isnan(pool.column("time")).all()
    assert np.abs(pool.pixels(slice(None)).mean(axis=(1, 2, 3)) - [20, 140, 80]).max() < 4


def test_a_page_that_cannot_be_read_is_named_and_the_others_stay(tmp_path):
    path = scan(tmp_path / "in" / "a.tif", [20, 80, 140])
    path.write_bytes(path.read_bytes()[:-900])
    pool = made(tmp_path / "in", tmp_path / "pool")
    assert pool.column("page").tolist() == [1, 2]
    with (tmp_path / "pool" / "quarantine.csv").open(newline="") as file:
        assert [(row["source"], row["reason"]) for row in csv.DictReader(file)] == [
            (str(path), "page 3: the file is truncated")
        ]


def test_pages_are_cut_into_patches_and_copies_of_a_file_are_copies_page_by_page(tmp_path):
    path = scan(tmp_path / "in" / "a.tif", [20, 80, 140])
    (tmp_path / "in" / "b.tif").write_bytes(path.read_bytes())
    pool = made(tmp_path / "in", tmp_path / "pool", patches=True, blank=0)
    assert len(pool) == 24 and pool.column("page").tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert pool.pictures.column("page").to_pylist() == [1, 2, 3, 1, 2, 3]
    assert pool.column("status").tolist() == ["ok"] * 12 + ["copy"] * 12
    items = {name: pool.column(name) for name in ("id", "source")}
    assert len(most_anomalous(keys_of(items), np.zeros(24))[0]) == 6
    assert set(picture_of(items["id"])) == set(pool.pictures.column("id").to_pylist())


def test_the_number_of_workers_and_an_interruption_change_no_byte(tmp_path, monkeypatch):
    for number in range(3):
        scan(tmp_path / "in" / f"{number}.tif", [40 * number + step for step in range(9)])
    made(tmp_path / "in", tmp_path / "one", workers=1, patches=True, blank=0)
    made(tmp_path / "in", tmp_path / "four", workers=4, patches=True, blank=0)
    for name in ("items.parquet", "pictures.parquet", "pool.json", "pixels-00000.npy"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes(), name


PATHS = [
    "a#b",
    "a#1,2,3,4",
    "a@3.000",
    "a?b=c",
    "100%",
    "a b",
    "Zoë 視",
    "a;b",
    "a:b",
    "http:a",
    "a'b\"c",
    "a\nb",
    "[a]*",
    "#",
]


@pytest.mark.parametrize("name", PATHS)
def test_frames_cut_into_patches_stay_frames_whatever_their_path(tmp_path, name):
    """With `a#b` in its path, the twelve frames of a video were two pictures."""
    film = write(
        tmp_path / f"{name}.d" / f"{name}.mp4", [np.asarray(page(15 * number)) for number in range(12)], rate=10
    )
    pool = made(film, tmp_path / "pool", patches=True, blank=0, every=0.1)
    assert len(pool.pictures) == 12 and len(pool) == 48
    pictures = picture_of(pool.column("id"))
    assert list(dict.fromkeys(pictures)) == pool.pictures.column("id").to_pylist()
    whole = made(film, tmp_path / "whole", every=0.1)
    assert picture_of(whole.column("id")).tolist() == whole.column("id").tolist()
    items = {column: pool.column(column) for column in ("id", "source")}
    assert len(most_anomalous(keys_of(items), np.zeros(48))[0]) == 12


def test_names_of_ones_own_keep_their_signs():
    assert picture_of(["a#1", "a#2", "a#1,2,3", "a#1,2,3,4", "#1,2,3,4#5,6,7,8"]).tolist() == [
        "a#1", "a#2", "a#1,2,3", "a", "#1,2,3,4"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    """A run of eight scans of four pages."""
    base, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    (base / "good").mkdir()
    for number in range(8):
        first, *others = (Image.fromarray(stripes(rng, 32)) for _ in range(4))
        first.save(base / "good" / f"{number}.tif", save_all=True, append_images=others)
    run = winnow.Run(base / "run", **OPTIONS)
    run.ingest(base / "good")
    run.train()
    run.encode()
    run.calibrate()
    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_defective_pages_behind_a_good_one_are_found(run, tmp_path):
    """Of ten files only the first pages, all good, were judged; forty defective pages behind them went unsaid."""
    rng = np.random.default_rng(5)
    (tmp_path / "new").mkdir()
    for number in range(2):
        first, *others = [Image.fromarray(stripes(rng, 32)), *(Image.fromarray(blocks(rng, 32)) for _ in range(4))]
        first.save(tmp_path / "new" / f"{number}.tif", save_all=True, append_images=others)
    scored = run.score(tmp_path / "new", to=tmp_path / "scores")
    rows = table(tmp_path / "scores" / "scores.csv")
    assert scored.pictures == len(rows) == 10
    assert [row["page"] for row in rows] == ["1", "2", "3", "4", "5"] * 2
    assert min(float(row["score"]) for row in rows if row["page"] != "1") > max(
        float(row["score"]) for row in rows if row["page"] == "1"
    )


def test_tables_without_such_files_have_no_column_for_pages(run, tmp_path):
    Image.fromarray(stripes(np.random.default_rng(7), 32)).save(tmp_path / "a.png")
    run.score(tmp_path / "a.png", to=tmp_path / "scores")
    assert list(table(tmp_path / "scores" / "scores.csv")[0]) == ["id", "source", "time", "score", "p_value", "belongs"]


@pytest.mark.parametrize("cut", [False, True])
def test_an_item_of_a_page_is_shown_and_exported_as_that_page(tmp_path, run, cut):
    """The label page, exported folders and COCO show the page of the item, not the first of its file."""
    from winnow.label.catalogue import Catalogue
    from winnow.label.records import Record
    from winnow.label.tools import coco_of
    from winnow.pool.originals import Originals
    from winnow.steps.label import _Pictures, pictures_of

    path = scan(tmp_path / "in" / "a.tif", [20, 80, 140])
    options = IngestOptions(size=SIZE, patches=cut, blank=0)
    ingest([path], tmp_path / "pool", options)
    pool = Pool.open(tmp_path / "pool")
    each = len(pool) // 3
    for row in range(len(pool)):
        shade = 20 + 60 * (row // each)
        assert abs(Originals(pool, options).pixels(row).mean() - shade) < 3
        data, suffix = _Pictures(run.folder, pool, False).file(row)
        assert suffix == ".jpg" and abs(np.asarray(Image.open(io.BytesIO(data))).mean() - shade) < 3
    shown, state = pictures_of(pool, run.folder)(each, "large")
    assert state == "same" and abs(np.asarray(Image.open(io.BytesIO(shown))).mean() - 80) < 3
    catalogue = Catalogue(pool.items)
    assert [catalogue.describe(row)["page"] for row in range(0, len(pool), each)] == [1, 2, 3]
    assert catalogue.describe(each)["name"] == "a.tif, page 2"
    records = [Record("x", pool.column("id")[row], str(path)) for row in range(len(pool))]
    coco = coco_of(records, lambda item: (24, 32))
    assert len(coco["images"]) == 3 and len({entry["image_id"] for entry in coco["annotations"]}) == 3
