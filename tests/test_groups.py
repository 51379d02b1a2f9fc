"""Near-identical pictures of two groups are found, and their groups held out as one; splits that the user names hold."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import f1_score

import winnow
from winnow.classify.folds import deal, follow
from winnow.detect.scorer import folds_of
from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool
from winnow.pool.splits import TORN, assign, blocks, folds
from winnow.pool.twins import joined, look_of, looks_of, twins
from winnow.steps.classify import _on_apart

from conftest import stripes
from videos import write


def scene(seed: int, size: int = 96) -> Image.Image:
    """A picture unlike any other: clouds of colour."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def part(rng: np.random.Generator) -> np.ndarray:
    """A good part on a fixture: the same ring at the same place, under light that wavers, with the noise of a camera."""
    y, x = np.mgrid[:96, :96] - 48 - rng.normal(0, 0.5, (2, 1, 1))
    ring = np.where(np.hypot(x, y) < 30, 60 + 20 * np.cos(np.hypot(x, y) / 3), 200) * rng.normal(1, 0.01)
    return (ring[..., None] + rng.normal(0, 3, (96, 96, 3))).clip(0, 255).astype(np.uint8)


def pooled(folder: Path, *inputs: Path, **options: object) -> tuple[winnow.Ingested, Pool]:
    found = ingest(list(inputs), folder / "pool", IngestOptions(size=(64, 64), **options))  # type: ignore[arg-type]
    return found, Pool.open(folder / "pool")


def groups_of(pool: Pool) -> dict[str, str]:
    """Return the joined group of each group, by the names of their files or folders."""
    names = zip(pool.column("group"), pool.column("joined"), strict=True)
    return {Path(group).name: Path(joined).name for group, joined in names}


