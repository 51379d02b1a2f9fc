"""Figures of a classifier: confusion, reliability, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from winnow.errors import DataError
from winnow.report.style import ANOMALOUS, BELONGS, DIM, HALF, INK, as_png, canvas, heading, quiet, shorten, write

WRITTEN = 12  # classes up to which the counts are written into the cells
NAMED = 40  # classes up to which they are named


@as_png
def confusion_matrix(counts: Any, names: Sequence[str]) -> Figure:
    """Draw counts (classes, classes), a row per true class, a column per predicted one, coloured by their share of the row.

    `DataError` unless there are as many names as rows and columns.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(names), len(names)) or not len(names):
        raise DataError(
            f"Counts of shape {counts.shape} do not fit {len(names)} classes.", "Give one row and column a class."
        )
    figure = canvas(HALF, HALF, (1.15, 0.12, 0.45, 1.05))
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= WRITTEN:
        for row, column in np.ndindex(*counts.shape):
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=9, color=colour)
    shown = [shorten(name, 14) for name in names] if len(names) <= NAMED else []
    size = 9 if len(names) <= WRITTEN else 6
    axes.set_xticks(range(len(shown)), shown, rotation=60, ha="right", fontsize=size)
    axes.set_yticks(range(len(shown)), shown, fontsize=size)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        write(text).set_color(DIM)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    heading(figure, "Confusion", "row: true, column: predicted")
    return figure


@as_png
def reliability_curve(bins: Sequence[tuple[float, float, int]], error: float) -> Figure:
    """Draw the share that is right against the mean probability of each bin (mean, share, number); the diagonal is ideal.

    `DataError` for no bin.
    """
    if not len(bins):
        raise DataError("There are no probabilities to draw.", "Classify with at least two labelled pictures.")
    mean, share, number = np.asarray(bins, float).T
    figure = canvas(HALF, HALF, (0.55, 0.2, 0.45, 0.6))
    axes = quiet(figure.add_subplot(), grid="both")
    axes.plot([0, 1], [0, 1], color=DIM, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(mean, share, color=BELONGS, linewidth=1.8)
    axes.scatter(mean, share, s=20 + 120 * number / number.max(), color=BELONGS, zorder=3)
    low = min(0.95, float(min(mean.min(), share.min())) - 0.05)
    axes.set_xlim(max(0, low), 1.02)
    axes.set_ylim(max(0, low), 1.02)
    axes.set_xlabel("probability of the class that was predicted", fontsize=9, color=DIM)
    axes.set_ylabel("share that is right", fontsize=9, color=DIM)
    heading(figure, "Reliability", f"{error:.3f} off on average")
    return figure


@as_png
def label_curve(points: Sequence[tuple[int, float]]) -> Figure:
    """Draw macro F1 against the number of labels, points (labels, F1) in rising order; `DataError` for none."""
    if not len(points):
        raise DataError("There is no learning curve to draw.", "Classify with at least two labelled pictures.")
    labels, f1 = np.asarray(points, float).T
    figure = canvas(HALF, 3.0, (0.55, 0.25, 0.45, 0.6))
    axes = quiet(figure.add_subplot())
    axes.plot(labels, f1, color=ANOMALOUS, linewidth=1.8, marker="o", markersize=5)
    for x, y in zip(labels, f1, strict=True):
        axes.annotate(f"{y:.2f}", (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    axes.set_ylim(max(0, f1.min() - 0.1), min(1.08, f1.max() + 0.12))
    axes.set_xlim(0, labels.max() * 1.08)
    axes.set_xlabel("labels", fontsize=9, color=DIM)
    axes.set_ylabel("macro F1", fontsize=9, color=DIM)
    heading(figure, "Would more labels pay?")
    return figure
