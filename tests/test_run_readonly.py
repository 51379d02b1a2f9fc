"""What judges, draws or exports changes nothing that a run has learnt, and works where the run cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import winnow
from winnow import cli

from conftest import winnow_command
from small_runs import small_run, tree


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readonly")
    run = small_run(folder)
    run.select(4)
    run.classify(labels=folder / "labels.csv", head="nearest_mean")
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


def command(*words: object) -> int:
    try:
        cli.main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    "words",
    [
        ("score", "{base}/bad", "--run", "{run}", "--to", "{out}"),
        ("score", "{base}/bad", "--run", "{run}", "--to", "{out}", "--mode", "encoder", "--smooth", "9"),
        ("evaluate", "--run", "{run}", "--normal", "{base}/good", "--anomalous", "bad={base}/bad", "--to", "{out}"),
        ("predict", "{base}/bad", "--run", "{run}", "--to", "{out}"),
        ("report", "--run", "{run}", "--to", "{out}/page.html"),
        ("export", "--run", "{run}", "--to", "{out}/model.onnx"),
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:-1]),
)
def test_what_judges_leaves_the_run_as_it_is(words: tuple[str, ...], base: Path, run: Path, tmp_path: Path):
    before = tree(run)
    done = command(*(word.format(base=base, run=run, out=tmp_path / "out") for word in words))
    assert done == 0
    assert tree(run) == before
    assert any((tmp_path / "out").iterdir())


def test_a_decision_or_an_option_given_once_is_not_that_of_later_calls(base: Path, tmp_path: Path):
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
    record = json.loads((path / "steps" / "train.json").read_text())
    record["versions"]["torch"] = "1.2.3"  # as if another machine had trained it
    (path / "steps" / "train.json").write_text(json.dumps(record))
    run = winnow.Run(path)
    run.score(base / "bad")
    assert "torch 1.2.3" in run.report().read_text(encoding="utf-8")
    assert json.loads((path / "steps" / "train.json").read_text()) == record


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root may")
def test_where_nothing_can_be_written_another_place_is_asked_for(base: Path, tmp_path: Path):
    """As nobody, whom permissions bind."""
    path = Path(shutil.copytree(base / "run", tmp_path / "run"))
    nobody = (
        "import os, sys, tempfile, winnow.cli\nfrom winnow.steps import score, evaluate, predict, report, export, classify\n"
        "os.environ['HOME'] = tempfile.mkdtemp()\nos.chmod(os.environ['HOME'], 0o777)\nos.setgid(65534); os.setuid(65534)\n"
        "for words in [line.split('|') for line in sys.argv[1:]]:\n"
        "    try: winnow.cli.main(words)\n    except SystemExit: pass\n"
    )
    for folder in (base, *base.parents, tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    calls = [
        ["score", base / "bad", "--run", path],
        ["evaluate", "--run", path, "--normal", base / "good", "--anomalous", f"bad={base / 'bad'}"],
        ["predict", base / "bad", "--run", path],
        ["report", "--run", path],
        ["export", "--run", path],
    ]
    lines = ["|".join(map(str, words)) for words in calls]
    done = subprocess.run([sys.executable, "-c", nobody, *lines], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("winnow: ") == done.stderr.count("--to") == len(calls), done.stderr


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
    content = json.loads((run.folder.path / "run.json").read_text())
    content["sources"] = [str(tmp_path / "gone")]
    (run.folder.path / "run.json").write_text(json.dumps(content))
    winnow.Run(run.folder.path).score(base / "bad", to=tmp_path / "out")
    done = winnow_command("run", "oneclass-from-scratch", "--resume", "--to", run.folder.path)
    assert done.returncode == 1 and "gone" in done.stderr and "Traceback" not in done.stderr
