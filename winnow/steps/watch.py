"""Judge what comes: pictures of a folder that fills, a video that is written, a camera."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from winnow.deploy.drift import check_drift
from winnow.deploy.serve.served import Current, Served
from winnow.detect.drift import BLOCK
from winnow.errors import OptionError
from winnow.run.folder import RunFolder
from winnow.scale.local import cores
from winnow.watch.book import Book
from winnow.watch.drifts import Drifts
from winnow.watch.log import Kind
from winnow.watch.messages import Command, Messenger, Post, checked_address, checked_command
from winnow.watch.ring import Ring
from winnow.watch.sources import source_of
from winnow.watch.view import View
from winnow.watch.watcher import Watcher, folder_of
from winnow.web.ending import until_told

if TYPE_CHECKING:
    from winnow.watch.board import Board


def watch(
    file: Path | None,
    sources: Sequence[str],
    run: RunFolder | None = None,
    *,
    to: str | Path = "watched",
    post: str = "",
    run_on: Sequence[tuple[Kind, str]] = (),
    keep: float = 0.0,
    poll: float = 1.0,
    away: float = 15.0,
    open_within: float = 30.0,
    object_detector: str = "",
    drift_alarm: float | None = None,
    drift_block: float = BLOCK,
    page: int | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Judge what comes of sources by a file that `winnow export` wrote, or a run, of which one is written first, into the folder `to`.

    Events go to an address (`post`) and to commands (`run_on`, kind and command); pictures that do not belong, and one of each minute
    whatever it is, are kept for so many minutes (`keep`). With a `drift_alarm` it is told when the threshold does not hold any more,
    with that chance of ever doing so wrongly; one frame counts of each `drift_block` seconds. With a `page` the same is shown in a
    browser, on that port of this machine or the next free one, 0 for any. It ends when all sources have, by Ctrl-C
    or by SIGTERM; the same call goes on where an earlier one stopped.
    Everything given is checked first: raises `OptionError` and `InputError`, and what `winnow.steps.export` and `Deployed.open` raise.
    """
    _check(sources, post, run_on)
    folder = folder_of(to, sources)
    with contextlib.ExitStack() as stack:
        if file is None:
            assert run is not None
            file = _exported(run, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="winnow-watch-"))))
        current = _opened(file, object_detector)
        if drift_alarm is not None:
            check_drift(current.served.model, drift_alarm, drift_block)
        book = stack.enter_context(contextlib.closing(Book(folder)))
        messengers: list[Messenger] = [Post(post, book, _say)] if post else []
        messengers += [Command(kind, command, book, _say) for kind, command in run_on]
        ring = Ring(folder / "ring", keep) if keep else None
        sample = Ring(folder / "sample", keep, whole=True) if keep else None
        model = current.served.model
        drifts = None if drift_alarm is None else Drifts(model, book, drift_alarm, drift_block, len(sources), _say)
        board = None if page is None else _board(page, folder, stack, tell)
        watcher = Watcher(
            sources,
            current,
            book,
            View(tell),
            poll=poll,
            away=away,
            messengers=messengers,
            ring=ring,
            sample=sample,
            drifts=drifts,
            board=board,
        )
        tell(f"Watching {', '.join(source.name for source in watcher.sources)}; what is found goes to {folder}.")
        with until_told():
            watcher.run(open_within)


def _check(sources: Sequence[str], post: str, run_on: Sequence[tuple[Kind, str]]) -> None:
    """Raise `InputError` or `OptionError` for what cannot be watched, posted to or run."""
    if not sources:
        raise OptionError(
            "No source was given.", "Give a folder, a video, rtsp:// or http:// of a camera, or /dev/video0."
        )
    for address in sources:
        source_of(address)
    if post:
        checked_address(post)
    for _, command in run_on:
        checked_command(command)


def _opened(file: Path, object_detector: str) -> Current:
    """Return the file that judges; `OptionError` for one without a threshold."""
    limit = float("inf")  # that of the run
    load = partial(Served.open, threads=max(1, cores(0) - 1), most_pixels=limit, object_detector=object_detector)
    current = Current(file, load, _say)
    if current.served.model.threshold is None:
        raise OptionError(
            f"{file} has no threshold: it tells classes, not what does not belong.",
            "Export a run with its anomaly model: winnow export --run RUN --to FILE.onnx",
        )
    return current


def _board(port: int, folder: Path, stack: contextlib.ExitStack, tell: Callable[[str], None]) -> Board:
    """Return the board of the page, which is served from now on; `OptionError` where there is no free port."""
    from winnow.watch.board import Board
    from winnow.watch.page_server import PageServer
    from winnow.web.listen import listen_page

    board = Board(str(folder))
    server = PageServer(board, stack.enter_context(contextlib.closing(listen_page(port))))
    server.start()
    stack.callback(server.close)
    tell(f"See it here: {server.address}")
    return board


def _exported(run: RunFolder, folder: Path) -> Path:
    from winnow.steps.export import export

    return Path(export(run, folder / "model.onnx").file)


def _say(line: str) -> None:
    print(f"winnow: {line}", file=sys.stderr, flush=True)
