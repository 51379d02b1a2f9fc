"""The run's pictures as a choice sees them: candidates, outliers, duplicates, what is labelled, and the rows of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.options import SelectOptions
from winnow.pool.pool import Pool
from winnow.results.words import count
from winnow.run.apart import set_apart
from winnow.run.cache import Cache, kept_map
from winnow.run.current import sum_of_detector
from winnow.run.folder import RunFolder
from winnow.run.split import HELD_OUT, kept_apart, without
from winnow.select.choose import Choice, available, choose, fewer
from winnow.select.outliers import outliers_of
from winnow.select.tracks import stand_ins_of_tracks

OUTLIERS = "unlike most by the one-class score"
ROUND, UNCERTAIN = "round", "like most of the uncertain that no other stands for"
OF_TRACKS = "The last {:,} are further crops of tracks that are listed or labelled: no other track was left."
SET_ASIDE = "The last {:,} are outliers or duplicates: no others were left."
LEAST_P_VALUE = 1e-4  # smallest p-value that 'anomalous' tells from others

Row = dict[str, str]


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
        self.kept, self.embeddings = ~apart, without(everything, apart)
        held = f"{count(int(apart.sum()), 'picture')} given as 'validate' or 'calibrate' cannot be chosen."
        self.notes: list[str] = [held] if apart.any() else []
        self.row_of = {str(name): row for row, name in enumerate(self.embeddings.ids)}
        self.places = self.pool.rows_of(self.embeddings.ids)
        self.embeddings = replace(
            self.embeddings, groups=self.pool.column("group")[self.places]
        )  # quotas go by the user's
        self.sources, self.times = self.pool.column("source")[self.places], self.pool.column("time")[self.places]
        self.tracks = self.pool.column("track")[self.places]
        detector = load_detector(run)
        self.scores = own_scores(run, detector, len(everything), self.cache)[self.kept]
        self.p_values = detector.p_values(self.scores)
        self.everything = np.arange(len(self.embeddings))
        self.method, self.weights = run.options.select.method, np.ones(len(self.embeddings))
        if uncertain is not None:
            self.method, self.weights = ROUND, uncertain[self.kept]
        elif self.method == "anomalous":
            self.weights = by_anomaly(self.p_values)
        self._set_aside(run.options.select)

    def _set_aside(self, options: SelectOptions) -> None:
        """Part the outliers and the near-duplicates from the candidates."""

        def outliers_among(distinct: np.ndarray) -> np.ndarray:
            return outliers_of(self.scores, options.outliers, distinct)

        drawn = self.method == "random"
        found = set_apart(self.run, self.cache, self.pool, self.embeddings, outliers_among, drawn)
        self.features, self.candidates, self.outliers, duplicates = found
        self.left_out = {"duplicates": duplicates, "outliers": 0 if drawn else len(self.outliers)}

    def rows(self, table: Sequence[Row]) -> np.ndarray:
        """Rows of the pictures of a table."""
        return np.array([self.row_of[row["id"]] for row in table], int)

    def with_track(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns of a table, with the track behind the group where there are tracks."""
        place = columns.index("group") + 1
        return (*columns[:place], "track", *columns[place:]) if any(self.tracks) else columns

    def track_of(self, row: Row) -> str:
        """Return the track of a row of a table, which may have been written before there were tracks."""
        return self.tracks[self.row_of[row["id"]]] or ""

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

    def positions(self) -> np.ndarray:
        """Return where the pictures lie on the run's map, (n, 2)."""
        made_of = self.run.about("encode")["sha256"]["vectors.npy"]
        folder, n = self.run.folder("encode"), len(self.kept)
        return kept_map(self.cache, made_of, lambda: Embeddings.load(folder).vectors, n)[self.kept]

    def labelled(self, also: Sequence[str | Path]) -> np.ndarray:
        """Rows labelled or skipped already in the run, labelled in files, or by the sources where these did not label all.

        `InputError` when a file names none of the run's pictures.
        """
        from winnow.run.labels import read_store
        from winnow.run.truth import of_sources, records_in

        with read_store(self.run) as store:  # nor is what a person looked at and skipped shown to anybody once more
            ids = {item for item, state in store.states().items() if state.label is not None or state.skipped}
        known = set(of_sources(self.pool))
        if not known.issuperset(self.embeddings.ids.tolist()):  # otherwise nothing would be left to choose
            ids |= known
        if also:
            found, says, unknown = records_in(self.run, self.pool, also)
            self.notes += [f"Labelled elsewhere: {says}.", *unknown]
            ids |= set(found)
        return np.array(sorted(self.row_of[name] for name in ids if name in self.row_of), int)

    def choose(self, asked: int, before: Sequence[Row], labelled: np.ndarray) -> tuple[list[Row], list[str]]:
        """Return the rows that the table of `asked` rows lacks, as many as there are, and notes.

        What was set aside comes last, where nothing else is left. `DataError` where no picture is chosen and none can be.
        """
        options = self.run.options.select
        start = np.union1d(self.rows(before), labelled)
        left = self._available(self.everything, start)
        if not before and not left:
            labelled_or_full = "labelled, or of full groups" if options.per_group else "labelled already"
            raise DataError(
                f"None of {len(self.everything):,} pictures can be chosen: they are {labelled_or_full}.",
                "Add pictures to the run" + (", or allow more of a group." if options.per_group else "."),
            )
        if self.method == ROUND:
            note = fewer(asked - len(before), left, options.per_group, "more ")
        else:
            note = fewer(asked, len(before) + left, options.per_group)
        number, notes = min(max(0, asked - len(before)), left), [note] if note else []
        rows: list[Row] = []
        first, counts = self._first_of_tracks(start)
        for candidates, weights, note in (
            (first, counts, ""),
            (self.candidates, self.weights, OF_TRACKS),
            (self.everything, self.weights, SET_ASIDE),
        ):
            count = min(number - len(rows), self._available(candidates, start))
            if not count:
                continue
            notes += [note.format(count)] if note and candidates is not first else []
            found = self._chosen(count, candidates, start, len(before) + len(rows), weights)
            rows += self._table(found, len(before) + len(rows) + 1)
            start = np.union1d(start, found.rows)
        return rows, notes

    def _first_of_tracks(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates, of each track one, none of those that `start` has a crop of, and how much each counts (n,): for all
        that it stands for. All candidates where there are no tracks, or all are to be drawn from."""
        weights = self.weights.copy()
        if self.method == "random" or not any(self.tracks):
            return self.candidates, weights
        stands = stand_ins_of_tracks(self.embeddings.vectors, self.candidates, self.tracks, start)
        summed = np.zeros(len(weights))
        np.add.at(summed, stands[stands >= 0], weights[self.candidates[stands >= 0]])
        first = np.unique(stands[stands >= 0])
        weights[first] = summed[first]
        return first, weights

    def _available(self, rows: np.ndarray, start: np.ndarray) -> int:
        return available(np.setdiff1d(rows, start), start, self.embeddings.groups, self.run.options.select.per_group)

    def _chosen(
        self, count: int, candidates: np.ndarray, start: np.ndarray, listed: int, weights: np.ndarray
    ) -> Choice:
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
            weights=weights,
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
            "track": self.tracks[row] or "",
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
