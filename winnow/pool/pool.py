"""The pool: every picture once, at the model's size, as memory-mapped pixels and a table of the items."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.arrays import map_array
from winnow.errors import Damaged, RunError
from winnow.files import as_written, read_sealed, replacing, sha256, verify_once

FORMAT = 5
ITEMS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),
        ("joined", pa.string()),
        ("twin", pa.string()),
        ("time", pa.float64()),
        ("page", pa.int64()),
        ("box", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("status", pa.string()),
        ("confidence", pa.float64()),
        ("track", pa.string()),
    ]
)
"""The columns of items.parquet. `group` is the user's; `twin` the id of the first picture that this one, or the one it was cut
from, is near-identical to (else its own); `joined` the group that is held out: groups with near-identical pictures are one.
`track`: the id of the first crop of the same person in its video, or of the first picture that a list says is of its track; null
where persons were not followed and no list names a track, and in older pools."""
PICTURES = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("time", pa.float64()),
        ("page", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("patches", pa.int64()),
        ("blank", pa.int64()),
        ("flat", pa.int64()),
        ("bare", pa.int64()),
        ("colour", pa.bool_()),
    ]
)
"""The columns of pictures.parquet: the pictures that patches, or crops of persons, were cut from. `blank` patches were dropped,
`flat` ones are blank, dropped or kept as holes; the last `bare` ones, of new pictures alone, are blank as no good picture is (see
`winnow.pool.blank`)."""
USED = ("group", "joined", "twin", "split", "status")
"""The columns of `ITEMS` that decide what each picture is used for."""
SHARD_ROWS = 8192
HEADER = 128  # bytes of a .npy header, the same for every number of rows, so that it can be written last
AGAIN = "Run ingest again on the same inputs: it restores the missing pictures."
REMADE = "Remove that file, and run ingest again on the same inputs: it makes it anew."
OPEN_SHARDS = 256  # memory maps held open at once: each keeps a file handle, and 1024 is a common limit


class Items(Protocol):
    """What pictures are judged as: a `Pool`, or pictures in memory (`winnow.pool.in_memory`)."""

    channels: int

    def __len__(self) -> int: ...

    @property
    def pictures(self) -> pa.Table:
        """Return what was cut, see `Pool.pictures`."""

    def column(self, name: str) -> np.ndarray:
        """Return a column of the items, see `Pool.column`."""

    def pixels(self, rows: Any) -> np.ndarray:
        """Return the pixels of rows, see `Pool.pixels`."""


class Pool:
    """A finished pool: `items` is a table of n rows, `pixels(rows)` their pixels. Only the table is read into memory.

    `fingerprint` changes with the pictures, their order and their pixels, `table_fingerprint` with their groups, splits and
    status, `label_fingerprint` with the labels that the sources came with.
    """

    def __init__(self, folder: Path, about: dict[str, Any], items: pa.Table) -> None:
        self.folder = folder
        self.items = items
        self.size: tuple[int, int] = (about["size"][0], about["size"][1])
        self.channels: int = about["channels"]
        self.fingerprint: str = about["fingerprint"]
        self.table_fingerprint: str = about["table_fingerprint"]
        self.label_fingerprint: str = about["label_fingerprint"]
        self._shards: list[dict[str, Any]] = about["shards"]
        self._shape = (*self.size, self.channels)
        self._starts = np.cumsum([0] + [shard["rows"] for shard in self._shards])
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()

    @classmethod
    def open(cls, folder: Path) -> Pool:
        """Open a pool that ingest finished; `RunError` when it is not whole, `Damaged` when a file has changed.

        The table is checked by its SHA-256, the pixels by their number of bytes here, and by their SHA-256 when a process
        reads them first.
        """
        folder = Path(folder)
        if not (folder / "pool.json").exists():
            begun = (folder / "parts").exists()
            raise RunError(
                f"{folder} {'holds an ingest that was not finished' if begun else 'holds no pictures'}.",
                "Run ingest again: it goes on where it stopped." if begun else "Run ingest first.",
            )
        about = read_sealed(folder / "pool.json", "pool", AGAIN, FORMAT)
        with as_written(folder / "pool.json", AGAIN):
            for shard in about["shards"]:
                path = folder / shard["file"]
                if not path.exists() or path.stat().st_size != shard["bytes"]:
                    raise Damaged(f"{path} is missing or not of the size it was written with.", AGAIN)
            pool = cls(folder, about, pq.read_table(folder / "items.parquet", schema=ITEMS))
            if pool._starts[-1] != len(pool) or pool.channels not in (1, 3):
                raise ValueError("its pixels are not those of its items")
        return pool

    def __len__(self) -> int:
        return self.items.num_rows

    @property
    def usable(self) -> np.ndarray:
        """Return the pictures to use (n,) bool: all but exact copies of an earlier picture."""
        return self.column("status") == "ok"

    def column(self, name: str) -> np.ndarray:
        """Return a column of the table: text and whole numbers as objects (None where null), other numbers as float64 (NaN where null)."""
        column = self.items.column(name)
        if pa.types.is_floating(column.type):
            return column.to_numpy(zero_copy_only=False)
        return np.array(column.to_pylist(), dtype=object)

    def rows_of(self, ids: Iterable[Any]) -> np.ndarray:
        """Return the row of each id (m,), for copies that of the first; `RunError` for an id that is not in the pool."""
        known = self.column("id")
        first = {known[row]: row for row in range(len(self) - 1, -1, -1)}
        names = [str(name) for name in ids]
        gone = next((name for name in names if name not in first), None)
        if gone is not None:
            raise RunError(f"{self.folder} does not hold the picture {gone}, which a later step has read.",
                           "Restore the pool, or do the later steps again: encode, calibrate.")  # fmt: skip
        return np.array([first[name] for name in names], int)

    @property
    def pictures(self) -> pa.Table:
        """Return a row for each picture whose patches or crops are in the pool, see `PICTURES`; none where none were cut."""
        path = self.folder / "pictures.parquet"
        return pq.read_table(path) if path.exists() else PICTURES.empty_table()

    def pixels(self, rows: Any) -> np.ndarray:
        """Return the pixels uint8 (n, h, w, c) of the given row numbers (or slice, or mask), in their order."""
        rows = np.arange(len(self))[rows]
        pixels = np.empty((len(rows), *self.size, self.channels), np.uint8)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            pixels[here] = self._map(int(shard))[rows[here] - self._starts[shard]]
        return pixels

    @property
    def parts(self) -> list[tuple[int, np.ndarray]]:
        """Return the number of each part of the ingest that has rows, and its rows, in their order."""
        numbers = [
            int(shard["file"].removeprefix("pixels-").removesuffix(".npy").split("-")[0]) for shard in self._shards
        ]
        bounds = [k for k in range(len(numbers) + 1) if k in (0, len(numbers)) or numbers[k] != numbers[k - 1]]
        return [(numbers[k], np.arange(self._starts[k], self._starts[end])) for k, end in pairwise(bounds)]

    def origins(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the pixels of rows (n,) are: the SHA-256 of their file (n,), and the place in it (n,).

        Rows of two pools that agree in both have the same pixels, wherever they stand.
        """
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        sums = np.array([shard["sha256"] for shard in self._shards], dtype=object)
        return sums[shards], rows - self._starts[shards]

    def _map(self, shard: int) -> np.ndarray:
        if shard not in self._maps:
            path = self.folder / self._shards[shard]["file"]
            verify_once(path, self._shards[shard]["sha256"], REMADE)
            self._maps[shard] = map_array(path, REMADE)
            with as_written(path, REMADE):
                if self._maps[shard].shape != (self._shards[shard]["rows"], *self._shape):
                    raise ValueError(f"pictures of {self._maps[shard].shape[1:]}, not of {self._shape}")
            if len(self._maps) > OPEN_SHARDS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(shard)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": OrderedDict()}  # a worker maps the files itself


