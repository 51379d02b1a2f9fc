"""Judge new pictures and videos with a finished run: a score, a p-value and a verdict each, and segments of a video.

Pictures that are cut into patches are judged patch by patch and as wholes, and their defects are located.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from winnow.data.cuts import clock_of, length_of
from winnow.detect.discoveries import check_discoveries
from winnow.detect.drift import BLOCK, check_alarm
from winnow.detect.parts import most_named
from winnow.detect.segments import ffconcat, segments, smoothed
from winnow.errors import InputError, OptionError
from winnow.files import replacing, write_text
from winnow.inspect.wholes import Wholes
from winnow.options import SegmentOptions
from winnow.pool.blank import blanker_ones
from winnow.pool.patches import read_boxes
from winnow.pool.pool import Pool
from winnow.pool.usual import Usual
from winnow.results import Drifted, Scored, Segment, VideoScored
from winnow.run.current import key_of_judging
from winnow.run.discoveries import batch_of
from winnow.run.drift import drifting
from winnow.run.folder import RunFolder
from winnow.run.judge import (
    Judged,
    judge,
    larger_ones,
    locate,
    pages_of,
    regions_of,
    seconds,
    shortened,
    verdicts,
    video_rows,
    wholes_of,
)
from winnow.run.judging import JudgeWork, judged_by
from winnow.run.located import write_located
from winnow.run.predictions import offenders
from winnow.run.publish import HEATMAPS, SCORES, Results, list_refused, publish, write_result
from winnow.run.where import place_of_results
from winnow.tables import write_table

EARLY = 1.0  # seconds by which a part of a cut list may begin early without a word


def score(
    run: RunFolder,
    sources: Sequence[str | Path],
    *,
    to: str | Path | None = None,
    heatmaps: str | Path | None = None,
    runner: str = "local",
    workers: int = 0,
    false_discoveries: float | None = None,
    drift_alarm: float | None = None,
    drift_block: float = BLOCK,
    made: JudgeWork | None = None,
) -> Scored:
    """Score sources and write `scores.csv`, `segments.csv`, and per video a cut list and a picture of the score over time.

    Of pictures cut into patches `scores.csv` has a row a picture, `patches.csv` one a patch and `defects.csv` one a defect;
    the folder `heatmaps` gets an anomaly map, a mask and an overlay of each. The rest goes to `to`, by default the run's folder
    `scores`, and replaces what an earlier call left there, all at once; `scores.json`, the result, comes last. Pictures are judged
    by so many `workers` of a runner, or were judged in shards (`made`). With a rate of `false_discoveries` two columns more say which
    pictures are flagged so that on average at most such a share of them belongs. With a `drift_alarm` it is said whether the threshold
    holds for these pictures, in their order, and drift.html shows it: one frame counts of each `drift_block` seconds of a video.
    """
    check_discoveries(false_discoveries)
    if drift_alarm is not None:
        check_alarm(drift_alarm)
    if not drift_block > 0:
        raise OptionError(f"--drift-block is {drift_block:g}; it must be above 0 seconds.")
    if heatmaps is not None and not run.options.ingest.cuts:
        raise OptionError(
            "--heatmaps needs a run that looks for damage, in tiles or patches.",
            "Make one: winnow run inspect SOURCES --to RUN",
        )
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(Results(to or run.path / "scores", SCORES, run.path))
        drawn = [] if heatmaps is None else [stack.enter_context(Results(heatmaps, HEATMAPS, run.path))]
        pool = results.aside / "pool"
        made = made or judged_by(run, sources, place_of_results(to or results.folder), "score", runner, workers)
        judged = judge(run, sources, pool, earlier=results.folder / "pool", made=made)
        list_refused(results.aside, {"": pool})
        drift = None if drift_alarm is None else _drift(run, judged, pool, results.aside, drift_alarm, drift_block)
        scored = _write(run, judged, results, drawn[0].aside if drawn else None, false_discoveries, drift)
        if not run.options.ingest.cuts:  # the report draws the damage in those; of others nobody asked for the pixels
            shutil.rmtree(pool)
        publish(results, *drawn)
    if made is not None:
        made.shards.remove()
    return scored


def _write(
    run: RunFolder,
    judged: Judged,
    results: Results,
    heatmaps: Path | None,
    false_discoveries: float | None,
    drift: Drifted | None,
) -> Scored:
    """Write the tables and pictures of what was judged, and the result."""
    folder, found = results.aside, _Inspected()
    if run.options.ingest.cuts:
        pictures = judged.whole()
        found = _inspect(run, judged, pictures, folder, heatmaps)
        judged = pictures
    items, pages, regions = judged.items, pages_of(judged.items), regions_of(judged)
    batch = batch_of(judged, false_discoveries)
    write_table(
        folder / "scores.csv",
        ("id", "source", "time", *pages, "score", "p_value", "belongs", *regions, *batch.columns, *found.columns),
        zip(
            items["id"],
            items["source"],
            map(seconds, items["time"]),
            *pages.values(),
            *verdicts(judged),
            *regions.values(),
            *batch.columns.values(),
            *found.columns.values(),
            strict=True,
        ),
    )
    scored = Scored(
        mode=judged.mode,
        key=key_of_judging(run, judged.mode),
        pictures=len(judged.scores),
        belong=int(judged.belongs.sum()),
        refused=judged.refused,
        threshold=judged.threshold.value,
        folder=results.folder,
        patches=found.patches,
        unit=found.unit,
        defects=found.defects,
        note=" ".join([*judged.notes, *filter(None, [found.note, batch.note])]),
        false_discoveries=false_discoveries,
        flagged=batch.flagged,
        drift=drift,
        videos=_videos(run, judged, folder),
        worst=offenders(items, judged.belongs, judged.scores, judged.p_values, judged.regions),
    )
    write_result(folder / "scores.json", scored)
    return scored


@dataclass(frozen=True)
class _Inspected:
    """Further columns of the table of pictures that were cut into patches, their patches and defects, and a note."""

    columns: dict[str, list[int]] = field(default_factory=dict)
    patches: int | None = None
    unit: str = "picture"
    defects: int | None = None
    note: str = ""


def _drift(run: RunFolder, judged: Judged, pool: Path, folder: Path, alarm: float, seconds: float) -> Drifted:
    """Return whether the threshold holds for the pictures in their order, and write drift.html, which shows it."""
    from winnow.report.drift import drift_page

    whole = judged.whole() if run.options.ingest.cuts else judged
    found = drifting(run, whole, Pool.open(pool), alarm, seconds)
    write_text(folder / "drift.html", drift_page(found.result, found.curve, found.changes, found.before, found.since))
    return found.result


def _inspect(run: RunFolder, patches: Judged, pictures: Judged, folder: Path, heatmaps: Path | None) -> _Inspected:
    """Write patches.csv and defects.csv into `folder`, and pictures of each one into `heatmaps`."""
    pool = Pool.open(folder / "pool")
    wanted = np.flatnonzero(np.ones(len(pictures.scores), bool) if heatmaps is not None else ~pictures.belongs)
    pages = pages_of(patches.items)
    wholes = wholes_of(run, pool, named=True) if heatmaps is not None else None
    found = locate(run, pool, patches, wanted, wholes)
    counts = write_located(found, len(wanted), folder, heatmaps, pages=bool(pages))
    write_table(
        folder / "patches.csv",
        ("id", "source", "time", *pages, "x", "y", "width", "height", "score", "p_value", "belongs"),
        (
            (name, source, seconds(time), *rest, *box, *verdict)
            for name, source, time, box, verdict, *rest in zip(
                *(patches.items[column] for column in ("id", "source", "time")),
                read_boxes(pool.column("box")).tolist(),
                zip(*verdicts(patches), strict=True),
                *pages.values(),
                strict=True,
            )
        ),
    )
    about = pool.pictures.to_pylist()
    columns = {name: [row[name] for row in about] for name in ("patches", "blank")}
    columns["defects"] = [counts.get(row, 0) for row in range(len(about))]
    unit = run.options.ingest.unit(len(pool), len(about))
    return _Inspected(columns, len(patches.scores), unit, sum(counts.values()), _note(run, pool, pictures, wholes))


def _videos(run: RunFolder, judged: Judged, folder: Path) -> list[VideoScored]:
    """Write segments.csv and, per video, a cut list and a picture of the score over time; return the segments."""
    options, p_values, threshold = run.options.segments, judged.p_values, judged.threshold
    videos: list[VideoScored] = []
    for number, (source, rows) in enumerate(video_rows(judged.items)):
        times, scores = judged.items["time"][rows].astype(float), judged.scores[rows]
        found = segments(
            times,
            scores,
            p_values[rows],
            false_alarm_rate=threshold.level,
            smooth=options.smooth,
            min_length=options.min_length,
            hysteresis=options.hysteresis,
            end=length_of(source, run.options.ingest.pixel_limit),
        )
        if judged.regions is not None:
            found = [replace(part, region=_most_named(judged.regions[rows], times, part)) for part in found]
        stem = folder / f"video-{number:03d}-{shortened(Path(source).stem)}"
        cuts, note = _cut_list(source, found, float(times.max()), run.options.ingest.pixel_limit)
        if cuts:
            write_text(stem.with_name(stem.name + ".ffconcat"), cuts)
        _timeline(stem.with_name(stem.name + ".png"), source, times, scores, threshold.value, found, options)
        videos.append(VideoScored(source, found, note))
    write_table(
        folder / "segments.csv",
        ("source", "start", "end", "verdict", "score", *(["region"] if judged.regions is not None else [])),
        (
            (
                video.source,
                f"{part.start:.3f}",
                f"{part.end:.3f}",
                "in" if part.belongs else "out",
                f"{part.score:.6g}",
                *([part.region] if judged.regions is not None else []),
            )
            for video in videos
            for part in video.segments
        ),
    )
    return videos


def _most_named(regions: np.ndarray, times: np.ndarray, part: Segment) -> str:
    """Return the part of the picture that most often does not belong in a segment, by regions (n,) of frames; "" where it belongs."""
    inside = regions[(times >= part.start) & (times < part.end)].astype(str).tolist()
    return "" if part.belongs else most_named(Counter(filter(None, inside)))


def _cut_list(source: str, parts: list[Segment], last: float, pixel_limit: float) -> tuple[str, str]:
    """Return the cut list of a video whose last frame is at `last`, "" where there can be none, and what is to be said of it."""
    begins = [part.start for part in parts if part.belongs]
    if not begins:
        return "", "No part of it belongs, so that there is no cut list."
    try:
        clock = clock_of(source, begins, last, pixel_limit=pixel_limit)
        cuts = ffconcat(source, parts, start=clock.start, inpoints=clock.inpoints)
    except InputError as error:
        return "", f"There is no cut list: {error.message}"
    entered = list(zip(begins, clock.inpoints, strict=True))[parts[0].belongs :]  # the first part is not entered
    early = max((clock.start + begin - point for begin, point in entered), default=0.0)
    note = f"Parts of its cut list begin up to {early:.1f} s early: such a stream is cut at key frames."
    return cuts, note if early > EARLY else ""


def _timeline(
    path: Path,
    source: str,
    times: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    found: list[Segment],
    options: SegmentOptions,
) -> None:
    from winnow.report.figures import timeline

    png = timeline(
        times,
        scores,
        threshold,
        [(part.start, part.end, part.belongs) for part in found],
        smoothed=smoothed(times, scores, options.smooth),
        title=Path(source).name,
    )
    with replacing(path) as temporary:
        temporary.write_bytes(png)


def _note(run: RunFolder, pool: Pool, pictures: Judged, wholes: Wholes | None) -> str:
    """Return sentences on pictures of another size than the run's own, on grey ones judged by what was learnt from colour, on those with
    more patches, on blanker ones, and on those that could not be read again."""
    usual = Usual.of(Pool.open(run.folder("ingest")))
    found = (
        *(usual.notes(pool) if usual else ()),
        larger_ones(pictures),
        blanker_ones(pool),
        wholes.note if wholes else "",
    )
    return " ".join(filter(None, found))
