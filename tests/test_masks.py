"""Masks, however their makers draw them: what is not background is damaged, and what cannot have been meant is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from winnow.errors import InputError
from winnow.inspect.masks import Masks, damage_in, masks_in, read_mask

SIZE = (60, 80)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
DISC = (Y - 20) ** 2 + (X - 25) ** 2 <= 100
BAR = (abs(X - 60) <= 1) & (Y > 25) & (Y < 50)
DOT = (Y == 50) & (X == 12)
RING = ((Y - 20) ** 2 + (X - 25) ** 2 <= 196) & ~DISC
KINDS = DISC + 2 * BAR + 3 * DOT
TRUTH = DISC | BAR | DOT


def stored(picture: Image.Image, kind: str = "PNG", **options: object) -> Image.Image:
    """The picture as a reader finds it in a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def coloured(colours: dict[int, tuple[int, ...]]) -> np.ndarray:
    """A picture of the three kinds of damage, each in its colour; 0 is the background."""
    return np.array([colours[kind] for kind in range(4)], np.uint8)[KINDS]


def paletted(colours: list[int], numbers: np.ndarray = KINDS, **options: object) -> Image.Image:
    picture = Image.fromarray(numbers.astype(np.uint8))
    picture.putpalette(colours)
    return stored(picture, **options)


BLACK, RED, DARK, BLUE, WHITE = (0, 0, 0), (255, 0, 0), (64, 0, 0), (0, 0, 128), (255, 255, 255)
CLEAR, VOC = (0, 0, 0, 0), [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]

