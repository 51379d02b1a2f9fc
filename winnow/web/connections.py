"""Connections with limits: how many, how long a head may take, and how long an answer may wait to be read.

Who opens connections and says nothing, or little, slowly, costs a server its file descriptors. So there are never more than
`most`: of those without a request under way, the one that has been waiting longest makes room for a new one. What asyncio has to
say of connections that it cannot accept or that break is one line a minute, not a traceback each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from winnow.web.listen import turn_away

ACCEPTED = 32  # connections that asyncio accepts at once; four times as many may be open beyond the limit for a moment
QUEUE = 1024  # that the system keeps until they are accepted
SPARE = 32  # file descriptors for all else that a server opens
MOST = 4096
HEAD_SECONDS = 10.0
READ_SECONDS = 30.0  # for which an answer waits that its client does not read
IDLE_SECONDS = 20  # for which a connection without a request is kept
TELL_SECONDS = 60.0
LEAVE_SECONDS = 0.5  # in which clients are told by the answers to their requests that the server ends


def most_connections() -> int:
    """Return how many connections this process can hold with the file descriptors that it may still open."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed != resource.RLIM_INFINITY:
            taken = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else SPARE
            return max(8, min(MOST, allowed - taken - SPARE - 4 * ACCEPTED))
    return MOST


class Room:
    """The connections of a server: those that wait for a request, the longest waiting first, and those with one under way."""

    def __init__(self, most: int, head_seconds: float = HEAD_SECONDS, read_seconds: float = READ_SECONDS) -> None:
        self.most, self.head_seconds, self.read_seconds = most, head_seconds, read_seconds
        self.waiting: dict[Connection, None] = {}
        self.busy: set[Connection] = set()
        self.evicted = 0

    def enter(self, connection: Connection) -> None:
        """Take in a new connection; where there are too many, the one waiting longest is closed, which may be itself."""
        self.waiting[connection] = None
        if len(self.waiting) + len(self.busy) > self.most:
            self.evicted += 1
            longest = next(iter(self.waiting))
            self.leave(longest)
            longest.transport.abort()

    def begin(self, connection: Connection) -> None:
        """Note that a request of a connection is under way."""
        if connection in self.waiting:
            del self.waiting[connection]
            self.busy.add(connection)

    def end(self, connection: Connection) -> None:
        """Note that the request of a connection is answered."""
        if connection in self.busy:
            self.busy.remove(connection)
            self.waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self.waiting.pop(connection, None)
        self.busy.discard(connection)


class Connection(H11Protocol):
    """A connection that is held in a `Room`, whose head and whose reader must not take too long."""

    room: ClassVar[Room]
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        self.room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.leave(self)
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        self.room.end(self)
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Say that the request is none; where an answer is under way already, only break off."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.room.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def _look(self) -> None:
        """Note whether a request is under way now; a head that has begun to come must be whole in time."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.room.begin(self)
            self._stop_head()
        elif self._head is None and (self.conn.trailing_data[0] or self.conn.their_state is not h11.IDLE):
            self._await_head()  # of the next request, or the end of a body that was refused

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.room.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self in self.room.waiting:
            self.transport.abort()

    def _stop_head(self) -> None:
        if self._head:
            self._head.cancel()
            self._head = None

    def _stop_timers(self) -> None:
        self._stop_head()
        if self._unread:
            self._unread.cancel()


def held(room: Room) -> type[Connection]:
    """Return the protocol of a server's connections, which are held in a room."""
    return type("HeldConnection", (Connection,), {"room": room})


class Server(uvicorn.Server):
    """A server of an application on a socket of `winnow.web.listen`, until it is told to end.

    `leave_seconds` before it ends, requests are still answered, each with the word that the connection closes: a client that sends
    one after the other loses none. With `shared` others serve the same socket, and whoever ends them turns new clients away.
    """

    def __init__(
        self, application: Any, room: Room, *, leave_seconds: float = 0.0, shared: bool = False, **given: Any
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=held(room),
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=ACCEPTED,
                timeout_keep_alive=IDLE_SECONDS,
                **given,
            )
        )
        self.leave_seconds, self.shared = leave_seconds, shared
        self.leaving = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(one_line())
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(QUEUE)  # asyncio has made it as short as the number it accepts at once

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.leaving = True
        if self.leave_seconds:
            self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
            await asyncio.sleep(self.leave_seconds)
            await self._take_in_the_last(sockets or ())
            await asyncio.sleep(self.leave_seconds)  # in which these send what they came for
        await super().shutdown(sockets)

    async def _take_in_the_last(self, sockets: Sequence[socket.socket]) -> None:
        """Stop listening, after all that the system has accepted meanwhile: closing a socket breaks what waits in its queue."""
        last = []
        for server, listening in zip(self.servers, sockets, strict=True):
            if not self.shared:
                turn_away(listening)
            with contextlib.suppress(OSError):  # BlockingIOError: there are no more
                while True:
                    last.append(listening.accept()[0])
            server.close()
        loop = asyncio.get_running_loop()
        for line in last:
            line.setblocking(False)
            await loop.connect_accepted_socket(self._connection, line)

    def _connection(self) -> asyncio.Protocol:
        given: dict[str, Any] = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        made: asyncio.Protocol = self.config.http_protocol_class(**given)
        return made


def one_line(tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> Callable[..., None]:
    """Return a handler of what goes wrong in an event loop: one line a minute for each kind, with the number of others like it."""
    last: dict[str, float] = {}
    more: dict[str, int] = {}

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        kind = f"{context.get('message', '')} ({type(error).__name__})" if error else str(context.get("message", ""))
        now = time.monotonic()
        if now - last.get(kind, -TELL_SECONDS) < TELL_SECONDS:
            more[kind] = more.get(kind, 0) + 1
            return
        count = more.pop(kind, 0)
        last[kind] = now
        tell(f"winnow: {kind}: {error}" + (f" (and {count:,} more like it)" if count else ""))

    return handle
