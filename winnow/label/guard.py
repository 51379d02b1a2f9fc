"""The guard of the label server: no other web page, and nobody without the start token, reads or changes anything."""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path

from winnow.web.asgi import (
    Application,
    Receive,
    Scope,
    Send,
    bears,
    named,
    of_host,
    of_page,
    read_body,
    refuse,
    replay,
    with_headers,
)

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
        self.application, self._token = application, token
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the label server speaks HTTP only, not {scope['type']}")
        send = with_headers(send, self._headers)
        refusal = self._refusal(scope)
        body: bytes | None = b""
        if not refusal and scope["method"] == "POST":
            body = await read_body(receive, LARGEST_BODY)
            if body is None:
                refusal = 413, f"The request has more than {LARGEST_BODY} bytes.", "Send less at once."
        if refusal:
            await refuse(send, *refusal)
            return
        await self.application(scope, replay(body or b"", receive), send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Return status, sentence and remedy when a request is refused for its head, else None."""
        if not of_host(scope, self._hosts):
            return 421, "This server answers only to its own address.", _REMEDY
        if not of_page(scope, self._hosts):
            return 403, "The request comes from another page.", _REMEDY
        path = scope["path"]
        if not path.startswith("/"):
            return 400, "The request's target is not a path.", _REMEDY
        if path == "/api" or path.startswith("/api/"):
            if path != ENTER and not bears(scope, self._token):
                return 401, "The start token is missing or wrong.", _REMEDY
            if scope["method"] == "POST":
                kinds = [kind.partition(b";")[0].strip().lower() for kind in named(scope, b"content-type")]
                if kinds != [b"application/json"]:
                    return 415, "A POST must be application/json.", "Send JSON, with Content-Type: application/json."
        return None


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
