"""From pictures to embeddings, losses and anomaly maps: the last step in torch. What follows is numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.learn.device import choose_device, hold_memory, repeatable
from winnow.learn.exported import Exported
from winnow.learn.feed import PixelSource, as_source, to_images
from winnow.models.contract import Model
from winnow.models.windows import picture_means
from winnow.progress import Advance, progress, silent
from winnow.results.words import count

# Matrix kernels take pictures in blocks of 16 and round an incomplete block differently; batches are padded to whole
# blocks, so that a picture's numbers do not depend on how many others came with it.
BLOCK = 16
# Most bytes of a batch of pictures in float32; blocks are smaller where 16 pictures have more. What a network makes of them is
# a hundred times as much, and a CPU whose caches cannot hold it is two to four times slower (bench/encode.py).
BYTES, BYTES_CPU = 1 << 30, 1 << 21


def encode(
    model: Model,
    source: PixelSource | np.ndarray,
    rows: np.ndarray | None = None,
    *,
    batch_size: int = 64,
    device: str = "auto",
    ids: Sequence[str] | np.ndarray | None = None,
    groups: Sequence[str] | np.ndarray | None = None,
    twins: Sequence[str] | np.ndarray | None = None,
    seen: np.ndarray | None = None,
    auxiliary: Mapping[str, Model] | None = None,
    decode: bool = True,
    quiet: bool = False,
    advance: Advance = silent,
) -> Embeddings:
    """Compute embeddings and losses of some rows of a pool (or of a uint8 array), by default of all, batch by batch.

    The losses are those in the model's output; `variance` and `gradient` of the pixels (see `pixel_statistics`); and one
    of each `auxiliary` model, under its name there. Without `decode` the decoder is not run and only the model's own output
    remains. `ids`, `groups` and `twins` default to the pool's. Always in float32, whatever format the device prefers.
    It shows a bar or, `quiet`, tells `advance(count)` of the progress.
    A value does not depend on `batch_size` or on the rest of its batch: measured on x86 CPUs not by a bit, elsewhere by
    rounding at most (relative 1e-5). Batches of large pictures are smaller, so that they stay within `BYTES` or `BYTES_CPU`.
    Raises `DataError` for pictures of another size, or a picture whose numbers are not finite.
    """
    hold_memory()
    source, target = as_source(source), choose_device(device)
    rows = np.arange(len(source)) if rows is None else np.asarray(rows)
    names = {
        name: _column(source, column, rows) if given is None else np.asarray(given, dtype=object)
        for name, column, given in (("ids", "id", ids), ("groups", "joined", groups), ("twins", "twin", twins))
    }
    model, others = model.to(target).eval(), {name: one.to(target).eval() for name, one in (auxiliary or {}).items()}
    for one in (model, *others.values()):
        _check_size(one, source)
    vectors: np.ndarray | None = None
    cells: np.ndarray | None = None
    losses: dict[str, np.ndarray] = {}
    batch_size, block = _batch_and_block(batch_size, source, target, isinstance(model, Exported))
    with torch.inference_mode(), repeatable(), _shown(len(rows), advance if quiet else None) as done:
        for start in range(0, max(len(rows), 1), batch_size):
            chosen = rows[start : start + batch_size]
            padded = np.pad(chosen, (0, -len(chosen) % block), mode="edge") if len(chosen) else chosen
            images = to_images(torch.from_numpy(source.pixels(padded)).to(target))
            found = dict(outputs_of(model, others, images, decode))
            values = found.pop("vectors")[: len(chosen)].float().cpu().numpy()
            if (grid := found.pop("cells", None)) is not None:
                cells = np.empty((len(rows), *grid.shape[1:]), np.float32) if cells is None else cells
                cells[start : start + batch_size] = grid[: len(chosen)].float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(rows), values.shape[1]), dtype=np.float32)
                losses = {name: np.empty(len(rows)) for name in found}
            vectors[start : start + batch_size] = values
            for name, column in found.items():
                losses[name][start : start + batch_size] = column[: len(chosen)].double().cpu().numpy()
            done(len(chosen))
    assert vectors is not None
    _check_finite(vectors, losses, rows if names["ids"] is None else names["ids"])
    return Embeddings.of(vectors, losses=losses, seen=seen, cells=cells, **names)


def _shown(pictures: int, advance: Advance | None) -> AbstractContextManager[Advance]:
    return progress("encode", pictures, "pictures") if advance is None else nullcontext(advance)


def outputs_of(
    model: Model, auxiliary: Mapping[str, Model], images: Tensor, decode: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of `vectors` (n, d), of `cells` where there are any, and of each loss (n,) of `images`
    (n, c, h, w) in [0, 1], those `encode` records.

    Raises `DataError` when an auxiliary model does not compute its loss.
    """
    yield from ((name, value) for name, value in model(images, decode=decode)._asdict().items() if value is not None)
    if decode:
        yield from pixel_statistics(images).items()
    for name, other in auxiliary.items():
        found = getattr(other(images), other.auxiliary)
        if found is None:
            raise DataError(
                f"The auxiliary model '{name}' rebuilds no pictures.", "Use an autoencoder as auxiliary model."
            )
        yield name, found


