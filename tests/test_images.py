"""Pictures of every kind come out right or are refused with a reason; no bytes do anything else."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from winnow.data import formats, intact
from winnow.data.formats import IMAGE_SUFFIXES
from winnow.data.images import decode, pages
from winnow.errors import Unreadable

from oddities import FORMATS, Oddity, busy, card, film, greys, oddities, saved, tiff

ODD = oddities()
# pytest puts its own filters before those of winnow.data.images; test_nothing_is_written_to_the_terminal has no pytest.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL.TiffImagePlugin")


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own():
    assert len(ODD) >= 70
    assert len({odd.name for odd in ODD}) == len(ODD)


@pytest.mark.parametrize("size", [None, (24, 32)], ids=["full", "small"])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_oddities(odd: Oddity, size: tuple[int, int] | None):
    if odd.refused:
        with pytest.raises(Unreadable) as caught:
            decode(odd.data, size, **odd.options)
        assert odd.refused in caught.value.message
        assert "\n" not in caught.value.message
        return
    pixels = decode(odd.data, size, **odd.options)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == (1 if odd.options.get("grey") else 3)
    if size:
        assert pixels.shape[:2] == size
    middles = [[pixels[pixels.shape[0] * y // 4, pixels.shape[1] * x // 4] for x in (1, 3)] for y in (1, 3)]
    assert np.abs(np.asarray(middles, dtype=float) - np.asarray(odd.colours, dtype=float)).max() <= odd.tolerance


def outcome(data: bytes, size: tuple[int, int] | None, grey: bool = False) -> np.ndarray | str:
    """What `decode` makes of any bytes; anything but an array or `Unreadable` fails the test."""
    try:
        pixels = decode(data, size, grey=grey, pixel_limit=1)
    except Unreadable as refused:
        return refused.message
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == (1 if grey else 3)
    assert size is None or pixels.shape[:2] == size
    return pixels


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_give_an_array_or_a_reason(name: str):
    kind, options = FORMATS[name]
    whole = saved(busy().resize((48, 36)), kind, **options)
    rng = np.random.default_rng(0)
    kinds = set()
    for turn in range(150):
        data = bytearray(whole)
        # Half of the damage goes to the head, where sizes, counts and offsets are.
        reach = min(len(data), 120) if turn % 2 else len(data)
        for place in rng.integers(0, reach, rng.integers(1, 6)):
            data[place] ^= 1 << rng.integers(0, 8)
        if turn % 5 == 0:
            del data[rng.integers(0, len(data)) :]
        kinds.add(type(outcome(bytes(data), (8, 10) if turn % 3 else None, grey=turn % 4 == 0)))
    assert str in kinds


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [None, (12, 16)], ids=["full", "small"])
def test_a_truncated_file_is_refused_or_complete_never_half_grey(name: str, size: tuple[int, int] | None):
    kind, options = FORMATS[name]
    whole = saved(busy(), kind, **options)
    right = decode(whole, size)
    cuts = {*range(0, len(whole), max(1, len(whole) // 60)), *range(max(0, len(whole) - 40), len(whole))}
    for cut in sorted(cuts):
        pixels = outcome(whole[:cut], size)
        assert isinstance(pixels, str) or np.array_equal(pixels, right), cut


def gradient(white: float, kind: type) -> np.ndarray:
    return np.linspace(0, white, 40 * 60).reshape(40, 60).astype(kind)


@pytest.mark.parametrize(
    ("data", "white"),
    [
        (saved(Image.fromarray(gradient(65535, np.uint16)), "PNG"), None),
        (tiff(gradient(65535, np.uint16), {}), None),
        (tiff(gradient(65535, np.uint16), {}, True), None),
        (tiff(gradient(4095, np.uint16), {}), 4095.0),
        (tiff(gradient(1, np.float32), {339: ("H", [3])}), None),
        (tiff(gradient(90, np.float32), {339: ("H", [3])}, True), 90.0),
    ],
    ids=["png", "tiff", "tiff-big-endian", "tiff-12-bit", "float", "float-to-90"],
)
def test_a_deep_gradient_comes_out_within_one_level(data: bytes, white: float | None):
    right = np.linspace(0, 255, 40 * 60).reshape(40, 60)
    assert np.abs(decode(data, None, white=white)[..., 0] - right).max() <= 1
    assert np.abs(decode(data, None, white=white, grey=True)[..., 0] - right).max() <= 1


def test_white_changes_what_is_shown_and_clips_above_it():
    data = tiff(greys(65535, np.uint16), {})
    assert decode(data, None)[40, 60, 0] == 250
    assert decode(data, None, white=30000)[40, 60, 0] == 255
    assert decode(data, None, white=131070)[40, 60, 0] == 125


def photograph(width: int, height: int) -> Image.Image:
    """Smooth shapes and fine grain, as a camera gives."""
    rng = np.random.default_rng(3)
    shapes = Image.fromarray(rng.integers(0, 255, (18, 32, 3), dtype=np.uint8))
    rough = shapes.resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(rough) + rng.normal(0, 3, (height, width, 3))).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("shape", [(1280, 720), (641, 479), (90, 70)])
def test_the_quick_path_is_close_to_decoding_in_full(shape: tuple[int, int], turn: int, grey: bool):
    tags = Image.Exif()
    tags[274] = turn
    data = saved(photograph(*shape), "JPEG", quality=90, exif=tags)
    quick = decode(data, (80, 60), grey=grey)
    slow = Image.open(io.BytesIO(data)).convert("L" if grey else "RGB")
    if turn == 6:
        slow = slow.transpose(Image.Transpose.ROTATE_270)
    right = np.asarray(slow.resize((60, 80), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(quick.squeeze() - right).mean() < 0.8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP"])
def test_grey_is_one_channel_and_close_to_the_luma_of_the_colours(kind: str):
    data = saved(card(), kind)
    colours, grey = decode(data, (20, 30)), decode(data, (20, 30), grey=True)
    assert grey.shape == (20, 30, 1)
    assert np.abs(colours @ [0.299, 0.587, 0.114] - grey[..., 0]).mean() < 2


def test_the_pixel_limit_counts_before_anything_is_decoded():
    picture = Image.new("RGB", (1000, 1001))
    with pytest.raises(Unreadable, match=r"1.001 million pixels \(1000x1001\), more than the limit of 1 million"):
        decode(saved(picture, "JPEG"), (8, 8), pixel_limit=1)
    assert decode(saved(picture, "JPEG"), (8, 8), pixel_limit=1.01).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "JPEG2000", "AVIF", "GIF", "progressive JPEG"])
def test_what_is_decoded_as_a_whole_may_have_a_share_of_the_pixel_limit(kind: str):
    data = saved(Image.new("RGB", (1000, 1001)), kind.split()[-1], **({"progressive": True} if " " in kind else {}))
    times = 4 if kind in ("WEBP", "JPEG2000") else 2
    with pytest.raises(Unreadable, match=rf"more than the limit of 1 million: .*{1 / times:g} of --pixel-limit"):
        decode(data, (8, 8), pixel_limit=times)
    assert decode(data, (8, 8), pixel_limit=times * 1.002).shape == (8, 8, 3)


def test_a_jpeg_at_its_own_size_is_decoded_as_a_whole():
    data = saved(Image.new("RGB", (1000, 1001)), "JPEG")
    with pytest.raises(Unreadable, match=r"more than the limit of 1 million: .*0\.5 of --pixel-limit"):
        decode(data, None, pixel_limit=2)
    assert decode(data, (8, 8), pixel_limit=2).shape == (8, 8, 3)


def test_more_pixels_than_pillow_allows_are_read_when_the_limit_allows_them():
    data = saved(Image.new("L", (20_000, 9_500), 200), "JPEG")
    assert np.ptp(decode(data, (4, 4))) == 0


def test_pillow_is_not_told_to_read_other_formats_or_larger_ones():
    before = Image.MAX_IMAGE_PIXELS
    for kind, named in (("EPS", "PostScript"), ("ICO", "icon"), ("ICNS", "icon"), ("XBM", "not a picture")):
        with pytest.raises(Unreadable, match=named):
            decode(saved(card("1" if kind == "XBM" else "RGB"), kind), None)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_heic_picture_is_read_upright_and_refused_with_the_remedy_without_its_library(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    tags = Image.Exif()
    tags[274] = 6
    file = io.BytesIO()
    heif.from_pillow(card()).save(file, quality=95, exif=tags.tobytes())
    pixels = decode(file.getvalue(), None)
    assert pixels.shape == (64, 48, 3)
    right = np.asarray(card().transpose(Image.Transpose.ROTATE_270), dtype=float)
    assert np.abs(pixels - right)[10:20, 10:20].max() <= 8
    for share in (30, 60, 95):
        with pytest.raises(Unreadable, match="truncated"):
            decode(file.getvalue()[: len(file.getvalue()) * share // 100], None)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._loaded.cache_clear()
    with pytest.raises(Unreadable, match=r"HEIC picture, which needs: pip install 'winnow-vision\[heif\]'"):
        decode(file.getvalue(), None)
    formats._loaded.cache_clear()


def test_only_heic_loads_the_library_for_it_and_only_a_format_met_its_reader():
    program = """
