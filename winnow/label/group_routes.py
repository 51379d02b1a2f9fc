"""The requests about groups of pictures, and about the map."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from winnow.errors import OptionError, did_you_mean
from winnow.label.picture_map import PictureMap
from winnow.label.session import LabelSession


def add_group_routes(app: FastAPI, session: LabelSession) -> None:
    """Add the routes for lanes that are shown group by group, and for the map."""

    @app.get("/api/groups")
    def groups(lane: str) -> dict[str, Any]:
        session.follow()
        if lane not in session.groups:
            raise OptionError(f"There are no groups {lane[:50]!r}.", did_you_mean(lane, list(session.groups)))
        found = session.groups[lane]
        return found.listed(session.catalogue) | {"lane": found.progress(session.catalogue)}

    @app.get("/api/map")
    def points() -> dict[str, Any]:
        return _known(session).points()

    @app.get("/api/map/colours")
    def colours(by: str = "label") -> dict[str, Any]:
        session.follow()
        return _known(session).colours(by, session.catalogue, session.live, session.store.classes)


def _known(session: LabelSession) -> PictureMap:
    if session.map is None:
        raise OptionError("There is no map of these pictures: they have no embeddings.", "Run: winnow encode --run RUN")
    return session.map
