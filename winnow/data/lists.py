"""Lists of pictures and videos: one path a line, CSV, JSON lines or parquet, with group, track, label, split, time and box if wanted."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.data import buckets, storage
from winnow.data.folder_names import SPLIT_NAMES, split_name
from winnow.data.video import VIDEO_SUFFIXES
from winnow.errors import InputError, did_you_mean
from winnow.tables import columns_of, named_once, parse

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

LIST_SUFFIXES = frozenset((".txt", ".csv", ".jsonl", ".parquet"))
METADATA = frozenset(("metadata.csv", "metadata.jsonl"))
"""Names of the tables that make a folder a Hugging Face imagefolder."""

_PATH, _LABEL, _SIDES = ("path", "file_name", "source", "image"), ("label", "class"), ("x", "y", "width", "height")
_COLUMNS = frozenset((*_PATH, *_LABEL, *_SIDES, "group", "track", "split", "time", "box", "id"))
_BOX_OF_ID = re.compile(r"#(\d+,\d+,\d+,\d+)$")
# A list is small, and one that unpacks to gigabytes was made for that.
_LARGEST = 1 << 28  # bytes of a list
MOST_ROWS = 5_000_000
_UNPACKED, _TIMES_UNPACKED = 64 << 20, 200  # bytes that a parquet list may unpack to: these, and so many times its own
_FEW_ROWS, _ROWS_A_BYTE = 10_000, 4
LONGEST = 4096  # bytes of a path or a name, as in file systems


@dataclass(frozen=True, slots=True)
class Row:
    """One file, frame or part of either named in a list; `where` is its place in the list, `broken` why it names none.

    `time` is in seconds into a video, None for all of it; `box` is 'x,y,width,height' in pixels, "" for the whole picture.
    `track`: pictures of a group with the same name show one person or thing.
    """

    uri: str
    where: str
    group: str = ""
    label: str = ""
    split: str = ""
    broken: str = ""
    time: float | None = None
    box: str = ""
    track: str = ""


class _Broken(Exception):
    """A row that names no file, with the reason."""


def rows(uri: str) -> Iterator[Row]:
    """Return the files named in a list; relative paths start at the list's folder.

    Raises `InputError` when the list is not UTF-8, not of the format of its suffix, lacks the column of paths, holds a split
    that is not known, or is larger than a list can be. What is wrong with one row alone makes that row `broken`.
    """
    folder = storage.parent(uri)
    suffix = posixpath.splitext(uri)[1].lower()
    reader = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[suffix]
    place = "line" if suffix == ".txt" else "row"
    for count, (number, values) in enumerate(reader(uri)):
        if count == MOST_ROWS:
            raise InputError(f"{uri} has more than {MOST_ROWS:,} rows.", "Split it into several lists.")
        where = f"{place} {number} of {uri}"
        cells = {name: _text(value) for name, value in values.items()}
        try:
            yield _row(folder, where, cells)
        except _Broken as broken:
            yield Row(f"{uri}#{number}", where, broken=f"{where[0].upper()}{where[1:]} {broken}.")


def _text(value: Any) -> str:
    """Return a cell as text; what is missing, NaN among it, is no text: a class "nan" is nobody's."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value).strip()


def _row(folder: str, where: str, cells: Mapping[str, str]) -> Row:
    for name, value in cells.items():
        if name in _COLUMNS and not storage.is_text(value):
            raise _Broken(f"has a {name} with half a character of Unicode, {value[:60]!r}")
        if name in _COLUMNS and len(value) > LONGEST:
            raise _Broken(f"has a {name} of {len(value):,} characters, which is none")
    column = next((name for name in _PATH if cells.get(name)), "")
    if not column:
        raise _Broken("names no file")
    path = cells[column]
    given = cells.get("split", "")
    split = split_name(given) if given else ""
    if split is None:
        raise InputError(
            f"{where[0].upper()}{where[1:]} has the split {given[:60]!r}.",
            f"Use train, validate, calibrate or test. {did_you_mean(given, list(SPLIT_NAMES))}",
        )
    label = next((cells[name] for name in _LABEL if cells.get(name)), "")
    try:
        uri = storage.resolve(folder, path)
        if storage.is_remote(uri):
            buckets.split(uri)
    except InputError as error:
        raise _Broken(f"cannot be read: {error.message.rstrip('.')}") from error
    if column in ("path", "file_name") and cells.get("source"):  # an export: the file is the part itself
        return Row(uri, where, cells.get("group", ""), label, split, track=cells.get("track", ""))
    # Of a picture a time is when it was taken, in any form.
    time = _time(cells) if posixpath.splitext(uri)[1].lower() in VIDEO_SUFFIXES else None
    box = _box(cells)
    if box and time is None and posixpath.splitext(uri)[1].lower() in VIDEO_SUFFIXES:
        raise _Broken("has a box of a video, and no time")
    return Row(uri, where, cells.get("group", ""), label, split, "", time, box, cells.get("track", ""))


def _time(cells: Mapping[str, str]) -> float | None:
    text = cells.get("time", "")
    try:
        time = float(text) if text else None
    except ValueError:
        time = math.nan
    if time is not None and not 0 <= time < math.inf:
        raise _Broken(f"has the time {text[:60]!r}, which is no number of seconds")
    return time


