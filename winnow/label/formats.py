"""Files of labels, written and read: CSV, a folder per class, Label Studio's JSON, COCO."""

from __future__ import annotations

import csv
import json
import os
import posixpath
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from winnow.errors import InputError, OptionError
from winnow.files import make_folder, told, write_json
from winnow.label.store import class_name
from winnow.tables import parse, write_table

FORMATS = ("csv", "imagefolder", "label-studio", "coco")
COLUMNS = ("id", "source", "time", "box", "label", "who", "at", "note")
SOURCE_COLUMNS = ("source", "file_name", "path", "image")
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"))
LARGEST = 2 << 30  # bytes of a file that is read

Draw = Callable[[str], tuple[bytes, str]]
"""The file of an item's picture, as bytes, and the suffix of its format."""


@dataclass(frozen=True)
class Record:
    """A label in a file; it has an `id`, a `source` or both. `where` is its place in the file."""

    label: str
    id: str = ""
    source: str = ""
    time: float | None = None
    box: tuple[int, ...] | None = None
    who: str = ""
    at: str = ""
    note: str = ""
    where: str = ""

    def row(self) -> dict[str, str]:
        """Return the record's values, as text, by the names in `COLUMNS`."""
        time = "" if self.time is None else repr(self.time)
        box = "" if self.box is None else ",".join(map(str, self.box))
        return dict(
            zip(COLUMNS, (self.id, self.source, time, box, self.label, self.who, self.at, self.note), strict=True)
        )


def format_of(path: Path, chosen: str = "") -> str:
    """Return the format to write: the one chosen, else that of the suffix; `OptionError` for an ambiguous or unknown suffix."""
    if chosen:
        if chosen not in FORMATS:
            raise OptionError(f"There is no format {chosen!r}.", f"Choose one of: {', '.join(FORMATS)}.")
        return chosen
    if path.suffix.lower() == ".csv":
        return "csv"
    if not path.suffix or os.path.isdir(path):
        return "imagefolder"
    if path.suffix.lower() == ".json":
        raise OptionError(f"{path} can be of two formats.", "Choose one: --format label-studio, or --format coco.")
    raise OptionError(f"{path} ends in no known format.", f"Choose one with --format: {', '.join(FORMATS)}.")


def write(path: Path, records: Sequence[Record], form: str, draw: Draw) -> None:
    """Write labels in a format of `FORMATS`, whole or not at all; `draw` makes the pictures of an imagefolder.

    Raises `OptionError` for a folder that exists and is not empty, for a file in place of a folder or the reverse, and for
    a place where nothing can be written; `RunError` when writing fails all the same, as on a full disk.
    """
    is_folder = os.path.isdir(path)  # unlike pathlib's, no error for a name that is too long: writing reports that
    if is_folder != (form == "imagefolder") and os.path.exists(path):
        raise OptionError(f"{path} is {'a folder' if is_folder else 'a file'} already.", "Choose another name.")
    if form != "imagefolder" and os.path.lexists(path):  # it may hold labels that somebody corrected
        raise OptionError(f"{path} exists already.", "Choose another name, or remove it.")
    make_folder(path.parent, "--export")
    if form == "csv":
        write_table(path, COLUMNS, (tuple(record.row().values()) for record in records))
    elif form == "imagefolder":
        with told(path, "Choose another place: --export ..."):
            _write_folder(path, records, draw)
    else:
        write_json(path, _tasks(records) if form == "label-studio" else _coco(records))


