"""What a server can be asked."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from winnow.deploy.serve import protocol
from winnow.deploy.serve.answers import Answer, DriftAnswer, Refusal
from winnow.deploy.serve.multipart import files_of
from winnow.deploy.serve.page import POLICY, page
from winnow.deploy.serve.service import Kind, Service
from winnow.errors import DataError, InputError, ModelError, OptionError, Unreadable, WinnowError
from winnow.version import __version__
from winnow.web.application import application_of

DESCRIPTION = "Tells the class of pictures, how probable it is, and what does not belong."
SENTENCES = {
    400: "The request makes no sense.",
    401: "The token is missing or wrong.",
    403: "It comes from a page of another server.",
    404: "There is nothing of this name.",
    405: "Not by this method.",
    408: "It was sent too slowly.",
    413: "It is too large.",
    415: "It is compressed.",
    421: "It is meant for another host.",
    422: "None of the pictures can be read.",
    503: "There are too many requests, or it took too long: ask again after Retry-After seconds.",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": sentence} for status, sentence in SENTENCES.items()
}
BYTES = {"schema": {"type": "string", "format": "binary"}}
PICTURE = {"required": True, "content": {"application/octet-stream": BYTES, "image/jpeg": BYTES, "image/png": BYTES}}
FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["picture"],
            "properties": {"picture": {"type": "array", "minItems": 1, "items": BYTES["schema"]}},
        }
    }
}
PICTURES = {"required": True, "content": {**PICTURE["content"], **FORM}}  # type: ignore[dict-item]
TENSORS = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "properties": {"inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}}},
            }
        },
        "application/octet-stream": BYTES,
    },
}
STATUS = ((Unreadable, 422), (DataError, 422), (InputError, 400), (OptionError, 400), (ModelError, 503))
Page = Annotated[int | None, Query(ge=1, le=1_000_000, description="Number of the page, of a file with several.")]
Worker = Annotated[int, Path(ge=0, le=1_000_000, description="Its number, from 0.")]
KindOf = Annotated[
    Kind, Query(description="The anomaly map, the mask of the damaged places, or the picture under the map with boxes.")
]


def application(service: Service, name: str) -> FastAPI:
    """Return the application that answers for a service; `name` is that of its model."""
    app = application_of(
        title=f"winnow serve: {name}", description=DESCRIPTION, version=__version__, responses=REFUSALS
    )
    _add_errors(app)
    _add_pictures(app, service, name)
    _add_model(app, service, name)
    _add_protocol(app, service, name)
    return app


def _add_pictures(app: FastAPI, service: Service, name: str) -> None:
    @app.post(
        "/v1/predict",
        response_model=None,
        responses={200: {"model": Answer, "description": "What was found."}},
        openapi_extra={"requestBody": PICTURES},
    )
    async def predict(request: Request) -> Response:
        """Say what one or many pictures are: the bytes of one, or a form with a part of any name for each.

        JPEG, PNG, WebP, TIFF, BMP, GIF and what else winnow ingest reads, decoded and scaled as the run decoded its own.
        """
        body = await request.body()
        kind = request.headers.get("content-type", "").encode("latin-1")
        files = files_of(body, kind) if kind.lower().startswith(b"multipart/") else [("picture", body)]
        model = service.model
        answers = (
            [await service.predict(*files[0][::-1])]
            if len(files) == 1
            else await asyncio.gather(*(service.predict(data, file) for file, data in files))
        )
        if all("error" in answer for answer in answers):
            sentence = "; ".join(f"{answer['name']}: {answer['error']}" for answer in answers[:3])
            return _refusal(422, f"{sentence}.", "Send pictures of a format that winnow ingest reads.")
        return _json({"model": {"name": name, "sha256": model.sha256}, "pictures": answers})

    @app.post(
        "/v1/map",
        response_class=Response,
        responses={200: {"content": {"image/png": BYTES}, "description": "A PNG of the picture's size."}},
        openapi_extra={"requestBody": PICTURE},
    )
    async def draw(request: Request, kind: KindOf = "map", page: Page = None) -> Response:
        """Draw where a picture is damaged, of a model that looks for damage."""
        return Response(await service.draw(await request.body(), kind, page), media_type="image/png")


def _add_model(app: FastAPI, service: Service, name: str) -> None:
    @app.get(
        "/v1/model",
        response_model=None,
        responses={200: {"content": {"application/json": {}}, "description": "What the file says of itself."}},
    )
    async def model() -> Response:
        """Say what the model is: its classes, thresholds, sizes, and how it reads pictures."""
        found, served = service.model, service.current.served
        return _json(
            {"name": name, "sha256": found.sha256, "loaded": served.since, **found.about.model_dump(mode="json")}
        )

    @app.get(
        "/metrics",
        response_model=None,
        responses={200: {"content": {"text/plain": {}}, "description": "Numbers for Prometheus."}},
    )
    async def metrics() -> Response:
        """Return numbers for Prometheus, of all workers together."""
        service.count()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get(
        "/v1/drift",
        response_model=None,
        responses={200: {"model": DriftAnswer, "description": "The alarms, none while the threshold holds."}},
    )
    async def drift() -> Response:
        """Say whether the threshold still holds for what was asked, and what has changed where it does not."""
        watch = service.drift
        return _json({"watched": watch is not None, "alarms": await asyncio.to_thread(watch.alarms) if watch else []})

    @app.get(
        "/v1/drift/{worker}",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": BYTES}, "description": "Pictures before, above, and since."}},
    )
    async def drift_pictures(worker: Worker) -> Response:
        """Show pictures before and since the change that a worker told of."""
        found = await asyncio.to_thread(service.drift.picture, worker) if service.drift else None
        if found is None:
            return _refusal(404, f"Worker {worker} has told of no change.", "GET /v1/drift says which have.")
        return Response(found, media_type="image/jpeg")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page(app.openapi(), name), media_type="text/html", headers={"content-security-policy": POLICY})


def _add_protocol(app: FastAPI, service: Service, name: str) -> None:
    path = f"/v2/models/{name}"
    found: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {}}, "description": "As the Open Inference Protocol says."}
    }

    @app.get("/v2", response_model=None, responses=found)
    async def server() -> Response:
        """Say what the server is."""
        return _json({"name": "winnow", "version": __version__, "extensions": ["binary_tensor_data"]})

    @app.get("/v2/health/live", response_model=None, responses=found)
    async def live() -> Response:
        """Say that the server lives."""
        return _json({"live": True})

    @app.get("/v2/health/ready", response_model=None, responses=found)
    async def ready() -> Response:
        """Say that requests are answered; 503 once the server has been told to end."""
        return _json({"ready": False}, 503) if service.leaving else _json({"ready": True})

    @app.get(path, response_model=None, responses=found)
    @app.get(f"{path}/versions/1", response_model=None, responses=found, include_in_schema=False)
    async def metadata() -> Response:
        """Say what the model takes and returns."""
        return _json(protocol.about(service.model, name))

    @app.get(f"{path}/ready", response_model=None, responses=found)
    @app.get(f"{path}/versions/1/ready", response_model=None, responses=found, include_in_schema=False)
    async def model_ready() -> Response:
        """Say that the model answers."""
        return _json({"name": name, "ready": True})

    @app.post(
        f"{path}/infer",
        response_model=None,
        responses={
            200: {"content": {"application/json": {}, "application/octet-stream": BYTES}, "description": "Outputs."}
        },
        openapi_extra={"requestBody": TENSORS},
    )
    @app.post(f"{path}/versions/1/infer", response_model=None, include_in_schema=False)
    async def infer(request: Request) -> Response:
        """Return the model's own outputs for pictures uint8 (n, height, width, channels), as JSON or as binary tensors."""
        body, length = await request.body(), request.headers.get(protocol.HEAD.decode())
        used = service.model
        read = partial(
            protocol.asked, body, None if length is None else length.encode("latin-1"), used, service.limits.most_pixels
        )
        # JSON of a picture takes milliseconds, in which nobody else would be answered; the head of binary tensors takes none.
        asked = await asyncio.to_thread(read) if length is None else read()
        content, headers = protocol.answer(asked, await service.infer(used, asked.pixels, tuple(asked.outputs)), name)
        return Response(content, headers=headers)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(WinnowError)
    async def winnow_error(request: Request, error: WinnowError) -> Response:
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        return _refusal(status, error.message, error.remedy)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        answer = _refusal(
            error.status_code,
            SENTENCES.get(error.status_code, "")
            if error.detail in ("Not Found", "Method Not Allowed")
            else str(error.detail),
            "GET /docs lists what can be asked.",
        )
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def wrong_value(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _refusal(400, f"{first['loc'][-1]}: {first['msg']}.", "GET /docs lists what can be given.")


def _refusal(status: int, error: str, remedy: str = "") -> Response:
    answer = _json({"error": error, "remedy": remedy}, status)
    if status == 503:
        answer.headers["retry-after"] = "1"
    return answer


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")
