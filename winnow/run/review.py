"""The run's own pictures that hold the threshold up, for a person to look at and to leave out of the next calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.errors import DataError
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.tables import read_table, write_table

REVIEW = "review.csv"
MARK = "leave_out"
COLUMNS = (MARK, "id", "source", "score", "p_value")


def left_out(run: Path) -> list[str]:
    """Return the ids, sorted, that a person marked in a run's review.csv; none where there is no such file.

    Raises `Damaged` for a file that is no such table, `DataError` for one that lacks the column of marks or of ids.
    """
    path = run / REVIEW
    if not path.exists():
        return []
    rows = read_table(path)
    for name in (MARK, "id"):
        if rows and name not in rows[0]:
            raise DataError(
                f"{path} has no column '{name}'.", f"Give it the columns id and {MARK}, or remove the file."
            )
    return sorted({row["id"] for row in rows if row[MARK].strip().lower() not in ("", "0", "no", "false")})


def staying(run: Path, ids: np.ndarray) -> np.ndarray:
    """Return which of the embeddings with these ids (n,) stay: all but those of pictures that were marked.

    Raises `DataError` for a marked picture that the run does not have.
    """
    marked = left_out(run)
    if not marked:
        return np.ones(len(ids), bool)
    pictures = picture_of(ids).astype(str)
    unknown = sorted(set(marked) - set(pictures.tolist()))
    if unknown:
        raise DataError(f"{run / REVIEW} marks '{unknown[0]}', which is no picture of this run.", "Remove the row.")
    return ~np.isin(pictures, marked)


def write_review(path: Path, detector: Detector, pool: Pool, marked: list[str]) -> None:
    """Write review.csv: the pictures left out, which keep their marks, then those above the threshold, most anomalous first."""
    whole = by_picture(detector)
    sources = dict(zip(picture_of(pool.column("id")).tolist(), pool.column("source").tolist(), strict=True))
    rows = whole.extremes
    scores = whole.calibration[rows]
    write_table(
        path,
        COLUMNS,
        [("x", name, sources[name], "", "") for name in marked]
        + [
            ("", name, sources[name], f"{score:.6g}", f"{p:.6g}")
            for name, score, p in zip(whole.ids[rows].tolist(), scores, whole.p_values(scores), strict=True)
        ],
    )


def highest_items(detector: Detector, whole: Detector, most: int, least: int) -> tuple[list[str], list[str]]:
    """Return the pictures above the threshold of `whole`, the highest first, at most `most`, and of each the item that scores highest.

    `whole` is the detector calibrated on what is judged: pictures cut into patches, of which the highest patch is returned, or
    the items themselves, as pictures and crops are. Where fewer than `least` are above it, those nearest below follow.
    """
    ranked = np.argsort(-whole.calibration, kind="stable")
    pictures = whole.ids[ranked][: min(most, max(least, len(whole.extremes)))].astype(str).tolist()
    if whole is detector:
        return pictures, pictures
    order = np.argsort(-detector.calibration, kind="stable")
    names, first = np.unique(picture_of(detector.ids[order]).astype(str), return_index=True)
    highest = dict(zip(names.tolist(), detector.ids[order[first]].tolist(), strict=True))
    return pictures, [highest[name] for name in pictures]


def described(pool: Pool, pictures: list[str]) -> list[str]:
    """Return how a person knows pictures: by the name of the file, of frames also the time."""
    place = {name: row for row, name in enumerate(picture_of(pool.column("id")).tolist())}
    sources, times = pool.column("source"), pool.column("time")
    rows = [place[name] for name in pictures]
    return [Path(str(sources[row])).name + ("" if np.isnan(times[row]) else f" at {times[row]:.1f} s") for row in rows]
