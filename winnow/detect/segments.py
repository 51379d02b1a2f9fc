"""From frames to segments: the stretches of a video that belong, smoothed in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.errors import DataError, InputError, OptionError
from winnow.results import Segment

NEAR = 1e-9  # seconds by which a frame at the border of a window of the median may miss it by rounding


def segments(
    times: Any,
    scores: Any,
    p_values: Any,
    *,
    false_alarm_rate: float = 0.01,
    smooth: float = 3.0,
    min_length: float = 2.0,
    hysteresis: float = 3.0,
    step: float = 1.0,
    end: float | None = None,
) -> list[Segment]:
    """Return the segments of one video, in order, without gaps, alternately belonging and anomalous.

    `times`, `scores`, `p_values` (n,) are the frames', in any order and at any intervals. Where the p-values' running
    median over `smooth` seconds is at most `false_alarm_rate` (use `Threshold.level`) an anomalous segment begins; it ends
    only above `hysteresis` times that. Then segments shorter than `min_length` seconds join their neighbours, the
    shortest first. A frame lasts until the next one, the last as long as the typical one (`step` seconds when it is the
    only one), but not beyond the video's `end`, where that is known.

    `DataError` when a value is not finite or the lengths differ, `OptionError` for options out of range.
    """
    check_options(false_alarm_rate, smooth, min_length, hysteresis, step)
    times, scores, p_values = (np.asarray(values, dtype=np.float64) for values in (times, scores, p_values))
    if not times.shape == scores.shape == p_values.shape == (times.size,):
        raise DataError(
            f"Times, scores and p-values must be lists of one length, not of shapes {times.shape}, "
            f"{scores.shape} and {p_values.shape}."
        )
    if not all(np.isfinite(values).all() for values in (times, scores, p_values)):
        raise DataError(
            "A time, score or p-value of a frame is not finite.", "Leave out frames that could not be scored."
        )
    if not times.size:
        return []
    order = np.argsort(times, kind="stable")
    times, scores, p_values = times[order], scores[order], p_values[order]
    anomalous = _hysteresis(smoothed(times, p_values, smooth), false_alarm_rate, hysteresis)
    typical = float(np.median(np.diff(times))) if times.size > 1 else 0.0
    last = times[-1] + (typical or step)
    begin = np.append(times, min(last, end) if end is not None and end > times[-1] else last)
    starts = _absorb_short(
        np.flatnonzero(np.append(True, anomalous[1:] != anomalous[:-1])), anomalous, begin, min_length
    )
    ends = np.append(starts[1:], times.size)
    return [
        Segment(float(begin[first]), float(begin[last]), not anomalous[first], float(scores[first:last].mean()))
        for first, last in zip(starts, ends, strict=True)
    ]


def smoothed(times: np.ndarray, values: np.ndarray, seconds: float) -> np.ndarray:
    """Return the running median (n,): of values within half of `seconds` before and after each of `times` (n,), ascending."""
    first = np.searchsorted(times, times - seconds / 2 - NEAR, side="left")
    last = np.searchsorted(times, times + seconds / 2 + NEAR, side="right")
    return np.array([np.median(values[a:b]) for a, b in zip(first, last, strict=True)])


def _hysteresis(p_values: np.ndarray, level: float, hysteresis: float) -> np.ndarray:
    """Return whether each frame is anomalous (n,) bool: on at `level`, off only above `hysteresis` times it (one half at most)."""
    leave = leaving(level, hysteresis)
    anomalous = np.empty(p_values.size, dtype=bool)
    now = False
    for frame, p in enumerate(p_values):
        now = p <= (leave if now else level)
        anomalous[frame] = now
    return anomalous


def leaving(level: float, hysteresis: float) -> float:
    """Return the p-value above which an anomalous segment that began at `level` ends."""
    return max(level, min(hysteresis * level, 0.5))


def _absorb_short(starts: np.ndarray, anomalous: np.ndarray, begin: np.ndarray, min_length: float) -> np.ndarray:
    """Return the first frames of the segments that remain when too short ones join their neighbours.

    It writes the new state into `anomalous`. `begin` (frames + 1,) are the frames' start times and the video's end.
    """
    while len(starts) > 1:
        lengths = np.diff(np.append(begin[starts], begin[-1]))
        shortest = int(lengths.argmin())
        if lengths[shortest] >= min_length:
            break
        end = starts[shortest + 1] if shortest + 1 < len(starts) else anomalous.size
        anomalous[starts[shortest] : end] = not anomalous[starts[shortest]]
        starts = np.delete(starts, [place for place in (shortest, shortest + 1) if 0 < place < len(starts)])
    return starts


def check_options(false_alarm_rate: float, smooth: float, min_length: float, hysteresis: float, step: float) -> None:
    ranges = {
        "false_alarm_rate": (false_alarm_rate, 0 < false_alarm_rate < 1, "between 0 and 1"),
        "smooth": (smooth, 0 <= smooth < np.inf, "0 or more seconds"),
        "min_length": (min_length, 0 <= min_length < np.inf, "0 or more seconds"),
        "hysteresis": (hysteresis, 1 <= hysteresis < np.inf, "1 or more"),
        "step": (step, 0 < step < np.inf, "above 0 seconds"),
    }
    for name, (value, good, allowed) in ranges.items():
        if not good:
            raise OptionError(f"{name} is {value}; it must be {allowed}.")


def ffconcat(
    path: str | Path, parts: Sequence[Segment], *, start: float = 0.0, inpoints: Sequence[float] | None = None
) -> str:
    """Return an ffmpeg cut list of the parts that belong, for the concat demuxer (FFmpeg Formats Documentation, 3.5); "" for none.

    `path` is the video as ffmpeg is to find it: absolute, or relative to the list's folder. To use it:
    `ffmpeg -safe 0 -f concat -i LIST -c copy OUT.mp4` (cuts at key frames; without `-c copy`, to within a few frames).
    `parts` are all of the video's, in seconds from its first frame, which is at `start` on the clock of the file; `inpoints`
    are where to enter it for each that belongs, by default where it begins; the first is not entered, being the
    beginning. `InputError` when the name holds a line break, which the format cannot express.
    """
    name = str(path)
    if "\n" in name or "\r" in name:
        raise InputError(f"The name {name!r} holds a line break, which a cut list cannot express.", "Rename the video.")
    if not name.startswith("/") and "://" not in name:
        name = f"./{name}"  # else ffmpeg reads "a:b" as a protocol and joins "#a" to the list's name
    quoted = name.replace("'", "'\\''")
    wanted = [part for part in parts if part.belongs]
    points = [start + part.start for part in wanted] if inpoints is None else inpoints
    lines = []
    for part, point in zip(wanted, points, strict=True):
        lines += [f"file '{quoted}'"]
        lines += [f"inpoint {point:.6f}"] if part is not parts[0] else []
        lines += [f"outpoint {start + part.end:.6f}"]
    return "\n".join(["ffconcat version 1.0", *lines]) + "\n" if lines else ""
