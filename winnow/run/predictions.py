"""Write the table of `winnow predict`, for predictions of a run or of an exported file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from winnow.classify.tracks import Tracks
from winnow.data.lists import LIST_SUFFIXES
from winnow.errors import OptionError
from winnow.objects.tracks import LONGEST_STEP
from winnow.options import IngestOptions
from winnow.results import Offender, Predicted
from winnow.results.judging import MOST_OFFENDERS
from winnow.run.discoveries import Batch
from winnow.run.judge import pages_of, seconds, tracks_of_items
from winnow.run.publish import Results, write_result
from winnow.tables import write_table

By = Literal["picture", "track"]
"""What has a class of its own: a picture, frame or crop, or all crops of a track together."""

NO_BATCH = Batch()
P_VALUE = "p_value"
NO_TRACK = "No crop has a track, so that --by track changed nothing: frames are too far apart, or a list names none."


def check_by(by: str, options: IngestOptions, sources: Iterable[str | Path], has_classes: bool = True) -> None:
    """Raise `OptionError` for `by` "track" where pictures of `sources`, read by these options, have no track, or get no class."""
    if by == "picture":
        return
    if not has_classes:
        raise OptionError(
            "--by track averages the classes of crops, and this file has no classifier.", "Leave --by out."
        )
    if not options.people:
        if any(Path(source).suffix.lower() in LIST_SUFFIXES for source in sources):
            return  # which may name the tracks of its pictures
        raise OptionError(
            "--by track needs crops of persons in videos, or a list that names tracks, and this run looks at whole pictures.",
            "Leave --by out, or give a list with a column track.",
        )
    if options.keyframes or options.every > LONGEST_STEP:
        how = "the key frames of a video" if options.keyframes else f"a frame every {options.every:g} s"
        raise OptionError(
            f"--by track needs frames at most {LONGEST_STEP:g} s apart, and this run reads {how}.",
            "Leave --by out, or make a run with --every 0.1.",
        )


def write_predictions(
    results: Results,
    items: dict[str, np.ndarray],
    *,
    refused: int,
    notes: Sequence[str] = (),
    classes: Sequence[str] = (),
    probabilities: np.ndarray | None = None,
    p_values: np.ndarray | None = None,
    belongs: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    regions: np.ndarray | None = None,
    defects: int | None = None,
    batch: Batch = NO_BATCH,
    by: By = "picture",
) -> Predicted:
    """Write predictions.csv, a row for each of n `items` (columns `id`, `source`, `time`, `page`, `track`), and, last, predictions.json.

    Of `probabilities` (n, classes) come the columns `class`, `probability` and `p_NAME` (see `_names_of`); of `p_values` (n,) and `belongs`
    (n,) bool those of the same names, of which `scores` (n,) say what belongs least, and of `regions` (n,) `region`; of a `batch` its
    own; what is not given has no columns. `defects` is how many were found. By "track", probabilities are averaged over each.
    """
    found: dict[str, int] | None = None
    anomalous, worst = None, list[Offender]()
    tracks = tracks_of_items(items)
    notes = [*notes, *([NO_TRACK] if by == "track" and not tracks else []), *([batch.note] if batch.note else [])]
    columns: list[tuple[str, Any]] = [
        ("id", items["id"]),
        ("source", items["source"]),
        ("time", map(seconds, items["time"])),
        *pages_of(items).items(),
        *tracks.items(),
    ]
    if probabilities is not None:
        if by == "track" and tracks:
            probabilities = Tracks.named(items["track"], len(items["track"])).averaged(probabilities)
        best = probabilities.argmax(axis=1)
        columns += [("class", [classes[kind] for kind in best]), ("probability", _decimals(probabilities.max(axis=1)))]
        columns += [(name, _decimals(column)) for name, column in zip(_names_of(classes), probabilities.T, strict=True)]
        found = {name: int((best == kind).sum()) for kind, name in enumerate(classes)}
    if p_values is not None and belongs is not None:
        columns += _verdicts(p_values, belongs, regions, batch)
        anomalous = int((~belongs).sum())
        worst = [] if scores is None else offenders(items, belongs, scores, p_values, regions)
    header, values = zip(*columns, strict=True)
    write_table(results.aside / "predictions.csv", header, zip(*values, strict=True))
    result = Predicted(
        len(items["id"]),
        refused,
        results.folder,
        found,
        anomalous,
        defects,
        list(notes),
        worst,
        batch.rate,
        batch.flagged,
    )
    write_result(results.aside / "predictions.json", result)
    return result


def _verdicts(
    p_values: np.ndarray, belongs: np.ndarray, regions: np.ndarray | None, batch: Batch
) -> list[tuple[str, Any]]:
    """Return the columns that say what belongs, each alone and as a batch."""
    return [
        (P_VALUE, [f"{value:.6g}" for value in p_values]),
        ("belongs", ["yes" if value else "no" for value in belongs]),
        *([] if regions is None else [("region", regions.tolist())]),
        *batch.columns.items(),
    ]


def offenders(
    items: dict[str, np.ndarray],
    belongs: np.ndarray,
    scores: np.ndarray,
    p_values: np.ndarray,
    regions: np.ndarray | None = None,
) -> list[Offender]:
    """Return the few of n `items` (columns `source`, `time`, `page`) that do not belong and score (n,) highest, the worst first, with
    the part that does not belong (n,) of each, where `regions` are given."""
    rows = np.flatnonzero(~belongs)
    rows = rows[np.argsort(-scores[rows], kind="stable")][:MOST_OFFENDERS]
    pages = pages_of(items).get("page")
    found = []
    for row in rows:
        time = seconds(items["time"][row])
        page = "" if pages is None else str(pages[row])
        where = f" at {time} s" if time else f", page {page}" if page else ""
        region = "" if regions is None else str(regions[row])
        found.append(Offender(f"{items['source'][row]}{where}", float(f"{p_values[row]:.6g}"), region))
    return found


def _names_of(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns of the classes' probabilities, of which none is `p_value`: a class 'value' has `p_value_`."""
    names = [f"p_{name}" for name in classes]
    for place, name in enumerate(names):
        if name == P_VALUE:
            while names[place] in (P_VALUE, *names[:place], *names[place + 1 :]):
                names[place] += "_"
    return names


def _decimals(values: np.ndarray) -> list[str]:
    return [f"{value:.4f}" for value in values]
