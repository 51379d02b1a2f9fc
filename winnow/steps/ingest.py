"""Step 1: sources become items and pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder, absolute

USED = ("group", "split", "status")
"""The columns that decide what each picture is used for."""


def ingest(run: RunFolder, sources: Sequence[str | Path], *, resume: bool = False) -> dict[str, Any]:
    """Read folders, lists, pictures and videos into the run's pool; what is there already is not read again.

    With `resume`, and nothing new to read, the recorded result stays. Raises `InputError` for sources that cannot be used
    and lists single broken files in `pool/quarantine.csv`. The pool grows in place: until it is whole again it has no
    pool.json, which the record names, so that the step does not count as done.
    """
    from winnow.pool.ingest import ingest as read

    folder = run.folder("ingest")
    with run.working("ingest", sources=[absolute(source) for source in sources]) as step:
        result = read(sources, folder, run.options.ingest)
        pool = Pool.open(folder)
        found = {
            "fingerprint": pool.fingerprint,
            "arrangement": _hash_of(pool, *USED),
            "labels": _hash_of(pool, "label"),
            **asdict(result),
        }
        known = run.result("ingest")
        if not (
            resume
            and run.done("ingest")
            and all(known[name] == found[name] for name in ("fingerprint", "arrangement", "labels"))
        ):
            step.finish(found, also=[folder / "pool.json"])
    return run.result("ingest")


def _hash_of(pool: Pool, *columns: str) -> str:
    """Return a hash of some columns of the pool's table."""
    rows = zip(*(pool.column(name).tolist() for name in columns), strict=True)
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()[:16]
