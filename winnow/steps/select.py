"""Choose the pictures worth a person's time: an ordered list that grows without changing what was chosen before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow.embeddings import Embeddings
from winnow.errors import Damaged, DataError, OptionError
from winnow.files import read_json, replacing, sealed, sha256, unsealed, write_json, write_text
from winnow.options import SelectOptions
from winnow.pool.pool import Pool
from winnow.results import LeftOut, Selected, as_json
from winnow.run.cache import Cache, kept_features, kept_stand_ins, sum_of
from winnow.run.commit import STAGING
from winnow.run.current import sum_of_detector
from winnow.run.folder import RunFolder
from winnow.run.records import versions
from winnow.run.split import HELD_OUT, kept_apart, without
from winnow.run.working import Working
from winnow.select.choose import Choice, available, choose, kinds
from winnow.select.outliers import outliers_of
from winnow.tables import read_table, table_text
from winnow.version import __version__

COLUMNS = ("rank", "id", "source", "time", "group", "method", "cluster", "stands_for", "why")
OUTLIER_COLUMNS = ("id", "source", "time", "group", "score", "p_value", "why")
OUTLIERS = "unlike most by the one-class score"
BEFORE = "selection-before.csv"
DEPENDS_ON = {
    "seed": "another seed",
    "vectors_sha256": "other embeddings",
    "losses_sha256": "other pictures or losses",
    "detector_sha256": "another detector",
}
ROUND, UNCERTAIN = "round", "like most of the uncertain that no other stands for"
SHEET = 200  # pictures of a contact sheet
MAPPED = 1500  # pictures of a map
LEAST_P_VALUE = 1e-4  # smallest p-value that 'anomalous' tells from others

Row = dict[str, str]


def select(
    run: RunFolder, number: int | None = None, *, also: Sequence[str | Path] = (), resume: bool = False
) -> Selected:
    """Write selection.csv, outliers.csv, selection.json, a contact sheet and a map; `number` defaults to the run's option.

    A list made with the same options, embeddings and scores is extended, never changed; another is made anew, and the one before
    kept in selection-before.csv. What is labelled already, in the run or in files `also` (see `winnow.label.formats`), is
    not chosen, and counts as covered. Raises `OptionError` without a number, `DataError` when there are too few pictures,
    `InputError` for a file `also` that names none of them, `Damaged` when the list is not what was written.
    """
    from winnow.run.artifacts import check_parts

    with run.trying({"select": {"number": number}} if number is not None else {}):
        run.require("calibrate")
        if not run.options.select.number:
            raise OptionError("How many pictures shall be chosen?", f"Say it: winnow select --run {run.path} -n 125")
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
    text = _text(COLUMNS, table)
    kept = run.path / ("selection.csv" if changed else BEFORE)
    if kept.exists():
        write_text(step.path(BEFORE), kept.read_text(encoding="utf-8"))
    write_text(step.path("selection.csv"), text)
    write_text(step.path("outliers.csv"), _text(OUTLIER_COLUMNS, selection.outlier_table()))
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


class Selection:
    """The run's pictures as a selector needs them: rows are those of the embeddings.

    With `uncertain` (n,), the next round of labels is chosen: herding in which each picture counts as its class is uncertain.
    """

    def __init__(self, run: RunFolder, uncertain: np.ndarray | None = None) -> None:
        from winnow.run.artifacts import load_detector, own_scores

        self.run, self.pool, self.cache = run, Pool.open(run.folder("ingest")), Cache(run)
        everything = Embeddings.load(run.folder("encode"))
        # What the user gave to hold out is not learnt from, so a label there would be lost.
        apart = kept_apart(self.pool, everything, *HELD_OUT)
        rows, self.embeddings = np.flatnonzero(~apart), without(everything, apart)
        held = f"{apart.sum():,} pictures given as 'validate' or 'calibrate' are no candidates."
        self.notes: list[str] = [held] if apart.any() else []
        self.row_of = {str(name): row for row, name in enumerate(self.embeddings.ids)}
        self.places = self.pool.rows_of(self.embeddings.ids)
        self.embeddings = replace(
            self.embeddings, groups=self.pool.column("group")[self.places]
        )  # quotas go by the user's
        self.sources, self.times = self.pool.column("source")[self.places], self.pool.column("time")[self.places]
        detector = load_detector(run)
        self.scores = own_scores(run, detector, len(everything), self.cache)[rows]
        self.p_values = detector.p_values(self.scores)
        self.everything = np.arange(len(self.embeddings))
        self.method, self.weights = run.options.select.method, np.ones(len(self.embeddings))
        if uncertain is not None:
            self.method, self.weights = ROUND, uncertain[rows]
        elif self.method == "anomalous":
            self.weights = by_anomaly(self.p_values)
        self._set_aside(run.options.select)

    def _set_aside(self, options: SelectOptions) -> None:
        """Part the outliers and the near-duplicates from the candidates."""
        self.outliers = outliers_of(self.scores, options.outliers)
        usual = np.setdiff1d(self.everything, self.outliers)
        made_of = self.run.sums("encode").get("vectors.npy"), sum_of(self.embeddings.ids, usual)
        self.features = kept_features(self.cache, made_of, self.embeddings.vectors, usual)
        if self.method == "random":  # of a part of the pictures, a random choice would tell nothing of all
            self.candidates, self.left_out = self.everything, {"duplicates": 0, "outliers": 0}
            self.counts = np.ones(len(self.everything))
            return
        alike = kept_stand_ins(
            self.cache,
            made_of,
            self.embeddings.vectors,
            options.duplicate_distance,
            rows=usual,
            sources=self.sources[usual],
            times=self.times[usual],
            seconds=options.duplicate_seconds,
        )
        stays = alike == np.arange(len(usual))
        self.candidates = usual[stays]
        self.left_out = {"duplicates": len(usual) - len(self.candidates), "outliers": len(self.outliers)}
        # A person who stood there for a minute counts for all her pictures, though one of them is a candidate.
        self.counts = np.ones(len(self.everything))
        np.add.at(self.counts, usual[alike[~stays]], 1)

    def rows(self, table: Sequence[Row]) -> np.ndarray:
        """Rows of the pictures of a table."""
        return np.array([self.row_of[row["id"]] for row in table], int)

    def identity(self) -> dict[str, Any]:
        """Return what a list depends on: another list is begun when it changes."""
        embeddings = self.run.about("encode")["sha256"]
        return {
            "options": self.run.options.select.model_dump(mode="json", exclude={"number"}),
            "seed": self.run.options.train.seed,
            "vectors_sha256": embeddings["vectors.npy"],
            "losses_sha256": embeddings["losses.parquet"],
            "detector_sha256": sum_of_detector(self.run, self.run.options.score.mode),
        }

    def described(self) -> str:
        """Return which embeddings are chosen by."""
        model, width = self.run.options.model, self.embeddings.vectors.shape[1]
        details = {"pretrained": f"pretrained {model.backbone}", "autoencoder": f"autoencoder '{model.architecture}'"}
        return f"{details.get(model.model, model.model)}, {width:,} dimensions"

    def labelled(self, also: Sequence[str | Path]) -> np.ndarray:
        """Rows labelled already, in the run, in files, or by the sources where these did not label all.

        `InputError` when a file names none of the run's pictures.
        """
        from winnow.run.labels import labels
        from winnow.run.truth import of_sources, records_in

        ids, known = set(labels(self.run)), set(of_sources(self.pool))
        if not known.issuperset(self.embeddings.ids.tolist()):  # otherwise nothing would be left to choose
            ids |= known
        if also:
            found, says, unknown = records_in(self.run, self.pool, also)
            self.notes += [f"Labelled elsewhere: {says}.", *unknown]
            ids |= set(found)
        return np.array(sorted(self.row_of[name] for name in ids if name in self.row_of), int)

    def choose(self, asked: int, before: Sequence[Row], labelled: np.ndarray) -> tuple[list[Row], list[str]]:
        """Return the rows that the table of `asked` rows lacks, and notes; what was set aside comes last, where nothing else is left."""
        options = self.run.options.select
        start = np.union1d(self.rows(before), labelled)
        number, left = max(0, asked - len(before)), self._available(self.everything, start)
        if number > left:
            limit = f"fit into --per-group {options.per_group}" if options.per_group else "are not labelled yet"
            raise DataError(
                f"{asked:,} pictures were asked for; {len(before):,} are chosen, and only {left:,} more {limit}.",
                f"Ask for {len(before) + left:,} or fewer, or {'allow more of a group' if options.per_group else 'add pictures'}.",
            )
        rows: list[Row] = []
        notes = []
        for candidates in (self.candidates, self.everything):
            count = min(number - len(rows), self._available(candidates, start))
            if not count:
                continue
            if candidates is not self.candidates:
                notes.append(f"The last {count:,} are outliers or duplicates: no others were left.")
            found = self._chosen(count, candidates, start, len(before) + len(rows))
            rows += self._table(found, len(before) + len(rows) + 1)
            start = np.union1d(start, found.rows)
        return rows, notes

    def _available(self, rows: np.ndarray, start: np.ndarray) -> int:
        return available(np.setdiff1d(rows, start), start, self.embeddings.groups, self.run.options.select.per_group)

    def _chosen(self, count: int, candidates: np.ndarray, start: np.ndarray, listed: int) -> Choice:
        options = self.run.options.select
        return choose(
            self.embeddings,
            count,
            "herding" if self.method == ROUND else options.method,
            seed=self.run.options.train.seed + listed,
            pick=options.pick,
            candidates=candidates,
            features=self.features,
            start=start,
            weights=self.counts * self.weights,
            per_group=options.per_group,
            random_share=0.0 if self.method == ROUND else options.random_share,
        )

    def _table(self, found: Choice, first: int) -> list[Row]:
        columns = zip(found.rows, found.kind, found.stands_for, found.why, strict=True)
        return [
            {
                "rank": str(rank),
                **self._about(row),
                "method": self.method,
                "cluster": str(kind),
                "stands_for": str(count),
                "why": UNCERTAIN if self.method == ROUND else why,
            }
            for rank, (row, kind, count, why) in enumerate(columns, start=first)
        ]

    def _about(self, row: int) -> Row:
        moment = self.times[row]
        return {
            "id": str(self.embeddings.ids[row]),
            "source": str(self.sources[row]),
            "time": "" if np.isnan(moment) else f"{moment:.3f}",
            "group": str(self.embeddings.groups[row]),
        }

    def outlier_table(self) -> list[Row]:
        """Return the table of the outliers."""
        return [
            {
                **self._about(row),
                "score": f"{self.scores[row]:.6g}",
                "p_value": f"{self.p_values[row]:.4g}",
                "why": OUTLIERS,
            }
            for row in self.outliers
        ]

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Pictures to look at: crops, which the pool holds squeezed into one size, at their own proportions."""
        from winnow.pool.patches import read_boxes
        from winnow.report.selection import in_proportion

        places = self.places[rows]
        if not self.run.options.ingest.people:
            return self.pool.pixels(places)
        boxes = read_boxes(self.pool.column("box")[places])
        return in_proportion(self.pool.pixels(places), boxes[:, 2] / boxes[:, 3])


