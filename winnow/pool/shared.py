"""Parts of a pool made as shards: by processes, by a cluster, or by machines that share nothing but a folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from winnow.data.sources import Expansion, Refusal, Source
from winnow.options import IngestOptions
from winnow.pool.films import make_video
from winnow.pool.parts import Part, make_pictures, record, stop
from winnow.pool.plan import Plan, Wanted, finder_of
from winnow.progress import Advance, silent
from winnow.scale.local import cores
from winnow.scale.runners import make_all
from winnow.scale.shards import Job, Place, Shards, key_of


class Parts:
    """The parts of a job's plan. A shard is a folder of one part: its pixels and, in `parts`, its record."""

    def __init__(self, place: Place, job: Job) -> None:
        self.place, self.step, plan = place, job.step, job.plan
        self.options = IngestOptions.model_validate(plan["options"])
        self.parts = [
            Part(part["number"], plan["key"], list(map(Source.of, part["sources"]))) for part in plan["parts"]
        ]
        self.sizes: Sequence[int] = [len(part.sources) for part in self.parts]
        self.shards = Shards(place, job.step, key_of([job.given, plan]))
        self.detector: str = plan["detector"]
        self.expansion = _expansion(plan["expansion"])

    @property
    def opened(self) -> tuple[str, dict[str, Any]]:
        """Return how another process opens the same work."""
        return "winnow.run.where:open_parts", {"place": self.place.name, "step": self.step}

    def make(self, number: int, folder: Path, advance: Advance) -> None:
        """Decode a part into a folder."""
        self.decode(number, folder, advance)

    def decode(self, number: int, folder: Path, advance: Advance) -> Part:
        """Decode a part into a folder, and return it."""
        part, options, workers = self.parts[number], self.options, cores(self.options.workers)
        find = finder_of(options, self.detector)
        (folder / "parts").mkdir()
        if part.sources[0].kind == "video":
            threads = workers if find else 1
            make_video(
                part,
                folder=folder,
                options=options,
                find=find,
                threads=threads,
                advance=silent,  # a video is one item
                stopped=threading.Event(),
            )
            advance()
        else:
            make_pictures(part, folder, options, find, workers, advance)
        part.save(folder)
        if part.refused and options.on_error == "stop":
            stop(part.refused[0])
        return part

    def refused(self, numbers: Iterable[int]) -> list[Refusal]:
        """Return what could not be read of the shards of such numbers that are on this machine."""
        paths = [path for number in numbers for path in self.shards.path(number).glob("parts/*.json")]
        return [one for path in paths for one in Part.load(path).refused]


def make_parts(folder: Path, place: Place, plan: Plan, wanted: Wanted, runner: str) -> None:
    """Have a runner make the parts of a plan as shards, and take them into the pool."""
    given = {"pool": str(folder)}
    job = Job.begun(place, "ingest", given, lambda: as_json(plan, wanted), alone=True)
    work = Parts(place, job)
    take_in(make_all(work, runner, wanted.options.workers, "sources"), folder)
    work.shards.remove()


def as_json(plan: Plan, wanted: Wanted) -> dict[str, Any]:
    """Return what another process needs to know of a plan."""
    return {
        "options": wanted.options.model_dump(mode="json"),
        "key": plan.key,
        "detector": plan.find.identity if plan.find else "",
        "parts": [
            {"number": part.number, "sources": [asdict(source) for source in part.sources]} for part in plan.parts
        ],
        "expansion": {**asdict(plan.expansion), "left_out": sorted(plan.expansion.left_out)},
    }


def _expansion(saved: dict[str, Any]) -> Expansion:
    return Expansion(
        list(map(Source.of, saved["sources"])),
        [Refusal(**one) for one in saved["refused"]],
        saved["skipped"],
        saved["notes"],
        frozenset(saved["left_out"]),
    )


def take_in(shards: Shards, folder: Path) -> None:
    """Move finished parts into a pool, the record of each last; a call that was killed at it is gone on with."""
    for number in sorted(shards.finished()):
        made = shards.at_hand(number)
        for path in sorted(made.glob("pixels-*.npy")):
            os.replace(path, folder / path.name)
        for path in made.glob("parts/*.json"):
            os.replace(path, record(folder, int(path.stem)))
