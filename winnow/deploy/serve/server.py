"""The server's process: its socket, its address, the look at the file each second, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from winnow.deploy.serve.drifting import ServedDrift
from winnow.deploy.serve.guard import Guard
from winnow.deploy.serve.limits import Limits
from winnow.deploy.serve.metrics import Metrics
from winnow.deploy.serve.routes import application
from winnow.deploy.serve.served import Current, Served
from winnow.deploy.serve.service import Service
from winnow.web.asgi import LOOPBACK, Receive, Scope, Send
from winnow.web.connections import LEAVE_SECONDS, Room, Server, most_connections
from winnow.web.ending import until_told


@dataclass(frozen=True)
class Wanted:
    """What is to be served and how: the file, the model's name, the token ("" for none), the limits, whether it is told that the
    threshold does not hold any more (`drift_alarm`, of one picture each `drift_block` seconds), the `folder` of what workers tell one
    another, how many there are and which of them this is."""

    file: Path
    name: str
    token: str
    limits: Limits
    folder: Path
    object_detector: str = ""
    drift_alarm: float | None = None
    drift_block: float = 0.0
    workers: int = 1
    worker: int = 0

    @property
    def numbers(self) -> Path | None:
        """Return the file of the numbers of several workers."""
        return self.folder / "numbers" if self.workers > 1 else None

    def current(self, tell: Callable[[str], None]) -> Current:
        """Load the file; raises what `Served.open` raises."""
        load = partial(
            Served.open,
            threads=self.limits.threads,
            most_pixels=self.limits.most_pixels,
            object_detector=self.object_detector,
        )
        return Current(self.file, load, tell)


def run(wanted: Wanted, current: Current, listening: socket.socket, *, orphan_of: int = 0) -> None:
    """Serve a file on a socket until Ctrl-C or SIGTERM; what was accepted until then is answered.

    A worker ends, too, when it is no longer a child of the process `orphan_of`.
    """
    with until_told(), contextlib.closing(listening), asyncio.Runner() as runner:
        runner.run(_serve(wanted, current, listening, orphan_of))


async def _serve(wanted: Wanted, current: Current, listening: socket.socket, orphan_of: int) -> None:
    metrics = Metrics(wanted.numbers, wanted.workers, wanted.worker)
    drift = None
    if wanted.drift_alarm is not None:  # each worker has its share of the chance, so that it holds for the server
        alarm = wanted.drift_alarm / wanted.workers
        drift = ServedDrift(alarm, wanted.drift_block, say, wanted.folder, wanted.worker)
    service = Service(current, wanted.limits, metrics, drift)
    room = Room(most_connections())
    looking: set[asyncio.Task[None]] = set()

    async def each_second() -> None:
        if not looking:
            task = asyncio.create_task(asyncio.to_thread(current.look))
            looking.add(task)
            task.add_done_callback(looking.discard)
        service.count()
        metrics.set("workers", 1)
        metrics.set("connections_evicted_total", room.evicted)
        if orphan_of and os.getppid() != orphan_of:
            server.should_exit = True

    guard = Guard(
        application(service, wanted.name), wanted.limits, metrics, token=wanted.token, hosts=_hosts(wanted, listening)
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        service.leaving = server.leaving
        await guard(scope, receive, send)

    server = Server(
        guarded,
        room,
        leave_seconds=LEAVE_SECONDS,
        shared=wanted.workers > 1,
        timeout_graceful_shutdown=round(wanted.limits.seconds) + 5,
        callback_notify=each_second,
        timeout_notify=1,
    )
    try:
        await server.serve([listening])
    finally:
        service.close()


def _hosts(wanted: Wanted, listening: socket.socket) -> frozenset[bytes] | None:
    """Return the hosts that requests may name: without a token only this machine, or a page of another could ask in its name."""
    if wanted.token:
        return None
    port = listening.getsockname()[1]
    return frozenset(f"{name}:{port}".encode() for name in LOOPBACK) | (
        frozenset(name.encode() for name in LOOPBACK) if port == 80 else frozenset()
    )


def address_of(listening: socket.socket) -> str:
    """Return the address that a socket is reached by."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def say(line: str) -> None:
    """Say something of the server's doing on standard error."""
    print(f"winnow: {line}", file=sys.stderr, flush=True)