def test_the_same_picture_saved_again_is_found_and_a_part_on_the_same_fixture_is_not():
    rng = np.random.default_rng(0)
    pictures = [scene(seed) for seed in range(30)]
    soft = [
        picture.resize((40, 40)).filter(ImageFilter.GaussianBlur(0.6)).resize((96, 96)) for picture in pictures[:12]
    ]
    looks = looks_of([look_of(np.asarray(picture)) for picture in [*pictures, *soft]])
    np.testing.assert_array_equal(twins(looks), [*range(30), *range(12)])
    alike = looks_of([look_of(part(rng)) for _ in range(120)])
    assert (twins(alike) == np.arange(120)).mean() > 0.95
    striped = looks_of(
        [look_of(stripes(rng)) for _ in range(240)]
    )  # they differ in nothing but where the stripes begin
    assert (twins(striped) == np.arange(240)).mean() > 0.9
    assert len(set(joined(np.arange(240) // 40, twins(striped)))) == 6


def test_many_copies_of_one_are_found_and_what_shows_nothing_is_nobodys():
    pictures = [scene(seed) for seed in range(8)]
    looks = [look_of(np.asarray(picture.resize((side, side)))) for side in (96, 64, 56, 48, 40) for picture in pictures]
    np.testing.assert_array_equal(twins(looks_of(looks)), np.arange(40) % 8)
    dark = [look_of(np.full((32, 32, 1), level, np.uint8)) for level in (0, 0, 128)]
    assert dark == ["", "", ""]
    np.testing.assert_array_equal(twins(looks_of(dark)), [0, 1, 2])


def test_an_index_finds_what_comparing_all_finds(monkeypatch):
    looks = looks_of([look_of(np.asarray(scene(seed % 150, 96 if seed < 150 else 48))) for seed in range(300)])
    found = twins(looks)
    np.testing.assert_array_equal(found, np.arange(300) % 150)
    monkeypatch.setattr("winnow.pool.twins.COMPARED", 100)
    np.testing.assert_array_equal(twins(looks), found)


def test_a_title_that_every_video_shows_does_not_make_them_one():
    groups = np.repeat(["a", "b", "c"], 20)
    title = np.arange(60)
    title[[0, 20, 40]] = 0
    assert len(set(joined(groups, title))) == 3
    title[20:26] = np.arange(6)
    assert list(np.unique(joined(groups, title))) == ["a", "c"]


def test_clips_copied_or_encoded_again_are_one_group_with_the_first(tmp_path: Path):
    clips, small = tmp_path / "clips", tmp_path / "clips" / "small"
    small.mkdir(parents=True)
    for number in range(6):
        frames = [np.asarray(scene(10 * number + second)) for second in range(4)]
        write(clips / f"{number}.mp4", frames, rate=1)
        write(
            small / f"{number}.mp4", [np.asarray(Image.fromarray(frame).resize((48, 48))) for frame in frames], rate=1
        )
    shutil.copy(clips / "0.mp4", clips / "0 (1).mp4")
    found, pool = pooled(tmp_path, clips)
    assert (found.groups, found.joined, found.copies, found.alike) == (13, 6, 4, 24)
    assert groups_of(pool)["0 (1).mp4"] == groups_of(pool)["0.mp4"]
    copied = [
        name
        for name in set(pool.column("group"))
        if (pool.column("status")[pool.column("group") == name] == "copy").all()
    ]
    assert copied in ([str(clips / "0.mp4")], [str(clips / "0 (1).mp4")])
    for number in range(6):
        own = [Path(name).name == f"{number}.mp4" for name in pool.column("group")]
        assert len(set(pool.column("joined")[own])) == 1 and len(set(pool.column("group")[own])) == 2
    assert any(
        "24 of 52 pictures are near-identical" in note and "13 groups count as 6" in note for note in found.notes
    )


def saved_twice(folder: Path, count: int) -> Path:
    """A list of pictures that are groups of their own, and of the same saved again at another quality and size."""
    folder.mkdir()
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "group"))
        for number in range(count):
            scene(number).save(folder / f"{number}.png")
            scene(number).resize((72, 72)).save(folder / f"again-{number}.jpg", quality=50)
            rows.writerows((folder / name, name) for name in (f"{number}.png", f"again-{number}.jpg"))
    return folder / "list.csv"


def test_no_hold_out_parts_a_picture_from_itself_saved_again(tmp_path: Path):
    run = winnow.Run(tmp_path / "run", "oneclass-from-scratch", size=(32, 32), width=4, latent=4, iterations=2)
    run.ingest(saved_twice(tmp_path / "pics", 40))
    run.train()
    run.encode()
    run.calibrate()
    found, detector = run.embeddings, run.detector
    assert len(found) == 80 and len(set(found.groups)) == 40
    for held in (found.seen, folds_of(found, 10)):
        assert all(len(set(held[found.groups == group])) == 1 for group in set(found.groups))
    assert len(set(detector.groups)) * 2 == len(detector.ids)
    labels = np.where(np.arange(80) // 2 % 2, "one", "two").astype(object)
    classifier = winnow.Classifier(folds=5).fit(found.vectors, labels, found.groups, twins=found.twins)
    fold = classifier.held_out.fold
    assert all(len(set(fold[found.groups == group])) == 1 for group in set(found.groups))


def test_in_a_folder_of_its_own_a_picture_is_held_out_with_its_copy(tmp_path: Path):
    again = saved_twice(tmp_path / "pics", 24)
    again.unlink()
    found, pool = pooled(tmp_path, tmp_path / "pics")
    assert (found.groups, found.joined, found.alike) == (1, 1, 24)
    twin = pool.column("twin")
    split = assign(pool.column("joined"), 0, 0.1, 0.25, twins=twin).split
    assert set(split) == {"train", "validate", "calibrate"}
    target = np.arange(48) % 2
    dealt = deal(target, np.array([f"class {kind}" for kind in target]), ("0", "1"), 5, twins=twin)
    for held in (split, folds(pool.column("joined"), 5, twins=twin), dealt.fold):
        same = [len(set(held[(twin == name) & (target == kind)])) for name in set(twin) for kind in (0, 1)]
        assert max(same) == 1 and len(set(held)) > 1


def test_an_unlabelled_copy_is_in_the_fold_of_the_labelled_one():
    groups, twin = np.array(["a"] * 8), np.array(["w", "x", "y", "z", "z", "y", "x", "w"])
    dealt = deal(np.array([0, 1, 0, 1]), groups[:4], ("0", "1"), 2, twins=twin[:4])
    fold = follow(dealt, np.arange(4), groups, twins=twin)
    np.testing.assert_array_equal(fold[4:], fold[3::-1])


def test_blocks_keep_copies_together_unless_all_is_one_scene():
    units = np.zeros(40, int)
    twin = np.concatenate([np.arange(20), np.arange(20)])
    cut = blocks(units, twin, 10)
    np.testing.assert_array_equal(cut[:20], cut[20:])
    assert len(set(cut)) == 10
    assert len(set(blocks(units, np.zeros(40, int), 10))) == 10


def test_six_groups_are_six_folds_and_none_is_cut():
    groups = np.repeat([f"clip {number}" for number in range(6)], 20)
    fold = folds_of(Embeddings.of(np.zeros((120, 2)), groups=groups), 10)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups)) and len(set(fold)) == 6


