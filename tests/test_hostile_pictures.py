"""Pictures whose copy broke off are refused, truly black or white ones are not, and no header keeps the reader busy."""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import sys
import time
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from winnow.data.images import decode
from winnow.errors import Unreadable
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.tables import read_table

from oddities import chunk, saved

KINDS = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "bmp-grey": ("BMP", {"mode": "L"}),
    "tiff": ("TIFF", {}),
    "tiff-16": ("TIFF", {"mode": "I;16"}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True, "method": 1}),
    "avif": ("AVIF", {"speed": 10}),
    "gif": ("GIF", {}),
    "ppm": ("PPM", {}),
    "pgm-16": ("PPM", {"mode": "I;16"}),
    "tga": ("TGA", {}),
    "jp2": ("JPEG2000", {"quality_mode": "rates", "quality_layers": [20]}),
    "jpeg": ("JPEG", {}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "jpeg-restarts": ("JPEG", {"restart_marker_blocks": 8}),
}
CHECKED = [name for name in KINDS if name.startswith(("png", "jpeg"))]
"""Those whose pixels carry a checksum or markers, so that even older bytes behind the cut show."""


def photograph(seed: int = 0, width: int = 321, height: int = 240) -> Image.Image:
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(30, 225, (12, 16, 3), dtype=np.uint8))
    rough = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((rough + rng.normal(0, 4, rough.shape)).clip(1, 254).astype(np.uint8))


def encoded(picture: Image.Image, name: str) -> bytes:
    kind, options = KINDS[name]
    options = dict(options)
    if (mode := options.pop("mode", "RGB")) == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif kind == "GIF":
        picture = picture.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    else:
        picture = picture.convert(mode)
    return saved(picture, kind, **options)


def broken_off(whole: bytes, share: float, fill: str, old: bytes = b"") -> bytes:
    """What an interrupted copy leaves: blocks of 512 bytes up to a share of the file, and fill up to its full size."""
    kept = int(len(whole) * share) // 512 * 512
    rest = len(whole) - kept
    return whole[:kept] + {"zeros": bytes(rest), "ff": b"\xff" * rest, "old": (old * 9)[:rest]}[fill]


@pytest.mark.parametrize("fill", ["zeros", "ff"])
@pytest.mark.parametrize("name", KINDS)
def test_a_broken_off_copy_is_refused(name: str, fill: str):
    for seed in range(4):
        whole = encoded(photograph(seed), name)
        assert decode(whole, (12, 16)).shape == (12, 16, 3)
        for share in (0.3, 0.55, 0.8):
            with pytest.raises(Unreadable, match=r"truncated|damaged"):
                decode(broken_off(whole, share, fill), (12, 16))


@pytest.mark.parametrize("name", CHECKED)
def test_older_bytes_behind_the_cut_are_told_by_checksums_and_markers(name: str):
    noise = np.random.default_rng(1).bytes(100_000)
    for seed in range(4):
        whole = encoded(photograph(seed), name)
        with pytest.raises(Unreadable, match=r"truncated|damaged"):
            decode(broken_off(whole, 0.5, "old", noise), (12, 16))


def test_pixels_of_another_jpeg_behind_the_cut_are_nearly_always_told():
    """They are sound bits of wrong pixels: what tells them is where they end."""
    old, told = encoded(photograph(9), "jpeg")[700:], 0
    for seed in range(12):
        try:
            decode(broken_off(encoded(photograph(seed), "jpeg"), 0.5, "old", old), (12, 16))
        except Unreadable:
            told += 1
    assert told >= 10


@pytest.mark.parametrize("fill", ["zeros", "ff"])
def test_a_tiff_whose_compressed_strips_are_missing_is_refused(fill: str):
    rows = np.asarray(photograph().convert("L"))
    strips = [zlib.compress(strip.tobytes()) for strip in np.array_split(rows, 24)]
    assert decode(striped(strips, rows.shape), None).shape == (*rows.shape, 3)
    with pytest.raises(Unreadable, match=r"truncated|damaged"):
        decode(broken_off(striped(strips, rows.shape), 0.5, fill), None)


