"""Split pictures into those that train, choose the checkpoint and set the threshold, by whole groups: frames of one video
are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.errors import DataError, did_you_mean

SPLITS = ("train", "validate", "calibrate", "test")
FEWEST_GROUPS = 5  # with fewer, a share of 10 % or 25 % by whole groups is not possible
BLOCKS = 12  # pieces in all that too few groups are cut into: long, so that few neighbours are parted
OWN_BLOCKS = (
    "There are too few groups (videos or folders) to keep whole ones apart, so blocks within them were used: "
    "neighbouring pictures are alike, and the false-alarm rate on a new video or folder will be higher than stated."
)
STANDS_STILL = 3  # near-identical pictures that are the third part of a group, or more, are not kept together
TORN = (
    "{} pictures given as '{}' are near-identical to some given as 'train': what is measured on them, or the threshold that they "
    "set, is better than on new pictures."
)
FROM_TRAIN = "No pictures were given for '{}', so they were taken from those given as 'train'."


@dataclass(frozen=True)
class Split:
    """`split` (n,) of "train", "validate", "calibrate" or "test", and a `note` when the groups are too few for a good one."""

    split: np.ndarray
    note: str = ""


def assign(
    groups: Any,
    seed: int,
    validate_share: float,
    calibrate_share: float,
    given: Any = None,
    *,
    twins: Any = None,
    left_out: Any = None,
) -> Split:
    """Split n pictures by whole groups: about `calibrate_share` and `validate_share` of them, the rest to train.

    `groups` (n,) strings; `twins` (n,) are equal for near-identical pictures. Pictures stay in the split named in `given` (n,)
    ("" where none is), their twins go with them, and a split it names is not added to beyond that; only when nothing else is
    left are rows given as "train" divided. "test", and `left_out` (n,) bool, are left out of everything.
    With fewer than 5 groups each is cut into blocks of neighbouring rows, twins in one, and `.note` says so. The result is the
    same for the same seed, and by whole groups for any order of the rows. Raises `DataError` for fewer than three pictures and
    for a name in `given` that is not a split.
    """
    groups = np.asarray(groups).astype(str)
    twins = _numbered(len(groups), twins)
    split, noted = with_twins(_given(given, len(groups)), twins)
    split[np.zeros(len(groups), bool) if left_out is None else left_out] = "test"
    if (usable := int((split != "test").sum())) < 3:
        raise DataError(
            f"{usable} picture{' is' if usable == 1 else 's are'} too few: one each is needed to train, to choose the "
            "checkpoint and to set the threshold.",
            "Add pictures; a few hundred are a good start.",
        )
    missing = [name for name in ("calibrate", "validate") if name not in split]
    free = split == ""
    notes = [noted] if noted else []
    needed = len(missing) + ("train" not in split)
    if missing and free.sum() < needed and "train" in split:
        free |= split == "train"
        notes.append(FROM_TRAIN.format("' and '".join(missing)))
        needed = len(missing) + 1
    if free.sum() < needed:
        raise DataError(
            f"{free.sum()} pictures without a given split are too few for {', '.join(missing)}.",
            "Add pictures, or leave the split of some empty.",
        )
    split[free] = "train"
    if missing:
        units, blocks = _units(groups[free], twins[free])
        notes += [OWN_BLOCKS] if blocks else []
        shares = {"calibrate": calibrate_share, "validate": validate_share}
        wanted = {name: shares[name] * (split != "test").sum() for name in missing}
        split[free] = _divide(units, wanted, np.random.default_rng(seed), needed - len(missing))
    return Split(split.astype(str), " ".join(notes))


def folds(groups: Any, k: int, seed: int = 0, *, twins: Any = None) -> np.ndarray:
    """Return fold numbers (n,) from 0, at most k of them: whole groups together.

    With fewer than k groups there is one fold a group; with fewer than 5, which would leave too little to learn from, k folds of
    blocks of neighbours, `twins` (n,) in one. Each fold gets about as many pictures as far as the groups allow. Raises
    `DataError` for fewer than k pictures.
    """
    groups = np.asarray(groups).astype(str)
    if k < 2 or len(groups) < k:
        raise DataError(
            f"{len(groups)} pictures cannot be divided into {k} folds.",
            "Use at least 2 folds, and at least as many pictures.",
        )
    _, units = np.unique(groups, return_inverse=True)
    if units.max() + 1 < min(k, FEWEST_GROUPS):
        units = blocks(units, _numbered(len(groups), twins), k * (units.max() + 1))
    sizes = np.bincount(units)
    return deal_out(sizes, np.zeros(min(k, len(sizes)), int), seed)[units]


def deal_out(sizes: np.ndarray, load: np.ndarray, seed: int) -> np.ndarray:
    """Return a fold (m,) for each of m units of `sizes` rows: the largest first, each to the smallest fold.

    `load` (k,) rows are in the folds before; units of one size are dealt in an order drawn by the seed.
    """
    fold, load = np.empty(len(sizes), int), load.copy()
    for unit in np.lexsort((np.random.default_rng(seed).permutation(len(sizes)), -sizes)):
        fold[unit] = load.argmin()
        load[fold[unit]] += sizes[unit]
    return fold


def _given(given: Any, n: int) -> np.ndarray:
    if given is None:
        return np.full(n, "", dtype=object)
    split = np.array(list(given), dtype=object)
    if split.shape != (n,):
        raise DataError(f"{len(split)} splits were given for {n} pictures.")
    unknown = sorted(set(split) - {"", *SPLITS})
    if unknown:
        raise DataError(
            f"The split {unknown[0]!r} given in the list is not known.", did_you_mean(unknown[0], list(SPLITS))
        )
    return split


def _numbered(n: int, twins: Any) -> np.ndarray:
    """Return numbers (n,) that are equal where `twins` are; all different where there are none."""
    return np.arange(n) if twins is None else np.unique(np.asarray(twins).astype(str), return_inverse=True)[1]


def with_twins(split: np.ndarray, twins: Any) -> tuple[np.ndarray, str]:
    """Return the splits (n,) with those of near-identical pictures filled in where none is given, and a note on those of two."""
    twins = _numbered(len(split), twins)
    has = {name: np.isin(twins, twins[split == name]) for name in SPLITS}
    torn = has["train"] & (split != "train") & (split != "")
    for name in ("test", "calibrate", "validate", "train"):  # of two that are given, the one that is held out
        split = np.where(has[name] & (split == ""), name, split)
    if not torn.any():
        return split, ""
    where = "' or '".join(name for name in SPLITS if (split[torn] == name).any())
    return split, TORN.format(int(torn.sum()), where)


def _units(groups: np.ndarray, twins: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the number of each row's unit, which is never divided, and whether units are blocks of a group."""
    _, units = np.unique(groups, return_inverse=True)
    if units.max() + 1 >= FEWEST_GROUPS:
        return units, False
    return blocks(units, twins, BLOCKS), True


