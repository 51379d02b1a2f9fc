"""Labels from a store to files and back: the records of a store, and the items that the records of a file belong to."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.errors import InputError, OptionError
from winnow.label.catalogue import Catalogue
from winnow.label.class_history import became
from winnow.label.classes import as_option
from winnow.label.events import Event, class_name, malformed
from winnow.label.formats import read
from winnow.label.matching import MATCHING, Matched, matched
from winnow.label.present import State
from winnow.label.records import Record
from winnow.label.store import LabelStore
from winnow.pool.originals import Originals
from winnow.results.words import count

AT_ONCE = 5000  # events in a transaction of an import


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
                seen=state.seen,
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
    blind: bool,
    classes: Sequence[str],
    from_pool: bool,
) -> None:
    """Raise `OptionError` for options of `winnow label` that this call would ignore; None or empty where not given."""
    if form and not exporting:
        raise OptionError("--format is the format of an export.", "Add --export FILE, or leave --format out.")
    if from_pool and not exporting:
        raise OptionError("--from-pool is for the pictures of an export.", "Add --export FOLDER, or leave it out.")
    if not (importing or exporting):
        return
    page = {"--port": port is not None, "--who": bool(who), "--open": open_browser, "--blind": blind}
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
    and which items the records are about."""

    events: list[Event]
    counts: dict[str, int]
    matched: Matched


def planned(
    store: LabelStore,
    catalogue: Catalogue,
    originals: Originals,
    records: Sequence[Record],
    classes: Sequence[str] = (),
) -> Import:
    """Return what importing records would add to a store, once `classes` are added to it; nothing is written.

    Raises `InputError` for two labels of one item, for a note that cannot be kept and when no item is known, `OptionError`
    for unknown classes.
    """
    strange = sorted({record.label for record in records} - {*store.classes, *map(class_name, classes)})
    if strange and not store.classes:
        raise OptionError(
            f"The run has no classes yet, and the labels hold {count(len(strange), 'class')}: {', '.join(strange)}.",
            f"Add {'it' if len(strange) == 1 else 'them'}: {as_option(strange)}",
        )
    if strange:
        former = [f" '{name}' {became(now)}." for name, now in store.former(strange).items()]
        raise OptionError(
            f"The labels hold classes that the run does not have: {', '.join(strange)}.{''.join(former)}",
            f"Correct them, or add them: {as_option(strange)}",
        )
    about = matched(records, catalogue, originals)
    if not about.found:
        first, reason = about.unknown[0]
        raise InputError(f"No item of the run is the one in {first.where} ({reason}), nor any other there.", MATCHING)
    counts = {"new": 0, "changed": 0, "same": 0, "notes": 0}
    events, states = [], store.states()
    for item, record in about.found.items():
        state, note = states.get(item, State()), unicodedata.normalize("NFC", record.note)
        kind = "same" if state.label == record.label else "new" if state.label is None else "changed"
        counts[kind] += 1
        added = [] if kind == "same" else [Event(str(uuid.uuid4()), item, "label", record.label, seen=record.seen)]
        if note and state.note != note:
            counts["notes"] += 1
            added.append(Event(str(uuid.uuid4()), item, "note", note))
        for reason in filter(None, map(malformed, added)):
            raise InputError(
                f"What {record.where} holds cannot be kept: {reason}", "Correct it there, and import again."
            )
        events += added
    return Import(events, counts, about)


def take_over(
    store: LabelStore,
    catalogue: Catalogue,
    originals: Originals,
    records: Sequence[Record],
    who: str,
    classes: Sequence[str] = (),
) -> dict[str, Any]:
    """Add `classes`, labels and notes as events of `who`; a label that the item already has adds nothing.

    Returns how many were new, changed and the same, how many notes there were, how the items were found, and where and why
    some were not. Nothing is added when `planned` raises.
    """
    plan = planned(store, catalogue, originals, records, classes)
    store.add_classes(who, classes)
    for start in range(0, len(plan.events), AT_ONCE):
        refused = store.add(who, plan.events[start : start + AT_ONCE], catalogue).refused
        if refused:
            raise InputError(f"A label or note cannot be kept: {refused[0][1]}", "Correct it, and import again.")
    unknown = [f"{record.where}: {reason}" for record, reason in plan.matched.unknown]
    return {**plan.counts, "matched": plan.matched.says, "unknown": unknown}


def labels_of_files(paths: Sequence[Path], catalogue: Catalogue, originals: Originals, run: Path) -> Matched:
    """Return which items the records of label files are about.

    Raises `InputError` for a file that cannot be read or names no item of the run, and for two labels of an item, in one
    file or in two.
    """
    records = {path: read(path) for path in paths}
    about = matched([record for own in records.values() for record in own], catalogue, originals)
    nowhere = dict(about.unknown)
    for path, own in records.items():
        if nowhere.keys() >= set(own):
            raise InputError(f"{path} names no item of {run}: {nowhere[own[0]]}.", MATCHING)
    return about
