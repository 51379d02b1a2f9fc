"""What a watch has told: a file of JSON lines a day, a table of verdicts a day, and the segments."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from winnow.files import told

Event = dict[str, Any]
Kind = Literal["foreign", "verdict", "segment", "refused", "away", "back", "drift"]
"""What an event tells."""
Place = tuple[str, int]
"""A place in the events: the day of a file, and bytes from its start."""

VERDICT = (
    "number",
    "id",
    "at",
    "source",
    "time",
    "page",
    "class",
    "probability",
    "score",
    "p_value",
    "belongs",
    "region",
)
SEGMENT = ("source", "start", "end", "verdict", "score", "region")
START: Place = ("", 0)


class Log:
    """The files of a folder to which events are appended, whole lines at once; `sizes` (bytes by file) are those that count.

    What lies beyond them was written by a process that was killed before it could say so: it is cut off when the log is opened, and
    comes again.
    """

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        self.folder, self.sizes = folder, dict(sizes)
        with told(folder):
            for path in (*folder.glob("events/*.jsonl"), *folder.glob("verdicts/*.csv"), *folder.glob("segments.csv")):
                known = self.sizes.get(path.relative_to(folder).as_posix(), 0)
                if path.stat().st_size > known:
                    os.truncate(path, known)

    def append(self, day: str, events: Sequence[Event]) -> dict[str, int]:
        """Write events of a day, and return the sizes of the files that grew."""
        verdicts = [event for event in events if event["event"] == "verdict"]
        segments = [
            {**event, "verdict": "in" if event["belongs"] else "out"} for event in events if event["event"] == "segment"
        ]
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        grown = {f"events/{day}.jsonl": lines}
        grown |= {f"verdicts/{day}.csv": self._table(f"verdicts/{day}.csv", VERDICT, verdicts)} if verdicts else {}
        grown |= {"segments.csv": self._table("segments.csv", SEGMENT, segments)} if segments else {}
        return {name: self._write(name, text) for name, text in grown.items()}

    def read(self, place: Place) -> Iterator[tuple[Event, Place]]:
        """Yield the events behind a place that count, each with the place behind it."""
        day, at = place
        for name in sorted(name for name in self.sizes if name.startswith("events/")):
            this = Path(name).stem
            path = self.folder / name
            if this < day or not path.exists():  # its owner has removed old days
                continue
            with path.open("rb") as file:
                file.seek(at if this == day else 0)
                while file.tell() < self.sizes[name] and (line := file.readline()):
                    yield json.loads(line), (this, file.tell())

    def end(self) -> Place:
        """Return the place behind all events that count."""
        names = sorted(name for name in self.sizes if name.startswith("events/"))
        return (Path(names[-1]).stem, self.sizes[names[-1]]) if names else START

    def _table(self, name: str, columns: Sequence[str], events: Sequence[Event]) -> str:
        header = self._header(name)
        text = io.StringIO()
        rows = [_cells(event, header or columns) for event in events]
        csv.writer(text, lineterminator="\n").writerows(rows if header else [columns, *rows])
        return text.getvalue()

    def _header(self, name: str) -> list[str]:
        """Return the columns of a table that was begun, which an earlier version may have named; none of one that is not there, or is
        not any more, for its owner may remove it."""
        path = self.folder / name
        with told(path):
            if not self.sizes.get(name) or not path.exists():
                return []
            with path.open(encoding="utf-8", newline="") as file:
                return next(csv.reader(file), [])

    def _write(self, name: str, text: str) -> int:
        path = self.folder / name
        with told(path):
            path.parent.mkdir(exist_ok=True)
            with path.open("ab", buffering=0) as file:
                data = memoryview(text.encode())
                while data:
                    data = data[file.write(data) :]
        return self.sizes.get(name, 0) + len(text.encode())


def _cells(event: Event, columns: Sequence[str]) -> list[object]:
    shown = {True: "yes", False: "no", None: ""}
    return [
        shown.get(value, value) if value is None or isinstance(value, bool) else value
        for value in map(event.get, columns)
    ]
