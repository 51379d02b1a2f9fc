"""A label in a file of any format: the record of it, and the checks that all formats share."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.errors import InputError, OptionError
from winnow.label.events import class_name

COLUMNS = ("id", "source", "time", "box", "label", "who", "at", "note", "seen")
SOURCE_COLUMNS = ("source", "file_name", "path", "image")
LARGEST = 2 << 30  # bytes of a file that is read


@dataclass(frozen=True)
class Record:
    """A label in a file; it has an `id`, a `source` (an absolute path or an address) or both.

    `written` is the source as the file has it, `where` the record's place in the file.
    """

    label: str
    id: str = ""
    source: str = ""
    time: float | None = None
    box: tuple[int, ...] | None = None
    who: str = ""
    at: str = ""
    note: str = ""
    seen: str = ""
    where: str = ""
    written: str = ""

    def row(self) -> dict[str, str]:
        """Return the record's values, as text, by the names in `COLUMNS`."""
        time = "" if self.time is None else repr(self.time)
        box = "" if self.box is None else ",".join(map(str, self.box))
        values = (self.id, self.source, time, box, self.label, self.who, self.at, self.note, self.seen)
        return dict(zip(COLUMNS, values, strict=True))


def record(
    where: str,
    label: Any,
    source: str,
    folder: Path,
    *,
    id: Any = "",
    time: Any = None,
    box: Any = None,
    note: Any = "",
    seen: Any = "",
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
    found = resolved(source, folder)
    return Record(name, str(id), found, seconds, sides, note=str(note), seen=str(seen), where=where, written=source)


def resolved(source: str, folder: Path) -> str:
    """Return a source as runs store it, an absolute path; an address is left as it is."""
    if not source or "://" in source:
        return source
    return posixpath.normpath(posixpath.join(folder.absolute().as_posix(), source))


def text_of(path: Path) -> str:
    """Return the text of a file of labels; `InputError` when it cannot be read, is too large or not UTF-8."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST >> 30} GiB.", "Split it.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{path} is not text: it holds zero bytes.", "Save it as UTF-8 text.")
    return text


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the error for a file of labels that the system does not let us read."""
    return InputError(
        f"{path} cannot be read ({(error.strerror or str(error)).lower()}).", "Check its name and permissions."
    )
