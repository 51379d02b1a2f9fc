"""Choose the pictures worth a person's time: an ordered list that grows without changing what was chosen before."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from winnow import __version__
from winnow.data.pool import Pool
from winnow.detect.detector import Detector
from winnow.errors import Damaged, InputError, OptionError
from winnow.files import read_json, replacing, sha256, write_json, write_text
from winnow.learn.encodings import Encodings
from winnow.options import SelectOptions
from winnow.run import RunFolder
from winnow.select.odd import unusual

COLUMNS = ("rank", "id", "source", "time", "group", "method", "cluster", "stands_for", "why")
ODD_COLUMNS = ("id", "source", "time", "group", "score", "p_value", "why")
ODD = "unlike most by the one-class score"
SHEET = 200  # pictures of a contact sheet
MAPPED = 1500  # pictures of a map
STRANGEST = 1e-4  # smallest p-value that 'foreign' tells from others


def select(run: RunFolder, number: int | None = None, *, also: Sequence[str | Path] = (), resume: bool = False) -> dict[str, Any]:
    """Writes selection.csv, odd.csv, selection.json, a contact sheet and a map; `number` defaults to the run's option.

    A list made with the same options and codes is extended, never changed; another is made anew. What is labelled already,
    in the run or in files `also` (see `winnow.label.formats`), is not chosen, and counts as covered. Raises `OptionError`
    without a number, `DataError` when there are too few pictures.
    """
    run.require("calibrate")
    if number is not None:
        run.update({"select": {"number": number}})
    options = run.options.select
    if not options.number:
        raise OptionError("How many pictures shall be chosen?", f"Say it: winnow select --run {run.path} -n 125")
    if resume and run.done("select"):
        return run.result("select")
    started = time.perf_counter()
    desk = _Desk(run)
    before = desk.earlier(options)
    labelled = desk.labelled(also)
    odd = unusual(desk.scores, options.odd)
    more = max(0, options.number - len(before))
    rows = desk.choose(options, more, before, np.union1d(desk.rows(before), labelled), odd)
    table = [*before, *rows]
    _write_table(run.path / "odd.csv", ODD_COLUMNS, desk.odd_rows(odd))
    _write_table(run.path / "selection.csv", COLUMNS, table)
    _draw(run, desk, table, odd)
    result = {
        "asked": options.number,
        "chosen": len(table),
        "kept": len(before),
        "method": options.method,
        "codes": desk.described(),
        "left_out": {"near": desk.near, "odd": len(odd), "labelled": len(labelled)},
        "candidates": desk.candidates,
        "note": desk.note,
    }
    write_json(run.path / "selection.json", {**result, **desk.manifest(options), "sha256": sha256(run.path / "selection.csv")})
    run.record("select", started, **result)
    return run.result("select")


class _Desk:
    """The run's pictures as a selector needs them: rows are those of the encodings."""

    def __init__(self, run: RunFolder) -> None:
        from winnow.steps.parts import load_detector

        self.run, self.pool = run, Pool.open(run.folder("ingest"))
        self.encodings = Encodings.load(run.folder("encode"))
        self.row_of = {str(name): row for row, name in enumerate(self.encodings.ids)}
        places = {str(name): place for place, name in reversed(list(enumerate(self.pool.column("id"))))}
        self.places = np.array([places[str(name)] for name in self.encodings.ids])
        self.sources, self.times = self.pool.column("source")[self.places], self.pool.column("time")[self.places]
        self.detector: Detector = load_detector(run)
        self.scores = self._scores()
        self.points = np.empty(0)
        self.near, self.candidates, self.note = 0, 0, ""

    def _scores(self) -> np.ndarray:
        """One-class scores (n,), of pictures held out in the calibration those given then."""
        scores = self.detector.score(self.encodings)
        known = [self.row_of[str(name)] for name in self.detector.ids]
        scores[known] = self.detector.calibration
        return scores

    def rows(self, table: Sequence[dict[str, str]]) -> np.ndarray:
        """Rows of the pictures of a table."""
        return np.array([self.row_of[row["id"]] for row in table], int)

    def earlier(self, options: SelectOptions) -> list[dict[str, str]]:
        """The list that is there, when it was made with these options from these codes, whatever its length."""
        path = self.run.path / "selection.json"
        if not path.exists():
            return []
        made = read_json(path)
        if {name: made[name] for name in ("options", "seed", "codes_sha256")} != self._identity(options):
            return []
        table = self.run.path / "selection.csv"
        if sha256(table) != made["sha256"]:
            raise Damaged(f"{table} is not what was written.", "Rename it, and remove selection.json, to begin a new list.")
        with table.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _identity(self, options: SelectOptions) -> dict[str, Any]:
        kept = options.model_dump(mode="json", exclude={"number"})
        codes = read_json(self.run.folder("encode") / "encodings.json")["sha256"]["codes.npy"]
        return {"options": kept, "seed": self.run.options.train.seed, "codes_sha256": codes}

    def manifest(self, options: SelectOptions) -> dict[str, Any]:
        """What makes the choice repeatable: options, seed, the hash of the codes, versions."""
        return {**self._identity(options), "winnow": __version__, "versions": self.run.content["versions"]}

    def described(self) -> str:
        """Which codes are chosen by."""
        model, width = self.run.options.model, self.encodings.codes.shape[1]
        name = f"pretrained {model.backbone}" if model.model == "pretrained" else f"{model.model} '{model.architecture}'"
        return f"{name}, {width:,} dimensions"

    def labelled(self, also: Sequence[str | Path]) -> np.ndarray:
        """Rows labelled already, in the run or in files; `InputError` when a file names none of the run's pictures."""
        from winnow.label.exchange import MATCHING, matched
        from winnow.label.formats import read
        from winnow.steps.label import catalogue_of, labels

        ids = set(labels(self.run))
        catalogue = catalogue_of(self.run, self.pool) if also else None
        for path in map(Path, also):
            assert catalogue is not None
            found, _ = matched(read(path), catalogue)
            if not found:
                raise InputError(f"{path} names no picture of {self.run.path}.", MATCHING)
            ids |= set(found)
        return np.array(sorted(self.row_of[name] for name in ids if name in self.row_of), int)

    def choose(
        self, options: SelectOptions, number: int, before: Sequence[dict[str, str]], start: np.ndarray, odd: np.ndarray
    ) -> list[dict[str, str]]:
        """The next rows of the table."""
        from winnow.select.choose import choose
        from winnow.select.geometry import whitened
        from winnow.select.near import distinct

        usual = np.setdiff1d(np.arange(len(self.encodings)), odd)
        stays = distinct(
            self.encodings.codes[usual], options.near, sources=self.sources[usual], times=self.times[usual], seconds=options.near_seconds
        )
        candidates = usual[stays]
        self.near = len(usual) - len(candidates)
        free = len(np.setdiff1d(candidates, start))
        if number > free:
            candidates = np.arange(len(self.encodings))
            self.note = f"Only {free:,} pictures are neither odd nor near-duplicates; the others had to be chosen from too."
        if options.method == "random":
            candidates = np.arange(len(self.encodings))
        self.candidates = len(candidates)
        self.points = whitened(self.encodings.codes, usual)
        found = choose(
            self.encodings,
            number,
            options.method,
            seed=self.run.options.train.seed + len(before),
            pick=options.pick,
            candidates=candidates,
            points=self.points,
            start=start,
            weights=-np.log(np.maximum(self.detector.p_values(self.scores), STRANGEST)) if options.method == "foreign" else None,
            per_group=options.per_group,
            random_share=options.random_share,
        )
        columns = zip(found.rows, found.kind, found.stands_for, found.why, strict=True)
        return [
            {
                "rank": str(rank),
                **self._about(row),
                "method": options.method,
                "cluster": str(kind),
                "stands_for": str(count),
                "why": why,
            }
            for rank, (row, kind, count, why) in enumerate(columns, start=len(before) + 1)
        ]

    def _about(self, row: int) -> dict[str, str]:
        moment = self.times[row]
        return {
            "id": str(self.encodings.ids[row]),
            "source": str(self.sources[row]),
            "time": "" if np.isnan(moment) else f"{moment:.3f}",
            "group": str(self.encodings.groups[row]),
        }

    def odd_rows(self, odd: np.ndarray) -> list[dict[str, str]]:
        """The table of the odd lane."""
        values = self.detector.p_values(self.scores)
        return [
            {**self._about(row), "score": f"{self.scores[row]:.6g}", "p_value": f"{values[row]:.4g}", "why": ODD}
            for row in odd
        ]


def _draw(run: RunFolder, desk: _Desk, table: Sequence[dict[str, str]], odd: np.ndarray) -> None:
    """Writes contact sheets and the map as PNG."""
    from winnow.report.choice import choice_map, flat_map
    from winnow.report.grids import picture_grid
    from winnow.select.choose import kinds

    chosen = desk.rows(table)
    captions = [f"{row['rank']}\nfor {int(row['stands_for']):,}" for row in table[:SHEET]]
    sheet = picture_grid(desk.pool.pixels(desk.places[chosen[:SHEET]]), captions, columns=10)
    points = desk.points
    shown = np.union1d(chosen[:MAPPED], np.linspace(0, len(points) - 1, min(len(points), MAPPED)).astype(int))
    ranks = np.full(len(points), np.nan)
    ranks[chosen] = np.arange(1, len(chosen) + 1)
    kind = kinds(points)
    drawn = {"selection.png": sheet, "selection-map.png": choice_map(flat_map(points[shown]), kind[shown], ranks[shown])}
    if len(odd):
        drawn["odd.png"] = picture_grid(desk.pool.pixels(desk.places[odd[:SHEET]]), columns=10)
    for name, data in drawn.items():
        with replacing(run.path / name) as temporary:
            temporary.write_bytes(data)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
