"""Near-identical pictures: the same one saved again, smaller or more coarsely. What holds them must be held out as one.

A picture's look is what is left of it at 16x16 pixels in grey, without its brightness and contrast. Saving a picture again
moves its look a little, and so does photographing the next part on the same fixture. So near-identical means two things:
close, *and* with a gap to the next: much closer than pictures like them are to one another. Where all look alike, no two are
near-identical.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16
FLAT = 1.0  # grey levels of standard deviation at 16x16 below which a picture shows nothing
STEPS = 32  # steps of a look to a standard deviation
NEAR = 0.13  # furthest that two looks of length 1 may be apart; unrelated ones are 1.4 apart
GAP = 0.25  # and at most this share of the distance to the next picture that is not near-identical
MOST = 16  # nearest pictures that are looked at: so many copies of one can be found
STILL = 0.02  # distance within which looks differ by the noise of a camera and a codec alone
LEAST = 0.1  # share of a group's pictures that joins it to another: fewer move a rate of 1 % by no more than 0.1 %
COMPARED = 5_000  # pictures that are all compared; of more, only those in the nearest cells of an index
PARTS, SAMPLE = 48, 10_000  # principal components of looks in which the index is, and looks that they are learnt from
BLOCK = 1024


def look_of(image: np.ndarray) -> str:
    """Return the look of a picture (h, w, c) uint8 as text; "" of one that shows nothing, such as a black one."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if min(picture.size) >= 4 * SIDE:
        picture = picture.reduce(min(picture.size) // (2 * SIDE))  # fast, and rounds little
    grey = picture.convert("L").convert("F")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    small = small - small.mean()
    if small.std() < FLAT:
        return ""
    steps = np.clip(np.rint(small / small.std() * STEPS), -127, 127).astype(np.int8)
    return base64.b64encode(steps.tobytes()).decode()


def looks_of(texts: Sequence[str]) -> np.ndarray:
    """Return the looks (n, 256) float32 of length 1 of what `look_of` wrote, zeros of those that show nothing."""
    looks = np.zeros((len(texts), SIDE * SIDE), np.float32)
    for row, text in enumerate(texts):
        if text:
            looks[row] = np.frombuffer(base64.b64decode(text), np.int8)
    looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
    return looks


def twins(looks: np.ndarray) -> np.ndarray:
    """Return for each look (n, d) the first row (n,) that it is near-identical to, directly or through others; else its own."""
    found = np.arange(len(looks))
    rows = np.flatnonzero(looks.any(axis=1))
    if len(rows) > 1:
        found[rows] = rows[_first_of(len(rows), *_pairs(looks[rows]))]
    return found


def joined(groups: Any, twin: Any) -> np.ndarray:
    """Return groups (n,): those that share near-identical pictures (`twin` (n,) equal) bear the name of the first of them.

    They share what makes a tenth of either: the title of a programme, which each of its videos shows, does not make them one.
    """
    names, first, group = np.unique(np.asarray(groups).astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first)  # by the first row, which names the others
    group = np.argsort(order)[group]
    kind = np.unique(twin, return_inverse=True)[1]
    shown, pictures = np.unique(np.column_stack([kind, group]), axis=0, return_counts=True)
    starts = np.flatnonzero(np.diff(shown[:, 0], prepend=-1))
    shared: Counter[tuple[int, int]] = Counter()
    for start, end in zip(starts, [*starts[1:], len(shown)], strict=True):
        for one, other in permutations(range(start, end), 2):
            shared[int(shown[one, 1]), int(shown[other, 1])] += int(pictures[one])
    sizes = np.bincount(group)
    links = [pair for pair, number in shared.items() if number >= LEAST * sizes[pair[0]]]
    pairs = np.array(links, int).reshape(-1, 2)
    return names[order][_first_of(len(names), pairs[:, 0], pairs[:, 1])][group].astype(object)


def still(looks: np.ndarray) -> int:
    """Return how many of the looks (n, d) differ from their mean by no more than noise."""
    shown = looks[looks.any(axis=1)]
    if not len(shown):
        return 0
    mean = shown.mean(axis=0)
    return int((np.linalg.norm(shown - mean / max(float(np.linalg.norm(mean)), 1e-9), axis=1) < STILL).sum())


def _pairs(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of near-identical looks, pair by pair: those before the last gap among the nearest of each."""
    firsts, seconds = [], []
    for own, distances, columns in _nearest(looks, min(MOST, len(looks) - 1)):
        gap = (distances[:, :-1] < NEAR) & (distances[:, :-1] < GAP * distances[:, 1:])
        near = np.logical_or.accumulate(gap[:, ::-1], axis=1)[:, ::-1]
        rows, places = np.nonzero(near)
        firsts.append(own[rows])
        seconds.append(columns[rows, places])
    return np.concatenate(firsts), np.concatenate(seconds)


def _nearest(looks: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows (m,), and distances and rows (m, count) of the nearest others of each; not of rows without one within `NEAR`."""
    found = _index(looks) if len(looks) > COMPARED else None
    for start in range(0, len(looks), BLOCK):
        block = looks[start : start + BLOCK]
        own = np.arange(start, start + len(block))
        if found is not None:
            index, projected = found
            squares, columns = index.search(projected[start : start + BLOCK], count + 1)
            some = np.flatnonzero((squares < NEAR**2).sum(axis=1) > 1)  # no shadow is farther apart than what casts it
            own, columns = own[some], columns[some]
            similar = np.einsum("nd,nkd->nk", block[some], looks[columns])
        else:
            similar = block @ looks.T
            some = np.flatnonzero((similar > 1 - NEAR**2 / 2).sum(axis=1) > 1)  # itself, and another
            similar, own = similar[some], own[some]
            columns = np.argpartition(-similar, count, axis=1)[:, : count + 1]
            similar = np.take_along_axis(similar, columns, axis=1)
        similar = np.where((columns == own[:, None]) | (columns < 0), -1, similar)
        order = np.argsort(-similar, axis=1)[:, :count]
        similar, columns = np.take_along_axis(similar, order, axis=1), np.take_along_axis(columns, order, axis=1)
        yield own, np.sqrt(np.maximum(2 - 2 * similar, 0)), columns


def _index(looks: np.ndarray) -> tuple[Any, np.ndarray] | None:
    """Return an index of what many looks (n, d) are in their `PARTS` principal components, and that (n, PARTS).

    None without the library for it: all are compared then, which takes longer.
    """
    try:
        import faiss
    except ImportError:
        return None
    some = looks[:: max(1, len(looks) // SAMPLE)].astype(np.float64)
    projected = looks @ np.linalg.eigh(some.T @ some)[1][:, -PARTS:].astype(np.float32)
    cells = int(np.sqrt(len(looks)) * 2)
    index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(PARTS), PARTS, cells, faiss.METRIC_L2)
    index.cp.min_points_per_centroid, index.cp.niter = 1, 5
    index.train(projected[:: max(1, len(looks) // (cells * 40))])
    index.nprobe = 8
    index.add(projected)
    return index, projected


def _first_of(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each of `count` numbers the smallest (count,) that it is linked to by the pairs, directly or through others."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[one], root[other])
        before = root.copy()
        np.minimum.at(root, one, low)
        np.minimum.at(root, other, low)
        np.minimum.at(root, before[one], low)
        np.minimum.at(root, before[other], low)
        root = root[root]
        if (root == before).all():
            return root
