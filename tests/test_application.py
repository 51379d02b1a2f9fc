"""Servers tell nothing to OpenTelemetry, whatever the program around them has set up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

import winnow
from winnow.web.application import application_of


async def asked(app: FastAPI) -> None:
    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        assert (await client.get("/hello")).json() == "hello"


def test_a_request_is_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    traced: list[str] = []

    class Tracer(trace.NoOpTracer):
        def start_span(self, name: str, *given: object, **named: object) -> object:
            traced.append(name)
            return super().start_span(name, *given, **named)

    class Provider(trace.TracerProvider):
        def get_tracer(self, *given: object, **named: object) -> Tracer:
            return Tracer()

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Provider())
    asyncio.run(asked(FastAPI()))
    assert traced  # or this version of FastAPI traces nothing, and the next line could not fail
    traced.clear()
    asyncio.run(asked(application_of()))
    assert traced == []


def test_every_server_is_made_there() -> None:
    folder = Path(winnow.__file__).parent
    makers = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if "FastAPI(" in path.read_text("utf-8")
    }
    assert makers == {"web/application.py"}
