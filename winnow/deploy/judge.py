"""What an exported file says of pictures that were read: outputs of patches put together to rows, verdicts and places of damage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from winnow.deploy.runtime import REGIONS, WITHOUT_MAPS, Deployed
from winnow.detect.blank import counted, raised
from winnow.detect.parts import foreign_of, names_of
from winnow.detect.pictures import keys_of, most_anomalous
from winnow.inspect.locate import AnomalyMaps, Picture
from winnow.inspect.locate import located as locate
from winnow.inspect.wholes import Whole
from winnow.pool.blank import bare_rows
from winnow.pool.patches import picture_of
from winnow.pool.pool import Items

BATCH = 16  # pictures at once: more brings no speed on a processor and takes memory
ITEMS = ("id", "source", "time", "page", "track")


@dataclass(frozen=True)
class Judged:
    """What a file says of n items: its outputs (`found`), those that are bare (n,), and, of a file that judges whole pictures by
    their patches, the number of patches (`parts`) and the threshold (`limits`) of each picture (m,)."""

    items: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    parts: np.ndarray | None
    limits: np.ndarray | None

    def rows(self, model: Deployed) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray | None]:
        """Return items, outputs and thresholds of the rows that a table of them has.

        A row is an item, or, where a file without classes judges whole pictures, a picture: its most anomalous patch. Thresholds
        are None of a file that has none.
        """
        if self.limits is not None and model.classes is None:
            return *_wholes(self.items, self.found), self.limits
        threshold = None if model.threshold is None else np.full(len(self.items["id"]), model.threshold)
        return self.items, self.found, threshold

    def regions(self, model: Deployed) -> np.ndarray | None:
        """Return the name of the part that does not belong (n,), "" of items that belong; None of a file that judges no parts."""
        if REGIONS not in self.found:
            return None
        assert model.threshold is not None
        return names_of(foreign_of(self.found[REGIONS], model.threshold), self.found["score"] <= model.threshold)

    @property
    def highest(self) -> np.ndarray:
        """Return the highest score of each picture (m,)."""
        return most_anomalous(keys_of(self.items), self.found["score"])[1]


def judged(model: Deployed, pool: Items, found: Mapping[str, np.ndarray]) -> Judged:
    """Return what the outputs of a file for all of a pool's pixels (`found`) say of the pool."""
    bare, items = bare_rows(pool), {name: pool.column(name) for name in ITEMS}
    raised_ones = _with_bare(model, items, dict(found), bare)
    parts = None if model.picture_threshold is None else _parts(items, raised_ones, bare)
    return Judged(items, raised_ones, parts, None if parts is None else model.limits(parts))


def damage(
    model: Deployed, pool: Items, judged: Judged, *, all_of_them: bool, wholes: Whole | None = None
) -> tuple[int, Iterator[tuple[int, Picture]]] | None:
    """Return of how many pictures, and which, it is told where they are damaged: `all_of_them`, or those that do not belong.

    None of a file that knows no places. Pixels are those of `wholes`, where given.
    """
    if judged.limits is None or model.format == WITHOUT_MAPS:
        return None
    wanted = np.flatnonzero(np.ones(len(judged.limits), bool) if all_of_them else judged.highest > judged.limits)
    maps = None
    if model.map_usual is not None and model.map_level is not None:
        maps = AnomalyMaps(partial(_maps, model), model.map_usual, model.map_level)
    return len(wanted), locate(pool, judged.found["score"], judged.limits, wanted, maps, wholes)


def notes_of(model: Deployed, pool: Items, judged: Judged) -> list[str]:
    """Return the sentences on pictures of other sizes or with more patches than the run's own."""
    larger = ""
    if model.picture_limits is not None and judged.parts is not None:
        larger = model.picture_limits.note(judged.parts, promised=(model.false_alarm_rate or 0) < 1)
    unlike = model.usual.notes(pool) if model.usual else []
    return list(filter(None, [*unlike, larger]))


def _with_bare(
    model: Deployed, items: dict[str, np.ndarray], found: dict[str, np.ndarray], bare: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the outputs with the bare patches (n,) as damage, whatever the model says of them."""
    if model.blank is None or not bare.any():
        return found
    member = most_anomalous(keys_of(items), found["score"])[2]
    scores = raised(found["score"], bare, member, model.blank.score, partial(_thresholds, model))
    p_values = np.where(bare, np.minimum(found["p_value"], model.blank.p_value), found["p_value"])
    return {**found, "score": scores, "p_value": p_values}


def _thresholds(model: Deployed, parts: np.ndarray) -> np.ndarray:
    """Return the thresholds of pictures with so many patches, -inf of a file that judges none."""
    limits = model.limits(parts)
    return np.full(len(parts), -np.inf) if limits is None else limits


def _parts(items: dict[str, np.ndarray], found: dict[str, np.ndarray], bare: np.ndarray) -> np.ndarray | None:
    """Return the number of patches of each whole picture; None of a file that judges none."""
    if "score" not in found:
        return None
    _, _, member = most_anomalous(keys_of(items), found["score"])
    return counted(member, bare)


def _maps(model: Deployed, pixels: np.ndarray) -> np.ndarray:
    """Return the anomaly maps of patches, batch after batch."""
    return np.concatenate([model.anomaly_maps(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)])


def _wholes(
    items: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return items and outputs of pictures, each those of its most anomalous patch."""
    _, highest, member = most_anomalous(keys_of(items), found["score"])
    worst = np.flatnonzero(found["score"] == highest[member])
    rows = worst[np.unique(member[worst], return_index=True)[1]]
    items = {name: column[rows] for name, column in items.items()}
    return {**items, "id": picture_of(items["id"])}, {name: values[rows] for name, values in found.items()}
