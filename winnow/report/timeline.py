"""The score of a video over time, with its threshold and segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from winnow.errors import DataError
from winnow.report.style import (
    ANOMALOUS,
    BELONGS,
    INK,
    LINES,
    WIDTH,
    as_png,
    canvas,
    heading,
    legend,
    numbers,
    plain_log,
    quiet,
)

COLUMNS = 1200  # points across a timeline; a longer video is drawn as the range of each column
# seconds between ticks
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 18000)
Span = tuple[float, float, bool]


@as_png
def timeline(
    times: Any,
    scores: Any,
    threshold: float,
    segments: Sequence[Span] = (),
    *,
    smoothed: Any = None,
    truth: Sequence[Span] | None = None,
    title: str = "Score over time",
    width: float = WIDTH,
) -> Figure:
    """Draw the score over the time of a video, with the threshold, the segments found and, where known, the true ones.

    `times` (n,) seconds in rising order, `scores` and `smoothed` (n,); `segments` and `truth` are (start, end, belongs)
    in seconds. Scores that are not finite leave a gap; long videos are drawn as range and median of each column.
    """
    times, scores = numbers(times, "times"), numbers(scores, "scores")
    line = scores if smoothed is None else numbers(smoothed, "smoothed")
    if not len(times) or len(scores) != len(times) or len(line) != len(times):
        raise DataError(
            f"A timeline of {len(times)} frames has {len(scores)} scores and {len(line)} smoothed ones.",
            "Give at least one frame, and one score for each.",
        )
    strips = {"found": segments} if truth is None else {"found": segments, "true": truth}
    figure = canvas(width, 3.15 + 0.2 * len(strips), (0.62, 0.3, 0.42, 0.62))
    axes, bars = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (2.1, 0.2 * len(strips)), "hspace": 0.06}
    )
    quiet(axes)
    _trace(axes, times, scores, line, smoothed is not None)
    if np.isfinite(threshold):
        axes.axhline(threshold, color=INK, linewidth=1.3, linestyle=LINES[1], gid="threshold")
    out = [(start, end - start) for start, end, belongs in segments if not belongs]
    axes.broken_barh(
        out, (0, 1), transform=axes.get_xaxis_transform(), facecolor=ANOMALOUS, alpha=0.13, linewidth=0, gid="out"
    )
    _limits(axes, line, scores, threshold)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    quiet(bars, grid="")
    _strips(bars, strips)
    _time_axis(bars, times, strips, 11 if width == WIDTH else 4)
    heading(figure, title, f"{len(times):,} frames · threshold {threshold:.4g}")
    _legend(figure, width)
    return figure


def _legend(figure: Figure, width: float) -> None:
    handles = [
        Patch(color=BELONGS),
        Patch(color=ANOMALOUS),
        Line2D([], [], color=INK, linewidth=1.3, linestyle=LINES[1]),
    ]
    legend(
        figure,
        handles,
        ("belongs", "does not belong", "threshold"),
        loc="lower left",
        ncols=3,
        bbox_to_anchor=((0.58 if width == WIDTH else 0) / width, 0.0),
        borderaxespad=0.2,
        borderpad=0.3,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _trace(axes: Axes, times: np.ndarray, scores: np.ndarray, line: np.ndarray, has_dots: bool) -> None:
    if len(times) > 2 * COLUMNS:
        span = times[-1] - times[0] or 1.0
        column = np.floor((times - times[0]) / span * COLUMNS)
        starts = np.flatnonzero(np.diff(column, prepend=-1.0))
        middle = times[starts]
        axes.fill_between(
            middle,
            np.fmin.reduceat(scores, starts),
            np.fmax.reduceat(scores, starts),
            color="#aab4c0",
            alpha=0.55,
            linewidth=0,
        )
        parts = [part[np.isfinite(part)] for part in np.split(line, starts[1:])]
        axes.plot(middle, [np.median(part) if len(part) else np.nan for part in parts], color=INK, linewidth=1.1)
        return
    if has_dots:
        axes.plot(times, scores, ".", color="#8b97a5", markersize=5 if len(times) < 400 else 3.5, markeredgewidth=0)
    axes.plot(times, line, color=INK, linewidth=1.5, marker="o" if len(times) <= 30 else "", markersize=4)


def _limits(axes: Axes, line: np.ndarray, scores: np.ndarray, threshold: float) -> None:
    """Show the whole range, unless a few scores would flatten the rest; logarithmic over more than two decades."""
    shown = np.concatenate([line, scores, [threshold]])
    shown = shown[np.isfinite(shown)]
    if not len(shown):
        return
    low, high = shown.min(), shown.max()
    if low > 0 and high > 100 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        plain_log(axes.yaxis)
        return
    bottom, top = np.quantile(shown, (0.005, 0.995))
    if high - low > 4 * (top - bottom) > 0:
        line_at = [threshold] if np.isfinite(threshold) else []
        low, high = min([bottom, *line_at]), max([top, *line_at])
    margin = 0.07 * (high - low) or max(abs(high), 1.0) * 0.05
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _strips(axes: Axes, rows: Mapping[str, Sequence[Span]]) -> None:
    for number, spans in enumerate(rows.values()):
        for belongs, colour in ((True, BELONGS), (False, ANOMALOUS)):
            parts = [(start, end - start) for start, end, inside in spans if bool(inside) is belongs]
            axes.broken_barh(parts, (number - 0.36, 0.72), facecolor=colour, linewidth=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.spines["bottom"].set_visible(False)


def _time_axis(axes: Axes, times: np.ndarray, strips: Mapping[str, Sequence[Span]], most: int) -> None:
    """Set the axis from the first frame to the end of the last frame or segment, with at most so many ticks at round times."""
    start = float(times[0])
    end = max([float(times[-1]), *(stop for spans in strips.values() for _, stop, _ in spans)])
    margin = 0.004 * (end - start) or 0.5
    axes.set_xlim(start - margin, end + margin)
    span = end - start + 2 * margin
    many = np.ceil(span / (36_000 * (most - 1))) * 36_000  # tens of hours, where no step of STEPS is long enough
    axes.xaxis.set_major_locator(MultipleLocator(next((step for step in STEPS if span / step <= most), many)))
    axes.xaxis.set_major_formatter(FuncFormatter(clock))


def clock(seconds: float, _: Any = None) -> str:
    """Format seconds as 0:05, 12:30 or 1:02:03, with a fraction only where there is one."""
    whole, fraction = divmod(round(abs(seconds) * 100), 100)
    hours, minutes = whole // 3600, whole % 3600 // 60
    text = f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
    return ("-" if seconds < 0 else "") + text + (f".{fraction:02d}".rstrip("0") if fraction else "")