def test_copies_follow_the_split_that_the_user_gave_and_torn_ones_are_told():
    groups = np.arange(12).astype(str)
    given = np.array(["train", "test", "calibrate", *[""] * 9], object)
    twin = np.array([0, 1, 2, 0, 1, 2, 6, 7, 8, 9, 10, 11])
    found = assign(groups, 0, 0.1, 0.25, given, twins=twin)
    assert found.split[:6].tolist() == ["train", "test", "calibrate"] * 2 and not found.note
    given[3] = "calibrate"
    torn = assign(groups, 0, 0.1, 0.25, given, twins=twin)
    assert torn.split[3] == "calibrate" and TORN.format(1, "calibrate") in torn.note


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    """A run of a frozen kind of network whose pictures the user split: 40 train, 20 calibrate, 20 validate."""
    folder = tmp_path_factory.mktemp("named")
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for number in range(80):
            scene(number).save(folder / f"{number}.png")
            split = "train" if number < 40 else "calibrate" if number < 60 else "validate"
            rows.writerow((folder / f"{number}.png", "ab"[number % 2], split))
    run = winnow.Run(
        folder / "run", "oneclass-from-scratch", size=(32, 32), width=4, latent=4, iterations=2, scorer="knn"
    )
    run.ingest(folder / "list.csv")
    run.train()
    run.encode()
    run.calibrate()
    return run


def given_as(run: winnow.Run, ids: object) -> set[str]:
    pool = Pool.open(run.folder.path / "pool")
    return set(pool.column("split")[pool.rows_of(ids)])  # type: ignore[arg-type]


def test_the_splits_that_the_user_names_hold_everywhere(named: winnow.Run):
    assert given_as(named, named.detector.ids) == {"calibrate"} and len(named.detector.ids) == 20
    assert len(named.detector.scorer.bank) == 60
    result = named.classify()
    assert result.labelled == 40
    with (named.folder.path / "classifier" / "labelled.csv").open(encoding="utf-8") as file:
        assert given_as(named, [row["id"] for row in csv.DictReader(file)]) == {"train"}
    assert any("Nothing was learnt from 40 labelled pictures given as 'validate'" in note for note in result.notes)
    chosen = named.select(10, method="typiclust")
    assert chosen.candidates <= 40 and any("40 pictures given as" in note for note in chosen.notes)
    with (named.folder.path / "selection.csv").open(encoding="utf-8") as file:
        assert given_as(named, [row["id"] for row in csv.DictReader(file)]) == {"train"}


def test_held_out_labels_of_some_classes_are_judged_by_these_alone():
    labels = np.array(["a", "a", "b", "new", ""], object)
    classes = np.array(["a", "b", "c", "d"], object)
    judge = SimpleNamespace(
        classes=classes, network=None, predict_proba=lambda vectors: np.eye(4)[vectors[:, 0].astype(int)]
    )
    pool, run = (
        SimpleNamespace(rows_of=len),
        SimpleNamespace(options=SimpleNamespace(train=SimpleNamespace(device="cpu"))),
    )
    apart = Embeddings.of(np.array([[0.0], [1.0], [1.0], [0.0], [0.0]]))
    (note,) = _on_apart(run, pool, judge, apart, labels)
    expected = f1_score(
        ["a", "a", "b"], ["a", "b", "b"], average="macro"
    )  # c and d, which no picture shows, do not count
    assert "4 labelled pictures given" in note and f"on the 3 of known classes macro F1 is {expected:.3f}" in note


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_a_handful_of_pictures_fails_before_the_training(tmp_path: Path, count: int):
    (tmp_path / "pics").mkdir()
    for number in range(count):
        scene(number).save(tmp_path / "pics" / f"{number}.png")
    run = winnow.Run(tmp_path / "run", "oneclass-from-scratch", size=(32, 32), width=4, latent=4, iterations=2)
    run.ingest(tmp_path / "pics")
    with pytest.raises(DataError, match=f"{count} pictures are too few"):
        run.train()
    assert not (tmp_path / "run" / "model").exists()


def test_pictures_that_show_nothing_or_always_the_same_are_told(tmp_path: Path):
    (tmp_path / "pics").mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / "pics" / f"black-{number}.png")
    rng = np.random.default_rng(0)
    still = [(np.asarray(scene(0)) + rng.normal(0, 1, (96, 96, 3))).clip(0, 255).astype(np.uint8) for _ in range(20)]
    write(tmp_path / "pics" / "still.mp4", still, rate=1)
    found, _ = pooled(tmp_path, tmp_path / "pics")
    assert (found.flat, found.still) == (4, 20)
    assert any("4 of 24 pictures show one even colour" in note for note in found.notes)
    assert any("20 of 24 pictures look the same" in note for note in found.notes)
    judged = ingest([tmp_path / "pics"], tmp_path / "judged", IngestOptions(size=(64, 64)), keep_others=False)
    assert (judged.flat, judged.still) == (4, 20) and not any("learn" in note for note in judged.notes)
    assert not any("look the same" in note for note in pooled(tmp_path / "other", *saved(tmp_path / "more"))[0].notes)


def saved(folder: Path) -> list[Path]:
    folder.mkdir()
    for number in range(8):
        scene(number).save(folder / f"{number}.png")
    return sorted(folder.iterdir())
