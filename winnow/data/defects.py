"""Synthetic defects: what may go wrong with a texture, drawn into pictures of good ones. Numpy alone, seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def damage(pixels, rng, kinds=None):
    names = list(KINDS) if kinds is None else list(kinds)
    kind = np.array(names)[rng.integers(len(names), size=len(pixels))]
    damaged = pixels.copy()
    for name in names:
        rows = np.flatnonzero(kind == name)
        if len(rows):
            changed = KINDS[name](pixels[rows].astype(np.float32), rng)
            damaged[rows] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return damaged, changed_places(pixels, damaged), kind


def changed_places(pixels, damaged):
    """where the change, averaged over 5x5 places, is a tenth of the picture's own spread or more, and 2 levels"""
    change = np.abs(damaged.astype(np.float32) - pixels).mean(axis=3)
    spread = pixels.reshape(len(pixels), -1).std(axis=1)
    return box(change, 2) >= np.maximum(2.0, 0.15 * spread)[:, None, None]


def paste(x, rng):
    """another place of another picture (or of itself), moved and turned."""
    n, h, w, _ = x.shape
    donor = x[rng.permutation(n)] if n > 1 else x
    donor = donor[np.arange(n)[:, None, None], *rolled(rng, n, h, w)]
    turn = rng.random(n) < 0.5
    if h == w:
        donor[turn] = donor[turn].swapaxes(1, 2)
    return blend(x, donor, area(rng, n, h, w))


def smear(x, rng):
    """dragged along: mean along a short way in a random direction"""
    n, h, w, _ = x.shape
    angle, length = rng.random(n) * np.pi, rng.uniform(0.06, 0.25, n) * min(h, w)
    total = np.zeros_like(x)
    steps = np.linspace(-0.5, 0.5, 9)
    for step in steps:
        total += shifted(x, step * length * np.sin(angle), step * length * np.cos(angle))
    return blend(x, total / len(steps), area(rng, n, h, w))


def brightness(x, rng):
    """a stain or a shade: other brightness, soft or sharp"""
    alpha = area(rng, *x.shape[:3], soft=(1, 10))
    by = (signed(rng, len(x)) * rng.uniform(0.3, 2.0, len(x)))[:, None, None, None] * spread(x)
    tint = 1 + 0.3 * rng.standard_normal((len(x), 1, 1, x.shape[3]))
    return x + (by * tint * alpha[..., None]).astype(np.float32)


def contrast(x, rng):
    """the texture fainter or stronger"""
    factor = np.where(rng.random(len(x)) < 0.6, rng.uniform(0.0, 0.6, len(x)), rng.uniform(1.5, 2.2, len(x)))
    centre = blurred(x, 4)
    return blend(x, centre + (x - centre) * factor[:, None, None, None].astype(np.float32), area(rng, *x.shape[:3]))


def blur(x, rng):
    radius = int(rng.integers(1, 4))
    return blend(x, blurred(x, radius), area(rng, *x.shape[:3]))


def hole(x, rng):
    """a flat patch, dark or bright"""
    n, h, w, c = x.shape
    level = quantiles(x, np.where(rng.random(n) < 0.5, rng.uniform(0, 0.1, n), rng.uniform(0.9, 1.0, n)))
    grain = rng.standard_normal(x.shape, dtype=np.float32) * 0.15 * spread(x)
    return blend(x, level[:, None, None, :] + grain, blob(rng, n, h, w, soft=(0.7, 2)))


def spots(x, rng):
    """a few small bright or dark specks: knots, fluff, neps"""
    n, h, w, _ = x.shape
    alpha = np.zeros((n, h, w), dtype=np.float32)
    for _ in range(3):
        alpha = np.maximum(alpha, blob(rng, n, h, w, radius=(0.015, 0.06)) * (rng.random(n) < 0.7)[:, None, None])
    by = (signed(rng, n) * rng.uniform(1.0, 3.0, n))[:, None, None, None] * spread(x)
    return x + by * alpha[..., None]


