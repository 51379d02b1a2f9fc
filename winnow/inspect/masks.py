"""Masks of the true damage: which file is that of a picture, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from winnow.data import images, storage
from winnow.data.formats import IMAGE_SUFFIXES
from winnow.errors import InputError, Unreadable


def masks_in(folder: Path) -> dict[str, list[str]]:
    """Return the mask files below a folder by the stem of their names; `InputError` when there are none."""
    if not storage.is_folder(os.fspath(folder)):
        raise InputError(
            f"--masks {folder} is not a folder.", "Give a folder of masks with the names of their pictures."
        )
    found: dict[str, list[str]] = {}
    for entry in storage.listing(os.fspath(folder), lambda uri, why: None):
        path = Path(entry.uri)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem.removesuffix("_mask"), []).append(entry.uri)
    if not found:
        raise InputError(f"{folder} holds no masks.", "Give a folder of masks with the names of their pictures.")
    return found


def read_mask(known: dict[str, list[str]], source: str, size: tuple[int, ...]) -> np.ndarray:
    """Return the mask (h, w) bool of a picture: pixels brighter than half of the brightest are damaged; none in a black mask.

    Of several masks of the picture's name, such as hole/000.png and stain/000.png, it is the one whose folders have the names
    of the picture's. Raises `InputError` when there is none of that name, when several match equally, or when it has another size.
    """
    uri = _mask_of(known, source)
    try:
        values = images.decode(storage.read(uri, images.largest_file(200)), None, grey=True)[..., 0]
    except Unreadable as error:
        raise InputError(f"The mask {uri} cannot be read: {error.message.rstrip('.')}.", "Write it again.") from error
    if values.shape != tuple(size):
        raise InputError(
            f"The mask {uri} has {values.shape[1]}x{values.shape[0]} pixels, its picture {source} has {size[1]}x{size[0]}.",
            "Give a mask of the picture's own size.",
        )
    return values > values.max() / 2 if values.any() else np.zeros(values.shape, bool)


def _mask_of(known: dict[str, list[str]], source: str) -> str:
    stem = Path(source).stem
    if stem not in known:
        raise InputError(
            f"There is no mask for {source}.",
            f"Give one called {stem}.png or {stem}_mask.png, black where all is good.",
        )
    alike = {uri: _alike(Path(uri).parts[:-1], Path(source).parts[:-1]) for uri in known[stem]}
    best = [uri for uri, folders in alike.items() if folders == max(alike.values())]
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