def pixel_statistics(images: Tensor) -> dict[str, Tensor]:
    """Return how complex pictures (n, c, h, w) in [0, 1] are, whatever they show, each (n,).

    `variance`: of the pixels, averaged over channels. `gradient`: mean absolute difference of neighbouring pixels, to
    the right and below. By plain reconstruction error simple pictures look normal; scorers correct for that by these.
    """
    across, down = picture_means(images.diff(dim=3).abs()), picture_means(images.diff(dim=2).abs())
    centred = images - images.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
    return {"variance": picture_means(centred.square()).flatten(), "gradient": 0.5 * (across + down).flatten()}


def with_statistics(embeddings: Embeddings, pixels: np.ndarray) -> Embeddings:
    """Return embeddings of pictures (n, h, w, c) uint8 with their `pixel_statistics`, which are left out without a decoder."""
    if "gradient" in embeddings.losses or not len(pixels):
        return embeddings
    found = pixel_statistics(to_images(torch.from_numpy(pixels)))
    return replace(
        embeddings, losses={**embeddings.losses, **{name: each.double().numpy() for name, each in found.items()}}
    )


def _batch_and_block(
    batch_size: int, source: PixelSource, device: torch.device, alone: bool = False
) -> tuple[int, int]:
    """Return how many pictures to encode at once, and to a multiple of how many batches are padded.

    What runs each picture `alone` needs no padding, and one for each of its threads.
    """
    held = BYTES_CPU if device.type == "cpu" else BYTES
    most = max(1, held // (4 * source.channels * source.size[0] * source.size[1]))
    if alone:
        return min(batch_size, max(most, torch.get_num_threads())), 1
    block = min(BLOCK, most)
    return min(batch_size, most // block * block), block


def _column(source: PixelSource, name: str, rows: np.ndarray) -> np.ndarray | None:
    column: Any = getattr(source, "column", None)
    return None if column is None else np.asarray(column(name), dtype=object)[rows]


def _check_size(model: Model, source: PixelSource) -> None:
    if (tuple(source.size), source.channels) != (tuple(model.size), model.channels):
        raise DataError(
            f"The pictures are {source.size} with {source.channels} channels, the model takes {model.size} "
            f"with {model.channels}.",
            "Ingest the pictures as the model's own were.",
        )


def _check_finite(vectors: np.ndarray, losses: dict[str, np.ndarray], ids: Sequence[Any] | np.ndarray) -> None:
    for name, values in {"embedding": vectors, **losses}.items():
        wrong = (
            np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1)) if len(values) else np.empty(0)
        )
        if len(wrong):
            raise DataError(
                f"The {name} of '{ids[wrong[0]]}' is not finite ({count(len(wrong), 'picture')} in all).",
                "Train again with a lower --lr, or look at that picture.",
            )


def anomaly_maps(model: Model, pixels: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return anomaly maps (n, h, w) float32 of pictures (n, h, w, c) uint8; `ModelError` when the model has none."""
    target = next(iter(model.state_dict().values())).device  # fitted models have no parameters
    batch_size, _ = _batch_and_block(batch_size, as_source(pixels), target)
    with torch.inference_mode(), repeatable():
        maps = [
            model.eval()
            .anomaly_map(to_images(torch.from_numpy(pixels[start : start + batch_size]).to(target)))
            .float()
            .cpu()
            .numpy()
            for start in range(0, len(pixels), batch_size)
        ]
    return np.concatenate(maps) if maps else np.empty(pixels.shape[:3], np.float32)


def rebuild(model: Model, pixels: np.ndarray) -> np.ndarray:
    """Return pictures (n, h, w, c) uint8 as the model rebuilds them, the same shape; `ModelError` when it has no decoder."""
    target = next(iter(model.state_dict().values())).device  # fitted models have no parameters
    with torch.inference_mode():
        images = model.eval().rebuild(to_images(torch.from_numpy(pixels).to(target)))
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
