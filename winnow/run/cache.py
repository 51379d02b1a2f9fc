"""What takes long to compute of a whole pool, kept in the run's folder to be used again: R/.cache/NAME.npz, NAME.json.

Nothing depends on it: what is missing, of another key, damaged or not to be written is computed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from winnow.arrays import read_arrays
from winnow.embeddings import blocks
from winnow.errors import RunError
from winnow.files import as_written, read_sealed, replacing, write_sealed
from winnow.run.folder import RunFolder
from winnow.run.places import CACHE
from winnow.select.duplicates import stand_ins
from winnow.select.geometry import whitened
from winnow.select.projection import projected
from winnow.version import __version__

FORMAT = 2
ARRAY = "array"


class Cache:
    """Arrays by name, each with the key of all that made it. What was made anew is written by `keep`, when its step is done."""

    def __init__(self, run: RunFolder) -> None:
        self.folder = run.path / CACHE
        self.made: dict[str, tuple[str, np.ndarray]] = {}

    def get(
        self,
        name: str,
        key: Sequence[Any],
        make: Callable[[], np.ndarray],
        fits: Callable[[np.ndarray], bool],
    ) -> np.ndarray:
        """Return the array kept under a name, where it is whole, was made with the same key and `fits`; else that which `make` makes."""
        text = hashlib.sha256(json.dumps([FORMAT, __version__, *key], sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{name}.json"
        with suppress(RunError, OSError), as_written(path, ""):
            if read_sealed(path, "cache", "", verified=False)["key"] == text:
                read_sealed(path, "cache", "")
                found = read_arrays(path.with_suffix(".npz"), "")[ARRAY]
                if fits(found):
                    return found
        found = make()
        self.made[name] = text, found
        return found

    def keep(self) -> None:
        """Write what was made anew; a folder that cannot be written, or a full disk, is no error."""
        for name, (key, array) in self.made.items():
            with suppress(RunError, OSError):
                self.folder.mkdir(exist_ok=True)
                for left in self.folder.glob(f".{name}.*.tmp"):
                    left.unlink(missing_ok=True)
                with replacing(self.folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
                    np.savez(file, allow_pickle=False, **{ARRAY: array})
                write_sealed(self.folder / f"{name}.json", {"key": key}, [f"{name}.npz"])
        self.made.clear()


def sum_of(*columns: np.ndarray) -> str:
    """Return a hash of columns (n,) of numbers or texts."""
    digest = hashlib.sha256()
    for column in columns:
        for part in blocks(len(column)):
            some = column[part]
            digest.update(json.dumps(some.tolist()).encode() if some.dtype == object else some.tobytes())
        digest.update(f"{column.shape}".encode())
    return digest.hexdigest()


def kept_features(cache: Cache, made_of: Sequence[Any], vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return embeddings (n, d) as `whitened` by some rows; `made_of` says which embeddings and rows these are."""
    return cache.get(
        "whitened",
        made_of,
        lambda: whitened(vectors, rows),
        lambda found: found.ndim == 2 and len(found) == len(vectors) and found.dtype == np.float32,
    )


def kept_stand_ins(
    cache: Cache,
    made_of: Sequence[Any],
    vectors: np.ndarray,
    near: float,
    *,
    rows: np.ndarray,
    sources: np.ndarray,
    times: np.ndarray,
    seconds: float,
) -> np.ndarray:
    """Return what `stand_ins` does; `made_of` says which embeddings and rows these are."""

    def fits(found: np.ndarray) -> bool:
        whole = found.shape == rows.shape and found.dtype == np.int64
        return whole and bool(((found >= 0) & (found < len(rows))).all() and (found[found] == found).all())

    return cache.get(
        "duplicates",
        [*made_of, near, seconds, sum_of(sources, times)],
        lambda: stand_ins(vectors, near, rows=rows, sources=sources, times=times, seconds=seconds),
        fits,
    )


def kept_map(cache: Cache, made_of: str, vectors: Callable[[], np.ndarray], n: int) -> np.ndarray:
    """Return where a run's n embeddings lie on the map that the labelling page and a choice show, (n, 2), each axis from 0 to 1;
    `made_of` says which embeddings these are."""

    def drawn() -> np.ndarray:
        from winnow.report.selection import flat_map

        return projected(vectors(), flat_map)

    return cache.get("map", [made_of], drawn, lambda kept: kept.shape == (n, 2) and bool(np.isfinite(kept).all()))
