"""Readers that hostile headers cannot keep busy: what Pillow reads in small pieces is counted, what it would unfold is weighed."""

from __future__ import annotations

import io

from PIL import TiffImagePlugin

from winnow.errors import Unreadable

MOST_HEADER_READS = 10_000
MOST_HEADER_BYTES = 16 << 20  # of a JPEG, whose reader joins pieces of metadata one by one
MOST_READS = 1_000_000
MOST_VALUES = 1_000_000


class Metered(io.BytesIO):
    """The bytes of a picture, which end in `Unreadable` when more pieces are read than any sound file has."""

    def __init__(self, data: bytes, header_bytes: int | None = None) -> None:
        super().__init__(data)
        self.reads, self.bytes = MOST_HEADER_READS, header_bytes

    def opened(self) -> None:
        """Begin to count anew: the header is read, the pixels follow."""
        self.reads, self.bytes = MOST_READS, None

    def read(self, size: int | None = -1) -> bytes:
        """Read as `BytesIO` does."""
        self.reads -= 1
        found = super().read(size)
        if self.bytes is not None:
            self.bytes -= len(found)
        if self.reads < 0 or (self.bytes is not None and self.bytes < 0):
            raise Unreadable("it is damaged: its header never ends")
        return found


class Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF whose tags are weighed before they are turned into numbers, thirty bytes and more for each."""

    def _setup(self) -> None:
        for tag, data in self.tag_v2._tagdata.items():
            kind = self.tag_v2.tagtype.get(tag)
            if kind not in (1, 2, 6, 7) and len(data) > MOST_VALUES * 2:
                raise Unreadable(f"it has a tag of {len(data):,} bytes ({tag})")
        super()._setup()
