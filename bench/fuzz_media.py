"""Damaged and hostile pictures and videos: does anything hang, crash, take gigabytes, or lose a large part without a word?

    python bench/fuzz_media.py [--quick] [--seeds N]

700 mutated pictures and 200 mutated videos (with --quick a tenth), of drawn ones and, where the benchmark data is, of real ones;
each is read in a process of its own that may take 30 seconds and 2 GiB. A picture is "lost" when a fifth of its pixels are off by
more than 40 grey levels and it is accepted; a video when two fifths of its frames are missing and nothing is said. That counts for
what a copy that broke off leaves (cut, zeros, 0xFF). Nobody can tell flipped bits and older bytes in a format without checksums, or an
MPEG stream that was cut: these are counted apart. The second table is the other side: whole pictures, all of the data and pictures
with black or white bars in every format, and whole videos, none of which may be refused or told of.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from winnow.data import images, video
from winnow.data.formats import IMAGE_SUFFIXES
from winnow.errors import Unreadable

from common import DATA, arguments, finish, table

SECONDS, MEMORY = 30, 2 << 30
ADDRESSES = 8 << 30  # what the system hands out; it counts what is never touched
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {"quality": 85}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "bmp": ("BMP", {}),
    "avif": ("AVIF", {"speed": 10}),
    "gif": ("GIF", {}),
}
VIDEOS: dict[str, dict[str, Any]] = {
    "mp4": {"codec": "libx264", "movflags": "faststart"},
    "index-last.mp4": {"codec": "libx264"},
    "mkv": {"codec": "libx264"},
    "webm": {"codec": "libvpx"},
    "avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "form": "yuvj420p"},
    "ts": {"codec": "mpeg2video"},
    "gif": {"codec": "gif", "form": "rgb8"},
}
BREAKS = ("cut", "zeros", "0xFF")
WAYS = (*BREAKS, "older bytes", "flips", "flips in the head", "numbers in the head")


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    share = 10 if given.quick else 1
    rng = np.random.default_rng(0)
    rows = [*run(pictures(700 // share, rng), judge_picture), *run(videos(200 // share, rng, given.to), judge_video)]
    table(rows, "Mutated files: all columns from 'hang' on ought to be 0, but for the last")
    whole = [
        whole_pictures(20 if given.quick else 1),
        *whole_in_every_format(4 if given.quick else 30),
        whole_videos(given.to),
    ]
    table(whole, "Whole files: none may be refused or told of")
    finish("fuzz_media", started, mutated=rows, whole=whole)


def run(cases: Iterator[tuple[str, str, bytes, Any]], judge: Callable[[str, bytes, Any], str]) -> list[dict[str, Any]]:
    """Return a row for each kind of file; a case is its kind, the way it was spoilt, its bytes and what the whole one showed."""
    rows: dict[str, Counter[str]] = {}
    slowest: dict[str, tuple[float, int]] = {}
    for kind, way, data, right in cases:
        began = time.monotonic()
        outcome, memory = apart(lambda data=data, kind=kind, right=right: judge(kind, data, right))
        if outcome == "lost" and (way not in BREAKS or (kind, way) == ("ts", "cut")):
            outcome = "untellable"
        rows.setdefault(kind, Counter())[outcome] += 1
        most, size = slowest.get(kind, (0.0, 0))
        slowest[kind] = max(most, time.monotonic() - began), max(size, memory)
        if outcome in ("hang", "crash", "over memory", "lost"):
            print(f"  {kind}, {way}: {outcome}", file=sys.stderr, flush=True)
    columns = ("read", "refused", "told", "hang", "crash", "over memory", "lost", "untellable")
    return [
        {"kind": kind, "files": sum(found.values())}
        | {column: found[column] for column in columns}
        | {"slowest s": slowest[kind][0], "most MiB": slowest[kind][1] >> 20}
        for kind, found in rows.items()
    ]


def apart(work: Callable[[], str]) -> tuple[str, int]:
    """Return what `work` returns in a child process, or "hang", "crash" or "over memory", and the most memory it held."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not what a test runner may have set
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        try:
            said = work()
        except BaseException as error:
            print(repr(error)[:300], file=sys.stderr)
            said = "crash"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    memory = used.ru_maxrss * 1024
    if os.WIFSIGNALED(status):
        said = "hang" if os.WTERMSIG(status) == signal.SIGALRM else "crash"
    return ("over memory" if memory > MEMORY else said), memory


# ---- what is done to the files


