"""Folds that keep a group (a video, a clip, a folder) in one fold and every class in training, and report when they cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from winnow.embeddings import spread
from winnow.pool.splits import blocks, deal_out

NEAR = 0.1  # share of the median squared distance of two pictures of a class below which they are near-identical
SAME = 1e-6  # squared distance that rounding alone can cause
BLOCK = 1024  # rows of a block of distances
MOST = 0.8  # share of a class's labels above which a fold leaves too few of them in training to measure anything
NAMED = 3  # classes or groups that a note names


@dataclass(frozen=True)
class Folds:
    """The fold of each picture, `fold` (n,) from 0 to `count` - 1, and the number of its unit, `units` (n,).

    A unit is never split, and a bootstrap draws it whole; `notes` holds a sentence where units are not whole groups.
    """

    fold: np.ndarray
    units: np.ndarray
    count: int
    notes: tuple[str, ...] = ()


def deal(
    target: np.ndarray,
    groups: np.ndarray,
    classes: tuple[str, ...],
    count: int,
    seed: int = 0,
    twins: np.ndarray | None = None,
) -> Folds:
    """Deal labelled pictures into at most `count` folds, by whole groups, the classes as evenly as these allow.

    `target` (n,) class numbers, each class twice or more; `groups` (n,); `twins` (n,) are equal for near-identical pictures.
    Rows are in order of time. Every class occurs outside each fold, a fifth of its labels at least. Where that is not possible
    by whole groups, because a class occurs in one group alone or nearly so (folders that were classes, a few labels corrected),
    such a group is cut, each of its classes into contiguous blocks, twins in one; where that does not suffice either, pictures
    are dealt one by one. `notes` reports both, since neighbours are alike and the metrics then flatter.
    """
    twins = np.arange(len(target)) if twins is None else np.unique(twins.astype(str), return_inverse=True)[1]
    names, group = np.unique(groups.astype(str), return_inverse=True)
    cut = np.zeros(len(names), bool)
    notes: list[str] = []
    while True:
        units = _units(target, group, cut, count, twins)
        folds = min(count, int(units.max()) + 1)
        fold = _dealt(target, units, folds, seed)
        lonely = [kind for kind in range(len(classes)) if len(set(fold[target == kind])) < 2]
        if not lonely:
            more = _crowded(target, group, fold, folds) & ~cut
            if not more.any():
                break
            cut |= more
            continue
        more = np.isin(np.arange(len(names)), group[np.isin(target, lonely)]) & ~cut
        if not more.any():
            fold, folds = _one_by_one(target, count), min(count, int(np.bincount(target).max()))
            notes.append(
                f"The labels of {_named([classes[kind] for kind in lonely])} are too few to be divided by groups: pictures were "
                "divided one by one, and F1 on new groups will be lower than stated."
            )
            return Folds(fold, np.arange(len(target)), folds, tuple(notes))
        cut |= more
    if cut.any():
        notes.append(_cut_note(names[cut], len(names), [classes[kind] for kind in _alone(target, group)], len(classes)))
    return Folds(fold, units, folds, tuple(notes))


def follow(
    folds: Folds, rows: np.ndarray, groups: np.ndarray, seed: int = 0, twins: np.ndarray | None = None
) -> np.ndarray:
    """Return the fold (n,) of every picture, given the folds of the labelled `rows`.

    It is that of a labelled twin, else of the nearest labelled row of its group, so that no whole group is split; groups without
    a label are dealt by size.
    """
    names, group = np.unique(groups.astype(str), return_inverse=True)
    fold = np.full(len(groups), -1)
    if twins is not None:
        known, first = np.unique(twins[rows].astype(str), return_index=True)
        place = np.searchsorted(known, twins.astype(str)) % len(known)
        fold = np.where(known[place] == twins.astype(str), folds.fold[first[place]], fold)
    fold[rows] = folds.fold
    for number in np.unique(group[rows]):
        own, labelled = np.flatnonzero(group == number), rows[group[rows] == number]
        middles = (labelled[:-1] + labelled[1:]) / 2
        fold[own] = np.where(fold[own] < 0, fold[labelled[np.searchsorted(middles, own)]], fold[own])
    sizes = np.bincount(group, minlength=len(names))
    load = np.bincount(fold[fold >= 0], minlength=folds.count)
    free = np.setdiff1d(np.arange(len(names)), group[rows])
    place = np.full(len(names), -1)
    place[free] = deal_out(sizes[free], load, seed)
    return np.where(fold < 0, place[group], fold)


def leaks(features: np.ndarray, target: np.ndarray, fold: np.ndarray) -> int:
    """Count the pictures that have a near-identical one in another fold: through these the split leaks.

    `features` (n, d) of length 1, of the classes `target` (n,); near-identical is nearer than a tenth of the median
    squared distance of two of one class.
    """
    if len(features) < 3:
        return 0
    some = spread(len(features), BLOCK)
    alike = np.triu(target[some, None] == target[some], 1)
    limit = SAME + NEAR * float(np.median((2 - 2 * features[some] @ features[some].T)[alike])) if alike.any() else SAME
    found = 0
    for start in range(0, len(features), BLOCK):
        part = slice(start, start + BLOCK)
        distances = 2 - 2 * features[part] @ features.T
        distances[fold[part, None] == fold[None, :]] = np.inf
        found += int((distances.min(axis=1) < limit).sum())
    return found


def _units(target: np.ndarray, group: np.ndarray, cut: np.ndarray, count: int, twins: np.ndarray) -> np.ndarray:
    """Return the number of each picture's unit, which no fold splits: its group, or in a cut group its block."""
    place = np.zeros(len(target), int)
    for number in np.flatnonzero(cut):
        for kind in np.unique(target[group == number]):
            rows = np.flatnonzero((group == number) & (target == kind))
            place[rows] = blocks(np.zeros(len(rows), int), twins[rows], min(count, len(rows)))
    return np.unique(group * count + place, return_inverse=True)[1]


