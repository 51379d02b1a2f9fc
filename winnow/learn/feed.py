"""From bytes to batches: pictures stay uint8 until they are on the device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from winnow import torchrun
from winnow.embeddings import spread
from winnow.errors import DataError
from winnow.models.contract import Model

CPU_LIMIT = 2 * 2**30


class PixelSource(Protocol):
    """The interface of a pool that training and encoding use."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    def __len__(self) -> int: ...

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures (n, h, w, c) uint8 of some rows."""
        ...


class Pixels:
    """An array or memory map (n, h, w, c) or (n, h, w) of uint8 used as a pool; else `DataError`."""

    def __init__(self, array: np.ndarray) -> None:
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
            raise DataError(
                f"Pictures must be uint8 (n, h, w, 1 or 3), not {array.dtype} of shape {array.shape}.",
                "Give bytes from 0 to 255, the channels last.",
            )
        self.array = array if array.ndim == 4 else array[..., None]
        self.size, self.channels = (array.shape[1], array.shape[2]), self.array.shape[3]

    def __len__(self) -> int:
        return len(self.array)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures (n, h, w, c) uint8 of some rows."""
        return np.ascontiguousarray(self.array[rows])


class Rows:
    """Some rows of a source, as a source of their own."""

    def __init__(self, source: PixelSource, rows: np.ndarray) -> None:
        self.source, self.rows = source, rows
        self.size, self.channels = source.size, source.channels

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Return pictures (n, h, w, c) uint8 of some of the rows."""
        return self.source.pixels(self.rows[rows])


class Region:
    """A part of each picture of a source, scaled to the size of a whole one; `box`: left, top, width and height as shares."""

    def __init__(self, source: PixelSource, box: tuple[float, float, float, float]) -> None:
        self.source, self.box = source, box
        self.size, self.channels = source.size, source.channels

    def __len__(self) -> int:
        return len(self.source)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Return the part (n, h, w, c) uint8 of some pictures, bilinear."""
        from PIL import Image

        whole, (height, width) = self.source.pixels(rows), self.size
        down, across = part_of(self.size, self.box)
        found = np.empty_like(whole)
        for one, picture in zip(found, whole[:, down, across], strict=True):
            for channel in range(self.channels):
                part = Image.fromarray(np.ascontiguousarray(picture[..., channel]))
                one[..., channel] = np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))
        return found


