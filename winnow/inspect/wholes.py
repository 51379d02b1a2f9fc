"""Judged pictures decoded again at their own resolution, for the overlays of runs that scale what they judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from winnow.errors import Unreadable

Whole = Callable[[int, tuple[int, int]], np.ndarray | None]
"""Returns the picture (h, w, c) uint8 of a tile by its row, of a size (h, w), or None where it cannot be had."""


class Wholes:
    """The pictures that the tiles of a pool were cut from, called by the row of a tile and the picture's size.

    `read` returns them in colour by the row of a tile, as `Originals.whole`; of a pool of one channel they become grey. A source that is
    gone or has changed since gives None, and is counted in the `note`.
    """

    def __init__(self, read: Callable[[int], np.ndarray], channels: int) -> None:
        self._read, self._channels = read, channels
        self._shown, self._reasons = 0, list[str]()

    def __call__(self, row: int, size: tuple[int, int]) -> np.ndarray | None:
        """Return the picture (h, w, c) uint8 of a tile, of `size` (h, w), or None."""
        self._shown += 1
        try:
            whole = self._read(row)
            if whole.shape[:2] != size:
                raise Unreadable(f"It has {whole.shape[1]}x{whole.shape[0]} pixels now, not {size[1]}x{size[0]}.")
        except Unreadable as error:
            self._reasons.append(error.message)
            return None
        return whole if self._channels == 3 else np.asarray(Image.fromarray(whole).convert("L"))[..., None]

    @property
    def note(self) -> str:
        """Return a sentence on pictures that could not be read again, "" where all could."""
        if not self._reasons:
            return ""
        return (
            f"{len(self._reasons):,} of {self._shown:,} pictures are drawn as the run saw them, enlarged, because they could not "
            f"be read again, the first: {self._reasons[0]}"
        )