def spoilt(data: bytes, way: str, rng: np.random.Generator) -> bytes:
    """Return the file as an interrupted copy, a worn disk or an enemy leaves it."""
    kept = max(512, int(len(data) * rng.uniform(0.2, 0.85)) // 512 * 512)
    rest = max(0, len(data) - kept)
    if way in ("cut", "zeros", "0xFF", "older bytes"):
        fill = {"cut": b"", "zeros": bytes(rest), "0xFF": b"\xff" * rest, "older bytes": rng.bytes(rest)}[way]
        return data[:kept] + fill
    changed = bytearray(data)
    reach = len(data) if way == "flips" else min(len(data), 200)
    if way == "numbers in the head":
        for place in rng.integers(8, reach - 4, 2):
            struct.pack_into(
                "<I" if rng.random() < 0.5 else ">I",
                changed,
                place,
                int(rng.choice([0, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 40000])),
            )
    else:
        for place in rng.integers(0, reach, rng.integers(1, 9)):
            changed[place] ^= 1 << rng.integers(0, 8)
    return bytes(changed)


def pictures(count: int, rng: np.random.Generator) -> Iterator[tuple[str, str, bytes, np.ndarray]]:
    originals = [drawn(seed) for seed in range(8)] + real(16)
    for number in range(count):
        kind = list(PICTURES)[number % len(PICTURES)]
        way = WAYS[number // len(PICTURES) % len(WAYS)]
        whole = encoded(originals[int(rng.integers(len(originals)))], kind)
        yield kind, way, spoilt(whole, way, rng), images.decode(whole, None).astype(np.int16)


def videos(count: int, rng: np.random.Generator, folder: Path) -> Iterator[tuple[str, str, bytes, int]]:
    wholes = {name: film(folder / f"whole.{name}", **how).read_bytes() for name, how in VIDEOS.items()}
    for number in range(count):
        kind = list(VIDEOS)[number % len(VIDEOS)]
        way = WAYS[number // len(VIDEOS) % len(WAYS)]
        yield kind, way, spoilt(wholes[kind], way, rng), 75


# ---- what is said of them


def judge_picture(kind: str, data: bytes, right: np.ndarray) -> str:
    try:
        found = images.decode(data, None)
    except Unreadable:
        return "refused"
    if found.shape != right.shape:
        return "read"
    return "lost" if (np.abs(found - right).max(axis=2) > 40).mean() > 0.2 else "read"


def judge_video(kind: str, data: bytes, right: int) -> str:
    said: list[str] = []
    with tempfile.NamedTemporaryFile(suffix="." + kind.split(".")[-1]) as file:
        file.write(data)
        file.flush()
        try:
            found = sum(1 for _ in video.frames(file.name, (24, 40), every=0.04, on_loss=said.append))
        except Unreadable:
            return "refused"
    return "told" if said else "lost" if found < 0.6 * right else "read"


# ---- whole files


def whole_pictures(step: int) -> dict[str, Any]:
    """Read every picture of the benchmark data."""
    paths = sorted(path for path in DATA.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)[::step]
    refused = [path for path in paths if not accepted(path.read_bytes())]
    for path in refused:
        print(f"  {path} is refused", file=sys.stderr)
    return {"files": "all pictures of the data", "number": len(paths), "refused or told of": len(refused)}


def whole_in_every_format(count: int) -> list[dict[str, Any]]:
    """Encode pictures, as they are and with black or white below or above, in every format."""
    originals = [drawn(seed) for seed in range(3)] + real(count)
    rows = []
    for kind in PICTURES:
        number = refused = 0
        for picture in originals:
            for barred in bars(picture):
                number += 1
                refused += not accepted(encoded(barred, kind))
        rows.append({"files": f"{kind}, as they are, dark, barred", "number": number, "refused or told of": refused})
    return rows


def bars(picture: Image.Image) -> Iterator[Image.Image]:
    yield picture
    yield picture.point(lambda value: max(0, value - 170))
    for colour, share, below in ((0, 0.5, True), (0, 0.12, False), (255, 0.3, True), (0, 0.85, True)):
        barred = picture.copy()
        height = int(picture.height * share)
        barred.paste(
            (colour,) * 3,
            (0, picture.height - height if below else 0, picture.width, picture.height if below else height),
        )
        yield barred


def whole_videos(folder: Path) -> dict[str, Any]:
    """Read the videos of the data and of this script."""
    paths = [folder / f"whole.{name}" for name in VIDEOS] + sorted((DATA / "videos").glob("*"))
    told: list[str] = []
    for path in paths:
        for every in (0.2, 1.0):
            sum(1 for _ in video.frames(str(path), (24, 40), every=every, on_loss=told.append))
    return {"files": "videos", "number": len(paths), "refused or told of": len(told)}


def accepted(data: bytes) -> bool:
    try:
        images.decode(data, (16, 16))
    except Unreadable:
        return False
    return True


def encoded(picture: Image.Image, kind: str) -> bytes:
    form, options = PICTURES[kind]
    file = io.BytesIO()
    if form == "GIF":
        picture = picture.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(file, form, **options)
    return file.getvalue()


def drawn(seed: int, width: int = 321, height: int = 240) -> Image.Image:
    """Return smooth shapes and fine grain, as a camera gives."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(10, 245, (12, 16, 3), dtype=np.uint8))
    rough = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((rough + rng.normal(0, 4, rough.shape)).clip(0, 255).astype(np.uint8))


def real(count: int) -> list[Image.Image]:
    """Return pictures of the benchmark data, spread over its folders."""
    paths = sorted(
        path
        for name in ("sports22", "cats_dogs", "magnetic_tile", "ball_screw")
        for path in (DATA / name).rglob("*.jpg")
    )
    return [Image.open(path).convert("RGB") for path in paths[:: max(1, len(paths) // count)][:count]] if paths else []


def film(path: Path, codec: str, form: str = "yuv420p", movflags: str = "") -> Path:
    """Write 75 frames of a drawn scene that moves."""
    scene = np.asarray(drawn(1, 320, 192))
    with av.open(str(path), "w", container_options={"movflags": movflags} if movflags else {}) as file:
        stream: Any = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 96, form, 12
        stream.codec_context.thread_count = 1
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(scene[number : number + 96, number * 2 : number * 2 + 160]), format="rgb24"
            )
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
