"""The command line as a new user meets it."""

from __future__ import annotations

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import winnow
from winnow import commands, judge_commands, other_commands
from winnow.cli import COMMANDS, main

from conftest import SMALL, winnow_command, winnow_process


def test_one_command_makes_the_whole_run(finished_run: Path):
    for name in (
        "run.json",
        "pool/items.parquet",
        "pool/pool.json",
        "pool/quarantine.csv",
        "model/model.safetensors",
        "model/model.json",
        "model/train.jsonl",
        "embeddings/vectors.npy",
        "embeddings/losses.parquet",
        "detector/detector.json",
        "report.html",
    ):
        assert (finished_run / name).stat().st_size > 0, name
    content = json.loads((finished_run / "run.json").read_text())
    assert content["recipe"] == "oneclass-from-scratch"
    assert content["options"]["train"]["iterations"] == 60
    assert content["set_by"]["train.iterations"] == "you"
    assert content["set_by"]["ingest.size"] == "you"
    assert {path.stem for path in (finished_run / "steps").iterdir()} == {"ingest", "train", "encode", "calibrate"}


@pytest.mark.parametrize("given", ["ACTIVE", None])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(given: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main(["recipes"])
    assert os.environ["OMP_WAIT_POLICY"] == (given or "PASSIVE")


def test_score_tells_anomalies_from_normal_pictures(
    finished_run: Path, pictures: Path, anomalous: Path, tmp_path: Path
):
    done = winnow_command("score", pictures, anomalous, "--run", finished_run, "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 12 + 2 * 10
    assert list(rows[0]) == ["id", "source", "time", "score", "p_value", "belongs"]
    inside = [float(row["score"]) for row in rows if "good" in row["source"]]
    outside = [float(row["score"]) for row in rows if "anomalous" in row["source"]]
    assert np.median(outside) > max(inside)
    assert all(row["belongs"] == "no" for row in rows if "anomalous" in row["source"])


def test_evaluate_writes_json_table_and_figures(finished_run: Path, pictures: Path, anomalous: Path, tmp_path: Path):
    done = winnow_command(
        "evaluate",
        "--run",
        finished_run,
        "--normal",
        pictures,
        "--anomalous",
        f"blocks={anomalous}",
        f"clip 0={anomalous / 'clip0'}",
        "--to",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["anomalous"]["blocks"]["auroc"] > 0.99
    assert set(result["anomalous"]) == {"blocks", "clip 0", "all"}
    assert result["seen_in_training"] == 96
    assert "96 of the pictures" in done.stdout
    assert (tmp_path / "histogram.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_steps_one_by_one_give_the_same_run(finished_run: Path, pictures: Path, tmp_path: Path):
    to, flags = tmp_path / "steps", list(SMALL)
    for words in (
        ["ingest", pictures, "--recipe", "oneclass-from-scratch", *flags[:3]],
        ["train", *flags[3:]],
        ["encode"],
        ["calibrate"],
        ["report"],
    ):
        done = winnow_command(words[0], *words[1:], "--run", to)
        assert done.returncode == 0, done.stderr
    for name in ("model/model.safetensors", "embeddings/vectors.npy"):
        assert (to / name).read_bytes() == (finished_run / name).read_bytes(), name


@pytest.mark.slow
def test_a_changed_option_makes_the_later_steps_stale(finished_run: Path, pictures: Path, tmp_path: Path):
    to = tmp_path / "copy"
    shutil.copytree(finished_run, to)
    assert winnow_command("calibrate", "--run", to, "--false-alarm-rate", "0.1").returncode == 0
    assert winnow_command("train", "--run", to, "--iterations", "20").returncode == 0
    done = winnow_command("score", pictures, "--run", to)
    assert done.returncode == 1
    assert "winnow encode --run" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "oneclas", "x", "--to", "{new}"], ["oneclas", "oneclass"]),
        (["run", "oneclass-from-scratch", "absent", "--to", "{new}"], ["absent"]),
        (["run", "oneclass-from-scratch", "{good}", "--to", "{new}", "--iteration", "3"], ["--iterations"]),
        (["run", "oneclass-from-scratch", "{good}", "--to", "{new}", "--lr", "-1"], ["--lr", "-1"]),
        (["run", "oneclass-from-scratch", "{good}", "--to", "{new}", "--size", "0", "10"], ["--size"]),
        (["run", "oneclass-from-scratch", "{good}", "--to", "{new}", "--scorer", "mahalanobi"], ["mahalanobis"]),
        (["run", "oneclass-from-scratch", "{good}", "--to", "{run}"], ["--resume", "--overwrite"]),
        (["run", "oneclass", "{good}", "--to", "{new}", "--weights", "absent.pth"], ["absent.pth"]),
        (["score", "{good}", "--run", "{new}"], ["not a run folder"]),
        (["train", "--run", "{good}"], ["not a run folder"]),
        (["evaluate", "--run", "{run}", "--normal", "{good}", "--anomalous", "justapath"], ["NAME=SOURCE"]),
        (["scor"], ["score"]),
    ],
)
def test_a_wrong_call_is_one_sentence_and_a_remedy(words, expected, pictures: Path, finished_run: Path, tmp_path: Path):
    filled = [word.format(new=tmp_path / "new", good=pictures, run=finished_run) for word in words]
    done = winnow_command(*filled)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr
    for word in expected:
        assert word in done.stderr


