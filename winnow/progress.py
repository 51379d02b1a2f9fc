"""Progress on standard error with rate and time left; silent when standard error is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from winnow import torchrun

Advance = Callable[..., None]


def silent(count: int = 1, note: str = "") -> None:
    """Show nothing: the caller shows the progress."""


@contextmanager
def progress(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show one bar, of several processes that of the first; yield `advance(count=1, note="")`. `total=None`: without the time left."""
    if torchrun.rank() or not sys.stderr.isatty():
        yield silent
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
