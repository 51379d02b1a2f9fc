"""Judged patches put together to pictures: the defects, the mask and the anomaly map of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.inspect.regions import grown, regions
from winnow.inspect.wholes import Whole
from winnow.pool.patches import blend, read_boxes, scaled
from winnow.pool.pool import Items

NEAR = 4  # marked places that lie within this part (a quarter) of a patch's shorter side are one defect
TINY = 1e-12
GREY = 128  # shown where a patch was dropped as blank
BARE = 1.0  # of anomaly maps where a picture is blank as no good one is: a flat place may be easy to rebuild


@dataclass(frozen=True)
class Picture:
    """A picture put together from its patches.

    `page` is its number in a file of several, `time` that of a frame in seconds. Pixels (h, w, c); the anomaly map (h, w),
    0 where it is as usual, 0.5 at the level that held-out pictures keep below (None where the mode has none); the mask of its
    damaged places (h, w); its defects, each x, y, width, height and score.
    """

    name: str
    source: str
    page: int | None
    time: float | None
    pixels: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray
    defects: list[tuple[int, int, int, int, float]]


@dataclass(frozen=True)
class AnomalyMaps:
    """The anomaly maps that `draw` returns, scaled by their `usual` value and by the `level` that held-out pictures keep below."""

    draw: Callable[[np.ndarray], np.ndarray]
    usual: float
    level: float

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Return the maps (n, rows, columns) of patches (n, h, w, c) uint8: 0 where they are as usual, 0.5 at the level."""
        return (self.draw(pixels) - self.usual) / max(2 * (self.level - self.usual), TINY)


def located(
    pool: Items,
    scores: np.ndarray,
    limits: np.ndarray,
    wanted: np.ndarray,
    maps: AnomalyMaps | None,
    wholes: Whole | None = None,
) -> Iterator[tuple[int, Picture]]:
    """Yield the row and the `Picture` of each wanted picture of a pool of patches with scores (n,).

    A patch is damaged when its score is above the limit of its picture (`limits`, of all pictures); what is damaged in it are the
    places where the anomaly map is above the level that held-out pictures keep below, all of it where there are no `maps`. Its pixels
    are those of `wholes`, at their own resolution, otherwise the run's, scaled to the picture's size.
    """
    about, boxes = pool.pictures.to_pylist(), read_boxes(pool.column("box"))
    ends = np.cumsum([picture["patches"] for picture in about])
    for row in wanted:
        own = np.arange(ends[row] - about[row]["patches"], ends[row])
        yield int(row), _picture(pool, own, boxes[own], scores[own], float(limits[row]), maps, wholes, about[row])


def _picture(
    pool: Items,
    rows: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    limit: float,
    maps: AnomalyMaps | None,
    wholes: Whole | None,
    about: dict[str, Any],
) -> Picture:
    size, pixels, bare = (about["height"], about["width"]), pool.pixels(rows), about.get("bare") or 0
    canvas = np.full((*size, pool.channels), GREY, np.uint8)
    damaged, blank = np.zeros(size, bool), np.zeros(size, bool)
    whole = wholes(int(rows[0]), size) if wholes else None
    for patch, (x, y, width, height), found in zip(pixels, boxes, scores, strict=True):
        place = slice(y, y + height), slice(x, x + width)
        canvas[place] = scaled(patch, (height, width)) if whole is None else whole[place]
        damaged[place] |= found > limit
    for x, y, width, height in boxes[len(boxes) - bare :]:
        blank[y : y + height, x : x + width] = True
    anomaly_map, mask = None, damaged
    if maps is not None:
        anomaly_map = np.where(blank, BARE, blend(maps.of(pixels), boxes, size))
        hot = damaged & (anomaly_map > 0.5)
        patches = regions(damaged)
        mask = hot | (
            damaged & ~np.isin(patches, np.unique(patches[hot]))
        )  # a region without a hot place is marked as a whole
    name, source, page, time = (about[column] for column in ("id", "source", "page", "time"))
    return Picture(name, source, page, time, canvas, anomaly_map, mask, _defects(mask, boxes, scores))


def _defects(mask: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[int, int, int, int, float]]:
    """Return the blobs of a mask (h, w) as boxes, nearby ones together, each with the highest score of the patches it touches."""
    found = []
    if not mask.any():
        return []
    grow = max(1, int(boxes[0, 2:].min()) // NEAR // 2)
    blob, places = regions(grown(mask, grow))[mask] - 1, np.argwhere(mask)
    low, high = np.full((blob.max() + 1, 2), max(mask.shape)), np.zeros((blob.max() + 1, 2), int)
    np.minimum.at(low, blob, places)
    np.maximum.at(high, blob, places + 1)
    for (y, x), (height, width) in zip(low, high - low, strict=True):
        touched = (
            (boxes[:, 0] < x + width) & (boxes[:, 0] + boxes[:, 2] > x)
            & (boxes[:, 1] < y + height) & (boxes[:, 1] + boxes[:, 3] > y)
        )  # fmt: skip
        found.append((int(x), int(y), int(width), int(height), float(scores[touched].max())))
    return sorted(found, key=lambda defect: -defect[4])
