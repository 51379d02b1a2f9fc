"""Cutting pictures into patches and putting what is known of them back."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from winnow.errors import InputError, RunError
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.patches import blend, boxes_of, cut, damaged_pixels, grid, picture_of, read_boxes, write_box
from winnow.pool.pool import Pool

from videos import picture, write

CUT = IngestOptions(size=(16, 16), grey=True, patches=True)


def cloth(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (height, width), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good").mkdir()
    for number in range(3):
        Image.fromarray(cloth(40, 70, number)).save(tmp_path / "good" / f"Köper {number}.png")
    return tmp_path / "good"


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (64, 33), (100, 16)])
@pytest.mark.parametrize("stride", [0, 5, 16, 100])
def test_a_grid_covers_every_pixel_that_the_stride_lets_it(size, stride):
    tops, lefts = grid(size, (16, 16), stride)
    covered = np.zeros(size, int)
    for top in tops:
        for left in lefts:
            assert top + 16 <= size[0] and left + 16 <= size[1]
            covered[top : top + 16, left : left + 16] += 1
    if stride <= 16:
        assert covered.min() >= 1
    assert covered[0, 0] >= 1 and covered[-1, -1] >= 1


def test_a_grid_of_a_picture_smaller_than_a_patch_is_empty():
    assert [len(edges) for edges in grid((15, 100), (16, 16))] == [0, 0]


def test_patches_are_the_pixels_of_their_boxes():
    picture = cloth(50, 41)[..., None]
    boxes, blank = boxes_of(picture, (16, 12), 7)
    assert blank == 0 and len(boxes) == 6 * 6 and set(map(tuple, boxes[:, 2:])) == {(12, 16)}
    for patch, (x, y, width, height) in zip(cut(picture, boxes), boxes, strict=True):
        assert np.array_equal(patch, picture[y : y + height, x : x + width])


def test_blank_margins_are_dropped_and_holes_are_kept():
    picture = cloth(64, 160)[..., None]
    picture[:, :40] = 250
    picture[16:32, 96:112] = 30
    boxes, blank = boxes_of(picture, (16, 16))
    assert blank == 4 * 3 and boxes[:, 0].min() == 48
    assert [96, 16, 16, 16] in boxes.tolist()
    assert len(boxes_of(picture, (16, 16), blank=0)[0]) == 40
    upright = boxes_of(picture.transpose(1, 0, 2), (16, 16))[0]
    assert sorted(map(tuple, upright[:, [1, 0]])) == sorted(map(tuple, boxes[:, :2]))


@pytest.mark.parametrize(("border", "first"), [(0, 48), (1, 64), (16, 64), (17, 80)])
def test_a_border_drops_patches_close_to_a_blank_one(border, first):
    picture = cloth(64, 160)[..., None]
    picture[:, :40] = 250
    boxes, blank = boxes_of(picture, (16, 16), border=border)
    assert boxes[:, 0].min() == first and len(boxes) + blank == 40
    assert len(boxes_of(cloth(64, 160)[..., None], (16, 16), border=border)[0]) == 40


@pytest.mark.parametrize(("lines", "dropped"), [(2, 0), (3, 1)])
def test_a_patch_is_blank_from_the_third_blank_column_of_64_on(lines, dropped):
    picture = cloth(64, 64)[..., None]
    picture[:, :lines] = 128
    assert boxes_of(picture, (64, 64))[1] == dropped


def test_the_level_of_blankness_counts_grey_levels():
    faint = (128 + np.random.default_rng(0).normal(0, 5, (64, 64, 1))).astype(np.uint8)
    assert boxes_of(faint, (64, 64), blank=3.0)[1] == 0
    assert boxes_of(faint, (64, 64), blank=8.0)[1] == 1


def test_mask_pixels_are_counted_a_box():
    mask = np.zeros((32, 32), bool)
    mask[10:20, 14:18] = True
    boxes = boxes_of(cloth(32, 32)[..., None], (16, 16))[0]
    assert dict(zip(map(write_box, boxes), damaged_pixels(mask, boxes).tolist(), strict=True)) == {
        "0,0,16,16": 12,
        "16,0,16,16": 12,
        "0,16,16,16": 8,
        "16,16,16,16": 8,
    }


def test_blending_keeps_values_that_agree_and_is_smooth_where_they_do_not():
    whole = np.add.outer(np.arange(48.0), np.arange(80.0))
    boxes = boxes_of(cloth(48, 80)[..., None], (16, 16), 8)[0]
    assert np.allclose(blend(cut(whole, boxes), boxes, (48, 80)), whole)
    steps = np.stack([np.full((16, 16), float(number)) for number in range(len(boxes))])
    side_by_side = boxes_of(cloth(16, 64)[..., None], (16, 16), 16)[0]
    overlapping = boxes_of(cloth(16, 64)[..., None], (16, 16), 8)[0]
    jumps = [np.abs(np.diff(blend(steps[: len(b)], b, (16, 64)), axis=1)).max() for b in (side_by_side, overlapping)]
    assert jumps[0] == 1 and jumps[1] < 0.3


def test_places_without_a_patch_are_zero():
    assert blend(np.ones((1, 4, 4)), np.array([[2, 0, 4, 4]]), (4, 8)).sum() == 16


def test_boxes_and_ids_are_read_as_written():
    boxes = np.array([[0, 5, 16, 12], [3, 4, 5, 6]])
    assert np.array_equal(read_boxes([write_box(box) for box in boxes]), boxes)
    assert read_boxes([]).shape == (0, 4)
    assert picture_of(["a#0,0,4,4", "v.mp4@1.000#4,0,4,4", "b"]).tolist() == ["a", "v.mp4@1.000", "b"]


def test_patches_go_into_the_pool_with_picture_and_place(folder, tmp_path):
    result = ingest([folder], tmp_path / "pool", CUT)
    pool = Pool.open(tmp_path / "pool")
    assert (result.pictures, result.patches, len(pool)) == (3, 3 * 3 * 5, 45)
    assert len(set(pool.column("group"))) == 3
    for row in (0, 17, 44):
        picture = np.asarray(Image.open(pool.column("source")[row]))
        x, y, width, height = read_boxes([pool.column("box")[row]])[0]
        assert np.array_equal(pool.pixels([row])[0, ..., 0], picture[y : y + height, x : x + width])
        assert pool.column("id")[row].endswith(f"#{x},{y},{width},{height}")
    about = pool.pictures.to_pylist()
    assert [(row["width"], row["height"], row["patches"], row["blank"], row["colour"]) for row in about] == [
        (70, 40, 15, 0, False)
    ] * 3


def test_every_option_of_cutting_changes_the_pool(folder, tmp_path):
    edged = cloth(40, 70)
    edged[:, :20] = 10
    Image.fromarray(edged).save(folder / "edged.png")
    sizes = {}
    for name, options in {
        "plain": {},
        "stride": {"stride": 8},
        "blank": {"blank": 0.0},
        "size": {"size": (20, 20)},
    }.items():
        sizes[name] = ingest([folder], tmp_path / name, CUT.model_copy(update=options)).patches
    assert len(set(sizes.values())) == 4
    with pytest.raises(RunError, match="--stride 8"):
        ingest([folder], tmp_path / "plain", CUT.model_copy(update={"stride": 8}))


def test_a_group_given_in_a_list_stays(folder, tmp_path):
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "group"), *((path, "roll 7") for path in sorted(folder.iterdir()))])
    ingest([tmp_path / "list.csv"], tmp_path / "pool", CUT)
    assert set(Pool.open(tmp_path / "pool").column("group")) == {"roll 7"}


def test_colour_is_noted(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "c.png")
    Image.fromarray(cloth(32, 32)).save(tmp_path / "g.png")
    ingest([tmp_path / "c.png", tmp_path / "g.png"], tmp_path / "pool", CUT.model_copy(update={"grey": False}))
    assert Pool.open(tmp_path / "pool").pictures.column("colour").to_pylist() == [True, False]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (cloth(15, 40), "it is 40x15 pixels, smaller than a patch of 16x16 (--size)"),
        (np.full((40, 40), 200, np.uint8), "all its 9 patches are blank (--blank 0 keeps them)"),
    ],
)
def test_pictures_without_a_patch_are_refused_with_the_reason(folder, tmp_path, picture, reason):
    Image.fromarray(picture).save(folder / "bad.png")
    options = CUT.model_copy(update={"max_refused": 0.5})
    assert ingest([folder], tmp_path / "pool", options).refused == 1
    assert reason in (tmp_path / "pool" / "quarantine.csv").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.png"):
        ingest([folder / "bad.png"], tmp_path / "alone", options)


def test_frames_of_a_video_are_cut_too(tmp_path):
    write(tmp_path / "line.mp4", [picture(number, 48, 64) for number in range(75)])
    result = ingest([tmp_path / "line.mp4"], tmp_path / "pool", CUT.model_copy(update={"blank": 0.0}))
    pool = Pool.open(tmp_path / "pool")
    assert (result.frames, result.patches) == (3, len(pool)) and len(pool) == 3 * 12
    assert len(set(picture_of(pool.column("id")))) == 3 and set(pool.column("time")) == {0.0, 1.0, 2.0}


def test_an_interrupted_ingest_of_patches_ends_with_the_same_pool(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("winnow.pool.plan.PART_CUT", 1)
    ingest([folder], tmp_path / "whole", CUT)
    ingest([folder], tmp_path / "killed", CUT)
    for name in ("pool.json", "items.parquet", "pictures.parquet", "parts/00001.json", "pixels-00001.npy"):
        (tmp_path / "killed" / name).unlink()
    ingest([folder], tmp_path / "killed", CUT)
    one, other = (Pool.open(tmp_path / name) for name in ("whole", "killed"))
    assert one.fingerprint == other.fingerprint and one.items == other.items and one.pictures == other.pictures


def test_blank_frames_are_left_out_and_reported(tmp_path):
    """Between two rolls the camera sees nothing: the frames after it must not be lost."""
    frames = [
        np.full((48, 64, 3), 90, np.uint8) if second in (2, 3) else picture(second, 48, 64) for second in range(6)
    ]
    write(tmp_path / "line.mkv", frames, codec="ffv1", form="yuv444p", rate=1)
    result = ingest([tmp_path / "line.mkv"], tmp_path / "pool", CUT.model_copy(update={"blank": 1.0}))
    assert set(Pool.open(tmp_path / "pool").column("time")) == {0.0, 1.0, 4.0, 5.0}
    assert (result.frames, result.refused) == (4, 0)
    assert "1 file was read only in part" in result.notes[0]
    with (tmp_path / "pool" / "quarantine.csv").open(encoding="utf-8") as file:
        reason = next(csv.DictReader(file))["reason"]
    assert reason == "at 2.000 s all its 12 patches are blank (--blank 0 keeps them); so 2 frames are left out"
    write(tmp_path / "empty.mkv", [frames[2]] * 3, codec="ffv1", form="yuv444p", rate=1)
    with pytest.raises(InputError, match=r"empty\.mkv: at 0\.000 s all its"):
        ingest([tmp_path / "empty.mkv"], tmp_path / "none", CUT)
