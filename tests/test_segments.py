"""Segments against a slow obvious version and known answers; cut lists against the real ffmpeg program."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from winnow.detect.segments import Segment, ffconcat, segments, smoothed
from winnow.errors import DataError, InputError, OptionError


def slow_segments(times, scores, p_values, false_alarm_rate, smooth, min_length, hysteresis):
    """The same definition, frame by frame and segment by segment."""
    frames = sorted(zip(times, scores, p_values, strict=True), key=lambda frame: frame[0])
    middle = [statistics.median(q for u, _, q in frames if abs(u - t) <= smooth / 2 + 1e-9) for t, _, _ in frames]
    states, anomalous = [], False
    for p in middle:
        anomalous = (
            p <= max(false_alarm_rate, min(0.5, hysteresis * false_alarm_rate)) if anomalous else p <= false_alarm_rate
        )
        states.append(anomalous)
    gaps = [b[0] - a[0] for a, b in pairwise(frames)]
    ends = [frame[0] for frame in frames[1:]] + [frames[-1][0] + ((statistics.median(gaps) if gaps else 0) or 1.0)]
    runs = []
    for (t, score, _), end, state in zip(frames, ends, states, strict=True):
        if runs and runs[-1]["state"] == state:
            runs[-1]["end"], runs[-1]["scores"] = end, [*runs[-1]["scores"], score]
        else:
            runs.append({"start": t, "end": end, "state": state, "scores": [score]})
    while len(runs) > 1:
        short = min(runs, key=lambda run: run["end"] - run["start"])
        if short["end"] - short["start"] >= min_length:
            break
        short["state"] = not short["state"]
        merged = []
        for run in runs:
            if merged and merged[-1]["state"] == run["state"]:
                merged[-1] = {**merged[-1], "end": run["end"], "scores": merged[-1]["scores"] + run["scores"]}
            else:
                merged.append(run)
        runs = merged
    return [Segment(r["start"], r["end"], not r["state"], pytest.approx(np.mean(r["scores"]))) for r in runs]


@pytest.mark.parametrize("seed", range(30))
def test_against_the_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    times = rng.permutation(np.cumsum(rng.choice([0.25, 0.5, 1.0, 1.0, 3.0], n)))
    p = rng.choice([0.001, 0.02, 0.05, 0.1, 0.3, 0.9], n)
    scores = rng.normal(size=n)
    options = {
        "false_alarm_rate": float(rng.choice([0.02, 0.05, 0.3])),
        "smooth": float(rng.choice([0, 1, 2.5])),
        "min_length": float(rng.choice([0, 1, 4])),
        "hysteresis": float(rng.choice([1, 3])),
    }
    assert segments(times, scores, p, **options) == slow_segments(times, scores, p, **options)


def test_a_break_in_a_match() -> None:
    times = np.arange(60.0)
    p = np.where((times >= 20) & (times < 40), 0.001, 0.5)
    p[[5, 30]] = 0.001, 0.5  # one frame wrong on either side
    found = segments(times, -np.log(p), p, false_alarm_rate=0.01)
    assert [(part.start, part.end, part.belongs) for part in found] == [(0, 20, True), (20, 40, False), (40, 60, True)]
    assert found[1].score > found[0].score


def test_every_option_changes_something() -> None:
    rng = np.random.default_rng(0)
    times, p = np.arange(200) * 0.5, rng.uniform(0.001, 0.2, 200)
    usual = {"false_alarm_rate": 0.05, "smooth": 0.0, "min_length": 0.0, "hysteresis": 1.0}
    plain = segments(times, p, p, **usual)
    for name, value in {"false_alarm_rate": 0.1, "smooth": 3.0, "min_length": 2.0, "hysteresis": 3.0}.items():
        assert segments(times, p, p, **{**usual, name: value}) != plain
    assert segments([4.0], [1.0], [0.5], step=2.0) == [Segment(4.0, 6.0, True, 1.0)]


def test_segments_tile_the_video_and_alternate() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.1, 2, 500))
    found = segments(times, rng.normal(size=500), rng.uniform(0, 0.1, 500), false_alarm_rate=0.04, min_length=1.5)
    assert found[0].start == times[0]
    assert found[-1].end == pytest.approx(times[-1] + np.median(np.diff(times)))
    for one, other in pairwise(found):
        assert one.end == other.start
        assert one.belongs != other.belongs
        assert one.end - one.start >= 1.5
    assert np.isfinite([(part.start, part.end, part.score) for part in found]).all()


def test_no_frames_one_frame_and_equal_times() -> None:
    assert segments([], [], []) == []
    assert segments([3.0], [2.0], [0.001]) == [Segment(3.0, 4.0, False, 2.0)]
    assert segments([3.0, 3.0], [2.0, 4.0], [0.9, 0.9]) == [Segment(3.0, 4.0, True, 3.0)]


def test_smoothed_keeps_constants_and_removes_spikes() -> None:
    times, values = np.arange(9.0), np.array([1, 1, 9, 1, 1, 1, 5, 5, 5.0])
    assert smoothed(times, values, 2.0).tolist() == [1, 1, 1, 1, 1, 1, 5, 5, 5]
    assert smoothed(times, values, 0.0).tolist() == values.tolist()


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="one length"):
        segments([1.0, 2.0], [1.0], [0.5])
    for spoilt in ([np.nan], [np.inf]):
        with pytest.raises(DataError, match="not finite"):
            segments(spoilt, [1.0], [0.5])
        with pytest.raises(DataError, match="not finite"):
            segments([1.0], [1.0], spoilt)
    for name, value in {
        "false_alarm_rate": 0,
        "smooth": -1,
        "min_length": np.nan,
        "hysteresis": 0.5,
        "step": 0,
    }.items():
        with pytest.raises(OptionError, match=name):
            segments([1.0], [1.0], [0.5], **{name: value})


PARTS = [Segment(0, 2, True, 0.0), Segment(2, 4, False, 1.0), Segment(4, 5, True, 0.0)]


def test_cut_list_names_the_parts_that_belong() -> None:
    assert ffconcat("a b.mp4", PARTS) == (
        "ffconcat version 1.0\nfile './a b.mp4'\noutpoint 2.000000\nfile './a b.mp4'\ninpoint 4.000000\noutpoint 5.000000\n"
    )
    middle = [Segment(0, 2, False, 1.0), Segment(2, 4, True, 0.0), Segment(4, 5, False, 1.0)]
    assert ffconcat("a.ts", middle, start=3600.5) == (
        "ffconcat version 1.0\nfile './a.ts'\ninpoint 3602.500000\noutpoint 3604.500000\n"
    )
    assert ffconcat("x.mp4", PARTS[1:2]) == ""
    with pytest.raises(InputError, match="line break"):
        ffconcat("a\nb.mp4", PARTS)


@pytest.mark.parametrize(("end", "found"), [(None, 4.0), (3.4, 3.4), (9.0, 4.0), (3.0, 4.0), (2.0, 4.0)])
def test_the_last_frame_ends_with_its_video_where_that_is_plausible(end: float | None, found: float) -> None:
    assert segments([0, 1, 2, 3], [1] * 4, [0.5] * 4, end=end)[-1].end == found


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "it's 'quoted'.mp4",
        "two  spaces .mp4",
        "Fußball 試合.mp4",
        "a:b.mp4",
        "back\\slash.mp4",
        "#hash;semi.mp4",
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_ffmpeg_cuts_by_the_list(tmp_path: Path, name: str, absolute: bool) -> None:
    if not shutil.which("ffmpeg") or not shutil.which("ffprobe"):
        pytest.skip("the ffmpeg and ffprobe programs are not on PATH")
    video = tmp_path / name
    made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=6", "-g", "1"]
    subprocess.run([*made, f"file:{video}"], check=True, timeout=60)
    cut = tmp_path / "cut.ffconcat"
    cut.write_text(ffconcat(video if absolute else name, PARTS), encoding="utf-8")
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-safe",
            "0",
            "-f",
            "concat",
            "-i",
            str(cut),
            "-c",
            "copy",
            str(tmp_path / "out.mp4"),
        ],
        check=True,
        timeout=60,
    )
    count = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "json"]
    shown = subprocess.run([*count, str(tmp_path / "out.mp4")], check=True, timeout=60, capture_output=True)
    assert abs(int(json.loads(shown.stdout)["streams"][0]["nb_read_frames"]) - 30) <= 2
