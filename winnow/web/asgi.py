"""Small parts of guards in front of an application: headers, whose host and page a request names, bodies with a limit, refusals."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# Bytes of a refused request that are read and thrown away, so that its sender reads the refusal.
MOST_DRAINED = 64 << 20


def named(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of a request's header, given in lower case."""
    return [value for key, value in scope["headers"] if key.lower() == name]


def bears(scope: Scope, token: str) -> bool:
    """Return whether a request bears the token, once, compared in a time that tells nothing of it."""
    given = named(scope, b"authorization")
    return len(given) == 1 and secrets.compare_digest(given[0], f"Bearer {token}".encode())


def of_host(scope: Scope, hosts: Collection[bytes]) -> bool:
    """Return whether the host that a request names is one of ours: a name that is re-bound to this machine is not."""
    given = named(scope, b"host")
    return len(given) == 1 and given[0].lower() in hosts


def of_page(scope: Scope, hosts: Collection[bytes]) -> bool:
    """Return whether a request comes from no page of another server."""
    return all(origin.startswith(b"http://") and origin[7:] in hosts for origin in named(scope, b"origin"))


async def read_body(receive: Receive, most: int, took: Callable[[int], bool] = lambda count: True) -> bytes | None:
    """Return the whole body of a request, None when it is larger than `most` bytes or `took`, told of each piece, refuses it.

    A declared length is not relied on. What was sent before a client broke off is not returned: the body is empty then.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        piece = message.get("body", b"")
        if len(body) + len(piece) > most or not took(len(piece)):
            return None
        body += piece
        more = message.get("more_body", False)
    return bytes(body)


async def drain(receive: Receive) -> None:
    """Throw away what is left of a request's body, to a limit: who is refused in the middle of sending reads no answer."""
    left, more = MOST_DRAINED, True
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)


async def refuse(send: Send, status: int, error: str, remedy: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a sentence and a remedy, as JSON."""
    body = json.dumps({"error": error, "remedy": remedy}).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, then what follows it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_whole() -> Message:
        return left.pop() if left else await receive()

    return receive_whole


def with_headers(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    """Return a `send` that adds headers to an answer, but those that it has."""

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *(pair for pair in headers if pair[0] not in own)]
        await send(message)

    return send_with
