"""The pool: what goes in comes out, killed or not, once or bit by bit; and what cannot go in is named."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.data import storage, video
from winnow.data.images import decode
from winnow.errors import Damaged, InputError, RunError
from winnow.options import IngestOptions
from winnow.pool import ingest as ingesting
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool, write_shards
from winnow.scale.local import cores, run_local

import videos

OPTIONS = IngestOptions(size=(12, 16), workers=2)


def with_options(**changed) -> IngestOptions:
    return OPTIONS.model_copy(update=changed)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("winnow.pool.plan.PART_PICTURES", 4)


def save_picture(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(videos.picture(number, 24, 32)).save(path)
    return path


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Ten pictures in two folders, an exact copy, two videos between them, a broken picture."""
    folder = tmp_path / "in"
    for number in range(10):
        save_picture(folder / ("a" if number < 6 else "z") / f"{number}.png", number)
    (folder / "z" / "copy.png").write_bytes((folder / "a" / "2.png").read_bytes())
    (folder / "a" / "broken.png").write_bytes((folder / "a" / "2.png").read_bytes()[:100])
    videos.write(folder / "m" / "one.mp4", 50)
    videos.write(folder / "m" / "two.avi", 30, codec="mjpeg", form="yuvj420p")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a pool but its lock, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_the_pool_holds_what_the_decoders_give(mixed, tmp_path):
    result = ingest([mixed], tmp_path / "pool", with_options(every=0.4))
    assert (result.pictures, result.videos, result.frames) == (11, 2, 5 + 3)
    assert (result.refused, result.copies, result.groups) == (1, 1, 4)
    pool = Pool.open(tmp_path / "pool")
    assert (len(pool), pool.size, pool.channels) == (19, (12, 16), 3)
    pixels = pool.pixels(np.arange(len(pool)))
    for row, (name, source, when) in enumerate(
        zip(pool.column("id"), pool.column("source"), pool.column("time"), strict=True)
    ):
        if name.startswith(source):
            wanted = next(f for f in video.frames(source, (12, 16), every=0.4) if f.time == when)
            assert name == f"{source}@{when:.3f}"
            np.testing.assert_array_equal(pixels[row], wanted.image)
        else:
            assert np.isnan(when)
            np.testing.assert_array_equal(pixels[row], decode(storage.read(source, 1 << 20), (12, 16)))
    assert [Path(source).name for source in pool.column("source")[:6]] == [f"{n}.png" for n in range(6)]
    copies = pool.column("status") == "copy"
    assert [Path(source).name for source in pool.column("source")[copies]] == ["copy.png"]
    np.testing.assert_array_equal(pool.usable, ~copies)
    assert len(set(pool.column("id"))) == len(pool) - 1
    rows = list(csv.DictReader((tmp_path / "pool" / "quarantine.csv").open(encoding="utf-8")))
    assert [Path(row["source"]).name for row in rows] == ["broken.png"]
    assert rows[0]["reason"]


def test_pixels_in_any_order(mixed, tmp_path, small_parts):
    ingest([mixed], tmp_path / "pool", OPTIONS)
    pool = Pool.open(tmp_path / "pool")
    shards = [
        np.load(tmp_path / "pool" / shard["file"])
        for shard in json.loads((tmp_path / "pool" / "pool.json").read_text())["shards"]
    ]
    everything = np.concatenate(shards)
    rows = np.random.default_rng(0).permutation(len(pool)).repeat(2)
    np.testing.assert_array_equal(pool.pixels(rows), everything[rows])
    np.testing.assert_array_equal(pool.pixels(slice(3, 9)), everything[3:9])
    np.testing.assert_array_equal(pool.pixels(pool.usable), everything[pool.usable])
    assert pool.pixels([]).shape == (0, 12, 16, 3)
    with pytest.raises(IndexError):
        pool.pixels([len(pool)])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bytes(mixed, tmp_path, small_parts, workers):
    ingest([mixed], tmp_path / "one", with_options(workers=1, every=0.1))
    ingest([mixed], tmp_path / "many", with_options(workers=workers, every=0.1))
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_a_long_video_is_cut_into_shards(mixed, tmp_path, monkeypatch):
    ingest([mixed / "m"], tmp_path / "whole", with_options(every=0.04))
    monkeypatch.setattr("winnow.pool.pool.SHARD_ROWS", 7)
    monkeypatch.setattr("winnow.pool.pool.OPEN_SHARDS", 2)
    ingest([mixed / "m"], tmp_path / "cut", with_options(every=0.04))
    whole, cut = Pool.open(tmp_path / "whole"), Pool.open(tmp_path / "cut")
    assert len(list((tmp_path / "cut").glob("pixels-00000*.npy"))) == 8
    rows = np.arange(len(whole))[::-1]
    np.testing.assert_array_equal(whole.pixels(rows), cut.pixels(rows))
    assert len(cut._maps) <= 2


