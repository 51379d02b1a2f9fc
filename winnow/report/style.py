"""One style for every figure: colours that the colour-blind can distinguish, quiet axes, text in any script, PNG bytes.

Figures are drawn for a page of 960 CSS pixels: one inch is 100 CSS pixels, stored at twice that for sharp screens.
Nothing here touches matplotlib's global state, so figures can be drawn in threads.
"""

from __future__ import annotations

import functools
import io
import itertools
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from winnow.errors import DataError
from winnow.results import words

# Okabe & Ito (2008): distinct under all three common colour blindnesses. The first is that of normal pictures.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#6A4C93", "#7F7F7F")
BELONGS, ANOMALOUS = COLOURS[:2]
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 2, 1, 2)))
INK, DIM, GRID = "#1b2027", "#5b6572", "#e3e7ec"
MIDDLE = "#79818d"  # legible on white and on black, for pictures on a transparent ground

DOTS_PER_INCH = 200  # stored dots for one inch, which is 100 CSS pixels
WIDTH, HALF = 9.0, 4.4  # inches: the page's whole width, and two figures side by side
NARROW = 3.4  # inches: the page's whole width on a telephone

# Families with characters that DejaVu lacks; a character that no installed family has is drawn as an empty box.
FAMILIES = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Yu Gothic",
    "Nirmala UI",
    "Leelawadee UI",
    "Arial Unicode MS",
)
MISSING = "\u25a1"

P = ParamSpec("P")


def as_png(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Make a function that draws a figure return it as PNG bytes; the drawing function is kept as `__wrapped__`."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        return png_of(draw, *args, **kwargs)

    return drawn


def png_of(draw: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """Return what a function draws as PNG bytes."""
    figure, buffer = draw(*args, **kwargs), io.BytesIO()
    # Level 3 takes half of the time of the usual 6, for a tenth more bytes.
    options = {"compress_level": 3}
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}, pil_kwargs=options)
    return buffer.getvalue()


def canvas(
    width: float,
    height: float,
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    *,
    transparent: bool = False,
) -> Figure:
    """Return an empty figure of a size in inches, with margins (left, right, top, bottom) in inches around its axes."""
    figure = Figure(figsize=(width, height), dpi=100, facecolor="none" if transparent else "white")
    FigureCanvasAgg(figure)
    left, right, top, bottom = margins
    figure.subplots_adjust(left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height)
    return figure


def quiet(axes: Axes, *, grid: str = "y") -> Axes:
    """Remove the frame; leave thin lines along one axis ('x', 'y', 'both' or '') and small dim tick labels."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#b4bcc6")
    axes.tick_params(colors=DIM, labelsize=9, length=0, pad=5)
    axes.tick_params(axis="x", which="both", length=3, color="#b4bcc6")
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    return axes


def plain_log(axis: Any) -> None:
    """Label logarithmic ticks with plain numbers: 1, 10, 0.01, and 2 and 5 between them."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def heading(figure: Figure, title: str, note: str = "") -> None:
    """Write a title at the top left corner and, dim at the right, a note on the same line."""
    width, height = figure.get_size_inches()
    if len(note) * 0.075 + len(title) * 0.1 > width < WIDTH:
        note = ""  # on a telephone the title is worth more
    room = int((width - 0.075 * len(note)) / 0.1)  # letters of 11 point bold next to a note of 9 point
    write(figure.text(0, 1 - 0.06 / height, shorten(title, room), va="top", fontsize=11, fontweight="bold", color=INK))
    write(figure.text(1 - 0.1 / width, 1 - 0.07 / height, note, va="top", ha="right", fontsize=9, color=DIM))


def legend(place: Axes | Figure, handles: Iterable[Any], labels: Iterable[str], **options: Any) -> None:
    """Add a frameless legend of handles and labels, which may be in any script and hold any character."""
    handles = list(handles)
    # placed first: matplotlib would leave out a label that begins with an underscore
    drawn = place.legend(handles, ["-"] * len(handles), **{"frameon": False, "fontsize": 9, **options})
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_text(label)
        write(text).set_color(INK)


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as per cent with a no-break space: 0.0123 is 1.2 %."""
    return words.percent(share, decimals).replace(" ", "\u00a0")


def write(text: Text) -> Text:
    """Make a text safe: no formulas (`$`), fonts for its script, a box for each character that no font has."""
    text.set_parse_math(False)
    text.set_text(safe(text.get_text()))
    text.set_fontfamily(_installed())
    return text


def safe(text: str) -> str:
    """Replace every character that no installed font can draw; keep line breaks."""
    if text.isascii() and text.isprintable():
        return text
    known = _characters()
    kinds = ((char, unicodedata.category(char)) for char in text)
    return "".join(
        char if char == "\n" or (ord(char) in known and kind[0] != "C") else "" if kind == "Cf" else MISSING
        for char, kind in kinds
    )


def shorten(text: str, length: int) -> str:
    """Shorten a text in its middle where it is wider than `length` letters; a Chinese character counts as two."""
    widths = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if sum(widths) <= length:
        return text
    head, tail = (length - 1) // 3, length - 1 - (length - 1) // 3
    first = sum(total <= head for total in itertools.accumulate(widths))
    last = sum(total <= tail for total in itertools.accumulate(reversed(widths)))
    return f"{text[:first]}…{text[len(text) - last :]}"


def finite(values: Any, name: str) -> np.ndarray:
    """Return the finite ones among values, as (n,) float64; `DataError` when they are not numbers in one dimension."""
    array = numbers(values, name)
    return array[np.isfinite(array)]


def numbers(values: Any, name: str) -> np.ndarray:
    """Return values as (n,) float64; `DataError` when they are not numbers in one dimension."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"'{name}' holds something that is not a number.", "Give a list or array of numbers.") from None
    if array.ndim != 1:
        raise DataError(f"'{name}' has shape {array.shape}.", "Give one number for each picture: shape (pictures,).")
    return array


@functools.cache
def _installed() -> list[str]:
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    return [family for family in FAMILIES if family in known]


@functools.cache
def _characters() -> frozenset[int]:
    return frozenset(code for family in _installed() for code in FT2Font(font_manager.findfont(family)).get_charmap())