def test_the_list_of_commands_is_that_of_the_functions():
    functions = {
        name.rstrip("_"): inspect.getdoc(value).split("\n\n")[0]
        for room in (commands, judge_commands, other_commands)
        for name, value in vars(room).items()
        if inspect.isfunction(value) and value.__module__ == room.__name__ and not name.startswith("_")
    }
    assert functions == COMMANDS
    shown = " ".join(winnow_command("--help").stdout.replace("│", " ").split())
    for name, sentence in COMMANDS.items():
        assert f"{name} {sentence}" in shown


@pytest.mark.parametrize("words", [["scor"], ["recipes"], ["train", "--run", "absent", "--debug"]])
def test_a_process_of_its_own_says_and_ends_as_the_tests_see_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    here, there = winnow_command(*words), winnow_process(*words)
    assert here.returncode == there.returncode and here.stdout == there.stdout
    assert here.stderr.splitlines()[-1:] == there.stderr.splitlines()[-1:]
    assert ("Traceback" in here.stderr) == ("Traceback" in there.stderr) == ("--debug" in words)


def test_debug_shows_the_traceback(tmp_path: Path):
    done = winnow_command("train", "--run", tmp_path, "--debug")
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_killed_at_any_time_and_resumed_the_run_is_the_same(finished_run: Path, pictures: Path, tmp_path: Path):
    """Killed while it trains and, gone on with, while it encodes."""
    to = tmp_path / "killed"
    words = ("run", "oneclass-from-scratch", str(pictures), "--to", str(to), *SMALL)
    for at, more in (("steps/ingest.json", ()), ("steps/train.json", ("--resume",))):
        process = subprocess.Popen(
            [sys.executable, "-m", "winnow.cli", *words, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (to / at).exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = winnow_command(*words, "--resume")
    assert done.returncode == 0, done.stderr
    for name in ("model/model.safetensors", "embeddings/vectors.npy", "embeddings/losses.parquet"):
        assert (to / name).read_bytes() == (finished_run / name).read_bytes(), name
    assert not list(to.rglob("*.tmp"))


def test_doctor_finds_this_machine_fit():
    done = winnow_command("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok       training" in done.stdout


def test_recipes_are_listed():
    assert "match\n" in winnow_command("recipes").stdout


def test_a_run_that_failed_before_it_held_anything_may_be_begun_again(pictures: Path, tmp_path: Path):
    first = winnow_command("run", "oneclass-from-scratch", tmp_path / "absent", "--to", tmp_path / "run")
    assert first.returncode == 1 and "absent" in first.stderr
    assert not (tmp_path / "run").exists()
    again = winnow_command("run", "oneclass-from-scratch", tmp_path / "absent", "--to", tmp_path / "run")
    assert "absent" in again.stderr and "already holds" not in again.stderr
    assert winnow_command("ingest", pictures, "--run", tmp_path / "run", "--size", 32, 32).returncode == 0
    assert (
        "already holds a run"
        in winnow_command("run", "oneclass-from-scratch", pictures, "--to", tmp_path / "run").stderr
    )


def test_a_reader_that_leaves_early_ends_the_command_in_a_sentence():
    command = [sys.executable, "-m", "winnow.cli", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()  # as `winnow recipes | head -0`
        said = process.stderr.read()
    assert process.returncode == 141
    assert said.splitlines() == [
        "winnow: stopped, for nothing reads what it prints any more. What was finished is kept."
    ]


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "winnow", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, winnow.__version__)
    done = subprocess.run([sys.executable, "-m", "winnow", "nosuch"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("winnow: ")


def test_what_was_stopped_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("winnow.run.recipe.recipe_names", stopped)
    with pytest.raises(SystemExit) as end:
        main(["recipes"])
    assert end.value.code == 130
    assert capsys.readouterr().err.startswith("winnow: stopped. What was finished is kept")
