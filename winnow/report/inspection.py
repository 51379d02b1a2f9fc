"""The figures of an inspection: losses of good and damaged patches, two modes compared, the search for a weight.

Pictures with anomaly maps and sheets of synthetic defects are here too. All are PNG bytes; the `__wrapped__` of a chart
returns the matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator

from winnow.errors import DataError
from winnow.report.bins import beyond, edges_of, shares_in
from winnow.report.grids import defect_sheet
from winnow.report.overlays import map_png, mask_png, overlaid, overlay
from winnow.report.style import (
    ANOMALOUS,
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

__all__ = [
    "agreement",
    "defect_sheet",
    "loss_distributions",
    "map_png",
    "mask_png",
    "overlaid",
    "overlay",
    "weight_curve",
]

BINS = 120
DOTS = 3000  # dots of a scatter plot; more are drawn as a histogram of both scores
# training and validation are normal, the third is anomalous
SAMPLES = ("#56B4E9", BELONGS, ANOMALOUS, *COLOURS[2:5], *COLOURS[6:])


@as_png
def loss_distributions(samples: Mapping[str, Any], *, label: str = "loss", width: float = WIDTH) -> Figure:
    """Draw histograms of a loss for several samples on one axis, and for each the Gaussian of its mean and deviation.

    `samples` is a name to (n,) losses, in the order training, validation, defects; each is drawn as shares of its own
    in equal bins. The axis spans the usual range: losses beyond it are in the outermost bins, and the figure says how
    many. Positive losses of which one sample is far from the others get a logarithmic axis. Losses that are not finite
    are left out, a sample whose losses are all equal has no Gaussian. `DataError` when no sample holds a loss. The
    figures are those of Soukup and Pinetz, Reliably Decoding Autoencoders' Latent Spaces.
    """
    losses = {name: finite(values, name) for name, values in samples.items()}
    filled = [values for values in losses.values() if len(values)]
    if not filled:
        raise DataError("There are no losses to draw.", "Score some patches first.")
    edges, logarithmic = edges_of(filled, BINS, ratio=20, reach=15)
    figure = canvas(width, 3.3 + 0.2 * len(losses), (0.3, 0.2, 0.42, 0.62 + 0.2 * len(losses)))
    axes = quiet(figure.add_subplot(), grid="x")
    tops, handles, labels = [], [], []
    for number, (name, values) in enumerate(losses.items()):
        colour = SAMPLES[number % len(SAMPLES)]
        handles.append(Patch(facecolor=colour, alpha=0.6))
        labels.append(f"{shorten(name, 30)}   {_summary(values)}")
        if not len(values):
            continue
        shares = shares_in(values, edges)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        tops.append((np.count_nonzero(shares) > 2, shares.max()))
        line = _gaussian(values, edges)
        if line is not None:
            axes.plot(_middles(edges, logarithmic), line, color=colour, linewidth=2, gid="gaussian")
            tops.append((np.count_nonzero(shares) > 2, line.max()))
    # a sample in one or two bins would flatten the others: it is cut off at the top
    axes.set_ylim(0, 1.06 * max([top for wide, top in tops if wide] or [top for _, top in tops]))
    axes.set(xlim=(edges[0], edges[-1]), yticks=[])
    if logarithmic:
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    note = beyond(filled, edges)
    text = label + (", logarithmic" if logarithmic else "") + (f" · {note}" if note and width == WIDTH else "")
    write(axes.set_xlabel(text, color=DIM, fontsize=9))
    heading(figure, f"Distribution of the {label}", "share of a sample's patches; lines: Gaussian approximation")
    legend(figure, handles, labels, loc="lower left", bbox_to_anchor=(0.2 / width, 0), borderaxespad=0.1)
    return figure


def _middles(edges: np.ndarray, logarithmic: bool) -> np.ndarray:
    return np.sqrt(edges[1:] * edges[:-1]) if logarithmic else (edges[1:] + edges[:-1]) / 2


def _gaussian(values: np.ndarray, edges: np.ndarray) -> np.ndarray | None:
    """Return the share that a Gaussian of the sample's mean and deviation has in each bin; None for a deviation of zero."""
    from scipy.special import ndtr

    with np.errstate(over="ignore"):
        mean, deviation = values.mean(), values.std()
        if not np.isfinite(deviation) or deviation <= 1e-12 * abs(mean):
            return None
        return np.diff(ndtr((edges - mean) / deviation))


def _summary(values: np.ndarray) -> str:
    if not len(values):
        return "no losses"
    with np.errstate(over="ignore"):
        return f"{len(values):,} patches, mean {values.mean():.4g}, sd {values.std():.3g}"


