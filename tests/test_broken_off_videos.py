"""Videos that break off are told, with how much is lost; whole ones never are, however odd their container's promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from winnow.data import video
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.show import ingest as shown
from winnow.tables import read_table

import videos

KINDS = {
    "first.mp4": {"gop": 12, "container_options": {"movflags": "faststart"}},
    "one-key.mp4": {"gop": 999, "container_options": {"movflags": "faststart"}},
    "open.mkv": {"gop": 12, "bframes": 3, "options": {"x264-params": "open-gop=1"}},
    "mpeg4.avi": {"codec": "mpeg4", "gop": 12, "bframes": 2},
    "mjpeg.avi": {"codec": "mjpeg", "form": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "8"}},
    "h264.ts": {"gop": 12},
    "mpeg2.mpg": {"codec": "mpeg2video", "gop": 12},
    "wmv.wmv": {"codec": "wmv2", "gop": 12},
    "flash.flv": {"codec": "flv", "gop": 12},
    "gif.gif": {"codec": "gif", "form": "rgb8"},
    "sound.mkv": {"gop": 12, "audio": True},
}
UNTOLD = {("h264.ts", "cut"), ("mpeg2.mpg", "cut")}
"""A stream of MPEG promises nothing: cut off, it is as whole as a shorter one."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for name, how in KINDS.items():
        videos.write(folder / name, 75, **how)
    return folder


def read(path: Path, every: float = 0.04) -> tuple[int, list[str]]:
    said: list[str] = []
    return len(list(video.frames(str(path), (8, 8), every=every, on_loss=said.append))), said


def spoilt(whole: bytes, how: str, share: float) -> bytes:
    kept = int(len(whole) * share)
    rest = len(whole) - kept
    return whole[:kept] + {"cut": b"", "zeros": bytes(rest), "noise": np.random.default_rng(0).bytes(rest)}[how]


@pytest.mark.parametrize("name", KINDS)
def test_a_video_that_breaks_off_is_told_and_a_whole_one_is_not(name: str, made: Path, tmp_path: Path):
    whole, said = read(made / name)
    assert (whole, said) == (75, [])
    assert read(made / name, 1.0) == (read(made / name, 1.0)[0], [])
    for how in ("cut", "zeros", "noise"):
        for share in (0.4, 0.6):
            path = tmp_path / name
            path.write_bytes(spoilt((made / name).read_bytes(), how, share))
            found, said = read(path)
            assert 0 < found < 0.8 * whole, (how, share)
            assert len(said) == (0 if (name, how) in UNTOLD else 1), (how, share)
            assert all("kept" in text for text in said)
            for text in said:
                if "%" in text:
                    assert abs(float(text.split("%")[0]) / 100 - (1 - found / whole)) < 0.2, (how, share, text, found)


def odd_promises(folder: Path) -> dict[str, Path]:
    """Whole videos whose length, number of frames or sound does not say what their pictures do."""
    write = videos.write
    pictures = [videos.picture(n) for n in range(10)]
    times = [0, 10, 990, 1010, 1400, 5000, 5010, 5990, 6000, 9000]
    sounding = folder / "long-sound.mkv"
    write(sounding, 75, audio=True)
    joined = folder / "joined.ts"
    joined.write_bytes(write(folder / "one.ts", 75).read_bytes() * 2)
    padded = folder / "padded.gif"
    padded.write_bytes(write(folder / "plain.gif", 20, codec="gif", form="rgb8").read_bytes() + bytes(2000))
    return {
        "variable rate, mp4": write(folder / "vfr.mp4", pictures, times=times),
        "variable rate, mkv": write(folder / "vfr.mkv", pictures, times=times),
        "a year, mkv": write(folder / "year.mkv", pictures[:2], times=[0, 365 * 86400 * 1000]),
        "sound": sounding,
        "joined": joined,
        "padded": padded,
        "fragments": write(folder / "fragments.mp4", 75, container="ismv"),
        "one frame": write(folder / "one.mp4", 1),
        "a frame or two less": _promising(write(folder / "less.avi", 75, codec="mjpeg", form="yuvj420p"), 77),
    }


def _promising(path: Path, frames: int) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 32
    data[at : at + 4] = frames.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def test_whole_videos_of_odd_promises_are_not_told(tmp_path: Path):
    for what, path in odd_promises(tmp_path).items():
        for every in (0.04, 1.0):
            found, said = read(path, every)
            assert found and not said, what


def test_the_terminal_and_the_quarantine_tell_it(made: Path, tmp_path: Path):
    whole, broken = tmp_path / "in" / "whole.mkv", tmp_path / "in" / "broken.mkv"
    whole.parent.mkdir()
    whole.write_bytes((made / "open.mkv").read_bytes())
    broken.write_bytes(spoilt(whole.read_bytes(), "cut", 0.5))
    options = IngestOptions(size=(8, 8), every=0.2)
    found = ingest([whole.parent], tmp_path / "pool", options)
    (row,) = read_table(tmp_path / "pool" / "quarantine.csv")
    assert row["source"] == str(broken)
    assert "of 3.00 s" in row["reason"]
    assert (found.videos, found.refused) == (2, 0)
    assert f"1 file was read only in part: {broken}: " in shown(found)
    assert ingest([whole.parent], tmp_path / "pool", options).notes == found.notes


def test_hostile_promises_end_in_frames_or_a_reason(made: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in KINDS:
        whole = (made / name).read_bytes()
        for _ in range(3):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 1500), 8):
                data[place] = rng.integers(0, 256)
            path = tmp_path / name
            path.write_bytes(data)
            try:
                found, said = read(path, 0.3)
            except Unreadable:
                continue
            assert found < 2000 and len(said) <= 1
