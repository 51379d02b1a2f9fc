"""Frames of videos: times, colours and the shortcuts, against a plain decoder that decodes everything."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from winnow.data import containers, video
from winnow.errors import OptionError, Unreadable

import videos

SIZE = (24, 40)
FLAGS = Interpolation.AREA | Interpolation.ACCURATE_RND

# Name and how it is written; all have 75 numbered frames at 25 a second and a key frame about every 12.
KINDS = {
    "h264.mp4": {"gop": 12, "bframes": 3},
    "h264-open.mp4": {"gop": 12, "bframes": 3, "options": {"x264-params": "open-gop=1:b-adapt=0"}},
    "h264-open.ts": {"gop": 12, "bframes": 3, "options": {"x264-params": "open-gop=1:b-adapt=0"}},
    "h264-open.mkv": {"gop": 12, "bframes": 3, "options": {"x264-params": "open-gop=1:b-adapt=0"}},
    "h264-one-key.mp4": {"gop": 9999, "bframes": 2},
    "h264-refresh.mp4": {"gop": 12, "options": {"x264-params": "intra-refresh=1"}},
    "h264-interlaced.mp4": {"gop": 12, "options": {"x264-params": "tff=1"}},
    "h264-10bit.mp4": {"gop": 12, "form": "yuv420p10le"},
    "hevc-open.mp4": {
        "codec": "libx265",
        "gop": 12,
        "options": {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=1:bframes=3:pools=1"},
    },
    "mpeg4.avi": {"codec": "mpeg4", "gop": 12, "bframes": 2},
    "mpeg4.mp4": {"codec": "mpeg4", "gop": 12, "bframes": 2},
    "mpeg2.ts": {"codec": "mpeg2video", "gop": 12, "bframes": 2},
    "mpeg2.mpg": {"codec": "mpeg2video", "gop": 12, "bframes": 2},
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "gop": 12,
        "options": {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "8"},
    },
    "mjpeg.avi": {"codec": "mjpeg", "form": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "form": "yuv422p10le"},
    "ffv1.mkv": {"codec": "ffv1"},
    "wmv.wmv": {"codec": "wmv2", "gop": 12},
    "gif.gif": {"codec": "gif", "form": "rgb8"},
}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Makes a video of KINDS once."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else videos.write(path, 75, **KINDS[name])

    return make


def slow(path: Path, every: float, keyframes: bool = False) -> list[tuple[float, np.ndarray]]:
    """The obvious way: every frame decoded, in one thread."""
    step, last, taken = Fraction(every).limit_denominator(10**6), -1, []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            time = (frame.pts - stream.start_time) * stream.time_base
            if frame.key_frame if keyframes else time // step > last:
                last = time // step
                taken.append((float(time), frame.reformat(SIZE[1], SIZE[0], "rgb24", interpolation=FLAGS).to_ndarray()))
    return taken


def fast(path: Path, **options) -> list[tuple[float, np.ndarray]]:
    return [(frame.time, frame.image) for frame in video.frames(str(path), SIZE, **options)]


def assert_same(found, expected) -> None:
    assert [time for time, _ in found] == [time for time, _ in expected]
    for (time, image), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(image, wanted, err_msg=f"at {time}")


@pytest.mark.parametrize("name", KINDS)
def test_same_frames_as_decoding_everything(made, name):
    path = made(name)
    for every in (0.04, 0.1, 0.3, 0.52, 1.0, 1.7, 100):
        assert_same(fast(path, every=every), slow(path, every))
    assert_same(fast(path, keyframes=True), slow(path, 1, keyframes=True))


@pytest.mark.parametrize("name", ["h264.mp4", "h264-open.ts", "mpeg4.mp4", "vp9.webm", "gif.gif"])
def test_times_and_numbers_are_right(made, name):
    found = fast(made(name), every=0.4)
    assert [videos.number_of(image) for _, image in found] == list(range(0, 75, 10))
    np.testing.assert_allclose([time for time, _ in found], np.arange(0, 3, 0.4), atol=0.011)


@pytest.mark.parametrize("name", ["h264.mp4", "h264-open.mkv", "hevc-open.mp4", "mpeg2.ts", "vp9.webm", "mjpeg.avi"])
def test_sound_videos_are_read_sparsely(made, name, monkeypatch):
    """The shortcut is really taken: no plain reading, and few packets are decoded."""
    fed = []
    decode = video._Reader.decode

    def counted(self, packets, *, wanted):
        fed.extend(packets)
        return decode(self, packets, wanted=wanted)

    def never(*_):
        raise AssertionError("read plainly")

    monkeypatch.setattr(video._Reader, "decode", counted)
    monkeypatch.setattr(video, "_forward", never)
    assert len(fast(made(name), every=2.0)) == 2
    assert len(fed) <= 75 * 0.6


def test_a_long_wait_for_a_key_frame_is_bounded(made, monkeypatch):
    monkeypatch.setattr(video, "HELD_PACKETS", 5)
    assert_same(fast(made("h264.mp4"), every=1.7), slow(made("h264.mp4"), 1.7))
    monkeypatch.setattr(video, "HELD_BYTES", 100)
    assert_same(fast(made("h264-one-key.mp4"), every=1.7), slow(made("h264-one-key.mp4"), 1.7))


def test_variable_frame_rate(tmp_path):
    times = [0, 10, 990, 1010, 1400, 5000, 5010, 5990, 6000, 9000]
    path = videos.write(tmp_path / "vfr.mp4", [videos.picture(n) for n in range(10)], times=times)
    found = fast(path, every=1.0)
    assert [(round(time, 3), videos.number_of(image)) for time, image in found] == [
        (0.0, 0),
        (1.01, 3),
        (5.0, 5),
        (6.0, 8),
        (9.0, 9),
    ]


def test_every_frame_of_one_millisecond_is_one(tmp_path):
    path = videos.write(tmp_path / "fast.mkv", 40, rate=1000)
    assert len(fast(path, every=0.001)) == 40
    assert len(fast(path, every=0.01)) == 4
    quick = videos.write(tmp_path / "quick.mp4", 60, rate=20000)
    stamps = [f"{time:.3f}" for time, _ in fast(quick, every=0.001)]
    assert stamps == sorted(set(stamps))
    with pytest.raises(OptionError, match="millisecond"):
        fast(path, every=0.0001)


def test_white_and_black_and_colours(tmp_path):
    for colour in ((255, 255, 255), (0, 0, 0), videos.RED, videos.GREEN):
        path = videos.write(tmp_path / "plain.mp4", [videos.plain(colour)] * 3)
        image = fast(path)[0][1]
        assert np.abs(image.astype(int) - colour).max() <= 4
        grey = next(video.frames(str(path), SIZE, grey=True)).image
        assert grey.shape == (*SIZE, 1)
        assert np.abs(grey.astype(int) - np.dot(colour, (0.299, 0.587, 0.114))).max() <= 4


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # shown a quarter turn clockwise
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
    ],
)
def test_a_telephones_rotation(tmp_path, matrix, turned):
    corner = videos.plain(videos.GREEN)
    corner[:48, :80] = videos.RED
    corner[48:, :80] = videos.BLUE
    path = videos.turn(videos.write(tmp_path / "turned.mp4", [corner] * 3), *matrix)
    expected = turned(corner)
    for size in (None, expected.shape[:2]):
        image = next(video.frames(str(path), size)).image
        assert image.shape == expected.shape
        assert np.median(np.abs(image.astype(int) - expected)) <= 4
    height, width = expected.shape[0] // 4, expected.shape[1] // 4
    image = next(video.frames(str(path), (height, width))).image
    assert np.abs(image[2, 2].astype(int) - expected[8, 8]).max() <= 8
    assert np.abs(image[-3, 2].astype(int) - expected[-9, 8]).max() <= 8


# ---- odd and broken videos: each is decoded right or refused with a reason


def _remux(source: Path, to: Path) -> Path:
    """The same packets in another container."""
    with av.open(str(source)) as one, av.open(str(to), "w") as other:
        stream = other.add_stream_from_template(one.streams.video[0])
        for packet in one.demux(one.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                other.mux(packet)
    return to


def odd_whole(folder: Path, made) -> dict[str, tuple[Path, list[int]]]:
    """Videos that are odd and must come out whole, with the numbers of their frames at every second."""
    write = videos.write
    alpha = np.dstack([videos.plain(videos.RED), np.full((96, 160), 0, np.uint8)])
    deep = [videos.picture(n).astype(np.uint16) * 257 for n in range(30)]
    joined = folder / "joined.ts"
    joined.write_bytes(made("mpeg2.ts").read_bytes() * 2)
    anomalous = folder / "match ⚽ مباراة 試合:№1%d.mp4"
    shutil.copy(made("h264.mp4"), anomalous)
    false = Path(shutil.copy(made("mjpeg.avi"), folder / "false-size.avi"))
    wrong = folder / "really-mkv.mp4"
    shutil.copy(made("h264-open.mkv"), wrong)
    return {
        "one frame": (write(folder / "one.mp4", 1), [0]),
        "two frames a year apart": (
            write(folder / "year.mkv", [videos.picture(n) for n in range(2)], times=[0, 365 * 86400 * 1000]),
            [0, 1],
        ),
        "times that start late": (
            write(
                folder / "late.mkv", [videos.picture(n) for n in range(3)], times=[10**9, 10**9 + 1000, 10**9 + 2000]
            ),
            [0, 1, 2],
        ),
        "odd size": (
            write(folder / "odd.mkv", [videos.picture(n, 17, 35) for n in range(30)], codec="ffv1", form="yuv444p"),
            [0, 25],
        ),
        "16 bit": (write(folder / "deep.mkv", deep, codec="ffv1", form="gbrp16le"), [0, 25]),
        "10 bit": (made("h264-10bit.mp4"), [0, 25, 50]),
        "grey": (write(folder / "grey.mkv", 30, codec="ffv1", form="gray"), [0, 25]),
        "bottom of alpha": (write(folder / "alpha.mov", [alpha] * 3, codec="qtrle", form="argb"), [1023]),
        "with sound": (write(folder / "sound.mp4", 30, audio=True), [0, 25]),
        "two recordings in one": (joined, [0, 25, 50, 0, 25, 50]),
        "name in many scripts": (anomalous, [0, 25, 50]),
        "false size in the header": (videos.claim_size(false, 60000, 60000), [0, 25, 50]),
        "wrong suffix": (wrong, [0, 25, 50]),
        "raw stream without times": (_remux(made("h264.mp4"), folder / "raw.h264"), [0, 25, 50]),
        "raw MPEG-4": (write(folder / "raw.m4v", 75, codec="mpeg4", gop=12, bframes=2, container="m4v"), [0, 25, 50]),
        "flash": (write(folder / "old.flv", 50, codec="flv", gop=12), [0, 25]),
        "fragmented": (write(folder / "fragments.mp4", 75, options={}, container="ismv"), [0, 25, 50]),
        "100,000 frames a second": (write(folder / "rate.mkv", 30, codec="mjpeg", form="yuvj420p", rate=100000), [0]),
    }


def test_odd_videos_come_out_whole(tmp_path, made):
    for what, (path, numbers) in odd_whole(tmp_path, made).items():
        found = fast(path, every=1.0)
        assert [videos.number_of(image) for _, image in found] == numbers, what
        times = [time for time, _ in found]
        assert times == sorted(times), what
        assert times[0] == 0, what


def test_a_remuxed_avi_whose_presentation_times_are_its_decoding_times(tmp_path, made):
    found = fast(_remux(made("mpeg4.avi"), tmp_path / "wrong-times.mp4"), every=1.0)
    np.testing.assert_allclose([videos.number_of(image) for _, image in found], [0, 25, 50], atol=2)


def odd_refused(folder: Path, made) -> dict[str, tuple[Path, str]]:
    """Videos that hold nothing to decode, with a word of the reason."""

    def file(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def copied(name: str, as_: str) -> Path:
        return Path(shutil.copy(made(name), folder / as_))

    whole = made("h264.mp4").read_bytes()
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    hidden = f"ffconcat version 1.0\nfile {made('h264.mp4')}\n".encode()
    return {
        "empty": (file("empty.mp4", b""), "empty"),
        "missing": (folder / "missing.mp4", "opened"),
        "folder": (folder / "folder.mp4", "regular"),
        "pipe": (folder / "pipe.mp4", "regular"),
        "text": (file("text.mp4", b"this is a letter, not a video\n" * 50), "known format"),
        "zeros": (file("zeros.avi", bytes(50000)), "known format"),
        "noise": (file("noise.mkv", np.random.default_rng(0).bytes(50000)), "known format"),
        "playlist": (file("playlist.mp4", playlist), "known format"),
        "list of files": (file("list.mp4", hidden), "known format"),
        "no index": (videos.cut(copied("h264.mp4", "cut.mp4"), 0.8), "moov"),
        "head only": (file("head.mp4", whole[:40]), "moov"),
        "GIF head": (file("head.gif", b"GIF89a\x10\x00\x10\x00\x80\x00\x00"), "decoded"),
        "sound alone": (videos.write_audio(folder / "sound.mp4"), "holds no video"),
        "picture": (file("picture.mp4", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100)), "known format"),
        "all packets noise": (videos.damage(copied("mjpeg.avi", "noise.avi"), 0.06, 0.97), "decoded"),
        "huge": (
            videos.claim_size(videos.write(folder / "huge.avi", 2, codec="rawvideo"), 60000, 60000),
            "limit of 50",
        ),
    }


def test_broken_videos_are_refused_with_a_reason(tmp_path, made):
    for what, (path, word) in odd_refused(tmp_path, made).items():
        with pytest.raises(Unreadable) as refusal:
            fast(path)
        assert word in refusal.value.message, what
        assert path.name not in refusal.value.message, what


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("h264-open.mkv", 0.6),
        ("h264-open.ts", 0.6),
        ("mpeg4.avi", 0.6),
        ("vp9.webm", 0.6),
        ("mpeg2.mpg", 0.6),
        ("gif.gif", 0.6),
    ],
)
def test_a_truncated_video_keeps_what_decodes(tmp_path, made, name, share):
    path = videos.cut(Path(shutil.copy(made(name), tmp_path / name)), share)
    whole = {round(time, 3): image for time, image in slow(made(name), 0.2)}
    found = fast(path, every=0.2)
    assert 4 <= len(found) < len(whole)
    for time, image in found[:-1]:
        assert abs(image.astype(int) - whole[round(time, 3)]).mean() < 1


@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264-open.mkv", "h264-open.ts", "mpeg4.avi", "mpeg2.ts", "vp9.webm", "mjpeg.avi", "ffv1.mkv"]
)
def test_noise_in_the_middle_costs_only_the_middle(tmp_path, made, name):
    path = videos.damage(Path(shutil.copy(made(name), tmp_path / name)), 0.45, 0.5)
    found = fast(path, every=0.2)
    times = [time for time, _ in found]
    assert times == sorted(set(times))
    assert len(found) >= 6
    whole = {image.tobytes() for _, image in slow(made(name), 0.04)}
    right = [time for time, image in found if image.tobytes() in whole]
    assert len(right) >= len(found) // 2
    assert found[0][0] in right
    assert found[-1][0] in right
    again = fast(path, every=0.2)
    assert_same(found, again)


def test_the_same_through_an_open_file(made, monkeypatch):
    """As videos of a store are read: by seeking in a file object."""
    expected = {name: fast(made(name), every=0.3) for name in ("h264.mp4", "h264-open.mkv", "gif.gif")}
    monkeypatch.setattr(containers.storage, "is_remote", lambda _: True)
    monkeypatch.setattr(containers.storage, "open_binary", lambda uri: io.BytesIO(Path(uri).read_bytes()))
    for name, frames in expected.items():
        assert_same(fast(made(name), every=0.3), frames)


def test_hostile_bytes_end_in_frames_or_a_reason(tmp_path, made):
    rng = np.random.default_rng(0)
    reasons = []
    for trial, name in enumerate(list(KINDS) * 4):
        data = bytearray(made(name).read_bytes())
        for _ in range(int(rng.integers(1, 30))):
            data[int(rng.integers(len(data) if trial % 2 else min(2000, len(data))))] = int(rng.integers(256))
        path = tmp_path / f"hostile{made(name).suffix}"
        path.write_bytes(data)
        try:
            assert len(fast(path, every=0.3)) < 2000
        except Unreadable as refusal:
            reasons.append(refusal.message)
    assert all(reasons)
    assert 0 < len(reasons) < 2 * len(KINDS)


def test_the_pixel_limit(made):
    with pytest.raises(Unreadable, match="160 x 96"):
        list(video.frames(str(made("h264.mp4")), SIZE, pixel_limit=0.06))
    assert list(video.frames(str(made("h264.mp4")), SIZE, pixel_limit=0.08))


def test_alpha_is_laid_on_white(tmp_path):
    half = np.dstack([videos.plain(videos.RED), np.full((96, 160), 128, np.uint8)])
    path = videos.write(tmp_path / "half.mov", [half] * 2, codec="qtrle", form="argb")
    expected = np.array(videos.RED) * 128 / 255 + 127
    assert np.abs(fast(path)[0][1] - expected).max() <= 2
    grey = next(video.frames(str(path), SIZE, grey=True)).image
    assert np.abs(grey - expected @ (0.299, 0.587, 0.114)).max() <= 2


def test_nothing_is_printed_by_ffmpeg(tmp_path, made):
    path = videos.damage(Path(shutil.copy(made("h264.mp4"), tmp_path / "bad.mp4")), 0.3, 0.6)
    code = f"from winnow.data import video; list(video.frames({str(path)!r}, (24, 40), every=0.1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.replace("no picture could be decoded", "") == done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
