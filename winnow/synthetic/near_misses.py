"""Near-misses: pictures of what belongs with something wrong in each, drawn from the pictures themselves. Numpy alone, seeded.

They have the colours and the details of what belongs, so that only what is where tells them apart. CutPaste (Li et al. 2021,
arXiv 2104.04015) and shuffled tiles (Noroozi & Favaro 2016, arXiv 1603.09246) are the sources.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from winnow.errors import DataError


def disturb(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (n, h, w, c) uint8 disturbed each in one way, and the name of that way (n,), the ways in turn.

    Raises `DataError` for fewer than two pictures, or others than bytes of 8x8 or more.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or min(pixels.shape[1:3]) < 8 or len(pixels) < 2:
        raise DataError(
            f"Near-misses need two or more pictures uint8 (n, h, w, c) of 8x8 or more, not {pixels.dtype} of {pixels.shape}."
        )
    ways = np.array(list(WAYS))[np.arange(len(pixels)) % len(WAYS)]
    disturbed = pixels.copy()
    for number, picture in enumerate(pixels):
        other = pixels[(number + 1 + rng.integers(len(pixels) - 1)) % len(pixels)]
        disturbed[number] = WAYS[str(ways[number])](picture, other, rng)
    return disturbed, ways


def _quarters(picture: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exchange the four quarters; a middle line of odd sides stays."""
    h, w = picture.shape[0] // 2, picture.shape[1] // 2
    places = [(slice(None, h), slice(None, w)), (slice(None, h), slice(-w, None)),
              (slice(-h, None), slice(None, w)), (slice(-h, None), slice(-w, None))]  # fmt: skip
    shift, result = int(rng.integers(1, 4)), picture.copy()
    for number, place in enumerate(places):
        result[place] = picture[places[(number + shift) % 4]]
    return result


def _pasted(picture: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paste a ninth of another picture, from and to any place."""
    (h, w), result = (side // 3 for side in picture.shape[:2]), picture.copy()
    y, x, v, u = (
        int(rng.integers(side - part + 1)) for side, part in zip(picture.shape[:2] * 2, (h, w, h, w), strict=True)
    )
    result[y : y + h, x : x + w] = other[v : v + h, u : u + w]
    return result


def _turned(picture: np.ndarray, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn the middle half upside down."""
    h, w = picture.shape[0] // 4, picture.shape[1] // 4
    result = picture.copy()
    result[h:-h, w:-w] = picture[h:-h, w:-w][::-1, ::-1]
    return result


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "quarters exchanged": _quarters,
    "a piece of another": _pasted,
    "middle upside down": _turned,
}
