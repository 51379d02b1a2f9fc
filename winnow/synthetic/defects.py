"""Synthetic defects: faults of a texture, drawn into pictures of good ones. Numpy alone, seeded.

The kinds were fixed before any real defect was looked at; they follow the textile industry's list of faults (missing,
broken and double threads, knots, holes, stains, creases, shifted weave) and CutPaste (Li et al. 2021, arXiv 2104.04015).
All lengths are shares of the picture's shorter side, all strengths shares of its own standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from winnow.errors import DataError, OptionError, did_you_mean

Range = tuple[float, float]

CHANGED = 0.15  # of the picture's own standard deviation
LEAST_CHANGE = 2.0  # grey levels
TRIES = 12  # times that a defect is drawn anew which came out too faint
LEAST_DEVIATION = 4.0  # grey levels, so that flat pictures are damaged visibly too


def damage(
    pixels: np.ndarray, rng: np.random.Generator, kinds: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a defect into each picture (n, h, w, c) uint8, of a kind drawn from `kinds` (all of `KINDS` by default).

    Returns the damaged pictures, (n, h, w) bool where they really changed, and the kind of each (n,). The mask marks
    pixels round which (5x5) the mean change is 15 % of the picture's standard deviation or more, and 2 levels; it is
    empty where a defect came out too faint. Defects that need another picture take it from `pixels`. Raises `DataError` for
    other arrays than bytes of 8x8 or more, `OptionError` for an unknown kind.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or min(pixels.shape[1:3]) < 8:
        raise DataError(f"Pictures to damage must be uint8 (n, h, w, channels) of 8x8 or more, not {pixels.dtype} of "
                        f"shape {pixels.shape}.", "Give bytes from 0 to 255, the channels last.")  # fmt: skip
    names = list(KINDS if kinds is None else kinds)
    for name in names:
        if name not in KINDS:
            raise OptionError(f"There is no kind of defect '{name}'.", did_you_mean(name, list(KINDS)))
    kind = np.array(names)[rng.integers(len(names), size=len(pixels))]
    damaged = pixels.copy()
    for name in names:
        rows = np.flatnonzero(kind == name)
        if len(rows):
            changed = KINDS[name](pixels[rows].astype(np.float32), rng)
            damaged[rows] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return damaged, _changed(pixels, damaged), kind


def visible_damage(
    pixels: np.ndarray, rng: np.random.Generator, kinds: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `damage` returns, with each defect that came out too faint drawn anew, up to `TRIES` times.

    Where a picture is smooth a blur changes nothing, and a copy that is like the good one would be measured as a miss. A picture
    on which a kind cannot be seen at all, such as one of a single colour, keeps an empty mask.
    """
    damaged, masks, kind = damage(pixels, rng, kinds)
    for _ in range(TRIES):
        faint = ~masks.any(axis=(1, 2))
        for name in sorted(set(kind[faint].tolist())):
            rows = np.flatnonzero(faint & (kind == name))
            damaged[rows], masks[rows], _ = damage(pixels[rows], rng, [name])
    return damaged, masks, kind


def _changed(pixels: np.ndarray, damaged: np.ndarray) -> np.ndarray:
    """Return where pictures (n, h, w, c) really changed (n, h, w) bool, one after the other: all at once would not fit a cache."""
    changed = np.empty(pixels.shape[:3], bool)
    for row, (before, after) in enumerate(zip(pixels, damaged, strict=True)):
        change = _mean_of_channels(np.abs(after.astype(np.float32) - before))
        changed[row] = _box(change[None], 2)[0] >= max(LEAST_CHANGE, CHANGED * before.std())
    return changed


def _mean_of_channels(picture: np.ndarray) -> np.ndarray:
    """Return the mean (h, w) of the channels of a picture (h, w, c); numpy is slow along a few of them."""
    total: np.ndarray = reduce(np.add, np.moveaxis(picture, 2, 0)) / np.float32(picture.shape[2])
    return total


# ---- the kinds: float32 pictures (n, h, w, c) from 0 to 255 in, changed ones out


