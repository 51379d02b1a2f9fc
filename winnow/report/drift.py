"""A page on whether a threshold still holds: the capital of the bets, what changed, and pictures before and since."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from winnow.detect.changes import Change
from winnow.report.embed import thumbnail
from winnow.report.html import Card, Gallery, Page, Section, Table, chart, render
from winnow.report.style import ANOMALOUS, BELONGS, INK, LINES, WIDTH, as_png, canvas, heading, quiet
from winnow.results import Drifted
from winnow.results.words import count
from winnow.version import __version__


def drift_page(
    found: Drifted, curve: Sequence[float], changes: Sequence[Change], before: np.ndarray, since: np.ndarray
) -> str:
    """Return the page as HTML; `curve` are the logarithms (base 10) of the capital after each block, `before` and `since` pixels."""
    if found.at is None:
        verdict = f"The threshold holds, as far as {count(found.blocks, 'block')} can tell."
    else:
        verdict = f"The threshold does not hold any more, since about block {found.since:,}; told in block {found.at:,} ({found.where})."
    text = (
        "Each block bets against an unchanged process, from a capital of 1. It reaches the line by chance in at most a share of "
        f"{found.alarm:g} of the processes that never change."
    )
    told = f"Capital of the bets after each block. {verdict}"
    drawn = [chart("Capital after each block", capital, curve, found.alarm, found.at, alt=told)] if curve else []
    sections = [Section("The bets", [text], drawn)]
    if changes:
        rows = [(change.name, change.before, change.now, change.moved) for change in changes]
        marked = [row for row, change in enumerate(changes) if change.told]
        columns = ("quantity", "mean before", "mean since", "standard deviations moved")
        sheets = [("Held-out pictures of the run", before), ("Pictures since the change", since)]
        sections.append(
            Section(
                "What changed",
                galleries=[
                    Gallery(
                        title, [Card(f"{number}", thumbnail(one)) for number, one in enumerate(pixels, 1)], size="small"
                    )
                    for title, pixels in sheets
                ],
                tables=[Table(columns, rows, marked=marked)],
            )
        )
    return render(Page("Drift", verdict, sections=sections, made=f"Winnow {__version__}"))


@as_png
def capital(curve: Sequence[float], alarm: float, at: int | None, *, width: float = WIDTH) -> Drawing:
    """Draw the logarithm (base 10) of the capital over the blocks, the line of the alarm, and where it was raised."""
    figure = canvas(width, 2.8, (0.62, 0.3, 0.42, 0.62))
    axes = quiet(figure.subplots())
    blocks = np.arange(1, len(curve) + 1)
    axes.plot(blocks, curve, color=BELONGS, linewidth=1.3)
    axes.axhline(-math.log10(alarm), color=INK, linewidth=1.3, linestyle=LINES[1])
    if at is not None:
        axes.plot([at], [curve[at - 1]], "o", color=ANOMALOUS)
    axes.set_xlabel("block")
    axes.set_ylabel("capital, log10")
    heading(
        figure, "Capital of the bets against an unchanged process", f"{len(curve):,} blocks, alarm at {1 / alarm:,.0f}"
    )
    return figure
