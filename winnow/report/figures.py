"""The figures of a report, from plain numbers to PNG bytes.

The `__wrapped__` of each function returns the matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from winnow.errors import DataError
from winnow.report.bins import beyond, edges_of, shares_in
from winnow.report.grids import picture_grid, reconstruction_grid
from winnow.report.style import (
    BELONGS,
    COLOURS,
    DIM,
    HALF,
    INK,
    LINES,
    WIDTH,
    as_png,
    canvas,
    finite,
    heading,
    legend,
    numbers,
    percent,
    plain_log,
    quiet,
    shorten,
    write,
)
from winnow.report.timeline import clock, timeline

__all__ = [
    "calibration",
    "clock",
    "histograms",
    "loss_curves",
    "picture_grid",
    "reconstruction_grid",
    "roc",
    "timeline",
]

ROW = 0.9  # inches of the row of a group, its label in it
ROWS = 12  # groups that get a histogram or a curve of their own; more would not be readable
BINS = 80
BLUES = ("#56B4E9",)  # of further normal groups


@as_png
def loss_curves(log: Sequence[Mapping[str, Any]], *, width: float = WIDTH) -> Figure:
    """Draw training and validation loss over optimiser steps, the best checkpoint marked.

    `log` holds the lines of train.jsonl: `step` and any of `train_loss`, `validation_loss`; lines without them and
    values that are not finite are left out. `DataError` when nothing is left.
    """
    curves = {key: _series(log, key) for key in ("train_loss", "validation_loss")}
    if not any(len(steps) for steps, _ in curves.values()):
        raise DataError("The training log holds no losses to draw.", "Train first; the log is model/train.jsonl.")
    figure = canvas(width, 3.4 if width == WIDTH else 2.6, (0.62, 0.12, 0.42, 0.53))
    axes = quiet(figure.add_subplot())
    looks = {"train_loss": ("training", "#8b95a3", 1.4), "validation_loss": ("validation", BELONGS, 2.2)}
    for key, (steps, losses) in curves.items():
        label, colour, line = looks[key]
        if len(steps):
            axes.plot(
                steps,
                losses,
                color=colour,
                linewidth=line,
                label=label,
                markersize=3.5,
                marker="o" if len(steps) < 40 else "",
            )
    steps, losses = curves["validation_loss"]
    if len(steps):
        best = int(np.argmin(losses))
        axes.plot(
            steps[best], losses[best], "o", color=BELONGS, markeredgecolor="white", markeredgewidth=1.5, markersize=9
        )
        axes.axvline(steps[best], color=BELONGS, linewidth=1, linestyle=LINES[2], alpha=0.7)
    shown = np.concatenate([values for _, values in curves.values()])
    if shown.min() > 0 and shown.max() > 20 * shown.min():
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(8 if width == WIDTH else 4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("optimiser step", color=DIM, fontsize=9)
    note = f"best validation {losses[best]:,.5g} at step {steps[best]:,.0f}" if len(steps) else ""
    heading(figure, "Loss while training", note)
    legend(axes, *axes.get_legend_handles_labels(), loc="upper right")
    return figure


def _series(log: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(line["step"], line[key]) for line in log if line.get("step") is not None and line.get(key) is not None]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    return table[:, 0], table[:, 1]


@as_png
def histograms(
    groups: Mapping[str, Any],
    threshold: float | None = None,
    *,
    log: bool = False,
    label: str = "anomaly score (higher: more anomalous)",
    normal: int = 1,
    width: float = WIDTH,
) -> Figure:
    """Draw a histogram of scores for each group, each as high as its row, on a common axis, and the threshold.

    `groups` is a name to (n,) scores, the normal ones first, the first `normal` of
    them, in blue; the outline of the first is in each row; beyond twelve the last ones
    are drawn as one. The axis spans
    the usual range: scores beyond it are counted in the outermost bins, and the figure says how many. Positive scores
    over more than two decades get a logarithmic axis; `log` makes the counts logarithmic. Scores that are not finite
    are left out. `DataError` when no group holds a score.
    """
    scores = _merged({name: finite(values, name) for name, values in groups.items()})
    if not any(len(values) for values in scores.values()):
        raise DataError("There are no scores to draw.", "Score some pictures first.")
    filled = [values for values in scores.values() if len(values)]
    edges, logarithmic = edges_of(filled, BINS, ratio=100, reach=40, threshold=threshold)
    figure = canvas(width, 1.0 + ROW * len(scores), (0.12, 0.14, 0.5, 0.5))
    panels = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(hspace=0.02)
    shares = {name: shares_in(values, edges) for name, values in scores.items()}
    own, rest = next(iter(shares.values())), [colour for colour in COLOURS[1:] if colour not in BLUES]
    for number, (axes, (name, share)) in enumerate(zip(panels, shares.items(), strict=True)):
        colour = (BELONGS, *BLUES)[number % 2] if number < normal else rest[(number - normal) % len(rest)]
        quiet(axes, grid="").stairs(share, edges, fill=True, color=colour, alpha=0.85)
        if number:
            axes.stairs(own * share.max() / max(own.max(), 1e-12), edges, color=BELONGS, alpha=0.65, linewidth=1)
        axes.set_yscale("log" if log else "linear")
        least, top = 0.3 / max(len(scores[name]), 1), share.max() or 1.0
        # a third of the row is for its label
        axes.set_ylim(*((least, top * (top / least) ** 0.5) if log else (0, top * 1.5)))
        axes.set_yticks([])
        axes.minorticks_off()
        _row_label(axes, name, scores[name], threshold, colour, short=width < WIDTH)
    panels[-1].set_xlim(edges[0], edges[-1])
    if logarithmic:
        panels[-1].set_xscale("log")
        plain_log(panels[-1].xaxis)
    note = beyond(filled, edges)
    if width == WIDTH:
        label += (", logarithmic" if logarithmic else "") + (f" · {note}" if note else "")
    write(panels[-1].set_xlabel(label, color=DIM, fontsize=9))
    heading(figure, "Scores of each group", "each in its own height" + (", logarithmic" if log else ""))
    if threshold is not None and np.isfinite(threshold):
        _threshold(list(panels), threshold)
    return figure


def _threshold(panels: Sequence[Axes], threshold: float) -> None:
    for axes in panels:
        axes.axvline(threshold, 0, 0.72, color=INK, linewidth=1.3, linestyle=LINES[1], gid="threshold")
    place = panels[0].transAxes.inverted().transform(panels[0].transData.transform((threshold, 0)))[0]
    panels[0].annotate(
        f"threshold {threshold:.4g}",
        (threshold, 0.72),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if place > 0.6 else 5, -1),
        textcoords="offset points",
        va="top",
        ha="right" if place > 0.6 else "left",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},  # bars may stand behind it
    )


def _merged(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if len(scores) <= ROWS:
        return scores
    names = list(scores)
    rest = names[ROWS - 1 :]
    return {
        **{name: scores[name] for name in names[: ROWS - 1]},
        f"{len(rest)} other groups": np.concatenate([scores[name] for name in rest]),
    }


def _row_label(axes: Axes, name: str, values: np.ndarray, threshold: float | None, colour: str, *, short: bool) -> None:
    """Write above a row the group's name and, dim, how many pictures it has and how many are above the threshold."""
    told = f"{len(values):,}{'' if short else ' pictures'}" if len(values) else "no scores"
    if len(values) and threshold is not None:
        told += f", {percent((values > threshold).mean())} above"
    look: dict[str, Any] = {"xycoords": "axes fraction", "va": "top", "textcoords": "offset points"}
    title = shorten(name, 18 if short else 40)
    name_width = 6.8 * sum(2 if ord(letter) > 0x2E80 else 1 for letter in title)  # points, of 9.5 point bold
    texts: tuple[tuple[str, float, dict[str, Any]], ...] = (
        (title, 0, {"color": colour, "fontsize": 9.5, "fontweight": "bold"}),
        (told, name_width + 8, {"color": DIM, "fontsize": 8.5}),
    )
    for text, at, style in texts:
        write(axes.annotate(text, (0, 1), xytext=(at, -4), annotation_clip=False, **look, **style))


