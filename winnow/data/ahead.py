"""Files on s3 are read ahead, by as many threads as the latency wants, apart from the threads that decode them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from winnow.data import storage

READERS = 32
"""Requests under way at once: at 30 ms an answer, a thousand small pictures a second."""
MOST = 256 << 20
"""Bytes that are held, or under way, ahead of the decoders."""

Item = TypeVar("Item")
Read = Callable[[], bytes]
"""Returns the bytes of a file, waiting for them; raises what `storage.read` does."""


def read_ahead(
    items: Sequence[Item], uri_of: Callable[[Item], str], limit: int
) -> Generator[tuple[Item, Read], None, None]:
    """Yield every item with what returns the bytes of its file, at most `limit` of them; call each once.

    Files on s3 are asked for READERS before they are wanted, as long as all that is held stays below MOST bytes: a file waits
    for room until somebody waits for it. Those of this machine are read when they are wanted.
    """
    uris = [uri_of(item) for item in items]
    if not any(map(storage.is_remote, uris)):
        yield from ((item, partial(storage.read, uri, limit)) for item, uri in zip(items, uris, strict=True))
        return
    room = _Room()
    asked: list[Future[bytes] | None] = []
    with ThreadPoolExecutor(READERS, "read-ahead") as pool:
        try:
            for number, (item, uri) in enumerate(zip(items, uris, strict=True)):
                new = range(len(asked), min(number + READERS, len(uris)))
                asked += [_ask(pool, room, ahead, uris[ahead], limit) for ahead in new]
                future, asked[number] = asked[number], None
                yield item, partial(storage.read, uri, limit) if future is None else partial(room.take, number, future)
        finally:
            room.close()
            for future in filter(None, asked):
                future.cancel()


def _ask(pool: ThreadPoolExecutor, room: _Room, number: int, uri: str, limit: int) -> Future[bytes] | None:
    return pool.submit(room.read, number, uri, limit) if storage.is_remote(uri) else None


class _Room:
    """The bytes that are held or under way, by the number of their file."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[int, int] = {}
        self._wanted: dict[int, int] = {}
        self._awaited: set[int] = set()
        self._closed = False

    def read(self, number: int, uri: str, limit: int) -> bytes:
        """Return the bytes of a file; where there is no room for them the answer is dropped, and asked for again later: a
        connection that waits would be cut."""
        try:
            while True:
                data = storage.read_admitted(uri, limit, partial(self._admit, number))
                if data is not None:
                    return data
                self._wait(number)
        except BaseException:
            self._leave(number)
            raise

    def take(self, number: int, future: Future[bytes]) -> bytes:
        """Return the bytes of a file, which are the caller's to hold from now on."""
        with self._changed:
            self._awaited.add(number)
            self._changed.notify_all()
        try:
            return future.result()
        finally:
            self._leave(number)

    def close(self) -> None:
        """Have whoever waits for room go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _admit(self, number: int, size: int) -> bool:
        with self._changed:
            self._wanted[number] = size
            admitted = self._fits(number)
            if admitted:
                self._held[number] = size
            return admitted

    def _wait(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._fits(number))

    def _fits(self, number: int) -> bool:
        awaited = self._closed or number in self._awaited
        return awaited or sum(self._held.values()) + self._wanted[number] <= MOST

    def _leave(self, number: int) -> None:
        with self._changed:
            self._held.pop(number, None)
            self._wanted.pop(number, None)
            self._awaited.discard(number)
            self._changed.notify_all()
