"""What is known of every picture after the network: its code, its losses, its group. Numpy alone, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow.arrays import map_array
from winnow.errors import DataError
from winnow.files import as_written, read_sealed, replacing, write_sealed

BLOCK = 8192
"""Rows of embeddings that are worked on at once, so that what is made of all of them is not in memory beside them."""
LONGEST = float(np.finfo(np.float32).max) / 8  # squared length; that of a distance is at most four times as large


@dataclass(frozen=True)
class Embeddings:
    """Embeddings and measures of n pictures, in one order.

    `vectors` (n, d) float32; `losses` a name to (n,) float64 (reconstruction, latent, variance, ...; which ones depends on the
    model); `ids`, `groups` and `twins` (n,) strings: pictures of one group are held out together, and near-identical ones
    (`twins` equal) even where too few groups are divided; `seen` (n,) bool: the network was trained on the picture or its best
    checkpoint was chosen by it, so its losses are smaller than a new picture's, or it was given for that. `cells`
    (n, rows, columns, d) float32: the embedding of each place of a grid over the picture, None of a model without one.
    """

    vectors: np.ndarray
    losses: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    groups: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    twins: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    cells: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        vectors: Any,
        *,
        losses: dict[str, Any] | None = None,
        ids: Any = None,
        groups: Any = None,
        twins: Any = None,
        seen: Any = None,
        cells: Any = None,
    ) -> Embeddings:
        """Embeddings of plain arrays; what is not given is filled in: ids by row number, each row its own group and twin, none seen."""
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.ndim != 2:
            raise DataError(f"Embeddings must be a (pictures, dimensions) array, not of shape {vectors.shape}.")
        n = len(vectors)
        rows = np.arange(n).astype(str).astype(object)
        embeddings = cls(
            vectors,
            {name: np.asarray(values, dtype=np.float64) for name, values in (losses or {}).items()},
            rows if ids is None else np.asarray(ids, dtype=object),
            rows if groups is None else np.asarray(groups, dtype=object),
            rows if twins is None else np.asarray(twins, dtype=object),
            np.zeros(n, dtype=bool) if seen is None else np.asarray(seen, dtype=bool),
            None if cells is None else np.asarray(cells, dtype=np.float32),
        )
        if embeddings.cells is not None and (embeddings.cells.ndim != 4 or len(embeddings.cells) != n):
            raise DataError(
                f"'cells' has shape {embeddings.cells.shape}; with {n} embeddings it must be ({n}, rows, columns, d)."
            )
        for name, column in {
            **embeddings.losses,
            "ids": embeddings.ids,
            "groups": embeddings.groups,
            "twins": embeddings.twins,
            "seen": embeddings.seen,
        }.items():
            if column.shape != (n,):
                raise DataError(f"'{name}' has shape {column.shape}; with {n} embeddings it must have shape ({n},).")
        return embeddings

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> Embeddings:
        """Return the embeddings of some rows (a slice, a mask or row numbers)."""
        return replace(
            self,
            vectors=self.vectors[rows],
            losses={name: values[rows] for name, values in self.losses.items()},
            ids=self.ids[rows],
            groups=self.groups[rows],
            twins=self.twins[rows],
            seen=self.seen[rows],
            cells=None if self.cells is None else self.cells[rows],
        )

    def loss(self, name: str) -> np.ndarray:
        """Return one loss or image statistic (n,); `DataError` when this model has none of that name or a value is not finite."""
        if name not in self.losses:
            raise DataError(
                f"These embeddings have no '{name}', only {', '.join(sorted(self.losses)) or 'vectors'}.",
                "Choose another scorer, or a model that gives it (a VAE for 'latent', an autoencoder for 'reconstruction').",
            )
        return self.losses[name]

    def save(self, folder: Path, **about: Any) -> None:
        """Write vectors.npy, cells.npy where there are any, losses.parquet and, last, embeddings.json with `about` and all SHA-256."""
        save_joined([self], folder, **about)

    @classmethod
    def load(cls, folder: Path, *, cells: bool = False) -> Embeddings:
        """Read what `save` wrote, embeddings memory-mapped; `RunError` when absent, `Damaged` when changed on disk.

        `cells`, of which those of a picture are a hundred times as large as all else, are left out unless they are asked for.
        """
        import pyarrow.parquet as pq

        again = "Run: winnow encode --run RUN"
        sealed = read_sealed(folder / "embeddings.json", "embeddings", again, but=() if cells else ("cells.npy",))
        with as_written(folder / "losses.parquet", again):
            table = pq.read_table(folder / "losses.parquet")
            columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
            ids, groups, twins, seen = (columns.pop(name) for name in ("id", "group", "twin", "seen"))
        vectors = map_array(folder / "vectors.npy", again)
        with as_written(folder / "vectors.npy", again):
            if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != len(ids):
                raise ValueError(f"{vectors.dtype} {vectors.shape} are no embeddings of {len(ids)} pictures")
        places = map_array(folder / "cells.npy", again) if cells and "cells.npy" in sealed["sha256"] else None
        with as_written(folder / "cells.npy", again):
            if places is not None and (places.ndim != 4 or places.dtype != np.float32 or len(places) != len(ids)):
                raise ValueError(f"{places.dtype} {places.shape} are no cells of {len(ids)} pictures")
        return cls(vectors, columns, ids, groups, twins, seen, places)


def save_joined(parts: Sequence[Embeddings], folder: Path, **about: Any) -> None:
    """Write embeddings that come in parts, one after the other, as those of all pictures: see `Embeddings.save`.

    Those that are memory-mapped are read one part at a time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, names = sum(map(len, parts)), ["vectors.npy"]
    (folder / "embeddings.json").unlink(missing_ok=True)
    _save_rows(folder / "vectors.npy", n, [part.vectors for part in parts])
    if parts[0].cells is not None:
        _save_rows(folder / "cells.npy", n, [part.cells for part in parts if part.cells is not None])
        names.append("cells.npy")
    columns = {
        **{name: pa.array(_column(parts, f"{name}s"), pa.string()) for name in ("id", "group", "twin")},
        "seen": _column(parts, "seen"),
        **{name: np.concatenate([part.losses[name] for part in parts]) for name in parts[0].losses},
    }
    with replacing(folder / "losses.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary)
    whole = {**about, "pictures": n, "dimensions": parts[0].vectors.shape[1]}
    write_sealed(folder / "embeddings.json", whole, (*names, "losses.parquet"))


def _column(parts: Sequence[Embeddings], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts])


