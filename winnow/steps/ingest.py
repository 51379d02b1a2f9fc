"""Step 1: sources become items and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from winnow.data.layouts import Reading
from winnow.options import absolute
from winnow.pool.plan import Wanted
from winnow.pool.shared import Parts
from winnow.results import Ingested
from winnow.run.addresses import check_address, check_object_detector
from winnow.run.folder import RunFolder
from winnow.run.where import place_of
from winnow.scale.shards import Job


def ingest(
    run: RunFolder,
    sources: Sequence[str | Path],
    *,
    resume: bool = False,
    runner: str = "local",
    made: Parts | None = None,
) -> Ingested:
    """Read folders, lists, pictures and videos into the run's pool; what is there already is not read again.

    With `resume`, and nothing new to read, the recorded result stays. Raises `InputError` for sources that cannot be used
    and lists single broken files in `pool/quarantine.csv`. The pool grows in place: until it is whole again it has no
    pool.json, which the record names, so that the step does not count as done. The parts are made by a `runner`'s workers, or
    are `made`: shards of `winnow.steps.shards`.
    """
    from winnow.pool.ingest import read

    folder = run.folder("ingest")
    check_object_detector(run)
    if made is None:
        Job.check_none_shared(place_of(run), "ingest")
    with run.working("ingest", sources=[absolute(source) for source in sources]) as step:
        found = read(folder, wanted_for_run(run, sources), runner=runner, place=place_of(run), made=made)
        if not (resume and run.done("ingest") and _same(run.result(Ingested), found)):
            step.finish(found, also=[folder / "pool.json", folder / "quarantine.csv"])
    if made is not None:
        made.shards.remove()
    return run.result(Ingested)


def wanted_for_run(run: RunFolder, sources: Sequence[str | Path]) -> Wanted:
    """Return that the run's pool is to hold sources, beside what it holds."""
    options = run.options.ingest
    check = partial(check_address, run, "one of its pictures")
    return Wanted(sources, options, Reading.of(options), check=check)


def _same(one: Ingested, other: Ingested) -> bool:
    names = ("fingerprint", "table_fingerprint", "label_fingerprint")
    return all(getattr(one, name) == getattr(other, name) for name in names)
