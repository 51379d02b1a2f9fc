"""One machine's share of a step, and the joining of what all have made: for array jobs, which need no engine of ours.

`winnow STEP ... --shard I/N` makes every N-th shard from the I-th on, and `winnow join FOLDER` does the step with what is there.
Both can be run again at any time: what is there is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from winnow.errors import OptionError, RunError
from winnow.options import absolute
from winnow.pool.ingest import alone, writing
from winnow.pool.parts import notes_of
from winnow.pool.plan import look_through, plan_of
from winnow.pool.shared import Parts, as_json
from winnow.results import Encoded, Ingested, Predicted, Scored, Shared
from winnow.run.addresses import check_object_detector
from winnow.run.artifacts import check_mode, load_classifier
from winnow.run.folder import RunFolder
from winnow.run.judging import JudgeWork, check_still_judges, judge_work, wanted_to_judge
from winnow.run.predictions import check_by
from winnow.run.publish import PREDICTIONS, SCORES, check_results
from winnow.run.recipe import load_recipe
from winnow.run.records import Asked
from winnow.run.where import place_named, place_of, place_of_results
from winnow.scale.runners import make_all
from winnow.scale.shards import Job, Place, Share, Work
from winnow.steps.encode import EncodeWork, encode, with_networks
from winnow.steps.ingest import ingest, wanted_for_run

STEPS = ("ingest", "encode", "score", "predict")
Given = dict[str, dict[str, Any]]
NAMED = 10  # missing shards that a sentence names


def share_ingest(run: RunFolder, sources: Sequence[str | Path], share: Share, recipe: str = "") -> Shared:
    """Decode a share of what a run's pool is to hold; the first machine lists the sources, for all.

    Of a new run it also decides which `recipe` that name stands for, by the weights that it has at hand.
    """
    check_object_detector(run)
    folder, wanted = run.folder("ingest"), wanted_for_run(run, sources)
    given = {
        "sources": [absolute(source) for source in sources],
        "recipe": recipe,
        "options": _without_workers(run.given),
    }

    def plan() -> dict[str, Any]:
        return {**as_json(plan_of(folder, wanted, *known), wanted), "recipe": run.recipe, "why": run.asked.why}

    place = place_of(run)
    if Job.at(place, "ingest") is None:
        known = look_through(wanted)  # before a folder is made for what cannot be read
        with writing(folder), alone(folder, wait=True):
            job = Job.begun(place, "ingest", given, plan)
    else:
        job = Job.begun(place, "ingest", given, plan)
    return _made(Parts(place, job), share)


def _without_workers(given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return options without the number of workers, which each machine chooses for itself."""
    return {name: {key: value for key, value in part.items() if key != "workers"} for name, part in given.items()}


def share_encode(run: RunFolder, share: Share) -> Shared:
    """Encode a share of a run's pool."""
    run.require("train")
    place = place_of(run)
    work = with_networks(EncodeWork(run))
    Job.begun(place, "encode", {"trust": sorted(run.trusted)}, lambda: {"key": work.shards.key}, alone=True)
    return _made(work, share)


def share_judging(
    run: RunFolder, step: str, sources: Sequence[str | Path], to: str | Path, share: Share, **how: Any
) -> Shared:
    """Judge a share of sources, by `score` or `predict`; the shards lie in `to`, which the results are to be in. `how`: what else
    `winnow join` gives that step."""
    check_by(how.get("by", "picture"), run.options.ingest, sources)
    check_mode(run, run.options.score.mode)
    if step == "predict":
        load_classifier(run)
    check_results(to, PREDICTIONS if step == "predict" else SCORES, run.path)
    work = judge_work(
        run,
        place_of_results(to),
        step,
        wanted_to_judge(run, [absolute(source) for source in sources]),
        alone=False,
        how=how,
    )
    return _made(work, share)


def _made(work: Work, share: Share) -> Shared:
    numbers = share.numbers(len(work.sizes))
    there = work.shards.finished() & set(numbers)
    make_all(work, "local", 0, "items", numbers)
    missing = len(work.sizes) - len(work.shards.finished())
    made = len(numbers) - len(there)
    refused = notes_of(work.refused(numbers)) if isinstance(work, Parts) else []
    place = work.shards.place.name
    return Shared(work.step, share.index, share.of, len(work.sizes), made, len(there), missing, place, refused)


# ---- joining


def join(folder: str | Path, max_refused: float | None = None) -> list[Ingested | Encoded | Scored | Predicted]:
    """Do the steps of which a run, or a place of results, holds shards, with those; they are removed then.

    `max_refused` takes the place of the option of that name that the shares were given. Raises `RunError` when there are no shards,
    or some are missing, `OptionError` for a `max_refused` of shards that read no files.
    """
    jobs = []
    for step in STEPS:
        place = (place_of_results if step in JUDGING else place_named)(str(folder))
        job = Job.at(place, step)
        jobs += [(place, job)] if job is not None else []
    if not jobs:
        raise RunError(
            f"{folder} holds no shards to join.",
            "Make them first, each share by its machine: winnow STEP ... --shard I/N",
        )
    if max_refused is not None and all(job.step == "encode" for _, job in jobs):
        raise OptionError("--max-refused has nothing to do with shards of 'encode'.", "Leave it out.")
    more = {} if max_refused is None else {"ingest": {"max_refused": max_refused}}
    return [_JOINED[job.step](place, job, more) for place, job in jobs]


def _join_ingest(place: Place, job: Job, more: Given) -> Ingested:
    given, recipe = job.given, job.plan["recipe"]
    run = RunFolder.begun(place.name)
    if recipe and run.is_new:
        run.asked = Asked.of(load_recipe(recipe), recipe, job.plan["why"])
    run.update(given["options"])
    run.update(more)
    parts = Parts(place, job)
    _check_all_there(parts)
    return ingest(run, given["sources"], made=parts)


def _join_encode(place: Place, job: Job, _: Given) -> Encoded:
    run = RunFolder.open(place.name, job.given["trust"])
    _check_all_there(EncodeWork(run))
    return encode(run)


def _join_judging(place: Place, job: Job, more: Given) -> Scored | Predicted:
    from winnow.steps.predict import predict
    from winnow.steps.score import score

    given = job.given
    run = RunFolder.open(given["run"], given["trust"]).with_options(given["given"])
    check_still_judges(run, place, job)
    run.update(more)
    work = JudgeWork(place, job, run)
    _check_all_there(work)
    step: Any = score if job.step == "score" else predict
    found: Scored | Predicted = step(run, given["inputs"], to=place.name, made=work, **given.get("how", {}))
    return found


JUDGING = ("score", "predict")
_JOINED: dict[str, Callable[[Place, Job, Given], Ingested | Encoded | Scored | Predicted]] = {
    "ingest": _join_ingest,
    "encode": _join_encode,
    **dict.fromkeys(JUDGING, _join_judging),
}


def _check_all_there(work: Work) -> None:
    missing = sorted(set(range(len(work.sizes))) - work.shards.finished())
    if not missing:
        return
    first = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
    told = f"{len(missing):,} of {len(work.sizes):,} shards of '{work.step}' are not in {work.shards.place.name} yet: {first}."
    if work.shards.others():
        raise RunError(
            f"{told} Others that lie there were made before the run was trained anew, or its pictures or options changed, and do "
            "not count.",
            "Run all shares again; those of the run as it is now stay.",
        )
    raise RunError(
        told,
        "Run the shares that made none or failed again (share I of N makes the shards I, I + N, ...); what is there stays.",
    )
