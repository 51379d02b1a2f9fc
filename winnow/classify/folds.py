"""Folds that keep a group (a video, a clip, a folder) in one fold and every class in training, and report when they cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from winnow.embeddings import spread
from winnow.pool.splits import blocks, deal_out

NEAR = 0.1  # share of the median squared distance of two pictures of a class below which they are near-identical
SAME = 1e-6  # squared distance that rounding alone can cause
BLOCK = 1024  # pictures to which distances are computed at once
CHECKED = (
    8192  # labelled pictures up to which all are looked at for near-identical ones in other folds, and of more so many
)
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
    tracks: np.ndarray | None = None,
) -> Folds:
    """Deal labelled pictures into at most `count` folds, by whole groups, the classes as evenly as these allow.

    `target` (n,) class numbers, each class twice or more; `groups` (n,); `twins` (n,) are equal for near-identical pictures, `tracks`
    (n,) numbers for crops of one track, -1 for what has none. No track is divided, unless it has all labels of a class.
    Rows are in order of time. Every class occurs outside each fold, a fifth of its labels at least. Where that is not possible
    by whole groups, because a class occurs in one group alone or nearly so (folders that were classes, a few labels corrected),
    such a group is cut, each of its classes into contiguous blocks, twins in one; where that does not suffice either, pictures
    are dealt one by one. `notes` reports both, since neighbours are alike and the metrics then flatter.
    """
    twins = np.arange(len(target)) if twins is None else np.unique(twins.astype(str), return_inverse=True)[1]
    names, group = np.unique(groups.astype(str), return_inverse=True)
    cut = np.zeros(len(names), bool)
    first, single = _first_of_tracks(target, tracks)
    group = group[first]
    notes: list[str] = []
    if len(single):
        notes.append(
            f"All labels of {_named([classes[kind] for kind in single])} are of one track, which had to be divided: F1 on others will "
            "be lower than stated. Label another track."
        )
    while True:
        units = _units(target, group, cut, count, twins, first)
        folds = min(count, int(units.max()) + 1)
        fold = _dealt(target, units, folds, seed)
        lonely = _in_one_fold(target, fold, len(classes), folds)
        if not len(lonely):
            more = _crowded(target, group, fold, folds) & ~cut
            if not more.any():
                break
            cut |= more
            continue
        more = np.isin(np.arange(len(names)), group[np.isin(target, lonely)]) & ~cut
        if not more.any():
            folds = min(count, int(np.bincount(target).max()))
            fold = _one_by_one(target, count, first)
            if len(_in_one_fold(target, fold, len(classes), folds)):  # by labels of a track that contradict one another
                first = np.arange(len(target))
                fold = _one_by_one(target, count, first)
            notes.append(
                f"The labels of {_named([classes[kind] for kind in lonely])} are too few to be divided by groups: pictures were "
                "divided one by one, and F1 on new groups will be lower than stated."
            )
            return Folds(fold, first, folds, tuple(notes))
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
    labelled = np.bincount(group[rows], minlength=len(names)) > 0
    own = np.flatnonzero(labelled[group] & (fold < 0))
    fold[own] = folds.fold[_nearest_of_group(own, rows, group)]
    sizes = np.bincount(group, minlength=len(names))
    load = np.bincount(fold[fold >= 0], minlength=folds.count)
    free = np.flatnonzero(~labelled)
    place = np.full(len(names), -1)
    place[free] = deal_out(sizes[free], load, seed)
    return np.where(fold < 0, place[group], fold)


def _nearest_of_group(own: np.ndarray, rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the place (m,) in `rows` of the nearest one of the same group to each row `own` (m,); of two equal, the one before.

    `group` (n,) numbers the groups, each with one of `rows` or more.
    """
    key = group * len(group) + np.arange(len(group))  # rows of a group stand together, in their order
    order = np.argsort(key[rows])
    known = key[rows][order]
    after = np.searchsorted(known, key[own])
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(known) - 1)
    gap = [
        np.where(group[rows[order[place]]] == group[own], np.abs(known[place] - key[own]), len(group))
        for place in (before, after)
    ]
    return order[np.where(gap[0] <= gap[1], before, after)]


def leaks(features: np.ndarray, target: np.ndarray, fold: np.ndarray, most: int = CHECKED) -> int:
    """Count the pictures that have a near-identical one in another fold: through these the split leaks.

    `features` (n, d) of length 1, of the classes `target` (n,); near-identical is nearer than a tenth of the median
    squared distance of two of one class. Of more than `most`, that many are drawn with a fixed seed and looked at, each beside
    all others: the count is of these.
    """
    n = len(features)
    if n < 3:
        return 0
    some = spread(n, BLOCK)
    alike = np.triu(target[some, None] == target[some], 1)
    limit = SAME + NEAR * float(np.median((2 - 2 * features[some] @ features[some].T)[alike])) if alike.any() else SAME
    rows = np.arange(n) if n <= most else np.sort(np.random.default_rng(0).choice(n, most, replace=False))
    found = 0
    for number in np.unique(fold[rows]):
        own, others = features[rows[fold[rows] == number]], np.flatnonzero(fold != number)
        highest = np.full(len(own), -np.inf)
        for start in range(0, len(others), BLOCK):
            np.maximum(highest, (own @ features[others[start : start + BLOCK]].T).max(axis=1), out=highest)
        found += int((2 - 2 * highest < limit).sum())
    return found


