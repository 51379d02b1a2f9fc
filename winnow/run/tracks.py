"""The tracks of a run's crops: what their labels count for, and those whose crops the classifier takes for several classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.classify.tracks import Tracks
from winnow.embeddings import Embeddings
from winnow.metrics.classification import rise, verdict
from winnow.pool.pool import Pool
from winnow.results import Comparison
from winnow.results.words import count
from winnow.run.fine_tuning import vectors_for
from winnow.run.folder import RunFolder
from winnow.run.judge import seconds

TO_CHECK = "tracks-to-check.csv"
COLUMNS = ("track", "source", "from", "to", "crops", "class", "share", "turns", "before", "after", "why")
AGREED = 0.8  # share of a track's crops with its class below which it is to be checked
FEWEST = 4  # crops of a track that can turn from one class to another
SIDE = 2  # crops on each side of where it turns


def tracks_of(run: RunFolder, pool: Pool, embeddings: Embeddings) -> np.ndarray | None:
    """Return the names (n,) of the tracks of a run's embeddings, None where there are none, or they are not to count."""
    if not run.options.classify.tracks:
        return None
    names = pool.column("track")[pool.rows_of(embeddings.ids)]
    return names if any(names) else None


def over_tracks(classifier: Classifier) -> Comparison | None:
    """Return the macro F1 of single crops, and the rise when they are averaged over their tracks; None without tracks."""
    if classifier.by_track is None:
        return None
    before, after = classifier.held_out.tally, classifier.by_track.tally
    gain, error = rise(before, after, classifier.seed)
    says = (
        f"By single crops macro F1 is {before.macro_f1:.3f}, averaged over their tracks {after.macro_f1:.3f}: "
        f"{verdict('winnow predict --by track', gain, error)}."
    )
    return Comparison(before.macro_f1, gain, error, says)


def said_of_labels(names: np.ndarray | None, known: np.ndarray) -> list[str]:
    """Return a note on how many crops the labels `known` (n,) count for, and on tracks whose labels contradict one another."""
    if names is None:
        return []
    kinds: dict[str, set[str]] = {}
    for name, label in zip(names, known, strict=True):
        if name and label:
            kinds.setdefault(name, set()).add(label)
    one = {name for name, labels in kinds.items() if len(labels) == 1}
    crops = sum(name in one for name in names)
    notes = [f"The labels of {count(len(one), 'track')} count for all {crops:,} crops of them."] if one else []
    if len(kinds) > len(one):
        two = count(len(kinds) - len(one), "track")
        notes.append(
            f"The labels of {two} contradict one another, and count for the labelled crops alone: see {TO_CHECK}."
        )
    return notes


def to_check(
    run: RunFolder, classifier: Classifier, pool: Pool, embeddings: Embeddings, names: np.ndarray, known: np.ndarray
) -> list[tuple[Any, ...]]:
    """Return a row, as `COLUMNS` says, of each track whose crops are taken for several classes, or were labelled so, these first.

    At most `winnow.classify.tracks.MOST` crops of a track are looked at. A track that turns from one class to another, and stays so,
    comes before one whose crops alternate: two persons may have been taken for one. Of pictures, which have no time, `turns` is the
    name of the first file after.
    """
    tracks, places = Tracks.named(names, len(names)), pool.rows_of(embeddings.ids)
    whole = tracks.members(np.arange(len(names)))
    some = tracks.looked_at(np.flatnonzero(tracks.of >= 0))
    chances = np.zeros((len(names), len(classifier.classes)))
    vectors = vectors_for(classifier.network, pool, places[some], embeddings.vectors[some], run.options.train.device)
    chances[some] = classifier.predict_proba(vectors)
    sources, times = pool.column("source")[places], pool.column("time")[places]
    seen = np.zeros(len(names), bool)
    seen[some] = True
    found = []
    for rows in whole.values():
        looked = rows[seen[rows]]
        labels = sorted(set(known[rows][known[rows] != ""].tolist()))
        own = chances[looked].mean(axis=0).argmax()
        share = float((chances[looked].argmax(axis=1) == own).mean())
        if share >= AGREED and len(labels) < 2:
            continue
        margin, at, before, after = turn(chances[looked])
        when = seconds(times[looked[at]]) or Path(sources[looked[at]]).name
        turned = (when, *classifier.classes[[before, after]]) if at else ("", "", "")
        why = f"labelled {' and '.join(labels)}" if len(labels) > 1 else "turns" if at else "alternates"
        row = (names[rows[0]], sources[rows[0]], seconds(times[rows[0]]), seconds(times[rows[-1]]), len(rows))
        found.append((len(labels) < 2, -margin, share, (*row, classifier.classes[own], f"{share:.2f}", *turned, why)))
    return [row for *_, row in sorted(found, key=lambda one: one[:3])]


def turn(chances: np.ndarray) -> tuple[float, int, int, int]:
    """Return how surely a track turns from one class to another, the place of the first crop after, and the class before and after.

    `chances` (n, classes) are in order of time. The cut is where the lesser of the margins of the two sides' mean probabilities, of
    their own class above that of the other side, is greatest; (0, 0, 0, 0) where no cut has two classes.
    """
    best = (0.0, 0, 0, 0)
    if len(chances) < FEWEST:
        return best
    sums = chances.cumsum(axis=0)
    for at in range(SIDE, len(chances) - SIDE + 1):
        first, second = sums[at - 1] / at, (sums[-1] - sums[at - 1]) / (len(chances) - at)
        before, after = int(first.argmax()), int(second.argmax())
        margin = min(first[before] - first[after], second[after] - second[before])
        if before != after and margin > best[0]:
            best = float(margin), at, before, after
    return best