def _save_rows(path: Path, n: int, arrays: Sequence[np.ndarray]) -> None:
    """Write float32 arrays as one .npy file of n rows, as `numpy.save` writes them joined."""
    shape = (n, *arrays[0].shape[1:])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for array in arrays:
            np.ascontiguousarray(array, "<f4").tofile(file)


def finite(vectors: Any) -> np.ndarray:
    """Return embeddings (n, d) as contiguous float32; `DataError` for another shape, and by its first row for what is not finite.

    Nor may an embedding be so long that the square of a distance to it is not finite: the library that searches for
    neighbours ends the process then.
    """
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise DataError(f"Embeddings must be a (pictures, dimensions) array, not of shape {vectors.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.flatnonzero(~(np.einsum("nd,nd->n", vectors, vectors) < LONGEST))
    if len(wrong):
        what = "too large" if np.isfinite(vectors[wrong]).all() else "not finite"
        raise DataError(
            f"{len(wrong):,} of {len(vectors):,} embeddings are {what}, the first in row {wrong[0]}.",
            "Encode again, or leave those pictures out.",
        )
    return vectors


def unit_length(vectors: Any) -> Any:
    """Return embeddings (n, d) divided by their lengths, in their own precision; a code of zeros stays zeros.

    Squared distances are then twice the cosine distances. For arrays of any library of the array API standard.
    """
    from array_api_compat import array_namespace

    if isinstance(vectors, np.ndarray) and len(vectors) > BLOCK:
        found = np.empty(vectors.shape, vectors.dtype)
        for part in blocks(len(vectors)):
            found[part] = unit_length(vectors[part])
        return found
    xp = array_namespace(vectors)
    lengths = xp.sqrt(xp.sum(vectors * vectors, axis=1, keepdims=True))
    return vectors / xp.where(lengths > 0, lengths, xp.ones_like(lengths))


def blocks(n: int, most: int = BLOCK) -> Iterator[slice]:
    """Yield slices of n rows, as equal in length as can be, of `most` at most."""
    count = -(-n // most)
    for number in range(count):
        yield slice(number * n // count, (number + 1) * n // count)


def spread(n: int, most: int) -> np.ndarray:
    """Return at most `most` of the rows 0 to n - 1, evenly spread, first and last among them where there are two."""
    return np.linspace(0, n - 1, min(most, n)).astype(int)