@as_png
def roc(curves: Mapping[str, tuple[Any, Any]], threshold: float | None = None) -> Figure:
    """Draw the detection rate against the false-alarm rate at every threshold.

    `curves` is a name to (scores of normal pictures, scores of anomalous ones); the legend holds the area under each curve,
    and a dot marks the threshold. Only the first twelve are drawn. `DataError` when there are none or a side is empty.
    """
    if not curves:
        raise DataError("There are no groups to draw a ROC of.", "Give at least one anomalous group.")
    foot = 0.58 + 0.19 * (min(len(curves), ROWS) + (threshold is not None))
    figure, axes = _square(foot)
    axes.plot([0, 1], [0, 1], color="#b4bcc6", linewidth=1, linestyle=LINES[2])
    handles, labels = [], []
    for number, (name, sides) in enumerate(list(curves.items())[:ROWS]):
        inside, outside = (np.sort(finite(side, name)) for side in sides)
        if not len(inside) or not len(outside):
            raise DataError(
                f"A ROC of '{name}' needs scores of both sides.", "Leave the group out, or score its pictures."
            )
        alarms, found = _rates(inside, outside)
        colour = COLOURS[1:][number % (len(COLOURS) - 1)]
        area = float(((alarms[1:] - alarms[:-1]) * (found[1:] + found[:-1])).sum() / 2)
        handles += axes.plot(alarms, found, color=colour, linewidth=2, linestyle=LINES[number % len(LINES)])
        labels.append(f"{shorten(name, 30)}  {area:.3f}")
        if threshold is not None:
            axes.plot(
                (inside > threshold).mean(),
                (outside > threshold).mean(),
                "o",
                color=colour,
                markersize=8,
                markeredgecolor="white",
                markeredgewidth=1.2,
                clip_on=False,
                zorder=5,
                gid="threshold",
            )
    if threshold is not None:
        handles.append(Line2D([], [], marker="o", color="none", markerfacecolor=DIM, markersize=7))
        labels.append("at the threshold")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: percent(share, 0)))
    axes.set_xlabel("false alarms: normal, yet flagged", color=DIM, fontsize=9)
    axes.set_ylabel("detected: anomalous, and flagged", color=DIM, fontsize=9, labelpad=2)
    heading(figure, "ROC", "legend: area under the curve")
    legend(figure, handles, labels, loc="lower left", bbox_to_anchor=(0.66 / HALF, 0), borderaxespad=0.1)
    return figure


