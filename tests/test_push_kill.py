"""A push or pull that is killed by SIGKILL, or whose server goes, anywhere: the run in the bucket and the copy are the old or the new."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import winnow
from winnow.data import buckets
from winnow.errors import RunError
from winnow.run import bucket as bucket_room
from winnow.run import working_copy
from winnow.run.copies import NotPushed

from buckets import GONE, Door, keys
from small_runs import content, small_run

KILLED = -9
CHILD = """
import os, signal, sys
from pathlib import Path

from winnow.data.remote import Remote
from winnow.run import working_copy

what, at, folder, address = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
count = 0

def counted(change):
    def changes(*arguments, **options):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*arguments, **options)
    return changes

if what == "push":
    for name in ("_put", "put_file", "delete"):
        setattr(Remote, name, counted(getattr(Remote, name)))
    working_copy.push_to(folder, address)
else:
    for name in ("replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    working_copy.pull(address, folder)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two states of a run: before and after pictures were chosen, others anew."""
    folder = tmp_path_factory.mktemp("made")
    small_run(folder)
    winnow.Run(folder / "run").select(3)
    winnow.Run(shutil.copytree(folder / "run", folder / "later")).select(5, method="random")
    winnow.Run(folder / "later").score(folder / "bad")
    return folder / "run", folder / "later"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    working_copy.OPEN.clear()


def in_a_child(what: str, at: int, folder: Path, address: str) -> bool:
    """Push or pull in a process that is killed before its `at`-th change; return whether it came to that."""
    done = subprocess.run([sys.executable, "-c", CHILD, what, str(at), str(folder), address], check=False)
    assert done.returncode in (0, KILLED)
    return done.returncode == KILLED


def after(state: Path, later: Path) -> None:
    """Make a folder of one state that of a later one, but for what is known of its bucket."""
    for path in later.rglob("*"):
        if path.is_file() and ".staging" not in path.parts:
            (state / path.relative_to(later)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, state / path.relative_to(later))


def named(bucket: str) -> set[str]:
    files = json.loads(keys(bucket)["run/winnow.json"])["files"]
    return {f"run/{file['key']}" for file in files.values()} | {"run/winnow.json"}


def test_a_push_that_is_killed_anywhere_leaves_the_old_run_or_the_new(
    made: tuple[Path, Path], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = made
    kills, at = 0, 1
    while True:
        address, folder = f"{bucket}/run", shutil.copytree(old, tmp_path / "folder")
        working_copy.push_to(folder, address)
        after(folder, new)
        killed = in_a_child("push", at, folder, address)
        if not killed:
            break
        kills += 1
        working_copy.pull(address, tmp_path / "seen")
        assert content(tmp_path / "seen") in (content(old), content(new)), f"kill {at}"
        with monkeypatch.context() as patch:
            patch.setattr(bucket_room, "GRACE", timedelta(seconds=-10))
            working_copy.push_to(folder, address)
            (folder / "touch.txt").write_text(str(at))
            working_copy.push_to(folder, address)
        assert set(keys(bucket)) == named(bucket) | {key for key in keys(bucket) if "winnow-probe-" in key}
        working_copy.pull(address, tmp_path / "whole")
        (tmp_path / "whole" / "touch.txt").unlink()
        assert content(tmp_path / "whole") == content(new), f"kill {at}"
        for name in ("folder", "seen", "whole"):
            shutil.rmtree(tmp_path / name)
        bucket_room.RunInBucket(address).remote.delete([key.removeprefix("run/") for key in keys(bucket)])
        at += 1 if at < 4 else 3
    assert kills > 5


def test_a_pull_that_is_killed_anywhere_is_gone_on_with(made: tuple[Path, Path], bucket: str, tmp_path: Path):
    old, new = made
    address, source = f"{bucket}/run", shutil.copytree(old, tmp_path / "source")
    working_copy.push_to(source, address)
    working_copy.pull(address, tmp_path / "before")
    after(source, new)
    working_copy.push_to(source, address)
    kills, at = 0, 1
    while True:
        folder = shutil.copytree(tmp_path / "before", tmp_path / "folder", copy_function=shutil.copy2)
        if not in_a_child("pull", at, folder, address):
            break
        kills += 1
        working_copy.pull(address, folder)
        assert content(folder) == content(new), f"kill {at}"
        shutil.rmtree(folder)
        at += 3
    assert kills > 3


@pytest.mark.parametrize("most", [0, 4, 9])
def test_a_server_that_goes_in_the_middle_is_told_of_and_the_next_push_ends_the_same(
    most: int, made: tuple[Path, Path], bucket: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = made
    address, folder = f"{bucket}/run", shutil.copytree(old, tmp_path / "folder")
    working_copy.push_to(folder, address)
    before = keys(bucket)
    after(folder, new)
    puts: list[str] = []

    def going(method: str, path: str) -> int | None:
        puts.extend([path] if method == "PUT" else [])
        return GONE if len(puts) > most else None

    monkeypatch.setattr(buckets, "_PATIENCE", {"read_timeout": "1s", "timeout": "1s", "connect_timeout": "1s"})
    buckets._client.cache_clear()
    door = Door(server, going)
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    working_copy._check_store.cache_clear()
    with pytest.raises(RunError, match=rf"{bucket}/run.* cannot be .*: the server does not answer"):
        working_copy.push_to(folder, address)
    door.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert {key: data for key, data in keys(bucket).items() if key in before} == before
    assert working_copy.push_to(folder, address)
    working_copy.pull(address, tmp_path / "seen")
    assert content(tmp_path / "seen") == content(new)


def test_two_who_push_at_once_make_one_run_or_the_other(made: tuple[Path, Path], bucket: str, tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    old, _ = made
    address = f"{bucket}/run"
    working_copy.push_to(shutil.copytree(old, tmp_path / "old"), address)
    folders = []
    for number in range(8):
        working_copy.pull(address, tmp_path / str(number))
        folders.append(tmp_path / str(number))
        (folders[-1] / "note.txt").write_text(f"of {number}")

    def push(folder: Path) -> bool:
        try:
            return working_copy.push_to(folder, address)
        except NotPushed:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(push, folders))
    assert sum(won) == 1
    working_copy.pull(address, tmp_path / "seen")
    assert (tmp_path / "seen" / "note.txt").read_text() == f"of {won.index(True)}"
    assert [(folder / "note.txt").read_text() for folder in folders] == [f"of {number}" for number in range(8)]
    assert len([key for key in keys(bucket) if "note" in key]) >= 1