import sys; sys.path.insert(0, "tests")
from oddities import card, saved
from winnow.data.images import decode
decode(saved(card(), "PNG"), None)
assert "pillow_heif" not in sys.modules and "PIL.AvifImagePlugin" not in sys.modules
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("white", [None, 4095.0])
def test_jpeg_2000_of_12_bits_comes_out_as_its_header_says(tmp_path, white):
    path, values = tmp_path / "a.jp2", gradient(4095, np.uint16)
    words = (
        "ffmpeg -v error -f rawvideo -pix_fmt gray12le -s 60x40 -i - -c:v libopenjpeg -compression_level 0 -f image2 -y"
    )
    made = subprocess.run([*words.split(), str(path)], input=values.astype("<u2").tobytes(), check=False)
    if made.returncode:
        pytest.skip("ffmpeg without openjpeg")
    right = np.linspace(0, 255, 40 * 60).reshape(40, 60)
    assert np.abs(decode(path.read_bytes(), None, white=white)[..., 0] - right).max() <= 1


def frames_of(count: int, side: int = 20) -> list[Image.Image]:
    return [Image.fromarray(np.full((side + number, 30, 3), 40 * number, np.uint8)) for number in range(count)]


def test_every_page_of_a_tiff_is_read_and_those_that_are_copies_of_others_are_not():
    first, *others = frames_of(4)
    data = saved(first, "TIFF", save_all=True, append_images=others)
    read = list(pages(data, None))
    assert [(number, pixels.shape[0], pixels[0, 0, 0]) for number, pixels in read] == [
        (1, 20, 0), (2, 21, 40), (3, 22, 80), (4, 23, 120)
    ]  # fmt: skip
    assert np.array_equal(decode(data, None, page=3), read[2][1])
    assert np.array_equal(decode(data, None), read[0][1])
    with pytest.raises(Unreadable, match="it has no page 5"):
        decode(data, None, page=5)
    cut = list(pages(data[:-2000], None))
    assert [number for number, _ in cut] == [1, 2, 3, 4]
    assert cut[3][1] == "the file is truncated"
    assert [number for number, _ in pages(saved(first, "TIFF"), None)] == [None]

    smaller = TiffImagePlugin.ImageFileDirectory_v2()
    smaller[254] = 1
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file) as writer:
        for page, tags in ((first, {}), (first.resize((8, 8)), smaller), (others[0], {})):
            page.save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    assert [(number, pixels.shape[0]) for number, pixels in pages(file.getvalue(), None)] == [(1, 20), (3, 21)]


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF", "GIF"])
def test_every_frame_of_an_animated_picture_is_read(kind: str):
    shades = [Image.fromarray(np.full((20, 30, 3), 60 * number, np.uint8)) for number in range(4)]
    exact = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(kind, {})
    data = saved(shades[0], kind, save_all=True, append_images=shades[1:], **exact)
    read = list(pages(data, (10, 10)))
    assert [number for number, _ in read] == [1, 2, 3, 4]
    assert np.abs(np.array([pixels[5, 5, 0] for _, pixels in read]) - [0.0, 60, 120, 180]).max() <= 2
    assert np.array_equal(decode(data, (10, 10), page=3), read[2][1])