def test_shards_are_plain_npy_files(tmp_path):
    images = [np.full((5, 7, 1), number, np.uint8) for number in range(3)]
    (shard,) = write_shards(tmp_path, 0, images, (5, 7, 1))
    loaded = np.load(tmp_path / shard["file"], allow_pickle=False)
    np.testing.assert_array_equal(loaded, np.stack(images))
    assert shard["bytes"] == (tmp_path / shard["file"]).stat().st_size == 128 + 3 * 35
    assert write_shards(tmp_path, 1, [], (5, 7, 1)) == []


# ---- again, more, changed


def test_more_inputs_add_only_what_is_new(mixed, tmp_path, monkeypatch):
    pool = tmp_path / "pool"
    ingest([mixed / "a", mixed / "m"], pool, OPTIONS)
    before = {path.name: path.stat().st_mtime_ns for path in pool.glob("pixels-*")}
    read = []
    monkeypatch.setattr(storage, "read", lambda uri, limit, real=storage.read: read.append(uri) or real(uri, limit))
    added = ingest([mixed / "z"], pool, OPTIONS)
    assert {Path(uri).parent.name for uri in read} == {"z"}
    assert added.pictures == 11
    assert all((pool / name).stat().st_mtime_ns == when for name, when in before.items())
    read.clear()
    all_of_it = ingest([mixed], pool, OPTIONS)
    assert read == []
    assert all_of_it.pictures == 11
    once = tmp_path / "once"
    ingest([mixed], once, OPTIONS)
    assert set(Pool.open(pool).column("id")) == set(Pool.open(once).column("id"))


def test_what_is_not_asked_for_stays_or_goes(mixed, tmp_path):
    pool = tmp_path / "pool"
    ingest([mixed], pool, OPTIONS)
    assert ingest([mixed / "a"], pool, OPTIONS).pictures == 11
    only = ingest([mixed / "a"], pool, OPTIONS, keep_others=False)
    assert (only.pictures, only.frames, only.videos) == (6, 0, 0)
    alone = tmp_path / "alone"
    ingest([mixed / "a"], alone, OPTIONS)
    assert Pool.open(pool).fingerprint == Pool.open(alone).fingerprint
    assert set(contents(pool)) == set(contents(alone))


def test_a_changed_file_is_done_again(mixed, tmp_path):
    pool = tmp_path / "pool"
    ingest([mixed], pool, OPTIONS)
    first = Pool.open(pool)
    save_picture(mixed / "a" / "3.png", 300)
    videos.write(mixed / "m" / "one.mp4", 26)
    result = ingest([mixed / "a" / "3.png", mixed / "m" / "one.mp4"], pool, OPTIONS)
    assert (result.pictures, result.frames) == (11, 2 + 2)
    second = Pool.open(pool)
    assert second.fingerprint != first.fingerprint
    row = list(second.column("source")).index(str(mixed / "a" / "3.png"))
    np.testing.assert_array_equal(second.pixels([row])[0], decode((mixed / "a" / "3.png").read_bytes(), (12, 16)))
    assert set(second.column("source")) == set(first.column("source"))


@pytest.mark.slow
def test_others_of_a_changed_part_survive_a_kill(mixed, tmp_path):
    """The part is dropped before its other pictures are made again: they must not be forgotten in between."""
    pool = tmp_path / "pool"
    ingest([mixed / "a"], pool, OPTIONS)
    wanted = set(Pool.open(pool).column("source"))
    save_picture(mixed / "a" / "3.png", 300)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ingesting, "_decode_all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ingest([mixed / "a" / "3.png"], pool, OPTIONS)
    with pytest.raises(RunError, match="not finished"):
        Pool.open(pool)
    ingest([mixed / "a" / "3.png"], pool, OPTIONS)
    assert set(Pool.open(pool).column("source")) == wanted
    assert not (pool / "again.json").exists()


