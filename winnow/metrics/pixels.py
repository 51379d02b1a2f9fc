"""Metrics of anomaly maps against masks of known defects. Numpy and scipy.

Both are exact: a curve bends only at values of damaged pixels, so the good pixels of one picture at a time are counted
between those values. Memory is that of the damaged pixels and of one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from winnow.errors import DataError, OptionError


def pixel_auroc(maps: Sequence[Any], masks: Sequence[Any]) -> float:
    """Return the chance that a damaged pixel scores higher than a good one, over all pictures (ties count one half).

    `maps` floats (h, w), higher = damaged, and `masks` (h, w), true or nonzero = damaged: one of each a picture, whose
    sizes may differ. `DataError` for no pictures, sizes that do not match, values that are not finite, no damaged or no
    good pixel.
    """
    damaged = [anomaly_map[mask] for anomaly_map, mask in _pairs(maps, masks)]
    return _area(maps, masks, np.concatenate(damaged), np.ones(sum(map(len, damaged))), 1.0)


def aupro(maps: Sequence[Any], masks: Sequence[Any], limit: float = 0.3) -> float:
    """Return the area under the per-region overlap up to a false-alarm rate of `limit`, divided by `limit`: 1 is perfect.

    The overlap at a threshold is the share of a region's pixels at or above it, averaged over the regions, so that a
    small defect counts as much as a large one; a region is 8-connected. The false-alarm rate is that of the good pixels
    of all pictures. Between thresholds the curve is straight. `maps` and `masks` as in `pixel_auroc`, and its errors;
    `OptionError` for a limit outside (0, 1]. Bergmann et al., The MVTec Anomaly Detection Dataset (IJCV 2021), section 5.
    """
    from scipy.ndimage import label

    if not 0 < limit <= 1:
        raise OptionError(f"A false-alarm rate of {limit} is no limit.", "Give one above 0 and up to 1, such as 0.3.")
    damaged, weights = [], []
    for anomaly_map, mask in _pairs(maps, masks):
        regions = label(mask, np.ones((3, 3)))[0][mask]
        damaged.append(anomaly_map[mask])
        weights.append(1 / np.bincount(regions)[regions] if len(regions) else np.empty(0))
    return _area(maps, masks, np.concatenate(damaged), np.concatenate(weights), limit)


def _area(maps: Sequence[Any], masks: Sequence[Any], damaged: np.ndarray, weights: np.ndarray, limit: float) -> float:
    """Return the area up to `limit` under the weighted share of damaged pixels found against the share of good ones found.

    `damaged` and `weights` (k,) are values and weights of all damaged pixels.
    """
    values, inverse = np.unique(damaged, return_inverse=True)
    above, at_least, good = np.zeros(len(values)), np.zeros(len(values)), 0
    for anomaly_map, mask in _pairs(maps, masks):
        rest = np.sort(anomaly_map[~mask])
        good += len(rest)
        above += len(rest) - np.searchsorted(rest, values, side="right")
        at_least += len(rest) - np.searchsorted(rest, values, side="left")
    if not len(damaged) or not good:
        raise DataError(
            f"The masks hold no {'good' if len(damaged) else 'damaged'} pixel to measure with.",
            "Give masks that are true where a picture is damaged, and only there.",
        )
    found = np.cumsum(np.bincount(inverse, weights)[::-1]) / weights.sum()
    # from the highest value down: level up to a value (good pixels alone), then up at it (with those good ones that tie)
    across = np.concatenate([[0.0], np.stack([above, at_least], axis=1)[::-1].ravel() / good, [1.0]])
    up = np.concatenate([[0.0, 0.0], np.repeat(found, 2)])
    end = int(np.searchsorted(across, limit))
    before, after = across[end - 1], across[end]
    cut = up[end - 1] + (up[end] - up[end - 1]) * (limit - before) / (after - before)
    across, up = np.append(across[:end], limit), np.append(up[:end], cut)
    return min(1.0, float(np.sum(np.diff(across) * (up[1:] + up[:-1])) / 2 / limit))  # sums round


def _pairs(maps: Sequence[Any], masks: Sequence[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each picture's anomaly map and its mask as bool, checked."""
    if not len(maps) or len(maps) != len(masks):
        raise DataError(
            f"There are {len(maps)} anomaly maps and {len(masks)} masks.",
            "Give at least one picture, and a map and a mask for each (an empty mask where nothing is damaged).",
        )
    for number, (one, other) in enumerate(zip(maps, masks, strict=True)):
        anomaly_map, mask = np.asarray(one), np.asarray(other)
        if anomaly_map.ndim != 2 or anomaly_map.shape != mask.shape:
            raise DataError(
                f"Picture {number} has an anomaly map of shape {anomaly_map.shape} and a mask of shape {mask.shape}.",
                "Give both as (height, width) of the picture.",
            )
        if not np.isfinite(anomaly_map).all():
            raise DataError(
                f"The anomaly map of picture {number} holds values that are not finite.",
                "Leave out the picture, or give pixels without a score the lowest value.",
            )
        yield anomaly_map, mask.astype(bool)
