"""What a person put into a run folder: no step that replaces its folders removes it, and no run that is begun anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_runs import tiny_runs, tree, winnow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Path:
    """A run without labels, which alone `--overwrite` begins anew."""
    path = shutil.copytree(base / "plain", tmp_path / "run")
    for store in path.glob("labels.sqlite*"):
        store.unlink()
    return path


def _anew(base: Path, run: Path) -> int:
    return winnow("run", base / "tiny.toml", base / "good", "--to", run, "--overwrite")


@pytest.mark.parametrize("name", ["scores/notes.txt", "export/notes.md", "model/notes.txt", "pool/mine.npy"])
def test_a_run_begun_anew_removes_no_file_of_mine(base: Path, run: Path, capsys: pytest.CaptureFixture[str], name: str):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("mine")
    before = tree(run)
    assert _anew(base, run) == 1
    assert f"{name} was not written by Winnow, and --overwrite would remove it." in capsys.readouterr().err
    assert tree(run) == before


def test_a_run_begun_anew_keeps_marks_and_labels_that_a_person_filled_in(
    base: Path, run: Path, capsys: pytest.CaptureFixture[str]
):
    review, audit = run / "review.csv", run / "classifier" / "audit.csv"
    shown = review.read_text()
    item = (run / "selection.csv").read_text().splitlines()[1].split(",")[1]
    review.write_text(f"leave_out,id\nx,{item}\n")
    assert _anew(base, run) == 1
    assert "review.csv marks 1 picture to be left out" in capsys.readouterr().err
    review.write_text(shown)
    audit.write_text(f"id,class,label\n{item},a,b\n")
    assert _anew(base, run) == 1
    assert "audit.csv holds 1 label that is not imported" in capsys.readouterr().err
    assert review.read_text() == shown and f"{item},a,b" in audit.read_text()


def test_a_run_begun_anew_removes_all_that_winnow_wrote(base: Path, tmp_path: Path):
    run = shutil.copytree(base / "plain", tmp_path / "run")
    assert winnow("score", base / "bad", "--run", run) == 0
    assert winnow("evaluate", "--run", run, "--normal", base / "good", "--anomalous", f"bad={base / 'bad'}") == 0
    assert winnow("export", "--run", run, "--only", "classifier") == 0
    for store in run.glob("labels.sqlite*"):
        store.unlink()
    assert _anew(base, run) == 0
    assert not any((run / name).exists() for name in ("scores", "evaluation", "export"))


@pytest.mark.parametrize(("step", "place"), [("train", "model"), ("calibrate", "detector"), ("classify", "classifier")])
def test_a_step_done_again_removes_no_file_of_mine(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], step: str, place: str
):
    run = shutil.copytree(base / "plain", tmp_path / "run")
    (run / place / "notes.txt").write_text("mine")
    before = tree(run)
    assert winnow(step, "--run", run) == 1
    assert f"{place}/notes.txt was not written by Winnow, and the step '{step}'" in capsys.readouterr().err
    assert tree(run) == before


def test_an_audit_that_is_filled_in_is_imported_before_the_next_classifier(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = shutil.copytree(base / "plain", tmp_path / "run")
    audit = run / "classifier" / "audit.csv"
    chosen = {line.split(",")[1] for line in (run / "selection.csv").read_text().splitlines()}
    others = (line.split(",")[0] for line in (run / "outliers.csv").read_text().splitlines()[1:])
    item = next(item for item in others if item not in chosen)
    audit.write_text(f"id,class,label\n{item},a,b\n")
    assert winnow("classify", "--run", run) == 1
    assert "audit.csv holds 1 label that is not imported" in capsys.readouterr().err
    assert winnow("label", "--run", run, "--import", audit) == 0
    assert winnow("classify", "--run", run) == 0
