"""Frames of a camera or stream, as they come: RTSP, HTTP (HLS, MJPEG, MPEG-TS), or a capture device of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from winnow.data.containers import FORMATS, broken, pictures_of
from winnow.data.swscale import most_pixels
from winnow.errors import Unreadable

if TYPE_CHECKING:
    from av import VideoFrame

DEVICE = "/dev/video"
ADDRESS = re.compile(r"(rtsp|rtsps|http|https)://", re.IGNORECASE)
# No protocol that reads files: a playlist comes from somebody else.
PROTOCOLS = {"rtsp": "rtsp,rtp,tcp,udp,tls", "http": "http,https,httpproxy,tcp,tls,crypto"}
LIVE_FORMATS = f"{FORMATS},hls,rtsp,sdp,rtp,mpjpeg,mjpeg,image2pipe,jpeg_pipe,v4l2"
_SECRET = re.compile(r"(?<=://)[^/@]*@")


def is_camera(address: str) -> bool:
    """Return whether an address is that of a camera or stream, not of a file."""
    return bool(ADDRESS.match(address)) or address.startswith(DEVICE)


def shown(address: str) -> str:
    """Return an address without the name and password that it may hold."""
    return _SECRET.sub("", address)


def camera_frames(
    address: str, *, seconds: float, pixel_limit: float, alive: Callable[[], object]
) -> Iterator[tuple[VideoFrame, float]]:
    """Yield every frame of a stream and its time in seconds on the stream's own clock; `alive` is called with every packet.

    It ends when the stream does. `Unreadable` (reason without the address) when it cannot be opened, and when nothing comes for
    `seconds`. FFmpeg keeps no such limit everywhere: who must not wait looks whether `alive` is called.
    """
    import av

    av.logging.set_level(None)
    most = most_pixels(pixel_limit)
    kind = "rtsp" if address.lower().startswith("rtsp") else "http"
    options = {"max_pixels": str(most), "format_whitelist": LIVE_FORMATS}
    if not address.startswith(DEVICE):
        options |= {"protocol_whitelist": PROTOCOLS[kind], "rw_timeout": str(round(seconds * 1e6))}
    if kind == "rtsp":
        options |= {"rtsp_transport": "tcp", "timeout": str(round(seconds * 1e6))}
    try:
        device = "v4l2" if address.startswith(DEVICE) else None
        with av.open(address, format=device, options=options, timeout=seconds) as container:
            stream = pictures_of(container, most)
            yield from _decoded(container, stream, alive)
    except broken() as error:
        raise Unreadable(_why(error, address)) from error


def _decoded(container: object, stream: object, alive: Callable[[], object]) -> Iterator[tuple[VideoFrame, float]]:
    for packet in container.demux(stream):  # type: ignore[attr-defined]
        alive()
        try:
            frames = packet.decode()
        except broken():  # a damaged packet: the frames after it may be whole
            continue
        for frame in frames:
            if frame.pts is not None and frame.time_base and not frame.is_corrupt:
                yield frame, float(frame.pts * frame.time_base)


def _why(error: Exception, address: str) -> str:
    """Return what FFmpeg says, without the address, which may hold a password."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{said}".replace(address, "it").rstrip(".").lower()
