"""Measure a run against masks of the true damage: AUROC of patches, AUROC and AUPRO of pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data import images, storage
from winnow.embeddings import Embeddings
from winnow.errors import InputError, Unreadable
from winnow.pool.patches import DAMAGED_PIXELS, damaged_pixels, read_boxes
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_encoder
from winnow.run.folder import RunFolder
from winnow.run.synthetic import separation
from winnow.steps.inspect import located, whole
from winnow.steps.score import Scored


def against_masks(
    run: RunFolder, parts: dict[str, Scored], pools: dict[str, Path], known: dict[str, list[str]], folder: Path
) -> dict[str, Any]:
    """Measure judged patches (`parts` and their `pools` by group, 'belongs' first) against the masks of `masks_in`.

    A patch with 15 pixels of mask or more is damaged, one without any is good. `auroc_good_pictures`: damaged patches against those
    of pictures that belong; `auroc_same_pictures`: against good patches of the same pictures. `pixel_auroc` and `aupro`
    are over all pictures, those that belong without damage; they are None for a mode without a map. The embeddings of
    damaged patches by the whole network go to `folder` for the report.
    """
    maps: list[np.ndarray] = []
    truths: list[np.ndarray] = []
    inside: dict[str, list[np.ndarray]] = {"damaged": [], "good": []}
    network, losses = load_encoder(run, "full"), []
    for name, part in parts.items():
        pool = Pool.open(pools[name])
        boxes, ends = read_boxes(pool.column("box")), np.cumsum(pool.pictures.column("patches").to_numpy())
        every = np.arange(len(ends))
        for row, picture in located(run, pool, part, whole(part).threshold.value, every):
            size = picture.mask.shape
            truth = np.zeros(size, bool) if name == "belongs" else read_mask(known, picture.source, size)
            patches = np.arange(ends[row - 1] if row else 0, ends[row])
            if name != "belongs":
                pixels, scores = damaged_pixels(truth, boxes[patches]), part.scores[patches]
                hit = pixels >= DAMAGED_PIXELS
                inside["damaged"].append(scores[hit])
                losses.append(network.encode(pool, patches[hit], run.options.train.device))
                inside["good"].append(scores[pixels == 0])
            if picture.anomaly_map is not None:
                maps.append(picture.anomaly_map.astype(np.float32))
                truths.append(truth)
    _join(losses).save(folder)
    damaged, good = (np.concatenate(values) for values in inside.values())
    return {
        "damaged_patches": len(damaged),
        "auroc_good_pictures": _separation(parts["belongs"].scores, damaged),
        "auroc_same_pictures": _separation(good, damaged),
        **_pixels(maps, truths),
    }


def _separation(good: np.ndarray, damaged: np.ndarray) -> float | None:
    return separation(good, damaged) if len(good) and len(damaged) else None


def _join(parts: list[Embeddings]) -> Embeddings:
    """Return the embeddings of several pictures as one."""
    losses = {name: np.concatenate([part.losses[name] for part in parts]) for name in parts[0].losses}
    return Embeddings.of(np.concatenate([part.vectors for part in parts]), losses=losses)


def _pixels(maps: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float | None]:
    from winnow.metrics.pixels import aupro, pixel_auroc

    if not maps or not any(truth.any() for truth in truths):
        return {"pixel_auroc": None, "aupro": None}
    return {"pixel_auroc": pixel_auroc(maps, truths), "aupro": aupro(maps, truths)}


def masks_in(folder: Path) -> dict[str, list[str]]:
    """Return the mask files below a folder by the stem of their names; `InputError` when there are none."""
    if not storage.is_folder(os.fspath(folder)):
        raise InputError(
            f"--masks {folder} is not a folder.", "Give a folder of masks with the names of their pictures."
        )
    found: dict[str, list[str]] = {}
    for entry in storage.listing(os.fspath(folder), lambda uri, why: None):
        path = Path(entry.uri)
        if path.suffix.lower() in images.IMAGE_SUFFIXES:
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
        values = images.decode(storage.read(uri, 1 << 30), None, grey=True)[..., 0]
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
