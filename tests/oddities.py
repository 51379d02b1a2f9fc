"""Odd and broken picture files made on the spot: what each should look like, or the word its refusal should hold.

Most show the same card, 64 wide and 48 high: red and green above, blue and light grey below, so that a wrong turn, a
wrong channel and a wrong scale all show.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, LIGHT = (220, 30, 40), (20, 170, 60), (30, 60, 200), (210, 210, 210)
CARD = np.array([[RED, GREEN], [BLUE, LIGHT]], dtype=np.float64)
GREYS = np.array([[20, 90], [160, 250]], dtype=np.float64)
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Oddity:
    """A file, and either the four colours of its upright quarters (2, 2, 3) or a word of the reason it is refused."""

    name: str
    data: bytes
    colours: Any = None
    refused: str = ""
    tolerance: float = 2.0
    options: dict[str, Any] = field(default_factory=dict)


def oddities() -> list[Oddity]:
    """All of them, each with a name of its own."""
    return [*turned(), *jpegs(), *pngs(), *tiffs(), *others(), *not_pictures(), *truncated(), *damaged(), *bombs()]


def quarters(colours: Any, kind: Any = np.uint8) -> np.ndarray:
    """A (48, 64, ...) picture of four quarters."""
    return np.repeat(np.repeat(np.asarray(colours, dtype=kind), 24, axis=0), 32, axis=1)


def card(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(quarters(CARD)).convert(mode)


def greys(white: float, kind: Any) -> np.ndarray:
    """The grey quarters on a scale where `white` stands for 255."""
    return quarters(GREYS / 255 * white, kind)


def shown(greys_or_colours: Any) -> np.ndarray:
    """The (2, 2, 3) colours that four grey values come out as."""
    return np.repeat(np.asarray(greys_or_colours, dtype=np.float64)[..., None], 3, axis=2)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    """A PNG by hand: `size` (width, height), `rows` with their filter bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def filtered(array: np.ndarray) -> bytes:
    """Rows of big-endian samples, each after a filter byte of zero."""
    return b"".join(b"\0" + row.tobytes() for row in array)


def tiff(array: np.ndarray, tags: dict[int, tuple[str, list[int]] | None], big_endian: bool = False) -> bytes:
    """A TIFF by hand of one uncompressed strip; `tags` a number to (struct letter, values), or None to leave it out."""
    order = ">" if big_endian else "<"
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    height, width = array.shape[:2]
    samples = array.shape[2] if array.ndim == 3 else 1
    fields = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [array.itemsize * 8] * samples),
        259: ("H", [1]),
        262: ("H", [2 if samples == 3 else 1]),
        273: ("I", [8]),
        277: ("H", [samples]),
        278: ("H", [height]),
        279: ("I", [len(pixels)]),
        **tags,
    }
    pixels += b"\0" * (len(pixels) % 2)
    start = 8 + len(pixels)
    fields = {number: given for number, given in fields.items() if given}
    end = start + 2 + 12 * len(fields) + 4
    entries, far = b"", b""
    for number, (letter, values) in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", end + len(far))
            far += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", number, {"H": 3, "I": 4}[letter], len(values)) + place
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", start)
    return head + pixels + struct.pack(order + "H", len(fields)) + entries + b"\0\0\0\0" + far


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_stored(orientation: int) -> Image.Image:
    """The card as a camera held that way stores it."""
    return card().transpose(_TURNS[orientation]) if orientation in _TURNS else card()


def turned() -> list[Oddity]:
    found = [
        Oddity(f"exif-{turn}.jpg", saved(as_stored(turn), "JPEG", quality=95, exif=exif(turn)), CARD, tolerance=4)
        for turn in range(1, 9)
    ]
    for turn in range(2, 9):
        found += [
            Oddity(f"turned-{turn}.tif", saved(as_stored(turn), "TIFF", exif=exif(turn)), CARD),
            Oddity(
                f"turned-{turn}-lzw.tif", saved(as_stored(turn), "TIFF", exif=exif(turn), compression="tiff_lzw"), CARD
            ),
        ]
    for turn in (3, 6, 8):
        found += [
            Oddity(f"turned-{turn}.png", saved(as_stored(turn), "PNG", exif=exif(turn)), CARD),
            Oddity(f"turned-{turn}.webp", saved(as_stored(turn), "WEBP", lossless=True, exif=exif(turn)), CARD),
            Oddity(
                f"turned-{turn}.avif", saved(as_stored(turn), "AVIF", quality=95, exif=exif(turn)), CARD, tolerance=4
            ),
        ]
    return [*found, Oddity("exif-99.jpg", saved(card(), "JPEG", quality=95, exif=exif(99)), CARD, tolerance=4)]


