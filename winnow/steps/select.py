"""Choose the pictures worth a person's time: an ordered list that grows without changing what was chosen before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow.embeddings import spread
from winnow.errors import Damaged, OptionError
from winnow.files import quoted, read_json, replacing, sealed, sha256, unsealed, write_json, write_text
from winnow.results import LeftOut, Selected, as_json
from winnow.run.commit import STAGING
from winnow.run.folder import RunFolder
from winnow.run.records import versions
from winnow.run.selection import ROUND, Row, Selection
from winnow.run.working import Working
from winnow.select.choose import kinds
from winnow.tables import read_table, table_text
from winnow.version import __version__

COLUMNS = ("rank", "id", "source", "time", "group", "method", "cluster", "stands_for", "why")
OUTLIER_COLUMNS = ("id", "source", "time", "group", "score", "p_value", "why")
BEFORE = "selection-before.csv"
DEPENDS_ON = {
    "seed": "another seed",
    "vectors_sha256": "other embeddings",
    "losses_sha256": "other pictures or losses",
    "detector_sha256": "another detector",
}
SHEET = 200  # pictures of a contact sheet
MAPPED = 1500  # pictures of a map


def select(
    run: RunFolder, number: int | None = None, *, also: Sequence[str | Path] = (), resume: bool = False
) -> Selected:
    """Write selection.csv, outliers.csv, selection.json, a contact sheet and a map; `number` defaults to the run's option.

    A list made with the same options, embeddings and scores is extended, never changed; another is made anew, and the one before
    kept in selection-before.csv. What is labelled already, in the run or in files `also` (see `winnow.label.formats`), is
    not chosen, and counts as covered. Where there are fewer pictures, all are taken, and a note says so. Raises `OptionError` without
    a number, `DataError` when no picture is left to choose,
    `InputError` for a file `also` that names none of them, `Damaged` when the list is not what was written.
    """
    from winnow.run.artifacts import check_parts

    with run.trying({"select": {"number": number}} if number is not None else {}):
        run.require("calibrate")
        if not run.options.select.number:
            raise OptionError(
                "How many pictures shall be chosen?", f"Say it: winnow select --run {quoted(run.path)} -n 125"
            )
        if resume and run.done("select"):
            return run.result(Selected)
        check_parts(run, "method")
        return grow(Selection(run), run.options.select.number, also)


def grow(selection: Selection, number: int, also: Sequence[str | Path]) -> Selected:
    """Make the list `number` long, a round by `number` longer, and write all that `select` does.

    A call that was killed after its list had taken the place of the old one has left what it was asked; asked the same
    again, it is not done twice.
    """
    run, identity = selection.run, selection.identity()
    labelled = selection.labelled(also)
    asked_file = run.path / STAGING / "select.json"
    with run.working("select") as step:
        made = _made(run)
        asked = {
            "number": number,
            "method": selection.method,
            "labelled": selection.embeddings.ids[labelled].tolist(),
            **identity,
        }
        before = made.get("sha256", "")
        done = run.record("select")
        last = {**asked, "list": done.result.get("grown_from") if done else None}
        if not (asked_file.exists() and read_json(asked_file) == last):
            found = _grown(selection, step, number, made, labelled, identity)
            write_json(asked_file, {**asked, "list": before})
            step.finish(found)
    selection.cache.keep()  # before it is forgotten what was asked: killed in between, the same question would be another round
    asked_file.unlink()
    return run.result(Selected)


def _grown(
    selection: Selection,
    step: Working,
    number: int,
    made: dict[str, Any],
    labelled: np.ndarray,
    identity: dict[str, Any],
) -> Selected:
    """Choose the rows that the list lacks, and write the list and what is drawn of it into the step's place."""
    run = selection.run
    changed = _changed(made, identity) if made else ""
    before = read_table(run.path / "selection.csv") if made and not changed else []
    asked = number + len(before) if selection.method == ROUND else number
    rows, notes = selection.choose(asked, before, labelled)
    table = [*before, *rows]
    if changed:
        notes.insert(0, f"A new list: the one before was made with {changed}; it is kept in {BEFORE}.")
    kind = kinds(selection.features)
    result = Selected(
        asked=asked,
        chosen=len(table),
        kept=len(before),
        method=selection.method,
        embeddings=selection.described(),
        candidates=len(selection.candidates),
        left_out=LeftOut(**selection.left_out, labelled=len(labelled)),
        kinds={
            str(name): (int((kind == name).sum()), int((kind[selection.rows(table)] == name).sum()))
            for name in np.unique(kind)
        },
        notes=[*selection.notes, *notes],
        grown_from=made.get("sha256", ""),
    )
    text = _text(selection.with_track(COLUMNS), [{**row, "track": selection.track_of(row)} for row in table])
    kept = run.path / ("selection.csv" if changed else BEFORE)
    if kept.exists():
        write_text(step.path(BEFORE), kept.read_text(encoding="utf-8"))
    write_text(step.path("selection.csv"), text)
    write_text(step.path("outliers.csv"), _text(selection.with_track(OUTLIER_COLUMNS), selection.outlier_table()))
    for name, data in _drawn(selection, table, kind).items():
        with replacing(step.path(name)) as temporary:
            temporary.write_bytes(data)
    digest = hashlib.sha256(text.encode()).hexdigest()
    about = {**as_json(result), **identity, "winnow": __version__, "versions": versions(), "sha256": digest}
    write_json(step.path("selection.json"), sealed(about))
    return result