def _in_one_fold(target: np.ndarray, fold: np.ndarray, classes: int, folds: int) -> np.ndarray:
    """Return the classes all of whose pictures are in one fold."""
    return np.flatnonzero((_table(target, fold, classes, folds) > 0).sum(axis=1) < 2)


def _first_of_tracks(target: np.ndarray, tracks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of the track of each picture (n,), its own without one, and the classes that occur in one track alone.

    The pictures of such a class are each their own.
    """
    rows = np.arange(len(target))
    if tracks is None:
        return rows, np.empty(0, int)
    of = np.where(tracks >= 0, tracks, tracks.max(initial=0) + 1 + rows)
    found = np.unique(of, return_index=True, return_inverse=True)
    first = found[1][found[2]]
    single = np.array([kind for kind in np.unique(target) if len(set(first[target == kind])) == 1], int)
    return np.where(np.isin(first, first[np.isin(target, single)]), rows, first), single


def _units(
    target: np.ndarray, group: np.ndarray, cut: np.ndarray, count: int, twins: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Return the number of each picture's unit, which no fold splits: its group, or in a cut group its block; pictures with the same
    `first` (n,) are in one."""
    place = np.zeros(len(target), int)
    for rows in _parts(group * (target.max() + 1) + target, np.flatnonzero(cut[group])):
        some, which = _once(first[rows])
        place[rows] = blocks(np.zeros(len(some), int), twins[rows[some]], min(count, len(some)))[which]
    return np.unique(group * count + place[first], return_inverse=True)[1]


def _once(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the first of each of some numbers, in their order, and for each number (n,) which of these it is."""
    _, start, kind = np.unique(names, return_index=True, return_inverse=True)
    return np.sort(start), np.argsort(np.argsort(start))[kind]


def _parts(numbers: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return `rows` in lists of equal `numbers` (n,), each in order."""
    order = rows[np.argsort(numbers[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []


def _table(first: np.ndarray, second: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return how often (rows, columns) each two of the numbers `first` (n,) and `second` (n,) come together."""
    return np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)


def _dealt(target: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deal the units, the largest first, each to the fold that holds least of its classes; equals in the seed's order.

    A fold that would then hold all of a class is taken only when every other would too.
    """
    classes = int(target.max()) + 1
    pairs, held = np.unique(
        units * classes + target, return_counts=True
    )  # the classes that each unit has, and how often
    kinds, first = pairs % classes, np.searchsorted(pairs, np.arange(int(units.max()) + 2) * classes)
    sizes, total = np.bincount(units), np.bincount(target)
    share = held / np.maximum(total, 1)[kinds] ** 2
    load, loads, fold = np.zeros((classes, count)), np.zeros(count), np.empty(len(sizes), int)
    for unit in np.lexsort((np.random.default_rng(seed).permutation(len(sizes)), -sizes)):
        own = slice(first[unit], first[unit + 1])
        has = kinds[own]
        before = load[has]
        after = before + held[own, None]
        whole = (after >= total[has, None]).any(axis=0)
        fold[unit] = np.lexsort((loads, np.round(share[own] @ before, 12), whole))[0]
        load[has, fold[unit]] = after[:, fold[unit]]
        loads[fold[unit]] += sizes[unit]
    return fold[units]


def _crowded(target: np.ndarray, group: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    """Tell which groups hold the most of a class that one fold holds nearly all of."""
    crowded = np.zeros(group.max() + 1, bool)
    held = _table(target, fold, int(target.max()) + 1, count)
    for kind in np.flatnonzero(held.max(axis=1) > MOST * held.sum(axis=1)):
        crowded[np.bincount(group[(target == kind) & (fold == held[kind].argmax())]).argmax()] = True
    return crowded


def _one_by_one(target: np.ndarray, count: int, first: np.ndarray) -> np.ndarray:
    """Deal contiguous blocks of each class, whatever the groups, into two folds or more; pictures with the same `first` (n,) into one."""
    fold = np.empty(len(target), int)
    for rows in _parts(target, np.arange(len(target))):
        some, which = _once(first[rows])
        fold[rows] = (np.arange(len(some)) * min(count, len(some)) // len(some))[which]
    return fold[first]


def _alone(target: np.ndarray, group: np.ndarray) -> list[int]:
    """Return the classes that occur in one group alone."""
    groups = int(group.max()) + 1
    return np.flatnonzero(np.bincount(np.unique(target * groups + group) // groups) == 1).tolist()


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
