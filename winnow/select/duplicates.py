"""Near-duplicates: pictures so alike that a label of one serves for the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.embeddings import blocks, finite, spread, unit_length
from winnow.select.cells import Cells
from winnow.select.geometry import squared_distances

FLAT = 20_000  # pictures that are all compared; of more, only those in the nearest cells
# Pictures of a cell on average, cells a picture is compared with, regions they are looked for in.
CELL, LOOKED, REGIONS = 128, 8, 16
CROWDED = 0.1  # share of near-duplicates with which pictures are compared once more
USUAL = 0.9  # share of the pictures that are nearer to most others than the usual distance
PAIRED = 1000  # pictures from which the usual distance is estimated
TIMES_NEAR = 4.0  # factor on the distance for pictures of one video that are close in time
ROUNDING = 1e-5  # squared distance that float32 may show between two equal embeddings of length 1
WINDOW = 32  # pictures that follow one in time and are compared with it
AT_ONCE = 512  # pictures that are compared with those before them, and with one another
DENSE = 64  # where one pair in so many is near in the first components, all pairs are compared at once
COMPONENTS, LEARNT_FROM = 128, 8192  # in which pictures are compared first, and the pictures that they are learnt from


def distinct(
    vectors: np.ndarray,
    near: float,
    *,
    rows: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    times: np.ndarray | None = None,
    seconds: float = 0.0,
) -> np.ndarray:
    """Return bool (m,): False for a near-duplicate of an earlier picture that stays; see `stand_ins`."""
    found = stand_ins(vectors, near, rows=rows, sources=sources, times=times, seconds=seconds)
    return found == np.arange(len(found))


def stand_ins(
    vectors: np.ndarray,
    near: float,
    *,
    rows: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    times: np.ndarray | None = None,
    seconds: float = 0.0,
) -> np.ndarray:
    """Return for each picture the earlier one that stays and of which it is a near-duplicate, else itself: (m,) of m pictures.

    They are the `rows` of `vectors` (n, d), all by default, counted as there. Near-duplicates are closer, by cosine distance, than the
    share `near` of the usual distance of two pictures (`usual_distance`). Pictures of one of `sources` (m,) at most `seconds` apart
    by `times` (m,) are near-duplicates up to four times that distance: the same person in the next frame. Of many alike the first
    stays. With more than 20,000 pictures a few near-duplicates can be missed: a picture is compared with the earlier ones of the
    cells next to it.
    """
    codes = _Codes(finite(vectors), rows)
    found = np.arange(len(codes))
    if near <= 0 or len(codes) < 2:
        return found
    limit = max(near * codes.usual(), ROUNDING)
    if sources is not None and times is not None and seconds > 0:
        _thin(found, codes, TIMES_NEAR * limit, sources, times, seconds)
    again = True
    while again:
        stays = np.flatnonzero(found == np.arange(len(codes)))
        earlier = _Cells(codes, stays) if len(stays) > FLAT else _All(codes)
        for part in blocks(len(stays), AT_ONCE):
            _compare(found, codes, limit, stays[part], earlier)
        # A crowd has many cells to itself, more than one of its pictures is compared with; thinned out, it has few.
        again = len(stays) > FLAT and (found[stays] != stays).mean() > CROWDED
    while (found != found[found]).any():  # one that stood for others in time is itself a near-duplicate
        found = found[found]
    return found


def usual_distance(squared: np.ndarray) -> float:
    """Return the usual of squared distances (m, m) of pictures: nine in ten have a smaller median distance from the others.

    Where most pictures show one scene, the median of all pairs is what their noise makes of it; the median of a picture of something
    else is its distance from that scene. A few per cent of junk are beyond the nine in ten. In pools of many different
    pictures it is 1.07 to 1.12 times the median of all pairs (docs/log.md).
    """
    return float(np.quantile(np.median(squared, axis=1), USUAL))


class _Codes:
    """Embeddings at length 1, made when they are compared, and their first components, `short` (m, k).

    In these no two are farther apart than they are, so that what is far there need not be compared.
    """

    def __init__(self, vectors: np.ndarray, rows: np.ndarray | None) -> None:
        self.vectors, self.rows = vectors, np.arange(len(vectors)) if rows is None else np.asarray(rows, int)
        self.short = self._shortened()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: np.ndarray | slice) -> np.ndarray:
        found: np.ndarray = unit_length(self.vectors[self.rows[places]])
        return found

    def _shortened(self) -> np.ndarray:
        from scipy.linalg import eigh

        d = self.vectors.shape[1]
        axes = np.eye(d, dtype=np.float32)
        if d > COMPONENTS and len(self):
            some = self[spread(len(self), LEARNT_FROM)]
            some -= some.mean(axis=0)
            axes = eigh(some.T @ some, subset_by_index=(d - COMPONENTS, d - 1))[1].astype(np.float32)
        short = np.empty((len(self), axes.shape[1]), np.float32)
        for part in blocks(len(self)):
            short[part] = self[part] @ axes
        return short

    def usual(self) -> float:
        """Return the usual squared distance of two pictures."""
        some = self[spread(len(self), PAIRED)]
        return usual_distance(squared_distances(some, some))

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the squared distance of each pair."""
        found = np.empty(len(first), np.float32)
        for part in blocks(len(first)):
            apart = self[first[part]] - self[second[part]]
            found[part] = np.einsum("nd,nd->n", apart, apart)
        return found

    def near(
        self, rows: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], limit: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return those of `pairs`, of one of `rows` by its place there and another picture, that are near in all components.

        Where few are near in the first ones, all are returned, to be compared pair by pair. Embeddings that differ in hundreds of
        directions may all be near in the first: then a product of matrices is a hundred times faster.
        """
        place, other = pairs
        others, column = np.unique(other, return_inverse=True)
        if len(place) * DENSE < len(rows) * len(others):
            return pairs
        whole, kept = self[rows], np.zeros(len(place), bool)
        for part in blocks(len(others)):
            inside = np.flatnonzero((column >= part.start) & (column < part.stop))
            apart = squared_distances(whole, self[others[part]])
            kept[inside] = apart[place[inside], column[inside] - part.start] <= limit
        return place[kept], other[kept]


class _All:
    """The pictures that stay so far, all of which are candidates."""

    def __init__(self, codes: _Codes) -> None:
        self.short, self.rows = codes.short, np.empty(0, int)

    def candidates(self, rows: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of one of `rows`, by its place there, and one that stays which may be near."""
        place, other = np.nonzero(squared_distances(self.short[rows], self.short[self.rows]) <= near)
        return place, self.rows[other]

    def add(self, rows: np.ndarray) -> None:
        """Add pictures that stay."""
        self.rows = np.append(self.rows, rows)


