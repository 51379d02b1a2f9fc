"""Open the file of a video: nothing hangs, no other file is read, and every refusal has its reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from winnow.data import storage
from winnow.data.growing import Growing
from winnow.data.swscale import check_pixels, most_pixels
from winnow.errors import Unreadable

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

_START = 65536
TIMEOUT = 20.0  # seconds to open a video or to read its next packet

# Only files that hold the pictures themselves: a playlist (hls, concat, dash) could name any other file or address.
FORMATS = (
    "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,gif,ogg,mxf,dv,yuv4mpegpipe,h264,hevc,m4v,ivf,obu,nut,wtv"
)


def out_of_time(error: Exception) -> bool:
    """Return whether a video could not be opened or read within `TIMEOUT`."""
    import av

    return isinstance(error, av.error.ExitError | av.error.TimeoutError)


def broken() -> tuple[type[Exception], ...]:
    """Return the errors that PyAV raises for hostile bytes: its own, and Python's for impossible streams, times and names."""
    import av

    return av.error.FFmpegError, LookupError, ValueError, ArithmeticError, RuntimeError


@contextmanager
def opened(
    uri: str, pixel_limit: float, growing: Growing | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Yield a video's container and the stream to read, closed at the end; `Unreadable` (reason without the file's name).

    A file that is still written is read through what waits for more of it (`growing`).
    """
    import av

    av.logging.set_level(None)  # what FFmpeg prints about broken files would tear the progress bar
    most = most_pixels(pixel_limit)
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS, "max_pixels": str(most)}
    file: Any = growing
    try:
        if growing is None and storage.is_remote(uri):
            file = storage.open_binary(uri)
        elif growing is None:
            _check_regular(uri)
        # "file:" keeps a name such as "http:a.mp4" from being read as an address. Who waits for more has a time of its own.
        timeout = TIMEOUT if growing is None else None
        container: InputContainer = av.open(file or f"file:{os.path.abspath(uri)}", options=options, timeout=timeout)
    except broken() as error:
        raise Unreadable(_why_not_open(uri, error)) from error
    if growing is not None:
        growing.waits = True  # not while it was opened: some formats look at the end of their file first
    with container:
        yield container, pictures_of(container, most)


def pictures_of(container: InputContainer, most: int) -> VideoStream:
    """Return the stream of a container to read, all others thrown away; `Unreadable` where there is none, or its pictures have more
    than `most` pixels."""
    from av.stream import Discard, Disposition

    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        raise Unreadable("it holds no video")
    best = container.streams.best("video")
    stream = next((s for s in pictures if best is not None and s.index == best.index), pictures[0])
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    _check_decoder(stream, most)
    return stream


def _check_regular(path: str) -> None:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("it is not a regular file")
        with open(path, "rb") as file:
            start = file.read(_START)
    except (OSError, ValueError) as error:
        raise Unreadable(f"it cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not start:
        raise Unreadable("the file is empty")
    if not any(start):  # a search for the first packet could go on for terabytes
        raise Unreadable("it is not a video of a known format: it begins with zeros, it was never written in full")


def _why_not_open(uri: str, error: Exception) -> str:
    import av

    if out_of_time(error):
        return f"it could not be opened within {TIMEOUT:.0f} seconds"
    if isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)):  # the latter: not one of FORMATS
        start = b"" if storage.is_remote(uri) else _first_bytes(uri)
        if start[4:8] == b"ftyp":
            return "its index (moov) is missing or damaged: the file is truncated or its recording was not finished"
        return "it is not a video of a known format, or its header is damaged"
    return f"it cannot be opened ({getattr(error, 'strerror', None) or error})"


def _first_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(12)


def _check_decoder(stream: VideoStream, most: int) -> None:
    codec = stream.codec_context
    if codec is None:
        raise Unreadable("its codec is not known")
    check_pixels(codec.width, codec.height, most)
    codec.options = {"max_pixels": str(most)}