def test_new_labels_need_no_decoding(mixed, tmp_path, monkeypatch):
    listed = tmp_path / "list.csv"
    names = [str(mixed / "a" / f"{n}.png") for n in range(4)]
    listed.write_text("path,label\n" + "".join(f"{name},old\n" for name in names))
    ingest([listed], tmp_path / "pool", OPTIONS)
    first = Pool.open(tmp_path / "pool")
    listed.write_text("path,label,group,split\n" + "".join(f"{name},new,g,train\n" for name in names))
    monkeypatch.setattr("winnow.pool.parts._picture", None)
    ingest([listed], tmp_path / "pool", OPTIONS)
    second = Pool.open(tmp_path / "pool")
    assert set(first.column("label")) == {"old"}
    assert set(second.column("label")) == {"new"}
    assert set(second.column("group")) == {"g"}
    assert set(second.column("split")) == {"train"}
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    "changed", [{"size": (16, 12)}, {"grey": True}, {"every": 0.5}, {"keyframes": True}, {"white": 100.0}]
)
def test_other_options_are_refused_and_harm_nothing(mixed, tmp_path, changed):
    ingest([mixed], tmp_path / "pool", OPTIONS)
    before = contents(tmp_path / "pool")
    with pytest.raises(RunError, match="was ingested with --") as error:
        ingest([mixed], tmp_path / "pool", with_options(**changed))
    assert "another run folder" in error.value.remedy
    assert contents(tmp_path / "pool") == before


def test_options_change_the_pixels(mixed, tmp_path):
    grey = with_options(grey=True)
    ingest([mixed / "m"], tmp_path / "grey", grey)
    assert Pool.open(tmp_path / "grey").pixels([0]).shape == (1, 12, 16, 1)
    often = ingest([mixed / "m"], tmp_path / "often", with_options(every=0.2))
    seldom = ingest([mixed / "m"], tmp_path / "seldom", with_options(every=2.0))
    keys = ingest([mixed / "m"], tmp_path / "keys", with_options(keyframes=True))
    assert (often.frames, seldom.frames, keys.frames) == (16, 2, 1 + 30)


# ---- the same name, size and time


def put_back(path: Path, data: bytes) -> None:
    """Gives a file other content but its old time of modification, as a tar with a fixed one does."""
    before = path.stat()
    assert before.st_size == len(data)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def ids_of(sources: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sources]


@pytest.fixture
def bitmaps(tmp_path) -> list[Path]:
    """Pictures whose files are all of one size."""
    paths = [tmp_path / "in" / f"{number}.bmp" for number in range(8)]
    return [save_picture(path, number) for number, path in enumerate(paths)]


@pytest.mark.parametrize("keep_others", [True, False])
def test_other_content_of_the_same_name_size_and_time_is_read(bitmaps, tmp_path, keep_others):
    pool = tmp_path / "pool"
    ingest([tmp_path / "in"], pool, OPTIONS, keep_others=keep_others)
    for number, path in enumerate(bitmaps):
        put_back(path, save_picture(tmp_path / "other.bmp", 100 + number).read_bytes())
    ingest([tmp_path / "in"], pool, OPTIONS, keep_others=keep_others)
    assert list(Pool.open(pool).column("id")) == ids_of(bitmaps)
    np.testing.assert_array_equal(Pool.open(pool).pixels([3])[0], decode(bitmaps[3].read_bytes(), (12, 16)))


def test_a_video_of_the_same_name_size_and_time_is_read(tmp_path):
    frames = [[videos.picture(number + shift, 24, 32) for number in range(4)] for shift in (0, 50)]
    path, other = (
        videos.write(tmp_path / f"{name}.avi", some, codec="rawvideo") for name, some in zip("ab", frames, strict=True)
    )
    ingest([path], tmp_path / "pool", with_options(every=0.01))
    first = Pool.open(tmp_path / "pool").fingerprint
    put_back(path, other.read_bytes())
    ingest([path], tmp_path / "pool", with_options(every=0.01))
    assert Pool.open(tmp_path / "pool").fingerprint != first


