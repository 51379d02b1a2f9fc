"""The guard of a page that a command serves on this machine: no other web page, and nobody without the start token, gets anything."""

from __future__ import annotations

from collections.abc import Collection

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
from winnow.web.listen import HOST

LARGEST_BODY = 1 << 20
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


class Guard:
    """Refuses every request that does not come from our own page, and puts the security headers on every answer.

    The Host must be ours (a name re-bound to this machine is not), and so must an Origin where there is one; everything
    below /api, but the paths in `free`, needs the start token; a POST must be JSON of at most 1 MiB, which no form of another page
    can send. `command` is what printed the page's address.
    """

    def __init__(
        self, application: Application, token: str, port: int, command: str, free: Collection[str] = ()
    ) -> None:
        self.application, self._token, self._free = application, token, free
        self._remedy = f"Open the address that '{command}' printed, in a browser on this machine."
        self._hosts = {f"{name}:{port}".encode() for name in (HOST, "localhost")}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the server of a page speaks HTTP only, not {scope['type']}")
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
            return 421, "This server answers only to its own address.", self._remedy
        if not of_page(scope, self._hosts):
            return 403, "The request comes from another page.", self._remedy
        path = scope["path"]
        if not path.startswith("/"):
            return 400, "The request's target is not a path.", self._remedy
        if path == "/api" or path.startswith("/api/"):
            if path not in self._free and not bears(scope, self._token):
                return 401, "The start token is missing or wrong.", self._remedy
            if scope["method"] == "POST":
                kinds = [kind.partition(b";")[0].strip().lower() for kind in named(scope, b"content-type")]
                if kinds != [b"application/json"]:
                    return 415, "A POST must be application/json.", "Send JSON, with Content-Type: application/json."
        return None
