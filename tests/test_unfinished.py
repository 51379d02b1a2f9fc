"""A training in a bucket whose machine is taken away is gone on with on another, to the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import winnow
from winnow.data.remote import Remote
from winnow.run import unfinished, working_copy

from buckets import keys
from small_runs import small_run

LONG = {"iterations": 600, "check_every": 100}
CHILD = """
import sys

import winnow
from winnow.learn import train
from winnow.run import unfinished

unfinished.EVERY, train.SAVE_SECONDS = 0.05, 0.05
winnow.Run(sys.argv[1]).set(iterations=600, check_every=100).train()
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `run`, and `long`, the same trained for longer."""
    folder = tmp_path_factory.mktemp("base")
    small_run(folder)
    winnow.Run(shutil.copytree(folder / "run", folder / "long")).set(**LONG).train()
    return folder


def machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working_copy.OPEN.clear()
    monkeypatch.setenv("WINNOW_CACHE", str(cache))


def test_a_training_that_is_killed_goes_on_on_another_machine(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address = f"{bucket}/run"
    working_copy.push_to(shutil.copytree(base / "run", tmp_path / "run"), address)
    machine(tmp_path / "one", monkeypatch)
    child = subprocess.Popen([sys.executable, "-c", CHILD, address])
    until = time.monotonic() + 120
    while b"last.safetensors" not in (Remote(address).read("unfinished/train/whole.json") or (b"",))[0]:
        assert child.poll() is None and time.monotonic() < until, "it ended before a checkpoint was sent"
    child.send_signal(signal.SIGKILL)
    child.wait()
    machine(tmp_path / "two", monkeypatch)
    run = winnow.Run(address)
    assert run.folder.fits("train")  # as it was before
    fetched: list[bool] = []
    plain = unfinished._Sender.fetch
    monkeypatch.setattr(
        unfinished._Sender,
        "fetch",
        lambda sender: (plain(sender), fetched.append((sender.folder / "new" / "model" / "checkpoints").exists())),
    )
    run.set(**LONG).train(resume=True)
    assert fetched == [True]
    weights = run.folder.folder("train") / "model.safetensors"
    assert weights.read_bytes() == (base / "long" / "model" / "model.safetensors").read_bytes()
    assert not [key for key in keys(bucket) if "unfinished" in key]


def test_what_cannot_be_sent_is_told_and_the_step_goes_on(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address = f"{bucket}/run"
    working_copy.push_to(shutil.copytree(base / "run", tmp_path / "run"), address)
    machine(tmp_path / "one", monkeypatch)
    sender = unfinished._Sender(Remote("s3://nowhere/run"), tmp_path / "state", "unfinished/train")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "inputs").write_text("x")
    with pytest.warns(winnow.errors.LossWarning, match=r"on this machine alone: s3://nowhere/run.* no such bucket"):
        sender.send()
    assert os.listdir(tmp_path / "state") == ["inputs"] and not (tmp_path / ".state.sent").exists()


def test_only_what_is_whole_is_gone_on_with(bucket: str, tmp_path: Path):
    remote, folder = Remote(f"{bucket}/run"), tmp_path / "train"
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "log").write_text("1")
    (folder / "inputs").write_text("x")
    (folder / "new" / ".half.tmp").write_text("half")
    sender = unfinished._Sender(remote, folder, "unfinished/train")
    sender.send()
    (folder / "new" / "log").write_text("12")
    sender.send()
    assert len(keys(bucket)) == 3  # what was sent before is gone
    other = unfinished._Sender(remote, tmp_path / "other", "unfinished/train")
    other.fetch()
    assert (tmp_path / "other" / "new" / "log").read_text() == "12" and (tmp_path / "other" / "inputs").exists()
    remote.delete([key.removeprefix("run/") for key in keys(bucket) if "log" in key])
    unfinished._Sender(remote, tmp_path / "third", "unfinished/train").fetch()
    assert not (tmp_path / "third").exists()
