"""The requests that the page makes, and their answers as JSON; `docs/label.md` lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from winnow.errors import InputError, OptionError, WinnowError
from winnow.label.door import ENTER, Door
from winnow.label.events import MOST_ITEMS, Event, items_of
from winnow.label.group_routes import add_group_routes
from winnow.label.pictures import Pictures, Size
from winnow.label.session import LabelSession
from winnow.web.application import application_of
from winnow.web.pages import page_file

PAGE = Path(__file__).parent / "page"
MOST_GROUPS, MOST_EVENTS, MOST_CHANGES = 1000, 200, 1000

UUID = r"^[0-9A-Za-z-]{1,64}$"  # returned in the answer, so it has to be text
ORIGINAL = "Winnow-Original"
"""Header of a picture: how it stands with its original, see `winnow.label.pictures.Picture`."""


class Sent(BaseModel):
    """An event as the page sends it."""

    model_config = ConfigDict(strict=True)

    uuid: Annotated[str, Field(pattern=UUID)]
    item: str
    kind: Literal["label", "skip", "clear", "note", "undo"]
    value: str = ""
    at: str = ""
    seen: str = ""


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


class ClassChange(BaseModel):
    """A class to rename or, where there is one called `to`, to merge into that; with an empty `to` to delete."""

    model_config = ConfigDict(strict=True)

    uuid: Annotated[str, Field(pattern=UUID)]
    name: str
    to: str
    who: str = ""


class ClassUndo(BaseModel):
    """The change of a class that is taken back."""

    model_config = ConfigDict(strict=True)

    uuid: Annotated[str, Field(pattern=UUID)]
    change: Annotated[str, Field(pattern=UUID)]
    who: str = ""


class Code(BaseModel):
    """The code of a one-time address."""

    model_config = ConfigDict(strict=True)

    code: Annotated[str, Field(max_length=100)]


def application(session: LabelSession, pictures: Pictures, door: Door | None = None) -> FastAPI:
    """Return the application with its routes, without the guard; `door` opens a one-time address."""
    app = application_of(openapi_url=None, redirect_slashes=False)
    _explain_errors(app)
    _answer_questions(app, session, pictures)
    _list_items(app, session)
    _take_events(app, session)
    add_group_routes(app, session)
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
            "pool": session.pool,
            "who": session.who,
            "classes": session.classes(),
            "lanes": session.lanes(),
            "groups": catalogue.groups[:MOST_GROUPS],
            "seq": seq,
            "changes": session.changes,
            "timed": catalogue.timed,
            "mapped": session.map is not None,
            "blind": session.live.blind,
        }

    @app.get("/api/items/{row}")
    def item(row: int) -> dict[str, Any]:
        session.follow()
        before, after = catalogue.neighbours(known(row))
        return session.item(row) | {"before": before, "after": after}

    @app.get("/api/pictures/{row}")
    async def picture(row: int, size: Size = "large") -> Response:
        # Never kept by the browser: in another run, or after more was ingested, the same address is another picture.
        store.check()  # without the store the run is gone: a picture from memory would look as if all were well
        jpeg, original = await pictures.get(known(row), size)
        return Response(jpeg, media_type="image/jpeg", headers={ORIGINAL: original})


def _list_items(app: FastAPI, session: LabelSession) -> None:
    """Add the routes that list items, and what the model suggests for them."""
    catalogue, store = session.catalogue, session.store

    @app.get("/api/items")
    def items(
        lane: str = "all",
        show: str = "open",
        label: str = "",
        group: str = "",
        text: Annotated[str, Query(max_length=200)] = "",
        part: Annotated[str, Query(max_length=200)] = "",
        after: int = -1,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        session.follow()
        classes = store.classes
        if label and label not in classes:
            raise OptionError(f"There is no class {label[:50]!r}.", "Choose one of the run's classes.")
        number = classes.index(label) if label else None
        after = max(-1, min(after, len(catalogue)))
        if lane == "next" and lane in catalogue.lanes:
            if label or group or text or show != "open":
                lane = "all"  # of which what comes next is a part that is still to be found
            session.live.ready(after, limit + 1)
        rows = session.rows(lane, part)
        page = catalogue.query(lane, show, number, group or None, text, after, limit, rows)
        found = zip(page.rows.tolist(), page.places.tolist(), strict=True)
        return {
            "items": [session.item(row) | {"place": place} for row, place in found],
            "total": page.total,
            "end": page.end,
        }

    @app.get("/api/live")
    def live(
        rows: Annotated[str, Query(max_length=10 * MOST_ITEMS, pattern=r"^(\d{1,9}(,\d{1,9})*)?$")] = "",
        lane: str = "all",
    ) -> dict[str, Any]:
        return session.live.told([int(row) for row in rows.split(",") if row], lane)


def _take_events(app: FastAPI, session: LabelSession) -> None:
    """Add the routes that write, and the one that reads what others wrote."""
    catalogue, store = session.catalogue, session.store

    @app.post("/api/events")
    def add(batch: Batch) -> dict[str, Any]:
        events = [Event(sent.uuid, sent.item, sent.kind, sent.value, sent.at, sent.seen) for sent in batch.events]
        saved, refused = store.add(batch.who or session.who, events, catalogue)
        seq = session.follow()
        named = dict.fromkeys(item for event in events for item in items_of(event.item))
        touched = {item: store.state(item) for item in named if item in catalogue}
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
        return {"items": session.changed(states), "seq": seq, "classes": session.classes(), "changes": session.changes}

    @app.post("/api/classes")
    def add_class(new: NewClass) -> list[dict[str, Any]]:
        store.add_classes(new.who or session.who, [new.name])
        session.follow()
        return session.classes()

    @app.post("/api/classes/change")
    def change_class(change: ClassChange) -> list[dict[str, Any]]:
        store.change_class(change.who or session.who, change.uuid, change.name, change.to)
        session.follow()
        return session.classes()

    @app.post("/api/classes/undo")
    def undo_class(undo: ClassUndo) -> list[dict[str, Any]]:
        store.undo_class(undo.who or session.who, undo.uuid, undo.change)
        session.follow()
        return session.classes()


def _serve_page(app: FastAPI) -> None:
    """Add the routes of the page's own files, which hold no data."""

    @app.get("/{name}")
    @app.get("/")
    def page(name: str = "index.html") -> Response:
        file = page_file(PAGE, name)
        if file is None:
            raise HTTPException(404, "There is nothing here.")
        return Response(file[0], media_type=file[1])


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
