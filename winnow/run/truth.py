"""The known classes of a run's pictures: labels of its store, of files or of its sources, or the names of their folders."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from winnow.errors import DataError, InputError
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of, chosen_of, labels

SHOWN = 3  # unknown items that a note names


@dataclass(frozen=True)
class Truth:
    """The class of each item known, by its id, where it is from, and notes.

    `given`: the order in which the labels were given, where that is known: a text by id that sorts.
    """

    labels: dict[str, str]
    origin: str
    notes: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)


def truth_of(run: RunFolder, pool: Pool, files: Sequence[str | Path] = ()) -> Truth:
    """Return the labels of `files` (see `winnow.label.formats`); without any, those of the run's store.

    Without these, those that its sources came with; without these, where the option `folders` is set, the names of the
    pictures' folders.

    Raises `DataError` when there are none, `InputError` for files with no item of the run and for two labels of one item.
    """
    if files:
        return _of_files(run, pool, files)
    stored = labels(run)
    if stored:
        known = set(pool.column("id"))
        gone = len(set(stored) - known)
        notes = (
            [f"{gone:,} {'label is' if gone == 1 else 'labels are'} of items that are no longer in the pool."]
            if gone
            else []
        )
        found = {item: entry for item, entry in stored.items() if item in known}
        return Truth(
            {item: label for item, (label, _, _) in found.items()},
            "the run's labels",
            notes,
            {item: at for item, (_, _, at) in found.items()},
        )
    own = of_sources(pool)
    if own:
        return Truth(own, "the labels that the sources came with")
    if run.options.classify.folders:
        folders = [posixpath.basename(posixpath.dirname(source)) for source in pool.column("source")]
        return Truth(_agreed(pool, folders), "the names of the pictures' folders")
    raise DataError(
        f"{run.path} has no labels.",
        f"Label some: winnow label --run {run.path} --classes ..., or give them: --labels FILE; "
        "where each class has a folder: --folders",
    )


def of_sources(pool: Pool) -> dict[str, str]:
    """Return the labels that the sources came with, by id."""
    return _agreed(pool, [label or "" for label in pool.column("label")])


def _agreed(pool: Pool, labels: Sequence[str]) -> dict[str, str]:
    """Return labels by id, of what is used; `InputError` for copies of one picture with different labels."""
    found: dict[str, tuple[str, str]] = {}
    for item, source, label in zip(pool.column("id"), pool.column("source"), labels, strict=True):
        if not label:
            continue
        known = found.setdefault(item, (label, source))
        if known[0] != label:
            raise InputError(
                f"One picture has two labels: '{known[0]}' as {known[1]}, '{label}' as {source}.",
                "Decide which is right, remove the other, and ingest again.",
            )
    return {item: label for item, (label, _) in found.items()}


def _of_files(run: RunFolder, pool: Pool, files: Sequence[str | Path]) -> Truth:
    from winnow.label.exchange import labels_of_files

    found, unknown = labels_of_files([Path(path) for path in files], catalogue_of(run, pool), run.path)
    names = ", ".join(map(str, files))
    notes = []
    if unknown:
        places = "; ".join(record.where for record in unknown[:SHOWN])
        notes.append(
            f"{len(unknown):,} labels are of items that the run does not have: {places}{' ...' * (len(unknown) > SHOWN)}"
        )
    at = {item: record.at for item, record in found.items() if record.at}
    return Truth(
        {item: record.label for item, record in found.items()}, names, notes, at if len(at) == len(found) else {}
    )


def order_of(run: RunFolder, truth: Truth, ids: Sequence[str]) -> np.ndarray | None:
    """Return the ranks (m,) of labelled items in the order in which they were chosen or, beyond the list, labelled; None if not known."""
    ranks = {listed.id: listed.rank or 0 for listed in chosen_of(run)}
    if not (truth.given or any(item in ranks for item in ids)):
        return None
    keys = [(ranks.get(item, len(ranks) + 1), truth.given.get(item, ""), place) for place, item in enumerate(ids)]
    order = np.empty(len(keys), int)
    order[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return order
