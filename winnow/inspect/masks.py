"""Masks of the true damage: which file is that of a picture, and what it says.

One rule: what is not background is damaged. The background is what is transparent; without transparency, what is black;
without black, the colour that is the most frequent along the edge of the mask.
"""

from __future__ import annotations

import io
import os
from functools import reduce
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import label, maximum

from winnow.data import images, storage
from winnow.data.formats import IMAGE_SUFFIXES, reader_of
from winnow.errors import InputError, Unreadable

FAINT = 32  # a mask without a value above it cannot be seen: it holds numbers of classes, not shades
FEW = 4  # colours; a mask of more, of which most touch others, is soft: blurred, or compressed with a loss
LOSSY = frozenset(("JPEG", "MPO", "AVIF", "HEIF"))
SUFFIXES = IMAGE_SUFFIXES | {".gif"}
SHOWN = 3  # masks that a note names


class Masks:
    """The masks below a folder, and what is odd about those read: all damaged, none, or damaged all along the edge.

    Raises `InputError` when the folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._known = folder, masks_in(folder)
        self._odd: dict[str, list[str]] = {"all": [], "none": [], "edge": []}

    def read(self, source: str, size: tuple[int, ...], page: int | None = None) -> np.ndarray:
        """Return the mask (h, w) bool of a picture, or of its page, see `read_mask`."""
        uri, mask = _mask_of(self._known, source), read_mask(self._known, source, size, page)
        name = uri if page is None else f"{uri} (page {page})"
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        for kind, found in (("none", not mask.any()), ("all", mask.all()), ("edge", edge.all() and mask.mean() > 0.5)):
            if found:
                self._odd[kind].append(name)
                break
        return mask

    @property
    def notes(self) -> list[str]:
        """Return a sentence for each kind of mask that may not say what was meant."""
        said = {
            "all": "everything is damaged",
            "none": "nothing is damaged",
            "edge": "the whole edge and most of the picture is damaged, as if black were not the good",
        }
        return [
            f"In {len(names):,} {'mask' if len(names) == 1 else 'masks'} {said[kind]}: "
            f"{', '.join(names[:SHOWN])}{' ...' * (len(names) > SHOWN)}."
            for kind, names in self._odd.items()
            if names
        ]


def masks_in(folder: Path) -> dict[str, list[str]]:
    """Return the mask files below a folder by the stem of their names; `InputError` when there are none."""
    if not storage.is_folder(os.fspath(folder)):
        raise InputError(
            f"--masks {folder} is not a folder.", "Give a folder of masks with the names of their pictures."
        )
    found: dict[str, list[str]] = {}
    for entry in storage.listing(os.fspath(folder), lambda uri, why: None):
        path = Path(entry.uri)
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem.removesuffix("_mask"), []).append(entry.uri)
    if not found:
        raise InputError(f"{folder} holds no masks.", "Give a folder of masks with the names of their pictures.")
    return found


def read_mask(known: dict[str, list[str]], source: str, size: tuple[int, ...], page: int | None = None) -> np.ndarray:
    """Return the mask (h, w) bool of a picture, or of its `page`: True where it is not background.

    Of several masks of the picture's name, such as hole/000.png and stain/000.png, it is the one whose folders have the names
    of the picture's. Raises `InputError` when there is none of that name, when several match equally, or when it has another size.
    """
    uri = _mask_of(known, source)
    try:
        picture = _stored(storage.read(uri, images.largest_file(200)), page)
        mask = damage_in(picture)
    except Unreadable as error:
        raise InputError(f"The mask {uri} cannot be read: {error.message.rstrip('.')}.", "Write it again.") from error
    if picture.size != (size[1], size[0]):
        raise InputError(
            f"The mask {uri} has {picture.width}x{picture.height} pixels, its picture {source} has {size[1]}x{size[0]}.",
            "Give a mask of the picture's own size.",
        )
    return mask


def _stored(data: bytes, page: int | None) -> Image.Image:
    """Return a mask, or a page of it, upright and otherwise as it is stored: with its palette, its alpha and its depth."""
    images.decode(data, (1, 1), white=1.0, page=page)  # which refuses what is damaged, too large or no picture
    picture = reader_of(data)(io.BytesIO(data))
    picture.seek((page or 1) - 1)
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    upright.format = picture.format
    return upright


def damage_in(mask: Image.Image) -> np.ndarray:
    """Return what a mask calls damaged (h, w) bool: all that is not background, to the middle of soft edges."""
    lossy = mask.format in LOSSY
    values = _alpha(mask)
    if values is None:
        values = _colours(mask)
        values = np.abs(values - _background(values, lossy))
    far = _largest(values)  # from the background
    damaged: np.ndarray = far > 0
    if damaged.any() and not (far.max() < FAINT and mask.mode != "F"):
        rows, columns = (np.flatnonzero(damaged.any(axis=axis)) for axis in (1, 0))
        place = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
        damaged[place] = _beyond_half(far[place]) if lossy else _unmixed_or_near(values[place], far[place])
    return damaged


def _unmixed_or_near(values: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return where a mask (h, w, channels) has a colour of damage, or is mixed of one and at least half of it.

    A colour is one of damage when most of its pixels touch none but their own and the background.
    """
    codes = values @ (65536.0 ** np.arange(values.shape[2]))
    _, first, number = np.unique(codes, return_index=True, return_inverse=True)
    number, kinds = number.reshape(far.shape), values.reshape(-1, values.shape[2])[first]
    marked, reach, pixels = kinds.any(axis=1), kinds.max(axis=1), np.bincount(number.ravel())
    unmixed, areas = (np.bincount(number[these], minlength=len(kinds)) for these in _unmixed(number, far == 0))
    rarer = marked & (pixels < pixels[marked].max())
    if len(kinds) > FEW and areas[rarer].sum() < pixels[rarer].sum() / 2:
        return _beyond_half(far)
    classes = marked & (unmixed >= pixels / 2)
    if not classes.any():
        classes = reach == reach.max()
    apart = np.array([np.abs(kinds[classes] - kind).max(axis=1).min() for kind in kinds])
    damaged: np.ndarray = marked & (apart <= reach)
    return damaged[number]


