"""Files on s3 are read ahead of the decoders: more at once than cores, in order, in bounded memory."""

from __future__ import annotations

import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.data import ahead, storage
from winnow.data.ahead import read_ahead
from winnow.data.remote import Remote
from winnow.errors import InputError, Unreadable
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest

from buckets import Door, slow

LIMIT = 10**7


def fill(bucket: str, number: int, size: int = 10) -> list[str]:
    store = Remote(bucket)
    names = [f"{i}.bin" for i in range(number)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: store.create(name, name.encode() * size), names))
    return [store.uri(name) for name in names]


def test_more_requests_are_under_way_than_there_are_workers_and_all_come_in_order(
    bucket: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    uris = fill(bucket, 80)
    (tmp_path / "local.bin").write_bytes(b"here")
    uris.insert(5, str(tmp_path / "local.bin"))
    door = Door(server, slow(0.05))
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    try:
        with closing(read_ahead(uris, str, LIMIT)) as read:
            found = [(uri, data()) for uri, data in read]
    finally:
        door.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert found == [(uri, storage.read(uri, LIMIT)) for uri in uris]
    assert 8 < door.most <= ahead.READERS


def test_what_is_held_is_bounded_and_a_file_larger_than_that_is_read_alone(
    bucket: str, monkeypatch: pytest.MonkeyPatch
):
    uris = fill(bucket, 30, size=200_000)  # of a megabyte and more each
    monkeypatch.setattr(ahead, "MOST", 3_000_000)
    held, most = [0], [0]
    plain = ahead._Room._admit

    def watched(room: ahead._Room, number: int, size: int) -> bool:
        admitted = plain(room, number, size)
        most[0] = max(most[0], sum(room._held.values()))
        return admitted

    monkeypatch.setattr(ahead._Room, "_admit", watched)
    with closing(read_ahead(uris, str, LIMIT)) as read:
        for uri, data in read:
            held.append(len(data()))
            assert held[-1] == len(uri.rpartition("/")[2]) * 200_000
    assert len(held) == 31
    assert most[0] <= 3_000_000 + max(held)
    monkeypatch.setattr(ahead, "MOST", 10)
    with closing(read_ahead(uris, str, LIMIT)) as read:
        assert sum(len(data()) for _, data in read) == sum(held)


def test_the_first_that_cannot_be_read_is_told_in_its_place(bucket: str):
    uris = fill(bucket, 40)
    uris[7], uris[11] = f"{bucket}/gone", "s3://nowhere/x"
    with closing(read_ahead(uris, str, LIMIT)) as read:
        found = list(read)
        for number, (_, data) in enumerate(found[:11]):
            if number == 7:
                with pytest.raises(Unreadable, match=f"{bucket}/gone does not exist"):
                    data()
            else:
                data()
        with pytest.raises(InputError, match="no such bucket"):
            found[11][1]()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_breaking_off_ends_the_readers(bucket: str, monkeypatch: pytest.MonkeyPatch):
    uris = fill(bucket, 60, size=1000)
    monkeypatch.setattr(ahead, "MOST", 10_000)
    with closing(read_ahead(uris, str, LIMIT)) as read:
        next(read)  # that nobody takes the first keeps nobody else waiting
        next(read)[1]()
        assert readers()
    assert not readers()


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_pool_from_a_slow_bucket_is_that_of_a_quick_one(
    bucket: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Remote(f"{bucket}/in")
    for number in range(60):
        store.create(f"{number}.png", picture(number) if number != 20 else b"no picture")
    options = IngestOptions(size=(16, 16), workers=1, max_refused=0.5)
    ingest([store.address], tmp_path / "quick", options)
    door = Door(server, slow(0.03))
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    try:
        ingest([store.address], tmp_path / "slow", options.model_copy(update={"workers": 2}))
    finally:
        door.close()
    assert door.most > 8
    for folder in ("quick", "slow"):
        shutil.rmtree(tmp_path / folder / "parts")  # whose records hold the marks of the sources
    quick, slow_one = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("quick", "slow")
    )
    assert quick == slow_one and len(quick) > 3
