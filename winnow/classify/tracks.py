"""Labels of tracks: a label of one crop counts for all crops of its track, and these together as much as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.embeddings import spread

MOST = 16  # crops of a labelled track that are learnt from, evenly spread in time: neighbours teach the same
NONE = -1


@dataclass(frozen=True)
class Tracks:
    """The number of the track of each of n pictures, `of` (n,), -1 where it has none; rows of a track are in order of time."""

    of: np.ndarray

    @classmethod
    def named(cls, names: Any, n: int) -> Tracks:
        """Return the tracks of n pictures by their names (n,), "" or None where there is none; no tracks without `names`."""
        of = np.full(n, NONE)
        if names is not None:
            names = np.asarray(names, object)
            has = np.array([bool(name) for name in names], bool)
            of[has] = np.unique(names[has].astype(str), return_inverse=True)[1]
        return cls(of)

    def __bool__(self) -> bool:
        return bool((self.of >= 0).any())

    def members(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Return the rows, of those given, of each track among them, by its number."""
        rows = rows[self.of[rows] >= 0]
        order = rows[np.argsort(self.of[rows], kind="stable")]
        parts = np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1) if len(order) else []
        return {int(self.of[part[0]]): part for part in parts}

    def only(self, some: np.ndarray) -> Tracks:
        """Return the tracks of the pictures `some` (n,) bool, as if the others had none."""
        return Tracks(np.where(some, self.of, NONE))

    def within(self, parts: np.ndarray) -> Tracks:
        """Return the tracks divided where the numbers `parts` (n,) of their pictures differ."""
        both = self.of * (int(parts.max(initial=0)) + 1) + parts
        return Tracks(np.where(self.of >= 0, both, NONE))

    def together(self, twins: np.ndarray) -> np.ndarray:
        """Return names (n,) that are equal for pictures of a track and, of those that have none, for twins."""
        return np.where(
            self.of >= 0, np.char.add("track ", self.of.astype(str)), np.char.add("twin ", twins.astype(str))
        )

    def labelled(self, target: np.ndarray) -> np.ndarray:
        """Return which pictures (n,) are of a track with a label; `target` (n,) is -1 where there is none."""
        return np.isin(self.of, self.of[(target >= 0) & (self.of >= 0)])

    def looked_at(self, rows: np.ndarray) -> np.ndarray:
        """Return `rows` and the crops of their tracks, of each track at most `MOST` more, evenly spread."""
        own = np.isin(self.of, self.of[rows][self.of[rows] >= 0])
        parts = [part[spread(len(part), MOST)] for part in self.members(np.flatnonzero(own)).values()]
        return np.unique(np.concatenate([rows, *parts]))

    def taught(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the target (n,) with the class of a track given to its crops, and how much each picture counts (n,).

        `target` (n,) are class numbers, -1 where there is none. Of a track whose labels agree, at most `MOST` crops are learnt
        from, the labelled ones among them; where they contradict one another these alone. A track counts as one picture.
        """
        found, weights = target.copy(), np.ones(len(target))
        for part in self.members(np.flatnonzero(self.labelled(target))).values():
            labelled = part[target[part] >= 0]
            if len(set(target[labelled].tolist())) == 1:
                others = part[target[part] < 0]
                others = others[spread(len(others), max(0, MOST - len(labelled)))]
                found[others] = target[labelled[0]]
                labelled = np.append(labelled, others)
            weights[labelled] = 1 / len(labelled)
        return found, weights

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Return values (n, k) of which those of a track are replaced by their mean."""
        found = np.array(values, float)
        rows = np.flatnonzero(self.of >= 0)
        _, place, count = np.unique(self.of[rows], return_inverse=True, return_counts=True)
        sums = np.zeros((len(count), found.shape[1]))
        np.add.at(sums, place, found[rows])
        found[rows] = (sums / np.maximum(count, 1)[:, None])[place]
        return found
