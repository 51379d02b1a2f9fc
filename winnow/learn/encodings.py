"""What is known of every picture after the network: its code, its losses, its group. Numpy alone, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow.errors import DataError, RunError
from winnow.files import read_json, replacing, sha256, verify, write_json


@dataclass(frozen=True)
class Encodings:
    """Codes and measures of n pictures, in one order.

    `codes` (n, d) float32; `measures` a name to (n,) float64 (reconstruction, worst, latent, variance, ...; which ones
    depends on the model); `ids` and `groups` (n,) strings; `seen` (n,) bool: the network was trained on the picture or
    its best checkpoint was chosen by it, so its losses are smaller than a new picture's.
    """

    codes: np.ndarray
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    groups: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))

    @classmethod
    def of(
        cls,
        codes: Any,
        *,
        measures: dict[str, Any] | None = None,
        ids: Any = None,
        groups: Any = None,
        seen: Any = None,
    ) -> Encodings:
        """Encodings of plain arrays; what is not given is filled in: ids by row number, each row its own group, none seen."""
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2:
            raise DataError(f"Codes must be a (pictures, dimensions) array, not of shape {codes.shape}.")
        n = len(codes)
        rows = np.arange(n).astype(str).astype(object)
        encodings = cls(
            codes,
            {name: np.asarray(values, dtype=np.float64) for name, values in (measures or {}).items()},
            rows if ids is None else np.asarray(ids, dtype=object),
            rows if groups is None else np.asarray(groups, dtype=object),
            np.zeros(n, dtype=bool) if seen is None else np.asarray(seen, dtype=bool),
        )
        for name, column in {
            **encodings.measures,
            "ids": encodings.ids,
            "groups": encodings.groups,
            "seen": encodings.seen,
        }.items():
            if column.shape != (n,):
                raise DataError(f"'{name}' has shape {column.shape}; with {n} codes it must have shape ({n},).")
        return encodings

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Encodings:
        """The encodings of some rows (a slice, a mask or row numbers)."""
        return replace(
            self,
            codes=self.codes[rows],
            measures={name: values[rows] for name, values in self.measures.items()},
            ids=self.ids[rows],
            groups=self.groups[rows],
            seen=self.seen[rows],
        )

    def measure(self, name: str) -> np.ndarray:
        """One measure (n,); `DataError` when this model has none of that name or a value is not finite."""
        if name not in self.measures:
            raise DataError(
                f"These encodings have no '{name}', only {', '.join(sorted(self.measures)) or 'codes'}.",
                "Choose another scorer, or a model that gives it (a VAE for 'latent', an autoencoder for 'reconstruction').",
            )
        return self.measures[name]

    def save(self, folder: Path, **about: Any) -> None:
        """Writes codes.npy, measures.parquet and, last, encodings.json with `about` and the SHA-256 of both."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        codes, measures = folder / "codes.npy", folder / "measures.parquet"
        (folder / "encodings.json").unlink(missing_ok=True)
        with replacing(codes) as temporary, temporary.open("wb") as file:
            np.save(file, self.codes)
        with replacing(measures) as temporary:
            pq.write_table(
                pa.table(
                    {
                        "id": pa.array(self.ids, pa.string()),
                        "group": pa.array(self.groups, pa.string()),
                        "seen": self.seen,
                        **self.measures,
                    }
                ),
                temporary,
            )
        write_json(
            folder / "encodings.json",
            {
                **about,
                "pictures": len(self),
                "dimensions": self.codes.shape[1],
                "sha256": {path.name: sha256(path) for path in (codes, measures)},
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Encodings:
        """Reads what `save` wrote, codes memory-mapped; `RunError` when absent, `Damaged` when changed on disk."""
        import pyarrow.parquet as pq

        if not (folder / "encodings.json").exists():
            raise RunError(f"{folder} holds no finished encodings.", "Run: winnow encode --run RUN")
        for name, expected in read_json(folder / "encodings.json")["sha256"].items():
            verify(folder / name, expected)
        table = pq.read_table(folder / "measures.parquet")
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
        ids, groups, seen = columns.pop("id"), columns.pop("group"), columns.pop("seen")
        return cls(np.load(folder / "codes.npy", mmap_mode="r"), columns, ids, groups, seen)


def finite(codes: Any) -> np.ndarray:
    """Codes (n, d) as contiguous float32; `DataError` for another shape, and for what is not finite, by its first row."""
    codes = np.ascontiguousarray(codes, np.float32)
    if codes.ndim != 2:
        raise DataError(f"Codes must be a (pictures, dimensions) array, not of shape {codes.shape}.")
    wrong = np.flatnonzero(~np.isfinite(codes).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} of {len(codes):,} codes are not finite, the first in row {wrong[0]}.",
            "Encode again, or leave those pictures out.",
        )
    return codes


def unit(codes: np.ndarray) -> np.ndarray:
    """Codes (n, d) of length 1: squared distances are then twice the cosine distance. A code of zeros stays zeros."""
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    return codes / np.where(lengths > 0, lengths, np.inf).astype(np.float32)