def striped(strips: list[bytes], shape: tuple[int, int]) -> bytes:
    """A grey TIFF of deflated strips of ten rows, its directory in front."""
    places = 8 + 2 + 9 * 12 + 4
    first = places + 8 * len(strips)
    offsets = [first + sum(map(len, strips[:place])) for place in range(len(strips))]
    tags = [(256, 1, shape[1]), (257, 1, shape[0]), (258, 1, 8), (259, 1, 8), (262, 1, 1)]
    tags += [(273, len(strips), places), (277, 1, 1), (278, 1, 10), (279, len(strips), places + 4 * len(strips))]
    head = b"II*\0" + struct.pack("<IH", 8, 9) + b"".join(struct.pack("<HHII", tag, 4, *rest) for tag, *rest in tags)
    numbers = struct.pack(f"<{2 * len(strips)}I", *offsets, *map(len, strips))
    return head + b"\0\0\0\0" + numbers + b"".join(strips)


def black_below() -> dict[str, Image.Image]:
    """Pictures that truly are black, white or grey below, or above, or nearly everywhere."""
    found = {"flat": Image.new("RGB", (400, 300))}
    for colour in (0, 255, 128):
        for share in (0.1, 0.5, 0.9):
            for below in (True, False):
                picture = photograph(2)
                height = int(picture.height * share)
                picture.paste((colour,) * 3, (0, picture.height - height if below else 0, picture.width, height))
                found[f"{colour}-{share}-{'below' if below else 'above'}"] = picture
    night = np.random.default_rng(0).normal(-2, 3, (240, 321, 3)).clip(0, 255).astype(np.uint8)
    night[100:120, 50:90] = 200
    night[150:] = 0
    found["night"] = Image.fromarray(night)
    corner = np.asarray(photograph(3)).copy()
    y, x = np.mgrid[0:240, 0:321]
    corner[np.hypot(y - 60, x - 160) > 150] = 0
    found["dark corners"] = Image.fromarray(corner)
    steps = np.asarray(photograph(4)).copy()
    steps[100:, 200:] = steps[130:] = 0
    found["steps"] = Image.fromarray(steps)
    found["tilted"] = photograph(5).rotate(3)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_truly_black_or_white_pictures_are_accepted(name: str):
    for what, picture in black_below().items():
        assert decode(encoded(picture, name), (12, 16)).shape == (12, 16, 3), what


def test_a_large_flat_webp_is_accepted_although_it_ends_in_zeros():
    for options in ({}, {"lossless": True, "method": 0}):
        picture = photograph(0, 1000, 1000)
        picture.paste((0, 0, 0), (0, 300, 1000, 1000))
        whole = saved(picture, "WEBP", **options)
        assert decode(whole, (8, 8)).shape == (8, 8, 3)
        with pytest.raises(Unreadable, match=r"zeros|damaged|truncated"):
            decode(broken_off(whole, 0.2, "zeros"), (8, 8))


def test_what_lies_behind_a_whole_jpeg_does_not_matter():
    whole = encoded(photograph(), "jpeg")
    for behind in (
        bytes(5000),
        b"\xff" * 5000,
        np.random.default_rng(0).bytes(5000),
        whole,
        whole[700:],
        b"\0\0\0\x18ftyp",
    ):
        np.testing.assert_array_equal(decode(whole + behind, None), decode(whole, None))
    grey = saved(Image.new("RGB", (100, 100), (128, 128, 128)), "JPEG")
    assert (decode(grey + b"junk", None) == 128).all()
    assert (decode(grey[:-2] + bytes(40), None) == 128).all()


def endless() -> dict[str, bytes]:
    """Headers that would keep their reader busy, or unfold into gigabytes."""
    flat = chunk(b"IHDR", struct.pack(">IIBBBBB", 14137, 14137, 8, 6, 0, 0, 0))
    segments = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)
    progressive = saved(photograph(), "JPEG", progressive=True)
    scan = progressive.rindex(b"\xff\xda")
    offsets = struct.pack("<IH", 8, 1) + struct.pack("<HHII", 273, 4, 4_000_000, 26) + bytes(4)
    wide = bytearray(saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True))
    wide[wide.index(b"\xff\xc2") + 5 :][:4] = b""
    at = wide.index(b"\xff\xc2") + 5
    wide[at : at + 4] = struct.pack(">HH", 9000, 9000)
    last = wide.rindex(b"\xff\xda")
    return {
        "zeros": b"\xff\xd8\xff" + bytes(60_000_000),
        "fill": b"\xff\xd8" + b"\xff" * 60_000_000,
        "segments": b"\xff\xd8" + b"\xff\xe0\0\2" * 4_000_000,
        "joined": b"\xff\xd8" + segments * 800,
        "scans": progressive[:scan] + progressive[scan:-2] * 101 + b"\xff\xd9",
        "scans of many pixels": bytes(wide[:last]) + bytes(wide[last:-2]) * 30 + b"\xff\xd9",
        "comments": b"GIF89a\1\0\1\0\0\0\0" + (b"!\xfe" + (b"\xff" + b"x" * 255) * 1000 + b"\0") * 100,
        "tag": b"II*\0" + offsets + bytes(16_000_100),
        "pieces": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
        + chunk(b"aaAa", b"") * 500_000,
        "pixels": b"\x89PNG\r\n\x1a\n" + flat + chunk(b"IDAT", zlib.compress(bytes(1000))),
    }


