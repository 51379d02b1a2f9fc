"""Labels from a store to files and back: the records of a store, and the items that the records of a file belong to."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.errors import InputError, OptionError
from winnow.label.catalogue import Catalogue
from winnow.label.formats import Record, read
from winnow.label.store import Event, LabelStore, State, class_name, malformed

AT_ONCE = 5000  # events in a transaction of an import
NEAR = 0.005  # seconds by which a time may be rounded: frames are further apart
MATCHING = "Items are matched by id, else by source (or a unique file name) with time and box."


def records_of(store: LabelStore, catalogue: Catalogue) -> tuple[list[Record], int]:
    """Return the labels of the pool's items, in its order, and how many labels are of items no longer in it."""
    states = {item: state for item, state in store.states().items() if state.label is not None}
    rows = sorted(catalogue.row(item) for item in states if item in catalogue)
    records = []
    for row in rows:
        item, box = catalogue.ids[row], catalogue.box(row)
        state = states[item]
        records.append(
            Record(
                label=state.label or "",
                id=item,
                source=catalogue.source(row),
                time=catalogue.time(row),
                box=None if box is None else tuple(box),
                who=state.by,
                at=state.at,
                note=state.note,
            )
        )
    return records, len(states) - len(rows)


def check_options(
    *,
    importing: bool,
    exporting: bool,
    form: str | None,
    port: int | None,
    who: str | None,
    open_browser: bool,
    classes: Sequence[str],
) -> None:
    """Raise `OptionError` for options of `winnow label` that this call would ignore; None or empty where not given."""
    if form and not exporting:
        raise OptionError("--format is the format of an export.", "Add --export FILE, or leave --format out.")
    if not (importing or exporting):
        return
    page = {"--port": port is not None, "--who": bool(who), "--open": open_browser}
    given = [name for name, is_given in page.items() if is_given]
    task = "--import" if importing else "--export"
    if given:
        raise OptionError(
            f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} for the labelling page, which {task} does not open.",
            f"Leave {'it' if len(given) == 1 else 'them'} out, or call winnow label again without {task}.",
        )
    if classes and not importing:
        raise OptionError("--classes adds classes, and --export only writes labels.", "Leave --classes out.")


@dataclass(frozen=True)
class Import:
    """The events that an import adds to a store; how many labels are new, changed and the same, and how many notes there are;
    and where in the files the records of unknown items are."""

    events: list[Event]
    counts: dict[str, int]
    unknown: list[str]


def planned(store: LabelStore, catalogue: Catalogue, records: Sequence[Record], classes: Sequence[str] = ()) -> Import:
    """Return what importing records would add to a store, once `classes` are added to it; nothing is written.

    Raises `InputError` for two labels of one item, for a note that cannot be kept and when no item is known, `OptionError`
    for unknown classes.
    """
    strange = sorted({record.label for record in records} - {*store.classes, *map(class_name, classes)})
    if strange:
        raise OptionError(
            f"The labels hold classes that the run does not have: {', '.join(strange)}.",
            f"Correct them, or add them: --classes '{','.join(strange)}'",
        )
    found, unknown = matched(records, catalogue)
    if not found:
        raise InputError(f"No item of the run is the one in {unknown[0].where}, nor any other there.", MATCHING)
    counts = {"new": 0, "changed": 0, "same": 0, "notes": 0}
    events, states = [], store.states()
    for item, record in found.items():
        state = states.get(item, State())
        kind = "same" if state.label == record.label else "new" if state.label is None else "changed"
        counts[kind] += 1
        added = [] if kind == "same" else [Event(str(uuid.uuid4()), item, "label", record.label)]
        if record.note and state.note != record.note:
            counts["notes"] += 1
            added.append(Event(str(uuid.uuid4()), item, "note", record.note))
        for reason in filter(None, map(malformed, added)):
            raise InputError(
                f"What {record.where} holds cannot be kept: {reason}", "Correct it there, and import again."
            )
        events += added
    return Import(events, counts, [record.where for record in unknown])


def take_over(
    store: LabelStore, catalogue: Catalogue, records: Sequence[Record], who: str, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Add `classes`, labels and notes as events of `who`; a label that the item already has adds nothing.

    Returns how many were new, changed and the same, how many notes there were, and where the unknown items are. Nothing is
    added when `planned` raises.
    """
    plan = planned(store, catalogue, records, classes)
    store.add_classes(who, classes)
    for start in range(0, len(plan.events), AT_ONCE):
        refused = store.add(who, plan.events[start : start + AT_ONCE], catalogue).refused
        if refused:
            raise InputError(f"A label or note cannot be kept: {refused[0][1]}", "Correct it, and import again.")
    return {**plan.counts, "unknown": plan.unknown}


def labels_of_files(paths: Sequence[Path], catalogue: Catalogue, run: Path) -> tuple[dict[str, Record], list[Record]]:
    """Return the record of each item named in label files, and the records that match no item.

    Raises `InputError` for a file that cannot be read or names no item of the run, and for two labels of an item, in one
    file or in two.
    """
    records = {path: read(path) for path in paths}
    found, unknown = matched([record for own in records.values() for record in own], catalogue)
    nowhere = set(unknown)
    for path, own in records.items():
        if nowhere.issuperset(own):
            raise InputError(f"{path} names no item of {run}.", MATCHING)
    return found, unknown


def matched(records: Sequence[Record], catalogue: Catalogue) -> tuple[dict[str, Record], list[Record]]:
    """Return the record of each item found, and the records that match none.

    Raises `InputError` when two records of an item differ in their label.
    """
    by_source: dict[str, list[int]] = {}
    by_name: dict[str, list[str]] = {}
    if any(record.id not in catalogue for record in records):
        by_source = catalogue.rows_of_source()
        for source in by_source:
            by_name.setdefault(posixpath.basename(source), []).append(source)
    found: dict[str, Record] = {}
    unknown = []
    for record in records:
        item = record.id if record.id in catalogue else _by_place(record, catalogue, by_source, by_name)
        if item is None:
            unknown.append(record)
        elif item in found and found[item].label != record.label:
            raise InputError(
                f"One item has two labels: '{found[item].label}' in {found[item].where}, '{record.label}' in {record.where}.",
                "Decide which is right, and import again.",
            )
        else:
            found[item] = record
    return found, unknown


def _by_place(
    record: Record, catalogue: Catalogue, by_source: dict[str, list[int]], by_name: dict[str, list[str]]
) -> str | None:
    """Return the one item with a record's source, time and box; an unknown source is found by its file name where that is
    unique."""
    rows = by_source.get(record.source, [])
    named = by_name.get(posixpath.basename(record.source), [])
    if not rows and len(named) == 1:
        rows = by_source[named[0]]
    if record.time is not None:
        rows = [row for row in rows if abs((catalogue.time(row) or 0.0) - record.time) <= NEAR]
    if record.box is not None:
        rows = [row for row in rows if catalogue.box(row) == list(record.box)]
    return catalogue.ids[rows[0]] if len(rows) == 1 else None