def part_of(size: tuple[int, int], box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Return the rows and columns of a part of pictures of a size (height, width); `box`: left, top, width and height as shares."""
    (height, width), (left, top, wide, high) = size, box
    return (
        slice(round(top * height), round((top + high) * height)),
        slice(round(left * width), round((left + wide) * width)),
    )


def as_source(pictures: PixelSource | np.ndarray) -> PixelSource:
    """Return a pool as it is, an array as `Pixels`."""
    return Pixels(pictures) if isinstance(pictures, np.ndarray) else pictures


def to_images(pixels: Tensor, channels_last: bool = False) -> Tensor:
    """Convert bytes (n, h, w, c) to float pictures (n, c, h, w) in [0, 1], on the same device."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=order).div_(255.0)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spread."""
    return rows if len(rows) <= most else np.asarray(rows)[spread(len(rows), most)]


def require_pictures(model: Model, source: PixelSource, rows: Mapping[str, np.ndarray]) -> None:
    """Raise a `DataError` when there is nothing to train or validate by, or pictures of another size than the model's."""
    for name in ("train", "validate"):
        if not len(rows.get(name, ())):
            raise DataError(
                f"There are no pictures to {name}: they are too few.",
                "Give more pictures, or more groups of them.",
            )
    if (tuple(source.size), source.channels) != (tuple(model.size), model.channels):
        raise DataError(
            f"The pictures are {source.size} with {source.channels} channels, the model takes {model.size} "
            f"with {model.channels}.",
            "Ingest with the model's --size, or build the model for the pool.",
        )


class Vary(NamedTuple):
    """Harmless changes of training pictures, so that few pictures are not memorised."""

    translate: float = 0.0
    """Largest shift of a batch down and across, as a share of the shorter side; the border is repeated."""
    hflip: bool = False
    """Flip half of the pictures left to right."""

    def __call__(self, pixels: Tensor, seed: int, step: int) -> Tensor:
        """Return changed pictures (n, h, w, c), same shape: a pure function of them and (seed, step)."""
        rng = np.random.default_rng([seed, 2, step])
        height, width = pixels.shape[1:3]
        most = round(self.translate * min(height, width))
        if most:
            for axis, by in zip((1, 2), rng.integers(-most, most + 1, 2), strict=True):
                pixels = _moved(pixels, axis, int(by))
        if self.hflip:
            flipped = torch.from_numpy(np.flatnonzero(rng.random(len(pixels)) < 0.5)).to(pixels.device)
            pixels = pixels.index_copy(0, flipped, pixels.index_select(0, flipped).flip(2))
        return pixels


def _moved(pixels: Tensor, axis: int, by: int) -> Tensor:
    """Shift pictures along an axis, so that position i shows what was at i + by, the border repeated.

    By slices: indexing by positions is 7x slower.
    """
    length = pixels.shape[axis]
    kept = pixels.narrow(axis, max(0, by), length - abs(by))
    shape = [abs(by) if number == axis else size for number, size in enumerate(pixels.shape)]
    border = pixels.narrow(axis, length - 1 if by > 0 else 0, 1).expand(shape)
    return torch.cat([kept, border] if by > 0 else [border, kept], dim=axis)


class Feed:
    """Batches of some rows of a source.

    The bytes are kept on the device when they fit in half of its free memory (on the CPU: and in 2 GiB), else each batch
    is gathered from the source.
    """

    def __init__(self, source: PixelSource, rows: np.ndarray, device: torch.device, channels_last: bool) -> None:
        self.source, self.rows, self.device, self.channels_last = source, np.asarray(rows), device, channels_last
        wanted = len(rows) * source.size[0] * source.size[1] * source.channels
        self.held: Tensor | None = None
        if wanted <= memory_limit(device):
            self.held = torch.from_numpy(source.pixels(self.rows)).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, positions: np.ndarray, vary: Vary | None = None, seed: int = 0, step: int = 0) -> Tensor:
        """Return float pictures (n, c, h, w) at some positions among the rows, changed by `vary` for a step."""
        chosen = self.pixels(positions)
        if vary is not None:
            chosen = vary(chosen, seed, step)
        return to_images(chosen, self.channels_last)

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Return the unchanged pictures as bytes (n, h, w, c) on the device."""
        if self.held is not None:
            return self.held.index_select(0, torch.from_numpy(positions).to(self.device))
        return torch.from_numpy(self.source.pixels(self.rows[positions])).to(self.device)


def memory_limit(device: torch.device) -> int:
    """Return how many bytes of pictures may be kept on a device by each of the processes that share it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return CPU_LIMIT // 2
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(CPU_LIMIT, free // 2) // torchrun.on_this_machine()


class BatchOrder:
    """Positions among n that form the batch of a step: a new permutation each epoch, its incomplete last batch left out.

    A pure function of (seed, step), so a resumed training sees the very batches it would have seen.
    """

    def __init__(self, n: int, batch: int, seed: int) -> None:
        self.n, self.batch, self.seed = n, batch, seed
        self.epoch, self.permutation = -1, np.empty(0, dtype=np.int64)

    def __call__(self, step: int) -> np.ndarray:
        """Return the positions (batch,) of step 0, 1, 2, ..."""
        epoch, place = divmod(step, self.n // self.batch)
        if epoch != self.epoch:
            self.epoch, self.permutation = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(self.n)
        return self.permutation[place * self.batch : (place + 1) * self.batch]


def noise_of(seed: int, step: int, shape: tuple[int, int]) -> Tensor:
    """Return the noise (n, latent) with which a VAE samples its embeddings at a step: a pure function of (seed, step)."""
    return torch.from_numpy(np.random.default_rng([seed, 1, step]).standard_normal(shape, dtype=np.float32))
