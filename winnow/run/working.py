"""A step at work in a run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from winnow.results import as_json
from winnow.run.commit import Staged, remove
from winnow.run.foreign import check_replaced_by
from winnow.run.records import Artefact, Content, Record, artefacts_of, instructions, versions


class Working:
    """A step at work: where it writes, and what it found.

    `key` makes the record's key from the result; `contents` says what is in the files that the options name. Raises `RunError`
    where the folders that the step replaces hold a person's files.
    """

    def __init__(
        self,
        run: Path,
        staged: Staged,
        key: Callable[[dict[str, Any]], str],
        contents: Callable[[], dict[str, Content]],
    ) -> None:
        check_replaced_by(run, staged.step)
        self.run, self.staged, self.key, self.contents = run, staged, key, contents
        self.started = time.perf_counter()
        self.found: tuple[dict[str, Any], Sequence[Path]] | None = None

    @property
    def folder(self) -> Path:
        """Return where the step writes its folder."""
        return self.staged.folder

    @property
    def scratch(self) -> Path:
        """Return a folder that goes when the step is done."""
        return self.staged.scratch

    def path(self, name: str) -> Path:
        """Return where the step writes a file of the run."""
        return self.staged.path(name)

    def finish(self, result: Any, *, also: Sequence[Path] = ()) -> None:
        """Say what the step found, a dataclass; `also` are files of the run, not staged, that it vouches for."""
        self.found = json.loads(json.dumps(as_json(result), default=str)), also

    def commit(self) -> None:
        """Write the record, and put all that was staged in its place."""
        if self.found is None:  # there was nothing to do
            remove(self.staged.root)
            return
        result, also = self.found
        artefacts = {
            **artefacts_of(self.staged.new),
            **{path.relative_to(self.run).as_posix(): Artefact.of(path) for path in also},
        }
        record = Record(
            key=self.key(result),
            contents=self.contents(),
            result=result,
            versions={**versions(), **instructions()},
            seconds=round(time.perf_counter() - self.started, 2),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            artefacts=artefacts,
        )
        self.staged.record = record.text()
        self.staged.commit()