def _square(foot: float) -> tuple[Figure, Axes]:
    """Return a figure of half the page's width whose axes are square, with room for a legend below."""
    left, right, top = 0.7, 0.2, 0.42
    figure = canvas(HALF, top + HALF - left - right + foot, (left, right, top, foot))
    return figure, quiet(figure.add_subplot(), grid="both")


def _rates(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false-alarm and detection rate (flagged when score > threshold), falling thresholds; both sides sorted."""
    cuts = np.unique(np.concatenate([inside, outside]))[::-1]
    alarms = 1 - np.searchsorted(inside, cuts, side="right") / len(inside)
    found = 1 - np.searchsorted(outside, cuts, side="right") / len(outside)
    return np.append(alarms, 1.0), np.append(found, 1.0)


@as_png
def found_curves(rates: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the share found of each kind of picture (k,) against the false-alarm rates (k,) that thresholds promise."""
    figure, axes = _square(0.75)
    order = np.argsort(rates)
    for number, (name, shares) in enumerate(curves.items()):
        axes.plot(
            np.asarray(rates)[order],
            np.asarray(shares)[order],
            marker="o",
            markersize=4,
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % len(LINES)],
            label=name,
            clip_on=False,
        )
    axes.set_xlim(0, max(rates))
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: percent(value, 0))
    axes.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
    axes.set_xlabel("false alarms promised", color=DIM, fontsize=9)
    axes.set_ylabel("found", color=DIM, fontsize=9, labelpad=2)
    heading(figure, "Found of made-up pictures")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.44, -0.12),
        ncols=3,
        fontsize=8,
        frameon=False,
        columnspacing=1,
        handlelength=1.6,
        handletextpad=0.4,
    )
    return figure


@as_png
def calibration(asked: Any, measured: Any) -> Figure:
    """Draw false-alarm rates measured on unseen groups against those asked for; on the diagonal the promise is kept exactly.

    `asked` (k,) rates; `measured` (k,) or (k, repeats) rates, of which each is a dot and their mean a bar. The axes are
    square roots, so that 1 % and 10 % can both be read.
    """
    asked = numbers(asked, "asked")
    measured = np.asarray(measured, dtype=np.float64).reshape(len(asked), -1) if len(asked) else np.empty((0, 0))
    if not measured.size:
        raise DataError("There are no false-alarm rates to draw.", "Give the rates asked for and those measured.")
    figure, axes = _square(0.75)
    top = min(1.0, 1.25 * float(max(asked.max(), np.nanmax(measured))) or 0.01)
    root = (lambda value: np.sqrt(np.maximum(value, 0)), np.square)
    for axis in ("x", "y"):
        getattr(axes, f"set_{axis}scale")("function", functions=root)
        getattr(axes, f"set_{axis}lim")(0, top)
        ticks = [tick for tick in (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1) if tick <= top]
        getattr(axes, f"set_{axis}ticks")(ticks, [percent(tick, 0) for tick in ticks])
    handles = axes.plot([0, top], [0, top], color=INK, linewidth=1.2, linestyle=LINES[1])
    labels = ["as asked"]
    if measured.shape[1] > 1:
        jitter = 1 + 0.05 * np.linspace(-1, 1, measured.shape[1])
        handles += axes.plot(
            (asked[:, None] * jitter).ravel(),
            measured.ravel(),
            "o",
            color=BELONGS,
            alpha=0.35,
            markersize=4,
            markeredgewidth=0,
            clip_on=False,
        )
        labels.append("one split")
    handles += axes.plot(
        asked,
        np.nanmean(measured, axis=1),
        "o",
        color=BELONGS,
        markersize=9,
        zorder=5,
        markeredgecolor="white",
        clip_on=False,
    )
    labels.append("mean" if measured.shape[1] > 1 else "measured")
    axes.set_xlabel("false alarms asked for", color=DIM, fontsize=9)
    axes.set_ylabel("false alarms measured", color=DIM, fontsize=9, labelpad=2)
    heading(figure, "Calibration")
    legend(figure, handles, labels, loc="lower left", bbox_to_anchor=(0.66 / HALF, 0), borderaxespad=0.1, ncols=3)
    return figure
