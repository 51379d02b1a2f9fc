"""Answers as JSON: what a file says of a picture, in the words of the tables that `winnow predict --onnx` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from winnow.deploy.judge import Judged, damage, notes_of
from winnow.deploy.runtime import Deployed
from winnow.pool.in_memory import InMemory, Refused
from winnow.pool.patches import read_boxes


class Defect(BaseModel):
    """A damaged place, in pixels of the picture."""

    page: int | None = None
    x: int
    y: int
    width: int
    height: int
    score: float


class Row(BaseModel):
    """What is said of a picture, of a page of it, or of what was cut out of it."""

    id: str = Field(description="Begins with the hash of the file's content.")
    page: int | None = Field(None, description="Number of the page, of files with several.")
    box: list[int] | None = Field(None, description="x, y, width and height of what was cut out, in pixels.")
    class_: str | None = Field(None, alias="class", description="The most probable class, of a file with a classifier.")
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = Field(None, description="Anomaly score: higher = does not belong.")
    threshold: float | None = Field(None, description="A picture whose score is above it does not belong.")
    p_value: float | None = None
    belongs: bool | None = None
    region: str | None = Field(None, description="The part that does not belong, of a model that judges parts too.")


class PageRefused(BaseModel):
    """A page that could not be read."""

    page: int | None
    error: str


class PictureAnswer(BaseModel):
    """What is said of a file; one that cannot be read has an `error` alone."""

    name: str
    rows: list[Row] | None = None
    defects: list[Defect] | None = Field(None, description="Where it is damaged; null of a model that knows no places.")
    refused: list[PageRefused] | None = None
    notes: list[str] | None = None
    error: str | None = None


class ModelName(BaseModel):
    """The model that answers."""

    name: str
    sha256: str = Field(description="Of the file: it changes when the file is replaced.")


class Answer(BaseModel):
    """The answer to /v1/predict."""

    model: ModelName
    pictures: list[PictureAnswer]


class DriftAlarm(BaseModel):
    """That the threshold does not hold any more, as one worker was told by its bets."""

    worker: int
    time: float = Field(description="When it was raised, in seconds since 1970.")
    blocks: int = Field(description="Pictures that had been bet on until then.")
    since: int = Field(description="The first of them that seems to be of a changed process.")
    alarm: float = Field(description="The chance of ever raising it over a process that does not change.")
    changes: list[str] = Field(description="How pictures since differ from held-out ones of the run.")
    pictures: str | None = Field(None, description="Where pictures before and since the change are.")


class DriftAnswer(BaseModel):
    """Whether it is watched that the threshold holds (`--drift-alarm`), and the alarms so far."""

    watched: bool
    alarms: list[DriftAlarm]


class Refusal(BaseModel):
    """Why a request was not answered, and what to do about it."""

    error: str
    remedy: str = ""


def rows_of(model: Deployed, judged: Judged) -> list[dict[str, Any]]:
    """Return the rows of the table that `winnow predict --onnx` writes of a picture."""
    items, found, thresholds = judged.rows(model)
    regions = judged.regions(model)
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(items["id"]):
        box = str(name).rpartition("#")[2]
        row: dict[str, Any] = {
            "id": name,
            "page": items["page"][place],
            "box": read_boxes([box])[0].tolist() if box != name else None,
        }
        if model.classes is not None:
            probabilities = found["probabilities"][place]
            best = int(probabilities.argmax())
            row |= {"class": model.classes[best], "probability": _number(probabilities[best])}
            row["probabilities"] = {
                kind: _number(value) for kind, value in zip(model.classes, probabilities, strict=True)
            }
        if thresholds is not None:
            score = found["score"][place]
            row |= {
                "score": _number(score),
                "threshold": _number(thresholds[place]),
                "p_value": _number(found["p_value"][place]),
            }
            row["belongs"] = bool(score <= thresholds[place])
        if regions is not None:
            row["region"] = regions[place]
        rows.append(row)
    return rows


def picture_answer(
    name: str, model: Deployed, pool: InMemory, judged: Judged, refused: Sequence[Refused]
) -> dict[str, Any]:
    """Return what is said of a file's pictures."""
    places = damage(model, pool, judged, all_of_them=False) if len(pool) else None
    defects = places and [
        {"page": picture.page, "x": x, "y": y, "width": width, "height": height, "score": _number(score)}
        for _, picture in places[1]
        for x, y, width, height, score in picture.defects
    ]
    return {
        "name": name,
        "rows": rows_of(model, judged),
        "defects": defects,
        "refused": [{"page": page, "error": reason} for page, reason in refused],
        "notes": notes_of(model, pool, judged),
    }


def _number(value: float | np.floating[Any]) -> float:
    """Return a number of as many digits as float32 has, for those of the outputs are no more exact."""
    return float(f"{float(value):.7g}")
