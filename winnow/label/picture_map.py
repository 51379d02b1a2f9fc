"""A map of the pool: every picture a point, coloured by what is known of it; a region of it is a lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from winnow.errors import OptionError
from winnow.label.catalogue import Catalogue
from winnow.label.later import Later
from winnow.label.live import Live

SIDE = 4095  # largest coordinate
SHADES = 255


class Mapped(NamedTuple):
    """Rows of the catalogue (m,), their positions (m, 2) from 0 to 1, and their one-class scores (m,) or None."""

    rows: np.ndarray
    positions: np.ndarray
    scores: np.ndarray | None


class PictureMap:
    """The map of a catalogue, worked out when it is first asked for."""

    def __init__(self, make: Callable[[], Mapped]) -> None:
        self._later = Later(make)

    def points(self) -> dict[str, Any]:
        """Return rows and coordinates from 0 to 4095; `ready` is False while they are worked out."""
        found = self._later.get()
        if found is None:
            return {"ready": False, "failure": self._later.failure}
        x, y = self._coordinates(found).T
        return {"ready": True, "failure": "", "rows": found.rows.tolist(), "x": x.tolist(), "y": y.tolist()}

    def colours(self, by: str, catalogue: Catalogue, live: Live, classes: list[str]) -> dict[str, Any]:
        """Return a number of each point: of the class or group in `names`, -1 for none; or a shade of the score, 0 to 255."""
        found = self._later.made
        if found is None:
            return {"names": [], "values": [], "scale": None}
        rows, names = found.rows, classes
        if by == "label":
            values = catalogue.decided().label[rows]
        elif by == "prediction":
            learnt = None if live.blind else live.learnt
            names = learnt.classes if learnt else []
            values = learnt.kind[rows] if learnt else np.full(len(rows), -1)
        elif by == "group":
            names, values = catalogue.groups, catalogue.group_numbers[rows]
        elif by == "score":
            return self._shades(found)
        else:
            raise OptionError(f"The map is not coloured by {by[:50]!r}.", "Choose label, prediction, score or group.")
        return {"names": names, "values": values.tolist(), "scale": None}

    def rows(self, part: str) -> np.ndarray:
        """Return the rows in a region 'left,top,right,bottom' in coordinates from 0 to 4095, from its middle outwards."""
        try:
            left, top, right, bottom = (int(side) for side in part.split(","))
        except ValueError:
            raise OptionError(f"{part[:50]!r} is no region of the map.", "Drag one on the map.") from None
        found = self._later.get()
        if found is None:
            return np.empty(0, int)
        x, y = self._coordinates(found).T
        inside = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        apart = (x[inside] - (left + right) / 2) ** 2 + (y[inside] - (top + bottom) / 2) ** 2
        rows: np.ndarray = found.rows[inside[np.argsort(apart, kind="stable")]]
        return rows

    def _coordinates(self, found: Mapped) -> np.ndarray:
        return np.round(found.positions * SIDE).astype(int)

    def _shades(self, found: Mapped) -> dict[str, Any]:
        """Return shades between the 2nd and 98th percentile: a few extreme scores would leave all others one colour."""
        if found.scores is None:
            return {"names": [], "values": [-1] * len(found.rows), "scale": None}
        low, high = np.percentile(found.scores, [2, 98])
        values = np.clip((found.scores - low) / max(high - low, 1e-12), 0, 1) * SHADES
        return {"names": [], "values": values.astype(int).tolist(), "scale": [float(low), float(high)]}
