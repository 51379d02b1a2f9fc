"""All steps of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from winnow import show
from winnow.data.sources import expand
from winnow.results import WeightSearch
from winnow.run.folder import RunFolder


def run(folder: RunFolder, sources: Sequence[str | Path], *, resume: bool = False) -> Iterator[str]:
    """Ingest, train, encode, calibrate, choose pictures where a number is set, classify, report; yield lines after each step.

    Names of parts, the device, weights and sources are looked at first, before hours of work, and before a run is overwritten.
    """
    from winnow.run.artifacts import check_parts
    from winnow.steps.calibrate import calibrate
    from winnow.steps.classify import classify
    from winnow.steps.encode import encode
    from winnow.steps.ingest import ingest
    from winnow.steps.report.page import report
    from winnow.steps.select import select
    from winnow.steps.train import network_for, train

    check_parts(folder, "model", "scorer", "method")
    options = folder.options
    sources = sources or folder.asked.sources
    expand(sources)
    if not (resume and folder.done("train")):
        network_for(folder, options.ingest.size, 1 if options.ingest.grey else 3)
    yield show.ingest(ingest(folder, sources, resume=resume))
    yield show.train(train(folder, resume=resume))
    yield show.encode(encode(folder, resume=resume))
    yield show.calibrate(calibrate(folder, resume=resume))
    if options.select.number:
        yield show.select(select(folder, resume=resume), folder.path)
    if options.classify.folders:
        yield show.classify(classify(folder), folder.path)
    yield f"Report: {report(folder)}"


def search_weight(
    folder: RunFolder, sources: Sequence[str | Path], *, weights: Sequence[float] | None = None, **given: Any
) -> WeightSearch:
    """Search the weight of a VAE's latent loss (`winnow.steps.weight.search_weight`), after ingesting for a run without pool."""
    from winnow.steps import weight
    from winnow.steps.ingest import ingest

    values = weight.check(
        folder,
        sources,
        weights=weight.WEIGHTS if weights is None else weights,
        defects=given.get("defects"),
        masks=given.get("masks"),
    )
    if not folder.done("ingest"):
        ingest(folder, sources or folder.asked.sources)
    return weight.search_weight(folder, weights=values, **given)
