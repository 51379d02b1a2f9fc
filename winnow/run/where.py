"""Where the shards of a run's steps, and of results, lie: in their folder or, of those in a bucket, below its `shards/`."""

from __future__ import annotations

from pathlib import Path

from winnow.data.remote import Remote
from winnow.pool.shared import Parts
from winnow.run.deliver import Outbox
from winnow.run.folder import RunFolder
from winnow.run.working_copy import NAMES, copy_of_address, is_address
from winnow.scale.shards import Job, Place


def place_of(run: RunFolder) -> Place:
    """Return the place of a run's shards."""
    address = NAMES.get(run.path)
    return Place(run.path, Remote(address) if address else None)


def place_named(name: str) -> Place:
    """Return the place of shards of a run, by its path or address."""
    if is_address(name):
        return Place(copy_of_address(name).folder, Remote(name))
    return Place(Path(name))


def place_of_results(to: str | Path) -> Place:
    """Return the place of shards of results, by their path or address."""
    if is_address(to):
        box = Outbox(str(to), "--to")
        return Place(box.folder, box.remote)
    return Place(Path(to))


def open_parts(place: str, step: str) -> Parts:
    """Return the parts of the job of a step in another process."""
    there = place_named(place)
    job = Job.at(there, step)
    assert job is not None
    return Parts(there, job)