def jpegs() -> list[Oddity]:
    plain = saved(card(), "JPEG", quality=95)
    cyan = Image.fromarray(quarters([[(255, 0, 0, 0), (0, 255, 0, 0)], [(0, 0, 255, 0), (0, 0, 0, 128)]]), mode=None)
    cmyk = Image.frombytes("CMYK", (64, 48), np.asarray(cyan).tobytes())
    inks = [[(0, 255, 255), (255, 0, 255)], [(255, 255, 0), (127, 127, 127)]]
    broken_exif = saved(card(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xee" * 40)
    varieties = {
        "progressive": saved(card(), "JPEG", quality=95, progressive=True),
        "no-subsampling": saved(card(), "JPEG", quality=95, subsampling=0),
        "rgb-inside": saved(card(), "JPEG", quality=95, keep_rgb=True),
        "restarts": saved(card(), "JPEG", quality=95, restart_marker_blocks=1),
        "junk-behind": plain + b"<html>junk</html>" * 99,
        "zeros-behind": plain + b"\0" * 4096,
        "broken-exif": broken_exif,
        "large-profile": saved(card(), "JPEG", quality=95, icc_profile=b"\0" * 200_000),
        "long-comment": saved(card(), "JPEG", quality=95, comment=b"x" * 60_000),
        "two-pictures": saved(card(), "MPO", quality=95, save_all=True, append_images=[card().rotate(180)]),
    }
    found = [Oddity(f"{name}.jpg", data, CARD, tolerance=4) for name, data in varieties.items()]
    grey = Image.fromarray(greys(255, np.uint8))
    return [
        *found,
        Oddity("grey.jpg", saved(grey, "JPEG", quality=95), shown(GREYS)),
        Oddity("grey-wanted.jpg", plain, grey_of(CARD), tolerance=3, options={"grey": True}),
        Oddity("cmyk-adobe.jpg", saved(cmyk, "JPEG", quality=98), inks, tolerance=6),
        Oddity("jpeg-called.png", plain, CARD, tolerance=4),
        Oddity("jpeg-called.txt", plain, CARD, tolerance=4),
        Oddity("one-pixel.jpg", saved(Image.new("RGB", (1, 1), RED), "JPEG"), [[RED] * 2] * 2, tolerance=6),
        Oddity("thread.jpg", saved(Image.new("RGB", (1, 3000), RED), "JPEG"), [[RED] * 2] * 2, tolerance=6),
    ]


def grey_of(colours: np.ndarray) -> np.ndarray:
    """The luma (ITU-R 601) of colours, as (2, 2, 1)."""
    return (np.asarray(colours) @ [0.299, 0.587, 0.114])[..., None]


def pngs() -> list[Oddity]:
    size = (64, 48)
    opaque = np.full((48, 64, 1), 255)
    half = np.concatenate([quarters(CARD), quarters([[[255], [0]], [[128], [255]]])], axis=2)
    on_white = [[RED, WHITE], [tuple(c * 128 / 255 + 127 for c in BLUE), LIGHT]]
    deep = (quarters(CARD, ">u2") * 257).astype(">u2")
    deep_alpha = np.concatenate([deep, (half[..., 3:].astype(">u2") * 257)], axis=2).astype(">u2")
    deep_grey = np.stack([greys(65535, ">u2"), opaque[..., 0].astype(">u2") * 257], axis=2).astype(">u2")
    palette = b"".join(bytes(c) for c in (RED, GREEN, BLUE, LIGHT))
    places = quarters([[0, 1], [2, 3]])
    packed = {
        bits: np.packbits(np.unpackbits(places[..., None], axis=2)[..., -bits:].reshape(48, -1), axis=1)
        for bits in (2, 4)
    }
    rgba = Image.frombytes("RGBA", size, half.astype(np.uint8).tobytes())
    clear = chunk(b"tRNS", bytes([255, 0, 128, 255]))
    four = (GREYS // 85).astype(int)
    animated = saved(card(), "PNG", save_all=True, append_images=[card().rotate(180)])
    return [
        Oddity("grey-16.png", saved(Image.fromarray(greys(65535, np.uint16)), "PNG"), shown(GREYS), tolerance=1),
        Oddity(
            "grey-12-in-16.png",
            saved(Image.fromarray(greys(4095, np.uint16)), "PNG"),
            shown(GREYS),
            tolerance=1,
            options={"white": 4095},
        ),
        Oddity("grey-16-alpha.png", png(size, 16, 4, filtered(deep_grey)), shown(GREYS), tolerance=1),
        Oddity("rgb-16.png", png(size, 16, 2, filtered(deep)), CARD, tolerance=1),
        Oddity("rgba-16.png", png(size, 16, 6, filtered(deep_alpha)), on_white),
        Oddity("palette.png", png(size, 8, 3, filtered(places), chunk(b"PLTE", palette)), CARD, tolerance=0),
        Oddity("palette-2-bit.png", png(size, 2, 3, filtered(packed[2]), chunk(b"PLTE", palette)), CARD, tolerance=0),
        Oddity("palette-4-bit.png", png(size, 4, 3, filtered(packed[4]), chunk(b"PLTE", palette)), CARD, tolerance=0),
        Oddity("palette-clear.png", png(size, 8, 3, filtered(places), chunk(b"PLTE", palette), clear), on_white),
        Oddity(
            "grey-2-bit.png",
            png(
                size,
                2,
                0,
                filtered(
                    np.packbits(np.unpackbits(quarters(four)[..., None], axis=2)[..., -2:].reshape(48, -1), axis=1)
                ),
            ),
            shown(four * 85),
            tolerance=0,
        ),
        Oddity(
            "one-bit.png",
            saved(Image.fromarray(quarters([[0, 255], [255, 0]])).convert("1"), "PNG"),
            shown([[0, 255], [255, 0]]),
            tolerance=0,
        ),
        Oddity("rgba.png", saved(rgba, "PNG"), on_white),
        Oddity("grey-alpha.png", saved(rgba.convert("LA"), "PNG"), shown(grey_of(np.array(on_white))[..., 0])),
        Oddity("colour-key.png", saved(card(), "PNG", transparency=RED), [[WHITE, GREEN], [BLUE, LIGHT]], tolerance=0),
        Oddity(
            "grey-key.png",
            saved(Image.fromarray(greys(255, np.uint8)), "PNG", transparency=20),
            shown([[255, 90], [160, 250]]),
            tolerance=0,
        ),
        Oddity("animated.png", animated, CARD, tolerance=0),
        Oddity("no-end.png", saved(card(), "PNG")[:-12], CARD),
        Oddity("gamma.png", png(size, 8, 2, filtered(quarters(CARD)), chunk(b"gAMA", struct.pack(">I", 100000))), CARD),
        Oddity("comment.png", png(size, 8, 2, filtered(quarters(CARD)), chunk(b"tEXt", b"Title\0caf\xe9")), CARD),
        Oddity("thumb.png", saved(card().resize((2, 2), Image.Resampling.NEAREST), "PNG"), CARD, tolerance=25),
    ]


def tiffs() -> list[Oddity]:
    floats, tall = (339, ("H", [3])), {"white": 1000.0}
    f32 = dict([floats])
    rgb = quarters(CARD)
    found = [
        Oddity(f"{name}.tif", saved(card(), "TIFF", compression=compression), CARD, tolerance=tolerance)
        for name, compression, tolerance in (
            ("lzw", "tiff_lzw", 0),
            ("deflate", "tiff_adobe_deflate", 0),
            ("packbits", "packbits", 0),
            ("jpeg-inside", "jpeg", 12),
        )
    ]
    lab = Image.frombytes("LAB", (64, 48), quarters([[(128, 0, 0)] * 2] * 2).tobytes())
    one = Image.fromarray(quarters([[0, 255], [255, 0]])).convert("1")
    pages = saved(card(), "TIFF", save_all=True, append_images=[card().rotate(180)])
    return [
        *found,
        Oddity("grey-16.tif", tiff(greys(65535, np.uint16), {}), shown(GREYS), tolerance=1),
        Oddity("grey-16-big-endian.tif", tiff(greys(65535, np.uint16), {}, True), shown(GREYS), tolerance=1),
        Oddity(
            "grey-16-white-is-0.tif",
            tiff(65535 - greys(65535, np.uint16), {262: ("H", [0])}),
            shown(GREYS),
            tolerance=1,
        ),
        Oddity("grey-8-white-is-0.tif", tiff(255 - greys(255, np.uint8), {262: ("H", [0])}), shown(GREYS), tolerance=1),
        Oddity(
            "grey-16-signed.tif",
            tiff(greys(32767, np.int16), {339: ("H", [2])}),
            shown(GREYS),
            tolerance=1,
            options={"white": 32767.0},
        ),
        Oddity("grey-32-int.tif", tiff(greys(65535, np.int32), {339: ("H", [2])}), shown(GREYS), tolerance=1),
        Oddity(
            "grey-32-big-endian.tif", tiff(greys(1000, np.int32), {339: ("H", [2])}, True), shown(GREYS), options=tall
        ),
        Oddity("float-to-1.tif", tiff(greys(1, np.float32), f32), shown(GREYS), tolerance=1),
        Oddity("float-to-255.tif", tiff(greys(255, np.float32), f32), shown(GREYS), tolerance=1),
        Oddity("float-to-65535.tif", tiff(greys(65535, np.float32), f32, True), shown(GREYS), tolerance=1),
        Oddity("float-to-1000.tif", tiff(greys(1000, np.float32), f32), shown(GREYS), tolerance=1, options=tall),
        Oddity(
            "float-below-0.tif",
            tiff(quarters([[-3e38, 0], [0.5, 1]], np.float32), f32),
            shown([[0, 0], [127.5, 255]]),
            tolerance=1,
        ),
        Oddity("rgb-16.tif", tiff((rgb.astype(np.uint16) * 257), {}), CARD, tolerance=1),
        Oddity("rgb-16-big-endian.tif", tiff((rgb.astype(np.uint16) * 257), {}, True), CARD, tolerance=1),
        Oddity("cmyk.tif", saved(card("CMYK"), "TIFF"), CARD),
        Oddity("ycbcr.tif", saved(card("YCbCr"), "TIFF"), CARD, tolerance=3),
        Oddity("lab.tif", saved(lab, "TIFF"), shown([[119, 119], [119, 119]]), tolerance=3),
        Oddity("rgba.tif", saved(card("RGBA"), "TIFF"), CARD, tolerance=0),
        Oddity("fax.tif", saved(one, "TIFF", compression="group4"), shown([[0, 255], [255, 0]]), tolerance=0),
        Oddity(
            "tiled.tif",
            tiff(
                quarters(CARD),
                {
                    273: None,
                    278: None,
                    279: None,
                    322: ("H", [64]),
                    323: ("H", [48]),
                    324: ("I", [8]),
                    325: ("I", [9216]),
                },
            ),
            CARD,
            tolerance=0,
        ),
        Oddity("pages.tif", pages, CARD, tolerance=0),
        Oddity("big.tif", saved(card(), "TIFF", big_tiff=True), CARD),
        Oddity("palette.tif", saved(card().quantize(8), "TIFF"), CARD, tolerance=1),
    ]


def film(scans: int) -> bytes:
    """What a phone puts behind the JPEG of a motion photo: a video, whose bytes can look like the start of a scan."""
    return b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + b"\xff\xda\x9b\0\x11\xd3" * scans


def pgm(values: np.ndarray, largest: int) -> bytes:
    """A PGM of 16 bits whose header says which value is white."""
    return b"P5\n# a comment\n%d %d\n%d\n" % (*values.shape[::-1], largest) + values.astype(">u2").tobytes()


def others() -> list[Oddity]:
    clear = card("RGBA")
    clear.putalpha(Image.fromarray(quarters([[255, 0], [255, 255]])))
    holes = [[RED, WHITE], [BLUE, LIGHT]]
    paletted = card("RGB").quantize(8)
    down = bytearray(saved(card().transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    down[22:26] = struct.pack("<i", -48)
    other = {"save_all": True, "append_images": [card().rotate(180)]}
    return [
        Oddity("lossy.webp", saved(card(), "WEBP", quality=95), CARD, tolerance=6),
        Oddity("clear.webp", saved(clear, "WEBP", lossless=True), holes, tolerance=0),
        Oddity("animated.webp", saved(card(), "WEBP", lossless=True, **other), CARD, tolerance=0),
        Oddity("motion.jpg", saved(card(), "JPEG") + film(200), CARD, tolerance=12),
        Oddity("motion-progressive.jpg", saved(card(), "JPEG", progressive=True) + film(200), CARD, tolerance=12),
        Oddity("motion-zeros.jpg", saved(card(), "JPEG") + film(3) + bytes(5000), CARD, tolerance=12),
        Oddity("motion-cut.jpg", saved(card(), "JPEG") + film(200)[:900], CARD, tolerance=12),
        Oddity("plain.avif", saved(card(), "AVIF", quality=95), CARD, tolerance=4),
        Oddity("clear.avif", saved(clear, "AVIF", quality=95), holes, tolerance=4),
        Oddity(
            "grey.avif", saved(Image.fromarray(greys(255, np.uint8)), "AVIF", quality=95), shown(GREYS), tolerance=4
        ),
        Oddity("animated.avif", saved(card(), "AVIF", quality=95, **other), CARD, tolerance=4),
        Oddity("plain.bmp", saved(card(), "BMP"), CARD, tolerance=0),
        Oddity("palette.bmp", saved(paletted, "BMP"), CARD, tolerance=1),
        Oddity(
            "one-bit.bmp",
            saved(card("L").point(lambda v: 255 * (v > 100)).convert("1"), "BMP"),
            shown([[0, 255], [0, 255]]),
            tolerance=0,
        ),
        Oddity("top-down.bmp", bytes(down), CARD, tolerance=0),
        Oddity("plain.jp2", saved(card(), "JPEG2000"), CARD, tolerance=0),
        Oddity("stream.j2k", saved(card(), "JPEG2000", no_jp2=True), CARD, tolerance=0),
        Oddity("deep.jp2", saved(Image.fromarray(greys(65535, np.uint16)), "JPEG2000"), shown(GREYS)),
        Oddity("plain.ppm", saved(card(), "PPM"), CARD, tolerance=0),
        Oddity("grey.pgm", saved(Image.fromarray(greys(255, np.uint8)), "PPM"), shown(GREYS), tolerance=0),
        Oddity("12-bit.pgm", pgm(greys(4095, np.uint16), 4095), shown(GREYS)),
        Oddity("12-bit-said.pgm", pgm(greys(4095, np.uint16), 4095), shown(GREYS), options={"white": 4095.0}),
        Oddity("12-bit-in-16.pgm", pgm(greys(4095, np.uint16), 65535), shown(GREYS), options={"white": 4095.0}),
        Oddity("plain.pfm", saved(card("L").convert("F"), "PPM"), shown([[88, 113], [67, 210]])),
        Oddity("plain.tga", saved(card(), "TGA"), CARD, tolerance=0),
        Oddity("packed.tga", saved(card(), "TGA", compression="tga_rle"), CARD, tolerance=0),
        Oddity("palette.tga", saved(card().quantize(8), "TGA"), CARD, tolerance=1),
        Oddity("plain.pcx", saved(card(), "PCX"), CARD, tolerance=0),
        Oddity("plain.sgi", saved(card(), "SGI"), CARD, tolerance=0),
        Oddity("plain.qoi", saved(card(), "QOI"), CARD, tolerance=0),
        Oddity("plain.dds", saved(card(), "DDS"), CARD, tolerance=0),
        Oddity("32-bit.bmp", saved(card("RGBA"), "BMP"), CARD),
        Oddity("still.gif", saved(paletted, "GIF"), CARD, tolerance=1),
        Oddity(
            "moving.gif", saved(paletted, "GIF", save_all=True, append_images=[paletted.rotate(180)]), CARD, tolerance=1
        ),
        Oddity(
            "clear.gif",
            saved(paletted, "GIF", transparency=paletted.getpixel((0, 0))),
            [[WHITE, GREEN], [BLUE, LIGHT]],
            tolerance=1,
        ),
    ]


def not_pictures() -> list[Oddity]:
    named = {
        "empty.jpg": (b"", "empty"),
        "one-byte.jpg": (b"\xff", "not a picture"),
        "zeros.jpg": (bytes(5000), "zeros"),
        "text.png": (b"just some words\n" * 9, "not a picture"),
        "page.jpg": (b"\n<!DOCTYPE html><html>404", "HTML"),
        "page-bom.jpg": (b"\xef\xbb\xbf<html><body>", "HTML"),
        "drawing.png": (b"<svg xmlns='x'/>", "SVG"),
        "feed.jpg": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
        "paper.jpg": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        "archive.jpg": (b"PK\x03\x04" + bytes(40), "zip"),
        "packed.jpg": (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        "print.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        "layers.jpg": (b"8BPS\0\1" + bytes(40), "Photoshop"),
        "film.jpg": (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "video"),
        "jp2.jpg": (b"\0\0\0\x0cjP  \r\n\x87\n", "truncated"),
        "cr3.jpg": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw picture of a camera"),
        "fuji.jpg": (b"FUJIFILMCCD-RAW 0201FF", "raw picture of a camera"),
        "x-ray.jpg": (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        "colour.pfm": (b"PF\n2 2\n-1.0\n" + bytes(48), "PFM"),
        "jxl.jpg": (b"\xff\x0a" + bytes(range(40)), "XL"),
        "icon.png": (b"\0\0\1\0\1\0" + bytes(40), "icon"),
        "lfs.jpg": (b"version https://git-lfs.github.com/spec/v1\noid", "LFS"),
        "noise.jpg": (np.random.default_rng(1).bytes(4000), "not a picture"),
    }
    return [Oddity(name, data, refused=word) for name, (data, word) in named.items()]


def busy() -> Image.Image:
    """A picture with something everywhere, so that what a truncated file lacks is more than a few bytes."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((128, 96), Image.Resampling.BICUBIC)


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain.jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "plain.png": ("PNG", {}),
    "lossy.webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "plain.tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tif": ("TIFF", {"compression": "jpeg"}),
    "deflate.tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "plain.gif": ("GIF", {}),
    "plain.bmp": ("BMP", {}),
    "plain.avif": ("AVIF", {}),
    "plain.jp2": ("JPEG2000", {}),
    "plain.ppm": ("PPM", {}),
    "plain.tga": ("TGA", {}),
    "packed.tga": ("TGA", {"compression": "tga_rle"}),
    "plain.pcx": ("PCX", {}),
    "plain.sgi": ("SGI", {}),
}


def truncated() -> list[Oddity]:
    found = []
    for name, (kind, options) in FORMATS.items():
        whole = saved(busy(), kind, **options)
        found += [
            Oddity(f"cut-{share}-{name}", whole[: len(whole) * share // 100], refused="truncated")
            for share in (10, 60, 95)
        ]
    return found


def damaged() -> list[Oddity]:
    plain, webp = saved(busy(), "JPEG"), saved(busy(), "WEBP")
    picture, bitmap = saved(busy(), "PNG"), saved(card(), "BMP")
    flipped = picture[:200] + bytes([picture[200] ^ 1]) + picture[201:]
    f32 = {339: ("H", [3])}
    holes = {name: quarters([[0, 1], [bad, 1]], np.float32) for name, bad in (("nan", np.nan), ("inf", np.inf))}
    unfinished = plain[: len(plain) // 2] + bytes(len(plain) - len(plain) // 2)
    scan = plain.index(b"\xff\xda")
    return [
        Oddity("bad-checksum.png", flipped, refused="damaged"),
        Oddity("no-scan.jpg", plain[:scan] + b"\xff\xd9", refused="damaged"),
        Oddity("unfinished.jpg", unfinished, refused="truncated"),
        Oddity("no-width.png", png((0, 48), 8, 2, b""), refused="damaged"),
        Oddity("no-data.png", png((64, 48), 8, 2, b""), refused="truncated"),
        Oddity("wrong-depth.png", png((64, 48), 3, 2, bytes(9999)), refused="damaged"),
        Oddity("head-only.gif", b"GIF89a\x10\0\x10\0\0\0\0", refused="truncated"),
        Oddity("no-frame.gif", b"GIF89a\x10\0\x10\0\0\0\0;", refused="truncated"),
        Oddity("no-width.bmp", bitmap[:18] + bytes(4) + bitmap[22:], refused="damaged"),
        Oddity("head-only.bmp", b"BM" + bytes(12), refused="damaged"),
        Oddity("damaged.webp", webp[:20] + bytes(60) + webp[80:], refused="damaged"),
        Oddity("head-only.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", refused="truncated"),
        Oddity("nan.tif", tiff(holes["nan"], f32), refused="not numbers"),
        Oddity("infinite.tif", tiff(holes["inf"], f32), refused="infinite"),
        Oddity("float-rgb.tif", tiff(quarters(CARD, np.float32), f32), refused="variety"),
        Oddity("beyond-16-bit.tif", tiff(greys(1e6, np.float32), f32), refused="--white"),
        Oddity("no-directory.tif", b"II*\0\xff\xff\xff\x7f", refused="truncated"),
        Oddity("no-width.tif", tiff(greys(255, np.uint8), {256: ("H", [0])}), refused="damaged"),
        Oddity("strip-nowhere.tif", tiff(greys(255, np.uint8), {273: ("I", [2**31])}), refused="truncated"),
        Oddity("many-samples.tif", tiff(greys(255, np.uint8), {277: ("H", [60000])}), refused="damaged"),
    ]


def bombs() -> list[Oddity]:
    """Small files that would grow beyond all measure."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(80_000_000), 9))
    rows = filtered(quarters(CARD))
    bmp = bytearray(saved(card(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    jpeg = bytearray(saved(card(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    slow = saved(card(), "JPEG", progressive=True)
    last = slow.rindex(b"\xff\xda")
    tile: dict[int, Any] = {
        273: None,
        278: None,
        279: None,
        322: ("I", [2**20]),
        323: ("I", [2**20]),
        324: ("I", [8]),
        325: ("I", [3072]),
    }
    return [
        Oddity("wide.png", png((60000, 60000), 8, 2, b""), refused="million pixels"),
        Oddity("wider.png", png((2**31 - 1, 2**31 - 1), 1, 0, b""), refused="million pixels"),
        Oddity("wide.bmp", bytes(bmp), refused="million pixels"),
        Oddity("wide.jpg", bytes(jpeg), refused="million pixels"),
        Oddity("wide.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;", refused="million pixels"),
        Oddity(
            "wide.tif", tiff(greys(255, np.uint8), {256: ("I", [10**6]), 257: ("I", [10**6])}), refused="million pixels"
        ),
        Oddity("tiles.tif", tiff(greys(255, np.uint8), tile), refused="million pixels"),
        Oddity(
            "over-the-limit.png", saved(card(), "PNG"), refused="more than the limit", options={"pixel_limit": 0.003}
        ),
        Oddity("words.png", png((64, 48), 8, 2, rows, text), refused="too large"),
        Oddity("profile.png", png((64, 48), 8, 2, rows, profile), refused="too large"),
        Oddity("endless.pgm", b"P5 " + b" " * 5000 + b"4 4 255\n" + bytes(16), refused="not a picture"),
        Oddity("scans.jpg", slow[:last] + slow[last:-2] * 200 + b"\xff\xd9", refused="scans"),
    ]