def _alpha(mask: Image.Image) -> np.ndarray | None:
    """Return the opacity (h, w, 1) of a mask that is transparent somewhere, None where the colours must tell."""
    if mask.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in mask.info:
        return None
    alpha = np.asarray(mask.convert("RGBA").getchannel("A"), np.float32)[..., None]
    return alpha if alpha.min() < alpha.max() or not alpha.any() else None


def _colours(mask: Image.Image) -> np.ndarray:
    """Return the colours (h, w, 1 or 3) of a mask, or the numbers of classes that it holds."""
    if mask.mode == "P":
        numbers, mask = np.asarray(mask), mask.convert("RGB")
        if len(np.unique(numbers)) > len(mask.getcolors(256) or []):  # classes that share a colour
            return numbers.astype(np.float64)[..., None]
    elif mask.mode == "1" or mask.mode in ("LA", "La"):
        mask = mask.convert("L")
    elif mask.mode not in ("L", "F", "I") and not mask.mode.startswith("I;16"):
        mask = mask.convert("RGB")
    values = np.asarray(mask, np.float32 if mask.mode == "RGB" else np.float64)
    if not np.isfinite(values).all():
        raise Unreadable("it holds values that are not numbers or infinite")
    return values if values.ndim == 3 else values[..., None]


def _background(values: np.ndarray, lossy: bool) -> np.ndarray:
    """Return the colour of the background of a mask (h, w, channels)."""
    black = np.zeros(values.shape[2], values.dtype)
    darkest = _largest(np.abs(values)).min()
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    colours, counts = np.unique(edge, axis=0, return_counts=True)
    uniform = len(colours) == 1 and bool((values == colours[0]).all())  # all damage, or none where it is black
    if uniform or darkest == 0 or (lossy and darkest < FAINT):
        return black
    found: np.ndarray = colours[counts.argmax()]
    return found


def _largest(values: np.ndarray) -> np.ndarray:
    """Return the largest value of each pixel (h, w); numpy is slow along three channels."""
    return reduce(np.maximum, np.moveaxis(values, 2, 0))


def _unmixed(number: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (h, w) bool whose four neighbours are of their own colour or background, and those that are not alone."""
    padded = np.pad(np.where(background, -1, number), 1, mode="edge")
    height, width = number.shape
    sides = [padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    alike = [side == number for side in sides]
    unmixed = np.all([same | (side == -1) for same, side in zip(alike, sides, strict=True)], axis=0)
    return unmixed, unmixed & np.any(alike, axis=0)


def _beyond_half(far: np.ndarray) -> np.ndarray:
    """Return where a soft mask (h, w) is further from the background than half of what its spot reaches, without faint noise."""
    spots, count = label(far > far.max() / 4, np.ones((3, 3)))
    most = maximum(far, spots, np.arange(count + 1))
    return (spots > 0) & (far > np.asarray(most)[spots] / 2)


def _mask_of(known: dict[str, list[str]], source: str) -> str:
    stem = Path(source).stem
    if stem not in known:
        raise InputError(
            f"There is no mask for {source}.",
            f"Give one called {stem}.png or {stem}_mask.png, black where all is good.",
        )
    alike = {uri: _alike(Path(uri).parts[:-1], Path(source).parts[:-1]) for uri in known[stem]}
    most = max(alike.values())
    best = [uri for uri, folders in alike.items() if folders == most]
    if len(best) > 1:
        raise InputError(
            f"There are {len(best)} masks for {source}: {best[0]} and {best[1]}.",
            "Leave one, or put them into folders with the names of their pictures' folders.",
        )
    return best[0]


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many names two lists of folders have in common, counted from the last."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
