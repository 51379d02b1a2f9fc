"""Results of a call: in the order of its inputs, of this call alone, whole or not at all, and nothing else in the folder lost."""

from __future__ import annotations

import csv
import errno
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.errors import Damaged, InputError, OptionError, RunError
from winnow.results import Evaluated, Predicted, Scored
from winnow.run.manifest import NAME, files_in, read_manifest
from winnow.run.publish import read_result
from winnow.steps.evaluate import evaluate
from winnow.steps.predict_onnx import predict_onnx

from cloth import write_cloth, write_damaged
from conftest import blocks, stripes, write_pictures
from videos import write

SCORED = {"scores.csv", "segments.csv", "scores.json", "results.json"}
TINY = {"size": (16, 16), "width": 4, "latent": 4, "iterations": 20, "check_every": 10, "false_alarm_rate": 0.1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_pictures(folder / "good", 6, 6)
    write_pictures(folder / "bad", 2, 4, blocks, seed=1)
    return folder


@pytest.fixture(scope="module")
def run(made: Path) -> winnow.Run:
    return winnow.Run(made / "run", "oneclass-from-scratch", **TINY).fit(made / "good")


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(5)
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{number}.png" for number in range(4)]
    for path in paths:
        Image.fromarray(stripes(rng)).save(path)
    return paths


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def film(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    return write(path, [stripes(rng) for _ in range(8)], rate=4)


@pytest.mark.parametrize("second", [[3, 1, 0, 2], [0, 3, 1], [2]], ids=str)
def test_rows_come_in_the_order_of_this_calls_inputs(
    run: winnow.Run, inputs: list[Path], tmp_path: Path, second: list[int]
):
    run.score(inputs, to=tmp_path / "out")
    before = {row["source"]: row for row in table(tmp_path / "out" / "scores.csv")}
    run.score([inputs[place] for place in second], to=tmp_path / "out")
    after = table(tmp_path / "out" / "scores.csv")
    assert [row["source"] for row in after] == [str(inputs[place]) for place in second]
    assert all(row == before[row["source"]] for row in after)


def test_the_refused_are_listed_and_no_pixels_stay(run: winnow.Run, inputs: list[Path], tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    run.score([film(tmp_path / "a.mp4", 1), tmp_path / "broken.png", *inputs], to=tmp_path / "out")
    assert [row["source"] for row in table(tmp_path / "out" / "quarantine.csv")] == [str(tmp_path / "broken.png")]
    assert not (tmp_path / "out" / "pool").exists()
    run.score(inputs, to=tmp_path / "out")
    assert not (tmp_path / "out" / "quarantine.csv").exists()


def test_files_of_an_earlier_call_go_and_those_of_others_stay(run: winnow.Run, inputs: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    run.score([film(tmp_path / "a.mp4", 1), film(tmp_path / "b.mp4", 2)], to=out)
    for name in ("notes.txt", "video-of-me.png", "more.csv"):
        (out / name).write_text("mine")
    (out / ".results.json.0a1b2c3d.tmp").write_text("left by a call that was killed")
    run.score(inputs, to=out)
    mine = {"notes.txt", "video-of-me.png", "more.csv"}
    assert {path.name for path in out.iterdir()} == {*SCORED, *mine}
    assert table(out / "segments.csv") == []


def test_a_call_that_fails_leaves_the_earlier_results(run: winnow.Run, inputs: list[Path], tmp_path: Path, monkeypatch):
    out = tmp_path / "out"
    run.score(inputs, to=out)
    before = contents(out)
    with pytest.raises(InputError):
        run.score(tmp_path / "absent", to=out)
    assert contents(out) == before
    with pytest.raises(InputError):
        run.score(tmp_path / "absent", to=tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("winnow.steps.score.write_table", full)
    with pytest.raises(RunError, match=r"out cannot be written \(no space left on device\)"):
        run.score(inputs[:2], to=out)
    monkeypatch.undo()
    after = contents(out)
    assert {name: after[name] for name in before} == before


class Killed(BaseException):
    """As if the process were gone."""


def killed_at(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """At the n-th change of the file system's names the process is killed: no change comes after it, of tidying neither."""
    calls = []

    def killing(real):
        def call(*given, **more):
            calls.append(given)
            if len(calls) >= place:
                raise Killed
            return real(*given, **more)

        return call

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "link"):
        monkeypatch.setattr(os, name, killing(getattr(os, name)))


def shown(folder: Path) -> dict[str, bytes]:
    """What a user reads of a folder of results."""
    read = (".csv", ".json", ".ffconcat")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in read and path != folder / NAME}


def test_killed_anywhere_a_folder_holds_one_calls_results_or_none(run: winnow.Run, inputs: list[Path], tmp_path: Path):
    run.score([film(tmp_path / "a.mp4", 1), *inputs], to=tmp_path / "out")
    old = shown(tmp_path / "out")
    run.score(inputs[:2], to=tmp_path / "wanted")
    wanted = shown(tmp_path / "wanted")
    seen = []
    for place in range(1, 400):
        folder = tmp_path / f"killed{place}"
        shutil.copytree(tmp_path / "out", folder)
        with pytest.MonkeyPatch.context() as patched:
            killed_at(patched, place)
            try:
                run.score(inputs[:2], to=folder)
                done = True
            except Killed:
                done = False
        found = shown(folder)
        if "scores.json" in found:
            seen.append("old" if found["scores.json"] == old["scores.json"] else "new")
            assert found == (old if seen[-1] == "old" else wanted), place
        else:
            assert found.items() <= old.items() or found.items() <= wanted.items(), place
        claimed = read_manifest(folder)[1]
        assert {name for name in files_in(folder) if not name.startswith(".")} <= set(claimed), place
        run.score(inputs[:2], to=folder)
        assert shown(folder) == wanted, place
        assert {path.name for path in folder.iterdir()} == {*wanted, NAME}
        shutil.rmtree(folder)
        if done:
            break
    assert done and seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}


def test_a_folder_that_is_not_for_results(run: winnow.Run, inputs: list[Path], tmp_path: Path, made: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine" / "pool").mkdir(parents=True)
    (tmp_path / "mine" / "pool" / "0.png").write_bytes(inputs[0].read_bytes())
    before = contents(made / "run"), contents(tmp_path / "mine")
    for folder, words in ((tmp_path / "file", "no folder that can be written"), (tmp_path / "file" / "out", "no folder"),
                          (made / "run", "is a run folder"), (tmp_path / "mine", "mine is not empty")):  # fmt: skip
        with pytest.raises(OptionError, match=words):
            run.score(inputs, to=folder)
    assert (contents(made / "run"), contents(tmp_path / "mine")) == before


def test_two_calls_into_one_folder_at_once(run: winnow.Run, inputs: list[Path], tmp_path: Path, monkeypatch):
    import winnow.run.judge as judging

    real, refused = judging.read, []

    def during(*given, **more):
        if not refused:
            refused.append(None)
            with pytest.raises(RunError, match="Another call is writing"):
                run.score(inputs, to=tmp_path / "out")
        return real(*given, **more)

    monkeypatch.setattr(judging, "read", during)
    assert run.score(inputs, to=tmp_path / "out").pictures == 4
    assert refused


def test_a_long_name_of_a_video(run: winnow.Run, tmp_path: Path):
    run.score(film(tmp_path / f"{'ж' * 120}.mp4", 1), to=tmp_path / "out")
    drawn = {path.suffix for path in (tmp_path / "out").glob("video-000-ж*")}
    assert ".png" in drawn and drawn <= {".png", ".ffconcat"}  # a video that is wholly out has no cut list


def test_an_evaluation_is_of_its_own_groups(run: winnow.Run, made: Path, tmp_path: Path):
    out = tmp_path / "out"
    bad = sorted((made / "bad").rglob("*.png"))
    good = sorted((made / "good" / "clip0").glob("*.png"))
    evaluate(run.folder, good, {"a b": bad[:4], "a-b": bad[4:], "c": bad}, to=out)
    assert not (out / "pools").exists()
    rows = table(out / "scores.csv")
    assert [row["source"] for row in rows if row["group"] == "a b"] == [str(path) for path in bad[:4]]
    assert [row["source"] for row in rows if row["group"] == "a-b"] == [str(path) for path in bad[4:]]
    before = contents(out)
    with pytest.raises(InputError):
        evaluate(run.folder, good, {"d": tmp_path / "absent"}, to=out)
    after = contents(out)
    assert {name: after[name] for name in before} == before
    evaluate(run.folder, good[::-1], {"d": bad}, to=out)
    assert [row["source"] for row in table(out / "scores.csv")][: len(good)] == [str(path) for path in good[::-1]]
    assert not list(out.glob(".*"))


def test_predictions_come_in_order_and_replace_earlier_ones(made: Path, inputs: list[Path], tmp_path: Path):
    shutil.copytree(made / "run", tmp_path / "run")
    labels = tmp_path / "labels.csv"
    pictures = sorted((made / "good").rglob("*.png"))
    rows = [(str(path), "even" if number % 2 else "outliers") for number, path in enumerate(pictures)]
    labels.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    run = winnow.Run(tmp_path / "run")
    run.classify(labels=labels)
    file = Path(run.export(tmp_path / "model.onnx").file)
    for name, call in (
        ("own", lambda given, to: run.predict(given, to=to)),
        ("onnx", lambda given, to: predict_onnx(file, given, to=to)),
    ):
        out = tmp_path / name
        call(inputs, out)
        before = table(out / "predictions.csv")
        call(inputs[::-1], out)
        assert table(out / "predictions.csv") == before[::-1]
        assert {path.name for path in out.iterdir()} == {"predictions.csv", "predictions.json", NAME}
        with pytest.raises(InputError):
            call([tmp_path / "absent"], out)
        assert table(out / "predictions.csv") == before[::-1]


def test_overlays_change_with_the_results(tmp_path: Path):
    write_cloth(tmp_path / "good", 12)
    write_damaged(tmp_path / "bad", tmp_path / "masks", 3)
    run = winnow.Run(tmp_path / "run", "inspect-texture", **TINY | {"batch_size": 16, "fast": 0, "mode": "full"}).fit(
        tmp_path / "good"
    )
    bad = sorted((tmp_path / "bad").iterdir())
    places = {"to": tmp_path / "out", "heatmaps": tmp_path / "out" / "map"}
    run.score(bad, **places)
    (tmp_path / "out" / "map" / "mine.overlay.png").write_bytes(b"")
    before = contents(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("winnow.run.located.mask_png", None)
        with pytest.raises(TypeError):
            run.score(bad[:1], **places)
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    run.score(bad[2:], **places)
    assert {path.name.split("-")[0] for path in (tmp_path / "out" / "map").iterdir()} == {
        "00000",
        "mine.overlay.png",
        NAME,
    }
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("limit", [0, 1000, 3000, 9000, 20000])
def test_a_full_disk_leaves_the_earlier_results(run: winnow.Run, inputs: list[Path], tmp_path: Path, limit: int):
    """As a limit on the size of a file: it is met by pixels, by tables of pyarrow and by pictures alike."""
    run.score([film(tmp_path / "a.mp4", 1), *inputs], to=tmp_path / "out")
    before = contents(tmp_path / "out")
    film(tmp_path / "a.mp4", 2)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(RunError, match=r"out.* cannot be written \(.*file too large"):
            run.score([tmp_path / "a.mp4", *inputs], to=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    after = contents(tmp_path / "out")
    assert {name: content for name, content in after.items() if not name.startswith(".")} == before
    assert not [name for name in after if name.endswith(".tmp")]
    run.score([tmp_path / "a.mp4", *inputs], to=tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_what_a_call_returns_is_read_back_from_its_folder_wherever_that_is(
    run: winnow.Run, made: Path, inputs: list[Path], tmp_path: Path
):
    scored = run.score([film(tmp_path / "a.mp4", 1), *inputs], to=tmp_path / "out")
    assert scored.folder == tmp_path / "out" and scored.videos[0].segments
    assert read_result(Scored, tmp_path / "out" / "scores.json") == scored
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = read_result(Scored, tmp_path / "moved" / "scores.json")
    assert moved.folder == tmp_path / "moved" and moved.videos == scored.videos
    evaluated = evaluate(run.folder, [made / "good"], {"bad": [made / "bad"]}, to=tmp_path / "evaluation")
    assert read_result(Evaluated, tmp_path / "evaluation" / "evaluation.json") == evaluated
    assert set(evaluated.anomalous) == {"bad", "all"} and evaluated.anomalous["bad"].interval is not None


@pytest.mark.parametrize("content", ["[]", "{}", '{"pictures": "many", "refused": 0}', "{"])
def test_a_damaged_result_is_one_sentence(tmp_path: Path, content: str):
    (tmp_path / "predictions.json").write_text(content)
    with pytest.raises(Damaged, match=r"predictions\.json is (not|damaged)"):
        read_result(Predicted, tmp_path / "predictions.json")
