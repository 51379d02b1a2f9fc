"""Names of classes where a comma or a slash means something else: in a list on the command line, and as folders."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shlex
from collections.abc import Sequence
from urllib.parse import unquote

from winnow.errors import OptionError

_NOT_IN_FOLDERS = re.compile(r"^\.|[/\\]|%(?=[0-9A-Fa-f]{2})|^metadata\.csv$", re.IGNORECASE)
"""What a folder's name cannot hold or begin with, what would be taken for such an escape, and the name of the folder's table."""
_LONGEST = 200  # bytes of a folder's name; common file systems take 255


def class_list(text: str) -> list[str]:
    """Return the names in a list with commas between; one that holds a comma or quotes is quoted as in CSV.

    Raises `OptionError` where a quoted name does not end.
    """
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise OptionError(
            f"--classes {text!r} is not a list of names ({error}).",
            """Separate them with commas, and quote a name that holds one: --classes 'staff,"guests, paying"'""",
        ) from error
    return [name for name in names if name.strip()]


def as_option(names: Sequence[str]) -> str:
    """Return the option that gives these names to `class_list`, to be copied into a shell."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return f"--classes{'=' if line.getvalue().startswith('-') else ' '}{shlex.quote(line.getvalue())}"


def folder_of(name: str) -> str:
    """Return the name of a class's folder: its own, with what a folder cannot be called as %XX, shortened where it is too long."""
    folder = _NOT_IN_FOLDERS.sub(lambda found: f"%{ord(found[0][0]):02X}{found[0][1:]}", name)
    if len(folder.encode()) <= _LONGEST:
        return folder
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder.encode()[: _LONGEST - len(mark)].decode(errors="ignore") + mark


def class_of(folder: str) -> str:
    """Return the class whose folder has this name; a name that `folder_of` does not make is one of its own."""
    name = unquote(folder) if "%" in folder else folder
    return name if folder_of(name) == folder else folder
