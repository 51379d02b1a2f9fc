"""A step that is killed at any change of the file system leaves the whole old run or the whole new one, and goes on rightly."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import winnow

from small_runs import content, listed, results, small_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `run`, and `chosen`, the same with five pictures chosen and a classifier."""
    folder = tmp_path_factory.mktemp("kill")
    small_run(folder)
    run = winnow.Run(shutil.copytree(folder / "run", folder / "chosen"))
    run.select(5, duplicate_distance=0.0, outliers=0.0)
    run.classify(labels=folder / "labels.csv", head="nearest_mean")
    return folder


@contextlib.contextmanager
def changes_seen(see: Callable[[], None]) -> Iterator[None]:
    """Call `see` before each change of the file system that Python makes, but for those of its own."""
    busy = [False]

    def seen(change: Callable[..., object]) -> Callable[..., object]:
        def changes(*args: object, **options: object) -> object:
            if not busy[0]:
                busy[0] = True
                see()
                busy[0] = False
            return change(*args, **options)

        return changes

    plain = io.open
    writes = seen(plain)

    def opened(file: object, mode: str = "r", *args: object, **options: object) -> object:
        return (writes if set(mode) & set("wax+") else plain)(file, mode, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, seen(getattr(os, name)))
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        yield


def states(act: Callable[[], object], folder: Path, to: Path) -> list[Path]:
    """Do something, and copy the folder before each change of the file system: what a process that is killed there leaves of it."""
    copies: list[Path] = []

    def copy() -> None:
        copies.append(to / str(len(copies) + 1))
        if folder.exists():
            shutil.copytree(folder, copies[-1])

    with changes_seen(copy):
        act()
    return copies


def in_a_child(act: Callable[[], object], at: int) -> bool:
    """Do something in a process that is killed before its `at`-th change of the file system; return whether it came to that."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not that of the time limit of tests
        signal.alarm(120)
        count = [0]

        def die() -> None:
            count[0] += 1
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            with changes_seen(die):
                act()
            status = 0
        except BaseException:  # the child ends here, whatever it was: the test shows what it printed
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


STEPS: dict[str, tuple[str, Callable[[winnow.Run, Path, bool], object]]] = {
    "encode": ("run", lambda run, base, again: run.encode()),
    "calibrate": ("run", lambda run, base, again: run.calibrate(false_alarm_rate=0.1)),
    "train": ("run", lambda run, base, again: run.set(iterations=6).train(resume=again)),
    "select": ("run", lambda run, base, again: run.select(6, duplicate_distance=0.0, outliers=0.0)),
    "grow": ("chosen", lambda run, base, again: run.select(9, duplicate_distance=0.0, outliers=0.0)),
    "another": (
        "chosen",
        lambda run, base, again: run.select(5, duplicate_distance=0.0, outliers=0.0, method="random"),
    ),
    "round": ("chosen", lambda run, base, again: run.round(3)),
    "classify": ("run", lambda run, base, again: run.classify(labels=base / "labels.csv", head="nearest_mean")),
    "classify again": ("chosen", lambda run, base, again: run.classify(labels=base / "labels.csv", head="knn")),
}
GOING_ON = 8
"""The states of a step from which going on is tried, beside the last of the old run and the first of the new."""


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_a_run_is_the_old_or_the_new_and_the_next_call_ends_the_same(
    step: str, base: Path, tmp_path: Path
):
    name, act = STEPS[step]
    whole = winnow.Run(shutil.copytree(base / name, tmp_path / "whole"))
    path, before = whole.folder.path, held(whole)
    left = states(lambda: act(whole, base, False), path, tmp_path / "left")
    after = held(whole)
    assert len(left) > 5
    found = [held(winnow.Run(copy)) for copy in left]
    assert [at for at, state in enumerate(found, start=1) if state not in (before, after)] == []
    turn = next((at for at, state in enumerate(found) if state != before), len(left) - 1)
    for at in sorted({turn - 1, turn, *range(0, len(left), -(-len(left) // GOING_ON))}):
        act(winnow.Run(left[at]), base, True)
        assert held(winnow.Run(left[at])) == after, f"kill {at + 1}"
        assert (left[at] / "run.json").read_bytes() == (path / "run.json").read_bytes(), f"kill {at + 1}"
        assert not list(left[at].rglob("*.tmp")) and not (left[at] / ".staging" / step.split()[0]).exists(), at + 1


@pytest.mark.parametrize("step", STEPS)
def test_what_is_copied_at_a_change_is_what_a_process_leaves_that_is_killed_there(
    step: str, base: Path, tmp_path: Path
):
    name, act = STEPS[step]
    copied, killed = (Path(shutil.copytree(base / name, tmp_path / place)) for place in ("copied", "killed"))
    left = states(lambda: act(winnow.Run(copied), base, False), copied, tmp_path / "left")
    at = 2 * len(left) // 3
    assert in_a_child(lambda: act(winnow.Run(killed), base, False), at)
    assert content(killed) == content(left[at - 1])
    assert names(killed) == names(left[at - 1])


def held(run: winnow.Run) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what the steps of a run wrote, and the results in their records."""
    return content(run.folder.path), results(run.folder.path)


def names(folder: Path) -> list[str]:
    """Return what lies in a folder, without what is drawn by lot in the name of a temporary file."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return sorted(re.sub(r"\.[^./]+\.tmp$", ".tmp", name) for name in found)


def test_a_new_run_that_is_killed_anywhere_can_be_begun_again(base: Path, tmp_path: Path):
    def begin(path: Path) -> int:
        return winnow.Run(path, size=(32, 32)).ingest(base / "good").pictures

    left = states(lambda: begin(tmp_path / "new"), tmp_path / "new", tmp_path / "left")
    assert len(left) > 10
    for path in left:
        assert begin(path) == 32
        assert winnow.Run(path).folder.done("ingest")
    for at in (2, len(left) // 2):
        assert in_a_child(lambda at=at: begin(tmp_path / f"killed {at}"), at)
        assert begin(tmp_path / f"killed {at}") == 32


@pytest.mark.parametrize("resume", [False, True])
def test_the_command_run_goes_on_or_begins_again_where_its_first_step_was_killed(
    resume: bool, base: Path, tmp_path: Path
):
    from winnow.commands import run as command
    from winnow.options import IngestOptions, ModelOptions, TrainOptions

    def begin(resume: bool) -> None:
        options = {
            "model": ModelOptions(width=4, latent=4),
            "train": TrainOptions(iterations=2, check_every=2, device="cpu"),
        }
        command(
            "oneclass-from-scratch",
            str(base / "good"),
            to=tmp_path / "new",
            resume=resume,
            ingest=IngestOptions(size=(32, 32)),
            **options,
        )

    kills = 0
    for at in (*range(1, 16), 25):
        if not in_a_child(lambda: begin(False), at):
            break
        kills += 1
        if not list((tmp_path / "new" / "steps").glob("*.json")):
            if at in (3, 8, 12):  # all steps take seconds
                begin(resume)
                assert winnow.Run(tmp_path / "new").folder.done("calibrate")
            else:
                winnow.Run(tmp_path / "new")
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
    assert kills > 10


def test_a_round_that_was_killed_when_its_list_was_there_counts_once(base: Path, tmp_path: Path):
    whole = Path(shutil.copytree(base / "chosen", tmp_path / "whole"))
    left = states(lambda: winnow.Run(whole).round(3), whole, tmp_path / "left")
    path = next(path for path in left if len(listed(winnow.Run(path).folder.path)) == 8)
    for expected in (8, 11, 14):
        winnow.Run(path).round(3)
        assert len(listed(path)) == expected
