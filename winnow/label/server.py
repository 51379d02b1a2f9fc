"""The label server on 127.0.0.1: its socket, its address, its end."""

from __future__ import annotations

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable

from winnow.label.database import StoreLost
from winnow.label.door import ENTER, Door
from winnow.label.pictures import Picture, Pictures
from winnow.label.routes import application
from winnow.label.session import LabelSession
from winnow.web.connections import Room, Server, most_connections
from winnow.web.guard import Guard
from winnow.web.listen import HOST

FAREWELL = 5  # seconds in which the page, which asks every two, can learn why the server ends


def serve(
    session: LabelSession,
    picture: Picture,
    token: str,
    listening: socket.socket,
    *,
    tell: Callable[[str], None],
    open_browser: bool = False,
) -> None:
    """Serve the page on a socket of `listen_page` until Ctrl-C; `tell` is called with the address.

    Raises `StoreLost` when the store is moved, deleted or replaced meanwhile, a few seconds later so that the page learns why.
    """
    port = listening.getsockname()[1]
    pictures = Pictures(picture)
    door = Door(token) if open_browser else None
    seconds_lost = 0

    async def watch() -> None:
        nonlocal seconds_lost
        try:
            session.store.check()
        except StoreLost:
            seconds_lost += 1
            server.should_exit |= seconds_lost > FAREWELL

    server = Server(
        Guard(application(session, pictures, door), token, port, "winnow label", (ENTER,)),
        Room(most_connections()),
        timeout_graceful_shutdown=3,
        callback_notify=watch,
        timeout_notify=1,
    )
    session.follow()
    address = f"http://{HOST}:{port}/"
    tell(f"Label here: {address}#token={token}")
    if door:
        threading.Timer(0.5, webbrowser.open, [f"{address}#once={door.code}"]).start()
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(pictures):
        server.run(sockets=[listening])
    session.store.check()
    tell("Stopped; every label that the page shows as saved is kept.")
