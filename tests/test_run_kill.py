"""A step that is killed at any change of the file system leaves the whole old run or the whole new one, and goes on rightly."""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import winnow
from winnow.steps import calibrate

from small_runs import content, listed, results, small_run

KILLED = 9


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `run`, and `chosen`, the same with five pictures chosen and a classifier."""
    folder = tmp_path_factory.mktemp("kill")
    with pytest.MonkeyPatch.context() as patch:
        without_speeds(patch)
        small_run(folder)
        run = winnow.Run(shutil.copytree(folder / "run", folder / "chosen"))
        run.select(5, duplicate_distance=0.0, outliers=0.0)
        run.classify(labels=folder / "labels.csv", head="nearest_mean")
    return folder


def without_speeds(patch: pytest.MonkeyPatch) -> None:
    """Comparing the speeds of modes takes seconds."""
    patch.setattr(calibrate, "A_TURN", 0.001)
    patch.setattr(calibrate, "ROUNDS", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_speeds(monkeypatch)


def in_a_child(act: Callable[[], object], at: int) -> bool:
    """Do something in a process that is killed before its `at`-th change of the file system; return whether it came to that."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not that of the time limit of tests
        signal.alarm(120)
        count = [0]

        def counted(change: Callable[..., object]) -> Callable[..., object]:
            def changes(*args: object, **options: object) -> object:
                count[0] += 1
                if count[0] == at:
                    os._exit(KILLED)
                return change(*args, **options)

            return changes

        for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        plain = io.open
        writes = counted(plain)
        io.open = builtins.open = lambda file, mode="r", *args, **options: (
            writes if set(mode) & set("wax+") else plain
        )(file, mode, *args, **options)
        status = 1
        try:
            act()
            status = 0
        except BaseException:  # the child ends here, whatever it was: the test shows what it printed
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED)
    return status == KILLED


STEPS: dict[str, tuple[str, Callable[[winnow.Run, Path, bool], object], int]] = {
    "encode": ("run", lambda run, base, again: run.encode(), 2),
    "calibrate": ("run", lambda run, base, again: run.calibrate(false_alarm_rate=0.1), 1),
    "train": ("run", lambda run, base, again: run.set(iterations=6).train(resume=again), 4),
    "select": ("run", lambda run, base, again: run.select(6, duplicate_distance=0.0, outliers=0.0), 1),
    "grow": ("chosen", lambda run, base, again: run.select(9, duplicate_distance=0.0, outliers=0.0), 2),
    "another": (
        "chosen",
        lambda run, base, again: run.select(5, duplicate_distance=0.0, outliers=0.0, method="random"),
        3,
    ),
    "round": ("chosen", lambda run, base, again: run.round(3), 1),
    "classify": ("run", lambda run, base, again: run.classify(labels=base / "labels.csv", head="nearest_mean"), 3),
    "classify again": (
        "chosen",
        lambda run, base, again: run.classify(labels=base / "labels.csv", head="knn"),
        4,
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_a_run_is_the_old_or_the_new_and_the_next_call_ends_the_same(
    step: str, base: Path, tmp_path: Path
):
    name, act, stride = STEPS[step]
    whole = winnow.Run(shutil.copytree(base / name, tmp_path / "whole"))
    before = content(whole.folder.path)
    act(whole, base, False)
    after = content(whole.folder.path)
    kills = 0
    for at in range(1, 1000, stride):
        path = shutil.copytree(base / name, tmp_path / "killed")
        if not in_a_child(lambda path=path: act(winnow.Run(path), base, False), at):
            break
        kills += 1
        run = winnow.Run(path)
        assert content(path) in (before, after), f"kill {at}"
        if kills % 2:  # going on is most of the time: it is tried after every second kill
            shutil.rmtree(path)
            continue
        act(run, base, True)
        assert content(path) == after, f"kill {at}"
        assert (path / "run.json").read_bytes() == (whole.folder.path / "run.json").read_bytes(), f"kill {at}"
        assert results(path) == results(whole.folder.path), f"kill {at}"
        assert not list(path.rglob("*.tmp")) and not (path / ".staging" / step.split()[0]).exists(), f"kill {at}"
        shutil.rmtree(path)
    assert kills * stride > 5


def test_a_new_run_that_is_killed_anywhere_can_be_begun_again(base: Path, tmp_path: Path):
    kills = 0
    for at in range(1, 1000):
        path = tmp_path / "new"
        if not in_a_child(lambda path=path: winnow.Run(path, size=(32, 32)).ingest(base / "good"), at):
            break
        kills += 1
        again = winnow.Run(path, size=(32, 32))
        assert again.ingest(base / "good").pictures == 32
        assert again.folder.done("ingest")
        shutil.rmtree(path)
    assert kills > 10


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
    for at in range(1, 1000):
        path = shutil.copytree(base / "chosen", tmp_path / str(at))
        assert in_a_child(lambda path=path: winnow.Run(path).round(3), at), "the list was never there before the end"
        winnow.Run(path)
        if len(listed(path)) == 8:
            break
    for expected in (8, 11, 14):
        winnow.Run(path).round(3)
        assert len(listed(path)) == expected
