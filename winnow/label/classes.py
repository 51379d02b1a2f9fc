"""Names of classes in a list on the command line, where a comma means something else."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence

from winnow.errors import OptionError


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