def write_shards(
    folder: Path, number: int, images: Iterable[np.ndarray], shape: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Write uint8 images of one shape into pixels-*.npy files of at most SHARD_ROWS rows, and return the files' descriptions."""
    shards: list[dict[str, Any]] = []
    images = iter(images)
    for k in count():
        first = next(images, None)
        if first is None:
            return shards
        path = folder / shard_name(number, k)
        with replacing(path) as temporary:
            rows = _write_npy(temporary, chain([first], islice(images, SHARD_ROWS - 1)), shape)
            shards.append(
                {"file": path.name, "rows": rows, "bytes": temporary.stat().st_size, "sha256": sha256(temporary)}
            )
    return shards


def shard_name(number: int, k: int) -> str:
    """Return the name of the file with the pixels of a part, or with the k-th piece of them."""
    return f"pixels-{number:05d}.npy" if k == 0 else f"pixels-{number:05d}-{k}.npy"


def _write_npy(path: Path, images: Iterator[np.ndarray], shape: tuple[int, ...]) -> int:
    rows = 0
    with path.open("wb") as file:
        file.seek(HEADER)
        for image in images:
            if image.shape != shape or image.dtype != np.uint8:
                raise AssertionError(f"a decoder returned {image.dtype} {image.shape}, not uint8 {shape}")
            file.write(image.tobytes())
            rows += 1
        about = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(rows, *shape)}, }}"
        file.seek(0)
        file.write(
            b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + about.ljust(HEADER - 11).encode() + b"\n"
        )
    return rows


def fingerprint(size: tuple[int, int], channels: int, ids: Any, shards: list[dict[str, Any]]) -> str:
    """Return a hash of all that embeddings of a pool depend on: the pictures, their order and their pixels."""
    digest = hashlib.sha256(f"{size} {channels}\n".encode())
    for part in chain(ids, (shard["sha256"] for shard in shards)):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()[:32]


def column_fingerprint(batches: Iterable[pa.RecordBatch]) -> str:
    """Return a hash of the values in some columns of a pool's table."""
    digest = hashlib.sha256()
    for batch in batches:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()[:32]
