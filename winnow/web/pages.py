"""The files of a page: its own, and those that all pages have. They hold no data."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Of the files; the system's own table may call a script plain text, which browsers then refuse."""


def page_file(folder: Path, name: str) -> tuple[bytes, str] | None:
    """Return a file of the page in a folder and its kind, None where there is none of this name."""
    files = {
        path.name: path for where in (SHARED, folder) for path in where.glob("*.*")
    }  # a name is never joined to a path
    if name not in files:
        return None
    return files[name].read_bytes(), KINDS.get(files[name].suffix, "application/octet-stream")
