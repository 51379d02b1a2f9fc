"""Progress on standard error with rate and time left: a bar in a terminal, elsewhere, as in a log, a line every ten seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from winnow import torchrun

Advance = Callable[..., None]
EVERY = 10.0
"""Seconds between two lines of progress in a log."""


def silent(count: int = 1, note: str = "") -> None:
    """Show nothing: the caller shows the progress."""


def begin(line: str) -> None:
    """Print a line, of several processes the first's, before work that takes seconds and cannot say how far it is."""
    if not torchrun.rank():
        print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show one bar or its lines, of several processes those of the first;
    yield `advance(count=1, note="")`. `total=None`: without the time left."""
    if torchrun.rank():
        yield silent
        return
    if not sys.stderr.isatty():
        yield _lines(title, total, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=total, rate="", note="")

        def advance(count: int = 1, note: str = "") -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.0f} {unit}/s" if speed else "")
            if note:
                bar.update(task, note=note)

        yield advance


def _lines(title: str, total: int | None, unit: str) -> Advance:
    """Return an `advance` that prints a line when the last one is old enough: what is done, how fast, how long yet."""
    started = last = time.monotonic()
    done, lock = 0, threading.Lock()

    def advance(count: int = 1, note: str = "") -> None:
        nonlocal done, last
        with lock:  # pictures are decoded in several threads
            done += count
            now = time.monotonic()
            if now - last < EVERY:
                return
            last = now
            rate = done / max(now - started, 1e-9)
            of = "" if total is None else f" of {total:,}"
            left = f", {max(total - done, 0) / rate:,.0f} s left" if total is not None and rate else ""
            print(
                f"{title}: {done:,}{of} {unit}, {rate:,.1f} {unit}/s{left}{f', {note}' if note else ''}",
                file=sys.stderr,
                flush=True,
            )

    return advance
