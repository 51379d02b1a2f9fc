"""The report as one HTML file that opens anywhere, offline: plain data in, a page out.

A page is a title, a verdict in plain words, key figures, notes, and sections of text, figures and tables. Empty parts
are left out. Everything that comes from outside (file names, labels, messages) is data and can never become markup; the
page's own content policy forbids scripts and every request, so even markup could not act.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from winnow.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"
# Not allowed in HTML: control characters, and the surrogates that Python makes of undecodable file names.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
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
    """A PNG (as `winnow.report.figures` makes it, 200 dots per inch) with a title, which is also its alternative text."""

    title: str
    png: bytes
    caption: str = ""
    pictures: bool = False  # photographs, which keep their colours on a dark page; charts are inverted


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; without columns, pairs of a name and its value.

    Cells are text (shown as it is), numbers, booleans or None (a dash). Columns of numbers are aligned right.
    `marked` are the numbers of rows that are highlighted (options the user set, segments that do not belong).
    `folded` hides the rows behind the title.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    marked: Collection[int] = ()
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then figures, then tables, then commands to copy; left out when it has none."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """Everything a report shows, top to bottom. `made` is the last line: program, version, date."""

    title: str
    verdict: str = ""
    key_figures: Sequence[KeyFigure] = ()
    notes: Sequence[Note] = ()
    sections: Sequence[Section] = ()
    made: str = ""


def render(page: Page) -> str:
    """Render the page as one HTML document, to be written as UTF-8.

    Raises `DataError` for a figure that is not a PNG, or a row without exactly one cell per column.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cell=cell, numeric=_numeric, data_uri=_data_uri, css_size=_css_size, digest=_digest)
    for section in page.sections:
        for table in section.tables:
            _check(table)
    sections = [(_anchor(number, part), part) for number, part in enumerate(page.sections) if _filled(part)]
    html = environment.get_template("report.html.j2").render(page=page, sections=sections)
    return UNWRITABLE.sub("\ufffd", html)


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


def _check(table: Table) -> None:
    width = len(table.columns) or 2
    for row in table.rows:
        if len(row) != width:
            raise DataError(
                f"Table '{table.title}' has a row of {len(row)} cells under {width} columns.",
                "Give every row one cell a column.",
            )


def _filled(section: Section) -> bool:
    return bool(any(section.text) or section.figures or any(table.rows for table in section.tables) or section.commands)


def _anchor(number: int, section: Section) -> str:
    plain = unicodedata.normalize("NFKD", section.title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") + f"-{number + 1}"


def _data_uri(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(figure.png).decode("ascii")


def _css_size(figure: Figure) -> tuple[int, int]:
    """Return width and height in CSS pixels, half the stored ones."""
    if len(figure.png) < 33 or not figure.png.startswith(PNG):
        raise DataError(f"Figure '{figure.title}' is not a PNG.", "Make it with winnow.report.figures.")
    width, height = struct.unpack(">II", figure.png[16:24])
    return width // 2, height // 2


def _digest(style: str) -> str:
    """Return the style's hash for the content policy, which then allows no other style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
