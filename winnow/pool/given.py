"""The boxes and the frames that lists name: cut out of their pictures, and handed out with the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from winnow.data.pieces import NEAR, Piece
from winnow.errors import Unreadable
from winnow.objects.crops import crops
from winnow.options import IngestOptions
from winnow.pool.patches import cut, read_boxes


def boxes_of_pieces(pieces: Sequence[Piece]) -> np.ndarray | None:
    """Return the boxes (n, 4) that pieces have, each once, None where they are whole pictures."""
    boxes = list(dict.fromkeys(box for _, box, _ in pieces if box))
    return read_boxes(boxes) if boxes else None


def cut_given(image: np.ndarray, boxes: np.ndarray, options: IngestOptions) -> Sequence[np.ndarray]:
    """Return what boxes (n, 4) hold of a picture: scaled as a picture is or, for a run of patches, as it is.

    Raises `Unreadable` (reason alone) for a box that is not inside the picture, or not of the size of a patch.
    """
    height, width = image.shape[:2]
    for x, y, wide, high in boxes.tolist():
        if x + wide > width or y + high > height:
            raise Unreadable(f"it has {width}x{height} pixels, which do not hold the box {x},{y},{wide},{high}")
        if options.patches and (high, wide) != tuple(options.size):
            raise Unreadable(
                f"the box {x},{y},{wide},{high} is not a patch of {options.size[1]}x{options.size[0]} (--size)"
            )
    return list(cut(image, boxes)) if options.patches else crops(image, boxes, options)


class Due:
    """The pieces of a video that are due at each of its frames, told one after the other."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = [piece for piece in pieces if piece[0] is not None]
        self._next = 0

    @property
    def times(self) -> list[float]:
        """Return the times wanted, in seconds."""
        return [time for time, _, _ in self._pieces if time is not None]

    def at(self, time: float) -> list[Piece]:
        """Return the pieces that a frame at a time is the first for."""
        first = self._next
        while self._next < len(self._pieces) and self._stamp(self._next) - NEAR <= round(time * 1000):
            self._next += 1
        return self._pieces[first : self._next]

    def missing(self) -> Iterator[float]:
        """Yield the times that no frame was told for."""
        yield from (time for time, _, _ in self._pieces[self._next :] if time is not None)

    def _stamp(self, place: int) -> int:
        return round((self._pieces[place][0] or 0.0) * 1000)