def test_on_a_coarse_clock_the_content_decides(bitmaps, tmp_path, monkeypatch):
    """As on FAT: times are those of full two seconds, so that a change need not show in them."""
    real = os.stat

    class Coarse:
        def __init__(self, status):
            self._status = status

        def __getattr__(self, name):
            return 1_600_000_002_000_000_000 if name in ("st_mtime_ns", "st_ctime_ns") else getattr(self._status, name)

    monkeypatch.setattr(storage, "_entry", lambda uri, status, made=storage._entry: made(uri, Coarse(real(uri))))
    pool = tmp_path / "pool"
    ingest([tmp_path / "in"], pool, OPTIONS)
    before = contents(pool)
    monkeypatch.setattr("winnow.pool.parts._picture", None)
    ingest([tmp_path / "in"], pool, OPTIONS)
    assert contents(pool) == before
    monkeypatch.undo()
    monkeypatch.setattr(storage, "_entry", lambda uri, status, made=storage._entry: made(uri, Coarse(real(uri))))
    put_back(bitmaps[0], save_picture(tmp_path / "other.bmp", 100).read_bytes())
    ingest([tmp_path / "in"], pool, OPTIONS)
    assert list(Pool.open(pool).column("id")) == ids_of(bitmaps)


def test_a_tree_that_was_copied_or_touched_is_not_decoded_again(mixed, tmp_path, monkeypatch):
    """Another inode, another device, another time: the content is the same, and what is made stays to the byte."""
    pool = tmp_path / "pool"
    ingest([mixed], pool, OPTIONS)
    before = {path.name: path.stat().st_mtime_ns for path in pool.glob("pixels-*")}
    first = Pool.open(pool)
    shutil.copytree(mixed, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(mixed)
    (tmp_path / "copy").rename(mixed)
    monkeypatch.setattr("winnow.pool.parts._picture", None)
    monkeypatch.setattr(video, "frames", None)
    for keep_others in (True, False):
        ingest([mixed], pool, OPTIONS, keep_others=keep_others)
        assert {path.name: path.stat().st_mtime_ns for path in pool.glob("pixels-*")} == before
        assert Pool.open(pool).fingerprint == first.fingerprint


def test_what_is_changed_while_it_is_written_is_read_again(bitmaps, tmp_path, monkeypatch):
    """Another content within the tick of the clock that stamps files: the mark waits until that is over."""
    data = bitmaps[0].read_bytes()
    bitmaps[0].write_bytes(data)
    mark = storage.stat(str(bitmaps[0])).mark
    assert not mark.endswith(storage.UNSURE)
    put_back(bitmaps[0], data[::-1])
    assert storage.stat(str(bitmaps[0])).mark != mark
    monkeypatch.setattr(storage, "_young", lambda status: True)
    assert storage.stat(str(bitmaps[0])).mark.endswith(storage.UNSURE)


# ---- what a pool is to be used for


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [("split", "test", "table"), ("group", "other", "table"), ("label", "other", "label")],
)
def test_each_fingerprint_changes_with_its_columns_alone(bitmaps, tmp_path, name, value, changes):
    listed, held = tmp_path / "list.csv", {"split": "train", "group": "g", "label": "x"}

    def pool_of(known: dict[str, str]) -> Pool:
        listed.write_text(
            f"path,{','.join(known)}\n" + "".join(f"{path},{','.join(known.values())}\n" for path in bitmaps)
        )
        ingest([listed], tmp_path / "pool", OPTIONS)
        return Pool.open(tmp_path / "pool")

    first, second, third = pool_of(held), pool_of(held | {name: value}), pool_of(held)
    assert set(second.column(name)) == {value}
    assert first.fingerprint == second.fingerprint
    for kind in ("table", "label"):
        one, other, again = (getattr(pool, f"{kind}_fingerprint") for pool in (first, second, third))
        assert one == again and (one != other) == (kind == changes)


# ---- in the order of the call


