"""Where results go: into a new folder, an empty one or one of their own; nothing of anyone else's is removed or replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import winnow
from winnow.errors import OptionError, RunError
from winnow.run.manifest import NAME
from winnow.steps.evaluate import evaluate

from conftest import winnow_command
from exported import write_exported
from labelling import tree
from spoiling import rewrite
from videos import write


@pytest.fixture
def run(finished_run: Path) -> winnow.Run:
    return winnow.Run(finished_run)


@pytest.fixture
def few(pictures: Path) -> list[Path]:
    return sorted((pictures / "clip0").glob("*.png"))[:3]


def test_a_folder_of_pictures_that_are_named_as_ours_loses_none(run: winnow.Run, pictures: Path, tmp_path: Path):
    frames = shutil.copytree(pictures / "clip0", tmp_path / "frames")
    for number, path in enumerate(sorted(frames.iterdir())):
        path.rename(frames / f"video-{number:04d}-frame.png")
    (frames / "scores.csv").write_text("mine")
    before = tree(frames)
    for call in (
        lambda: run.score(frames, to=frames),
        lambda: evaluate(run.folder, [frames], {"other": [frames]}, to=frames),
    ):
        with pytest.raises(OptionError, match="frames is not empty, and what is in it was not written by Winnow"):
            call()
        assert tree(frames) == before


@pytest.mark.parametrize(
    "name", ["video-000-of-me.png", "video-017-x.ffconcat", "patches.csv", "pool/mine.txt", "pool/parts/mine.json"]
)
def test_a_file_of_mine_between_the_results_stays(run: winnow.Run, few: list[Path], tmp_path: Path, name: str):
    out = tmp_path / "out"
    run.score(few, to=out)
    (out / "notes.txt").write_text("mine")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine")
    before = tree(out)
    with pytest.raises(OptionError, match=f"{name} was not written by Winnow"):
        run.score(few[:1], to=out)
    assert tree(out) == before
    (out / name).unlink()
    assert run.score(few[:1], to=out).pictures == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_what_is_removed_is_what_the_manifest_names(run: winnow.Run, few: list[Path], tmp_path: Path):
    film = write(tmp_path / "film.mp4", 30, rate=10)
    out = tmp_path / "out"
    run.score([film], to=out)
    listed = json.loads((out / NAME).read_text())
    assert listed["format"] == "winnow results" and listed["command"] == "score"
    assert set(listed["files"]) == {name for name, content in tree(out).items() if content is not None}
    run.score(few, to=out)
    assert not list(out.glob("video*"))
    assert set(json.loads((out / NAME).read_text())["files"]) == {
        name for name, content in tree(out).items() if content is not None
    }


@pytest.mark.parametrize(
    "files", [["../mine.txt"], ["/etc/hostname"], ["pool/../../mine.txt"], "mine.txt", [3], [""], None], ids=str
)
def test_a_manifest_from_elsewhere_removes_nothing_outside(run: winnow.Run, few: list[Path], tmp_path: Path, files):
    out = tmp_path / "out"
    run.score(few, to=out)
    (tmp_path / "mine.txt").write_text("mine")
    rewrite(out / NAME, lambda content: {**content, "files": files})
    before = tree(tmp_path)
    with pytest.raises((OptionError, RunError)):
        run.score(few[:1], to=out)
    assert tree(tmp_path) == before


def test_a_folder_that_is_a_link_is_not_emptied(run: winnow.Run, few: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    run.score(few, to=out)
    shutil.copytree(run.folder.path / "pool", tmp_path / "elsewhere")
    (out / "pool").symlink_to(tmp_path / "elsewhere")
    before = tree(tmp_path / "elsewhere")
    with pytest.raises(OptionError, match="pool was not written by Winnow"):
        run.score(few[:1], to=out)
    assert tree(tmp_path / "elsewhere") == before


def test_results_of_two_commands_do_not_share_a_folder(run: winnow.Run, few: list[Path], tmp_path: Path):
    run.score(few, to=tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(OptionError, match="out holds results of winnow score"):
        evaluate(run.folder, few, {"other": few}, to=tmp_path / "out")
    assert tree(tmp_path / "out") == before
    (tmp_path / "begun" / ".score.next").mkdir(parents=True)
    (tmp_path / "begun" / ".score.next" / NAME).write_text((tmp_path / "out" / NAME).read_text())
    with pytest.raises(OptionError, match="begun holds results of winnow score"):
        evaluate(run.folder, few, {"other": few}, to=tmp_path / "begun")
    (tmp_path / "mine" / ".score.next").mkdir(parents=True)
    (tmp_path / "mine" / ".score.next" / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"\.score\.next was not written by Winnow"):
        run.score(few, to=tmp_path / "mine")
    assert (tmp_path / "mine" / ".score.next" / "thesis.txt").exists()


COMMANDS = {
    "score": "score {good} --run {run} --to {place}",
    "predict": "predict {good} --run {run} --to {place}",
    "evaluate": "evaluate --run {run} --normal {good} --anomalous b={good} --to {place}",
}
PLACES = {
    "the run": ("{run}", "is a run folder"),
    "its pool": ("{run}/pool", "is a place of the run's own"),
    "below its pool": ("{run}/pool/parts/new", "is a place of the run's own"),
    "its model": ("{run}/model", "is a place of the run's own"),
    "its staging": ("{run}/.staging/new", "is a place of the run's own"),
    "another run": ("{other}", "is a run folder"),
    "another run's results": ("{other}/scores", "another run"),
    "through a link": ("{link}/new", "is a place of the run's own"),
    "pictures": ("{good}", "is not empty"),
}


@pytest.fixture(scope="module")
def two(finished_run: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs with a classifier, pictures, and a link into the first one's pool."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(finished_run, folder / "run")
    run = winnow.Run(folder / "run")
    (folder / "labels.csv").write_text(
        "id,label\n" + "".join(f"{name},{'ab'[row % 2]}\n" for row, name in enumerate(run.embeddings.ids))
    )
    run.classify(labels=folder / "labels.csv", head="nearest_mean", folds=2)
    shutil.copytree(folder / "run", folder / "other")
    shutil.copytree(pictures / "clip0", folder / "good")
    (folder / "link").symlink_to(folder / "run" / "pool")
    return {name: folder / name for name in ("run", "other", "good", "link")}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", COMMANDS)
def test_results_never_go_among_what_a_run_has_learnt(two: dict[str, Path], command: str, place: str):
    before = tree(two["run"]), tree(two["other"]), tree(two["good"])
    where, says = PLACES[place]
    words = COMMANDS[command].format(**two, place=where.format(**two)).split()
    done = winnow_command(*words)
    assert done.returncode and says in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert (tree(two["run"]), tree(two["other"]), tree(two["good"])) == before


def test_results_elsewhere_in_the_own_run_are_welcome(two: dict[str, Path], few: list[Path], tmp_path: Path):
    run = winnow.Run(shutil.copytree(two["run"], tmp_path / "run"))
    assert run.score(few, to=tmp_path / "run" / "monday").pictures == 3
    assert run.score(few, to=tmp_path / "run" / "scores").pictures == 3
    assert run.score(few).pictures == 3
    with pytest.raises(OptionError, match="is a place of the run's own"):
        run.score(few, to=tmp_path / "run" / "predictions")


@pytest.mark.parametrize(
    ("command", "flag", "wrong"),
    [
        (
            "report",
            "--to",
            ["{run}/run.json", "{run}/pool/x.html", "{run}/labels.sqlite", "{other}/report.html", "{other}/x.html"],
        ),
        ("export", "--to", ["{run}/pool/model.onnx", "{run}/model/x.onnx", "{other}/export/model.onnx"]),
        ("label", "--export", ["{run}/selection.csv", "{run}/pool/x.csv", "{other}/labels.csv"]),
    ],
)
def test_single_files_do_not_go_there_either(two: dict[str, Path], command: str, flag: str, wrong: list[str]):
    before = tree(two["run"]), tree(two["other"])
    for place in wrong:
        done = winnow_command(command, "--run", two["run"], flag, place.format(**two))
        assert done.returncode and ("of the run's own" in done.stderr or "another run" in done.stderr), done.stderr
    assert (tree(two["run"]), tree(two["other"])) == before


def test_a_file_of_mine_is_not_replaced_and_one_of_ours_is(two: dict[str, Path], tmp_path: Path):
    export = ("export", "--run", two["run"], "--only", "classifier", "--to")
    calls: dict[str, Callable[[], object]] = {
        "notes.html": lambda: winnow_command("report", "--run", two["run"], "--to", tmp_path / "notes.html"),
        "model.onnx": lambda: winnow_command(*export, tmp_path / "model.onnx"),
        "README.md": lambda: winnow_command(*export, tmp_path / "README.onnx"),
    }
    for name, call in calls.items():
        (tmp_path / name).write_text("<p>mine")
        done = call()
        assert done.returncode and f"{name} was not written by Winnow" in done.stderr, done.stderr
        assert (tmp_path / name).read_text() == "<p>mine"
        (tmp_path / name).unlink()
    write_exported(tmp_path / "model.onnx")
    for name in ("notes.html", "notes.html", "model.onnx"):
        done = calls[name]()
        assert done.returncode == 0, done.stderr
    (tmp_path / "model.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:1000])  # cut off: exported anew
    assert calls["model.onnx"]().returncode == 0
