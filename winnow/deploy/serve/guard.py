"""The guard in front of a server: who may ask, how much, how long and how many at once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from winnow.deploy.serve.limits import Limits
from winnow.deploy.serve.metrics import Metrics
from winnow.web.asgi import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    bears,
    drain,
    named,
    of_host,
    of_page,
    read_body,
    refuse,
    replay,
)

OPEN = ("/v2/health/live", "/v2/health/ready")
"""Paths for which no token is needed: what starts and stops servers asks them."""
ROUTES = {"/v1/predict": "predict", "/v1/map": "map"}
LATER = (b"retry-after", b"1")
TELL_SECONDS = 60.0


class Guard:
    """Refuses what is not to be answered before any of it is worked on, and counts what is.

    The Host must be one of `hosts`, None where any is; an Origin must be one of them too; with a `token`, all but the questions
    whether the server lives need it. Bodies are read here, whole: too large ones are 413, too slow ones 408, too many at once 503.
    Nothing that an application raises reaches the client but as 500, of which the terminal has a line a minute.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits,
        metrics: Metrics,
        *,
        token: str = "",
        hosts: frozenset[bytes] | None = None,
        tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self.application, self.limits, self.metrics = application, limits, metrics
        self._token, self._hosts, self._tell = token, hosts, tell
        self.under_way = self.held = 0
        self._told = -TELL_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal:
                await self._refuse(scope, receive, send_counted, *refusal)
            else:
                await self._answer(scope, receive, send_counted)
        except Exception as error:
            self._say(f"winnow: {scope['path'][:100]!r} failed: {type(error).__name__}: {str(error)[:300]}")
            if not status:
                await refuse(send_counted, 500, "The server could not answer this.", "Its terminal says why.")
        finally:
            path = scope["path"]
            route = "infer" if path.endswith("/infer") else ROUTES.get(path, "other")
            self.metrics.answered(route, status, time.monotonic() - started)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Return status, sentence and remedy when a request is refused for its head, else None."""
        if self._hosts is not None and not of_host(scope, self._hosts):
            return (
                421,
                "This server answers only to its own address.",
                "Ask it by the address that winnow serve printed.",
            )
        if not of_page(scope, self._hosts or frozenset()):
            return (
                403,
                "The request comes from the page of another server.",
                "Ask from a program, or by way of your own server.",
            )
        if not scope["path"].startswith("/"):
            return 400, "The request's target is not a path.", "Ask for a path, such as /v1/predict."
        if self._token and scope["path"] not in OPEN and not bears(scope, self._token):
            return 401, "The token is missing or wrong.", "Send it: Authorization: Bearer TOKEN"
        if named(scope, b"content-encoding") not in ([], [b"identity"]):
            return (
                415,
                "Compressed requests are not read.",
                "Send it without Content-Encoding: pictures are compressed already.",
            )
        length = named(scope, b"content-length")
        if length and length[0].isdigit() and int(length[0][:20]) > self.limits.most_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str, str]:
        return (
            413,
            f"The request has more than {self.limits.most_bytes:,} bytes.",
            "Send smaller pictures, or fewer at once.",
        )

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int, error: str, remedy: str) -> None:
        """Answer with a refusal, and end the connection; what is being sent is thrown away first, for a while."""
        if not named(scope, b"expect"):
            try:
                async with asyncio.timeout(min(5.0, self.limits.seconds)):
                    await drain(receive)
            except TimeoutError:
                pass
        headers = [(b"connection", b"close")]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if status == 503:
            headers.append(LATER)
        await refuse(send, status, error, remedy, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request's body and hand it on, if there is room for it."""
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.application(scope, receive, send)
            return
        if self.under_way >= self.limits.queue:
            await self._refuse(
                scope, receive, send, 503, "There are too many requests at once.", "Ask again in a second."
            )
            return
        self.under_way += 1
        self.metrics.add("requests_under_way")
        try:
            await self._read_and_answer(scope, receive, send)
        finally:
            self.under_way -= 1
            self.metrics.add("requests_under_way", -1)

    async def _read_and_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken, full = 0, False

        def took(count: int) -> bool:
            nonlocal taken, full
            full = self.held + count > self.limits.held_bytes
            if not full:
                taken += count
                self.held += count
                self.metrics.add("body_bytes", count)
            return not full

        try:
            try:
                async with asyncio.timeout(self.limits.seconds):
                    body = await read_body(receive, self.limits.most_bytes, took)
            except TimeoutError:
                await refuse(
                    send,
                    408,
                    f"The request took more than {self.limits.seconds:g} seconds.",
                    "Send it faster.",
                    [(b"connection", b"close")],
                )
                return
            if body is None and full:
                await self._refuse(
                    scope, receive, send, 503, "Too much is being sent at once.", "Ask again in a second."
                )
            elif body is None:
                await self._refuse(scope, receive, send, *self._too_large())
            else:
                await self._in_time(scope, replay(body, receive), send)
        finally:
            self.held -= taken
            self.metrics.add("body_bytes", -taken)

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, or say that it takes too long."""
        began = False

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds):
                await self.application(scope, receive, send_noted)
        except TimeoutError:
            if not began:
                await refuse(
                    send,
                    503,
                    f"The answer took more than {self.limits.seconds:g} seconds.",
                    "Ask again later, or send less at once.",
                    [LATER],
                )

    def _say(self, line: str) -> None:
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self._tell(line)
