"""From embeddings to an ordered list of pictures to label: candidates, quotas, a random share, and what each represents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from winnow.embeddings import Embeddings, finite
from winnow.errors import DataError, OptionError
from winnow.results.words import verb
from winnow.select.geometry import k_means, nearest, weights_of, whitened
from winnow.select.herding import Quota, herding
from winnow.select.selectors import SPACES, Selector, at_random, find_selector

WHY = {
    "herding": "most similar to the pictures that no other choice represents",
    "kmeans": "nearest to the centre of its cluster",
    "typiclust": "most typical of its cluster",
    "k-center": "farthest from those chosen before",
    "anomalous": "most similar to the anomalous pictures that no other choice represents",
    "random": "drawn at random",
}
OF_CLUSTER = "drawn at random from its cluster"
OWN = "chosen by your own method"
AT_RANDOM = "drawn at random, to estimate without bias"
KINDS = 8  # clusters of the map, at most: a colour each


@dataclass(frozen=True)
class Choice:
    """n pictures in the order in which to label them.

    `rows` of the embeddings; `why` each was chosen; how many candidates each `stands_for` (those to which it is the
    nearest of all chosen and labelled pictures, itself among them); `kind`, its coarse cluster, numbered by size from 1.
    `note` says where there were fewer pictures to choose from than were asked for; "" where there were enough.
    """

    rows: np.ndarray
    why: list[str]
    stands_for: np.ndarray
    kind: np.ndarray
    note: str = ""


def choose(
    embeddings: Embeddings | Any,
    n: int,
    method: str | Selector = "herding",
    *,
    seed: int = 0,
    pick: str = "nearest",
    candidates: np.ndarray | None = None,
    features: np.ndarray | None = None,
    start: Sequence[int] | np.ndarray = (),
    weights: np.ndarray | None = None,
    per_group: int = 0,
    random_share: float = 0.0,
) -> Choice:
    """Choose n of m pictures, or all where there are fewer, given as `Embeddings` or an array (m, d), in the order to label them.

    Only rows `candidates` (all by default) are chosen, and none of `start`, which are labelled already. `features`: the
    embeddings `whitened`, where the caller has them already. `per_group`: at most so many of one group, those of `start`
    counted. `random_share`: this share is drawn at random from all rows but `start`, candidates or not, evenly spread
    through the list. `weights` (m,): how much each picture counts, 0 or more; where all are 0, all count alike. The same
    seed returns the same choice.
    Raises `DataError` for embeddings or weights that are not finite, weights below 0, and a method of your own that breaks its
    contract; `OptionError` for an unknown method or numbers out of range.
    """
    embeddings = embeddings if isinstance(embeddings, Embeddings) else Embeddings.of(embeddings)
    whole = all(isinstance(number, int | np.integer) for number in (n, per_group))
    if not whole or n < 0 or per_group < 0 or not 0 <= random_share < 1:
        raise OptionError(
            f"n is {n}, per_group {per_group}, random_share {random_share}.",
            "Give whole numbers of 0 or more, and a share below 1.",
        )
    rng = np.random.default_rng(seed)
    select = find_selector(method, pick) if isinstance(method, str) else method
    start = _existing("start", start, len(embeddings))
    everything = np.arange(len(embeddings))
    rows = np.setdiff1d(
        everything if candidates is None else _existing("candidates", candidates, len(everything)), start
    )
    weights = None if weights is None else weights_of(weights, len(embeddings))
    most = available(rows, start, embeddings.groups, per_group)
    note, n = fewer(n, most, per_group), min(n, most)
    features = whitened(embeddings.vectors, rows) if features is None else finite(features)
    space = SPACES.get(method, finite) if isinstance(method, str) else finite
    vectors = features if space is whitened else space(embeddings.vectors)
    lot = _Lot(replace(embeddings, vectors=vectors), start, weights, per_group)
    # The fraction is rounded at random: a list that grows by a few at a time keeps its share all the same.
    count = int(n * random_share + rng.random()) if random_share else 0
    drawn = lot.take(at_random, np.setdiff1d(everything, start), count, rng)
    chosen = lot.take(select, np.setdiff1d(rows, drawn), n - count, rng)
    order = _interleaved(chosen, drawn)
    reason = _reason(method, pick)
    why = [AT_RANDOM if is_drawn else reason for is_drawn in np.isin(order, drawn)]
    taken = np.append(start, order).astype(int)
    cell = nearest(features[rows], features[taken])[0] if n else np.empty(0, int)
    stands_for = np.bincount(cell, minlength=len(taken))[len(start) :]
    return Choice(order, why, np.maximum(stands_for, 1), kinds(features)[order], note)


def _reason(method: str | Selector, pick: str) -> str:
    if method == "kmeans" and pick == "random":
        return OF_CLUSTER
    return WHY.get(method, OWN) if isinstance(method, str) else OWN


def kinds(features: np.ndarray) -> np.ndarray:
    """Return coarse clusters (m,) of whitened embeddings, numbered from 1, the largest first; the same for the same features."""
    rng = np.random.default_rng(0)
    number = min(KINDS, max(1, len(features) // 20))
    cluster = nearest(features, k_means(features, number, rng))[0]
    size = np.bincount(cluster, minlength=number)
    rank = np.empty(number, int)
    rank[np.argsort(-size, kind="stable")] = np.arange(1, number + 1)
    return rank[cluster]


class _Lot:
    """The embeddings and the rows taken so far.

    No selector sees a picture of a group whose quota is used up, but herding: it is told the quotas, and holds them at once.
    """

    def __init__(self, embeddings: Embeddings, start: np.ndarray, weights: np.ndarray | None, per_group: int) -> None:
        self.embeddings, self.weights = embeddings, weights
        self.taken = list(start)
        self.group = np.unique(embeddings.groups.astype(str), return_inverse=True)[1]
        self.quotas, self.left = bool(per_group), np.full(self.group.max(initial=0) + 1, per_group or len(embeddings))
        np.subtract.at(self.left, self.group[start], 1)

    def take(self, select: Selector, rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Take n of the rows in the selector's order; it is called again, without the groups that have become full, while some lack."""
        found: list[int] = []
        told = self.quotas and select is herding
        while len(found) < n:
            free = np.setdiff1d(rows if told else rows[self.left[self.group[rows]] > 0], self.taken)
            seen = np.append(free, self.taken).astype(int)
            weights = None if self.weights is None else self.weights[seen]
            wanted, start = min(n - len(found), len(free)), np.arange(len(free), len(seen))
            if told:
                quota = Quota(self.group[seen], self.left)
                given = herding(self.embeddings[seen], wanted, rng, start=start, weights=weights, quota=quota)
            else:
                given = select(self.embeddings[seen], wanted, rng, start=start, weights=weights)
                given = _checked(given, wanted, len(free))
            for row in free[given]:
                if self.left[self.group[row]] > 0:
                    self.left[self.group[row]] -= 1
                    found.append(int(row))
                    self.taken.append(int(row))
        return np.array(found, int)


