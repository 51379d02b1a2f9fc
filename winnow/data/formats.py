"""Formats of pictures: which reader reads which bytes, and what looks like a picture and is not read, with the remedy."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from winnow.errors import Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_READ = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "PNG": ".png .apng",
    "WebP": ".webp",
    "BMP": ".bmp .dib",
    "TIFF": ".tif .tiff",
    "AVIF": ".avif .avifs",
    "HEIC": ".heic .heif .heics .heifs .hif",
    "JPEG 2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "PNM": ".pbm .pgm .ppm .pnm .pfm",
    "TGA": ".tga .icb .vda .vst",
    "PCX": ".pcx .dcx",
    "SGI": ".sgi .rgb .rgba .bw",
    "Sun": ".ras",
    "QOI": ".qoi",
    "DDS": ".dds",
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in _READ.values() for suffix in suffixes.split())
"""Suffixes, in lower case, of the files read as pictures when they are found in a folder."""

RAW = "a raw picture of a camera"
_UNREAD = {
    RAW: ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .srw .orf .rw2 .rwl .raf .dng .gpr .pef .x3f .3fr .fff .iiq .kdc .dcr "
    ".mrw .mef .mos .erf .raw",
    "a Photoshop file": ".psd .psb",
    "a file of a drawing program": ".xcf .kra .ora .clip",
    "a drawing of lines, not a picture of pixels": ".svg .svgz .eps .wmf .emf .ai",
    "a JPEG XL picture": ".jxl",
    "a JPEG XR picture": ".jxr .wdp .hdp",
    "a picture of high dynamic range": ".exr .hdr",
    "a DICOM picture": ".dcm .dicom",
    "a FITS picture": ".fits .fit .fts",
    "a picture of a microscope": ".czi .lif .nd2 .vsi .svs .ndpi .mrxs .scn .oib .oif",
    "an icon": ".ico .cur .icns",
    "a picture of an old or rare format": ".pam .xbm .xpm .msp .im .pcd .pxr .blp .fli .flc .ftc .ftu .gbr .palm .djvu "
    ".iff .lbm .jbig .jb2 .jng .mng",
}
_KINDS = {suffix: kind for kind, suffixes in _UNREAD.items() for suffix in suffixes.split()}
CONVERT = "is not read: convert it to PNG, TIFF or JPEG"

_HEAD = 2048  # bytes that show what a file is; a PNM may begin with comments
# The reader is chosen by content and called directly: `Image.open` would try formats that run other programs, and its
# own pixel limit is a setting of the whole process.
_SIGNATURES = (
    (b"\xff\xd8\xff", "PIL.JpegImagePlugin:JpegImageFile"),
    (b"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin:PngImageFile"),
    (b"GIF8[79]a", "PIL.GifImagePlugin:GifImageFile"),
    (b"II[*+]\0|MM\0[*+]", "winnow.data.metered:Tiff"),
    (b"BM", "PIL.BmpImagePlugin:BmpImageFile"),
    (b"RIFF....WEBP", "PIL.WebPImagePlugin:WebPImageFile"),
    (b"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "PIL.Jpeg2KImagePlugin:Jpeg2KImageFile"),
    (b"P[1-6f](?:\\s|#[^\r\n]*[\r\n])+\\d+(?:\\s|#[^\r\n]*[\r\n])+\\d+[\\s#]", "PIL.PpmImagePlugin:PpmImageFile"),
    (b"\x0a[\0\2\3\4\5][\0\1][\1\2\4\10]", "PIL.PcxImagePlugin:PcxImageFile"),
    (b"\xb1\x68\xde\x3a", "PIL.DcxImagePlugin:DcxImageFile"),
    (b"\1\xda[\0\1][\1\2]", "PIL.SgiImagePlugin:SgiImageFile"),
    (b"\x59\xa6\x6a\x95", "PIL.SunImagePlugin:SunImageFile"),
    (b"qoif", "PIL.QoiImagePlugin:QoiImageFile"),
    (b"DDS ", "PIL.DdsImagePlugin:DdsImageFile"),
    # A TGA has no signature of its own: a map of colours or none at all, a kind that goes with it, a depth that exists.
    (b".\1[\1\11]\0\0..[\x0f\x10\x18\x20].{8}[\x08\x10]", "PIL.TgaImagePlugin:TgaImageFile"),
    (b".\0[\2\3\12\13]\0\0\0\0\0.{8}[\x08\x10\x18\x20]", "PIL.TgaImagePlugin:TgaImageFile"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL", "a JPEG XL picture"),
    (b"\0\0[\1\2]\0[^\0]", "an icon"),
    (b"icns", "an icon"),
    (b"SIMPLE", "a FITS picture"),
    (b"PF[\\s#]", "a PFM picture in colour"),
    (b"P7[\\s#]", "a PAM picture"),
    (b"v/1\1", "a picture of high dynamic range"),
    (b"#\\?RADIANCE", "a picture of high dynamic range"),
    (b"II\xbc\1", "a JPEG XR picture"),
    (b"FUJIFILMCCD-RAW|FOVb|IIRO|IIRS|MMOR|IIU\0", RAW),
    (b".{128}DICM", "a DICOM picture"),
    (b"gimp xcf", "a file of a drawing program"),
    (b"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"),
)
_HEIF = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def unread(suffix: str) -> str:
    """Return why a file of this suffix (lower case) is a picture and is not read; "" for any other suffix."""
    kind = _KINDS.get(suffix)
    return f"it is {kind} ({suffix}), which {CONVERT}" if kind else ""


def reader_of(data: bytes) -> type[ImageFile]:
    """Return the class of Pillow, or of pillow-heif, that reads these bytes; `Unreadable` says what they are instead."""
    for signature, name in _SIGNATURES:
        if re.match(signature, data[:_HEAD], re.DOTALL):
            return _loaded(name)
    for signature, kind in _OTHERS:
        if re.match(signature, data[:_HEAD], re.DOTALL):
            raise Unreadable(f"it is {kind}, {'which ' + CONVERT if 'picture' in kind else 'not a picture'}")
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise Unreadable("it is a web page (HTML), not a picture")
    if start.startswith((b"<?xml", b"<svg")):
        raise Unreadable("it is an XML or SVG file, not a picture of pixels")
    if not data.strip(b"\0"):
        raise Unreadable("the file holds only zeros, it was never written in full")
    raise Unreadable(f"it is not a picture ({', '.join(_READ)} and GIF are read)")


def _of_brands(data: bytes) -> type[ImageFile]:
    """Return the reader of a file that begins as MP4, AVIF and HEIC do."""
    head = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 256))]
    brands = {head[place : place + 4] for place in range(0, len(head), 4)}
    if brands & {b"avif", b"avis"}:
        return _loaded("PIL.AvifImagePlugin:AvifImageFile")
    if b"crx " in brands:
        raise Unreadable(f"it is {RAW}, which {CONVERT}")
    if not brands & _HEIF:
        raise Unreadable("it is a video, not a picture")
    try:
        return _loaded("pillow_heif:HeifImageFile")
    except ImportError:
        raise Unreadable("it is a HEIC picture, which needs: pip install 'winnow-vision[heif]'") from None


@cache
def _loaded(name: str) -> type[ImageFile]:
    """Return a reader; most programs meet one or two of them, so each is imported when its first picture comes."""
    module, _, kind = name.partition(":")
    return cast("type[ImageFile]", getattr(import_module(module), kind))
