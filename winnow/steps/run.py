"""All steps of a recipe, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from winnow import show
from winnow.data import storage
from winnow.data.globs import WILD
from winnow.data.images import largest_file, size_of
from winnow.data.layouts import Reading
from winnow.data.lists import LIST_SUFFIXES
from winnow.data.sources import Expansion, expand
from winnow.embeddings import spread
from winnow.errors import InputError, Unreadable
from winnow.pool.patches import LONG
from winnow.pool.pool import Pool
from winnow.results import WeightSearch
from winnow.run.addresses import trusted_sources
from winnow.run.folder import RunFolder
from winnow.run.recipe import load_recipe, recipe_names
from winnow.run.records import Asked
from winnow.stages import STAGES
from winnow.steps.shards import STEPS

LOOKED_AT = 20  # pictures by whose shape it is decided
KEPT_BY = {"ingest.tiles", "ingest.size", "model.model", "detect.scorer"}
WHY = "tells damage of woven cloth better (docs/benchmarks.md); --tiles cuts them into squares instead."


def run(
    folder: RunFolder, sources: Sequence[str | Path], *, resume: bool = False, runner: str = "local"
) -> Iterator[str]:
    """Do the steps that the options want, in the order of `winnow.stages.STAGES`, and the report; yield lines after each.

    Names of parts, the device, weights and sources are looked at first, before hours of work, and before a run is overwritten.
    """
    from winnow.objects.crops import detector_name
    from winnow.run.artifacts import check_parts
    from winnow.run.fine_tuning import network_to_tune
    from winnow.run.regions import check_regions
    from winnow.steps.report.page import report
    from winnow.steps.train import network_for

    check_parts(folder, "model", "scorer", "method")
    check_regions(folder)
    options = folder.options
    if options.ingest.people:
        detector_name(options.ingest)
    channels = 1 if options.ingest.grey else 3
    sources = sources or _recorded(folder)
    found = expand(sources, Reading.of(options.ingest))
    if (folder.is_new or folder.record("ingest") is None) and shows_strips(folder, found):
        other = load_recipe(folder.recipe).for_strips
        _go_on_as(folder, other, f"{folder.recipe}: strips are taken for a texture ({other}), which {WHY}")
        options, channels = folder.options, 1 if folder.options.ingest.grey else 3
    if not (resume and folder.done("train")):
        network_for(folder, options.ingest.size, channels)
    if options.tune.fine_tune:
        network_to_tune(options, options.ingest.size, channels, weights=options.classify.folders)
    if folder.asked.why:
        yield folder.asked.why
    for stage in STAGES.values():
        if stage.wanted(options):
            given = (sources,) if stage.name == "ingest" else ()
            by = {"runner": runner} if stage.name in STEPS else {}
            yield show.result(stage(folder, *given, resume=resume, **by), folder.path)
    yield f"Report: {report(folder)}"


def shows_strips(folder: RunFolder, found: Expansion) -> bool:
    """Return whether most pictures are strips, more than four times as long as wide, and the run's recipe leaves those to another.

    A few are looked at, evenly spread. With `--tiles` or another size, model or scorer of the user's own the recipe stays.
    """
    if folder.recipe not in recipe_names():
        return False
    named = {name for name, who in folder.set_by.items() if who == "you"}
    if not load_recipe(folder.recipe).for_strips or named & KEPT_BY:
        return False
    pictures = [source.uri for source in found.sources if source.kind == "image"]
    limit, long = folder.options.ingest.pixel_limit, 0
    chosen = [pictures[row] for row in spread(len(pictures), LOOKED_AT)]
    for uri in chosen:
        try:
            width, height = size_of(storage.read(uri, largest_file(limit)), pixel_limit=limit)
        except Unreadable:  # the ingest says why
            continue
        long += max(width, height) > LONG * min(width, height)
    return 2 * long > len(chosen)


def _go_on_as(folder: RunFolder, name: str, why: str) -> None:
    """Make a run one of another recipe, with the user's options but those of a network that it does not have; nothing is stored yet."""
    folder.asked = Asked.of(load_recipe(name), name, why)
    if "model" in folder.given:
        own = {
            key: value for key, value in folder.given["model"].items() if key not in ("weights", "backbone", "layer")
        }
        folder.given = {**folder.given, "model": own}


def _recorded(folder: RunFolder) -> list[str]:
    """Return the sources that a run was made of; `InputError` for one that is gone, which asks where it is now."""
    asked = trusted_sources(folder)
    there = [one for one in asked if "://" in one or os.path.lexists(one) or WILD & set(one)]
    held = _held(folder) if len(there) < len(asked) else set()
    for source in asked:
        below, is_list = source.rstrip("/") + "/", Path(source).suffix.lower() in LIST_SUFFIXES
        needed = is_list or not held or not there or any(uri == source or uri.startswith(below) for uri in held)
        if source not in there and needed:
            raise InputError(
                f"{source}, of which {folder.path} was made, is not there any more.",
                f"Put it back, or say where it is now: winnow run {folder.recipe or 'RECIPE'} PLACE --to {folder.path} --resume",
            )
    return there


def _held(folder: RunFolder) -> set[str]:
    """Return the files that a run's pool was made of; those that were moved are in it at their new place."""
    return set(Pool.open(folder.folder("ingest")).column("source")) if folder.done("ingest") else set()


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
        ingest(folder, sources or _recorded(folder))
    return weight.search_weight(folder, weights=values, **given)
