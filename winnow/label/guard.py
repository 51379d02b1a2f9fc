"""The guard of the label server: no other web page, and nobody without the start token, reads or changes anything."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LARGEST_BODY = 1 << 20
ENTER = "/api/enter"  # where a one-time code is exchanged for the start token
OPEN = 60.0  # seconds for which the one-time code is good: a browser may have to start
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_REMEDY = "Open the address that 'winnow label' printed, in a browser on this machine."


class Guard:
    """Refuses every request that does not come from our own page, and puts the security headers on every answer.

    The Host must be ours (a name re-bound to this machine is not), and so must an Origin where there is one; everything
    below /api needs the start token; a POST must be JSON of at most 1 MiB, which no form of another page can send.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self.application = application
        self._authorization = f"Bearer {token}".encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the label server speaks HTTP only, not {scope['type']}")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *(pair for pair in added if pair[0] not in own)]
            await send(message)

        refusal = self._refusal(scope)
        body = b""
        if not refusal and scope["method"] == "POST":
            whole = await _body(receive)
            refusal = (
                None
                if whole is not None
                else (413, f"The request has more than {LARGEST_BODY} bytes.", "Send less at once.")
            )
            body = whole or b""
        if refusal:
            await _refuse(send_guarded, *refusal)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_whole() -> Message:
            return left.pop() if left else await receive()

        await self.application(scope, receive_whole, send_guarded)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str, str] | None:
        """Return status, sentence and remedy when a request is refused for its head, else None."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]

        def given(name: bytes) -> list[bytes]:
            return [value for key, value in headers if key.lower() == name]

        hosts, origins, authorization = given(b"host"), given(b"origin"), given(b"authorization")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, "This server answers only to its own address.", _REMEDY
        if any(origin not in self._origins for origin in origins):
            return 403, "The request comes from another page.", _REMEDY
        path = scope["path"]
        if not path.startswith("/"):
            return 400, "The request's target is not a path.", _REMEDY
        if path == "/api" or path.startswith("/api/"):
            known = len(authorization) == 1 and secrets.compare_digest(authorization[0], self._authorization)
            if not known and path != ENTER:
                return 401, "The start token is missing or wrong.", _REMEDY
            if scope["method"] == "POST":
                kinds = [kind.partition(b";")[0].strip().lower() for kind in given(b"content-type")]
                if kinds != [b"application/json"]:
                    return 415, "A POST must be application/json.", "Send JSON, with Content-Type: application/json."
        return None


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body of a request, None when it is too large; a declared length is not relied on."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


async def _refuse(send: Send, status: int, error: str, remedy: str) -> None:
    body = json.dumps({"error": error, "remedy": remedy}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Door:
    """The one-time address of the page that `--open` gives to the browser: its command line can be read by every user.

    It is good for one use, within a minute, and on Linux by a process of this user or of the superuser alone.
    """

    def __init__(self, token: str) -> None:
        self.code = secrets.token_urlsafe(32)
        self._token, self._until = token, time.monotonic() + OPEN
        self._lock = threading.Lock()

    def enter(self, code: str, port: int, server_port: int) -> str | None:
        """Return the start token to the first who knows the code, from a port of this machine; None to all others."""
        if not secrets.compare_digest(code.encode(errors="replace"), self.code.encode()):
            return None
        if not is_own_connection(port, server_port):
            return None
        with self._lock:
            token, self._token = self._token, ""
        return token if token and time.monotonic() < self._until else None


def is_own_connection(port: int, server_port: int) -> bool:
    """Return whether a connection from a port of this machine is this user's or the superuser's; True where no system says."""
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    ends = (f":{port:04X}", f":{server_port:04X}")
    for fields in (line.split() for path in tables for line in path.read_text().splitlines()[1:]):
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return int(fields[7]) in (0, os.getuid())
    return not tables