def _dealt(target: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deal the units, the largest first, each to the fold that holds least of its classes; equals in the seed's order.

    A fold that would then hold all of a class is taken only when every other would too.
    """
    held = np.zeros((units.max() + 1, target.max() + 1))
    np.add.at(held, (units, target), 1)
    total = held.sum(axis=0)
    load, fold = np.zeros((count, len(total))), np.empty(len(held), int)
    for unit in np.lexsort((np.random.default_rng(seed).permutation(len(held)), -held.sum(axis=1))):
        has = held[unit] > 0
        whole = ((load + held[unit])[:, has] >= total[has]).any(axis=1)
        cost = load @ (held[unit] / np.maximum(total, 1) ** 2)
        fold[unit] = np.lexsort((load.sum(axis=1), np.round(cost, 12), whole))[0]
        load[fold[unit]] += held[unit]
    return fold[units]


def _crowded(target: np.ndarray, group: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    """Tell which groups hold the most of a class that one fold holds nearly all of."""
    crowded = np.zeros(group.max() + 1, bool)
    for kind in np.unique(target):
        held = np.bincount(fold[target == kind], minlength=count)
        if held.max() > MOST * held.sum():
            crowded[np.bincount(group[(target == kind) & (fold == held.argmax())]).argmax()] = True
    return crowded


def _one_by_one(target: np.ndarray, count: int) -> np.ndarray:
    """Deal contiguous blocks of each class, whatever the groups, into two folds or more."""
    fold = np.empty(len(target), int)
    for kind in np.unique(target):
        rows = np.flatnonzero(target == kind)
        fold[rows] = np.arange(len(rows)) * min(count, len(rows)) // len(rows)
    return fold


def _alone(target: np.ndarray, group: np.ndarray) -> list[int]:
    """Return the classes that occur in one group alone."""
    return [int(kind) for kind in np.unique(target) if len(set(group[target == kind])) == 1]


def _cut_note(cut: np.ndarray, groups: int, alone: list[str], classes: int) -> str:
    if groups == 1:
        why = f"All labels are from one group ({cut[0]})"
    elif len(alone) == classes:
        why = "Each class has a group of its own"
    elif alone:
        why = f"{_named(alone)} {'occurs' if len(alone) == 1 else 'occur'} in one group alone"
    else:
        why = "By whole groups some fold would have held all labels of a class, or nearly all"
    return (
        f"{why}, so {'it was' if groups == 1 else f'{len(cut):,} of {groups:,} groups were'} cut into blocks of neighbours: where "
        "pictures on both sides are alike, F1 on new groups will be lower than stated. Label more groups."
    )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + more
