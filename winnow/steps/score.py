"""Judge new pictures and videos with a finished run: a score, a p-value and a verdict each, and segments of a video."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data.pool import Pool
from winnow.detect.scorer import Scorer
from winnow.detect.segments import Segment, ffconcat, segments, smoothed
from winnow.detect.threshold import Threshold
from winnow.files import replacing, write_text
from winnow.options import SegmentOptions
from winnow.progress import progress
from winnow.run import RunFolder

CHUNK = 4096


@dataclass(frozen=True)
class Scored:
    """Scores of the n pictures or frames of a pool, in its order; `others` are the scores of further scorers."""

    pool: Pool
    scores: np.ndarray
    p_values: np.ndarray
    belongs: np.ndarray
    others: dict[str, np.ndarray]
    refused: int
    threshold: Threshold


def judge(
    run: RunFolder, sources: Sequence[str | Path], folder: Path, others: dict[str, Scorer] | None = None
) -> Scored:
    """Ingests sources into a pool in `folder` the way the run's own pictures were, and scores them chunk by chunk."""
    from winnow.data.ingest import ingest
    from winnow.learn.encode import encode
    from winnow.steps.parts import load_companions, load_detector, load_network

    run.require("calibrate")
    options, beside = run.options, load_companions(run)
    detector, model = load_detector(run), load_network(run)
    result = ingest(sources, folder, options.ingest, keep_others=False)
    pool = Pool.open(folder)
    scores = np.empty(len(pool))
    extra = {name: np.empty(len(pool)) for name in others or {}}
    with progress("score", len(pool), "pictures") as advance:
        for start in range(0, len(pool), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(pool)))
            encodings = encode(model, pool, rows, beside=beside, device=options.train.device, quiet=True)
            scores[rows] = detector.score(encodings)
            for name, scorer in (others or {}).items():
                extra[name][rows] = scorer.score(encodings)
            advance(len(rows))
    p_values = detector.p_values(scores)
    return Scored(pool, scores, p_values, scores <= detector.threshold.value, extra, result.refused, detector.threshold)


def score(run: RunFolder, sources: Sequence[str | Path], *, to: Path | None = None) -> dict[str, Any]:
    """Scores sources and writes `scores.csv`, `segments.csv`, and per video a cut list and a picture of the score over time.

    They go to `to`, by default the run's folder `scores`, and replace what an earlier call left there. Returns counts and paths.
    """
    folder = to or run.path / "scores"
    scored = judge(run, sources, folder / "pool")
    pool = scored.pool
    columns = {name: pool.column(name) for name in ("id", "source", "time")}
    write_table(
        folder / "scores.csv",
        ("id", "source", "time", "score", "p_value", "belongs"),
        zip(
            columns["id"],
            columns["source"],
            (_seconds(time) for time in columns["time"]),
            (f"{value:.6g}" for value in scored.scores),
            (f"{value:.6g}" for value in scored.p_values),
            ("yes" if value else "no" for value in scored.belongs),
            strict=True,
        ),
    )
    for old in (*folder.glob("video-*.png"), *folder.glob("video-*.ffconcat")):
        old.unlink()
    videos: list[dict[str, Any]] = []
    for number, (source, rows) in enumerate(video_rows(pool)):
        times = columns["time"][rows].astype(float)
        found = segment_video(times, scored, rows, run.options.segments, scored.threshold.level)
        stem = folder / f"video-{number:03d}-{Path(source).stem}"
        write_text(stem.with_name(stem.name + ".ffconcat"), ffconcat(source, found))
        _timeline(
            stem.with_name(stem.name + ".png"),
            source,
            times,
            scored.scores[rows],
            scored.threshold.value,
            found,
            run.options.segments,
        )
        videos.append({"source": source, "segments": found})
    write_table(
        folder / "segments.csv",
        ("source", "start", "end", "verdict", "score"),
        (
            (
                video["source"],
                f"{part.start:.3f}",
                f"{part.end:.3f}",
                "in" if part.belongs else "out",
                f"{part.score:.6g}",
            )
            for video in videos
            for part in video["segments"]
        ),
    )
    return {
        "pictures": len(pool),
        "belong": int(scored.belongs.sum()),
        "refused": scored.refused,
        "threshold": scored.threshold.value,
        "videos": videos,
        "folder": folder,
    }


def video_rows(pool: Pool) -> list[tuple[str, np.ndarray]]:
    """Every video of a pool with the rows of its frames."""
    sources, times = pool.column("source"), pool.column("time").astype(float)
    frames = np.flatnonzero(~np.isnan(times))
    names, first, which = np.unique(sources[frames].astype(str), return_index=True, return_inverse=True)
    return [(str(names[i]), frames[which == i]) for i in np.argsort(first)]


def segment_video(
    times: np.ndarray, scored: Scored, rows: np.ndarray, options: SegmentOptions, level: float
) -> list[Segment]:
    """The segments of one video, by the run's options."""
    return segments(
        times,
        scored.scores[rows],
        scored.p_values[rows],
        false_alarms=level,
        smooth=options.smooth,
        min_length=options.min_length,
        hysteresis=options.hysteresis,
    )


def write_table(path: Path, header: Sequence[str], rows: Any) -> None:
    """Writes a CSV file atomically, row by row."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _seconds(time: float | None) -> str:
    return "" if time is None or np.isnan(time) else f"{time:.3f}"


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
