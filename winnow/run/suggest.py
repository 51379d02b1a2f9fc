"""A head on the embeddings, learnt while a person labels: what it suggests, whom it contradicts, and what to label next.

Numpy and scikit-learn alone: it runs in a process of its own beside the label server (`winnow.run.beside`).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import numpy as np

from winnow.classify.cross_fit import CrossFitter, probabilities
from winnow.classify.folds import deal
from winnow.classify.heads import Logistic
from winnow.classify.tracks import Tracks
from winnow.embeddings import Embeddings, blocks, unit_length
from winnow.errors import DataError
from winnow.pool.pool import Pool
from winnow.run.apart import set_apart
from winnow.run.beside import serve_questions
from winnow.run.cache import Cache
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of
from winnow.run.split import HELD_OUT, kept_apart, without
from winnow.run.tracks import tracks_of
from winnow.select.herding import herding
from winnow.select.uncertain import uncertainty

FOLDS = 5
FEWEST = 2  # labels of a class, without which it cannot be held out, and classes that have them
PROPOSED = 64  # pictures proposed to be labelled next
SAMPLE = 4096  # candidates that a proposal is chosen from, of more drawn at random: a choice must not take minutes
NICE = 10  # the server comes first


class Suggester:
    """The embeddings that a person's labels are learnt on, and what a choice needs of them.

    `rows` (m,) of the pool's `items` are those of the embeddings. `features` (m, k) of length 1 and the places of the `candidates`
    serve the choice. `tracks` (m,) are names, where pictures are crops of persons who were followed: no fold divides one.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        features: np.ndarray,
        candidates: np.ndarray,
        rows: np.ndarray,
        items: int,
        tracks: np.ndarray | None = None,
    ) -> None:
        self.embeddings, self.features, self.candidates = embeddings, features, candidates
        self.rows, self.place = rows, np.full(items, -1)
        self.place[rows] = np.arange(len(rows))
        self.tracks = Tracks.named(tracks, len(rows)).of
        self.centre = embeddings.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)

    @classmethod
    def of(cls, run: RunFolder) -> Suggester:
        """Take a run's embeddings; near-duplicates and outliers are no candidates, as in `select`."""
        pool = Pool.open(run.folder("ingest"))
        everything = Embeddings.load(run.folder("encode"))
        # As in `classify`: nothing is learnt from what the user gave to hold out.
        embeddings = without(everything, kept_apart(pool, everything, *HELD_OUT))
        rows = pool.rows_of(embeddings.ids)
        outliers = np.isin(rows, catalogue_of(run, pool).lanes["outliers"].rows)
        found = set_apart(run, Cache(run), pool, embeddings, lambda distinct: np.flatnonzero(outliers))
        tracks = tracks_of(run, pool, embeddings)
        return cls(embeddings, found.features, found.candidates, rows, len(pool.items), tracks)

    def __call__(self, target: np.ndarray, taken: np.ndarray) -> dict[str, np.ndarray]:
        """Learn from the class numbers `target` (items,), -1 where there is none, of two classes with two labels or more.

        Returns `rows` (m,) of the embeddings, the most probable class of each, `kind`, and its calibrated `probability`; the rows
        to label `next`, best first, none of which is labelled or `taken` (rows that are listed or skipped); and of the labelled
        rows that could be held out, `held`, the class that a head predicts that has not seen their fold, `held_kind`, its
        `held_probability`, and that of the label, `held_given`.
        """
        own = target[self.rows]
        labelled = np.flatnonzero(own >= 0)
        classes, known = np.unique(own[labelled], return_inverse=True)
        features = unit_length(self.embeddings.vectors[labelled] - self.centre)
        alike = (self.embeddings.groups, self.embeddings.twins, self.tracks)
        held = held_out(features, known, *(column[labelled] for column in alike))
        head = Logistic().fit(features, known, len(classes))
        chances = np.empty((len(self.rows), len(classes)), np.float32)
        for part in blocks(len(self.rows)):
            some = unit_length(self.embeddings.vectors[part] - self.centre)
            chances[part] = probabilities(head.logits(some), held.temperature)
        return {
            "rows": self.rows,
            "kind": classes[chances.argmax(axis=1)],
            "probability": chances.max(axis=1),
            "next": self._next(chances, labelled, self.place[taken]),
            "held": self.rows[labelled[held.places]],
            "held_kind": classes[held.kind],
            "held_probability": held.probability,
            "held_given": held.given,
        }

    def _next(self, chances: np.ndarray, labelled: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """Return the rows to label next; what is labelled or taken is covered and not chosen again."""
        start = np.union1d(labelled, taken[taken >= 0])
        free = np.setdiff1d(self.candidates, start)
        if not len(free):
            free = np.setdiff1d(np.arange(len(self.rows)), start)  # outliers and duplicates come last
        rng = np.random.default_rng(len(labelled))
        free = np.sort(rng.permutation(free)[:SAMPLE])
        seen = np.append(free, start)
        some = Embeddings.of(self.features[seen])
        weights = uncertainty(chances)[seen]
        chosen = herding(some, min(PROPOSED, len(free)), rng, start=np.arange(len(free), len(seen)), weights=weights)
        return self.rows[seen[chosen]]


@dataclass(frozen=True)
class Held:
    """What heads say of labelled pictures whose fold they have not seen: of those at `places` (h,), the class `kind`, its
    `probability` and that of the label, `given`; and the temperature that calibrates their logits."""

    places: np.ndarray
    kind: np.ndarray
    probability: np.ndarray
    given: np.ndarray
    temperature: float


def held_out(
    features: np.ndarray, target: np.ndarray, groups: np.ndarray, twins: np.ndarray, tracks: np.ndarray | None = None
) -> Held:
    """Hold out whole groups among labelled pictures, features (m, d) of classes `target` (m,); a class with one label is left out.

    `twins` and `tracks` as `winnow.classify.folds.deal` takes them.

    Raises `DataError` unless two classes have two labels or more.
    """
    counts = np.bincount(target)
    places = np.flatnonzero(counts[target] >= FEWEST)
    classes, known = np.unique(target[places], return_inverse=True)
    if len(classes) < FEWEST:
        raise DataError("Fewer than two classes have two labels.", "Label more.")
    groups, twins = groups[places].astype(str), twins[places].astype(str)
    tracks = None if tracks is None else tracks[places]
    folds = deal(known, groups, tuple(map(str, classes)), FOLDS, 0, twins, tracks)
    fitter = CrossFitter(Logistic(), features[places], known, groups, folds, 0, twins)
    found = fitter.learn(known, fitter.fold_targets(known))
    chances = found.held_out.probabilities
    own = np.arange(len(places))
    return Held(places, classes[chances.argmax(axis=1)], chances.max(axis=1), chances[own, known], found.temperature)


def main() -> None:
    """Answer the label server's questions until it ends: `python -m winnow.run.suggest RUN`."""
    os.nice(NICE)
    serve_questions(lambda: Suggester.of(RunFolder.open(sys.argv[1])))


if __name__ == "__main__":
    main()
