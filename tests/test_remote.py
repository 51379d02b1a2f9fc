"""Objects written whole or not at all, and created once, against a real server (moto) on loopback."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from winnow.data import remote
from winnow.data.remote import Remote
from winnow.errors import Damaged, InputError, RunError

from buckets import Door, keys


def test_of_sixteen_who_create_a_name_one_wins(bucket: str):
    start = threading.Barrier(16)

    def create(number: int) -> bool:
        start.wait()
        return Remote(f"{bucket}/run").create("plan.json", b"%d" % number)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert sum(won) == 1
    assert keys(bucket) == {"run/plan.json": b"%d" % won.index(True)}


def test_an_object_is_replaced_only_where_it_is_the_one_that_was_read(bucket: str):
    run = Remote(f"{bucket}/a b/ü")
    assert run.read("x.json") is None
    assert run.create("x.json", b"1")
    found = run.read("x.json")
    assert found is not None and found[0] == b"1"
    assert run.replace("x.json", b"2", found[1])
    assert not run.replace("x.json", b"3", found[1])
    assert keys(bucket) == {"a b/ü/x.json": b"2"}
    assert run.honours_conditions() and keys(bucket) == {"a b/ü/x.json": b"2"}


def test_a_store_that_creates_what_is_there_is_seen(bucket: str, server: str, monkeypatch: pytest.MonkeyPatch):
    door = Door(server, without=("if-none-match", "if-match"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    try:
        assert not Remote(f"{bucket}/run").honours_conditions()
    finally:
        door.close()


def shard(folder: Path, text: str = "x") -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "rows.npy").write_bytes(b"rows of " + text.encode())
    (folder / "deep" / "empty").write_bytes(b"")
    (folder / "a.json").write_text("last")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_shard_is_seen_whole_and_comes_back_as_it_was(
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    run, folder = Remote(f"{bucket}/run"), shard(tmp_path / "made")
    (folder / "large.npy").write_bytes(bytes(range(256)) * 40_000)
    monkeypatch.setattr(remote, "RANGE", 1_000_000)
    assert run.names() == []
    assert run.put_whole(folder, "encode/00003", "a.json")
    assert run.names() == run.names("encode") == ["encode/00003"]
    assert run.names("enc") == []
    run.get_whole("encode/00003", tmp_path / "got")
    assert files(tmp_path / "got") == files(folder)
    run.drop_whole("encode")
    assert keys(bucket) == {}
    with pytest.raises(RunError, match=r"encode/00003 is not there"):
        run.get_whole("encode/00003", tmp_path / "none")


def test_names_of_any_letters_come_back_as_they_were(bucket: str, tmp_path: Path):
    (tmp_path / "made").mkdir()
    names = [
        "a b",
        "ü日本",
        "p%20+q",
        "#1 [x]?*",
        "~quote'\"&<>",
        "back\\slash",
        "{x}|^`",
        "no.suffix.",
        "two..dots",
        "last",
    ]
    for name in names:
        (tmp_path / "made" / f"{name}.png").write_text(name)
    run = Remote(f"{bucket}/a b/#%ü")
    assert run.put_whole(tmp_path / "made", "x/1 %", "last.png") and run.names() == ["x/1 %"]
    run.get_whole("x/1 %", tmp_path / "got")
    assert files(tmp_path / "got") == files(tmp_path / "made")
    run.drop_whole()
    assert keys(bucket) == {}


def test_of_two_who_make_a_shard_the_first_is_kept_with_its_own_files(bucket: str, tmp_path: Path):
    run = Remote(f"{bucket}/run")
    start = threading.Barrier(8)
    folders = [shard(tmp_path / str(number), str(number)) for number in range(8)]

    def put(folder: Path) -> bool:
        start.wait()
        return run.put_whole(folder, "1", "a.json")

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, folders))
    assert sum(won) == 1
    run.get_whole("1", tmp_path / "got")
    assert files(tmp_path / "got") == files(folders[won.index(True)])
    assert not run.put_whole(folders[0], "1", "a.json")


def test_a_shard_whose_upload_was_cut_off_is_not_there(
    bucket: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    folder = shard(tmp_path / "made")
    (folder / "large.npy").write_bytes(bytes(12_000_000))  # which goes up in parts
    door = Door(server, lambda method, path: 403 if method == "POST" and "uploadId" in path else None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    try:
        with pytest.raises(RunError, match=r"s3://.*large.* may not be written"):
            Remote(f"{bucket}/run").put_whole(folder, "1", "a.json")
    finally:
        door.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert Remote(f"{bucket}/run").names() == []
    assert not any("large" in key or "whole" in key for key in keys(bucket))
    assert Remote(f"{bucket}/run").put_whole(folder, "1", "a.json")


def test_what_is_damaged_in_the_bucket_is_never_taken(bucket: str, tmp_path: Path):
    run = Remote(f"{bucket}/run")
    assert run.put_whole(shard(tmp_path / "made"), "1", "a.json")
    whole, etag = run.read("shards/1/whole.json")  # type: ignore[misc]
    rows = json.loads(whole)["rows.npy"]["key"]
    data, rows_etag = run.read(rows)  # type: ignore[misc]
    assert run.replace(rows, data.replace(b"rows", b"sows"), rows_etag)
    with pytest.raises(Damaged, match=rf"{bucket}/run/{rows} is not what was written"):
        run.get_whole("1", tmp_path / "got")
    assert "a.json" not in files(tmp_path / "got") and "rows.npy" not in files(tmp_path / "got")
    run.delete([rows])
    with pytest.raises(Damaged, match=rf"{bucket}/run/{rows} is gone"):
        run.get_whole("1", tmp_path / "got")
    for content in (b"[]", b"{", whole.replace(b'"rows.npy"', b'"../rows.npy"')):
        etag = run.read("shards/1/whole.json")[1]  # type: ignore[index]
        assert run.replace("shards/1/whole.json", content, etag)
        with pytest.raises(Damaged, match=r"whole\.json is not what Winnow writes"):
            run.get_whole("1", tmp_path / "got")
    assert not (tmp_path / "rows.npy").exists()


def test_what_cannot_be_reached_is_named(bucket: str, tmp_path: Path):
    with pytest.raises(RunError, match=r"s3://nowhere/x/y\.json cannot be written: there is no such bucket"):
        Remote("s3://nowhere/x").create("y.json", b"")
    with pytest.raises(InputError, match=r"s3://nowhere/x/y\.json cannot be read: there is no such bucket"):
        Remote("s3://nowhere/x").read("y.json")
    with pytest.raises(InputError, match="names no bucket"):
        Remote("s3://")
