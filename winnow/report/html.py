"""The report as one HTML file that opens anywhere, offline: plain data in, a page out.

A page is a title, a verdict in plain words, key figures, notes, and sections of text, figures, galleries and tables. Empty
parts are left out, empty columns and rows of tables too. Everything that comes from outside (file names, labels, messages)
is data and can never become markup; the page's own content policy forbids scripts and every request, so even markup could
not act.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from winnow.errors import DataError
from winnow.report.embed import Embedded, embedded
from winnow.report.style import NARROW

# Not allowed in HTML: control characters, and the surrogates that Python makes of undecodable file names.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
MOST_BYTES = 2_000_000
"""A page that would be larger has its photographs stored smaller."""
SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)  # of their width and height, tried in turn
MOST_ROWS = 500
"""Rows of a table that are shown; its title says how many there are."""
NUMBER = re.compile(r"[-−+±]?[\d.][\d.,:\s±–×%]*(e[-+]?\d+)?( to [\d.,]+)?\s?(%|[a-zA-Zµ]{1,3}|pictures/s)?")


@dataclass(frozen=True)
class KeyFigure:
    """One number of the strip on top: its name, its value with the unit, and a few words on its origin."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Note:
    """A sentence the reader must not miss; a warning says that a result may not hold."""

    text: str
    kind: Literal["note", "warning"] = "note"


@dataclass(frozen=True)
class Figure:
    """A PNG (as `winnow.report.figures` makes it, 200 dots per inch) with a title.

    `alt` says in words what is seen (the title and the caption by default), `narrow` is the same drawn for a telephone.
    """

    title: str
    png: bytes
    caption: str = ""
    pictures: bool = False  # photographs, which keep their colours on a dark page; charts are inverted
    alt: str = ""
    narrow: bytes = b""


@dataclass(frozen=True)
class Card:
    """A picture of a gallery (WebP, JPEG or PNG): its name, and lines of text below.

    A `wide` one, such as a strip of cloth, has a row of its own. `alt` says in words what is seen.
    """

    name: str
    image: bytes
    lines: Sequence[str] = ()
    wide: bool = False
    alt: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures in their own proportions under a title, as many in a row as fit; left out when it has none."""

    title: str
    cards: Sequence[Card]
    caption: str = ""
    size: Literal["small", "usual", "large"] = "usual"


@dataclass(frozen=True)
class Share:
    """A cell of a table with a share from 0 to 1, drawn as a bar too."""

    value: float

    def __str__(self) -> str:
        return f"{self.value * 100:.1f}\u00a0%"


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; without columns, pairs of a name and its value.

    Cells are text (shown as it is), numbers, booleans, a `Share` or None (a dash). Columns of numbers are aligned right; a column
    without a value is left out, and so is a row that has none behind its name. `marked` are the numbers of rows that are
    highlighted (options the user set, segments that do not belong). `folded` hides the rows behind the title.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    marked: Collection[int] = ()
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then figures, galleries, tables and commands to copy; left out when it has none.

    A `folded` one shows its title until it is opened.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[str] = ()
    galleries: Sequence[Gallery] = ()
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """Everything a report shows, top to bottom. `made` is the last line: program, version, date."""

    title: str
    verdict: str = ""
    key_figures: Sequence[KeyFigure] = ()
    notes: Sequence[Note] = ()
    sections: Sequence[Section] = ()
    made: str = ""


def chart(
    name: str, draw: Callable[..., bytes], /, *args: Any, alt: str = "", pictures: bool = False, **options: Any
) -> Figure:
    """Return what a function of `winnow.report` draws of `args`, for the width of the page and for that of a telephone."""
    narrow = draw(*args, width=NARROW, **options)
    return Figure(name, draw(*args, **options), alt=alt, pictures=pictures, narrow=narrow)


def render(page: Page, most: int = MOST_BYTES) -> str:
    """Render the page as one HTML document, to be written as UTF-8; of photographs as much is stored as keeps it below `most` bytes.

    Raises `DataError` for a figure or card that is no picture, or a row without exactly one cell per column.
    """
    html = ""
    for share in SHARES:
        html = _rendered(page, share)
        if len(html.encode("utf-8")) <= most:
            break
    return html


def _rendered(page: Page, share: float) -> str:
    """Render the page with photographs stored at this share of their width and height."""
    parts = [replace(part, tables=[_shown(table) for table in part.tables]) for part in page.sections]
    sections = [(_anchor(number, part), part) for number, part in enumerate(parts) if _filled(part)]
    html = _template(share).render(page=page, sections=sections)
    return UNWRITABLE.sub("\ufffd", html)


@cache
def _template(share: float) -> Template:
    """Return the page's template, compiled once, for photographs at this share."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cell=cell, numeric=_numeric, image=partial(_image, share=share), digest=_digest, bar=_bar
    )
    return environment.get_template("report.html.j2")


