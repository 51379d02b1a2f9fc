"""How much of good pictures is blank, and which new pictures have clearly more: damage that looks blank is damage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from winnow.pool.patches import kept_of, placed
from winnow.pool.pool import Items, Pool

SPARE = 0.05
"""A good picture may have so much more of its patches blank than any that was learnt from: the blank ends of good strips of one cloth
differ by 1.6 % of their length, those of all its strips by 6 %, 3 % beyond the good ones. Where none has any, one is too many."""


def boxes_by_blank(
    picture: np.ndarray, patch: Sequence[int], stride: int, blank: float, border: int, usual: float | None
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the patches of a picture as boxes (n, 4), and how many are `flat` (blank, kept or not), `blank` (dropped) and `bare`.

    They are those of `boxes_of`. But where `usual` is given, the largest share of flat patches of a good picture, one with clearly
    more, or blank all over, keeps its flat patches, the holes too, at the end: these are bare.
    """
    tops, lefts, full, keep = kept_of(picture, patch, stride, blank, border)
    flat = int((~full).sum())
    counts = {"flat": flat, "blank": int((~keep).sum()), "bare": 0}
    boxes = placed(keep, tops, lefts, patch)
    if usual is None or not flat or (len(boxes) and flat <= (usual + (SPARE if usual else 0.0)) * full.size + 1e-9):
        return boxes, counts
    boxes = np.concatenate([placed(keep & full, tops, lefts, patch), placed(~full, tops, lefts, patch)])
    return boxes, {"flat": flat, "blank": int((full & ~keep).sum()), "bare": flat}


def usual_blank(pool: Pool) -> float | None:
    """Return the largest share of flat patches of a picture of a pool, None where an older version cut them and did not count."""
    most = 0.0
    for picture in pool.pictures.to_pylist():
        if picture.get("flat") is None:
            return None
        # Holes are both kept and flat, so that the number of all patches is that of those kept and those dropped.
        most = max(most, picture["flat"] / max(picture["patches"] + picture["blank"], 1))
    return most


def bare_rows(pool: Items) -> np.ndarray:
    """Return which patches of a pool are bare (n,): blank, in a picture that has clearly more of it than good ones."""
    found = np.zeros(len(pool), bool)
    pictures = pool.pictures
    if not len(pictures):  # a server asks this of each picture, and even an empty table takes time to read
        return found
    end = 0
    for picture in pictures.to_pylist():
        end += picture["patches"]
        found[end - (picture.get("bare") or 0) : end] = True
    return found


def blanker_ones(pool: Items) -> str:
    """Return a sentence on pictures that are blanker than those that were learnt from, "" where there are none."""
    pictures = pool.pictures.to_pylist()
    count = sum(bool(picture.get("bare")) for picture in pictures)
    if not count:
        return ""
    return f"{count:,} of {len(pictures):,} pictures have clearly more blank than any good one: they do not belong."