EXACT = {
    "0 and 255": stored(Image.fromarray((TRUTH * 255).astype(np.uint8))),
    "0 and 1": stored(Image.fromarray(TRUTH.astype(np.uint8))),
    "one bit": stored(Image.fromarray(TRUTH)),
    "classes 0 to 3": stored(Image.fromarray(KINDS.astype(np.uint8))),
    "classes 0, 1, 2 and 255": stored(Image.fromarray(np.array([0, 1, 2, 255], np.uint8)[KINDS])),
    "classes of VOC and cityscapes": stored(Image.fromarray(np.array([0, 1, 19, 33], np.uint8)[KINDS])),
    "shades 0, 85, 170, 255": stored(Image.fromarray((KINDS * 85).astype(np.uint8))),
    "16-bit classes": stored(Image.fromarray(np.array([0, 1, 300, 40000], np.uint16)[KINDS])),
    "16-bit white": stored(Image.fromarray((TRUTH * 65535).astype(np.uint16))),
    "16-bit TIFF": stored(Image.fromarray(np.array([0, 1, 2, 3], np.uint16)[KINDS]), "TIFF"),
    "32-bit TIFF": stored(Image.fromarray((KINDS * 1000).astype(np.int32)), "TIFF"),
    "float from 0 to 1": stored(Image.fromarray(TRUTH.astype(np.float32)), "TIFF"),
    "a colour a class": stored(Image.fromarray(coloured({0: BLACK, 1: RED, 2: DARK, 3: WHITE}))),
    "dark and bright colours": stored(Image.fromarray(coloured({0: BLACK, 1: BLUE, 2: WHITE, 3: DARK}))),
    "red on white": stored(Image.fromarray(coloured({0: WHITE, 1: RED, 2: RED, 3: BLUE}))),
    "red on grey": stored(Image.fromarray(coloured({0: (90, 90, 90), 1: RED, 2: RED, 3: (80, 90, 90)}))),
    "VOC palette": paletted(VOC),
    "VOC palette with its white border": paletted(VOC + [0] * 753 + [224, 224, 192], KINDS + 255 * (RING & (KINDS == 0))),
    "palette of two dark colours": paletted([70, 70, 70, 90, 20, 20], TRUTH),
    "palette of two, bright background": paletted([250, 240, 200, 200, 30, 30], TRUTH),
    "palette of two, black and red": paletted([0, 0, 0, 200, 0, 0], TRUTH),
    "palette of one colour for all": paletted([0, 0, 0] * 4),
    "palette in any order": stored(Image.fromarray(coloured({0: WHITE, 1: RED, 2: BLUE, 3: DARK})).quantize(4)),
    "palette with a transparent entry": paletted([255, 255, 255, 255, 0, 0, 0, 0, 0, 9, 9, 9], transparency=0),
    "colours on transparency": stored(
        Image.fromarray(coloured({0: CLEAR, 1: (*RED, 255), 2: (*BLACK, 255), 3: (*WHITE, 255)}), "RGBA")
    ),
    "half opaque on transparency": stored(
        Image.fromarray(coloured({0: (255, 255, 255, 0), 1: (*RED, 128), 2: (*BLACK, 128), 3: (*WHITE, 128)}), "RGBA")
    ),
    "opaque colours": stored(Image.fromarray(coloured({0: (*BLACK, 255), 1: (*RED, 255), 2: (*DARK, 255), 3: (*WHITE, 255)}), "RGBA")),
    "grey and alpha": stored(Image.fromarray(np.dstack([np.full(SIZE, 255), TRUTH * 255]).astype(np.uint8), "LA")),
    "WebP": stored(Image.fromarray(coloured({0: BLACK, 1: RED, 2: DARK, 3: WHITE})), "WEBP", lossless=True),
    "GIF": stored(Image.fromarray((TRUTH * 255).astype(np.uint8)), "GIF"),
    "BMP": stored(Image.fromarray((KINDS * 85).astype(np.uint8)), "BMP"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_what_is_not_background_is_damaged(name: str):
    """Class 1 of 0/1/2, dark colours, palettes and colours on transparency were lost: half of the brightest was the limit."""
    right = TRUTH | (RING if "border" in name else False)
    assert np.array_equal(damage_in(EXACT[name]), right)


def test_numbers_of_many_things_are_all_damaged():
    numbers = np.zeros((200, 200), np.uint16)
    for place in range(80):
        numbers[20 * (place // 10) + 2 : 20 * (place // 10) + 14, 20 * (place % 10) + 2 : 20 * (place % 10) + 14] = (
            1 + place
        )
    for kind in (np.uint8, np.uint16):
        assert np.array_equal(damage_in(stored(Image.fromarray(numbers.astype(kind)))), numbers > 0)


def disc(radius: float, colour: tuple[int, int, int] | int = 255, scale: int = 8) -> Image.Image:
    """A disc with the soft edge of a drawing program."""
    y, x = np.mgrid[: SIZE[0] * scale, : SIZE[1] * scale] / scale
    inside = (y - 30) ** 2 + (x - 40) ** 2 <= radius**2
    whole = (
        inside[..., None] * np.atleast_1d(np.array(colour, float))
        if isinstance(colour, tuple)
        else inside * float(colour)
    )
    return Image.fromarray(whole.astype(np.uint8)).resize(SIZE[::-1], Image.Resampling.BOX)


@pytest.mark.parametrize("colour", [255, 200, (255, 255, 255), (255, 0, 0), (0, 0, 128)])
def test_a_soft_edge_is_cut_at_its_middle(colour):
    drawn = disc(15.3, colour)
    values = np.asarray(drawn, float).reshape(*SIZE, -1).max(axis=2)
    assert np.array_equal(damage_in(stored(drawn)), values >= values.max() / 2)


@pytest.mark.parametrize("sigma", [1, 3, 8])
def test_a_blurred_mask_is_cut_at_half(sigma):
    values = np.asarray(disc(15).filter(ImageFilter.GaussianBlur(sigma)))
    assert np.array_equal(damage_in(stored(Image.fromarray(values))), values > values.max() / 2)


@pytest.mark.parametrize("quality", [30, 75, 90, 95, 98])
@pytest.mark.parametrize("again", [False, True], ids=["jpeg", "png-of-it"])
def test_the_noise_of_a_jpeg_is_no_damage(quality, again):
    """As a JPEG, and as a PNG that was made of one."""
    y, x = np.mgrid[:240, :320]
    truth = ((y - 100) ** 2 + (x - 120) ** 2 <= 1600) | ((abs(x - 240) <= 5) & (y > 60) & (y < 200))
    mask = stored(Image.fromarray((truth * 255).astype(np.uint8)), "JPEG", quality=quality)
    found = damage_in(stored(mask) if again else mask)
    assert (found != truth).mean() < 0.001
    colour = stored(
        Image.fromarray((truth[..., None] * np.array([128, 0, 0])).astype(np.uint8)), "JPEG", quality=quality
    )
    assert (damage_in(colour) != truth).mean() < 0.02


def write(folder: Path, **pictures: np.ndarray) -> Path:
    folder.mkdir()
    for name, values in pictures.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def test_masks_that_cannot_have_been_meant_are_named(tmp_path):
    white = np.full(SIZE, 255, np.uint8)
    folder = write(tmp_path / "masks", good=(TRUTH * 255).astype(np.uint8), none=white * 0, one=white, other=white // 255,
                   inverted=(~TRUTH * 255).astype(np.uint8))  # fmt: skip
    masks = Masks(folder)
    found = {name: masks.read(f"/pictures/{name}.jpg", SIZE) for name in ("good", "none", "one", "other", "inverted")}
    assert not found["none"].any() and found["one"].all() and found["other"].all()
    assert np.array_equal(found["good"], TRUTH) and np.array_equal(found["inverted"], ~TRUTH)
    assert masks.notes == [
        f"In 2 masks everything is damaged: {folder / 'one.png'}, {folder / 'other.png'}.",
        f"In 1 mask nothing is damaged: {folder / 'none.png'}.",
        f"In 1 mask the whole edge and most of the picture is damaged, as if black were not the good: {folder / 'inverted.png'}.",
    ]


def test_a_page_has_the_mask_of_its_page(tmp_path):
    (tmp_path / "masks").mkdir()
    pages = [Image.fromarray((mask * 255).astype(np.uint8)) for mask in (DISC, BAR, DOT)]
    pages[0].save(tmp_path / "masks" / "a.tif", save_all=True, append_images=pages[1:])
    known = masks_in(tmp_path / "masks")
    assert np.array_equal(read_mask(known, "/in/a.tif", SIZE, 2), BAR)
    assert np.array_equal(read_mask(known, "/in/a.png", SIZE), DISC)
    with pytest.raises(InputError, match=r"The mask .*a\.tif cannot be read: it has no page 4"):
        read_mask(known, "/in/a.tif", SIZE, 4)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp", "jp2", "pgm"])
def test_masks_of_every_format_are_found(tmp_path, suffix):
    write(tmp_path / "masks")
    exact = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray((TRUTH * 255).astype(np.uint8)).save(tmp_path / "masks" / f"a_mask.{suffix}", **exact)
    assert np.array_equal(read_mask(masks_in(tmp_path / "masks"), "/in/a.jpg", SIZE), TRUTH)


def test_masks_are_turned_upright_as_their_pictures_are(tmp_path):
    tags = Image.Exif()
    tags[274] = 6
    write(tmp_path / "masks")
    Image.fromarray((TRUTH * 255).astype(np.uint8)).rotate(90, expand=True).save(
        tmp_path / "masks" / "a.png", exif=tags
    )
    assert np.array_equal(read_mask(masks_in(tmp_path / "masks"), "/in/a.jpg", SIZE), TRUTH)