@pytest.mark.parametrize("second", [[9, 0, 4, 5], [4, 5, 6, 7, 0, 1, 2, 3], list(range(10)), [0, 10, 1, 2, 3]], ids=str)
def test_without_others_a_pool_is_as_a_new_one(mixed, tmp_path, small_parts, second):
    sources = [*sorted(mixed.glob("[az]/*.png")), *sorted(mixed.glob("m/*"))]
    ingest(sources, tmp_path / "pool", OPTIONS, keep_others=False)
    ingest([sources[place] for place in second], tmp_path / "pool", OPTIONS, keep_others=False)
    ingest([sources[place] for place in second], tmp_path / "new", OPTIONS)
    pool, new = Pool.open(tmp_path / "pool"), Pool.open(tmp_path / "new")
    assert pool.items == new.items and pool.fingerprint == new.fingerprint
    np.testing.assert_array_equal(pool.pixels(slice(None)), new.pixels(slice(None)))
    assert len(list((tmp_path / "pool").glob("pixels-*"))) == len(list((tmp_path / "new").glob("pixels-*")))


def test_parts_of_an_earlier_pool_are_taken_over_when_they_are_whole(mixed, tmp_path, small_parts, monkeypatch):
    ingest([mixed], tmp_path / "old", OPTIONS)
    shard = tmp_path / "old" / "pixels-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    before = contents(tmp_path / "old")
    made, real = [], ingesting.make_pictures
    monkeypatch.setattr(ingesting, "make_pictures", lambda part, *more: made.append(part.number) or real(part, *more))
    ingest(
        [mixed / "z", mixed / "m", mixed / "a"], tmp_path / "pool", OPTIONS, keep_others=False, earlier=tmp_path / "old"
    )
    assert len(made) == 1
    ingest([mixed / "z", mixed / "m", mixed / "a"], tmp_path / "new", OPTIONS)
    assert Pool.open(tmp_path / "pool").fingerprint == Pool.open(tmp_path / "new").fingerprint
    pool = Pool.open(tmp_path / "pool")
    pool.pixels(slice(None))
    assert contents(tmp_path / "old") == before


def test_without_others_other_options_make_a_new_pool(mixed, tmp_path):
    ingest([mixed], tmp_path / "pool", OPTIONS, keep_others=False)
    ingest([mixed], tmp_path / "pool", with_options(grey=True), keep_others=False)
    assert Pool.open(tmp_path / "pool").channels == 1


# ---- broken files


def test_stop_at_the_first_broken_file_and_go_on(mixed, tmp_path):
    pool = tmp_path / "pool"
    with pytest.raises(InputError, match=r"broken\.png") as error:
        ingest([mixed], pool, with_options(on_error="stop"))
    assert "--on-error skip" in error.value.remedy
    with pytest.raises(RunError, match="not finished"):
        Pool.open(pool)
    assert ingest([mixed], pool, OPTIONS).refused == 1
    videos.cut(mixed / "m" / "one.mp4", 0.5)
    (mixed / "a" / "broken.png").unlink()
    with pytest.raises(InputError, match=r"one\.mp4.*moov"):
        ingest([mixed], pool, with_options(on_error="stop"))


def test_too_many_broken_files(mixed, tmp_path):
    for number in range(3):
        (mixed / "a" / f"bad{number}.jpg").write_bytes(b"not a picture")
    pool = tmp_path / "pool"
    with pytest.raises(InputError, match="4 of 17 files could not be read") as error:
        ingest([mixed], pool, OPTIONS)
    assert sum(f"{name}:" in error.value.message for name in ("bad0.jpg", "bad1.jpg", "bad2.jpg", "broken.png")) == 3
    assert str(pool / "quarantine.csv") in error.value.remedy
    assert len((pool / "quarantine.csv").read_text().splitlines()) == 5
    with pytest.raises(RunError):
        Pool.open(pool)
    assert ingest([mixed], pool, with_options(max_refused=0.3)).refused == 4


def test_nothing_usable(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="1 of 1 files"):
        ingest([tmp_path / "in"], tmp_path / "pool", OPTIONS)
    with pytest.raises(InputError, match="No picture"):
        ingest([tmp_path / "in"], tmp_path / "pool", with_options(max_refused=1.0))
    assert "empty" in (tmp_path / "pool" / "quarantine.csv").read_text()