def test_the_raw_file_of_a_camera_is_refused_and_not_its_preview_read():
    small, raw = TiffImagePlugin.ImageFileDirectory_v2(), TiffImagePlugin.ImageFileDirectory_v2()
    small[254], small[330] = 1, 8
    raw[50706] = b"\1\4\0\0"
    for tags in (small, raw):
        with pytest.raises(Unreadable, match="raw picture of a camera, which is not read: convert it"):
            decode(saved(card(), "TIFF", tiffinfo=tags), None)


def test_nothing_is_written_to_the_terminal():
    program = """
import sys; sys.path.insert(0, "tests")
from oddities import oddities
from winnow.data.images import decode
from winnow.errors import Unreadable
for odd in oddities():
    try: decode(odd.data, (8, 8), **odd.options)
    except Unreadable: pass
"""
    ran = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_array_is_the_callers_own():
    data = saved(card(), "PNG")
    pixels = decode(data, None)
    before = pixels.copy()
    pixels[:] = 0
    assert before.any() and np.array_equal(decode(data, None), before)


def test_suffixes_are_lower_case_and_no_video_is_among_them():
    from winnow.data.video import VIDEO_SUFFIXES

    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES


def test_no_motion_photo_is_taken_for_a_damaged_one():
    """Of 250 photographs with a film behind them 5 were: their last bytes say too little to show at an eighth of the size."""
    told = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rough = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
            (120, 88), Image.Resampling.BICUBIC
        )
        fine = (np.asarray(rough) + rng.normal(0, 20, (88, 120, 3))).clip(0, 255).astype(np.uint8)
        data = saved(Image.fromarray(fine), "JPEG", quality=97, subsampling=0)
        assert np.array_equal(decode(data + film(3) + bytes(seed * 10), (22, 30)), decode(data, (22, 30)))
        told += intact.eighth(data) == intact.eighth(intact.exchanged(data, intact.jpeg(data)))
    assert told  # else none of these tells