def test_no_header_keeps_the_reader_busy():
    for what, data in endless().items():
        started = time.process_time()
        with pytest.raises(Unreadable) as refused:
            decode(data, (8, 8))
        assert time.process_time() - started < 3, what
        assert refused.value.message, what


def test_run_lengths_of_a_bitmap_are_bounded():
    """Pillow reads them in Python, two bytes at a time."""
    head = b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54 + 1024, 40, 14000, 7000, 1, 8, 1, 0, 0, 0, 256, 0)
    started = time.process_time()
    with pytest.raises(Unreadable):
        decode(head + bytes(1024) + b"\1\1" * 20_000_000, (8, 8))
    assert time.process_time() - started < 15


def test_what_is_no_file_or_endless_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with a pipe, a socket, a device, a circle of links, and sparse files of a terabyte."""
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(folder)
    os.mkfifo("pipe.png")
    os.mkfifo("pipe.mp4")
    os.symlink("/dev/zero", "device.jpg")
    os.symlink("circle.png", "circle.png")
    os.symlink(".", "again")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.png")
    for name in ("sparse.png", "sparse.tif", "sparse.mp4", "sparse.ts", "sparse.mkv", "sparse.gif"):
        with open(name, "wb") as file:
            os.truncate(file.fileno(), 1 << 40)
    Path("good.png").write_bytes(encoded(photograph(), "png"))
    started = time.monotonic()
    found = ingest([folder], tmp_path / "pool", IngestOptions(size=(8, 8), max_refused=1.0))
    assert time.monotonic() - started < 20
    listening.close()
    refused = {Path(row["source"]).name: row["reason"] for row in read_table(tmp_path / "pool" / "quarantine.csv")}
    assert found.pictures == 1
    assert len(refused) == 11 and all(refused.values())
    assert "pipe" in refused["pipe.png"] and "a file may hold" in refused["sparse.png"]


def fuzz() -> ModuleType:
    """Return bench/fuzz_media.py, of which a sample is run here."""
    path = Path(__file__).parents[1] / "bench/fuzz_media.py"
    spec = importlib.util.spec_from_file_location("fuzz_media", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def test_a_sample_of_the_fuzzing_hangs_crashes_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = fuzz()
    monkeypatch.setattr(bench, "DATA", tmp_path / "none")
    rng = np.random.default_rng(1)
    rows = [
        *bench.run(bench.pictures(40, rng), bench.judge_picture),
        *bench.run(bench.videos(24, rng, tmp_path), bench.judge_video),
    ]
    assert sum(row["files"] for row in rows) == 64
    for row in rows:
        assert [row[bad] for bad in ("hang", "crash", "over memory", "lost")] == [0, 0, 0, 0], row
    assert sum(row["refused"] + row["told"] for row in rows) > 35


def test_the_fuzzing_sees_what_hangs_crashes_and_takes_memory(monkeypatch: pytest.MonkeyPatch):
    bench = fuzz()
    monkeypatch.setattr(bench, "SECONDS", 1)
    assert bench.apart(lambda: "read")[0] == "read"
    assert bench.apart(lambda: time.sleep(9))[0] == "hang"
    assert bench.apart(lambda: {}["x"])[0] == "crash"
    monkeypatch.setattr(bench, "MEMORY", 400 << 20)
    assert bench.apart(lambda: str(len(b"x" * (500 << 20))))[0] == "over memory"
