"""Prints the page of all commands for the site: what each does and what it takes, read off the command line itself.

python scripts/commands_page.py

The site is built with it, so that the page is never out of date; options that belong to recipes are explained in docs/options.md.
"""

from __future__ import annotations

from typing import Any

from winnow.cli import COMMANDS, application


def text() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Commands",
        "",
        "Read off the commands themselves. Options of a recipe are kept in the run: what each means, and its value in each recipe, is on",
        "[the page of options](../options.md). `--debug` shows the full traceback of an error.",
        "",
    ]
    app = application()
    for name, summary in COMMANDS.items():
        lines += [f"## winnow {name}", "", summary, ""]
        rows = [
            row for argument in app[name].assemble_argument_collection(parse_docstring=True) if (row := _row(argument))
        ]
        if rows:
            lines += ["| takes | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(argument: Any) -> str:
    """Return a line of a command's table, "" for what its help does not show either."""
    if not argument.show:
        return ""
    placed = [argument.field_info.name.upper()] if argument.field_info.is_positional else []
    names = placed + [
        name for name in argument.names if name.startswith("-") and not name.startswith(("--no-", "--empty-"))
    ]
    meaning = " ".join((argument.parameter.help or "").split()).replace("|", "/")
    return f"| {', '.join(f'`{name}`' for name in names)} | {meaning} |"


if __name__ == "__main__":
    print(text())
