"""The names in a run folder that are Winnow's own."""

from __future__ import annotations

from winnow.run.commit import RECORDS, STAGING
from winnow.scale.shards import FOLDER as SHARDS
from winnow.stages import STAGES

CACHE = ".cache"
"""What may be computed anew at any time, see `winnow.run.cache`: hidden, so that it is no result, and is not pushed."""
EARLY = {"run.json", RECORDS, STAGING, "pool", SHARDS}
"""What there may be in a run that has no finished step yet."""
OWN = (EARLY - {SHARDS}) | {place.split("/")[0] for stage in STAGES.values() for place in stage.places} | {
    CACHE, "report.html", "scores", "evaluation", "predictions", "export", "recalibration",
    "labels.sqlite", "labels.sqlite-wal", "labels.sqlite-shm", "labels.sqlite-log",
}  # fmt: skip
