"""Near-duplicates: pictures so alike that labelling one says all there is to say of the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.embeddings import finite, spread, unit_length
from winnow.select.geometry import BLOCK, squared_distances

FLAT = 20_000  # pictures that are all compared; of more, the neighbours in the nearest cells of an index
NEIGHBOURS = 16
PAIRED = 1000  # pictures by which the usual distance is told
TIMES_NEAR = 4.0  # how much more distant pictures of one video may be that are near in time
ROUNDING = 1e-5  # squared distance that float32 may give two equal embeddings of length 1
WINDOW = 32  # pictures that follow one in time and are compared with it


def distinct(
    vectors: np.ndarray,
    near: float,
    *,
    sources: np.ndarray | None = None,
    times: np.ndarray | None = None,
    seconds: float = 0.0,
) -> np.ndarray:
    """bool (n,): false for a picture that is near an earlier one that stays.

    Near: by cosine distance, nearer than the share `near` of the median distance of two pictures. Of one of `sources` (n,),
    pictures at most `seconds` apart by `times` (n,) are near at four times that distance: the same person in the next
    frame. Of many alike the first stays. With more than 20,000 pictures a few near ones can be missed (an approximate
    search, faiss IVF).
    """
    features = unit_length(finite(vectors))
    stays = np.ones(len(features), bool)
    if near <= 0 or len(features) < 2:
        return stays
    limit = max(near * _usual(features), ROUNDING)
    if sources is not None and times is not None and seconds > 0:
        _thin(stays, features, TIMES_NEAR * limit, sources, times, seconds)
    rows = np.flatnonzero(stays)
    stays[rows] = _first(features[rows], limit) if len(rows) <= FLAT else _nearly_first(features[rows], limit)
    return stays


def _usual(features: np.ndarray) -> float:
    """The median squared distance of two rows."""
    some = features[spread(len(features), PAIRED)]
    return float(np.median(squared_distances(some, some)[np.triu_indices(len(some), 1)]))


def _first(features: np.ndarray, near: float) -> np.ndarray:
    """bool (n,): rows that are not within the squared distance of an earlier row that stays."""
    stays = np.ones(len(features), bool)
    for begin in range(0, len(features), BLOCK):
        block, kept = features[begin : begin + BLOCK], features[:begin][stays[:begin]]
        here = stays[begin : begin + BLOCK]
        here &= (squared_distances(block, kept) > near).all(axis=1)
        alike = squared_distances(block, block) <= near
        for row in np.flatnonzero(here):
            here[row] = not alike[row, :row][here[:row]].any()
    return stays


def _nearly_first(features: np.ndarray, near: float) -> np.ndarray:
    """The same of many rows, of whose neighbours an index may miss some; of crowds, it finds more in every round."""
    import faiss

    stays = np.ones(len(features), bool)
    while True:
        rows = np.flatnonzero(stays)
        cells = int(np.sqrt(len(rows)) * 2)
        index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(features.shape[1]), features.shape[1], cells)
        index.cp.min_points_per_centroid, index.cp.niter = 1, 5
        index.train(features[rows[:: max(1, len(rows) // (cells * 40))]])
        index.nprobe = 2
        index.add(features[rows])
        distances, found = index.search(features[rows], min(NEIGHBOURS, len(rows)))
        near_earlier = (distances <= near) & (found >= 0) & (found < np.arange(len(rows))[:, None])
        here = np.ones(len(rows), bool)
        for row in np.flatnonzero(near_earlier.any(axis=1)):
            here[row] = not here[found[row, near_earlier[row]]].any()
        stays[rows] = here
        if here.all():
            return stays


def _thin(
    stays: np.ndarray, features: np.ndarray, near: float, sources: np.ndarray, times: np.ndarray, seconds: float
) -> None:
    """Clears `stays` where one before, of the same source and near in time and code, stays."""
    names = np.unique(sources.astype(str), return_inverse=True)[1]
    order = np.lexsort((times, names))
    pairs: list[np.ndarray] = []
    for ahead in range(1, min(WINDOW, len(order) - 1) + 1):
        first, second = order[:-ahead], order[ahead:]
        close = (names[first] == names[second]) & (np.abs(times[second] - times[first]) <= seconds)
        first, second = first[close], second[close]
        alike = np.square(features[first] - features[second]).sum(axis=1) <= near
        pairs.append(np.column_stack([first[alike], second[alike]]))
    place = np.argsort(order)
    found = np.concatenate(pairs) if pairs else np.empty((0, 2), int)
    for first, second in found[np.argsort(place[found[:, 1]], kind="stable")]:
        if stays[first]:
            stays[second] = False
