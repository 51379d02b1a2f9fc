"""One machine's share of a step, and the joining of what all have made: for array jobs, which need no engine of ours.

`winnow STEP ... --shard I/N` makes every N-th shard from the I-th on, and `winnow join FOLDER` does the step with what is there.
Both can be run again at any time: what is there is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from winnow.errors import RunError
from winnow.options import absolute
from winnow.pool.ingest import alone, writing
from winnow.pool.plan import look_through, plan_of
from winnow.pool.shared import Parts, as_json
from winnow.results import Encoded, Ingested, Predicted, Scored, Shared
from winnow.run.addresses import check_object_detector
from winnow.run.current import key_of_judging
from winnow.run.folder import RunFolder
from winnow.run.judging import JudgeWork, judge_work, wanted_to_judge
from winnow.run.predictions import check_by
from winnow.run.recipe import load_recipe
from winnow.run.records import Asked
from winnow.run.where import place_named, place_of, place_of_results
from winnow.scale.runners import make_all
from winnow.scale.shards import Job, Place, Share, Work, root_of
from winnow.steps.encode import EncodeWork, encode, with_networks
from winnow.steps.ingest import ingest, wanted_for_run

STEPS = ("ingest", "encode", "score", "predict")
NAMED = 10  # missing shards that a sentence names


def share_ingest(run: RunFolder, sources: Sequence[str | Path], share: Share) -> Shared:
    """Decode a share of what a run's pool is to hold; the first machine lists the sources, for all."""
    check_object_detector(run)
    folder, wanted = run.folder("ingest"), wanted_for_run(run, sources)
    given = {
        "sources": [absolute(source) for source in sources],
        "recipe": run.recipe,
        "why": run.asked.why,
        "options": _without_workers(run.given),
    }

    def plan() -> dict[str, Any]:
        return as_json(plan_of(folder, wanted, *look_through(wanted)), wanted)

    place = place_of(run)
    if Job.at(place, "ingest") is None:
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
    run: RunFolder, step: str, sources: Sequence[str | Path], to: str | Path, share: Share, **how: str
) -> Shared:
    """Judge a share of sources, by `score` or `predict`; the shards lie in `to`, which the results are to be in. `how`: what else
    `winnow join` gives that step."""
    check_by(how.get("by", "picture"), run.options.ingest)
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
    return Shared(work.step, share.index, share.of, len(work.sizes), made, len(there), missing, work.shards.place.name)


# ---- joining


def join(folder: str | Path) -> list[Ingested | Encoded | Scored | Predicted]:
    """Do the steps of which a run, or a place of results, holds shards, with those; they are removed then.

    Raises `RunError` when there are none, or some are missing.
    """
    found = []
    for step in STEPS:
        place = (place_of_results if step in JUDGING else place_named)(str(folder))
        job = Job.at(place, step)
        if job is not None:
            found.append(_JOINED[step](place, job))
    if not found:
        raise RunError(
            f"{folder} holds no shards to join.",
            "Make them first, each share by its machine: winnow STEP ... --shard I/N",
        )
    return found


def _join_ingest(place: Place, job: Job) -> Ingested:
    given = job.given
    run = RunFolder.begun(place.name)
    if given["recipe"] and run.is_new:
        run.asked = Asked.of(load_recipe(given["recipe"]), given["recipe"], given["why"])
    run.update(given["options"])
    parts = Parts(place, job)
    _check_all_there(parts)
    return ingest(run, given["sources"], made=parts)


def _join_encode(place: Place, job: Job) -> Encoded:
    run = RunFolder.open(place.name, job.given["trust"])
    _check_all_there(EncodeWork(run))
    return encode(run)


def _join_judging(place: Place, job: Job) -> Scored | Predicted:
    from winnow.steps.predict import predict
    from winnow.steps.score import score

    given = job.given
    run = RunFolder.open(given["run"], given["trust"]).with_options(given["given"])
    if key_of_judging(run, run.options.score.mode) != given["key"]:
        raise RunError(
            f"The shards of '{job.step}' in {place.name} were judged by what {run.path} held before: it was trained, calibrated or "
            "taught anew since.",
            f"Make the shares anew: remove {root_of(place)}/{job.step} first.",
        )
    work = JudgeWork(place, job, run)
    _check_all_there(work)
    step: Any = score if job.step == "score" else predict
    found: Scored | Predicted = step(run, given["inputs"], to=place.name, made=work, **given.get("how", {}))
    return found


JUDGING = ("score", "predict")
_JOINED: dict[str, Callable[[Place, Job], Ingested | Encoded | Scored | Predicted]] = {
    "ingest": _join_ingest,
    "encode": _join_encode,
    **dict.fromkeys(JUDGING, _join_judging),
}


def _check_all_there(work: Work) -> None:
    missing = sorted(set(range(len(work.sizes))) - work.shards.finished())
    if missing:
        first = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
        raise RunError(
            f"{len(missing):,} of {len(work.sizes):,} shards of '{work.step}' are not in {work.shards.place.name} yet: {first}.",
            "Run the shares that made none or failed again (share I of N makes the shards I, I + N, ...); what is there stays.",
        )