def extra_thread(x, rng):
    """a bright (or dark) line on top"""
    n, h, w, _ = x.shape
    level = quantiles(x, np.where(rng.random(n) < 0.7, rng.uniform(0.85, 1, n), rng.uniform(0, 0.15, n)))
    wave = 1 + 0.3 * rng.standard_normal((n, h, w), dtype=np.float32)
    return blend(x, level[:, None, None, :], np.clip(line(rng, n, h, w, width=(0.01, 0.04)) * wave * rng.uniform(0.3, 1, n)[:, None, None], 0, 1))


def missing_thread(x, rng):
    """a line whose texture is gone: the mean along it, darker or brighter than it was"""
    n, h, w, _ = x.shape
    flat = x.mean(axis=(1, 2), keepdims=True) - signed(rng, n)[:, None, None, None] * rng.uniform(0, 1.2, n)[:, None, None, None].astype(np.float32) * spread(x)
    return blend(x, flat, line(rng, n, h, w, width=(0.015, 0.07)) * rng.uniform(0.4, 1, n).astype(np.float32)[:, None, None])


def warp(x, rng):
    """threads pushed aside: places moved by a few pixels"""
    n, h, w, _ = x.shape
    alpha = area(rng, n, h, w, soft=(2, 8))
    angle, most = rng.random(n) * 2 * np.pi, rng.uniform(0.02, 0.09, n) * min(h, w)
    ys, xs = (alpha * (most * part)[:, None, None] for part in (np.sin(angle), np.cos(angle)))
    return moved(x, ys, xs)


def stretch(x, rng):
    """the texture looser, tighter or turned"""
    n, h, w, _ = x.shape
    alpha = area(rng, n, h, w, soft=(1, 6))
    scale = np.exp(signed(rng, n) * rng.uniform(0.1, 0.4, n)); turn = signed(rng, n) * rng.uniform(0, 0.3, n)
    y, z = np.mgrid[:h, :w].astype(np.float32); cy, cx = rng.random(n) * h, rng.random(n) * w
    dy, dx = y - cy[:, None, None], z - cx[:, None, None]
    a, b = (scale * np.cos(turn) - 1)[:, None, None], (scale * np.sin(turn))[:, None, None]
    return blend(x, moved(x, a * dy - b * dx, b * dy + a * dx), alpha)


KINDS = {"paste": paste, "smear": smear, "brightness": brightness, "contrast": contrast, "blur": blur, "hole": hole,
         "spots": spots, "extra-thread": extra_thread, "missing-thread": missing_thread, "warp": warp, "stretch": stretch}


# -- where --------------------------------------------------------------------------------------------------------------

def area(rng, n, h, w, soft=(0.7, 3)):
    """soft masks (n,h,w) in [0,1]: blobs, and one in three a band"""
    banded = rng.random(n) < 0.35
    return np.where(banded[:, None, None], line(rng, n, h, w, width=(0.05, 0.4), soft=soft), blob(rng, n, h, w, soft=soft))


