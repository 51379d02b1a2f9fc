"""The requests about groups of pictures."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from winnow.errors import OptionError, did_you_mean
from winnow.label.session import LabelSession


def add_group_routes(app: FastAPI, session: LabelSession) -> None:
    """Add the routes for lanes that are shown group by group."""

    @app.get("/api/groups")
    def groups(lane: str) -> dict[str, Any]:
        session.follow()
        if lane not in session.groups:
            raise OptionError(f"There are no groups {lane[:50]!r}.", did_you_mean(lane, list(session.groups)))
        found = session.groups[lane]
        return found.listed(session.catalogue) | {"lane": found.progress(session.catalogue)}