@as_png
def agreement(
    scores_a: Any, scores_b: Any, threshold_a: float, threshold_b: float, labels: tuple[str, str] = ("first", "second")
) -> Figure:
    """Draw two modes on the same pictures: their scores against each other, both thresholds, and how often they agree.

    `scores_a` and `scores_b` (n,), higher = more anomalous (of p-values give -log10); `labels` name the modes. A mode
    flags scores above its threshold; each corner shows its share of the pictures. More than 3,000 are drawn as a
    histogram of both, darker where there are more. Positive scores over more than two decades get a logarithmic axis;
    pairs that are not finite are left out. `DataError` for different lengths or when nothing is left.
    """
    pair = np.stack(_same_length(numbers(scores_a, labels[0]), numbers(scores_b, labels[1])))
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    if not pair.shape[1]:
        raise DataError("There are no scores to compare.", "Score the pictures with both modes first.")
    figure = canvas(HALF, HALF + 0.1, (0.75, 0.2, 0.42, 0.58))
    axes = quiet(figure.add_subplot(), grid="both")
    thresholds = (threshold_a, threshold_b)
    for axis, scores, threshold, label in zip("xy", pair, thresholds, labels, strict=True):
        low, high, logarithmic = _limits(scores, threshold)
        getattr(axes, f"set_{axis}scale")("log" if logarithmic else "linear")
        getattr(axes, f"set_{axis}lim")(low, high)
        if logarithmic:
            _decades(getattr(axes, f"{axis}axis"), high / low)
        write(getattr(axes, f"set_{axis}label")(shorten(label, 40), color=DIM, fontsize=9))
        if np.isfinite(threshold):
            line = axes.axvline if axis == "x" else axes.axhline
            line(threshold, color=INK, linewidth=1.3, linestyle=LINES[1], gid="threshold")
    _cloud(axes, pair)
    refused = pair > np.array(thresholds)[:, None]
    _corners(axes, refused, labels)
    note = f"agree on {percent((refused[0] == refused[1]).mean())} of {pair.shape[1]:,}"
    heading(figure, "Agreement", note)
    return figure


def _decades(axis: Any, ratio: float) -> None:
    """Set ticks of a logarithmic axis, few enough for half the page."""
    plain_log(axis)
    if ratio > 1000:
        axis.set_major_locator(LogLocator(numticks=6))


