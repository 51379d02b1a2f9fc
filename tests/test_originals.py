"""Originals of the pool's items: frames found by seeking against frames decoded in turn, crops by their boxes."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_video import KINDS

import winnow
from winnow.data import storage, video
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.originals import Changed, Originals, content_in, part, read_again
from winnow.pool.patches import read_boxes
from winnow.pool.pool import Pool

import videos


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_by_its_time_is_the_frame_read_in_turn(tmp_path, name):
    path = str(videos.write(tmp_path / name, 75, **KINDS[name]))
    for frame in list(video.frames(path, None, every=0.001))[::7]:
        found = video.frame_at(path, frame.time)
        assert found.time == frame.time
        np.testing.assert_array_equal(found.image, frame.image)
        assert video.frame_at(path, round(frame.time, 3)).time == frame.time


@pytest.mark.parametrize("name", ["h264.mp4", "h264-open.mp4", "hevc-open.mp4", "vp9.webm"])
def test_it_is_decoded_from_the_key_frame_before_it(tmp_path, name, monkeypatch):
    path = str(videos.write(tmp_path / name, 250, **KINDS[name]))
    walked = []
    forward = video._forward

    def counted(*words):
        for found in forward(*words):
            walked.append(found)
            yield found

    monkeypatch.setattr(video, "_forward", counted)
    assert video.frame_at(path, 9.0).time == pytest.approx(9.0, abs=0.001)
    assert len(walked) < 80


def test_a_video_that_starts_late_or_has_odd_times(tmp_path):
    times = [*range(7000, 9000, 130), 9001, 9002, 9003, 12345]
    path = str(videos.write(tmp_path / "odd.mkv", [videos.picture(n) for n in range(len(times))], times=times, gop=5))
    for frame in video.frames(path, None, every=0.001):
        found = video.frame_at(path, frame.time)
        assert found.time == frame.time and videos.number_of(found.image) == videos.number_of(frame.image)


@pytest.mark.parametrize("time", [0.5, 3.0, 1e9, -1.0, -0.002])
def test_no_frame_at_that_time(tmp_path, time):
    path = str(videos.write(tmp_path / "a.mp4", 75, rate=25, gop=12))
    with pytest.raises(Unreadable, match="no frame at"):
        video.frame_at(path, time)


def test_damaged_videos_give_the_frame_or_the_reason(tmp_path):
    path = videos.write(tmp_path / "a.mp4", 200, gop=12, options={"movflags": "faststart"})
    whole = {frame.time: frame.image for frame in video.frames(str(path), None, every=0.001)}
    videos.damage(path, 0.5, 0.6)
    right = 0
    for time, image in list(whole.items())[::10]:
        with contextlib.suppress(Unreadable):
            right += int(np.array_equal(video.frame_at(str(path), time).image, image))
    assert right > 10
    for broken in (b"", b"no video", path.read_bytes()[:300]):
        (tmp_path / "b.mp4").write_bytes(broken)
        with pytest.raises(Unreadable):
            video.frame_at(str(tmp_path / "b.mp4"), 0.0)


def opened(folder, sources, **options) -> tuple[Pool, Originals]:
    options = IngestOptions(size=(16, 16), **options)
    ingest(sources, folder, options)
    pool = Pool.open(folder)
    return pool, Originals(pool, options)


def test_originals_of_pictures_frames_and_patches(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    named, film = tmp_path / "Bär #1.png", videos.write(tmp_path / "film.mp4", 60, gop=12)
    Image.fromarray(picture).save(named)
    pool, originals = opened(tmp_path / "whole", [named, film], every=0.4)
    assert np.array_equal(originals.pixels(0), picture)
    assert originals.file(0) == named.read_bytes() and originals.size(0) == (50, 70)
    for row in range(1, len(pool)):
        found = originals.pixels(row)
        assert found.shape == (96, 160, 3) and videos.number_of(found) == round(pool.column("time")[row] * 25)
        assert originals.size(row) == (96, 160)
    pool, originals = opened(tmp_path / "cut", [named, film], patches=True, blank=0)
    for row in (0, 7, len(pool) - 1):
        assert np.array_equal(originals.pixels(row), pool.pixels([row])[0])
        assert originals.size(row) == ((50, 70) if row < 12 else (96, 160))
    x, y, width, height = read_boxes([pool.column("box")[7]])[0]
    assert np.array_equal(originals.pixels(7), picture[y : y + height, x : x + width])


def test_sizes_are_those_of_the_upright_picture(tmp_path):
    for name, format_ in (("a.jpg", "JPEG"), ("b.png", "PNG"), ("c.webp", "WEBP"), ("d.tif", "TIFF")):
        exif = Image.Exif()
        exif[274] = 6  # lies on its side
        Image.fromarray(videos.picture(3, 40, 60)).save(tmp_path / name, format_, exif=exif)
    pool, originals = opened(tmp_path / "pool", [tmp_path])
    for row in range(len(pool)):
        assert originals.size(row) == originals.pixels(row).shape[:2] == (60, 40)


def test_an_original_is_read_as_the_ingest_read_it(tmp_path):
    Image.fromarray(np.full((20, 20), 4095, np.uint16)).save(tmp_path / "deep.png")
    _, originals = opened(tmp_path / "pool", [tmp_path / "deep.png"], white=4095.0)
    assert (originals.pixels(0) == 255).all()


def test_an_original_that_cannot_be_read_is_reported_with_its_name(tmp_path):
    path, film = tmp_path / "päd.png", videos.write(tmp_path / "f.mp4", 25)
    Image.fromarray(videos.picture(1, 30, 40)).save(path)
    pool, originals = opened(tmp_path / "pool", [path, film])
    limited = Originals(pool, IngestOptions(pixel_limit=0.001))
    for row, said in ((0, r"päd\.png.*more than the limit"), (1, r"f\.mp4.*above the limit")):
        with pytest.raises(Unreadable, match=said):
            limited.pixels(row)
    path.unlink(), film.unlink()
    for row, name in ((0, r"päd\.png"), (1, r"f\.mp4")):
        for read in (originals.pixels, originals.file, originals.size)[:: 2 if row else 1]:
            with pytest.raises(Unreadable, match=name) as caught:
                read(row)
            assert caught.value.remedy and not isinstance(caught.value, Changed)
    path.mkdir()
    with pytest.raises(Unreadable, match=r"päd\.png"):
        originals.pixels(0)


def test_a_row_of_a_table_of_results_is_read_again_by_id_source_and_time(tmp_path):
    picture, named = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8), tmp_path / "a.png"
    Image.fromarray(picture).save(named)
    film, options = videos.write(tmp_path / "f.mp4", 25), IngestOptions()
    name, long_ago = content_in(named.read_bytes()), 0.0
    assert np.array_equal(read_again(name, str(named), None, None, options, long_ago), picture)
    crop = read_again(f"{name}#30,20,10,8", str(named), None, None, options, long_ago)
    assert np.array_equal(crop, picture[20:28, 30:40])
    now = film.stat().st_mtime
    assert videos.number_of(read_again(f"{film}@0.400", str(film), 0.4, None, options, now)) == 10
    for item, source, time in ((f"{film}@0.400", film, 0.4), ("0" * 16, named, None)):  # written later; another content
        with pytest.raises(Changed):
            read_again(item, str(source), time, None, options, long_ago)
    for source in ("s3://bucket/a.png", str(tmp_path / "gone.mp4")):
        with pytest.raises(Unreadable):
            read_again(name, source, 0.4, None, options, now)


def test_a_part_that_the_picture_does_not_hold():
    whole = np.zeros((30, 40, 3), np.uint8)
    assert part(whole, "30,20,10,10").shape == (10, 10, 3)
    for box in ("31,20,10,10", "0,0,40,31", "-1,0,5,5", "0,0,0,5", "a,b", "", "1,2,3", "1,2,3,4,5"):
        with pytest.raises(Unreadable):
            part(whole, box)


def test_originals_are_read_in_one_place():
    package = Path(winnow.__file__).parent
    reads = re.compile(r"images\.(decode|pages)\(|video\.(frame_at|frames)\(|Image\.open\(")
    found = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if reads.search(path.read_text("utf-8"))
    }
    # The ingest reads the sources, masks are nobody's originals, a model card quotes an example, and a page shrinks what was drawn.
    own = {"inspect/masks.py", "deploy/card.py", "report/embed.py"}
    assert found == {"pool/parts.py", "pool/films.py", "pool/originals.py", *own}


# ---- files that are others by now


def film_of(path, first: int):
    return videos.write(path, [videos.picture(first + number) for number in range(50)], rate=10, gop=10)


def test_another_file_under_the_name_of_the_one_ingested_is_never_shown(tmp_path):
    for number in range(4):
        Image.fromarray(videos.picture(number, 40, 60)).save(tmp_path / f"{number}.png")
    film_of(tmp_path / "a.mp4", 0), film_of(tmp_path / "b.mp4", 100)
    pool, originals = opened(tmp_path / "pool", [tmp_path])
    spare = tmp_path / "spare"
    for one, other in (("0.png", "1.png"), ("a.mp4", "b.mp4")):  # exchanged, which keeps sizes and times of change
        (tmp_path / one).rename(spare)
        (tmp_path / other).rename(tmp_path / one)
        spare.rename(tmp_path / other)
    Image.fromarray(videos.picture(50, 40, 60)).save(tmp_path / "2.png")
    for row, source in enumerate(pool.column("source")):
        if source.endswith("3.png"):
            assert videos.number_of(originals.pixels(row)) == 3
            continue
        for read in (originals.pixels, originals.size):
            with pytest.raises(Changed, match="it is not the file that was ingested"):
                read(row)


def test_a_copy_of_a_video_with_other_times_is_the_same_and_is_hashed_once(tmp_path, monkeypatch):
    film = film_of(tmp_path / "a.mp4", 0)
    pool, originals = opened(tmp_path / "pool", [film])
    content = film.read_bytes()
    film.unlink()
    film.write_bytes(content)
    taken = []
    digest = storage.digest
    monkeypatch.setattr(storage, "digest", lambda uri: (taken.append(uri), digest(uri))[1])
    assert [videos.number_of(originals.pixels(row)) for row in range(len(pool))] == [0, 10, 20, 30, 40]
    assert len(taken) == 1
    film_of(film, 7)  # overwritten while the page is open
    with pytest.raises(Changed):
        originals.pixels(0)
