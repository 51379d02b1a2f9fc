"""The page of a watch on 127.0.0.1, in a thread of its own: nothing can be changed there."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import Response

from winnow.watch.board import Board
from winnow.web.application import application_of
from winnow.web.connections import Room, Server, most_connections
from winnow.web.guard import Guard
from winnow.web.listen import HOST
from winnow.web.pages import page_file

PAGE = Path(__file__).parent / "page"
LEAVE_SECONDS = 1.5  # in which a page that asks each second learns that the watch has ended


class PageServer:
    """Answers what the page asks of a board, on a listening socket, until it is closed."""

    def __init__(self, board: Board, listening: socket.socket) -> None:
        token, port = secrets.token_urlsafe(32), listening.getsockname()[1]
        self.address = f"http://{HOST}:{port}/#token={token}"
        self._server = Server(
            Guard(application(board), token, port, "winnow watch"),
            Room(most_connections()),
            timeout_graceful_shutdown=3,
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer for a moment longer, then end."""
        if self._thread.is_alive():
            self._thread.join(LEAVE_SECONDS)
            self._server.should_exit = True
            self._thread.join(10)


def application(board: Board) -> FastAPI:
    """Return the application with its routes, without the guard."""
    app = application_of(openapi_url=None, redirect_slashes=False)

    @app.get("/api/state")
    async def state() -> Response:
        return Response(board.state, media_type="application/json")

    @app.get("/api/picture")
    async def picture(name: str) -> Response:
        found = await asyncio.to_thread(board.picture, name)
        if found is None:
            raise HTTPException(404, "There is no such picture any more.")
        return Response(found, media_type="image/jpeg")

    @app.get("/{name}")
    @app.get("/")
    async def page(name: str = "index.html") -> Response:
        file = page_file(PAGE, name)
        if file is None:
            raise HTTPException(404, "There is nothing here.")
        return Response(file[0], media_type=file[1])

    return app