def _same_length(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(first) != len(second):
        raise DataError(
            f"There are {len(first)} scores of one mode and {len(second)} of the other.",
            "Give both for the same pictures, in the same order.",
        )
    return first, second


def _limits(scores: np.ndarray, threshold: float) -> tuple[float, float, bool]:
    """Return the ends of an axis that holds all scores and the threshold, and whether it is logarithmic."""
    shown = np.append(scores, threshold)[: None if np.isfinite(threshold) else -1]
    low, high = float(shown.min()), float(shown.max())
    if low > 0 and high > 100 * low:
        return low / 1.3, high * 1.3, True
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin, False


def _cloud(axes: Axes, pair: np.ndarray) -> None:
    if pair.shape[1] <= DOTS:
        size = 5.0 if pair.shape[1] < 500 else 3.5
        axes.plot(*pair, "o", color=BELONGS, alpha=0.45, markersize=size, markeredgewidth=0, gid="cloud")
        return
    edges = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        log = axis.get_scale() == "log"
        edges.append(np.geomspace(low, high, 91) if log else np.linspace(low, high, 91))
    counts, *_ = np.histogram2d(pair[0], pair[1], bins=(edges[0], edges[1]))
    axes.pcolormesh(
        *edges, np.ma.masked_equal(counts.T, 0), cmap="Blues", norm=LogNorm(0.2, max(counts.max(), 1)), gid="cloud"
    )


def _corners(axes: Axes, refused: np.ndarray, labels: tuple[str, str]) -> None:
    """Write the share of the pictures in each quarter into its corner of the axes."""
    first, second = (shorten(label, 20) for label in labels)
    for a, b, text in (
        (False, False, "both accept"),
        (True, True, "both refuse"),
        (True, False, f"only {first} refuses"),
        (False, True, f"only {second} refuses"),
    ):
        share = percent(((refused[0] == a) & (refused[1] == b)).mean())
        corner = axes.annotate(
            f"{text}\n{share}",
            (float(a), float(b)),
            xycoords="axes fraction",
            xytext=(-4 if a else 4, -4 if b else 4),
            textcoords="offset points",
            ha="right" if a else "left",
            va="top" if b else "bottom",
            fontsize=8.5,
            color=INK if a == b else "#a84300",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
        write(corner)


@as_png
def weight_curve(
    weights: Any, curves: Mapping[str, Any], chosen: float | None = None, *, width: float = WIDTH
) -> Figure:
    """Draw metrics such as AUROC over the weight of a loss on a logarithmic axis, the chosen weight marked.

    `weights` (k,) of at least 0, in any order; `curves` is a name to (k,) or (k, repeats) values, of repeats the mean
    as a line and their range as a bar. Weight 0 is drawn separately at the left. Values that are not finite leave a gap.
    `DataError` for lengths that differ, negative weights, nothing to draw, or a chosen weight that was not tried.
    """
    weights = numbers(weights, "weights")
    values = {name: np.asarray(curve, dtype=np.float64) for name, curve in curves.items()}
    _check_weights(weights, values, chosen)
    order = np.argsort(weights, kind="stable")
    positions = _positions(weights[order])
    figure = canvas(width, 3.6, (0.62, 0.2, 0.42, 0.88))
    axes = quiet(figure.add_subplot())
    handles = []
    for number, curve in enumerate(values.values()):
        colour, tried = COLOURS[number % len(COLOURS)], curve[order].reshape(len(order), -1)
        axes.vlines(positions, tried.min(axis=1), tried.max(axis=1), color=colour, alpha=0.3, linewidth=6, gid="range")
        look: dict[str, Any] = {"color": colour, "linewidth": 2, "linestyle": LINES[number % len(LINES)]}
        # nothing lies between weight 0 and the smallest other one
        for part in (weights[order] == 0, weights[order] > 0):
            (line,) = axes.plot(positions[part], tried.mean(axis=1)[part], marker="o", markersize=5, **look)
        handles.append(line)
    labels = [shorten(name, 40) for name in values]
    if chosen is not None:
        at = positions[np.flatnonzero(weights[order] == chosen)[0]]
        handles.append(axes.axvline(at, color=INK, linewidth=1.3, linestyle=LINES[1], zorder=1, gid="chosen"))
        labels.append(f"chosen: {_short(chosen)}")
    ticks = _ticks(weights[order], positions)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlim(positions.min() - 0.3, positions.max() + 0.3)
    axes.set_xlabel("weight of the latent loss (lambda), logarithmic", color=DIM, fontsize=9)
    heading(figure, "Search for the weight", f"{len(np.unique(weights))} weights tried")
    legend(
        figure,
        handles,
        labels,
        loc="lower left",
        ncols=4 if width == WIDTH else 2,
        bbox_to_anchor=(0.5 / width, 0),
        borderaxespad=0.1,
    )
    return figure


def _check_weights(weights: np.ndarray, curves: Mapping[str, np.ndarray], chosen: float | None) -> None:
    if not len(weights) or not any(np.isfinite(curve).any() for curve in curves.values()):
        raise DataError("There are no weights to draw.", "Give the weights tried, and a curve of finite values.")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError("A weight is negative or not finite.", "Give weights of at least 0.")
    for name, curve in curves.items():
        if curve.ndim not in (1, 2) or len(curve) != len(weights):
            raise DataError(
                f"The curve '{name}' has shape {curve.shape} for {len(weights)} weights.",
                "Give a value, or a row of repeats, for each weight.",
            )
    if chosen is not None and chosen not in weights:
        raise DataError(f"The chosen weight {chosen:g} is not among those tried.", "Choose one of them.")


def _positions(weights: np.ndarray) -> np.ndarray:
    """Return the positions of weights: their logarithms, weight 0 a decade left of the smallest other one."""
    positive = weights[weights > 0]
    if not len(positive):
        return np.zeros(len(weights))
    return np.log10(np.where(weights > 0, weights, positive.min() / 10))


def _ticks(weights: np.ndarray, positions: np.ndarray) -> dict[float, str]:
    """Return the labels of the axis by position: each weight where there is room, whole decades among many."""
    ticks = dict(zip(positions.tolist(), map(_short, weights.tolist()), strict=True))
    if len(ticks) <= 12:
        return ticks
    decades = range(int(np.ceil(positions[weights > 0].min())), int(np.floor(positions.max())) + 1)
    kept = {position: text for position, text in ticks.items() if text == "0"}
    return kept | {float(decade): _short(10.0**decade) for decade in decades}


def _short(weight: float) -> str:
    """Format a weight as 0, 0.03, 1e-5 or 3e-5."""
    if 0 < weight < 0.01:
        return np.format_float_scientific(weight, precision=2, trim="-", exp_digits=1)
    return f"{weight:.3g}"
