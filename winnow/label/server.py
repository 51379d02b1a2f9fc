"""The label server: the page's files, and its requests and answers as JSON, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
import webbrowser
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from winnow.errors import InputError, OptionError, WinnowError
from winnow.label.catalogue import Catalogue
from winnow.label.database import StoreLost
from winnow.label.events import Event
from winnow.label.guard import ENTER, Door, Guard
from winnow.label.store import LabelStore, State

PAGE = Path(__file__).parent / "page"
HOST = "127.0.0.1"
PORTS = 20  # ports tried from the one asked for
FAREWELL = 5  # seconds in which the page, which asks every two, can learn why the server ends
PICTURES = 256 << 20  # bytes of JPEG kept
MOST_GROUPS, MOST_EVENTS, MOST_CHANGES = 1000, 200, 1000
KEYS = "1234567890"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Of the page's files; the system's own table may call a script plain text, which browsers then refuse."""

ORIGINAL = "Winnow-Original"
"""Header of a picture: "same" as was ingested, or why the pool's own pixels are shown: "changed" or "missing"."""

Picture = Callable[[int, bool], tuple[bytes, str]]
"""JPEG bytes of a row's picture, large or small, and what `ORIGINAL` says of it; `WinnowError` when there is none."""


class LabelSession:
    """A run being labelled: its log of labels, and its catalogue kept up to date with the log."""

    def __init__(self, name: str, store: LabelStore, catalogue: Catalogue, who: str = "me", home: str = "") -> None:
        """Take a store and a catalogue; `home` identifies the run to the page, whose unsaved labels must not go to another
        run with a folder of the same name."""
        self.name, self.store, self.catalogue, self.who, self.home = name, store, catalogue, who, home or name
        self._seen = 0
        self._lock = threading.Lock()

    def follow(self) -> int:
        """Apply changes of the store since the last call, by anyone, to the catalogue; return the number of the last event."""
        with self._lock:  # two at once could mark an older state after a newer one
            states, self._seen = self.store.since(self._seen)
            if states:
                self.catalogue.mark(states, self.store.classes)
            return self._seen

    def classes(self) -> list[dict[str, Any]]:
        """Return the classes with their keys and counts."""
        names = self.store.classes
        counts = self.catalogue.counts(len(names))
        keys = [*KEYS, *[None] * len(names)]
        return [
            {"name": name, "key": key, "count": count} for name, key, count in zip(names, keys, counts, strict=False)
        ]

    def lanes(self) -> list[dict[str, Any]]:
        """Return the lanes with their progress."""
        lanes = self.catalogue.lanes.items()
        return [{"name": name, "title": lane.title, **self.catalogue.progress(name)} for name, lane in lanes]

    def item(self, row: int) -> dict[str, Any]:
        """Return an item with its present state."""
        item = self.catalogue.describe(row)
        return item | _now(self.store.state(item["id"]))

    def changed(self, states: dict[str, State]) -> list[dict[str, Any]]:
        """Return the present state of the pool's items among those that changed."""
        known = (item for item in states if item in self.catalogue)
        return [{"id": item, "row": self.catalogue.row(item), **_now(states[item])} for item in known]


def _now(state: State) -> dict[str, Any]:
    return {"label": state.label, "skipped": state.skipped, "note": state.note, "by": state.by}


class Pictures:
    """JPEGs made in a few threads, the latest kept; two requests for the same one share its making."""

    def __init__(self, make: Picture, most: int = PICTURES) -> None:
        self._make, self._most = make, most
        self._threads = ThreadPoolExecutor(os.cpu_count(), "picture")
        self._coming: dict[tuple[int, bool], asyncio.Task[tuple[bytes, str]]] = {}
        self._kept: OrderedDict[tuple[int, bool], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0

    async def get(self, row: int, large: bool) -> tuple[bytes, str]:
        """Return the JPEG of a row and how it stands with its original; raise what making it raises."""
        key = (row, large)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._coming:
            self._coming[key] = asyncio.create_task(self._made(key))
        return await asyncio.shield(self._coming[key])

    async def _made(self, key: tuple[int, bool]) -> tuple[bytes, str]:
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._threads, self._make, *key)
        finally:
            del self._coming[key]
        self._kept[key] = made
        self._bytes += len(made[0])
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1][0])
        return made

    def close(self) -> None:
        """Stop the threads, without starting the pictures still queued."""
        self._threads.shutdown(cancel_futures=True)


class Sent(BaseModel):
    """An event as the page sends it."""

    model_config = ConfigDict(strict=True)

    uuid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]  # returned in the answer, so it has to be text
    item: str
    kind: Literal["label", "skip", "clear", "note", "undo"]
    value: str = ""
    at: str = ""


class Batch(BaseModel):
    """Events of one person, in order; without a name, of the person named when the server was started."""

    model_config = ConfigDict(strict=True)

    who: str = ""
    events: Annotated[list[Sent], Field(min_length=1, max_length=MOST_EVENTS)]


class NewClass(BaseModel):
    """A class to add."""

    model_config = ConfigDict(strict=True)

    name: str
    who: str = ""


class Code(BaseModel):
    """The code of a one-time address."""

    model_config = ConfigDict(strict=True)

    code: Annotated[str, Field(max_length=100)]


