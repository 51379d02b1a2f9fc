"""Generic pictures, drawn, with the statistics that natural pictures share, for use where no other pictures are at hand.

Dead leaves (Lee, Mumford & Huang 2001, Occlusion models for natural images: shapes of power-law sizes that hide one
another) with 1/f texture, bars, shading, blur and noise. The linear autoencoder "background" is fitted on them: an error
that is as large in any picture carries no information about this one.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

CHUNK = 125
LEAVES = 24


def generic_pictures(n: int, size: tuple[int, int], channels: int, seed: int = 0) -> np.ndarray:
    """Draw n pictures uint8 (n, h, w, channels), the same for the same seed; the first of many are those of fewer."""
    chunks = [
        _draw(np.random.default_rng([seed, number]), size, channels, min(CHUNK, n - number * CHUNK))
        for number in range(-(-n // CHUNK))
    ]
    return np.concatenate(chunks) if chunks else np.empty((0, *size, channels), np.uint8)


def _draw(rng: np.random.Generator, size: tuple[int, int], channels: int, n: int) -> np.ndarray:
    """Draw the first n pictures of a chunk: by the random numbers of the whole chunk, so that they are those of any other n."""

    def uniform() -> np.ndarray:
        return rng.random((CHUNK, 1, 1, 1), np.float32)[:n]

    def colour() -> np.ndarray:
        tint = rng.standard_normal((CHUNK, 1, 1, channels), np.float32)[:n]
        return (uniform() + 0.35 * tint * uniform()).clip(0, 1)

    textures = [0.7 * _noise(rng, size, channels, n) + _noise(rng, size, 1, n) for _ in range(2)]
    pictures = colour() + 0.25 * uniform() ** 2 * textures[0]
    # How many leaves each picture of the chunk has decides how many random numbers are drawn for a leaf.
    count, smallest = np.floor(LEAVES * rng.random((CHUNK, 1, 1, 1), np.float32) ** 2), 0.02 + 0.1 * uniform()
    for number in range(LEAVES):
        with_leaf = number < count.ravel()
        some = np.flatnonzero(with_leaf[:n])
        rough, steep, tint = 0.25 * uniform()[some] ** 3, 0.3 * (uniform()[some] - 0.5), colour()[some]
        cover, along = _leaf(rng, size, smallest[some], int(with_leaf.sum()))
        inside = tint + rough * textures[number % 2][some] + steep * along.clip(-1, 1)
        pictures[some] += cover * (inside - pictures[some])
    pictures = _seen_through_a_lens(rng, pictures, uniform())
    pictures = (pictures - 0.5) * (0.4 + uniform()) + 0.5 + 0.3 * (uniform() - 0.5)
    dark = pictures - pictures.min(axis=(1, 2, 3), keepdims=True)  # an object on black ground
    return (np.where(uniform() < 0.25, 1.2 * dark - 0.2, pictures).clip(0, 1) * 255).round().astype(np.uint8)


def _leaf(
    rng: np.random.Generator, size: tuple[int, int], smallest: np.ndarray, drawn: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much a disc, ellipse, box or bar covers each pixel, with an edge one pixel soft, and the position along it.

    Of so many `drawn` leaves those of the first, whose `smallest` (n, 1, 1, 1) radius is given.
    """

    def uniform() -> np.ndarray:
        return rng.random((drawn, 1, 1, 1), np.float32)[: len(smallest)]

    y = ((np.arange(size[0], dtype=np.float32) + 0.5) / size[0] - 0.5)[None, :, None, None]
    x = ((np.arange(size[1], dtype=np.float32) + 0.5) / size[1] - 0.5)[None, None, :, None]
    radius = smallest / np.sqrt(1 - 0.98 * uniform())
    stretched = rng.standard_normal((drawn, 1, 1, 1), np.float32)[: len(smallest)]
    stretch = np.sqrt(np.exp(1.2 * stretched).clip(0.05, 20))
    angle = np.float32(np.pi) * uniform()
    across, down = x - uniform() + 0.5, y - uniform() + 0.5
    along = (across * np.cos(angle) + down * np.sin(angle)) / (radius * stretch)
    sideways = (down * np.cos(angle) - across * np.sin(angle)) * stretch / radius
    is_round = uniform() < 0.5
    distance = np.where(is_round, np.hypot(along, sideways), np.maximum(np.abs(along), np.abs(sideways)))
    return ((1 - distance) * np.maximum(radius * min(size), 1) + 0.5).clip(0, 1), along


def _noise(rng: np.random.Generator, size: tuple[int, int], channels: int, n: int) -> np.ndarray:
    """Draw 1/f^a noise of the first n pictures of a chunk, one slope per picture, of mean 0 and variance 1."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    slope = 0.5 + 2 * rng.random((CHUNK, 1, 1, 1), np.float32)[:n]
    weight = np.maximum(frequency, 1 / max(size))[None, :, :, None] ** -slope
    white = scipy.fft.rfft2(rng.standard_normal((CHUNK, *size, channels), np.float32)[:n], axes=(1, 2))
    noise = scipy.fft.irfft2(white * weight.astype(np.float32), s=size, axes=(1, 2))
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    return noise / np.maximum(noise.std(axis=(1, 2, 3), keepdims=True), 1e-6)


def _seen_through_a_lens(rng: np.random.Generator, pictures: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Leave pictures sharp, blur them, or blur them strongly, and add the noise of a sensor."""
    blurred = _mean_filter(pictures, 1)
    seen = np.where(which < 0.4, pictures, np.where(which < 0.75, blurred, _mean_filter(blurred, 2)))
    n, *shape = pictures.shape
    strength = 0.03 * rng.random((CHUNK, 1, 1, 1), np.float32)[:n] ** 2
    return seen + strength * rng.standard_normal((CHUNK, *shape), np.float32)[:n]


def _mean_filter(pictures: np.ndarray, reach: int) -> np.ndarray:
    """Return the mean over squares of 2 reach + 1 pixels, edges repeated."""
    for axis in (1, 2):
        widths = [(reach, reach) if number == axis else (0, 0) for number in range(4)]
        padded = np.pad(pictures, widths, mode="edge")
        length = pictures.shape[axis]
        pictures = np.mean([padded.take(range(k, k + length), axis=axis) for k in range(2 * reach + 1)], axis=0)
    return pictures
