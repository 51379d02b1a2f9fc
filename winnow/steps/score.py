"""Judge new pictures and videos with a finished run: a score, a p-value and a verdict each, and segments of a video.

Pictures that are cut into patches are judged patch by patch here, and as wholes in `winnow.steps.inspect`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.scorer import Scorer
from winnow.detect.segments import Segment, ffconcat, segments, smoothed
from winnow.detect.threshold import Threshold
from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.files import replacing, write_json, write_text
from winnow.options import SegmentOptions
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.run.folder import RunFolder
from winnow.run.results import HEATMAPS, SCORES, Results, publish
from winnow.tables import write_table

CHUNK = 4096
LONGEST = 150  # bytes of a source's name in that of its picture
ITEMS = ("id", "source", "group", "time")


@dataclass(frozen=True)
class Scored:
    """Scores of n pictures, frames or patches by the detector of a mode; `items` are columns (n,) of the pool,
    `others` the scores of further scorers, `refused` how many files could not be read."""

    items: dict[str, np.ndarray]
    scores: np.ndarray
    others: dict[str, np.ndarray]
    mode: str
    detector: Detector
    refused: int

    @property
    def threshold(self) -> Threshold:
        """The threshold of the detector."""
        return self.detector.threshold

    @property
    def p_values(self) -> np.ndarray:
        """Conformal p-values (n,)."""
        return self.detector.p_values(self.scores)

    @property
    def belongs(self) -> np.ndarray:
        """Whether each belongs (n,)."""
        return self.scores <= self.threshold.value


def judge(
    run: RunFolder,
    sources: Sequence[str | Path],
    folder: Path,
    others: dict[str, Scorer] | None = None,
    *,
    mode: str = "",
    earlier: Path | None = None,
    look: Callable[[Pool, np.ndarray, Embeddings], None] = lambda pool, rows, embeddings: None,
) -> Scored:
    """Ingests sources into a pool in `folder` the way the run's own pictures were, and scores its rows chunk by chunk.

    The rows are those of the sources in their order; what an `earlier` pool holds of them is not decoded again.
    By the run's mode unless another is given; further scorers (`others`) can read only what that mode encodes.
    `look` is shown each chunk in order: the pool, rows of it, their embeddings.
    """
    from winnow.pool.ingest import ingest
    from winnow.run.artifacts import check_mode, load_detector, load_encoder

    options = run.options
    mode = mode or options.score.mode
    check_mode(run, mode)
    detector = load_detector(run, mode)
    encoder = load_encoder(run, mode, detector.scorer.reads())
    refused = ingest(sources, folder, options.ingest, keep_others=False, earlier=earlier).refused
    pool = Pool.open(folder)
    scores = np.empty(len(pool))
    extra = {name: np.empty(len(pool)) for name in others or {}}
    with progress("score", len(pool), "patches" if options.ingest.patches else "pictures") as advance:
        for start in range(0, len(pool), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(pool)))
            embeddings = encoder.encode(pool, rows, options.train.device)
            scores[rows] = detector.score(embeddings)
            look(pool, rows, embeddings)
            for name, scorer in (others or {}).items():
                extra[name][rows] = scorer.score(embeddings)
            advance(len(rows))
    return Scored({name: pool.column(name) for name in ITEMS}, scores, extra, mode, detector, refused)


def score(
    run: RunFolder, sources: Sequence[str | Path], *, to: Path | None = None, heatmaps: Path | None = None
) -> dict[str, Any]:
    """Scores sources and writes `scores.csv`, `segments.csv`, and per video a cut list and a picture of the score over time.

    Of pictures cut into patches `scores.csv` has a row a picture, `patches.csv` one a patch and `defects.csv` one a defect;
    the folder `heatmaps` gets an anomaly map, a mask and an overlay of each. The rest goes to `to`, by default the run's folder
    `scores`, and replaces what an earlier call left there, all at once; `scores.json`, the counts, comes last. Returns counts
    and paths.
    """
    if heatmaps is not None and not run.options.ingest.patches:
        raise OptionError(
            "--heatmaps needs a run whose pictures are cut into patches.",
            "Make one: winnow run inspect SOURCES --to RUN",
        )
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(Results(to or run.path / "scores", SCORES))
        drawn = [] if heatmaps is None else [stack.enter_context(Results(heatmaps, HEATMAPS))]
        scored = judge(run, sources, results.aside / "pool", earlier=results.folder / "pool")
        found = _write(run, scored, results.aside, drawn[0].aside if drawn else None)
        publish(results, *drawn)
    return {**found, "folder": results.folder}


def _write(run: RunFolder, scored: Scored, folder: Path, heatmaps: Path | None) -> dict[str, Any]:
    """Writes the tables and pictures of what was scored; returns the counts and the segments."""
    more: dict[str, Any] = {}
    if run.options.ingest.patches:
        from winnow.steps.inspect import inspect

        scored, more = inspect(run, scored, folder, heatmaps)
    columns = more.pop("columns", {})
    items = scored.items
    write_table(
        folder / "scores.csv",
        ("id", "source", "time", "score", "p_value", "belongs", *columns),
        zip(
            items["id"], items["source"], map(seconds, items["time"]), *verdicts(scored), *columns.values(), strict=True
        ),
    )
    result = {
        "mode": scored.mode,
        "pictures": len(scored.scores),
        "belong": int(scored.belongs.sum()),
        "refused": scored.refused,
        "threshold": scored.threshold.value,
        **more,
    }
    videos = _videos(run, scored, folder)
    write_json(folder / "scores.json", result)
    return {**result, "videos": videos}


def verdicts(scored: Scored) -> tuple[list[str], list[str], list[str]]:
    """Score, p-value and verdict of each row, as tables have them."""
    return (
        [f"{value:.6g}" for value in scored.scores],
        [f"{value:.6g}" for value in scored.p_values],
        ["yes" if value else "no" for value in scored.belongs],
    )


def _videos(run: RunFolder, scored: Scored, folder: Path) -> list[dict[str, Any]]:
    """Writes segments.csv and, per video, a cut list and a picture of the score over time; returns the segments."""
    options, p_values, threshold = run.options.segments, scored.p_values, scored.threshold
    videos: list[dict[str, Any]] = []
    for number, (source, rows) in enumerate(video_rows(scored.items)):
        times, scores = scored.items["time"][rows].astype(float), scored.scores[rows]
        found = segments(
            times,
            scores,
            p_values[rows],
            false_alarm_rate=threshold.level,
            smooth=options.smooth,
            min_length=options.min_length,
            hysteresis=options.hysteresis,
        )
        stem = folder / f"video-{number:03d}-{shortened(Path(source).stem)}"
        write_text(stem.with_name(stem.name + ".ffconcat"), ffconcat(source, found))
        _timeline(stem.with_name(stem.name + ".png"), source, times, scores, threshold.value, found, options)
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
    return videos


def video_rows(items: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Every video among the items with the rows of its frames."""
    frames = np.flatnonzero(~np.isnan(items["time"].astype(float)))
    names, first, which = np.unique(items["source"][frames].astype(str), return_index=True, return_inverse=True)
    return [(str(names[i]), frames[which == i]) for i in np.argsort(first)]


def seconds(time: float | None) -> str:
    """A frame's time as tables have it; a picture has none."""
    return "" if time is None or np.isnan(time) else f"{time:.3f}"


def shortened(name: str) -> str:
    """Return a source's name as names of its pictures have it: file systems take 255 bytes in all."""
    return name.encode()[:LONGEST].decode(errors="ignore")


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