def test_a_video_that_ends_early_keeps_its_frames(tmp_path):
    (tmp_path / "in").mkdir()
    videos.cut(videos.write(tmp_path / "in" / "cut.mkv", 100, gop=12), 0.5)
    result = ingest([tmp_path / "in"], tmp_path / "pool", with_options(every=0.2))
    assert 4 <= result.frames < 20


# ---- damage


def test_damage_is_found(mixed, tmp_path):
    pool = tmp_path / "pool"
    ingest([mixed], pool, OPTIONS)
    whole = contents(pool)
    shard = pool / "pixels-00000.npy"
    flipped = bytearray(shard.read_bytes())
    flipped[-1] ^= 1
    shard.write_bytes(flipped)
    with pytest.raises(Damaged, match=shard.name):
        Pool.open(pool).pixels([0])
    shard.write_bytes(flipped[:-1])
    with pytest.raises(Damaged, match=shard.name) as error:
        Pool.open(pool)
    assert "ingest" in error.value.remedy
    ingest([mixed], pool, OPTIONS)
    (pool / "parts" / "00001.json").write_text("{")
    ingest([mixed], pool, OPTIONS)
    assert contents(pool) == whole
    items = bytearray((pool / "items.parquet").read_bytes())
    items[100] ^= 1
    (pool / "items.parquet").write_bytes(items)
    with pytest.raises(Damaged, match=r"items\.parquet"):
        Pool.open(pool)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"format": 2}'])
def test_what_pool_json_does_not_say(mixed, tmp_path, content):
    ingest([mixed / "a"], tmp_path / "pool", OPTIONS)
    about = tmp_path / "pool" / "pool.json"
    changed = about.read_text().replace('"rows": 6', '"rows": 5')
    for text in (content, changed):
        about.write_text(text)
        with pytest.raises(RunError, match=r"pool"):
            Pool.open(tmp_path / "pool")
    about.write_text('{"format": 1}')
    with pytest.raises(RunError, match="of format 1"):
        Pool.open(tmp_path / "pool")


def test_pixels_that_cannot_be_mapped(mixed, tmp_path):
    ingest([mixed / "a"], tmp_path / "pool", OPTIONS)
    pool, shard = Pool.open(tmp_path / "pool"), tmp_path / "pool" / "pixels-00000.npy"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(Damaged, match=shard.name):
        pool.pixels([0])


def test_a_pool_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match="holds no pictures"):
        Pool.open(tmp_path / "none")


# ---- killed, full, crowded


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(120):
        save_picture(folder / f"{number % 3}" / f"{number}.png", number)
    (folder / "1" / "bad.png").write_bytes(b"bad")
    for number in range(4):
        videos.write(folder / "1v" / f"{number}.mp4", 60, gop=12)
    return folder


SCRIPT = textwrap.dedent("""
    import sys, time
    from winnow.data import images
    from winnow.pool import ingest as ingesting
    from winnow.pool import plan as planning
    from winnow.options import IngestOptions
    planning.PART_PICTURES = 8
    real = images.pages
    def slowly(*given, **options):
        time.sleep(0.002)
        return real(*given, **options)
    images.pages = slowly
    print("ready", flush=True)
    ingesting.ingest([sys.argv[1]], sys.argv[2], IngestOptions(size=(12, 16), workers=2, every=0.1))
""")


