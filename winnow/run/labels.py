"""The labels of a run, and its items as the labelling page lists them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from winnow.errors import Damaged
from winnow.files import quoted
from winnow.label.catalogue import Catalogue, Listed
from winnow.label.store import LabelStore
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.run.working_copy import copied, opened
from winnow.tables import read_table


def labels(run: RunFolder) -> dict[str, tuple[str, str, str]]:
    """Return label, who gave it and when of every labelled item of a run, by its id; the run may be read-only."""
    with read_store(run) as store:
        return store.labels()


def read_store(run: RunFolder) -> LabelStore:
    """Return the run's label store to read from, an empty one when there is none; the run may be read-only."""
    return LabelStore.read(_path(run))


def open_store(run: RunFolder) -> LabelStore:
    """Return the run's label store, begun when there is none."""
    return LabelStore.open(_path(run))


def label_command(run: str | Path) -> str:
    """Return the command that labels the pictures of a run, of one in a bucket those that label a copy; with its classes where they
    must still be named."""
    with LabelStore.read(Path(run) / "labels.sqlite") as store:
        named = "" if store.classes else " --classes A,B"
    copy = opened(Path(run))
    if copy is not None:
        return copied(copy.address, f"winnow label --run COPY{named}")
    return f"winnow label --run {quoted(run)}{named}"


def _path(run: RunFolder) -> Path:
    return run.path / "labels.sqlite"


def catalogue_of(run: RunFolder, pool: Pool) -> Catalogue:
    """Return the pool's items with the lanes that a selection made."""
    outliers = _lane(run, "outliers.csv", lambda row: Listed(row["id"], row["why"], score=_finite(row["p_value"])))
    return Catalogue(pool.items, pool.usable, chosen_of(run), outliers)


def chosen_of(run: RunFolder) -> list[Listed]:
    """Return what `winnow select` chose, nothing when it did not run; `Damaged` when its table is not what it writes."""
    return _lane(run, "selection.csv", lambda row: Listed(row["id"], row["why"], rank=int(row["rank"])))


def _lane(run: RunFolder, name: str, listed: Callable[[dict[str, str]], Listed]) -> list[Listed]:
    """Return what a table that `winnow select` wrote lists, nothing when there is none; `Damaged` when it is not such a table."""
    path = run.path / name
    if not path.exists():
        return []
    try:
        return [listed(row) for row in read_table(run.verified("select", path))]
    except (KeyError, ValueError) as error:
        raise Damaged(f"{path} is not what winnow select writes ({error}).", "Run winnow select again.") from error


def _finite(text: str) -> float | None:
    value = float(text) if text != "" else math.nan
    return value if math.isfinite(value) else None
