"""A full disk is one sentence, and the run is what it was before."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import winnow
from winnow.errors import RunError

from small_runs import OPTIONS, content, judged_run, results, tree


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    run = judged_run(folder)
    run.score(folder / "bad")
    run.evaluate(folder / "good", {"bad": folder / "bad"})
    run.predict(folder / "bad")
    run.report()
    return folder


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Has every write above so many bytes of a file fail, as it fails on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


STEPS: dict[str, Callable[[winnow.Run, Path], object]] = {
    "ingest": lambda run, base: run.ingest(base / "bad"),
    "train": lambda run, base: run.train(),
    "encode": lambda run, base: run.encode(),
    "calibrate": lambda run, base: run.calibrate(false_alarm_rate=0.1),
    "select": lambda run, base: run.select(9),
    "round": lambda run, base: run.round(2),
    "classify": lambda run, base: run.classify(labels=base / "labels.csv", head="knn"),
}
JUDGING: dict[str, Callable[[winnow.Run, Path], object]] = {
    "score": lambda run, base: run.score(base / "good"),
    "evaluate": lambda run, base: run.evaluate(base / "good", {"bad": base / "bad"}),
    "predict": lambda run, base: run.predict(base / "good"),
    "report": lambda run, base: run.report(),
    "export": lambda run, base: run.export(only="classifier"),
}


@pytest.mark.parametrize("step", [*STEPS, *JUDGING])
def test_what_cannot_be_written_is_told_and_the_run_stays(step: str, base: Path, tmp_path: Path):
    run = winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))
    before, asked = content(run.folder.path), (run.folder.path / "run.json").read_bytes()
    for size in (0, 700, 2000) if step != "export" else (0, 2000):  # each computes the file, of more than either, anew
        with no_file_above(size), pytest.raises(RunError, match=r"cannot be written|at work") as error:
            {**STEPS, **JUDGING}[step](run, base)
        assert "disk" in error.value.remedy or "Free" in error.value.remedy, size
        assert (run.folder.path / "run.json").read_bytes() == asked, size
        if step != "ingest":  # whose pool grows in place, and which goes on with its parts
            mine = {name: digest for name, digest in content(run.folder.path).items() if name in before}
            results = ("scores", "evaluation", "predictions", "export")
            kept = {name for name in before if name.split("/")[0] not in results}
            assert {name: mine.get(name) for name in kept} == {name: before[name] for name in kept}, size
            assert winnow.Run(run.folder.path).folder.done("calibrate"), size
        assert not list(run.folder.path.rglob("*.tmp")), size
    {**STEPS, **JUDGING}[step](run, base)  # and where there is room again, it works


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "little"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("step", ["train", "encode", "calibrate", "select", "classify"])
def test_a_full_file_system_leaves_the_old_whole(step: str, base: Path, little: Path):
    skeleton = (
        "run.json",
        "steps",
        "pool",
        "model",
        "embeddings",
        "detector",
        "classifier",
        "selection.csv",
        "selection.json",
    )
    (little / "run").mkdir()
    for name in skeleton:
        source = base / "run" / name
        if source.is_dir():
            shutil.copytree(source, little / "run" / name, ignore=shutil.ignore_patterns("checkpoints", "grids"))
        else:
            shutil.copy(source, little / "run" / name)
    left = shutil.disk_usage(little).free
    with (little / "ballast").open("wb") as file:
        file.write(os.urandom(left - 24_000))
    run = winnow.Run(little / "run")
    before, records, asked = (
        content(run.folder.path),
        results(run.folder.path),
        (run.folder.path / "run.json").read_bytes(),
    )
    with pytest.raises(RunError, match="no space left"):
        STEPS[step](run, base)
    assert (content(run.folder.path), results(run.folder.path)) == (before, records)
    assert (run.folder.path / "run.json").read_bytes() == asked
    (little / "ballast").unlink()
    STEPS[step](run, base)
    assert run.folder.done({"round": "select"}.get(step, step))


def test_a_new_run_on_a_full_disk_is_not_begun(base: Path, tmp_path: Path):
    with no_file_above(0), pytest.raises(RunError, match="cannot be written"):
        winnow.Run(tmp_path / "deep" / "new", **OPTIONS).ingest(base / "good")
    assert not (tmp_path / "deep").exists()
    assert winnow.Run(tmp_path / "deep" / "new", **OPTIONS).ingest(base / "good").pictures == 32
    assert tree(tmp_path / "deep" / "new")
