"""classify, predict, select and the report on persons who were followed through small films."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_classify_step import weights  # noqa: F401
from test_people import scene

import winnow
from winnow import show
from winnow.errors import OptionError
from winnow.objects import tracks
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.scale.shards import Share
from winnow.steps.report.classifier import classifier_sections
from winnow.steps.report.pictures import OwnPictures
from winnow.steps.shards import join, share_judging

from tiny_detectors import BLUE, write_yolox
from videos import write

pytestmark = pytest.mark.slow

GREEN, GREY = (30, 200, 40), (130, 130, 130)
FRAMES = 7


def person(picture: np.ndarray, x: int, y: int, kind: str) -> None:
    """Draw a person, 8x8 of blue, beside whom the ground is green or grey in the crop of 16x16 that is found."""
    picture[y - 4 : y + 12, max(x - 4, 0) : x + 12] = GREEN if kind == "staff" else GREY
    picture[y : y + 8, x : x + 8] = BLUE


def film(path: Path, seed: int, kinds: tuple[str, str] = ("staff", "customer"), turns: bool = False) -> Path:
    """A film of two persons who walk past one another, above and below; `turns`: the first is another one in the second half."""
    rng, frames = np.random.default_rng(seed), []
    for number in range(FRAMES):
        picture = scene(seed=seed * 100 + number)
        x = 8 * number
        other = {"staff": "customer", "customer": "staff"}[kinds[0]]
        person(picture, x, 8, other if turns and number >= FRAMES // 2 else kinds[0])
        person(picture, 48 - x, 40, kinds[1])
        frames.append(np.clip(picture + rng.integers(-15, 15, picture.shape), 0, 255).astype(np.uint8))
    return write(path, frames, codec="ffv1", form="bgr0", rate=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:  # noqa: F811
    """A run of six films, of which one shows two persons as one track, in the folder `in`."""
    folder = tmp_path_factory.mktemp("shop")
    write_yolox(folder / "yolox.onnx")
    for number in range(6):
        kinds = ("staff", "customer") if number % 2 else ("customer", "staff")
        film(folder / "in" / f"{number}.mkv", number, kinds, turns=number == 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "LOOK", 1.0)  # two who look different are one at the same place
        begun(folder / "run", folder, weights)
    return folder


def begun(path: Path, folder: Path, weights: Path) -> winnow.Run:  # noqa: F811
    """Return a run of the films, ready for labels."""
    run = winnow.Run(
        path, "oneclass", size=(32, 32), backbone="squeezenet1_1", weights=weights, people=True, margin=0.0, every=0.1,
        object_detector=str(folder / "yolox.onnx"), duplicate_seconds=0.0, duplicate_distance=0.0, outliers=0.0,
    )  # fmt: skip
    run.ingest(folder / "in")
    run.train()
    run.encode()
    run.calibrate()
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> winnow.Run:
    return winnow.Run(shutil.copytree(made / "run", tmp_path / "run"))


def pool_of(run: winnow.Run) -> Pool:
    return Pool.open(run.folder.folder("ingest"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kind_of(pool: Pool, row: int) -> str:
    pixels = pool.pixels([row])[0]
    return "staff" if pixels[0, 0, 1] > pixels[0, 0, 0] + 60 else "customer"


def labels_of(run: winnow.Run, path: Path, crops: int = 1) -> Path:
    """A CSV of the class of the first crops of each track."""
    pool, seen = pool_of(run), {}
    rows = []
    for row, (name, track) in enumerate(zip(pool.column("id"), pool.column("track"), strict=True)):
        seen[track] = seen.get(track, 0) + 1
        if seen[track] <= crops:
            rows.append((name, kind_of(pool, row)))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *rows])
    return path


def test_a_label_counts_for_its_track_unless_that_is_not_wanted(run: winnow.Run, tmp_path: Path):
    assert len(set(pool_of(run).column("track"))) == 12
    labels = labels_of(run, tmp_path / "labels.csv")
    found = run.classify(labels=labels)
    assert found.labelled == 12 and "The labels of 12 tracks count for all 84 crops of them." in found.notes
    assert found.by_track is not None and found.by_track.says in show.classify(found, run.folder.path)
    (split,) = table(tmp_path / "run" / "classifier" / "tracks-to-check.csv")
    assert found.to_check == 1 and found.checks in show.classify(found, run.folder.path)
    assert split["source"].endswith("5.mkv") and split["why"] == "turns" and split["crops"] == str(FRAMES)
    assert float(split["turns"]) == pytest.approx(0.3, abs=0.11) and {split["before"], split["after"]} == {
        "staff",
        "customer",
    }
    learnt = run.folder.path / "classifier" / "classifier.npz"
    before = learnt.read_bytes()
    without = winnow.Run(tmp_path / "run", tracks=False).classify(labels=labels)
    assert without.by_track is None and without.to_check == 0 and learnt.read_bytes() != before
    assert not (learnt.parent / "tracks-to-check.csv").exists()


def test_contradicting_labels_are_said_and_listed(run: winnow.Run, tmp_path: Path):
    found = run.classify(labels=labels_of(run, tmp_path / "labels.csv", crops=FRAMES))
    assert found.labelled == 84
    assert any("The labels of 1 track contradict one another" in note for note in found.notes)
    split = table(tmp_path / "run" / "classifier" / "tracks-to-check.csv")
    assert split[0]["why"] == "labelled customer and staff"


def test_the_report_shows_the_tracks_to_check(run: winnow.Run, tmp_path: Path):
    found = run.classify(labels=labels_of(run, tmp_path / "labels.csv"))
    pool = pool_of(run)
    (section,) = classifier_sections(run.folder, pool, OwnPictures(run.folder, pool))
    assert found.checks in section.text and found.by_track.says in section.text
    assert "Tracks to check" in [one.title for one in section.tables]
    strips = [one for one in section.galleries if one.title.startswith("Track to check: ")]
    assert strips and all(card.name.endswith(" s") for strip in strips for card in strip.cards)


def test_predictions_by_track_are_the_means_of_those_by_crop(run: winnow.Run, tmp_path: Path):
    run.classify(labels=labels_of(run, tmp_path / "labels.csv"))
    new = [film(tmp_path / "new" / f"{number}.mkv", 20 + number) for number in range(2)]
    run.predict(new, to=tmp_path / "crops")
    counts = run.predict(new, to=tmp_path / "tracks", by="track")
    crops, voted = (table(tmp_path / name / "predictions.csv") for name in ("crops", "tracks"))
    assert [row["track"] for row in crops] == [row["track"] for row in voted] and len(
        {row["track"] for row in crops}
    ) == 4
    for row in voted:
        own = [float(one["p_staff"]) for one in crops if one["track"] == row["track"]]
        assert float(row["p_staff"]) == pytest.approx(np.mean(own), abs=1e-4) and len(own) == FRAMES
        assert row["class"] == ("staff" if np.mean(own) > 0.5 else "customer")
    assert sum(counts.classes.values()) == len(voted)
    folder = RunFolder.open(run.folder.path)
    for index in (0, 1):
        share_judging(folder, "predict", new, tmp_path / "shares", Share(index, 2), by="track")
    join(str(tmp_path / "shares"))
    assert (tmp_path / "shares" / "predictions.csv").read_bytes() == (
        tmp_path / "tracks" / "predictions.csv"
    ).read_bytes()


def test_by_track_is_refused_where_no_crop_can_have_one(made: Path, run: winnow.Run, tmp_path: Path):
    run.classify(labels=labels_of(run, tmp_path / "labels.csv"))
    slow = write(
        tmp_path / "slow.mkv", [scene((8, 8, BLUE), seed=k) for k in range(4)], codec="ffv1", form="bgr0", rate=1
    )
    assert any("changed nothing" in note for note in run.predict(slow, to=tmp_path / "slow", by="track").notes)
    for options, said in (
        ({"every": 1.0}, "a frame every 1 s"),
        ({"keyframes": True}, "key frames"),
        ({"people": False}, "whole pictures"),
    ):
        from winnow.options import IngestOptions
        from winnow.run.predictions import check_by

        with pytest.raises(OptionError, match=said):
            check_by("track", IngestOptions(**{"people": True, "every": 0.1, **options}), ["film.mkv"])


def test_an_exported_file_votes_too(run: winnow.Run, made: Path, tmp_path: Path):
    from winnow.steps.predict_onnx import predict_onnx

    run.classify(labels=labels_of(run, tmp_path / "labels.csv"))
    run.export(tmp_path / "file.onnx")
    new = [film(tmp_path / "new.mkv", 20)]
    run.predict(new, to=tmp_path / "run-says", by="track")
    predict_onnx(
        tmp_path / "file.onnx", new, to=tmp_path / "file-says", object_detector=str(made / "yolox.onnx"), by="track"
    )
    ours, theirs = (table(tmp_path / name / "predictions.csv") for name in ("run-says", "file-says"))
    assert [(row["id"], row["track"], row["class"]) for row in ours] == [
        (row["id"], row["track"], row["class"]) for row in theirs
    ]


def test_one_crop_of_each_track_is_chosen_first(run: winnow.Run, tmp_path: Path):
    pool = pool_of(run)
    track = dict(zip(pool.column("id"), pool.column("track"), strict=True))
    found = run.select(12)
    rows = table(tmp_path / "run" / "selection.csv")
    assert len({row["track"] for row in rows}) == 12 and all(row["track"] == track[row["id"]] for row in rows)
    assert sum(int(row["stands_for"]) for row in rows) >= 12
    assert not any("further crops" in note for note in found.notes)
    first = (tmp_path / "run" / "selection.csv").read_bytes()
    more = run.select(20)
    assert (tmp_path / "run" / "selection.csv").read_bytes().startswith(first)
    assert "The last 8 are further crops of tracks that are listed or labelled: no other track was left." in more.notes


def test_a_labelled_crop_covers_its_track(run: winnow.Run, tmp_path: Path):
    pool = pool_of(run)
    with (tmp_path / "some.csv").open("w", encoding="utf-8", newline="") as file:
        some = [0, 30, 60]
        csv.writer(file).writerows([("id", "label"), *((pool.column("id")[row], "staff") for row in some)])
    run.select(9, also=tmp_path / "some.csv")
    chosen = {row["track"] for row in table(tmp_path / "run" / "selection.csv")}
    assert len(chosen) == 9 and chosen.isdisjoint(set(pool.column("track")[some]))


def test_a_run_without_tracks_goes_on_as_ever(made: Path, weights: Path, tmp_path: Path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tracks, "LONGEST_STEP", 0.0)
    run = begun(tmp_path / "run", made, weights)
    rows = list(enumerate(pool_of(run).column("id")))[::5]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((name, kind_of(pool_of(run), row)) for row, name in rows)])
    found = run.classify(labels=tmp_path / "labels.csv")
    assert found.by_track is None and not any("track" in note for note in found.notes)
    assert not (tmp_path / "run" / "classifier" / "tracks-to-check.csv").exists()
    run.select(5)
    assert "track" not in (tmp_path / "run" / "selection.csv").read_text().splitlines()[0]
    run.predict(film(tmp_path / "new.mkv", 20), to=tmp_path / "new")
    assert "track" not in table(tmp_path / "new" / "predictions.csv")[0]
