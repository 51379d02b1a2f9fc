"""Small videos of the tests' own making. Each frame carries its number as black and white blocks, so that a decoded
picture tells which frame it is, and a colour field that moves, so that two frames are never the same."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 10
RED, GREEN, BLUE = (200, 30, 40), (30, 170, 60), (40, 60, 200)


def picture(number: int, height: int = 96, width: int = 160) -> np.ndarray:
    """uint8 (h, w, 3): top quarter the number in BITS blocks, below a moving gradient."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = (x * 2 + number * 3) % 256
    image[..., 1] = (y * 2 + number) % 256
    image[..., 2] = ((x + y) // 2 + number * 5) % 256
    blocks = (number >> (np.arange(width) * BITS // width)) & 1
    image[: height // 4] = (blocks * 255).astype(np.uint8)[None, :, None]
    return image


def number_of(image: np.ndarray) -> int:
    """The number a (decoded, scaled) picture carries."""
    height, width = image.shape[:2]
    row = image[height // 8].astype(float).mean(axis=-1)
    middles = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return int(((row[middles] > 128) << np.arange(BITS)).sum())


def plain(colour: tuple[int, int, int], height: int = 96, width: int = 160) -> np.ndarray:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def write(
    path: Path,
    pictures: Any,
    *,
    codec: str = "libx264",
    rate: Any = 25,
    form: str = "yuv420p",
    options: dict[str, str] | None = None,
    gop: int | None = None,
    bframes: int | None = None,
    times: Any = None,
    audio: bool = False,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes pictures (arrays, or a count of numbered ones); `times` are presentation times in milliseconds."""
    if isinstance(pictures, int):
        pictures = [picture(number) for number in range(pictures)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container, container_options=container_options or {}) as file:
        stream = file.add_stream(codec, rate=Fraction(rate), options=dict(options or {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = form
        stream.codec_context.thread_count = 1
        if gop is not None:
            stream.gop_size = gop
        if bframes is not None:
            stream.max_b_frames = bframes
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        sound = file.add_stream("aac", rate=44100) if audio else None
        for index, image in enumerate(pictures):
            name = "rgba" if image.shape[-1] == 4 else "rgb48le" if image.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(image, format=name)
            frame.pts = times[index] if times is not None else index
            frame.time_base = 1 / Fraction(rate) if times is None else Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound:
            _silence(file, sound, len(pictures) / float(Fraction(rate)))
    return path


def write_audio(path: Path, seconds: float = 1.0) -> Path:
    """A file that holds sound alone."""
    with av.open(str(path), "w") as file:
        _silence(file, file.add_stream("aac", rate=44100), seconds)
    return path


def _silence(file: Any, stream: Any, seconds: float) -> None:
    for index in range(max(1, int(seconds * 44100 / 1024))):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, index * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a display matrix ((a, b), (c, d)) into an mp4's track header, as a telephone does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, at, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def claim_size(path: Path, width: int, height: int) -> Path:
    """Writes a false width and height into an AVI's headers."""
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 32
    struct.pack_into("<II", data, at, width, height)
    at = data.index(b"strf") + 8 + 4
    struct.pack_into("<ii", data, at, width, height)
    path.write_bytes(data)
    return path


def damage(path: Path, start: float, stop: float, seed: int = 0) -> Path:
    """Overwrites a share of the file, from `start` to `stop` of its length, with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * stop)
    data[first:last] = np.random.default_rng(seed).integers(0, 256, last - first, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Keeps the first part of the file only."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
