"""A run folder that was moved or copied to another place, where the pictures it was made of are not."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from tiny_runs import tiny_runs, tree, winnow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished runs, made under `first` and moved away, to `elsewhere ü/my run` and `patched`. Of `first` the pictures
    `bad` stay, `good`, of which the runs were made, go; `before` has the scores as they were there."""
    base = tmp_path_factory.mktemp("moving")
    first = tiny_runs(base / "first")
    assert winnow("score", first / "bad", "--run", first / "plain", "--to", base / "before") == 0
    (base / "elsewhere ü").mkdir()
    (first / "plain").rename(base / "elsewhere ü" / "my run")
    (first / "patched").rename(base / "patched")
    shutil.rmtree(first / "good")
    return base


@pytest.fixture
def run(request: pytest.FixtureRequest, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run at another path: a copy, or a link to a copy, or a relative path from the folder above."""
    there = Path(shutil.copytree(made / "elsewhere ü" / "my run", tmp_path / "a copy"))
    if request.param == "linked":
        (tmp_path / "link").symlink_to(there)
        return tmp_path / "link"
    monkeypatch.chdir(tmp_path)
    return Path("a copy") if request.param == "relative" else there


def scores(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("run", ["copied", "linked", "relative"], indirect=True)
def test_new_pictures_are_judged_as_before(run: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = tree(run)
    assert winnow("score", made / "first" / "bad", "--run", run, "--to", tmp_path / "out") == 0, capsys.readouterr().err
    assert scores(tmp_path / "out") == scores(made / "before")
    assert winnow("predict", made / "first" / "bad", "--run", run, "--to", tmp_path / "classes") == 0, (
        capsys.readouterr().err
    )
    assert len((tmp_path / "classes" / "predictions.csv").read_text().splitlines()) == 7
    assert tree(run) == before


@pytest.mark.parametrize("run", ["copied"], indirect=True)
@pytest.mark.parametrize(
    "words",
    [
        ("select", "-n", "5"),
        ("select", "-n", "8", "--outliers", "0"),
        ("round", "--more", "1"),
        ("classify",),
        ("calibrate",),
        ("encode",),
        ("train",),
        ("report",),
        ("label", "--export", "labels.csv"),
        ("label", "--export", "coco.json", "--format", "coco", "--from-pool"),
        ("label", "--export", "folder", "--from-pool"),
        ("export", "--to", "model.onnx", "--only", "classifier"),
    ],
    ids=lambda words: " ".join(words),
)
def test_what_is_learnt_and_made_of_the_run_needs_no_source(
    words: tuple[str, ...], run: Path, capsys: pytest.CaptureFixture[str]
):
    command, *rest = words
    assert winnow(command, "--run", run, *rest) == 0, capsys.readouterr().err


@pytest.mark.parametrize("run", ["copied"], indirect=True)
def test_labels_stay_on_their_pictures(run: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert winnow("label", "--run", run, "--export", tmp_path / "labels.csv") == 0, capsys.readouterr().err
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        here = {row["id"]: row["label"] for row in csv.DictReader(file)}
    with (made / "first" / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert here == {row["id"]: row["label"] for row in csv.DictReader(file)}
    assert winnow("label", "--run", run, "--export", tmp_path / "folder", "--from-pool") == 0, capsys.readouterr().err
    assert len(list((tmp_path / "folder").rglob("*.jpg"))) == len(here)  # of the pool's pixels: the originals are gone


def test_a_run_of_patches_is_judged_mapped_and_reported(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = shutil.copytree(made / "patched", tmp_path / "run")
    words = ("score", made / "first" / "bad", "--run", run, "--to", tmp_path / "out", "--heatmaps", tmp_path / "maps")
    assert winnow(*words) == 0, capsys.readouterr().err
    assert len(scores(tmp_path / "out")) == 6 and len(list((tmp_path / "maps").iterdir())) >= 6
    assert winnow("report", "--run", run) == 0, capsys.readouterr().err


@pytest.mark.parametrize("run", ["copied"], indirect=True)
@pytest.mark.parametrize("given", [True, False], ids=["sources given", "sources of the run"])
def test_what_needs_the_sources_says_which_are_gone(
    given: bool, run: Path, made: Path, capsys: pytest.CaptureFixture[str]
):
    before, gone = tree(run), made / "first" / "good"
    calls = [("run", made / "first" / "tiny.toml", *([gone] if given else []), "--to", run, "--resume")]
    if given:
        calls += [("ingest", gone, "--run", run), ("score", gone, "--run", run, "--to", run.parent / "out")]
    for words in calls:
        assert winnow(*words) == 1
        said = capsys.readouterr().err
        assert said.startswith("winnow: ") and len(said.splitlines()) <= 2 and str(gone) in said, said
        assert tree(run) == before, words


@pytest.mark.parametrize("run", ["copied"], indirect=True)
def test_nothing_in_it_names_the_place_it_was_made_at(run: Path, made: Path):
    name = str(made / "first" / "plain").encode()
    assert [path.name for path in run.rglob("*") if path.is_file() and name in path.read_bytes()] == []