def _paste(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paste a piece of another picture, from another position, half of them transposed."""
    n, h, w, _ = x.shape
    y, z = _rolled(rng, n, h, w)
    donor = x[rng.permutation(n)][np.arange(n)[:, None, None], y, z]
    transposed = rng.random(n) < 0.5
    if h == w:
        donor[transposed] = donor[transposed].swapaxes(1, 2)
    return _blend(x, donor, _area(rng, n, h, w))


def _smear(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smear: take the mean along a short line in some direction."""
    n, h, w, _ = x.shape
    angle, length = rng.random(n) * np.pi, rng.uniform(0.06, 0.25, n) * min(h, w)
    steps = np.linspace(-0.5, 0.5, 9)
    total = np.zeros_like(x)
    for step in steps:
        total += _shifted(x, step * length * np.sin(angle), step * length * np.cos(angle))
    return _blend(x, total / len(steps), _area(rng, n, h, w))


def _brightness(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a stain or a shade: brighter or darker, sharp or soft, of some tint."""
    alpha = _area(rng, len(x), x.shape[1], x.shape[2], soft=(1, 10))
    by = (_signs(rng, len(x)) * rng.uniform(0.3, 2.0, len(x)))[:, None, None, None] * _deviation(x)
    tint = 1 + 0.3 * rng.standard_normal((len(x), 1, 1, x.shape[3]))
    return x + (by * tint * alpha[..., None]).astype(np.float32)


def _contrast(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the texture fainter or stronger."""
    n = len(x)
    factor = np.where(rng.random(n) < 0.6, rng.uniform(0.0, 0.6, n), rng.uniform(1.5, 2.2, n))
    centre = _blurred(x, 4)
    return _blend(x, centre + (x - centre) * factor[:, None, None, None].astype(np.float32), _area(rng, *x.shape[:3]))


def _blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, as if out of focus or rubbed."""
    radius = int(rng.integers(1, 4))
    return _blend(x, _blurred(x, radius), _area(rng, *x.shape[:3]))


def _hole(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a flat spot as dark or as bright as the picture's extremes."""
    n, h, w, _ = x.shape
    level = _quantiles(x, np.where(rng.random(n) < 0.5, rng.uniform(0, 0.1, n), rng.uniform(0.9, 1.0, n)))
    grain = rng.standard_normal(x.shape, dtype=np.float32) * 0.15 * _deviation(x)
    return _blend(x, level[:, None, None, :] + grain, _blob(rng, n, h, w, soft=(0.7, 2)))


def _spots(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add up to three specks: knots, fluff, neps."""
    n, h, w, _ = x.shape
    alpha = np.zeros((n, h, w), dtype=np.float32)
    for _ in range(3):
        speck = _blob(rng, n, h, w, radius=(0.015, 0.06))
        alpha = np.maximum(alpha, speck * (rng.random((n,)) < 0.7)[:, None, None])
    by = (_signs(rng, n) * rng.uniform(1.0, 3.0, n))[:, None, None, None] * _deviation(x)
    return x + by * alpha[..., None]


def _extra_thread(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a bright, sometimes a dark thread on top, of uneven thickness."""
    n, h, w, _ = x.shape
    level = _quantiles(x, np.where(rng.random(n) < 0.7, rng.uniform(0.85, 1, n), rng.uniform(0, 0.15, n)))
    uneven = 1 + 0.3 * rng.standard_normal((n, h, w), dtype=np.float32)
    alpha = _line(rng, n, h, w, width=(0.01, 0.04)) * uneven * rng.uniform(0.3, 1, (n,))[:, None, None]
    return _blend(x, level[:, None, None, :], np.clip(alpha, 0, 1))


def _missing_thread(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Remove a thread: a line without texture, darker or brighter than the picture's mean."""
    n, h, w, _ = x.shape
    by = (_signs(rng, n) * rng.uniform(0, 1.2, (n,)).astype(np.float32))[:, None, None, None] * _deviation(x)
    opacity = rng.uniform(0.4, 1, (n,)).astype(np.float32)[:, None, None]
    return _blend(x, x.mean(axis=(1, 2), keepdims=True) - by, _line(rng, n, h, w, width=(0.015, 0.07)) * opacity)


def _warp(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Push threads aside by a few pixels."""
    n, h, w, _ = x.shape
    alpha = _area(rng, n, h, w, soft=(2, 8))
    angle, most = rng.random(n) * 2 * np.pi, rng.uniform(0.02, 0.09, n) * min(h, w)
    return _moved(x, alpha * (most * np.sin(angle))[:, None, None], alpha * (most * np.cos(angle))[:, None, None])


def _stretch(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the texture looser or tighter, and rotate it."""
    n, h, w, _ = x.shape
    alpha = _area(rng, n, h, w, soft=(1, 6))
    scale, angle = np.exp(_signs(rng, n) * rng.uniform(0.1, 0.4, n)), _signs(rng, n) * rng.uniform(0, 0.3, n)
    dy, dx = _offsets(h, w, rng.random(n) * h, rng.random(n) * w)
    along, across = (scale * np.cos(angle) - 1)[:, None, None], (scale * np.sin(angle))[:, None, None]
    return _blend(x, _moved(x, along * dy - across * dx, across * dy + along * dx), alpha)


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "paste": _paste,
    "smear": _smear,
    "brightness": _brightness,
    "contrast": _contrast,
    "blur": _blur,
    "hole": _hole,
    "spots": _spots,
    "extra-thread": _extra_thread,
    "missing-thread": _missing_thread,
    "warp": _warp,
    "stretch": _stretch,
}
"""Every kind of defect by its name."""


# ---- soft masks (n, h, w) in [0, 1]


def _area(rng: np.random.Generator, n: int, h: int, w: int, soft: Range = (0.7, 3)) -> np.ndarray:
    """Return a blob, or one time in three a band; `soft` is the width of the edge in pixels."""
    band = (rng.random(n) < 0.35)[:, None, None]
    return np.where(band, _line(rng, n, h, w, width=(0.05, 0.4), soft=soft), _blob(rng, n, h, w, soft=soft))


def _blob(
    rng: np.random.Generator, n: int, h: int, w: int, radius: Range = (0.06, 0.3), soft: Range = (0.7, 3)
) -> np.ndarray:
    """Return ellipses and, three times in ten, rounded rectangles, at any angle."""
    angle = rng.random(n) * np.pi
    dy, dx = _offsets(h, w, rng.random(n) * h, rng.random(n) * w)
    along, across = _rotated(dy, dx, angle)
    low, high = np.log(radius)
    first, second = (min(h, w) * np.exp(rng.uniform(low, high, (2, n, 1, 1)))).astype(np.float32)
    power = np.where(rng.random(n) < 0.3, 6.0, 2.0)[:, None, None].astype(np.float32)
    distance = (np.abs(along / first) ** power + np.abs(across / second) ** power) ** (1 / power)
    edge = rng.uniform(*soft, n)[:, None, None] / np.minimum(first, second)
    return np.clip((1 - distance) / edge + 0.5, 0, 1).astype(np.float32)


def _line(rng: np.random.Generator, n: int, h: int, w: int, width: Range, soft: Range = (0.7, 2)) -> np.ndarray:
    """Return slightly wavy lines, seven in ten nearly along the threads, half of them from edge to edge."""
    side = min(h, w)
    straight = rng.integers(2, size=n) * np.pi / 2 + 0.05 * rng.standard_normal(n)
    angle = np.where(rng.random(n) < 0.7, straight, rng.random(n) * np.pi)
    dy, dx = _offsets(h, w, rng.random(n) * h, rng.random(n) * w)
    along, across = _rotated(dy, dx, angle)
    height = (rng.uniform(0, 0.03, n) * side)[:, None, None]
    bend = height * np.sin(along / side * 2 * np.pi * rng.uniform(0.3, 1.5, n)[:, None, None])
    half = (side * rng.uniform(*width, n) / 2)[:, None, None]
    length = np.where(rng.random(n) < 0.5, 4.0, rng.uniform(0.15, 0.6, n))[:, None, None] * side
    inside = np.minimum(half - np.abs(across - bend), (length - np.abs(along)) / 2)
    return np.clip(inside / rng.uniform(*soft, n)[:, None, None] + 0.5, 0, 1).astype(np.float32)


def _offsets(h: int, w: int, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far down and right of a point of each picture (n,) its pixels are, each (n, h, w)."""
    down, right = np.mgrid[:h, :w].astype(np.float32)
    return down - y[:, None, None].astype(np.float32), right - x[:, None, None].astype(np.float32)


def _rotated(dy: np.ndarray, dx: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets along and across a direction (n,)."""
    cos, sin = (part[:, None, None].astype(np.float32) for part in (np.cos(angle), np.sin(angle)))
    return cos * dx + sin * dy, cos * dy - sin * dx


# ---- pixels


def _blend(x: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return x + alpha[..., None] * (other - x)


def _deviation(x: np.ndarray) -> np.ndarray:
    """Return each picture's standard deviation (n, 1, 1, 1)."""
    return np.maximum(x.std(axis=(1, 2), keepdims=True).mean(axis=3, keepdims=True), LEAST_DEVIATION)


def _signs(rng: np.random.Generator, n: int) -> np.ndarray:
    return (rng.integers(2, size=n) * 2 - 1).astype(np.float32)


def _quantiles(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the quantile q (n,) of each picture, channel by channel: (n, c)."""
    pixels = x.reshape(len(x), -1, x.shape[3])
    places = (q * (pixels.shape[1] - 1)).astype(int)
    return np.stack([np.partition(one, place, axis=0)[place] for one, place in zip(pixels, places, strict=True)])


def _rolled(rng: np.random.Generator, n: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, h, 1) and columns (n, 1, w) that roll each picture by a random offset."""
    y = (np.arange(h) + rng.integers(h, size=n)[:, None]) % h
    x = (np.arange(w) + rng.integers(w, size=n)[:, None]) % w
    return y[:, :, None], x[:, None, :]


def _shifted(x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Shift each picture by whole pixels (n,), its border repeated."""
    n, h, w, _ = x.shape
    y = np.clip(np.arange(h) + np.rint(dy)[:, None].astype(int), 0, h - 1)
    z = np.clip(np.arange(w) + np.rint(dx)[:, None].astype(int), 0, w - 1)
    return x[np.arange(n)[:, None, None], y[:, :, None], z[:, None, :]]


def _moved(x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Sample pictures at dy and dx (n, h, w) from each pixel, linearly between pixels, mirrored at the border."""
    n, h, w, _ = x.shape
    down, right = np.mgrid[:h, :w]
    y, z = _mirrored(down + dy, h), _mirrored(right + dx, w)
    y0, z0 = np.minimum(y.astype(int), h - 2), np.minimum(z.astype(int), w - 2)
    fy, fz = (y - y0)[..., None].astype(np.float32), (z - z0)[..., None].astype(np.float32)
    row = np.arange(n)[:, None, None]
    upper = x[row, y0, z0] * (1 - fz) + x[row, y0, z0 + 1] * fz
    lower = x[row, y0 + 1, z0] * (1 - fz) + x[row, y0 + 1, z0 + 1] * fz
    return upper * (1 - fy) + lower * fy


def _mirrored(place: np.ndarray, size: int) -> np.ndarray:
    place = np.abs(place) % (2 * (size - 1))
    return np.minimum(place, 2 * (size - 1) - place)


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the mean over the (2 radius + 1)^2 pixels round each of (n, h, w, ...), the border repeated."""
    found = np.empty_like(values, np.float32)
    for row, one in enumerate(values):  # one by one: all at once would not fit a cache
        for axis in (0, 1):
            one = _running_mean(one, radius, axis)
        found[row] = one
    return found


def _running_mean(values: np.ndarray, radius: int, axis: int) -> np.ndarray:
    """Return the mean of 2 radius + 1 values along an axis, the border repeated."""
    padding = [(0, 0)] * values.ndim
    padding[axis] = (radius + 1, radius)
    total = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
    width, lead = 2 * radius + 1, (slice(None),) * axis
    return ((total[(*lead, slice(width, None))] - total[(*lead, slice(-width))]) / width).astype(np.float32)


def _blurred(x: np.ndarray, radius: int) -> np.ndarray:
    return _box(_box(x, radius), radius)