def cell(value: Any) -> str:
    """Format a cell as text: 4213 is 4,213; floats have four digits; None and NaN are a dash; text stays as it is."""
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        number = float(value)
        return f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"
    if isinstance(value, list | tuple):
        return " × ".join(cell(part) for part in value) or "–"
    return str(value) or "–"


def _numeric(table: Table) -> list[bool]:
    """Return for each column whether it holds only numbers (with or without a unit), and so is aligned right."""
    kinds = []
    for column in range(len(table.columns)):
        texts = {cell(row[column]) for row in table.rows} - {"–"}
        kinds.append(bool(texts) and all(len(text) < 40 and NUMBER.fullmatch(text) for text in texts))
    return kinds


def _shown(table: Table) -> Table:
    """Return the first rows of a table, without the columns that hold no value, and the rows that hold none behind their name.

    Raises `DataError` for a row without exactly one cell per column.
    """
    width = len(table.columns) or 2
    for row in table.rows:
        if len(row) != width:
            raise DataError(
                f"Table '{table.title}' has a row of {len(row)} cells under {width} columns.",
                "Give every row one cell a column.",
            )
    told = np.array([[cell(value) != "–" for value in row] for row in table.rows], bool).reshape(-1, width)
    rows = np.flatnonzero(told[:, 1:].any(axis=1) if width > 1 else told[:, 0]).tolist()
    more = f", the first {MOST_ROWS:,} of {len(rows):,}" if len(rows) > MOST_ROWS else ""
    rows = rows[:MOST_ROWS]
    columns = np.flatnonzero(told[rows].any(axis=0)).tolist() if table.columns else [0, 1]
    return replace(
        table,
        title=(table.title + more).removeprefix(", "),
        columns=[table.columns[column] for column in columns] if table.columns else (),
        rows=[[table.rows[row][column] for column in columns] for row in rows],
        marked={place for place, row in enumerate(rows) if row in table.marked},
    )


def _filled(section: Section) -> bool:
    shown = [*section.figures, *section.commands, *(gallery for gallery in section.galleries if gallery.cards)]
    return bool(any(section.text) or shown or any(table.rows for table in section.tables))


def _anchor(number: int, section: Section) -> str:
    plain = unicodedata.normalize("NFKD", section.title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") + f"-{number + 1}"


def _image(data: bytes, title: str, photographs: bool, scale: int = 1, *, share: float = 1.0) -> Embedded:
    """Return a picture for the page with its size in CSS pixels, `scale` stored ones each."""
    try:
        found = embedded(data, photographs=photographs, share=share)
    except OSError as error:
        raise DataError(f"Figure '{title}' is no picture.", "Make it with winnow.report.figures.") from error
    return Embedded(found.uri, found.width // scale, found.height // scale)


def _bar(value: Any) -> str | None:
    """Return how long the bar of a cell is, in per cent; None for a cell that has none."""
    return f"{100 * value.value:.1f}" if isinstance(value, Share) else None


def _digest(style: str) -> str:
    """Return the style's hash for the content policy, which then allows no other style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
