"""All steps of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from winnow import show
from winnow.run.folder import RunFolder


def run(folder: RunFolder, sources: Sequence[str | Path], *, resume: bool = False) -> Iterator[str]:
    """Ingests, trains, encodes, calibrates, chooses pictures where a number is set, classifies, reports; yields lines after each step."""
    from winnow.run.artifacts import check_parts
    from winnow.steps.calibrate import calibrate
    from winnow.steps.classify import classify
    from winnow.steps.encode import encode
    from winnow.steps.ingest import ingest
    from winnow.steps.report.page import report
    from winnow.steps.select import select
    from winnow.steps.train import train

    check_parts(folder, "model", "scorer", "method")  # a wrong name is told before hours of training
    yield show.ingest(ingest(folder, sources or folder.content.get("sources", []), resume=resume))
    yield show.train(train(folder, resume=resume))
    yield show.encode(encode(folder, resume=resume))
    yield show.calibrate(calibrate(folder, resume=resume))
    if folder.options.select.number:
        yield show.select(select(folder, resume=resume), folder.path)
    if folder.options.classify.folders:
        yield show.classify(classify(folder), folder.path)
    yield f"Report: {report(folder)}"
