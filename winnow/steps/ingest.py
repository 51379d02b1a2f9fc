"""Step 1: sources become items and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from winnow.data.layouts import Reading
from winnow.options import absolute
from winnow.results import Ingested
from winnow.run.addresses import check_address, check_object_detector
from winnow.run.folder import RunFolder


def ingest(run: RunFolder, sources: Sequence[str | Path], *, resume: bool = False) -> Ingested:
    """Read folders, lists, pictures and videos into the run's pool; what is there already is not read again.

    With `resume`, and nothing new to read, the recorded result stays. Raises `InputError` for sources that cannot be used
    and lists single broken files in `pool/quarantine.csv`. The pool grows in place: until it is whole again it has no
    pool.json, which the record names, so that the step does not count as done.
    """
    from winnow.pool.ingest import ingest as read

    folder = run.folder("ingest")
    check_object_detector(run)
    check = partial(check_address, run, "one of its pictures")
    with run.working("ingest", sources=[absolute(source) for source in sources]) as step:
        options = run.options.ingest
        found = read(sources, folder, options, reading=Reading.of(options), check=check)
        if not (resume and run.done("ingest") and _same(run.result(Ingested), found)):
            step.finish(found, also=[folder / "pool.json", folder / "quarantine.csv"])
    return run.result(Ingested)


def _same(one: Ingested, other: Ingested) -> bool:
    names = ("fingerprint", "table_fingerprint", "label_fingerprint")
    return all(getattr(one, name) == getattr(other, name) for name in names)
