"""Two calls at once, as processes of their own, into one place: it holds what one of them made, whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import winnow
from winnow.errors import RunError
from winnow.results import Evaluated, Predicted, Scored
from winnow.run.manifest import files_in, read_manifest
from winnow.run.publish import PREDICTIONS, SCORES, Kind, Results, publish, read_result, reading, write_result
from winnow.tables import read_table

from conftest import made_once, winnow_command
from small_runs import judged_run


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once(tmp_path_factory, "at_once", judged_run), tmp_path / "base"))


def begun(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "winnow.cli", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def both(calls: dict[str, subprocess.Popen[str]]) -> list[str]:
    """Wait for two calls; return those that ended well: the other one was told why not."""
    said = {name: call.communicate(timeout=300)[1] for name, call in calls.items()}
    ended = [name for name, call in calls.items() if call.returncode == 0]
    assert ended and all("Another call is writing" in said[name] for name in calls if name not in ended), said
    return ended


@pytest.mark.parametrize(("command", "kind", "made"), [("score", Scored, SCORES), ("predict", Predicted, PREDICTIONS)])
def test_two_processes_judge_into_the_default_folder(base: Path, command: str, kind: type, made: Kind):
    given = {"good": 32, "bad": 6}
    ended = both({name: begun(command, base / name, "--run", base / "run") for name in given})
    folder = base / "run" / made.place
    rows = read_table(folder / f"{made.place}.csv")
    names = {Path(row["source"]).relative_to(base).parts[0] for row in rows}
    assert len(names) == 1 and names <= set(ended) and len(rows) == given[names.pop()]
    assert read_result(kind, folder / f"{made.place}.json").pictures == len(rows)
    assert {*files_in(folder)} == {*read_manifest(folder)[1]}


def test_two_processes_evaluate_into_the_default_folder(base: Path):
    given, other = {"good": 32, "bad": 6}, {"good": "bad", "bad": "good"}
    words = {name: ("--normal", base / name, "--anomalous", f"other={base / other[name]}") for name in given}
    ended = both({name: begun("evaluate", "--run", base / "run", *words[name]) for name in given})
    folder = base / "run" / "evaluation"
    rows = [row for row in read_table(folder / "scores.csv") if row["group"] == "belongs"]
    names = {Path(row["source"]).relative_to(base).parts[0] for row in rows}
    assert len(names) == 1 and names <= set(ended) and len(rows) == given[names.pop()]
    assert read_result(Evaluated, folder / "evaluation.json").pictures == len(rows)
    assert {*files_in(folder)} == {*read_manifest(folder)[1]}


def test_an_export_is_one_calls_file_and_card(base: Path, monkeypatch: pytest.MonkeyPatch):
    import winnow.steps.export as step

    run, real = winnow.Run(base / "run"), step.write

    def during(*given, **more):
        done = winnow_command("export", "--run", base / "run", "--only", "classifier")
        assert done.returncode and "Another call is writing" in done.stderr, done.stderr
        return real(*given, **more)

    monkeypatch.setattr(step, "write", during)
    found = run.export(only="classifier")
    assert found.outputs == ["probabilities"] and "probabilities" in found.card.read_text()
    assert sorted(path.name for path in found.file.parent.iterdir()) == ["model.md", "model.onnx"]


def test_a_report_does_not_read_while_results_are_put_in_place(tmp_path: Path):
    """The one who reads waits for the one who writes, and the other way round."""
    order: list[str] = []

    def put(number: int) -> None:
        with Results(tmp_path / "out", SCORES, None) as results:
            (results.aside / "scores.csv").write_text(str(number))
            write_result(results.aside / "scores.json", winnow.results.Segment(0, 1, True, number))
            publish(results)
        order.append("written")

    put(1)
    with reading(tmp_path / "out", tmp_path / "none"):
        writer = threading.Thread(target=put, args=(2,))
        writer.start()
        time.sleep(0.3)
        assert (tmp_path / "out" / "scores.csv").read_text() == "1"
        order.append("read")
    writer.join()
    assert order == ["written", "read", "written"] and (tmp_path / "out" / "scores.csv").read_text() == "2"
    with Results(tmp_path / "out", SCORES, None), pytest.raises(RunError, match="Another call is writing"):
        put(3)