def by_anomaly(p_values: np.ndarray) -> np.ndarray:
    """Return how much each picture counts (n,) for the method 'anomalous'."""
    return -np.log(np.maximum(p_values, LEAST_P_VALUE))


def _drawn(selection: Selection, table: Sequence[Row], kind: np.ndarray) -> dict[str, bytes]:
    """Contact sheets and the map as PNG, by their names."""
    from winnow.report.grids import picture_grid
    from winnow.report.selection import OUTLIER_KIND, choice_map, flat_map

    chosen, features = selection.rows(table), selection.features
    captions = [f"{row['rank']}\n{int(row['stands_for']):,} alike" for row in table[:SHEET]]
    shown = np.union1d(chosen[:MAPPED], np.linspace(0, len(features) - 1, min(len(features), MAPPED)).astype(int))
    ranks = np.full(len(features), np.nan)
    ranks[chosen] = np.arange(1, len(chosen) + 1)
    kind = kind.copy()
    kind[selection.outliers] = OUTLIER_KIND
    drawn = {
        "selection.png": picture_grid(selection.pixels(chosen[:SHEET]), captions, columns=10),
        "selection-map.png": choice_map(flat_map(features[shown]), kind[shown], ranks[shown]),
    }
    if len(selection.outliers):
        captions = [f"p {value:.2g}" for value in selection.p_values[selection.outliers[:SHEET]]]
        drawn["outliers.png"] = picture_grid(selection.pixels(selection.outliers[:SHEET]), captions, columns=10)
    return drawn


def _text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return table_text(columns, ([row[name] for name in columns] for row in rows))
