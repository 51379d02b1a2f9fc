"""New pictures and frames judged by a run: their scores by the detector of a mode, by patch and by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from winnow.data.layouts import Reading
from winnow.detect.blank import counted, highest_of, raised
from winnow.detect.detector import Detector
from winnow.detect.limits import Limits, limits_of, p_values_by_parts
from winnow.detect.parts import names_of
from winnow.detect.pictures import by_picture, keys_of, most_anomalous
from winnow.detect.scorer import Scorer
from winnow.detect.threshold import Threshold
from winnow.pool.blank import bare_rows
from winnow.pool.ingest import read
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.results import Scored
from winnow.results.words import plural
from winnow.run.folder import RunFolder
from winnow.run.judging import PROBABILITIES, REGION, SCORE, JudgeWork, Judging, wanted_to_judge
from winnow.run.publish import read_result
from winnow.tables import read_table

if TYPE_CHECKING:
    from winnow.inspect.locate import Picture
    from winnow.inspect.wholes import Wholes

LONGEST = 150  # bytes of a source's name in that of its picture
ITEMS = ("id", "source", "group", "time", "page", "track")


@dataclass(frozen=True)
class Judged:
    """Scores of n pictures, frames or patches by the detector of a mode.

    `items` are columns (n,) of the pool, `others` the scores of further scorers, `refused` how many files could not be read,
    `notes` what was recognised of the folders, passed over and refused. `parts` (n,) are the patches of pictures judged as wholes;
    `bare` (n,) says which patches are blank as no good picture is: they are damage, and no more that may be a false alarm.
    `probabilities` (n, classes) are those of the run's classifier, where they were wanted. `foreign` (n, 4): which of
    `winnow.detect.parts.QUARTERS` are, where parts of pictures are judged too.
    """

    items: dict[str, np.ndarray]
    scores: np.ndarray
    others: dict[str, np.ndarray]
    mode: str
    detector: Detector
    refused: int
    notes: list[str] = field(default_factory=list)
    parts: np.ndarray | None = None
    bare: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    foreign: np.ndarray | None = None

    @cached_property
    def by_parts(self) -> Limits | None:
        """Return the thresholds by number of patches; None of items that have none."""
        return None if self.parts is None else limits_of(self.detector, self.detector.parts)

    @property
    def limits(self) -> np.ndarray:
        """Return the threshold of each (n,)."""
        by_parts = self.by_parts
        if by_parts is None or self.parts is None:
            return np.full(len(self.scores), self.threshold.value)
        return by_parts.of(self.parts)

    @property
    def threshold(self) -> Threshold:
        """Return the threshold of the detector."""
        return self.detector.threshold

    @property
    def p_values(self) -> np.ndarray:
        """Conformal p-values (n,)."""
        by_parts = self.by_parts
        if by_parts is None or self.parts is None:
            return self.detector.p_values(self.scores)
        return p_values_by_parts(self.detector, by_parts, self.scores, self.parts)

    @property
    def belongs(self) -> np.ndarray:
        """Return whether each belongs (n,)."""
        return self.scores <= self.limits

    @cached_property
    def regions(self) -> np.ndarray | None:
        """Return the name of the part that does not belong (n,), "" for pictures that belong; None where parts are not judged."""
        if self.foreign is None:
            return None
        return names_of(self.foreign, self.belongs)

    def whole(self) -> Judged:
        """Return the scores of pictures from those of their patches, by a detector calibrated on pictures."""
        keys = keys_of(self.items)
        _, scores, member = most_anomalous(keys, self.scores)
        first = np.unique(member, return_index=True)[1]
        others = {name: most_anomalous(keys, values)[1] for name, values in self.others.items()}
        items = {name: column[first] for name, column in self.items.items()}
        items["id"] = picture_of(items["id"])
        detector, parts = by_picture(self.detector), counted(member, self.bare)
        return replace(
            self,
            items=items,
            scores=scores,
            others=others,
            detector=detector,
            parts=parts,
            bare=None,
            probabilities=None,
        )

    def with_bare(self, bare: np.ndarray) -> Judged:
        """Return the same with the bare patches (n,) as damage, whatever the scorer says of them."""
        if not bare.any():
            return self
        whole = by_picture(self.detector)
        member = most_anomalous(keys_of(self.items), self.scores)[2]
        limits = limits_of(whole, whole.parts)
        return replace(self, bare=bare, scores=raised(self.scores, bare, member, highest_of(self.detector), limits.of))


def judge(
    run: RunFolder,
    sources: Sequence[str | Path],
    folder: Path,
    others: dict[str, Scorer] | None = None,
    *,
    reading: Reading | None = None,
    earlier: Path | None = None,
    classes: bool = False,
    made: JudgeWork | None = None,
) -> Judged:
    """Ingest sources into a pool in `folder` the way the run's own pictures were, and score its rows chunk by chunk.

    The rows are those of the sources, of which `reading` says what is read, in their order; what an `earlier` pool holds of
    them is not decoded again. By the run's mode; further scorers (`others`) can read only what that mode encodes, and the
    statistics of pixels. With `classes` the probabilities of the run's classifier are found too. `made`: shards that others
    have made of it, see `winnow.run.judging`.
    """
    judging = Judging(run, others, classes=classes)
    wanted = wanted_to_judge(run, sources, reading=reading, earlier=earlier)
    found = read(folder, wanted, made=made)
    pool = Pool.open(folder)
    unit = run.options.ingest.unit(len(pool), len(pool.pictures))
    with progress("score", len(pool), plural(unit)) as advance:
        columns = judging.columns(pool, advance, made)
    extra = {name: columns[name] for name in others or {}}
    probabilities = columns.get(PROBABILITIES)
    judged = Judged(
        _items(pool),
        columns[SCORE],
        extra,
        judging.mode,
        judging.deciding,
        found.refused,
        found.notes,
        probabilities=probabilities,
        foreign=columns.get(REGION),
    )
    return judged.with_bare(bare_rows(pool))


def locate(
    run: RunFolder, pool: Pool, judged: Judged, wanted: np.ndarray, wholes: Wholes | None = None
) -> Iterator[tuple[int, Picture]]:
    """Yield the row and the `Picture` of each wanted picture of a pool of judged patches: what is damaged, and where.

    Pixels are those of `wholes`, where given.
    """
    from winnow.inspect.locate import AnomalyMaps, located
    from winnow.run.artifacts import load_encoder, maps_by
    from winnow.run.map_levels import map_levels

    levels = map_levels(run, judged.mode)
    maps = None
    if levels is not None:
        draw = maps_by(load_encoder(run, judged.mode), judged.detector, run.options.train.device)
        assert draw is not None  # there are levels of it
        maps = AnomalyMaps(draw, *levels)
    yield from located(pool, judged.scores, judged.whole().limits, wanted, maps, wholes)


def larger_ones(judged: Judged) -> str:
    """Return a sentence where pictures have more patches than those that set the threshold, "" where none has."""
    if judged.by_parts is None or judged.parts is None:
        return ""
    return judged.by_parts.note(judged.parts, promised=not judged.detector.unpromised)


def wholes_of(run: RunFolder, pool: Pool, *, named: bool) -> Wholes | None:
    """Return what reads the pictures of a pool again, where the run scales what it judges.

    Addresses on the network are only opened when the sources were `named` in this call, or the address is trusted.
    """
    from winnow.inspect.wholes import Wholes
    from winnow.pool.originals import Originals
    from winnow.run.addresses import originals_of

    if not run.options.ingest.tiles:
        return None
    originals = Originals(pool, run.options.ingest) if named else originals_of(run, pool)
    return Wholes(originals.whole, pool.channels)


def most_anomalous_of(
    run: RunFolder, folder: Path, pool: Pool, most: int, wholes: Wholes | None
) -> Iterator[tuple[Picture, float]]:
    """Yield the most anomalous pictures of a finished `winnow score` and their scores, from what it left in `folder`.

    `pool` is what it judged; pixels are those of `wholes`, where given.
    """
    from winnow.run.artifacts import load_detector

    mode = read_result(Scored, folder / "scores.json").mode
    scores = np.array([float(row["score"]) for row in read_table(folder / "patches.csv")])
    judged = Judged(_items(pool), scores, {}, mode, load_detector(run, mode), 0, bare=bare_rows(pool))
    pictures = judged.whole()
    worst = np.argsort(-pictures.scores, kind="stable")[:most]
    for row, picture in locate(run, pool, judged, worst, wholes):
        yield picture, float(pictures.scores[row])


def _items(pool: Pool) -> dict[str, np.ndarray]:
    return {name: pool.column(name) for name in ITEMS}


def verdicts(judged: Judged) -> tuple[list[str], list[str], list[str]]:
    """Return score, p-value and verdict of each row, as tables have them."""
    return (
        [f"{value:.6g}" for value in judged.scores],
        [f"{value:.6g}" for value in judged.p_values],
        ["yes" if value else "no" for value in judged.belongs],
    )


def video_rows(items: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return every video among the items with the rows of its frames."""
    frames = np.flatnonzero(~np.isnan(items["time"].astype(float)))
    names, first, which = np.unique(items["source"][frames].astype(str), return_index=True, return_inverse=True)
    return [(str(names[i]), frames[which == i]) for i in np.argsort(first)]


def seconds(time: float | None) -> str:
    """Return a frame's time as tables have it; a picture has none."""
    return "" if time is None or np.isnan(time) else f"{time:.3f}"


def pages_of(items: dict[str, np.ndarray]) -> dict[str, list[int | None]]:
    """Return the further column of tables with files of several pages or frames: the page of each; none without such files."""
    pages: list[int | None] = items["page"].tolist()
    return {} if all(page is None for page in pages) else {"page": pages}


def tracks_of_items(items: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Return the further column of tables with crops of persons who were followed: the track of each; none without such crops."""
    tracks: list[str | None] = items["track"].tolist()
    return {"track": [track or "" for track in tracks]} if any(tracks) else {}


def regions_of(judged: Judged) -> dict[str, list[str]]:
    """Return the further column of tables where parts of pictures are judged: which part does not belong; none where they are not."""
    return {} if judged.regions is None else {"region": judged.regions.tolist()}


def shortened(name: str) -> str:
    """Return a source's name as names of its pictures have it: file systems take 255 bytes in all, people no line breaks."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in name)
    return shown.encode()[:LONGEST].decode(errors="ignore")
