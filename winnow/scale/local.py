"""The runner of one machine: threads, because decoders and numpy release the interpreter while they work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


_share = 0  # of the cores, where processes of a runner divide them


def use_at_most(threads: int) -> None:
    """Have this process, one of several, use so many threads, whatever is asked for."""
    global _share
    _share = threads
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when a library is loaded
        os.environ[name] = str(threads)


def cores(workers: int = 0) -> int:
    """Return the number of workers asked for, or for 0 the number of cores that this process may use."""
    if _share:
        return _share
    if workers:
        return workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, stopped: Event | None = None
) -> Generator[Result, None, None]:
    """Yield function(item) of every item, in the order of the items, whatever the number of workers.

    At most two items per worker are taken ahead of the result asked for. The first exception, in that order, is raised
    here; items not begun by then are dropped, and `stopped` is set so that long ones in progress can stop.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            if waiting and stopped is not None:
                stopped.set()
            for future in waiting:
                future.cancel()