def _made(run: RunFolder) -> dict[str, Any]:
    """Return what selection.json says of selection.csv, nothing when there is no list; `Damaged` when they do not fit."""
    manifest, table = run.path / "selection.json", run.path / "selection.csv"
    if not manifest.exists():
        return {}
    try:
        made = unsealed(manifest, read_json(manifest), "")
        fits = made["sha256"] == sha256(table)
    except (Damaged, FileNotFoundError, KeyError, TypeError):
        fits = False
    if fits:
        return made
    raise Damaged(
        f"{table} and {manifest.name} are not what was written.",
        f"Restore them; or keep a copy of {table.name} and remove {manifest.name}, to begin a new list.",
    )


def _changed(made: dict[str, Any], identity: dict[str, Any]) -> str:
    """In what a list differs from the one that is asked for, in words; nothing when it is the same."""
    options = made.get("options", {})
    words = [
        f"another --{name.replace('_', '-')}"
        for name, value in identity["options"].items()
        if options.get(name) != value
    ]
    return ", ".join([*words, *(word for name, word in DEPENDS_ON.items() if made.get(name) != identity[name])])


def _drawn(selection: Selection, table: Sequence[Row], kind: np.ndarray) -> dict[str, bytes]:
    """Contact sheets and the map as PNG, by their names."""
    from winnow.report.grids import picture_grid
    from winnow.report.selection import OUTLIER_KIND, choice_map

    chosen, n = selection.rows(table), len(kind)
    captions = [f"{row['rank']}\n{int(row['stands_for']):,} alike" for row in table[:SHEET]]
    shown = np.union1d(chosen[:MAPPED], spread(n, MAPPED))
    ranks = np.full(n, np.nan)
    ranks[chosen] = np.arange(1, len(chosen) + 1)
    kind = kind.copy()
    kind[selection.outliers] = OUTLIER_KIND
    drawn = {
        "selection.png": picture_grid(selection.pixels(chosen[:SHEET]), captions, columns=10),
        "selection-map.png": choice_map(selection.positions()[shown], kind[shown], ranks[shown]),
    }
    if len(selection.outliers):
        captions = [f"p {value:.2g}" for value in selection.p_values[selection.outliers[:SHEET]]]
        drawn["outliers.png"] = picture_grid(selection.pixels(selection.outliers[:SHEET]), captions, columns=10)
    return drawn


def _text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return table_text(columns, ([row[name] for name in columns] for row in rows))
