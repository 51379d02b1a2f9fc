"""Local files and s3://, the latter against a real server (moto) on loopback."""

from __future__ import annotations

import builtins
import logging
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.data import buckets, storage
from winnow.data.sources import expand
from winnow.errors import InputError, MissingExtra, Unreadable

# ---- this machine


def test_read_returns_all_bytes_up_to_the_limit(tmp_path: Path):
    path = tmp_path / "é 1.bin"
    path.write_bytes(b"0123456789")
    assert storage.read(str(path), 10) == b"0123456789"
    with pytest.raises(Unreadable, match="more than"):
        storage.read(str(path), 9)
    with storage.open_binary(str(path)) as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"789"


def special_files(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "pipe.mp4")
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(folder / "door.jpg"))
    door.close()
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nothing")
    return {
        str(folder / "pipe.mp4"): "pipe",
        str(folder / "door.jpg"): "socket",
        "/dev/zero": "device",
        "/dev/tty": "a device",
        str(folder): "a folder",
        str(folder / "loop.jpg"): "symbolic links",
        str(folder / "gone.jpg"): "does not exist",
        str(folder / "missing"): "does not exist",
        str(folder / ("x" * 300)): "too long",
        str(folder / "a\0b"): "null",
        str(folder / "missing" / "b"): "does not exist",
    }


@pytest.mark.parametrize(
    "how", [storage.stat, storage.open_binary, lambda uri: storage.read(uri, 10)], ids=["stat", "open", "read"]
)
def test_what_is_not_a_file_is_refused_without_being_opened(tmp_path: Path, how: Any):
    for uri, words in special_files(tmp_path).items():
        with pytest.raises(Unreadable) as caught:
            how(uri)
        assert words in caught.value.message
        assert os.path.basename(uri).replace("\0", "\\x00") in caught.value.message


