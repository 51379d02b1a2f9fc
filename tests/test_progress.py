"""Progress where nobody watches a terminal, and sentences about one of a kind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from winnow import progress, show
from winnow.errors import ModelError, in_one_line
from winnow.models import pretrained
from winnow.models.pretrained import read_weights
from winnow.results import Predicted
from winnow.results.words import count, verb

from conftest import winnow_command


def test_a_log_gets_lines_with_rate_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress.progress("encode", 2000, "pictures") as advance:
        advance(1500, "half")
    with progress.progress("ingest", None, "frames") as advance:
        advance()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("encode: 1,500 of 2,000 pictures, ") and " s left, half" in first
    assert second.startswith("ingest: 1 frames, ") and "left" not in second


def test_a_short_step_leaves_a_log_as_it_is(capsys):
    with progress.progress("encode", 10, "pictures") as advance:
        advance(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["--help"], ["run", "--help-all"], ["recipes", "inspect"]])
def test_no_command_minds_a_reader_that_leaves_early(words):
    command = [sys.executable, "-m", "winnow", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode in (1, 141) and "Traceback" not in said and len(said.splitlines()) <= 1


def test_one_is_singular(tmp_path):
    assert [count(1, "class"), count(2, "class"), verb(1, "is", "are")] == ["1 class", "2 classes", "1 is"]
    one = show.predict(Predicted(1, 0, tmp_path, None, 1))
    assert one.startswith("1 picture: 1 does not belong.")


def test_weights_that_are_none_are_told_in_words(tmp_path):
    (tmp_path / "own.pth").write_bytes(bytes(range(33, 120)) * 9)
    with pytest.raises(ModelError, match=r"is not a file of plain weights|cannot be read as weights") as told:
        read_weights(tmp_path / "own.pth")
    assert "Traceback" not in str(told.value)
    assert in_one_line(KeyError(174812789)) == "KeyError 174812789"


def test_weights_that_cannot_be_had_end_the_run_before_a_picture_is_read(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    words = ("--model", "pretrained", "--backbone", "vgg16")
    done = winnow_command("run", "select-ae", pictures, "--to", tmp_path / "run", *words)
    assert done.returncode == 1 and "--weights" in done.stderr and "--from-scratch" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_backbone_of_another_name_names_the_nearest_alone(pictures, tmp_path):
    done = winnow_command("run", "select", pictures, "--to", tmp_path / "run", "--backbone", "mobilnet_v2")
    assert done.returncode == 1 and "mobilenet_v2" in done.stderr and len(done.stderr) < 400
