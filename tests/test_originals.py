"""Originals of the pool's items: frames found by seeking against frames decoded in turn, crops by their boxes."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from PIL import Image
from test_video import KINDS

from winnow.data import video
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.originals import original
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


def test_originals_of_pictures_frames_and_patches(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "Bär #1.png")
    film = videos.write(tmp_path / "film.mp4", 60, gop=12)
    ingest([tmp_path / "Bär #1.png", film], tmp_path / "whole", IngestOptions(size=(16, 16), every=0.4))
    pool = Pool.open(tmp_path / "whole")
    sources, times, boxes = (pool.column(name) for name in ("source", "time", "box"))
    assert math.isnan(times[0])
    assert np.array_equal(original(sources[0], times[0], boxes[0]), picture)
    assert np.array_equal(original(sources[0], None, None), picture)
    for source, time, box in zip(sources[1:], times[1:], boxes[1:], strict=True):
        found = original(source, time, box)
        assert found.shape == (96, 160, 3) and videos.number_of(found) == round(time * 25)
    ingest([tmp_path / "Bär #1.png", film], tmp_path / "cut", IngestOptions(size=(16, 16), patches=True, blank=0))
    pool = Pool.open(tmp_path / "cut")
    for row in (0, 7, len(pool) - 1):
        found = original(*(pool.column(name)[row] for name in ("source", "time", "box")))
        assert np.array_equal(found, pool.pixels([row])[0])
    x, y, width, height = read_boxes([pool.column("box")[7]])[0]
    assert np.array_equal(original(sources[0], None, pool.column("box")[7]), picture[y : y + height, x : x + width])


def test_an_original_that_cannot_be_read_is_reported_with_its_name(tmp_path):
    path = tmp_path / "päd.png"
    Image.new("L", (40, 30)).save(path)
    assert original(str(path), None, "30,20,10,10").shape == (10, 10, 3)
    for box in ("31,20,10,10", "0,0,40,31", "-1,0,5,5", "0,0,0,5", "a,b", "", "1,2,3", "1,2,3,4,5"):
        with pytest.raises(Unreadable, match=r"päd\.png"):
            original(str(path), None, box)
    with pytest.raises(Unreadable, match=r"päd\.png.*more than the limit"):
        original(str(path), None, None, pixel_limit=0.001)
    film = videos.write(tmp_path / "f.mp4", 25)
    with pytest.raises(Unreadable, match=r"f\.mp4.*above the limit"):
        original(str(film), 0.0, None, pixel_limit=0.001)
    with pytest.raises(Unreadable, match=r"f\.mp4: it has no frame at 5\.000 s\."):
        original(str(film), 5.0, None)
    for missing in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(Unreadable, match=missing.name):
            original(str(missing), None, None)
    with pytest.raises(Unreadable, match="gone"):
        original(str(tmp_path / "gone.mp4"), 1.0, None)
