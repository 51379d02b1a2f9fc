"""Tables as CSV files: one writer and one reader for what Winnow itself writes, and one parser for tables of anyone's."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from winnow.errors import Damaged, InputError, RunError
from winnow.files import replacing

REMEDY = "Restore it, or run the step that writes it again."


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file (UTF-8, comma, newline) atomically, row by row."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        _write(file, header, rows)


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return the text of the file that `write_table` writes."""
    text = io.StringIO()
    _write(text, header, rows)
    return text.getvalue()


class _Lines:
    """A file that ends its lines with a newline alone. Python's writer quotes a carriage return only where lines end with one."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


def _write(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(_Lines(file), lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows that `write_table` wrote, each by the names of its columns.

    Raises `RunError` when the file is missing, `Damaged` when it is not such a table: no UTF-8, no header, a name twice,
    a row with more or fewer cells than the header.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if not header or len(set(header)) < len(header):
                raise Damaged(f"{path} is not a table: it has no header of distinct names.", REMEDY)
            rows = []
            for cells in reader:
                if len(cells) != len(header):
                    raise Damaged(f"{path} is not a whole table: line {reader.line_num} has {len(cells)} cells, not "
                                  f"{len(header)}.", REMEDY)  # fmt: skip
                rows.append(dict(zip(header, cells, strict=True)))
            return rows
    except FileNotFoundError:
        raise RunError(f"{path} is missing.", "Run the step that writes it, or check the folder's name.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Damaged(f"{path} is not a CSV table in UTF-8 ({error}).", REMEDY) from error
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({(error.strerror or str(error)).lower()}).", REMEDY) from error


def parse(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line's number and the cells of each row, header included; delimited by comma, semicolon or tab.

    The delimiter is the one that occurs most often in the first line. Raises `csv.Error` with the line in its text.
    """
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from error


def columns_of(where: str, lines: Iterator[tuple[int, list[str]]], read: Collection[str]) -> list[str]:
    """Take the header off the lines of `parse`, and return the names of its columns as `named_once` does."""
    return named_once(where, next(lines, (0, []))[1], read)


def named_once(where: str, names: Iterable[str], read: Collection[str]) -> list[str]:
    """Return names of columns, trimmed and in lower case.

    Raises `InputError` where a column that is `read` is there twice: nobody knows which of the two counts.
    """
    found = [name.strip().lower() for name in names]
    for name in found:
        if name in read and found.count(name) > 1:
            raise InputError(f"{where} has two columns '{name}'.", "Keep the one that is meant, and rename the other.")
    return found