def application(session: LabelSession, pictures: Pictures, door: Door | None = None) -> FastAPI:
    """Return the application with its routes, without the guard; `door` opens a one-time address."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _explain_errors(app)
    _answer_questions(app, session, pictures)
    _take_events(app, session)
    _serve_page(app)

    @app.post(ENTER)
    def enter(given: Code, request: Request) -> dict[str, str]:
        known = door and request.client and door.enter(given.code, request.client.port, request.scope["server"][1])
        if not known:
            raise HTTPException(403, "This address was opened before, or is too old: it is good for once.")
        return {"token": known}

    return app


def _answer_questions(app: FastAPI, session: LabelSession, pictures: Pictures) -> None:
    """Add the routes that read: the items to label, their states and pictures."""
    catalogue, store = session.catalogue, session.store

    def known(row: int) -> int:
        if not 0 <= row < len(catalogue):
            raise HTTPException(404, f"There is no item {row}.")
        return row

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        seq = session.follow()
        return {
            "run": session.name,
            "home": session.home,
            "who": session.who,
            "classes": session.classes(),
            "lanes": session.lanes(),
            "groups": catalogue.groups[:MOST_GROUPS],
            "seq": seq,
            "timed": catalogue.timed,
        }

    @app.get("/api/items")
    def items(
        lane: str = "all",
        show: str = "open",
        label: str = "",
        group: str = "",
        text: Annotated[str, Query(max_length=200)] = "",
        after: int = -1,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        session.follow()
        classes = store.classes
        if label and label not in classes:
            raise OptionError(f"There is no class {label[:50]!r}.", "Choose one of the run's classes.")
        number = classes.index(label) if label else None
        after = max(-1, min(after, len(catalogue)))
        page = catalogue.query(lane, show, number, group or None, text, after, limit)
        found = zip(page.rows.tolist(), page.places.tolist(), strict=True)
        return {
            "items": [session.item(row) | {"place": place} for row, place in found],
            "total": page.total,
            "end": page.end,
        }

    @app.get("/api/items/{row}")
    def item(row: int) -> dict[str, Any]:
        session.follow()
        before, after = catalogue.neighbours(known(row))
        return session.item(row) | {"before": before, "after": after}

    @app.get("/api/pictures/{row}")
    async def picture(row: int, size: Literal["small", "large"] = "large") -> Response:
        # Never kept by the browser: in another run, or after more was ingested, the same address is another picture.
        store.check()  # without the store the run is gone: a picture from memory would look as if all were well
        jpeg, original = await pictures.get(known(row), size == "large")
        return Response(jpeg, media_type="image/jpeg", headers={ORIGINAL: original})


def _take_events(app: FastAPI, session: LabelSession) -> None:
    """Add the routes that write, and the one that reads what others wrote."""
    catalogue, store = session.catalogue, session.store

    @app.post("/api/events")
    def add(batch: Batch) -> dict[str, Any]:
        events = [Event(sent.uuid, sent.item, sent.kind, sent.value, sent.at) for sent in batch.events]
        saved, refused = store.add(batch.who or session.who, events, catalogue)
        seq = session.follow()
        touched = {event.item: store.state(event.item) for event in events if event.item in catalogue}
        return {
            "saved": saved,
            "refused": [{"uuid": uuid, "reason": reason} for uuid, reason in refused],
            "items": session.changed(touched),
            "seq": seq,
        }

    @app.get("/api/events")
    def changes(since: Annotated[int, Query(ge=0)]) -> dict[str, Any]:
        session.follow()
        states, seq = store.since(since, MOST_CHANGES)
        return {"items": session.changed(states), "seq": seq, "classes": session.classes()}

    @app.post("/api/classes")
    def add_class(new: NewClass) -> list[dict[str, Any]]:
        store.add_classes(new.who or session.who, [new.name])
        session.follow()
        return session.classes()


def _serve_page(app: FastAPI) -> None:
    """Add the routes of the page's own files, which hold no data."""

    @app.get("/{name}")
    @app.get("/")
    def page(name: str = "index.html") -> Response:
        files = {path.name: path for path in PAGE.glob("*.*")}  # a name is looked up here, never joined to a path
        if name not in files:
            raise HTTPException(404, "There is nothing here.")
        return Response(files[name].read_bytes(), media_type=KINDS.get(files[name].suffix, "application/octet-stream"))


def _explain_errors(app: FastAPI) -> None:
    """Turn every error into a sentence and a remedy, as JSON."""

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail), "remedy": ""}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return JSONResponse({"error": f"{where}: {first['msg']}.", "remedy": "Send what docs/label.md describes."}, 400)

    @app.exception_handler(WinnowError)
    def ours(_: Request, error: WinnowError) -> Response:
        status = 400 if isinstance(error, OptionError) else 404 if isinstance(error, InputError) else 503
        return JSONResponse({"error": error.message, "remedy": error.remedy}, status)


def listen(port: int) -> socket.socket:
    """Return a socket on 127.0.0.1 at the port or the next free one, for 0 at any; `OptionError` when there is none."""
    for number in range(port, min(port + PORTS, 65536)) if port else (0,):
        # Named TCP, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms for an acknowledgement.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # else a restarted server would wait for its predecessor's connections to expire
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise OptionError(f"No port from {port} on is free.", "Choose another with --port, or 0 for any free one.")


def serve(
    session: LabelSession,
    picture: Picture,
    token: str,
    listening: socket.socket,
    *,
    tell: Callable[[str], None],
    open_browser: bool = False,
) -> None:
    """Serve the page on a socket of `listen` until Ctrl-C; `tell` is called with the address.

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

    server = uvicorn.Server(
        uvicorn.Config(
            Guard(application(session, pictures, door), token, port),
            http="h11",
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
            callback_notify=watch,
            timeout_notify=1,
        )
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
