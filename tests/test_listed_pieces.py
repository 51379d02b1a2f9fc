"""Lists that name frames and boxes, Winnow's own tables among them: what is read, with which label, and what contradicts itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import winnow
from winnow.data.sources import expand
from winnow.data.video import frames
from winnow.errors import InputError
from winnow.pool import plan
from winnow.pool.pool import Pool
from winnow.steps.report.classifier import classifier_sections
from winnow.steps.report.pictures import OwnPictures

from conftest import blocks, stripes, write_pictures
from videos import write

SMALL: dict[str, Any] = {"size": (16, 16), "width": 4, "latent": 4, "iterations": 4, "check_every": 2}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("film") / "film.mp4", 100, rate=10, gop=12)


def items(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "pool" / "items.parquet").to_pylist()


def table(path: Path, *rows: dict[str, Any]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def ingested(run: Path, *sources: Path, **options: Any) -> list[dict[str, Any]]:
    winnow.Run(run, **{**SMALL, **options}).ingest(list(sources))
    return items(run)


def test_the_frames_a_list_names_are_those_frames(film: Path):
    plain = {frame.time: frame.image for frame in frames(str(film), (16, 16), every=0.001)}
    wanted = [0.3, 2.5, 2.6, 7.9]
    found = {frame.time: frame.image for frame in frames(str(film), (16, 16), times=wanted, alone=True)}
    assert list(found) == wanted and all(np.array_equal(found[time], plain[time]) for time in wanted)
    both = [frame.time for frame in frames(str(film), (16, 16), every=2.0, times=wanted)]
    assert both == sorted({0.0, 2.0, 4.0, 6.0, 8.0} | set(wanted))
    rounded = [frame.time for frame in frames(str(film), (16, 16), times=[2.503, 2.497], alone=True)]
    assert rounded == [2.5]


def test_own_labels_are_read_back_as_they_were_given(film: Path, tmp_path: Path):
    run = winnow.Run(tmp_path / "run", **SMALL)
    run.ingest(film)
    ids = [row["id"] for row in items(tmp_path / "run")]
    given = {name: "ab"[place % 2] for place, name in enumerate(ids[2:8])}
    labels = table(tmp_path / "given.csv", *({"id": name, "label": label} for name, label in given.items()))
    run.import_labels(labels, classes=["a", "b"])
    run.export_labels(tmp_path / "labels.csv")
    back = ingested(tmp_path / "again", tmp_path / "labels.csv")
    assert {row["id"]: row["label"] for row in back} == given
    # Added to the film that the run has, they are the labels of its frames, and no frame goes.
    run.ingest(tmp_path / "labels.csv")
    assert {row["id"]: row["label"] for row in items(tmp_path / "run")} == {**dict.fromkeys(ids, ""), **given}


def test_a_frame_between_those_that_are_there_joins_them_and_another_list_changes_labels_alone(
    film: Path, tmp_path: Path
):
    run = winnow.Run(tmp_path / "run", **SMALL, every=2.0)
    run.ingest(film)
    run.ingest(
        table(tmp_path / "a.csv", {"path": film, "time": 3.3, "label": "goal"}, {"path": film, "time": 4, "label": "x"})
    )
    labels = {row["time"]: row["label"] for row in items(tmp_path / "run")}
    assert labels == {0.0: "", 2.0: "", 3.3: "goal", 4.0: "x", 6.0: "", 8.0: ""}
    pixels = [path.stat().st_ino for path in (tmp_path / "run" / "pool").glob("pixels-*.npy")]
    run.ingest(table(tmp_path / "b.csv", {"path": film, "time": 3.3, "label": "foul"}))
    assert {row["time"]: row["label"] for row in items(tmp_path / "run")} == {**labels, 3.3: "foul"}
    assert [path.stat().st_ino for path in (tmp_path / "run" / "pool").glob("pixels-*.npy")] == pixels
    late = winnow.Run(tmp_path / "late", **SMALL).ingest(
        table(tmp_path / "c.csv", {"path": film, "time": 99}, {"path": film, "time": 1})
    )
    assert late.frames == 1 and "it has no frame at 99.000 s" in late.notes[-1]
    assert "it has no frame at 99.000 s" in (tmp_path / "late" / "pool" / "quarantine.csv").read_text()


@pytest.mark.parametrize("form", ["box", "sides", "id"])
def test_patches_and_boxes_are_read_back(tmp_path: Path, form: str):
    root = write_pictures(tmp_path / "pics", 1, 2, lambda rng: stripes(rng, 48))
    cut = ingested(tmp_path / "cut", root, patches=True, blank=0.0)
    assert len(cut) == 18
    chosen = cut[2:14:3]

    def described(row: dict[str, Any]) -> dict[str, Any]:
        sides = dict(zip(("x", "y", "width", "height"), row["box"].split(","), strict=True))
        return {"box": {"box": row["box"]}, "sides": sides, "id": {"id": row["id"]}}[form]

    rows = [{"source": row["source"], **described(row), "label": f"l{place}"} for place, row in enumerate(chosen)]
    listed = table(tmp_path / "list.csv", *rows)
    back = ingested(tmp_path / "back", listed, patches=True, blank=0.0)
    assert [(row["id"], row["label"]) for row in back] == [(row["id"], f"l{place}") for place, row in enumerate(chosen)]
    whole, again = Pool.open(tmp_path / "cut" / "pool"), Pool.open(tmp_path / "back" / "pool")
    assert np.array_equal(again.pixels(slice(None)), whole.pixels(whole.rows_of([row["id"] for row in chosen])))
    assert again.pictures.column("patches").to_pylist() == [3, 1]
    scaled = ingested(tmp_path / "scaled", listed, size=(8, 8), grey=True)
    assert [row["box"] for row in scaled] == [row["box"] for row in chosen]
    x, y, width, height = (int(side) for side in chosen[0]["box"].split(","))
    part = (
        Image.open(chosen[0]["source"])
        .convert("L")
        .crop((x, y, x + width, y + height))
        .resize((8, 8), Image.Resampling.BILINEAR)
    )
    assert np.array_equal(Pool.open(tmp_path / "scaled" / "pool").pixels([0])[0, ..., 0], np.asarray(part))


def test_boxes_of_a_frame(film: Path, tmp_path: Path):
    rows = [
        {"path": film, "time": 2.5, "box": box, "label": label}
        for box, label in (("0,0,20,30", "a"), ("9,4,20,20", "b"))
    ]
    found = ingested(tmp_path / "run", table(tmp_path / "list.csv", *rows))
    assert [(row["time"], row["box"], row["label"]) for row in found] == [
        (2.5, "0,0,20,30", "a"),
        (2.5, "9,4,20,20", "b"),
    ]


@pytest.mark.parametrize(
    ("row", "options", "reason"),
    [
        ({"box": "40,40,20,20"}, {}, "it has 48x48 pixels, which do not hold the box 40,40,20,20"),
        ({"box": "0,0,20,20"}, {"patches": True}, "the box 0,0,20,20 is not a patch of 16x16"),
    ],
)
def test_a_box_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, row: dict[str, str], options: dict[str, Any], reason: str
):
    root = write_pictures(tmp_path / "pics", 1, 2)
    first, second = sorted(root.rglob("*.png"))
    listed = table(tmp_path / "list.csv", {"path": first, **row}, {"path": second, "box": "0,0,16,16"})
    assert len(ingested(tmp_path / "run", listed, max_refused=0.5, **options)) == 1
    assert f"{first},{reason[:20]}" in (tmp_path / "run/pool/quarantine.csv").read_text().replace('"', "")
    assert reason in (tmp_path / "run/pool/quarantine.csv").read_text()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"label": "a"}, {"label": "b"}], "has two labels: 'a' in row 2 of {list}, 'b' in row 3 of {list}"),
        ([{"label": "a"}, {"group": "g"}, {"group": "h"}], "has two groups: 'g' in row 3 of {list}, 'h' in row 4"),
        ([{"split": "train"}, {"split": "test"}], "has two splits: 'train' in row 2 of {list}, 'test' in row 3"),
        ([{"box": "0,0,4,4", "label": "a"}, {"box": "0,0,4,4", "label": "b"}], "at box 0,0,4,4 has two labels: 'a'"),
        ([{"box": "0,0,4,4"}, {"label": "a"}], "is named both whole and by boxes"),
    ],
)
def test_contradictions_are_said_before_anything_is_read(tmp_path: Path, rows: list[dict[str, str]], words: str):
    root = write_pictures(tmp_path / "pics", 1, 1)
    (file,) = root.rglob("*.png")
    listed = table(tmp_path / "list.csv", *({"path": file, **row} for row in rows))
    with pytest.raises(InputError) as caught:
        expand([listed])
    assert f"{file} {words.format(list=listed)}" in caught.value.message and caught.value.remedy


def test_contradictions_in_time_in_two_lists_and_in_a_folder(film: Path, tmp_path: Path):
    one = table(tmp_path / "one.csv", {"path": film, "time": 2.5, "label": "a"})
    two = table(tmp_path / "two.csv", {"path": film, "time": 2.5, "label": "b"})
    with pytest.raises(
        InputError, match=rf"{film} at 2.500 s has two labels: 'a' in row 2 of {one}, 'b' in row 2 of {two}"
    ):
        expand([one, two])
    near = table(tmp_path / "near.csv", {"path": film, "time": 2.502, "label": "b"})
    with pytest.raises(InputError, match=r"has two labels at 2\.502 s: 'a' and 'b'"):
        expand([one, near])
    root = write_pictures(tmp_path / "pics", 1, 1)
    (root / "metadata.csv").write_text("file_name,label\nclip0/0.png,a\nclip0/0.png,b\n")
    with pytest.raises(InputError, match="has two labels"):
        expand([root])
    # What says nothing contradicts nothing, and what says the same is one.
    (root / "metadata.csv").write_text("file_name,label\nclip0/0.png,a\nclip0/0.png,\nclip0/0.png,a\n")
    assert [source.label for source in expand([root, root / "clip0" / "0.png"]).sources] == ["a"]
    assert len(expand([film, one]).sources) == 1


def test_an_exported_folder_holds_the_parts_themselves(tmp_path: Path):
    root = write_pictures(tmp_path / "pics", 1, 2)
    cut = ingested(tmp_path / "cut", root, patches=True, blank=0.0)
    rows = table(tmp_path / "labels.csv", *({"id": row["id"], "label": "ab"[n % 2]} for n, row in enumerate(cut[:4])))
    run = winnow.Run(tmp_path / "cut")
    run.import_labels(rows, classes=["a", "b"])
    run.export_labels(tmp_path / "out")
    back = ingested(tmp_path / "back", tmp_path / "out")
    assert sorted(row["label"] for row in back) == ["a", "a", "b", "b"] and {row["box"] for row in back} == {None}


# ---- tracks


def crops(folder: Path, groups: int = 6, each: int = 4) -> list[dict[str, Any]]:
    """Draw crops of two tracks a group, "1" of stripes and "2" of blocks; the first of each has a label in the first four groups."""
    rng, rows = np.random.default_rng(0), []
    for group in range(groups):
        for number in range(each):
            for track, kind, draw in (("1", "stripe", stripes), ("2", "block", blocks)):
                path = folder / f"{group}-{number}-{track}.png"
                Image.fromarray(draw(rng, size=16)).save(path)
                label = kind if number == 0 and group < 4 else ""
                rows.append({"path": path.name, "group": f"g{group}", "track": track, "label": label})
    return rows


def test_the_tracks_of_a_list_are_those_of_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "PART_PICTURES", 3)  # tracks run over several parts
    rows = [*crops(tmp_path, groups=2), {"path": "0-0-1.png", "group": "g0"}]  # named again, and nothing else said
    alone = {"path": "alone.png", "group": "g0"}
    Image.fromarray(stripes(np.random.default_rng(9), size=16)).save(tmp_path / "alone.png")
    for name in ("list.csv", "list.jsonl", "list.parquet"):
        listing = tmp_path / name
        if name.endswith("csv"):
            table(listing, *rows, alone)
        elif name.endswith("jsonl"):
            listing.write_text("".join(json.dumps(row) + "\n" for row in (*rows, alone)))
        else:
            pq.write_table(pa.Table.from_pylist([*rows, alone]), listing)
        found = ingested(tmp_path / name.replace(".", "-"), listing)
        first: dict[tuple[str, str], str] = {}
        for item, row in zip(found, (*rows[:-1], alone), strict=True):
            key = (row["group"], row.get("track", ""))
            assert item["track"] == (first.setdefault(key, item["id"]) if key[1] else None)
        assert len(first) == 4
    table(tmp_path / "other.csv", {"path": "0-0-1.png", "track": "2"})
    with pytest.raises(InputError, match="has two tracks: '1' in row 2"):
        expand([tmp_path / "list.csv", tmp_path / "other.csv"])


def test_a_track_of_frames_and_boxes_is_told_to_be_unread(tmp_path: Path, film: Path):
    picture = tmp_path / "picture.png"
    Image.fromarray(stripes(np.random.default_rng(0), size=16)).save(picture)
    whole = {"path": str(picture), "track": "1", "box": "", "time": ""}
    assert not expand([table(tmp_path / "whole.csv", whole)]).notes
    box, frame = {**whole, "box": "0,0,9,9"}, {**whole, "path": str(film), "time": "1.0"}
    one = expand([table(tmp_path / "one.csv", box)]).notes
    assert one == [
        f"{tmp_path / 'one.csv'}: 1 row of a video, frame or box names a track, which is read of whole pictures alone."
    ]
    (two,) = expand([table(tmp_path / "two.csv", box, frame)]).notes
    assert "2 rows of videos, frames or boxes name a track" in two


def test_a_tracks_name_that_changes_in_the_list_changes_in_the_pool(tmp_path: Path):
    rows = crops(tmp_path, groups=1)
    ingested(tmp_path / "run", table(tmp_path / "list.csv", *rows))
    before = Pool.open(tmp_path / "run" / "pool").table_fingerprint
    rows[-1]["track"] = "3"
    found = ingested(tmp_path / "run", table(tmp_path / "list.csv", *rows))
    assert found[-1]["track"] == found[-1]["id"] and len({item["track"] for item in found}) == 3
    assert Pool.open(tmp_path / "run" / "pool").table_fingerprint != before


def test_listed_tracks_are_chosen_labelled_held_out_and_judged_as_one(tmp_path: Path):
    rows = crops(tmp_path)
    run = winnow.Run(tmp_path / "run", **SMALL, duplicate_distance=0.0, outliers=0.0)
    run.ingest(table(tmp_path / "list.csv", *rows))
    run.train()
    run.encode()
    run.calibrate()
    run.select(4)
    with (tmp_path / "run" / "selection.csv").open() as file:
        chosen = [(row["group"], row["track"]) for row in csv.DictReader(file)]
    assert {group for group, _ in chosen} == {"g4", "g5"} and len(set(chosen)) == 4  # one of each that has no label
    done = run.classify()
    assert done.labelled == 8 and done.by_track is not None
    new = table(tmp_path / "new.csv", *({**row, "label": ""} for row in rows))
    run.predict(new, to=tmp_path / "told", by="track")
    with (tmp_path / "told" / "predictions.csv").open() as file:
        told = list(csv.DictReader(file))
    assert len({(row["track"], row["class"]) for row in told}) == 12 and all(row["track"] for row in told)
    rows[3]["label"] = "stripe"  # of the second crop of a track whose first is a block
    assert run.classify(labels=table(tmp_path / "labels.csv", *rows)).to_check
    with (tmp_path / "run" / "classifier" / "tracks-to-check.csv").open() as file:
        checked = list(csv.DictReader(file))
    assert checked[0]["why"] == "labelled block and stripe" and Path(checked[0]["source"]).name == "0-0-2.png"
    assert all(row["from"] == row["to"] == "" for row in checked)  # pictures have no time
    assert {row["turns"] for row in checked} <= {"", *(row["path"] for row in rows)}
    pool = Pool.open(tmp_path / "run" / "pool")
    (section,) = classifier_sections(run.folder, pool, OwnPictures(run.folder, pool))
    strips = [one for one in section.galleries if one.title.startswith("Track to check: ")]
    assert strips[0].title == "Track to check: 0-0-2.png"
    assert [card.name for card in strips[0].cards] == [f"0-{number}-2.png" for number in range(4)]
