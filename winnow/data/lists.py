"""Lists of pictures and videos: one path a line, CSV, JSON lines or parquet, with group, label and split if wanted."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from winnow.data import storage
from winnow.data.folder_names import SPLIT_NAMES, split_name
from winnow.errors import InputError, did_you_mean
from winnow.tables import parse

LIST_SUFFIXES = frozenset((".txt", ".csv", ".jsonl", ".parquet"))
METADATA = frozenset(("metadata.csv", "metadata.jsonl"))
"""Names of the tables that make a folder a Hugging Face imagefolder."""

_PATH, _LABEL = ("path", "file_name", "source", "image"), ("label", "class")
_LIMIT = 2 << 30


@dataclass(frozen=True, slots=True)
class Row:
    """One file named in a list; `where` is its place in the list, `broken` the reason why a row names no file."""

    uri: str
    where: str
    group: str = ""
    label: str = ""
    split: str = ""
    broken: str = ""


def rows(uri: str) -> Iterator[Row]:
    """Return the files named in a list; relative paths start at the list's folder.

    Raises `InputError` when the list is not UTF-8, not of the format of its suffix, lacks the column of paths, or holds a
    split that is not known.
    """
    folder = storage.parent(uri)
    suffix = posixpath.splitext(uri)[1].lower()
    if suffix == ".txt":
        for number, line in enumerate(_text(uri).split("\n"), 1):
            path = line.strip()
            if path and not path.startswith("#"):
                yield Row(storage.resolve(folder, path), f"line {number} of {uri}")
        return
    reader = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[suffix]
    for number, values in reader(uri):
        yield _row(uri, folder, number, values)


def _row(uri: str, folder: str, number: int, values: dict[str, Any]) -> Row:
    where = f"row {number} of {uri}"
    cells = {name: "" if value is None else str(value).strip() for name, value in values.items()}
    for name in ("group", *_LABEL):
        if not storage.is_text(cells.get(name, "")):
            raise InputError(
                f"{where[0].upper()}{where[1:]} has the {name} {cells[name]!r}, which is not text.",
                "Write it in characters of Unicode, without halves of surrogate pairs.",
            )
    path = next((cells[name] for name in _PATH if name in cells), "")
    if not path:
        return Row(f"{uri}#{number}", where, broken=f"{where[0].upper()}{where[1:]} names no file.")
    given = cells.get("split", "")
    split = split_name(given) if given else ""
    if split is None:
        raise InputError(
            f"{where[0].upper()}{where[1:]} has the split {given!r}.",
            f"Use train, validate, calibrate or test. {did_you_mean(given, list(SPLIT_NAMES))}",
        )
    label = next((cells[name] for name in _LABEL if cells.get(name)), "")
    return Row(storage.resolve(folder, path), where, cells.get("group", ""), label, split)


def _text(uri: str) -> str:
    data = storage.read(uri, _LIMIT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{uri} is not UTF-8 text (byte 0x{data[error.start]:02x} in line {line}).", "Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise InputError(f"{uri} is not text: it holds zero bytes.", "Save it as UTF-8 text.")
    return text


def _named(uri: str, names: list[str]) -> None:
    if not any(name in names for name in _PATH):
        near = next((hint for hint in (did_you_mean(known, names) for known in _PATH) if hint.startswith("Did")), "")
        raise InputError(
            f"{uri} has no column 'path' (or file_name, source, image).",
            f"Its columns are: {', '.join(names) or 'none'}. {near}".strip(),
        )


def _csv(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = parse(_text(uri))
    try:
        names = [name.strip().lower() for name in next(lines, (0, []))[1]]
        _named(uri, names)
        for number, cells in lines:
            if any(cell.strip() for cell in cells):
                yield number, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise InputError(f"{uri} is not a CSV table ({error}).", "Check the quotes of that line.") from error


def _jsonl(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(uri).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"Line {number} of {uri} is not JSON ({error}).", "Write one JSON object a line."
            ) from error
        if not isinstance(values, dict):
            raise InputError(f"Line {number} of {uri} is not a JSON object.", "Write one JSON object a line.")
        _named(uri, list(values))
        yield number, values


def _parquet(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with storage.open_binary(uri) as file:
        try:
            table = pq.ParquetFile(file)
            names = table.schema_arrow.names
            _named(uri, [name.lower() for name in names])
            wanted = [name for name in names if name.lower() in (*_PATH, *_LABEL, "group", "split")]
            number = 0
            for batch in table.iter_batches(columns=wanted):
                for values in batch.to_pylist():
                    number += 1
                    if any(isinstance(value, dict | list | bytes) for value in values.values()):
                        raise InputError(
                            f"{uri} holds no paths: {', '.join(wanted)} hold structures or bytes.",
                            "Write the pictures to files and name those in a column 'path'.",
                        )
                    yield number, {name.lower(): value for name, value in values.items()}
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{uri} is not a readable parquet table ({error}).", "Write it again.") from error