def _checked(rows: np.ndarray, n: int, free: int) -> np.ndarray:
    """Return a selector's rows; `DataError` unless they are n of the first `free`, each once: a user's own may err."""
    rows = np.asarray(rows)
    whole = rows.dtype.kind in "iu" or not rows.size
    if not whole or rows.shape != (n,) or len(np.unique(rows)) < n or (n and not 0 <= rows.min() <= rows.max() < free):
        raise DataError(
            f"The method was asked for {n:,} rows and did not return as many different ones, none of them labelled already.",
            "Find the fault: winnow.check.check_selector(METHOD).",
        )
    return rows.astype(int)


def _interleaved(chosen: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Merge both into one list, of which every prefix has its share of the second."""
    positions = [(number + 0.5) / len(part) for part in (chosen, drawn) for number in range(len(part))]
    return np.append(chosen, drawn)[np.argsort(positions, kind="stable")].astype(int)


def _existing(name: str, rows: Sequence[int] | np.ndarray, m: int) -> np.ndarray:
    """Return row numbers, each once and in order; a `DataError` unless all are whole numbers of m rows."""
    rows = np.asarray(rows)
    if rows.size and rows.dtype.kind not in "iu":
        raise DataError(f"'{name}' holds what is no row number.", "Give whole numbers, counted from 0.")
    if rows.size and not 0 <= rows.min() <= rows.max() < m:
        raise DataError(f"'{name}' has rows from {rows.min()} to {rows.max()} of {m:,} pictures.", "Count them from 0.")
    return np.unique(rows).astype(int)


def available(rows: np.ndarray, start: np.ndarray, groups: np.ndarray, per_group: int) -> int:
    """Return how many of the rows can be chosen, at most `per_group` (0: any number) of a group, those of `start` counted."""
    if not per_group:
        return len(rows)
    names, sizes = np.unique(groups[rows].astype(str), return_counts=True)
    used = dict(zip(*np.unique(groups[start].astype(str), return_counts=True), strict=True))
    return sum(
        min(int(size), max(0, per_group - int(used.get(name, 0)))) for name, size in zip(names, sizes, strict=True)
    )


def fewer(asked: int, most: int, per_group: int, more: str = "") -> str:
    """Say that of the pictures asked for (or `more` of them) only so many, `most`, can be chosen; "" where they are enough."""
    if asked <= most:
        return ""
    there = f"{most:,} are all that can be chosen" if most else "none can be chosen"
    quota = f", {per_group:,} of a group at most" if per_group else ""
    return f"{verb(asked, f'{more}picture was', f'{more}pictures were')} asked for, and {there}{quota}."
