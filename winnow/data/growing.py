"""A file that somebody else is still writing, read as one stream that ends when it has not grown for a while."""

from __future__ import annotations

import io
import os
import threading
import time
from typing import Any

LOOK_SECONDS = 0.2


class Growing(io.RawIOBase):
    """A local file, read from its start: at its end a reader waits until there is more, where `waits` is set.

    It ends when the file has not grown for `still` seconds, or when `stop` is set. Nothing is written, locked or kept open but for
    reading.
    """

    def __init__(self, path: str, still: float, stop: threading.Event) -> None:
        super().__init__()
        self.waits = False
        self._still, self._stop = still, stop
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed with this)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        until = time.monotonic() + self._still
        while not (count := self._file.readinto(buffer)) and self.waits and time.monotonic() < until:
            if self._stop.wait(LOOK_SECONDS):
                break
        return count or 0

    def close(self) -> None:
        self._file.close()
        super().close()
