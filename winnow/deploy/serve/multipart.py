"""The files of a multipart/form-data body, in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from winnow.errors import InputError, in_one_line

# What is wrong with a form is its sender's to know.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())
MOST_FILES = 64
REMEDY = "Send each picture as a part with a file name: curl -F 'picture=@part.jpg' ..."


@dataclass
class Part:
    """A part of a form: its headers and its content."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)


def files_of(body: bytes, content_type: bytes) -> list[tuple[str, bytes]]:
    """Return name and content of each file in a form; `InputError` for a body that is none, or holds none or too many."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    parts: list[Part] = []
    name, value = bytearray(), bytearray()
    ended: list[bool] = []

    def begin() -> None:
        if len(parts) == MOST_FILES:
            raise InputError(f"The form has more than {MOST_FILES} parts.", "Send fewer pictures at once.")
        parts.append(Part())

    def header() -> None:
        parts[-1].headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    calls: dict[str, Callable[..., Any]] = {
        "on_part_begin": begin,
        "on_header_field": lambda data, start, end: name.extend(data[start:end]),
        "on_header_value": lambda data, start, end: value.extend(data[start:end]),
        "on_header_end": header,
        "on_end": lambda: ended.append(True),
        "on_part_data": lambda data, start, end: parts[-1].content.extend(data[start:end]),
    }
    try:
        if not boundary:
            raise InputError("The form has no boundary.", REMEDY)
        parser = MultipartParser(boundary, calls)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InputError(f"The form cannot be read ({in_one_line(error)}).", REMEDY) from error
    if not ended:
        raise InputError("The form is cut short.", REMEDY)
    found = []
    for number, part in enumerate(parts, 1):
        _, about = parse_options_header(part.headers.get(b"content-disposition", b""))
        if b"filename" in about:
            found.append((about[b"filename"].decode(errors="replace") or f"picture {number}", bytes(part.content)))
    if not found:
        raise InputError("The form holds no file.", REMEDY)
    return found
