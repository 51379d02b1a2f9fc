"""Arrays in files: read without unpickling, and never larger than the file, whatever its header says."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from winnow.files import as_written, bring, told

KINDS = "biufU"
"""Kinds of the numbers and texts that Winnow keeps in arrays."""


class ArraysOnDisk(Sequence[np.ndarray]):
    """Arrays of a new folder, each read anew when it is asked for: together they may be larger than memory.

    `RunError` for one that cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        with told(folder):
            folder.mkdir()

    def append(self, array: np.ndarray) -> None:
        """Write one more."""
        path = self._file(self._count)
        with told(path):
            np.save(path, array, allow_pickle=False)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> np.ndarray:  # type: ignore[override]
        if not 0 <= number < self._count:
            raise IndexError(number)
        found: np.ndarray = np.load(self._file(number), allow_pickle=False)
        return found

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npy"


def read_arrays(path: Path, again: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, by name; `Damaged`, with the remedy `again`, when it is not such a file."""
    with as_written(path, again):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
                    raise ValueError(f"'{entry.filename}' is packed")
                with archive.open(entry) as file:
                    _check(file, entry.file_size)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)


def map_array(path: Path, again: str) -> np.ndarray:
    """Return the array of an .npy file, memory-mapped; `Damaged`, with the remedy `again`, when it is not such a file."""
    bring(path)
    with as_written(path, again):
        with path.open("rb") as file:
            _check(file, path.stat().st_size)
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return found


def _check(file: IO[bytes], size: int) -> None:
    """Raise `ValueError` unless the header is of an array of plain values that fills a file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"the format {version} is not known")
    shape, _, dtype = read(file)
    if dtype.kind not in KINDS or min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its header says {dtype} {shape}, which is not what it holds")