def read(path: Path) -> list[Record]:
    """Return the labels of a .csv or .json file, or of a folder with a folder for each class.

    Relative paths start at the file's folder. Raises `InputError` for a path that is missing, empty, or none of these.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"There is no {path}.", "Check the name of the labels to import.") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if is_folder:
        records = list(_read_folder(path))
    elif path.suffix.lower() == ".csv":
        records = list(_read_csv(path))
    elif path.suffix.lower() == ".json":
        records = list(_read_json(path))
    else:
        raise InputError(
            f"{path} ends in no known format.", "Give a .csv or .json file, or a folder with a folder for each class."
        )
    if not records:
        raise InputError(f"{path} holds no label.", "Check that the labels were exported with their classes.")
    return records


# ---- CSV


def _read_csv(path: Path) -> Iterator[Record]:
    lines = parse(_text(path))
    try:
        names = [name.strip().lower() for name in next(lines, (0, []))[1]]
        if "label" not in names or not {"id", *SOURCE_COLUMNS} & set(names):
            raise InputError(
                f"{path} lacks a column 'label', or one of id, {', '.join(SOURCE_COLUMNS)}.",
                f"Its columns are: {', '.join(names) or 'none'}.",
            )
        for line, cells in lines:
            where = f"line {line} of {path}"
            found = dict(zip(names, cells, strict=False))  # other tools leave out empty cells at the end of a line
            given = {name: found.get(name, "") for name in (*COLUMNS, *SOURCE_COLUMNS)}
            if given["label"].strip():
                yield _record(
                    where, given["label"], next((given[name] for name in SOURCE_COLUMNS if given[name]), ""), path.parent,
                    id=given["id"], time=given["time"], box=given["box"].split(",") if given["box"] else None, note=given["note"],
                )  # fmt: skip
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table ({error}).", "Check that line's quotes.") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST >> 30} GiB.", "Split it.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{path} is not text: it holds zero bytes.", "Save it as UTF-8 text.")
    return text


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be read ({(error.strerror or str(error)).lower()}).", "Check its name and permissions."
    )


def _record(
    where: str,
    label: Any,
    source: str,
    folder: Path,
    *,
    id: Any = "",
    time: Any = None,
    box: Any = None,
    note: Any = "",
) -> Record:
    """Return a record of the values in a file; `InputError` for an invalid label, time or box."""
    try:
        name = class_name(str(label))
        seconds = None if time in (None, "") else float(time)
        sides = None if box is None else tuple(round(float(side)) for side in box)
        if sides is not None and len(sides) != 4:
            raise ValueError("a box has four numbers: x, y, width, height")
    except (OptionError, ValueError, TypeError, OverflowError) as error:
        reason = error.message if isinstance(error, OptionError) else str(error)
        raise InputError(f"{where[0].upper()}{where[1:]} cannot be read: {reason}", "Correct it there.") from error
    return Record(name, str(id), _resolved(source, folder), seconds, sides, note=str(note), where=where)


def _resolved(source: str, folder: Path) -> str:
    """Return a source as runs store it, an absolute path; an address is left as it is."""
    if not source or "://" in source:
        return source
    return posixpath.normpath(posixpath.join(folder.absolute().as_posix(), source))


# ---- a folder per class


def _write_folder(path: Path, records: Sequence[Record], draw: Draw) -> None:
    if path.exists() and any(path.iterdir()):
        raise OptionError(f"{path} is not empty.", "Choose a new folder.")
    making = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        rows = []
        for number, record in enumerate(records):
            data, suffix = draw(record.id)
            stem = re.sub(r"[^\w .-]", "_", posixpath.splitext(posixpath.basename(record.source))[0])[:80]
            name = f"{record.label}/{number:06d} {stem}{suffix}"
            (making / record.label).mkdir(parents=True, exist_ok=True)
            (making / name).write_bytes(data)
            rows.append((name, *record.row().values()))
        write_table(making / "metadata.csv", ("file_name", *COLUMNS), rows)
        if path.exists():
            path.rmdir()
        making.replace(path)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _read_folder(path: Path) -> Iterator[Record]:
    if (path / "metadata.csv").exists():
        yield from _read_csv(path / "metadata.csv")
        return
    for file in sorted(path.glob("*/**/*")):
        if file.suffix.lower() in PICTURES and not file.name.startswith("."):
            label = file.relative_to(path).parts[0]
            yield _record(f"the file {file}", label, file.name, file.parent)


# ---- JSON


def _tasks(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return Label Studio's tasks: the picture and the other columns under `data`, the class as a choice."""
    return [
        {
            "id": number,
            "data": {"image": record.source, **record.row()},
            "annotations": [
                {
                    "created_at": record.at,
                    "result": [
                        {
                            "from_name": "label",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [record.label]},
                        }
                    ],
                }
            ],
        }
        for number, record in enumerate(records, 1)
    ]


def _coco(records: Sequence[Record]) -> dict[str, Any]:
    """Return COCO's content: each picture (or frame) once, an annotation for each item, without a box for a whole picture."""
    categories = {name: number for number, name in enumerate(dict.fromkeys(record.label for record in records), 1)}
    images: dict[tuple[str, float | None], int] = {}
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, 1):
        image = images.setdefault((record.source, record.time), len(images) + 1)
        box = (
            {}
            if record.box is None
            else {"bbox": list(record.box), "area": record.box[2] * record.box[3], "iscrowd": 0}
        )
        about = {"item": record.id, "who": record.who, "at": record.at, "note": record.note}
        annotations.append({"id": number, "image_id": image, "category_id": categories[record.label], **box, **about})
    return {
        "images": [
            {"id": number, "file_name": source, **({} if time is None else {"time": time})}
            for (source, time), number in images.items()
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _read_json(path: Path) -> Iterator[Record]:
    try:
        content = json.loads(_text(path))
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
                yield _record(where, choice, _local(source), folder, id=data.get("id", ""), time=data.get("time"), box=box,
                              note=data.get("note", ""))  # fmt: skip


def _local(address: str) -> str:
    """Return the file behind an address of Label Studio: a local file by its path, an upload without the added prefix."""
    if address.startswith("/data/local-files/"):
        return parse_qs(urlsplit(address).query).get("d", [""])[0]
    if address.startswith("/data/upload/"):
        return re.sub(r"^[0-9a-f]{8}-", "", unquote(posixpath.basename(address)))
    return address


def _read_coco(path: Path, content: dict[str, Any]) -> Iterator[Record]:
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    images = {entry["id"]: entry for entry in content["images"]}
    for entry in content["annotations"]:
        where = f"annotation {entry.get('id')} of {path}"
        image = images[entry["image_id"]]
        yield _record(where, names[entry["category_id"]], image["file_name"], path.parent, id=entry.get("item", ""),
                      time=image.get("time"), box=entry.get("bbox") or None, note=entry.get("note", ""))  # fmt: skip
