"""The choice drawn: a map of the codes in two dimensions with the chosen pictures marked."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from winnow.errors import DataError
from winnow.report.style import COLOURS, DIM, INK, WIDTH, as_png, canvas, heading, legend

NEIGHBOURHOOD = 30.0  # t-SNE's perplexity: about so many pictures count as a picture's neighbours


def flat_map(points: np.ndarray) -> np.ndarray:
    """Places (n, 2) on a map in which neighbours among points (n, d) stay neighbours: t-SNE from principal components.

    Source: van der Maaten & Hinton 2008. Of fewer than five points, or equal ones, the first two components. The same
    points give the same map; some 2,000 take ten seconds.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = np.asarray(points, np.float32)
    wide = np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))
    if len(wide) < 5 or not wide.std(axis=0).any():
        return wide[:, :2] - wide[:, :2].mean(axis=0)
    start = PCA(2, random_state=0).fit_transform(wide)
    perplexity = min(NEIGHBOURHOOD, (len(wide) - 1) / 3)
    start = start / max(start[:, 0].std(), 1e-12) * 1e-4
    return TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=0, max_iter=500).fit_transform(wide)


@as_png
def choice_map(places: np.ndarray, kind: np.ndarray, ranks: np.ndarray, numbered: int = 50) -> Figure:
    """Pictures as dots at `places` (n, 2), coloured by `kind` (n,) from 1; those with a rank (n,), not NaN, are ringed.

    The first `numbered` ranks are written beside their rings. `DataError` when the numbers differ.
    """
    if not len(places) == len(kind) == len(ranks):
        raise DataError(f"{len(places)} places, {len(kind)} kinds and {len(ranks)} ranks differ.", "Give one for each picture.")
    figure = canvas(WIDTH, 5.6, (0.05, 0.05, 0.4, 0.3))
    axes = figure.add_subplot()
    axes.axis("off")
    chosen = np.flatnonzero(~np.isnan(ranks))
    colours = np.array(COLOURS)[(np.asarray(kind, int) - 1) % len(COLOURS)]
    axes.scatter(places[:, 0], places[:, 1], s=9, c=colours, alpha=0.45, linewidths=0)
    ring = axes.scatter(places[chosen, 0], places[chosen, 1], s=46, facecolors=colours[chosen], edgecolors=INK, linewidths=1.1)
    for row in chosen[ranks[chosen] <= numbered]:
        axes.annotate(f"{ranks[row]:.0f}", places[row], (4.5, 3.5), textcoords="offset points", fontsize=7.5, color=INK)
    heading(figure, "Where the chosen pictures lie", f"{len(chosen):,} chosen of {len(places):,} shown; colours are kinds")
    legend(figure, [ring], ["chosen, with its rank"], loc="lower left", fontsize=8.5)
    figure.text(0.995, 0.01, "t-SNE: only who is near whom has a meaning", ha="right", fontsize=8.5, color=DIM)
    return figure
