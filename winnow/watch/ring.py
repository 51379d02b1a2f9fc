"""The last minutes of pictures on the disk, and never more than so many."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from winnow.errors import Unreadable
from winnow.files import replacing, told

LONGEST_SIDE = 1280
MOST = 20_000  # pictures, some two gigabytes


class Ring:
    """A folder of pictures of which those older than so many `minutes` go: small JPEG, or `whole`, PNG as they came."""

    def __init__(self, folder: Path, minutes: float, *, whole: bool = False) -> None:
        self.folder, self.seconds, self.whole = folder, minutes * 60, whole
        folder.mkdir(exist_ok=True)
        for left in folder.glob(".*.tmp"):
            left.unlink()
        aged = sorted((path.stat().st_mtime, path) for path in folder.glob("*.png" if whole else "*.jpg"))
        self._held: deque[tuple[float, Path]] = deque(aged)
        self._times = Counter(path for _, path in aged)  # that each is held: one may be judged again

    def keep(self, name: str, pixels: np.ndarray) -> str:
        """Write a picture (h, w, 3), as JPEG at most LONGEST_SIDE long; return its file's name."""
        written = (write_png if self.whole else write_jpeg)(self.folder, name, pixels)
        self._held.append((time.time(), self.folder / written))
        self._times[self.folder / written] += 1
        return written

    def prune(self) -> None:
        """Remove what is too old, or too much."""
        while self._held and (len(self._held) > MOST or self._held[0][0] < time.time() - self.seconds):
            _, path = self._held.popleft()
            self._times[path] -= 1
            if not self._times[path]:
                del self._times[path]
                path.unlink(missing_ok=True)


def write_jpeg(folder: Path, name: str, pixels: np.ndarray) -> str:
    """Write a picture (h, w, 3), LONGEST_SIDE long at most, into a folder, made where it is missing; return its file's name."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    with told(folder):
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{name}.jpg") as temporary:
            image.save(temporary, "JPEG", quality=85)
    return f"{name}.jpg"


def write_png(folder: Path, name: str, pixels: np.ndarray) -> str:
    """Write a picture (h, w, 3) as it is into a folder; return its file's name."""
    from PIL import Image

    with told(folder), replacing(folder / f"{name}.png") as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
    return f"{name}.png"


def pixels_of(picture: Callable[[], np.ndarray] | None) -> np.ndarray | None:
    """Return the pixels of a moment, None where they cannot be read any more."""
    try:
        return None if picture is None else picture()
    except Unreadable:
        return None
