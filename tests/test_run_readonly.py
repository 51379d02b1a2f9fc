"""What judges, draws or exports changes nothing that a run has learnt, and works where the run cannot be written."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import winnow

from conftest import winnow_command
from small_runs import command, judged_run, tree
from spoiling import rewrite


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readonly")
    judged_run(folder)
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the run in which nobody, but for root, may write."""
    path = Path(shutil.copytree(base / "run", tmp_path / "run"))
    for entry in (path, *path.rglob("*")):
        entry.chmod(entry.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield path
    for entry in (path, *path.rglob("*")):
        entry.chmod(entry.stat().st_mode | stat.S_IWUSR)


@pytest.mark.parametrize(
    "words",
    [
        ("score", "{base}/bad", "--run", "{run}", "--to", "{out}"),
        ("score", "{base}/bad", "--run", "{run}", "--to", "{out}", "--mode", "encoder", "--smooth", "9"),
        ("evaluate", "--run", "{run}", "--normal", "{base}/good", "--anomalous", "bad={base}/bad", "--to", "{out}"),
        ("predict", "{base}/bad", "--run", "{run}", "--to", "{out}"),
        ("report", "--run", "{run}", "--to", "{out}/page.html"),
        ("export", "--run", "{run}", "--to", "{out}/model.onnx", "--only", "classifier"),
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:-1]),
)
def test_what_judges_leaves_the_run_as_it_is(words: tuple[str, ...], base: Path, run: Path, tmp_path: Path):
    before = tree(run)
    done = command(*(word.format(base=base, run=run, out=tmp_path / "out") for word in words))
    assert done == 0
    assert tree(run) == before
    assert any((tmp_path / "out").iterdir())


def test_a_mode_or_an_option_given_once_is_not_that_of_later_calls(base: Path, tmp_path: Path):
    path = Path(shutil.copytree(base / "run", tmp_path / "run"))
    asked = (path / "run.json").read_bytes()
    for words in (["--mode", "encoder"], ["--smooth", "9"], []):
        assert command("score", base / "bad", "--run", path, "--to", tmp_path / "out", *words) == 0
        mode = json.loads((tmp_path / "out" / "scores.json").read_text())["mode"]
        assert mode == ("encoder" if "encoder" in words else "full")
    run = winnow.Run(path)
    assert run.score(base / "bad", to=tmp_path / "out", mode="encoder").mode == "encoder"
    assert run.score(base / "bad", to=tmp_path / "out").mode == "full"
    assert (path / "run.json").read_bytes() == asked


def test_the_versions_are_those_of_the_training(base: Path, tmp_path: Path):
    path = Path(shutil.copytree(base / "run", tmp_path / "run"))
    # As if another machine had trained it.
    rewrite(
        path / "steps" / "train.json", lambda record: {**record, "versions": {**record["versions"], "torch": "1.2.3"}}
    )
    record = json.loads((path / "steps" / "train.json").read_text())
    run = winnow.Run(path)
    run.score(base / "bad")
    assert "torch 1.2.3" in run.report().read_text(encoding="utf-8")
    assert json.loads((path / "steps" / "train.json").read_text()) == record


@pytest.fixture
def mounted(base: Path, tmp_path: Path) -> Iterator[Path]:
    """The run in a file system that is mounted read-only, which binds root too."""
    place = tmp_path / "mounted"
    place.mkdir()
    made = [
        subprocess.run(["mount", *words, place], capture_output=True, check=False).returncode
        for words in (["--bind", base / "run"], ["-o", "remount,ro,bind"])
    ]
    if any(made):
        subprocess.run(["umount", place], capture_output=True, check=False)
        pytest.skip("a folder cannot be mounted read-only here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("what", ["score", "evaluate", "predict", "report", "export"])
def test_where_nothing_can_be_written_another_place_is_asked_for(
    what: str, base: Path, mounted: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = {
        "score": [base / "bad"],
        "evaluate": ["--normal", base / "good", "--anomalous", f"bad={base / 'bad'}"],
        "predict": [base / "bad"],
        "export": ["--only", "classifier"],
    }.get(what, [])
    assert command(what, *words, "--run", mounted) == 1
    assert "--to" in capsys.readouterr().err
    to = tmp_path / {"report": "page.html", "export": "model.onnx"}.get(what, "out")
    assert command(what, *words, "--run", mounted, "--to", to) == 0 and to.exists()


def test_what_learns_says_that_it_cannot_write(base: Path, mounted: Path, capsys: pytest.CaptureFixture):
    for words in (
        ["calibrate", "--false-alarm-rate", "0.2"],
        ["train"],
        ["select", "-n", "3"],
        ["ingest", base / "bad"],
    ):
        assert command(*words, "--run", mounted) == 1
        assert "cannot be written (read-only" in capsys.readouterr().err


def test_a_run_is_judged_where_it_was_moved(base: Path, tmp_path: Path):
    path = Path(shutil.copytree(base / "run", tmp_path / "here"))
    before = winnow.Run(path).score(base / "bad", to=tmp_path / "one")
    moved = Path(shutil.move(path, tmp_path / "there"))
    assert not any(str(base / "run").encode() in entry.read_bytes() for entry in moved.rglob("*") if entry.is_file())
    run = winnow.Run(moved)
    assert run.score(base / "bad", to=tmp_path / "two").belong == before.belong
    assert (tmp_path / "one" / "scores.csv").read_bytes() == (tmp_path / "two" / "scores.csv").read_bytes()
    run.calibrate(false_alarm_rate=0.2)
    assert run.folder.done("calibrate")


def test_sources_that_are_gone_are_told_of_where_they_are_needed(base: Path, tmp_path: Path):
    run = winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))
    rewrite(run.folder.path / "run.json", lambda content: {**content, "sources": [str(tmp_path / "gone")]})
    winnow.Run(run.folder.path).score(base / "bad", to=tmp_path / "out")
    done = winnow_command("run", "oneclass-from-scratch", "--resume", "--to", run.folder.path)
    assert done.returncode == 1 and "gone" in done.stderr and "Traceback" not in done.stderr