class _Cells:
    """The same by cells: candidates are in those next to a picture."""

    def __init__(self, codes: _Codes, rows: np.ndarray) -> None:
        import faiss

        self.short, self.first = codes.short, rows[0]
        cells = Cells.of(self.short[rows], len(rows) // CELL, np.random.default_rng(0))
        self.place = np.full(len(codes), -1)
        self.place[rows] = np.arange(len(rows))
        self.cell, self.distance = cells.nearest(self.short[rows], LOOKED, REGIONS)
        self.quantizer = faiss.IndexFlatL2(self.short.shape[1])
        self.quantizer.add(cells.centres)
        self.index: Any = faiss.IndexIVFFlat(self.quantizer, self.short.shape[1], len(cells.centres))
        self.index.nprobe = LOOKED

    def candidates(self, rows: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what `_All.candidates` does."""
        place = self.place[rows]
        ends, _, found = self.index.range_search_preassigned(
            self.short[rows], near, self.cell[place], self.distance[place]
        )
        return np.repeat(np.arange(len(rows)), np.diff(ends.astype(int))), found

    def add(self, rows: np.ndarray) -> None:
        """Add pictures that stay, each to its nearest cell."""
        from faiss import swig_ptr

        if len(rows):
            arrays = self.short[rows], np.ascontiguousarray(rows), np.ascontiguousarray(self.cell[self.place[rows], 0])
            self.index.add_core(len(rows), *map(swig_ptr, arrays))


def _compare(found: np.ndarray, codes: _Codes, limit: float, rows: np.ndarray, earlier: _All | _Cells) -> None:
    """Set in `found` what stands for each of `rows`, the nearest of the earlier ones that stay, and add the rest to these."""
    place, other = codes.near(rows, earlier.candidates(rows, limit + ROUNDING), limit + ROUNDING)
    apart = codes.distances(rows[place], other)
    for pair in np.lexsort((-apart, place)):  # the nearest last
        if apart[pair] <= limit:
            found[rows[place[pair]]] = other[pair]
    rows = rows[found[rows] == rows]
    whole = codes[rows]
    alike = np.triu(squared_distances(whole, whole) <= limit + ROUNDING, 1)
    for row in np.flatnonzero(alike.any(axis=1)):
        if found[rows[row]] == rows[row]:
            others = rows[alike[row]]
            others = others[found[others] == others]
            near = codes.distances(np.full(len(others), rows[row]), others) <= limit
            found[others[near]] = rows[row]
    earlier.add(rows[found[rows] == rows])


def _thin(
    found: np.ndarray, codes: _Codes, limit: float, sources: np.ndarray, times: np.ndarray, seconds: float
) -> None:
    """Set in `found` an earlier picture of the same source, close in time and embedding, that stays."""
    names = np.unique(sources.astype(str), return_inverse=True)[1]
    order = np.lexsort((times, names))
    pairs: list[np.ndarray] = []
    for ahead in range(1, min(WINDOW, len(order) - 1) + 1):
        first, second = order[:-ahead], order[ahead:]
        close = (names[first] == names[second]) & (np.abs(times[second] - times[first]) <= seconds)
        if not close.any():
            break
        first, second = first[close], second[close]
        alike = np.concatenate([codes.distances(first[part], second[part]) <= limit for part in blocks(len(first))])
        pairs.append(np.column_stack([first[alike], second[alike]]))
    place = np.argsort(order)
    near = np.concatenate(pairs) if pairs else np.empty((0, 2), int)
    for first, second in near[np.argsort(place[near[:, 1]], kind="stable")]:
        if found[first] == first:
            found[second] = first
