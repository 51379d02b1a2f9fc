"""The known classes of a run's pictures: labels of its store, of files or of its sources, or the names of their folders."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from winnow.data.layouts import folder_classes
from winnow.errors import DataError, InputError
from winnow.label.present import State
from winnow.label.records import Record
from winnow.pool.pool import Pool
from winnow.results.words import verb
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of, chosen_of, label_command, labels, read_store

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
    """Return the labels of `files` (see `winnow.label.formats`); without any, those that the sources came with and the run's own.

    These are joined item by item, and what a person said last of an item counts: a label in the place of another, or none where it
    was skipped or cleared. Where the sources came without labels and the option `folders` is set, the names of the pictures'
    folders take their place.

    Raises `DataError` when there are none, `InputError` for files with no item of the run and for two labels of one item.
    """
    if files:
        return _of_files(run, pool, files)
    with read_store(run) as store:
        said = {item: state for item, state in store.states().items() if state.by}
    known = set(pool.column("id"))
    own = {item: state for item, state in said.items() if state.label is not None and item in known}
    gone = sum(state.label is not None and item not in known for item, state in said.items())
    notes = (
        [f"{gone:,} {'label is' if gone == 1 else 'labels are'} of items that are no longer in the pool."]
        if gone
        else []
    )
    base, whence = _of_sources_or_folders(run, pool, said)
    joined = {item: label for item, label in base.items() if item not in said}
    joined |= {item: state.label or "" for item, state in own.items()}
    if not joined:
        raise DataError(
            f"{run.path} has no labels.",
            f"Label some: {label_command(run.path)}, or give them: --labels FILE; "
            "where each class has a folder: --folders",
        )
    if not base:
        return Truth(joined, "the run's labels", notes, {item: state.at for item, state in own.items()})
    if not said.keys() & base.keys() and not own:
        return Truth(joined, whence, notes)
    return Truth(joined, _joined(base, whence, said, own), notes)


def _of_sources_or_folders(run: RunFolder, pool: Pool, said: Container[str]) -> tuple[dict[str, str], str]:
    """Return the labels that nobody gave in the run, by id, and where they are from; contradictions that a person `said` the
    last word on are settled."""
    own = [label or "" for label in pool.column("label")]
    if any(own):
        return _agreed(pool, own, said), "the labels that the sources came with"
    if run.options.classify.folders:
        folders = folder_classes(run.asked.sources, pool.column("source").tolist())
        return _agreed(pool, folders, said), "the names of the pictures' folders"
    return {}, ""


def _joined(base: Mapping[str, str], whence: str, said: Mapping[str, State], own: Mapping[str, State]) -> str:
    """Return how many labels are of which kind, in words."""
    replaced = sum(base.get(item, state.label) != state.label for item, state in own.items())
    dropped = sum(item in base for item, state in said.items() if state.label is None)
    return (
        f"{sum(item not in said for item in base):,} of {whence}, {len(own):,} of the run's labels"
        + (f", {replaced:,} of these in the place of another" if replaced else "")
        + (f"; {dropped:,} left out as skipped or cleared" if dropped else "")
    )


def of_sources(pool: Pool) -> dict[str, str]:
    """Return the labels that the sources came with, by id, but for copies of one picture that have different ones."""
    found: dict[str, set[str]] = {}
    for item, label in zip(pool.column("id"), pool.column("label"), strict=True):
        if label:
            found.setdefault(item, set()).add(label)
    return {item: labels.pop() for item, labels in found.items() if len(labels) == 1}


def _agreed(pool: Pool, labels: Sequence[str], settled: Container[str]) -> dict[str, str]:
    """Return labels by id, of what is used; `InputError` for copies of one picture with different labels, unless it is `settled`."""
    found: dict[str, tuple[str, str]] = {}
    for item, source, label in zip(pool.column("id"), pool.column("source"), labels, strict=True):
        if not label:
            continue
        known = found.setdefault(item, (label, source))
        if known[0] != label and item not in settled:
            raise InputError(
                f"One picture has two labels: '{known[0]}' as {known[1]}, '{label}' as {source}.",
                "Decide which is right: label it in the run, or remove the other and ingest again.",
            )
    return {item: label for item, (label, _) in found.items()}


def records_in(run: RunFolder, pool: Pool, files: Sequence[str | Path]) -> tuple[dict[str, Record], str, list[str]]:
    """Return the record of each item that label files name, how the items were found, and a note on those that were not.

    Raises `InputError` for a file with no item of the run and for two labels of one item.
    """
    from winnow.label.exchange import labels_of_files
    from winnow.run.addresses import originals_of

    originals = originals_of(run, pool)
    about = labels_of_files([Path(path) for path in files], catalogue_of(run, pool), originals, run.path)
    notes = []
    if about.unknown:
        places = "; ".join(f"{record.where}: {reason}" for record, reason in about.unknown[:SHOWN])
        places += " ..." * (len(about.unknown) > SHOWN)
        notes.append(
            f"{verb(len(about.unknown), 'label is', 'labels are')} of items that the run does not have: {places}"
        )
    return about.found, f"{', '.join(map(str, files))}: {about.says}", notes


def _of_files(run: RunFolder, pool: Pool, files: Sequence[str | Path]) -> Truth:
    found, origin, notes = records_in(run, pool, files)
    own = {item for item, label in zip(pool.column("id"), pool.column("label"), strict=True) if label} | set(
        labels(run)
    )
    if own:
        notes.append(
            f"{verb(len(own), 'label of the run itself is', 'labels of the run itself are')} not used, as --labels is given."
        )
    at = {item: record.at for item, record in found.items() if record.at}
    return Truth(
        {item: record.label for item, record in found.items()}, origin, notes, at if len(at) == len(found) else {}
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
