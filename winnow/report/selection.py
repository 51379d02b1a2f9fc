"""Figures of a selection: crops at their own proportions, and a map of the embeddings with the chosen pictures marked."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from winnow.errors import DataError
from winnow.report.style import COLOURS, DIM, INK, WIDTH, as_png, canvas, heading, legend

OUTLIER_KIND = 0  # the kind of outliers
PALE = 226  # grey around a crop that is not square
NEIGHBOURHOOD = 30.0  # t-SNE's perplexity: about so many pictures count as a picture's neighbours


def in_proportion(pictures: np.ndarray, aspects: np.ndarray) -> np.ndarray:
    """Restore pictures uint8 (n, h, w, c) of one size to their own `aspects` (n,), width by height, as (n, a, b, c).

    Each is as large as fits into a cell; all cells have one size, at most a square of the longer side, padded in pale grey.
    """
    from PIL import Image

    side = max(pictures.shape[1:3])
    sizes = [(max(1, round(side * min(1.0, a))), max(1, round(side / max(1.0, a)))) for a in aspects]
    widest, highest = np.max(sizes, axis=0)
    cells = np.full((len(pictures), highest, widest, pictures.shape[3]), PALE, np.uint8)
    for cell, picture, (wide, high) in zip(cells, pictures, sizes, strict=True):
        image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
        left, top = (widest - wide) // 2, (highest - high) // 2
        cell[top : top + high, left : left + wide] = np.asarray(image.resize((wide, high))).reshape(high, wide, -1)
    return cells


def flat_map(features: np.ndarray) -> np.ndarray:
    """Return positions (n, 2) on a map on which neighbours among features (n, d) stay neighbours: t-SNE from components.

    Source: van der Maaten & Hinton 2008. For fewer than five rows, or equal ones, the first two dimensions. The same
    features return the same map; some 2,000 take ten seconds.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.asarray(features, np.float32)
    wide = np.pad(features, ((0, 0), (0, max(0, 2 - features.shape[1]))))
    if len(wide) < 5 or not wide.std(axis=0).any():
        return wide[:, :2] - wide[:, :2].mean(axis=0)
    start = PCA(2, random_state=0).fit_transform(wide)
    perplexity = min(NEIGHBOURHOOD, (len(wide) - 1) / 3)
    start = start / max(start[:, 0].std(), 1e-12) * 1e-4
    return TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=0, max_iter=500).fit_transform(
        wide
    )


@as_png
def choice_map(positions: np.ndarray, kind: np.ndarray, ranks: np.ndarray, numbered: int = 50) -> Figure:
    """Draw pictures as dots at `positions` (n, 2), coloured by `kind` (n,) from 1; those with a rank (n,), not NaN, are ringed.

    Kind 0 are the outliers, drawn as crosses. The first `numbered` ranks are written next to their rings. `DataError` when
    the numbers differ.
    """
    if not len(positions) == len(kind) == len(ranks):
        raise DataError(
            f"{len(positions)} positions, {len(kind)} kinds and {len(ranks)} ranks differ.",
            "Give one for each picture.",
        )
    figure = canvas(WIDTH, 6.0, (0.05, 0.05, 0.35, 0.6))
    axes = figure.add_subplot()
    axes.axis("off")
    kind, chosen = np.asarray(kind, int), np.flatnonzero(~np.isnan(ranks))
    out = kind == OUTLIER_KIND
    colours = np.where(out, DIM, np.array(COLOURS)[(kind - 1) % len(COLOURS)])
    axes.scatter(positions[~out, 0], positions[~out, 1], s=13, c=colours[~out], alpha=0.45, linewidths=0)
    cross = axes.scatter(positions[out, 0], positions[out, 1], s=16, c=DIM, marker="x", linewidths=0.9, alpha=0.7)
    ring = axes.scatter(
        positions[chosen, 0], positions[chosen, 1], s=46, facecolors=colours[chosen], edgecolors=INK, linewidths=1.1
    )
    for row in chosen[ranks[chosen] <= numbered]:
        number = axes.annotate(
            f"{ranks[row]:.0f}", positions[row], (4.5, 3.5), textcoords="offset points", fontsize=8, color=INK
        )
        number.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
    heading(
        figure,
        "Where the chosen pictures lie",
        f"{len(chosen):,} chosen of {len(positions):,} shown; neighbourhoods by t-SNE",
    )
    named = [name for name in np.unique(kind) if name != OUTLIER_KIND]
    swatches = [axes.scatter([], [], c=COLOURS[(name - 1) % len(COLOURS)], s=28) for name in named]
    handles = [(ring, f"chosen, the first {numbered} with their ranks"), *([(cross, "outliers")] if out.any() else [])]
    handles += zip(swatches, [f"kind {name}" for name in named], strict=True)
    legend(
        figure,
        *zip(*handles, strict=True),
        loc="lower left",
        fontsize=8.5,
        ncols=6,
        handletextpad=0.2,
        columnspacing=1.4,
    )
    return figure