def _box(cells: Mapping[str, str]) -> str:
    """Return the box of a row, of one column, of four, or of the item's id, as Winnow's own tables have it."""
    found = _BOX_OF_ID.search(cells.get("id", ""))
    sides = [cells.get(name, "") for name in _SIDES]
    text = cells.get("box", "") or (",".join(sides) if all(sides) else found[1] if found else "")
    if not text:
        return ""
    try:
        x, y, width, height = (float(side) for side in text.split(","))
        whole = [round(side) for side in (x, y, width, height)]
    except (ValueError, OverflowError):
        raise _Broken(f"has the box {text[:60]!r}, which is not of the form x,y,width,height") from None
    if min(whole[:2]) < 0 or min(whole[2:]) < 1:
        raise _Broken(f"has the box {text[:60]!r}, which holds nothing")
    return ",".join(map(str, whole))


# ---- formats


def _decoded(uri: str) -> str:
    data = storage.read(uri, _LARGEST)
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


def _lines(uri: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank."""
    for number, line in enumerate(io.StringIO(_decoded(uri), newline="\n"), 1):
        if line.strip():
            yield number, line


def _named(uri: str, names: list[str]) -> None:
    if not any(name in names for name in _PATH):
        near = next((hint for hint in (did_you_mean(known, names) for known in _PATH) if hint.startswith("Did")), "")
        raise InputError(
            f"{uri} has no column 'path' (or file_name, source, image).",
            f"Its columns are: {', '.join(names)[:1000] or 'none'}. {near}".strip(),
        )


def _txt(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(uri):
        if not line.lstrip().startswith("#"):
            yield number, {"path": line}


def _csv(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = parse(_decoded(uri))
    try:
        names = columns_of(uri, lines, _COLUMNS)
        _named(uri, names)
        for number, cells in lines:
            if any(cell.strip() for cell in cells):
                yield number, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise InputError(f"{uri} is not a CSV table ({error}).", "Check the quotes of that line.") from error


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object, those that are there twice among them, which a dict would drop."""


def _jsonl(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(uri):
        try:
            values = json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"Line {number} of {uri} is not JSON ({error}).", "Write one JSON object a line."
            ) from error
        if not isinstance(values, _Pairs):
            raise InputError(f"Line {number} of {uri} is not a JSON object.", "Write one JSON object a line.")
        names = named_once(f"Line {number} of {uri}", (name for name, _ in values), _COLUMNS)
        _named(uri, [name.encode(errors="backslashreplace").decode() for name in names])
        values = dict(zip(names, (value for _, value in values), strict=True))
        box = values.get("box")
        yield number, {**values, "box": ",".join(map(str, box))} if isinstance(box, list) else values


def _parquet(uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = storage.stat(uri).size
    with storage.open_binary(uri) as file:
        try:
            metadata = pq.read_metadata(file)
            _bounded(uri, metadata, size)
            names = metadata.schema.to_arrow_schema().names
            _named(uri, named_once(uri, names, _COLUMNS))
            wanted = [name for name in names if name.strip().lower() in _COLUMNS]
            # As dictionaries, a value that is repeated a million times is held once.
            flat = {metadata.schema.column(column).path for column in range(metadata.num_columns)}
            repeated = [name for name in wanted if name in flat]
            table = pq.ParquetFile(file, read_dictionary=repeated, buffer_size=1 << 20)
            number = 0
            for batch in table.iter_batches(batch_size=1024, columns=wanted):
                _short(uri, batch, number)
                for values in batch.to_pylist():
                    number += 1
                    if any(isinstance(value, dict | list | bytes) for value in values.values()):
                        raise InputError(
                            f"{uri} holds no paths: {', '.join(wanted)} hold structures or bytes.",
                            "Write the pictures to files and name those in a column 'path'.",
                        )
                    yield number, {name.strip().lower(): value for name, value in values.items()}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{uri} is not a readable parquet table ({str(error)[:300]}).", "Write it again."
            ) from error


def _bounded(uri: str, metadata: FileMetaData, size: int) -> None:
    """Raise `InputError` for a table that unpacks to far more than a list of its size can hold."""
    # Not column by column: pyarrow ends the process where the footer of one is damaged.
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if metadata.num_rows > min(MOST_ROWS, _FEW_ROWS + _ROWS_A_BYTE * size):
        raise InputError(
            f"{uri} has {metadata.num_rows:,} rows in {size:,} bytes, more than a list can have.",
            f"Split it into lists of at most {MOST_ROWS:,} rows that name each file once.",
        )
    if unpacked > _UNPACKED + _TIMES_UNPACKED * size:
        raise InputError(
            f"{uri} unpacks from {size:,} to {unpacked:,} bytes, more than a list can have.",
            "Write it again with paths that exist.",
        )


def _short(uri: str, batch: Any, start: int) -> None:
    """Raise `InputError` for a batch with a value longer than a path can be, before it is unpacked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.dictionary if isinstance(column, pa.DictionaryArray) else column
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_binary(values.type):
            longest = pc.max(pc.binary_length(values)).as_py() or 0
            if longest > 4 * LONGEST:
                raise InputError(
                    f"{uri} holds a {name} of {longest:,} bytes in rows {start + 1:,} to {start + len(batch):,}.",
                    "Write it again with paths that exist.",
                )
