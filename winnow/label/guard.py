"""The guard of the label server: no other web page, and nobody without the start token, reads or changes anything."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from winnow.errors import RunError
from winnow.files import replacing

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

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
            if len(authorization) != 1 or not secrets.compare_digest(authorization[0], self._authorization):
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


def start_token(path: Path) -> str:
    """Return the token kept in a file that only its owner may read; it is made once, so that an open page survives a restart.

    Raises `RunError` when the file can neither be read nor written.
    """
    try:
        kept = path.read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        kept = ""
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        if re.fullmatch(r"[\w-]{43}", kept):
            path.chmod(0o600)
            return kept
        token = secrets.token_urlsafe(32)
        with (
            replacing(path) as temporary,
            open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
        ):
            file.write(token)
    except OSError as error:
        raise _unusable(path, error) from error
    return token


def _unusable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}, the start token of the page, cannot be read or written ({(error.strerror or str(error)).lower()}).",
        "Check the folder, its permissions and the free space of the disk; it is safe to delete the file.",
    )