def start(many: Path, pool: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(many), str(pool)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_killed_at_any_time_the_pool_ends_the_same(many, tmp_path):
    assert start(many, tmp_path / "whole").wait() == 0
    wanted = contents(tmp_path / "whole")
    rng = random.Random(0)
    stages = set()
    for trial, kills in enumerate(
        ((0, 2), (1, 3))
    ):  # parts finished when it is killed: the time depends on the machine
        pool = tmp_path / f"pool{trial}"
        for parts in kills:
            process = start(many, pool)
            while process.poll() is None and len(list((pool / "parts").glob("*.json"))) < parts:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            process.wait()
            stages.add(len(list((pool / "parts").glob("*.json"))) if pool.exists() else 0)
        assert start(many, pool).wait() == 0
        assert contents(pool) == wanted
    assert len(stages) > 2


@pytest.mark.slow
def test_killed_between_any_two_writes(mixed, tmp_path, small_parts):
    """Every file that is put in place is the last one before a crash, once."""
    ingest([mixed], tmp_path / "whole", OPTIONS)
    wanted = contents(tmp_path / "whole")
    replace = os.replace
    for crash in range(1, 40):
        calls = 0

        def failing(source, to, crash=crash):
            nonlocal calls
            calls += 1
            if calls == crash:
                raise KeyboardInterrupt
            replace(source, to)

        pool = tmp_path / f"pool{crash}"
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", failing)
            try:
                ingest([mixed], pool, with_options(workers=1))
                break
            except KeyboardInterrupt:
                pass
        (pool / ".pixels-00009.npy.abc.tmp").write_bytes(b"left by a kill")
        (pool / "pixels-00077.npy").write_bytes(b"pixels without a record")
        ingest([mixed], pool, OPTIONS)
        assert contents(pool) == wanted, crash
    assert crash > 10


def test_a_second_ingest_into_the_same_folder_is_refused(mixed, tmp_path, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    real = ingesting._decode_all

    def waiting(*given):
        entered.set()
        assert leave.wait(20)
        real(*given)

    monkeypatch.setattr(ingesting, "_decode_all", waiting)
    first = threading.Thread(target=ingest, args=([mixed], tmp_path / "pool", OPTIONS))
    first.start()
    assert entered.wait(20)
    with pytest.raises(RunError, match="Another ingest"):
        ingest([mixed], tmp_path / "pool", OPTIONS)
    leave.set()
    first.join()
    assert len(Pool.open(tmp_path / "pool")) > 0


@pytest.mark.slow
def test_a_full_disk_and_then_more_room(mixed, tmp_path):
    code = textwrap.dedent("""
        import resource, sys
        from winnow.pool.ingest import ingest
        from winnow.errors import RunError
        from winnow.options import IngestOptions
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        try:
            ingest([sys.argv[1]], sys.argv[2], IngestOptions(size=(48, 64)))
        except RunError as error:
            print(error)
    """)
    pool = tmp_path / "pool"
    done = subprocess.run([sys.executable, "-c", code, str(mixed), str(pool)], capture_output=True, text=True)
    assert done.stderr == ""
    assert f"{pool}/pixels-00000.npy cannot be written" in done.stdout
    assert "Free disk space" in done.stdout
    assert ingest([mixed], pool, IngestOptions(size=(48, 64))).pictures == 11


def test_a_folder_that_cannot_be_made(mixed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        ingest([mixed], tmp_path / "file" / "pool", OPTIONS)


# ---- names and the runner


def test_names_in_many_scripts(tmp_path):
    names = [
        "приклад",
        "例え",
        "예시",
        "उदाहरण",
        "مثال",
        "παράδειγμα",
        "דוגמה",
        "ตัวอย่าง",
        "æøå ñ",
        'a,b"c',
        "emoji 🏟",
        "e\u0301",
    ]
    for number, name in enumerate(names):
        save_picture(tmp_path / "in" / name / f"{name}.png", number)
    result = ingest([tmp_path / "in"], tmp_path / "pool", OPTIONS)
    assert (result.pictures, result.groups) == (12, 12)
    assert {Path(source).stem for source in Pool.open(tmp_path / "pool").column("source")} == set(names)


def test_run_local_keeps_order_and_looks_ahead_a_little():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    for workers in (1, 2, 4):
        taken.clear()
        results = run_local(lambda number: number * number, items(), workers)
        assert [next(results) for _ in range(10)] == [number * number for number in range(10)]
        assert len(taken) <= 10 + 2 * workers
        assert list(results) == [number * number for number in range(10, 100)]
    assert cores(3) == 3
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_run_local_raises_the_first_exception(workers):
    def function(number):
        if number in (5, 6):
            raise ValueError(f"item {number}")
        return number

    results = run_local(function, range(100), workers)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="item 5"):
        next(results)


def test_run_local_tells_long_items_to_stop():
    stopped = threading.Event()
    results = run_local(lambda number: number if number < 1 else stopped.wait(20), range(9), 2, stopped)
    assert next(results) == 0
    begun = time.monotonic()
    results.close()
    assert stopped.is_set()
    assert time.monotonic() - begun < 15


def test_progress_is_silent_in_a_pipe(mixed, tmp_path, capfd):
    ingest([mixed], tmp_path / "pool", OPTIONS)
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    assert isinstance(sys.stderr, io.TextIOBase)
