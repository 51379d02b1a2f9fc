"""Labels as the JSON of other tools: Label Studio's tasks, and COCO."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from winnow.errors import InputError, OptionError
from winnow.label.records import SOURCE_COLUMNS, Record, record, text_of
from winnow.pool.patches import picture_of

LOCAL_FILES = "/data/local-files/"
ROOT = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"

Size = Callable[[str], tuple[int, int]]
"""Height and width of the whole picture or frame that an item, by its id, is or is a part of."""


def tasks_of(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return Label Studio's tasks: the picture and the other columns under `data`, the class as a choice."""
    return [
        {
            "id": number,
            "data": {"image": _address(entry.source), **entry.row()},
            "annotations": [
                {
                    "created_at": entry.at,
                    "result": [
                        {
                            "id": f"label-{number}",
                            "from_name": "label",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [entry.label]},
                        }
                    ],
                }
            ],
        }
        for number, entry in enumerate(records, 1)
    ]


def _root() -> str:
    """Return the folder that Label Studio's local files are below: that of its environment variable, by its default `/`."""
    return os.path.abspath(os.environ.get(ROOT) or "/")


def _address(source: str) -> str:
    """Return the address by which Label Studio shows a file of this machine; another is left as it is."""
    if "://" in source:
        return source
    below = os.path.relpath(source, _root())
    if below.startswith("../"):
        raise OptionError(
            f"{source} does not lie below {_root()}, where Label Studio looks for local files.",
            f"Set {ROOT} to a folder above it, here and for Label Studio.",
        )
    return f"{LOCAL_FILES}?d={quote(below)}"


def coco_of(records: Sequence[Record], size: Size) -> dict[str, Any]:
    """Return COCO's content: each picture, page or frame once, an annotation for each item, whose box is all of a whole picture."""
    categories = {name: number for number, name in enumerate(dict.fromkeys(entry.label for entry in records), 1)}
    images: dict[tuple[str, float | None, str], dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(records, 1):
        picture = entry.source, entry.time, picture_of([entry.id])[0]
        if picture not in images:
            tall, wide = size(entry.id)
            time = {} if entry.time is None else {"time": entry.time}
            about = {"id": len(images) + 1, "file_name": entry.source, "width": wide, "height": tall}
            images[picture] = {**about, **time}
        image = images[picture]
        x, y, width, height = entry.box or [0, 0, image["width"], image["height"]]
        annotations.append(
            {
                "id": number,
                "image_id": image["id"],
                "category_id": categories[entry.label],
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                **{"item": entry.id, "who": entry.who, "at": entry.at, "note": entry.note, "seen": entry.seen},
            }
        )
    return {
        "info": {"description": "Labels of a Winnow run"},
        "licenses": [],
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def read_json(path: Path) -> Iterator[Record]:
    """Yield the labels of Label Studio's tasks or of COCO; `InputError` for JSON that is neither, or lacks what it needs."""
    try:
        content = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}).", "Export it again.") from error
    try:
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
            yield from _read_coco(path, content)
        elif isinstance(content, list):
            for number, task in enumerate(content, 1):
                yield from _read_task(f"task {number} of {path}", path.parent, task)
        else:
            raise InputError(
                f"{path} is neither Label Studio's list of tasks nor COCO.",
                "Export JSON (not JSON-MIN) or COCO, or use CSV.",
            )
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else "a value is of another type"
        raise InputError(f"{path} lacks what its format prescribes ({reason}).", "Export it again.") from error


def _read_task(where: str, folder: Path, task: dict[str, Any]) -> Iterator[Record]:
    """Yield the classes of a task: one record for each choice, so that two contradicting choices are noticed."""
    data = task["data"]
    source = next((data[name] for name in (*SOURCE_COLUMNS, "img", "url") if isinstance(data.get(name), str)), "")
    box = data["box"].split(",") if data.get("box") else None
    for annotation in task.get("annotations") or []:
        for result in annotation["result"] if not annotation.get("was_cancelled") else []:
            for choice in result["value"].get("choices", []) if result.get("type") == "choices" else []:
                yield record(where, choice, _local(source), folder, id=data.get("id", ""), time=data.get("time"), box=box,
                             note=data.get("note", ""), seen=data.get("seen", ""))  # fmt: skip


def _local(address: str) -> str:
    """Return the file behind an address of Label Studio: a local file by its path, an upload without the added prefix."""
    if address.startswith(LOCAL_FILES):
        below = parse_qs(urlsplit(address).query).get("d", [""])[0]
        whole = os.path.join(_root(), below)
        return whole if os.path.isfile(whole) else below
    if address.startswith("/data/upload/"):
        return re.sub(r"^[0-9a-f]{8}-", "", unquote(posixpath.basename(address)))
    return address


def _read_coco(path: Path, content: dict[str, Any]) -> Iterator[Record]:
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    images = {entry["id"]: entry for entry in content["images"]}
    for entry in content["annotations"]:
        where = f"annotation {entry.get('id')} of {path}"
        image = images[entry["image_id"]]
        whole = [0, 0, image.get("width"), image.get("height")]
        box = entry.get("bbox") or None
        yield record(where, names[entry["category_id"]], image["file_name"], path.parent, id=entry.get("item", ""),
                     time=image.get("time"), box=None if box == whole else box, note=entry.get("note", ""),
                     seen=entry.get("seen", ""))  # fmt: skip
