"""Step 1: sources become items and pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from winnow.run.folder import RunFolder


def ingest(run: RunFolder, sources: Sequence[str | Path], *, resume: bool = False) -> dict[str, Any]:
    """Reads folders, lists, pictures and videos into the run's pool; what is there already is not read again.

    With `resume`, and nothing new to read, the recorded result is returned. Raises `InputError` for sources that cannot
    be used and lists single broken files in `pool/quarantine.csv`.
    """
    from winnow.pool.ingest import ingest as read
    from winnow.pool.pool import Pool

    started = time.perf_counter()
    result = read(sources, run.folder("ingest"), run.options.ingest)
    pool = Pool.open(run.folder("ingest"))
    known = run.content.setdefault("sources", [])
    known += [str(source) for source in sources if str(source) not in known]
    if resume and run.done("ingest") and run.result("ingest")["fingerprint"] == pool.fingerprint:
        return run.result("ingest")
    run.record("ingest", started, fingerprint=pool.fingerprint, **asdict(result))
    return run.result("ingest")
