"""Where ffmpeg is to cut a video: the times of its frames on the clock of the file, which need not begin at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.data.containers import broken, opened
from winnow.errors import InputError, Unreadable

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

UNINDEXED = ("mpegts", "mpeg")
"""Formats of streams: their clock may begin anywhere, and run backwards where two recordings were joined."""
BACK = 4.0  # seconds before a cut at which the search for its key frame begins; doubled until there is one
ROUNDED = 2e-5  # seconds; a cut list has six decimals, and an inpoint a little early would miss its key frame


@dataclass(frozen=True)
class Clock:
    """The file's time of a video's first frame in seconds, and `inpoints`: where to enter it for each of some later times."""

    start: float
    inpoints: list[float]


def clock_of(uri: str, begins: Sequence[float], last: float, *, pixel_limit: float) -> Clock:
    """Return a video's clock and where to enter it for parts that begin at `begins`, seconds from its first frame.

    ffmpeg itself goes to the key frame before an inpoint, except in a transport stream: there it takes the packet at that
    time, whatever it is, so that the key frame is named. Raises `Unreadable` (reason without the file's name) when the video cannot be
    opened, and when its clock does not reach `last`, the time of the last frame.
    """
    with opened(uri, pixel_limit) as (container, stream):
        if not stream.time_base:
            raise Unreadable("it has no clock")
        tick = float(stream.time_base)
        start = _first(container, stream) * tick
        stretch = None if stream.duration is None else stream.duration * tick
        if container.format.name in UNINDEXED and stretch is not None and last > stretch + 1:
            raise Unreadable(
                "its clock begins anew within the file, as where two recordings are joined, which a cut list cannot express"
            )
        points = [start + begin for begin in begins]
        if container.format.name == "mpegts":
            points = [_key_before(container, stream, point) for point in points]
    return Clock(start, points)


def length_of(uri: str, pixel_limit: float) -> float | None:
    """Return the seconds that a video lasts by its container, None where that does not say or cannot be opened."""
    try:
        with opened(uri, pixel_limit) as (container, stream):
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return container.duration / 1e6 if container.duration else None
    except InputError:  # told where the cut list is made
        return None


def _first(container: InputContainer, stream: VideoStream) -> int:
    if stream.start_time is not None:
        return int(stream.start_time)
    try:
        return next((int(packet.pts) for packet in container.demux(stream) if packet.pts is not None), 0)
    except broken() as error:
        raise Unreadable(f"it cannot be read ({error})") from error


def _key_before(container: InputContainer, stream: VideoStream, point: float) -> float:
    """Return the decoding time of the last key frame shown at a time or before it; that time itself where there is none."""
    tick, back = float(stream.time_base or 1), BACK
    begin = (stream.start_time or 0) * tick
    while True:
        found = None
        try:
            container.seek(round((point - back) / tick), stream=stream)
            for packet in container.demux(stream):
                if packet.pts is None or packet.dts is None:
                    continue
                if packet.dts * tick > point:
                    break
                if packet.is_keyframe and packet.pts * tick <= point + ROUNDED:
                    found = packet.dts * tick + ROUNDED
        except broken() as error:
            raise Unreadable(f"it cannot be read ({error})") from error
        if found is not None or point - back < begin:
            return point if found is None else found
        back *= 2
