"""Compare what came out of a video with what its container promises, so that one that breaks off is told.

MP4 and AVI promise a length or a number of frames for each stream. Matroska, FLV and ASF promise the length of the whole file, which may be
that of its sound; MPEG streams and GIF promise nothing, but their bytes must lead somewhere and a GIF has an end.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from winnow.data import storage
from winnow.data.containers import broken, opened

if TYPE_CHECKING:
    from av import Packet, VideoStream
    from av.container import InputContainer

LEAST_SHARE, LEAST_FRAMES = 0.05, 3  # promises are often wrong by a frame or two
_HEAD = 4096
_SEGMENT = b"\x18\x53\x80\x67"
_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")


class Promise:
    """What a video's container promises, and what has been read of it."""

    def __init__(self, uri: str, container: InputContainer, stream: VideoStream, pixel_limit: float) -> None:
        self.uri, self.pixel_limit = uri, pixel_limit
        self.form = container.format.name.split(",")[0]
        self.tick, self.start = stream.time_base or Fraction(1), stream.start_time or 0
        self.rate = float(stream.average_rate or stream.guessed_rate or 25)
        self.seconds = 0.0
        if self.form == "mov" and stream.duration:
            self.seconds = float(stream.duration * self.tick)
        elif self.form == "avi":
            self.seconds = stream.frames / self.rate
        elif self.form in ("matroska", "flv", "asf") and container.duration:
            self.seconds = container.duration / 1e6
        self.packets = self.failed = self.place = 0
        self.end = 0.0

    def read(self, packet: Packet) -> None:
        """Note a packet that was read."""
        self.packets += 1
        self.place = max(self.place, (packet.pos or 0) + packet.size)
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and not packet.is_corrupt:
            time += packet.duration or 0
            self.end = max(self.end, float(max(time, time - self.start) * self.tick))

    def loss(self) -> str:
        """Return, in words, what is missing of a video that has been read to its end; "" where little or nothing is."""
        if self.failed >= max(LEAST_FRAMES, LEAST_SHARE * self.packets):
            return (
                f"{100 * self.failed / self.packets:.0f} % of its frames are damaged and left out, the others are kept"
            )
        if self.form == "gif":
            ended = _last(self.uri) == b";"
            return "" if ended else f"it breaks off: its end is missing, the {self.packets} frames before are kept"
        if self.form in ("mov", "avi"):
            missing = self._late(self.end)
        elif self.form in ("matroska", "flv", "asf", "mpegts", "mpeg"):
            missing = self._missing()
        else:
            missing = 0.0
        if not missing:
            return ""
        until = f" of {self.seconds:.2f} s" if self.seconds else ""
        return (
            f"{100 * missing:.0f} % of it is lost: it breaks off at {self.end:.2f} s{until}, the frames before are kept"
        )

    def _late(self, end: float) -> float:
        """Return the share of the promised time that lies behind `end`, 0 where it is a little."""
        lost = self.seconds - end
        return lost / self.seconds if lost > max(LEAST_FRAMES / self.rate, LEAST_SHARE * self.seconds) else 0.0

    def _missing(self) -> float:
        """Return the share that is missing by the whole file: sound may be longer than the pictures, and take more bytes."""
        size, declared = _sizes(self.uri, self.form)
        if self.form == "asf" and declared * (1 - LEAST_SHARE) > size:
            return 1 - size / declared
        if not self._late(self.end) and self.place >= size * (1 - LEAST_SHARE):
            return 0.0
        end, place, largest = _everything(self.uri, self.pixel_limit)
        if self.form in ("mpegts", "mpeg"):  # their packets lie in pieces, and the first one is named
            place = min(size, place + largest)
        unread = 1 - place / size
        cut = unread > LEAST_SHARE or declared > size
        if self.form in ("mpegts", "mpeg"):
            return unread if cut else 0.0
        return self._late(self.end) if self._late(end) and (cut or self.form != "matroska") else 0.0


def _everything(uri: str, pixel_limit: float) -> tuple[float, int, int]:
    """Return when and where the last packet of any stream ends, and the size of the largest."""
    from av.stream import Discard

    end, place, largest = 0.0, 0, 0
    with opened(uri, pixel_limit) as (container, _):
        for stream in container.streams:
            stream.discard = Discard.default
        try:
            for packet in container.demux():
                place, largest = max(place, (packet.pos or 0) + packet.size), max(largest, packet.size)
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except broken():
            pass  # what cannot be read is what is asked for
    return end, place, largest


def _last(uri: str) -> bytes:
    """Return the last byte that is not zero."""
    with storage.open_binary(uri) as file:
        file.seek(max(0, file.seek(0, 2) - _HEAD))
        return file.read().rstrip(b"\0")[-1:]


def _sizes(uri: str, form: str) -> tuple[int, int]:
    """Return a file's size, and the size that it says it has, 0 where it says none."""
    with storage.open_binary(uri) as file:
        head = file.read(_HEAD)
        return file.seek(0, 2), _declared(head, form)


def _declared(head: bytes, form: str) -> int:
    if form == "asf":
        at = head.find(_PROPERTIES)
        return int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0
    at = head.find(_SEGMENT) + len(_SEGMENT)
    if form != "matroska" or at < len(_SEGMENT) or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return 0 if size == (1 << 7 * length) - 1 else at + length + size
