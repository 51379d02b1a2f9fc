"""The pictures that the page shows: JPEGs made in a few threads, the latest kept."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

MOST = 256 << 20  # bytes of JPEG kept

Size = Literal["small", "large", "frame"]
"""Of a row's picture; a frame is the whole picture that a crop was cut from, with the crop's box drawn in."""

Picture = Callable[[int, Size], tuple[bytes, str]]
"""JPEG bytes of a row's picture, and how it stands with its original: "same" as was ingested, or why the pool's own pixels are
shown: "changed" or "missing"; `WinnowError` when there is none."""


class Pictures:
    """JPEGs made in a few threads, the latest kept; two requests for the same one share its making."""

    def __init__(self, make: Picture, most: int = MOST) -> None:
        self._make, self._most = make, most
        self._threads = ThreadPoolExecutor(os.cpu_count(), "picture")
        self._coming: dict[tuple[int, Size], asyncio.Task[tuple[bytes, str]]] = {}
        self._kept: OrderedDict[tuple[int, Size], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0

    async def get(self, row: int, size: Size) -> tuple[bytes, str]:
        """Return the JPEG of a row and how it stands with its original; raise what making it raises."""
        key = (row, size)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._coming:
            self._coming[key] = asyncio.create_task(self._made(key))
        return await asyncio.shield(self._coming[key])

    async def _made(self, key: tuple[int, Size]) -> tuple[bytes, str]:
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._threads, self._make, *key)
        finally:
            del self._coming[key]
        self._kept[key] = made
        self._bytes += len(made[0])
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1][0])
        return made

    def close(self) -> None:
        """Stop the threads, without starting the pictures still queued."""
        self._threads.shutdown(cancel_futures=True)
