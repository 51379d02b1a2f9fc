"""Labelling a run of video: pictures come from the originals at full size, and the steps work from Python."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import winnow
from winnow.label.store import Event
from winnow.pool.pool import Pool
from winnow.run.labels import catalogue_of, open_store
from winnow.steps.label import LARGE, pictures_of, pool_pixels

import videos
from conftest import winnow_command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a ten-second video of numbered frames, and the picture of a building site."""
    folder = tmp_path_factory.mktemp("video")
    videos.write(folder / "in" / "shop ä.mp4", [videos.picture(number, 384, 640) for number in range(100)], rate=10)
    Image.fromarray(videos.picture(7, 1500, 2500)).save(folder / "in" / "site.jpg", quality=95)
    winnow.Run(folder / "run", size=(16, 16)).ingest(str(folder / "in"))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> winnow.Run:
    shutil.copytree(made / "run", tmp_path / "run")
    return winnow.Run(tmp_path / "run")


def opened(run: winnow.Run):
    pool = Pool.open(run.folder.folder("ingest"))
    catalogue = catalogue_of(run.folder, pool)
    picture = pictures_of(pool, run.folder)
    return catalogue, lambda row, size: picture(row, size)[0]


def jpeg(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


def test_frames_come_from_the_video_at_full_size(run: winnow.Run):
    catalogue, picture = opened(run)
    frames = [row for row in range(len(catalogue)) if catalogue.time(row) is not None]
    assert len(frames) == 10
    for row in frames:
        large = jpeg(picture(row, "large"))
        assert large.size == (640, 384)
        assert videos.number_of(np.asarray(large)) == round(10 * catalogue.time(row))
        assert max(jpeg(picture(row, "small")).size) == 160
    before, after = catalogue.neighbours(frames[5])
    assert [catalogue.time(row) for row in (*before, frames[5], *after)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_large_pictures_are_bounded_and_gone_ones_come_from_the_pool(run: winnow.Run, made: Path):
    catalogue, picture = opened(run)
    site = next(row for row in range(len(catalogue)) if catalogue.time(row) is None)
    assert jpeg(picture(site, "large")).size == (LARGE, LARGE * 3 // 5)
    hidden = made / "in" / "site.hidden"
    (made / "in" / "site.jpg").rename(hidden)
    try:
        assert jpeg(picture(site, "large")).size == (16, 16)
    finally:
        hidden.rename(made / "in" / "site.jpg")


def test_a_file_renumbered_after_the_ingest_is_not_shown_in_the_place_of_another(tmp_path: Path):
    for number in range(4):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(videos.picture(number, 48, 80)).save(tmp_path / "in" / f"{number}.png")
    run = winnow.Run(tmp_path / "run", size=(48, 80))
    run.ingest(tmp_path / "in")
    for number in range(4):  # each but the last now holds the next one's picture
        (tmp_path / "in" / f"{number}.png").rename(tmp_path / "in" / f"{number - 1}.png")
    said: list[str] = []
    picture = pictures_of(Pool.open(run.folder.folder("ingest")), run.folder, said.append)
    for row in range(4):
        for size in ("large", "small"):
            data, original = picture(row, size)
            assert (videos.number_of(np.asarray(jpeg(data))), original) == (row, "changed" if row < 3 else "missing")
    assert len(said) == 1 and "0.png: it is not the file that was ingested" in said[0]


def test_a_part_from_the_pool_has_its_own_proportions(tmp_path: Path):
    class Squeezed:
        """A pool of crops, which it holds as squares."""

        items = pa.table({"box": ["5,5,30,60", "0,0,60,20", None]})

        def pixels(self, rows: list[int]) -> np.ndarray:
            return np.zeros((len(rows), 32, 32, 3), np.uint8)

    assert [pool_pixels(Squeezed(), row).shape for row in range(3)] == [(32, 16, 3), (11, 32, 3), (32, 32, 3)]


def test_labels_of_frames_go_round_from_python(run: winnow.Run, tmp_path: Path):
    catalogue, _ = opened(run)
    assert run.labels() == {}
    with open_store(run.folder) as store:
        store.add_classes("ann", ["open", "closed"])
        store.add(
            "ann", [Event(f"e{row}", catalogue.ids[row], "label", "open" if row % 2 else "closed") for row in range(11)]
        )
    labels = run.labels()
    assert {item: label for item, (label, _, _) in labels.items()} == {
        catalogue.ids[row]: "open" if row % 2 else "closed" for row in range(11)
    }
    assert run.export_labels(tmp_path / "labelled").labels == 11
    sizes = {Image.open(path).size for path in (tmp_path / "labelled").rglob("*.jpg")}
    assert sizes == {(640, 384), (2500, 1500)}
    for path in ("labelled", "labels.csv", "coco.json"):
        if path != "labelled":
            run.export_labels(tmp_path / path, format="coco" if path.endswith("json") else "")
        other = winnow.Run(
            shutil.copytree(run.folder.path, tmp_path / f"of {path}", ignore=shutil.ignore_patterns("labels.*"))
        )
        assert other.import_labels(tmp_path / path, classes=["open", "closed"]).new == 11
        assert other.labels().keys() == labels.keys()
        assert all(other.labels()[item][0] == labels[item][0] for item in labels)


@pytest.mark.slow
def test_a_selection_fills_the_lanes(finished_run: Path, tmp_path: Path):
    folder = shutil.copytree(finished_run, tmp_path / "run")
    done = winnow_command("select", "--run", folder, "-n", 10, "--outliers", "0.2")
    assert done.returncode == 0, done.stderr
    catalogue, _ = opened(winnow.Run(folder))
    for lane, table in (("chosen", "selection.csv"), ("outliers", "outliers.csv")):
        with (folder / table).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        page = catalogue.query(lane, limit=200)
        assert [catalogue.ids[row] for row in page.rows] == [row["id"] for row in rows]
        assert all(
            row["why"] in catalogue.describe(place)["why"] for place, row in zip(page.rows.tolist(), rows, strict=True)
        )
    assert catalogue.progress("chosen")["total"] == 10 and catalogue.progress("outliers")["total"] > 0


def test_labels_of_an_item_that_is_gone_are_kept(run: winnow.Run, tmp_path: Path):
    catalogue, _ = opened(run)
    with open_store(run.folder) as store:
        store.add_classes("ann", ["open"])
        store.add(
            "ann", [Event("a", "an item of before", "label", "open"), Event("b", catalogue.ids[0], "label", "open")]
        )
    assert len(run.labels()) == 2
    result = run.export_labels(tmp_path / "labels.csv")
    assert (result.labels, result.gone) == (1, 1)
