"""An application of FastAPI as all our servers make it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def application_of(**given: Any) -> FastAPI:
    """Return an application without documentation pages, which would load from elsewhere, and without telemetry.

    Recent versions of FastAPI hand requests, and errors with their stacks, to OpenTelemetry wherever a program has set that up.
    """
    quiet: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    return FastAPI(docs_url=None, redoc_url=None, telemetry=quiet, **given)
