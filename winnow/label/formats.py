"""Files of labels, written and read: CSV, a folder per class, Label Studio's JSON, COCO."""

from __future__ import annotations

import csv
import os
import posixpath
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from winnow.data.folder_names import folder_of
from winnow.data.layouts import Reading
from winnow.data.sources import expand
from winnow.errors import InputError, OptionError
from winnow.files import make_folder, told, write_json
from winnow.label.records import COLUMNS, SOURCE_COLUMNS, Record, record, text_of, unreadable
from winnow.label.tools import Size, coco_of, read_json, tasks_of
from winnow.tables import columns_of, parse, write_table

FORMATS = ("csv", "imagefolder", "label-studio", "coco")
LONGEST = 235
"""Bytes of the name of a source in that of a file of an imagefolder; file systems take 255 in all."""
WITH_PICTURES = ("imagefolder", "coco")
"""The formats that hold the pictures, or their sizes."""

Draw = Callable[[str], tuple[bytes, str]]
"""The file of an item's picture, by its id: its bytes, and the suffix of its format."""


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


def write(path: Path, records: Sequence[Record], form: str, draw: Draw, size: Size) -> None:
    """Write labels in a format of `FORMATS`, whole or not at all; `draw` makes the pictures of an imagefolder, `size` tells COCO's.

    Raises `OptionError` for a folder that exists and is not empty, for a file in place of a folder or the reverse, and for
    a place where nothing can be written; `RunError` when writing fails all the same, as on a full disk.
    """
    is_folder = os.path.isdir(path)  # unlike pathlib's, no error for a name that is too long: writing reports that
    if is_folder != (form == "imagefolder") and os.path.exists(path):
        raise OptionError(f"{path} is {'a folder' if is_folder else 'a file'} already.", "Choose another name.")
    if form != "imagefolder" and os.path.lexists(path):  # it may hold labels that somebody corrected
        raise OptionError(f"{path} exists already.", "Choose another name, or remove it.")
    contents: dict[str, Callable[[Sequence[Record]], Any]] = {
        "label-studio": tasks_of,
        "coco": partial(coco_of, size=size),
    }
    content = contents[form](records) if form in contents else None  # before anything is made
    make_folder(path.parent, "--export")
    if form == "csv":
        write_table(path, COLUMNS, (tuple(entry.row().values()) for entry in records))
    elif form == "imagefolder":
        with told(path, "Choose another place: --export ..."):
            _write_folder(path, records, draw)
    else:
        write_json(path, content)


def read(path: Path) -> list[Record]:
    """Return the labels of a .csv or .json file, or of a folder with a folder for each class.

    Relative paths start at the file's folder. Raises `InputError` for a path that is missing, empty, or none of these.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"There is no {path}.", "Check the name of the labels to import.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    if is_folder:
        records = list(_read_folder(path))
    elif path.suffix.lower() == ".csv":
        records = list(_read_csv(path))
    elif path.suffix.lower() == ".json":
        records = list(read_json(path))
    else:
        raise InputError(
            f"{path} ends in no known format.", "Give a .csv or .json file, or a folder with a folder for each class."
        )
    if not records:
        raise InputError(f"{path} holds no label.", "Check that the labels were exported with their classes.")
    return records


# ---- CSV


def _read_csv(path: Path) -> Iterator[Record]:
    lines = parse(text_of(path))
    try:
        names = columns_of(str(path), lines, {*COLUMNS, *SOURCE_COLUMNS})
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
                yield record(
                    where, given["label"], next((given[name] for name in SOURCE_COLUMNS if given[name]), ""), path.parent,
                    id=given["id"], time=given["time"], box=given["box"].split(",") if given["box"] else None, note=given["note"],
                    seen=given["seen"],
                )  # fmt: skip
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table ({error}).", "Check that line's quotes.") from error


# ---- a folder per class


def _write_folder(path: Path, records: Sequence[Record], draw: Draw) -> None:
    if path.exists() and any(path.iterdir()):
        raise OptionError(f"{path} is not empty.", "Choose a new folder.")
    making = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        rows = []
        for number, entry in enumerate(records):
            data, suffix = draw(entry.id)
            stem = re.sub(r"[^\w .-]", "_", posixpath.splitext(posixpath.basename(entry.source))[0])[:80]
            stem = stem.encode()[:LONGEST].decode(errors="ignore")
            folder = folder_of(entry.label)
            name = f"{folder}/{number:06d} {stem}{suffix}"
            (making / folder).mkdir(parents=True, exist_ok=True)
            (making / name).write_bytes(data)
            rows.append((name, *entry.row().values()))
        write_table(making / "metadata.csv", ("file_name", *COLUMNS), rows)
        if path.exists():
            path.rmdir()
        making.replace(path)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _read_folder(path: Path) -> Iterator[Record]:
    """Yield the labels of a folder: those of its own table, as an export writes it, else what its tables and folders say, as
    they are read when the folder is a source."""
    table = path / "metadata.csv"
    if table.exists() and "label" in _header(table):
        yield from _read_csv(table)
        return
    if not any(file.is_file() for file in path.rglob("*")):
        return
    for source in expand([path], Reading("labels")).sources:
        if source.label:
            file = Path(source.uri)
            yield record(f"the file {file}", source.label, file.name, file.parent)


def _header(table: Path) -> list[str]:
    """Return the names of a table's columns."""
    return columns_of(str(table), parse(text_of(table)), ())