def test_a_file_without_permission_is_refused(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    for how in (storage.open_binary, lambda uri: storage.read(uri, 10)):
        with pytest.raises(Unreadable, match="permission denied"):
            how(str(path))


def test_listing_is_natural_deep_and_ends_in_circles(tmp_path: Path):
    for name in ("b10/1", "b2/x", "b2/c/y", "B1/z", ".git/h", "b2/.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "b2" / "up").symlink_to(tmp_path)
    (tmp_path / "b10" / "across").symlink_to(tmp_path / "b2")
    entries = list(storage.listing(str(tmp_path)))
    assert [os.path.relpath(entry.uri, tmp_path) for entry in entries] == ["B1/z", "b2/c/y", "b2/x", "b10/1"]
    assert {entry.size for entry in entries} == {2}


def test_listing_names_what_cannot_be_used(tmp_path: Path):
    special_files(tmp_path)
    refused: dict[str, str] = {}
    assert list(storage.listing(str(tmp_path), refused.__setitem__)) == []
    assert {os.path.basename(uri) for uri in refused} == {"pipe.mp4", "door.jpg", "loop.jpg", "gone.jpg"}
    with pytest.raises(InputError):
        list(storage.listing(str(tmp_path)))


def test_a_folder_deeper_than_pythons_stack_is_listed(tmp_path: Path):
    deepest = tmp_path / "/".join("d" * 400)
    deepest.mkdir(parents=True)
    (deepest / "1.jpg").write_bytes(b"x")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(350)
    try:
        found = list(storage.listing(str(tmp_path)))
    finally:
        sys.setrecursionlimit(before)
    assert [entry.uri for entry in found] == [str(deepest / "1.jpg")]


@pytest.mark.parametrize(
    ("base", "relative", "address"),
    [
        ("/a/b", "c.jpg", "/a/b/c.jpg"),
        ("/a/b", "../c.jpg", "/a/c.jpg"),
        ("/a/b", "/c.jpg", "/c.jpg"),
        ("/a", "s3://k/c.jpg", "s3://k/c.jpg"),
        ("s3://k/a", "b/c.jpg", "s3://k/a/b/c.jpg"),
        ("s3://k", "c", "s3://k/c"),
        ("s3://k/a/b", "../c.jpg", "s3://k/a/c.jpg"),
        ("s3://k/a", "../../../c.jpg", "s3://k/c.jpg"),
        ("s3://k/a", "/c.jpg", "/c.jpg"),
    ],
)
def test_resolve(base: str, relative: str, address: str):
    assert storage.resolve(base, relative) == address


def test_other_schemes_are_refused_by_name():
    for address in ("https://example.org/1.jpg", "gs://bucket/1.jpg", "file:///1.jpg"):
        with pytest.raises(InputError, match=address):
            storage.stat(address)
    with pytest.raises(InputError, match="names no bucket"):
        storage.stat("s3:///key")


def test_natural_order_is_that_of_numbers_and_of_segments():
    given = ["f10", "f2", "F1", "a/b", "a", "a b", "a/b10", "a/b9", "7", "é", "f02x"]
    assert sorted(given, key=storage.natural) == [
        "7",
        "a",
        "a/b",
        "a/b9",
        "a/b10",
        "a b",
        "F1",
        "f2",
        "f02x",
        "f10",
        "é",
    ]


# ---- s3

KEYS = {
    "match/frame10.jpg": b"ten",
    "match/frame2.jpg": b"two",
    "match/a b/ü 日本.jpg": "ü".encode(),
    "match/p%20+q.jpg": b"%",
    "match/.hidden/x.jpg": b"h",
    "match/notes.doc": b"n",
    "matches/other.jpg": b"o",
    "match/film.mp4": bytes(range(256)) * 50,
    "match/#1 [x]?.jpg": b"#",
    "folder/": b"",
    "folder/1.jpg": b"1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("obstore", reason="the extra 's3' is not installed")
    ThreadedMotoServer = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        yield "http://{}:{}".format(*moto.get_host_and_port())
    finally:
        moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "ENDPOINT_URL": server,
        "ALLOW_HTTP": "true",
        "ACCESS_KEY_ID": "key",
        "REGION": "us-east-1",
        "SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3

    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="pictures")
    client.create_bucket(Bucket="empty")
    for key, data in KEYS.items():
        client.put_object(Bucket="pictures", Key=key, Body=data)
    return "s3://pictures"


def put(bucket: str, key: str, data: bytes) -> str:
    import obstore
    from obstore.store import S3Store

    obstore.put(S3Store(bucket.removeprefix("s3://")), key, data)
    return f"{bucket}/{key}"


def test_s3_listing_is_natural_and_leaves_hidden_keys_out(bucket: str):
    entries = list(storage.listing(f"{bucket}/match"))
    assert [entry.uri for entry in entries] == [
        f"{bucket}/match/{name}"
        for name in (
            "#1 [x]?.jpg",
            "a b/ü 日本.jpg",
            "film.mp4",
            "frame2.jpg",
            "frame10.jpg",
            "notes.doc",
            "p%20+q.jpg",
        )
    ]
    assert [entry.uri for entry in storage.listing(f"{bucket}/folder/")] == [f"{bucket}/folder/1.jpg"]
    assert len(list(storage.listing(bucket))) == 9
    for entry in entries:
        assert storage.stat(entry.uri) == entry
        assert storage.read(entry.uri, 10**6) == KEYS[entry.uri.removeprefix(f"{bucket}/")]


def test_s3_marks_change_with_the_content(bucket: str):
    uri = put(bucket, "mark.jpg", b"one")
    before = storage.stat(uri).mark
    put(bucket, "mark.jpg", b"two")
    assert storage.stat(uri).mark != before


def test_s3_folders(bucket: str):
    assert storage.is_folder(f"{bucket}/match")
    assert storage.is_folder(f"{bucket}/match/")
    assert storage.is_folder(bucket)
    assert storage.is_folder("s3://empty")
    assert not storage.is_folder(f"{bucket}/mat")
    assert not storage.is_folder(f"{bucket}/match/frame2.jpg")


def test_s3_files_are_read_by_pieces_as_local_ones(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "_BUFFER", 100_000)
    data = np.random.default_rng(0).bytes(900_000)
    uri = put(bucket, "large.bin", data)
    (tmp_path / "large.bin").write_bytes(data)
    with storage.open_binary(uri) as remote, open(tmp_path / "large.bin", "rb") as local:
        for offset, whence, count in (
            (10, 0, 5),
            (-5, 2, 9),
            (0, 0, 500_000),
            (-100, 1, 200),
            (899_990, 0, 100),
            (20, 2, 4),
        ):
            assert remote.seek(offset, whence) == local.seek(offset, whence)
            assert remote.read(count) == local.read(count)
            assert remote.tell() == local.tell()
        remote.seek(0)
        assert remote.read() == data
        with pytest.raises(OSError, match="before the start"):
            remote.seek(-1)


def test_s3_parquet_lists_and_mixed_inputs_expand_as_local_ones(bucket: str, tmp_path: Path):
    rows = [
        {"path": "match/frame2.jpg", "label": "a"},
        {"path": "match/gone.jpg", "label": "b"},
        {"path": f"{bucket}/match/film.mp4", "label": "c"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    (tmp_path / "1.jpg").write_bytes(b"x")
    lists = [
        put(bucket, "list.parquet", (tmp_path / "list.parquet").read_bytes()),
        put(bucket, "list.csv", b"path,label\nmatch/frame2.jpg,a\nmatch/gone.jpg,b\nmatch/film.mp4,c\n"),
        put(bucket, "list.txt", b"match/frame2.jpg\nmatch/gone.jpg\nmatch/film.mp4\n"),
    ]
    for listed in lists:
        found = expand([listed])
        assert [source.uri for source in found.sources] == [f"{bucket}/match/frame2.jpg", f"{bucket}/match/film.mp4"]
        assert [source.kind for source in found.sources] == ["image", "video"]
        assert [source.group for source in found.sources] == [f"{bucket}/match", f"{bucket}/match/film.mp4"]
        assert [refusal.source for refusal in found.refused] == [f"{bucket}/match/gone.jpg"]
        assert "does not exist" in found.refused[0].reason
    found = expand([tmp_path, f"{bucket}/folder", f"{bucket}/match/*.jpg", f"{bucket}/match/**/*.jpg", lists[1]])
    assert [os.path.basename(source.uri) for source in found.sources] == [
        "1.jpg",
        "1.jpg",
        "#1 [x]?.jpg",
        "frame2.jpg",
        "frame10.jpg",
        "p%20+q.jpg",
        "ü 日本.jpg",
        "film.mp4",
    ]


def test_s3_imagefolder(bucket: str):
    put(bucket, "hf/train/metadata.csv", b"file_name,label\n1.jpg,cat\n")
    put(bucket, "hf/train/1.jpg", b"x")
    put(bucket, "hf/test/2.jpg", b"x")
    assert [(source.split, source.label) for source in expand([f"{bucket}/hf"]).sources] == [
        ("test", ""),
        ("train", "cat"),
    ]


@pytest.mark.parametrize(
    "how", [storage.stat, storage.open_binary, lambda uri: storage.read(uri, 10**6)], ids=["stat", "open", "read"]
)
def test_s3_one_missing_key_is_unreadable_and_a_missing_bucket_is_an_error(bucket: str, how: Any):
    with pytest.raises(Unreadable, match=f"{bucket}/gone.jpg does not exist"):
        how(f"{bucket}/gone.jpg")
    with pytest.raises(InputError, match=r"s3://nowhere/gone\.jpg"):
        how("s3://nowhere/gone.jpg")
    with pytest.raises(Unreadable, match="a//b"):
        how(f"{bucket}/a//b")


@pytest.mark.parametrize(
    "address",
    [
        "s3://nowhere",
        "s3://nowhere/folder",
        "s3://nowhere/*.jpg",
        "s3://nowhere/list.csv",
        "s3://pictures/none",
        "s3://pictures/none/*.jpg",
        "s3://pictures/none.jpg",
        "s3://*/1.jpg",
    ],
)
def test_s3_inputs_that_stand_for_nothing_name_the_address_and_the_remedy(bucket: str, address: str):
    with pytest.raises(InputError) as caught:
        expand([address])
    assert address.partition("*")[0].rstrip("/") in caught.value.message
    assert caught.value.remedy
    assert "Debug" not in str(caught.value)


def test_s3_larger_files_than_the_limit_are_refused(bucket: str):
    with pytest.raises(Unreadable, match="more than"):
        storage.read(f"{bucket}/match/film.mp4", 100)


def test_s3_wrong_credentials_are_reported(bucket: str, server: str):
    import requests

    requests.post(f"{server}/moto-api/reset-auth", data="0", timeout=10)
    try:
        for how in (storage.stat, storage.open_binary, storage.is_folder, lambda uri: list(storage.listing(uri))):
            with pytest.raises(InputError, match=f"{bucket}/folder/1.jpg may not be read") as caught:
                how(f"{bucket}/folder/1.jpg")
            assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data="inf", timeout=10)
    assert storage.read(f"{bucket}/folder/1.jpg", 10) == b"1"


def test_s3_no_server_and_no_https_are_reported_and_a_corrected_setting_works(
    bucket: str, monkeypatch: pytest.MonkeyPatch
):
    right = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="does not answer") as caught:
        storage.stat(f"{bucket}/folder/1.jpg")
    assert not isinstance(caught.value, Unreadable)
    assert "AWS_ENDPOINT_URL" in caught.value.remedy
    monkeypatch.setenv("AWS_ENDPOINT_URL", right)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(InputError, match="not https"):
        storage.stat(f"{bucket}/folder/1.jpg")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert storage.stat(f"{bucket}/folder/1.jpg").size == 1


def test_s3_a_silent_server_is_given_up(bucket: str, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(buckets, "_PATIENCE", {"read_timeout": "1s", "timeout": "1s", "connect_timeout": "1s"})
        with pytest.raises(InputError, match=f"{bucket}/folder/1.jpg cannot be read: the server does not answer"):
            storage.read(f"{bucket}/folder/1.jpg", 10)


def test_s3_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("obstore")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setenv("AWS_REGION", "nowhere-else")
    for how in (storage.stat, storage.is_folder, storage.open_binary, lambda uri: storage.read(uri, 10)):
        with pytest.raises(MissingExtra, match=r"winnow-vision\[s3\]"):
            how("s3://pictures/1.jpg")


def child(uri: str, answers: Any) -> None:
    try:
        answers.put(storage.read(uri, 10))
    except InputError as error:
        answers.put(error.message)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_s3_in_a_worker_reads_or_says_why_it_cannot_but_never_hangs(bucket: str, method: str):
    assert storage.read(f"{bucket}/folder/1.jpg", 10) == b"1"
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    worker = context.Process(target=child, args=(f"{bucket}/folder/1.jpg", answers))
    worker.start()
    try:
        answer = answers.get(timeout=30)
        worker.join(10)
    finally:
        worker.kill()
    if method == "spawn":
        assert answer == b"1"
    else:
        assert "before this process was forked" in answer


def test_s3_threads_share_a_client(bucket: str):
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(storage.read(f"{bucket}/folder/1.jpg", 10))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [b"1"] * 8


def test_s3_videos_give_the_frames_of_local_ones(bucket: str, tmp_path: Path):
    import av

    from winnow.data.video import frames

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(35):
            picture = np.full((48, 64, 3), 7 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    uri = put(bucket, "film é.mp4", path.read_bytes())
    local, remote = list(frames(str(path), (12, 16))), list(frames(uri, (12, 16)))
    assert [frame.time for frame in remote] == [0, 1, 2, 3]
    assert [frame.time for frame in local] == [frame.time for frame in remote]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(local, remote, strict=True))
