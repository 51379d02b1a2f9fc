"""What a watch shows: a table that is drawn anew where there is a terminal, else, every ten seconds, a line of what has changed."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

    from winnow.watch.messages import Messenger

SHOWN = 60  # p-values that the terminal shows of a source
KEPT = 300  # verdicts that are kept, for the page
EVERY = 10.0  # seconds between two lines, and two drawings
DRAWN = 0.25
BARS = "▁▂▃▄▅▆▇█"
SURE = 3.0  # a p-value of so many powers of ten below 1 is the highest bar


class Seen(NamedTuple):
    """What is shown of a verdict."""

    p_value: float
    belongs: bool


@dataclass
class Standing:
    """What is shown of a source: how many verdicts of each kind, the last of them, its state, whether it is away, a warning."""

    counts: Counter[str] = field(default_factory=Counter)
    last: deque[Seen] = field(default_factory=lambda: deque(maxlen=KEPT))
    state: str = ""
    warning: str = ""


def sparkline(p_values: Sequence[float]) -> str:
    """Return a bar a p-value, the higher the more anomalous: its logarithm."""
    heights = [min(-math.log10(max(p, 1e-9)) / SURE, 1.0) for p in p_values]
    return "".join(BARS[round(height * (len(BARS) - 1))] for height in heights)


class View:
    """Shows how a watch stands; what is told goes to standard error."""

    def __init__(self, tell: Callable[[str], None], *, terminal: bool | None = None) -> None:
        self.tell, self._last = tell, time.monotonic()
        self._live: Any = None
        self._told: list[str] = []
        self._terminal = sys.stdout.isatty() if terminal is None else terminal

    def show(
        self, standing: Mapping[str, Standing], left_out: Mapping[str, int], messengers: Sequence[Messenger]
    ) -> None:
        """Show how it stands, where that is due."""
        if time.monotonic() - self._last < (DRAWN if self._terminal else EVERY):
            return
        self._last = time.monotonic()
        if self._terminal:
            self._draw(_table(standing, left_out))
            return
        told, self._told = self._told, lines(standing, left_out)
        for line in self._told:
            if line not in told:  # or a folder into which nothing comes would fill a log
                self.tell(line)

    def close(self, standing: Mapping[str, Standing], left_out: Mapping[str, int]) -> None:
        """Show the end."""
        if self._live:
            self._live.update(_table(standing, left_out), refresh=True)
            self._live.stop()
        else:
            for line in lines(standing, left_out):
                self.tell(line)

    def _draw(self, table: Table) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(table, auto_refresh=False)
            self._live.start()
        self._live.update(table, refresh=True)


def lines(standing: Mapping[str, Standing], left_out: Mapping[str, int]) -> list[str]:
    """Return a line a source."""
    found = []
    for name, one in standing.items():
        said = f"{name}: {one.counts['verdict']:,} judged, {one.counts['foreign']:,} do not belong"
        said += f", {one.counts['refused']:,} refused" if one.counts["refused"] else ""
        said += f", {left_out[name]:,} frames left out" if left_out.get(name) else ""
        found.append("; ".join(filter(None, (said, one.state, one.warning))))
    return found


def _table(standing: Mapping[str, Standing], left_out: Mapping[str, int]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("source", "state", "judged", "foreign", "refused", "left out", "how anomalous, over time"):
        table.add_column(title, justify="right" if title in ("judged", "foreign", "refused", "left out") else "left")
    for name, one in standing.items():
        numbers = (one.counts["verdict"], one.counts["foreign"], one.counts["refused"], left_out.get(name, 0))
        cells = (
            name,
            "; ".join(filter(None, (one.state, one.warning))),
            *(f"{number:,}" for number in numbers),
            sparkline([seen.p_value for seen in one.last][-SHOWN:]),
        )
        table.add_row(*map(Text, cells))
    return table