def blocks(units: np.ndarray, twins: np.ndarray, most: int) -> np.ndarray:
    """Cut each unit into contiguous blocks, about `most` in all, as far as there are rows; `twins` stand where the first of them does.

    Those that are a third of a unit or more are no copies, but a scene that stands still, and are cut like all else.
    """
    found, start = np.empty(len(units), int), 0
    for unit in range(units.max() + 1):
        rows = np.flatnonzero(units == unit)
        pieces = min(len(rows), int(np.ceil(most * len(rows) / len(units))))
        _, first, kind, sizes = np.unique(twins[rows], return_index=True, return_inverse=True, return_counts=True)
        place = np.where(sizes[kind] * STANDS_STILL < len(rows), first[kind], np.arange(len(rows)))
        before = np.searchsorted(np.sort(place), place)  # how many rows stand before this one's twins
        found[rows] = start + before * pieces // len(rows)
        start += pieces
    return np.unique(found, return_inverse=True)[1]


def _divide(units: np.ndarray, wanted: dict[str, float], rng: np.random.Generator, to_train: int) -> np.ndarray:
    """Fill each wanted split with randomly drawn whole units that fit, then with one more if that comes closer.

    Every split gets at least one unit, and `to_train` units are left over.
    """
    sizes = np.bincount(units)
    names = np.full(len(sizes), "train", dtype=object)
    later = len(wanted)
    for name, target in wanted.items():
        later -= 1
        open_units = rng.permutation(np.flatnonzero(names == "train"))
        room = len(open_units) - later - to_train
        total = 0
        for unit in open_units:
            if room > 0 and total + sizes[unit] <= target:
                names[unit] = name
                total += sizes[unit]
                room -= 1
        left = open_units[names[open_units] == "train"]
        if len(left) == 0:
            continue
        nearest = left[np.argmin(np.abs(total + sizes[left] - target))]
        if total == 0 or (room > 0 and abs(total + sizes[nearest] - target) < abs(total - target)):
            names[nearest] = name
    return names[units]