def blob(rng, n, h, w, radius=(0.06, 0.3), soft=(0.7, 3)):
    side = min(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.random(n) * np.pi
    c, s = (part[:, None, None].astype(np.float32) for part in (np.cos(angle), np.sin(angle)))
    dy = y - (rng.random(n) * h)[:, None, None].astype(np.float32)
    dx = x - (rng.random(n) * w)[:, None, None].astype(np.float32)
    first, second = (side * np.exp(rng.uniform(*np.log(radius), (2, n, 1, 1)))).astype(np.float32)
    power = np.where(rng.random(n) < 0.3, 6.0, 2.0)[:, None, None].astype(np.float32)
    far = (np.abs((c * dx + s * dy) / first) ** power + np.abs((c * dy - s * dx) / second) ** power) ** (1 / power)
    edge = rng.uniform(*soft, n)[:, None, None] / np.minimum(first, second)
    return np.clip((1 - far) / edge + 0.5, 0, 1).astype(np.float32)


def line(rng, n, h, w, width=(0.01, 0.05), soft=(0.7, 2)):
    side = min(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    straight = rng.integers(2, size=n) * np.pi / 2 + 0.05 * rng.standard_normal(n)
    angle = np.where(rng.random(n) < 0.7, straight, rng.random(n) * np.pi)
    c, s = (part[:, None, None].astype(np.float32) for part in (np.cos(angle), np.sin(angle)))
    dy = y - (rng.random(n) * h)[:, None, None].astype(np.float32)
    dx = x - (rng.random(n) * w)[:, None, None].astype(np.float32)
    along, across = c * dx + s * dy, c * dy - s * dx
    bend = (rng.uniform(0, 0.03, n) * side)[:, None, None] * np.sin(along / side * 2 * np.pi * rng.uniform(0.3, 1.5, n)[:, None, None])
    half = (side * rng.uniform(*width, n) / 2)[:, None, None]
    length = np.where(rng.random(n) < 0.5, 4.0, rng.uniform(0.15, 0.6, n))[:, None, None] * side
    edge = rng.uniform(*soft, n)[:, None, None]
    inside = np.minimum(half - np.abs(across - bend), (length - np.abs(along)) / 2)
    return np.clip(inside / edge + 0.5, 0, 1).astype(np.float32)


# -- what -------------------------------------------------------------------------------------------------------------

def blend(x, other, alpha):
    return x + alpha[..., None] * (other - x)


def spread(x):
    return np.maximum(x.std(axis=(1, 2), keepdims=True).mean(axis=3, keepdims=True), 4.0)


def signed(rng, n):
    return (rng.integers(2, size=n) * 2 - 1).astype(np.float32)


def quantiles(x, q):
    """(n, c): of each picture its own quantile q (n,)"""
    flat = np.sort(x.reshape(len(x), -1, x.shape[3]), axis=1)
    return flat[np.arange(len(x)), (q * (flat.shape[1] - 1)).astype(int)]


def rolled(rng, n, h, w):
    y = (np.arange(h)[None] + rng.integers(h, size=n)[:, None]) % h
    z = (np.arange(w)[None] + rng.integers(w, size=n)[:, None]) % w
    return y[:, :, None], z[:, None, :]


def shifted(x, dy, dx):
    n, h, w, _ = x.shape
    y = np.clip(np.arange(h)[None] + np.rint(dy)[:, None].astype(int), 0, h - 1)
    z = np.clip(np.arange(w)[None] + np.rint(dx)[:, None].astype(int), 0, w - 1)
    return x[np.arange(n)[:, None, None], y[:, :, None], z[:, None, :]]


def moved(x, dy, dx):
    """bilinear: out[y, x] = in[y + dy, x + dx]; reflected at the border"""
    n, h, w, _ = x.shape
    y, z = np.mgrid[:h, :w]
    y, z = reflect(y + dy, h), reflect(z + dx, w)
    y0, z0 = np.minimum(y.astype(int), h - 2), np.minimum(z.astype(int), w - 2)
    fy, fz = (y - y0)[..., None].astype(np.float32), (z - z0)[..., None].astype(np.float32)
    i = np.arange(n)[:, None, None]
    top = x[i, y0, z0] * (1 - fz) + x[i, y0, z0 + 1] * fz
    low = x[i, y0 + 1, z0] * (1 - fz) + x[i, y0 + 1, z0 + 1] * fz
    return top * (1 - fy) + low * fy


def reflect(place, size):
    period = 2 * (size - 1)
    place = np.abs(place) % period
    return np.minimum(place, period - place)


def box(values, radius):
    """mean over (2 radius + 1)^2 places of (n,h,w), the border repeated"""
    k = 2 * radius + 1
    for axis in (1, 2):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
        take = [slice(None)] * values.ndim
        after, before = take.copy(), take.copy()
        after[axis], before[axis] = slice(k, None), slice(None, -k)
        values = ((total[tuple(after)] - total[tuple(before)]) / k).astype(np.float32)
    return values


def blurred(x, radius):
    return box(box(x, radius), radius)
