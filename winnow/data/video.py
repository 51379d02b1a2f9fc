"""Frames of a video at the size and the times wanted; only those wanted are scaled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from winnow.data.containers import broken, opened, out_of_time
from winnow.data.growing import Growing
from winnow.data.promise import Promise
from winnow.data.slots import Slots
from winnow.data.swscale import Painter
from winnow.errors import OptionError, Unreadable

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".mpe",
        ".m2v",
        ".vob",
        ".ts",
        ".mts",
        ".m2ts",
        ".wmv",
        ".asf",
        ".flv",
        ".f4v",
        ".3gp",
        ".3g2",
        ".ogv",
        ".ogm",
        ".mxf",
        ".dv",
        ".y4m",
        ".gif",
    )
)
"""Suffixes, in lower case, of the files read as videos (animated GIFs among them)."""

SHORTEST_STEP = 0.001  # frames are named by their time in milliseconds

# Codecs whose key packets start a decoder afresh and whose packets carry one frame each; GIF, for one, flags packets
# as keys that build on the picture before.
SKIPPABLE = frozenset(
    (
        "h264",
        "hevc",
        "mpeg4",
        "mpeg2video",
        "mpeg1video",
        "vp8",
        "vp9",
        "av1",
        "libdav1d",
        "mjpeg",
        "prores",
        "dnxhd",
    )
)
SEEKABLE = ("mov", "matroska")  # containers with an index of key frames; others guess, and may end elsewhere
MOST_REORDERED = 2.0  # seconds; an index by decoding time can lead to a key frame that is shown after the time wanted
HELD_PACKETS, HELD_BYTES = 1000, 32 << 20  # most that waits for the next key packet before it is decoded after all
THREADS = 4  # more threads hold more full-size frames and no longer decode faster
MOST_FAILURES = 100  # reads in a row that may fail before the rest of a damaged file is given up


@dataclass(frozen=True)
class Frame:
    """A frame: presentation time in seconds from the start of the video, and uint8 pixels (h, w, 3) or (h, w, 1); where it was wanted
    also `whole`, (h, w, 3) at its own size."""

    time: float
    image: np.ndarray
    whole: np.ndarray | None = None


class _Doubt(Exception):
    """Sparse decoding may differ from plain decoding: the video is damaged or unusual."""


def frames(
    uri: str,
    size: tuple[int, int] | None,
    *,
    every: float = 1.0,
    keyframes: bool = False,
    times: Sequence[float] = (),
    alone: bool = False,
    grey: bool = False,
    pixel_limit: float = 200.0,
    on_loss: Callable[[str], object] = lambda _: None,
    after: float | None = None,
    growing: Callable[[], Growing] | None = None,
    whole: bool = False,
) -> Iterator[Frame]:
    """Yield, for k = 0, 1, 2, ..., the first frame whose presentation time is at least k * every seconds.

    `size` is (height, width) after rotation, `None` the video's own. A frame that is the first for several k is
    yielded once; frames that share a millisecond are one. With `keyframes` every key frame is yielded and `every` is ignored.
    The first frame at each of `times` in seconds (or 5 ms before) comes too; where these are `alone`, no other does.
    Frames up to that at `after` seconds are left out, and what only they need is not decoded. A local file that is still written is
    read through what `growing` returns. Memory is bounded whatever the length. `on_loss` is called at the end with what is
    missing, in words, when the video breaks off or many of its frames are damaged. Raises `Unreadable` (reason without the
    file's name) when nothing can be decoded or the pictures are larger than a quarter of `pixel_limit` million pixels,
    `OptionError` when `every` is below 1 ms.
    """
    if every < SHORTEST_STEP:
        raise OptionError(f"--every {every} is shorter than a millisecond.", "Give at least 0.001 seconds.")
    if keyframes and times and not alone:
        raise Unreadable("frames named by their time are not read beside its key frames (--keyframes)")
    keyframes = keyframes and not alone
    step = Fraction(1, 1000) if keyframes else Fraction(every).limit_denominator(1_000_000)
    clock = Slots(None if alone else step, times, after)
    begun = clock.taken
    for plain in (False, True):
        with opened(uri, pixel_limit, growing and growing()) as (container, stream):
            clock.start(stream)
            promise = Promise(uri, container, stream, pixel_limit)
            sized = stream.codec_context.width > 0
            paint, upright = Painter(size, grey, pixel_limit), Painter(None, False, pixel_limit)
            walk = _forward if plain or stream.codec_context.name not in SKIPPABLE else _sparse
            try:
                for frame, time in walk(container, stream, clock, keyframes, promise):
                    yield Frame(time, _painted(paint, frame), _painted(upright, frame) if whole else None)
                break
            except _Doubt:
                continue
    if clock.taken < 0 and begun < 0 and not alone:  # times that it does not reach are told of by the caller
        why = "" if sized else f": they have no size, or one above the limit of {pixel_limit / 4:g} million pixels"
        raise Unreadable(f"no picture could be decoded{why}")
    if missing := promise.loss():
        on_loss(missing)


def frame_at(uri: str, time: float, *, pixel_limit: float = 200.0) -> Frame:
    """Return the frame nearest to a presentation time, at most 1 ms away, at the video's own size, upright, in colour.

    It is decoded from the key frame before it where the container has an index, else from the start. Raises
    `Unreadable` (reason without the file's name) when there is no such frame or it cannot be decoded.
    """
    for start in (time, time - MOST_REORDERED, None):
        with opened(uri, pixel_limit) as (container, stream):
            clock = Slots(Fraction(1, 1000))
            clock.start(stream)
            if start is not None and not _sought(container, stream, clock, start):
                continue
            promise = Promise(uri, container, stream, pixel_limit)
            found = _nearest(_forward(container, stream, clock, False, promise), time)
            if found:
                return Frame(found[1], _painted(Painter(None, False, pixel_limit), found[0]))
    raise Unreadable(f"it has no frame at {time:.3f} s")


def _sought(container: InputContainer, stream: VideoStream, clock: Slots, start: float) -> bool:
    """Seek the last key frame before `start`; return whether that was possible."""
    indexed = container.format.name.startswith(SEEKABLE) and stream.codec_context.name in SKIPPABLE
    if not indexed or clock.base is None or start <= 0:
        return False
    try:
        container.seek(clock.base + int(start * clock.second), stream=stream)
    except broken():
        return False
    return True


def _nearest(walk: Iterator[tuple[VideoFrame, float]], time: float) -> tuple[VideoFrame, float] | None:
    best = None
    for frame, at in walk:
        if abs(at - time) <= SHORTEST_STEP and (best is None or abs(at - time) < abs(best[1] - time)):
            best = frame, at
        if at >= time:
            break
    return best


def _painted(paint: Painter, frame: VideoFrame) -> np.ndarray:
    try:
        return paint(frame)
    except broken() as error:
        raise Unreadable(f"its pictures cannot be scaled ({error})") from error


def _sparse(
    container: InputContainer, stream: VideoStream, clock: Slots, keyframes: bool, promise: Promise
) -> Iterator[tuple[VideoFrame, float]]:
    """Yield the wanted frames, decoding only what they need.

    The times in the packets show before decoding which frames are wanted. Packets of unwanted frames wait in
    `held`: a wanted frame behind them needs them as references (their non-reference frames excepted), but when a key
    packet comes first they are dropped and the decoder starts afresh there. Leading pictures of an open GOP come
    before their key in time, so the jump is made only if they are unwanted too. `_Doubt` at anything unusual.
    """
    if clock.base is None:
        raise _Doubt
    reader = _Reader(stream, clock, keyframes)
    held: list[Packet] = []
    size = 0
    for packet, pts in _strict_packets(container, stream, promise):
        if packet.is_keyframe and held and clock.slot(pts - 1) <= reader.reached:
            yield from reader.drain()
            held, size = [], 0
        if reader.wants(packet, pts):
            yield from reader.decode(held, wanted=False)
            yield from reader.decode([packet], wanted=True)
            held, size = [], 0
        elif not keyframes:
            held.append(packet)
            size += packet.size
            if len(held) > HELD_PACKETS or size > HELD_BYTES:
                yield from reader.decode(held, wanted=False)
                held, size = [], 0
    yield from reader.drain()


class _Reader:
    """A decoder that checks that it returns every frame it was fed packets for, and no other."""

    def __init__(self, stream: VideoStream, clock: Slots, keyframes: bool) -> None:
        self.codec = stream.codec_context
        self.codec.thread_type = "AUTO"
        self.codec.thread_count = min(THREADS, os.cpu_count() or 1)
        self.clock = clock
        self.keyframes = keyframes
        self.reached = clock.taken  # the latest slot a frame was fed for
        self.expected: dict[int, int] = {}  # slot -> time of its first frame, fed but not come out yet
        self.out = -(1 << 63)  # time of the last frame that came out
        self.fed = False
        self.skipping = False

    def wants(self, packet: Packet, pts: int) -> bool:
        """Return whether the packet's frame may be the first of its slot."""
        slot = self.clock.slot(pts)
        if packet.is_discard or (self.keyframes and not packet.is_keyframe) or slot <= self.clock.taken:
            return False
        if pts >= self.expected.get(slot, pts + 1):
            return False
        self.expected[slot] = pts
        self.reached = max(self.reached, slot)
        return True

    def decode(self, packets: list[Packet], *, wanted: bool) -> Iterator[tuple[VideoFrame, float]]:
        if packets and self.skipping == wanted:
            self.skipping = not wanted
            self.codec.skip_frame = "DEFAULT" if wanted else "NONREF"
        for packet in packets:
            self.fed = True
            try:
                decoded = self.codec.decode(packet)
            except broken() as error:
                raise _Doubt from error
            yield from self._taken(decoded)

    def drain(self) -> Iterator[tuple[VideoFrame, float]]:
        if self.fed:
            try:
                decoded = self.codec.decode(None)
            except broken() as error:
                raise _Doubt from error
            yield from self._taken(decoded)
            self.codec.flush_buffers()
        if self.expected:
            raise _Doubt
        self.fed = False

    def _taken(self, decoded: list[VideoFrame]) -> Iterator[tuple[VideoFrame, float]]:
        for frame in decoded:
            if frame.pts is None or frame.pts <= self.out:
                raise _Doubt
            self.out = frame.pts
            slot = self.clock.slot(frame.pts)
            if slot <= self.clock.taken:
                continue
            missed = min(self.expected, default=slot) != slot or self.expected.pop(slot, None) != frame.pts
            if missed or frame.is_corrupt or (self.keyframes and not frame.key_frame):
                raise _Doubt
            time = self.clock.take(frame.pts)
            if time is not None:
                yield frame, time


def _strict_packets(container: InputContainer, stream: VideoStream, promise: Promise) -> Iterator[tuple[Packet, int]]:
    """Yield the stream's packets and their times; `_Doubt` at a read error, a missing time or times that run backwards."""
    previous = None
    try:
        for packet in container.demux(stream):
            if packet.size == 0 and packet.dts is None:
                return
            if packet.pts is None or packet.is_corrupt:
                raise _Doubt
            if packet.dts is not None:
                if previous is not None and packet.dts < previous:
                    raise _Doubt
                previous = packet.dts
            promise.read(packet)
            yield packet, packet.pts
    except broken() as error:
        raise _Doubt from error


def _forward(
    container: InputContainer, stream: VideoStream, clock: Slots, keyframes: bool, promise: Promise
) -> Iterator[tuple[VideoFrame, float]]:
    """Yield the wanted frames, decoding every packet in turn and leaving out damaged ones.

    Threads work on slices only: with frame threads, which frames survive an error would depend on their number.
    """
    codec = stream.codec_context
    codec.thread_type = "SLICE"
    rate = stream.average_rate or stream.guessed_rate or 25
    step = max(1, round(clock.second / rate))
    times = _Times()
    latest, offset = -step, 0
    for frame in _damaged_too(container, stream, promise):
        pts = times.of(frame, latest - offset + step)
        if clock.base is None:
            clock.base = pts
            latest += pts
        if latest - (pts + offset) > clock.second:
            offset = latest + step - pts  # two recordings in one file: the second goes on where the first ended
        pts += offset
        latest = max(latest, pts)
        promise.failed += frame.is_corrupt
        if frame.is_corrupt or (keyframes and not frame.key_frame):
            continue
        time = clock.take(pts)
        if time is not None:
            yield frame, time


class _Times:
    """The times of frames: presentation times, or decoding times where those run backwards less often (AVI, raw streams)."""

    def __init__(self) -> None:
        self.last = {"pts": -(1 << 63), "dts": -(1 << 63)}
        self.faults = {"pts": 0, "dts": 0}

    def of(self, frame: VideoFrame, otherwise: int) -> int:
        times = {name: getattr(frame, name) for name in self.last if getattr(frame, name) is not None}
        for name, time in times.items():
            self.faults[name] += time <= self.last[name]
            self.last[name] = time
        return times[min(times, key=lambda name: self.faults[name])] if times else otherwise


def _damaged_too(container: InputContainer, stream: VideoStream, promise: Promise) -> Iterator[VideoFrame]:
    """Yield every frame that can be decoded, in order."""
    failures = 0
    while failures < MOST_FAILURES:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    promise.read(packet)
                try:
                    yield from stream.codec_context.decode(packet)
                except broken():  # a damaged packet: the frames after it may be whole
                    promise.failed += 1
                    continue
                failures = 0
            return
        except broken() as error:  # a damaged stretch of the file: the reader has moved on behind it
            failures += MOST_FAILURES if out_of_time(error) else 1
