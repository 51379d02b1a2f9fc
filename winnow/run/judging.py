"""What a run says of pictures: the numbers of a chunk of them, computed here or, in shards, by others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.arrays import map_array, read_arrays
from winnow.detect.detector import Detector
from winnow.detect.scorer import Scorer
from winnow.errors import RunError
from winnow.files import replacing, sha256
from winnow.options import absolute
from winnow.pool.blank import usual_blank
from winnow.pool.plan import Wanted, look_through, plan_anew
from winnow.pool.pool import REMADE, Pool
from winnow.pool.shared import Parts, as_json
from winnow.progress import Advance, silent
from winnow.run.folder import RunFolder
from winnow.run.where import place_of_results
from winnow.run.working_copy import told
from winnow.scale.runners import make_all
from winnow.scale.shards import AGAIN, Job, Place, root_of

if TYPE_CHECKING:
    from winnow.learn.feed import PixelSource

CHUNK = 512  # pictures judged at once: the places of one are up to a megabyte
JUDGED = "judged.npz"
SCORE, PROBABILITIES, REGION = "score", "probabilities", "region"


class Judging:
    """The networks, the detector of a mode and, for `classes`, the classifier of a run; further scorers (`others`) can read only
    what that mode encodes, and the statistics of pixels."""

    def __init__(self, run: RunFolder, others: dict[str, Scorer] | None = None, *, classes: bool = False) -> None:
        from winnow.run.artifacts import check_mode, load_classifier, load_detector, load_encoder, network_of
        from winnow.run.regions import load_regions

        self.mode, self.device = run.options.score.mode, run.options.train.device
        check_mode(run, self.mode)
        self.regions = load_regions(run)
        self.detector = load_detector(run, self.mode)
        self.encoder = load_encoder(run, self.mode, self.detector.scorer.reads())
        self.others = others or {}
        self.classifier = load_classifier(run) if classes else None
        self.network = network_of(run, self.classifier) if self.classifier else None

    def of(self, source: PixelSource, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return numbers of some rows of a source by their names, each (rows,): SCORE, those of the other scorers and, with a
        classifier, PROBABILITIES (rows, classes); where parts are judged too, REGION (rows, 4): the quarters that are foreign."""
        from winnow.learn.encode import with_statistics
        from winnow.run.fine_tuning import vectors_for
        from winnow.run.regions import scores_of_parts

        embeddings = self.encoder.encode(source, rows, self.device)
        found = {SCORE: self.detector.score(embeddings)}
        if self.regions:
            parts = scores_of_parts(self.encoder, self.regions, source, rows, self.device)
            found[SCORE], found[REGION] = self.regions.judge(np.column_stack([found[SCORE], parts]))
        if self.classifier:
            vectors = vectors_for(self.network, source, rows, embeddings.vectors, self.device)
            found[PROBABILITIES] = self.classifier.predict_proba(vectors)
        if self.others:
            embeddings = with_statistics(embeddings, source.pixels(rows))
        return found | {name: scorer.score(embeddings) for name, scorer in self.others.items()}

    @property
    def deciding(self) -> Detector:
        """Return the detector whose threshold the scores are held against: that of whole pictures, or of them with their parts."""
        return self.regions.joint if self.regions else self.detector

    def chunks(self, source: PixelSource, rows: np.ndarray, advance: Advance) -> dict[str, np.ndarray]:
        """Return the numbers of any number of rows."""
        found = []
        for start in range(0, max(len(rows), 1), CHUNK):
            some = rows[start : start + CHUNK]
            found.append(self.of(source, some))
            advance(len(some))
        return _joined(found)

    def columns(self, pool: Pool, advance: Advance, made: JudgeWork | None = None) -> dict[str, np.ndarray]:
        """Return the numbers of all rows of a pool; those of parts that are `made` are read."""
        known = {} if made is None else {part.number: number for number, part in enumerate(made.parts)}
        found = []
        for part, rows in pool.parts:
            if made is not None and part in known:
                found.append(made.read(known[part]))
                advance(len(rows))
            else:
                found.append(self.chunks(pool, rows, advance))
        return _joined(found)


class JudgeWork(Parts):
    """New pictures judged in shards: a part of them decoded, and its numbers.

    The step is `score` or `predict`, whose shards hold the probabilities of classes too.
    """

    def __init__(self, place: Place, job: Job, run: RunFolder) -> None:
        super().__init__(place, job)
        self.run = run

    @property
    def opened(self) -> tuple[str, dict[str, Any]]:
        """Return how another process opens the same work."""
        run = {"run": told(str(self.run.path)), "trust": sorted(self.run.trusted), "given": self.run.given}
        return "winnow.run.judging:open_judging", {"place": self.place.name, "step": self.step, **run}

    @cached_property
    def judging(self) -> Judging:
        """Return what judges, loaded once."""
        return Judging(self.run, classes=self.step == "predict")

    def make(self, number: int, folder: Path, advance: Advance) -> None:
        """Decode a part into a folder, and write its numbers."""
        from winnow.learn.feed import Pixels

        part = self.decode(number, folder, silent)
        if part.rows:
            pixels = [map_array(folder / shard["file"], REMADE) for shard in part.shards]
            found = [self.judging.chunks(Pixels(some), np.arange(len(some)), silent) for some in pixels]
            with replacing(folder / JUDGED) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **_joined(found))
        advance(self.sizes[number])

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Return the numbers of a part."""
        return read_arrays(self.shards.at_hand(number) / JUDGED, AGAIN)


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def wanted_to_judge(run: RunFolder, sources: Sequence[str | Path], **wanted: Any) -> Wanted:
    """Return that a new pool is to hold sources to judge, read the way the run's own pictures were."""
    from winnow.run.addresses import wanted_as_own

    usual = usual_blank(Pool.open(run.folder("ingest"))) if run.options.ingest.patches else None
    return wanted_as_own(run, sources, usual=usual, **wanted)


def judge_work(
    run: RunFolder, place: Place, step: str, wanted: Wanted, *, alone: bool, how: dict[str, Any] | None = None
) -> JudgeWork:
    """Return the work of judging what is `wanted`, its shards in the place of the results; `alone`: begun anew by this call; `how`:
    what the step is given when they are joined."""
    name = told(str(run.path.absolute()))
    held = None if alone else Job.at(place, step)
    if held is not None and held.given["run"] == name:
        check_still_judges(run, place, held)
    given = {
        "run": name,
        "inputs": [absolute(one) for one in wanted.inputs],
        "key": _key(run, step),
        "given": run.given,
        "trust": sorted(run.trusted),
        **({"how": how} if how else {}),
    }

    def plan() -> dict[str, Any]:
        return as_json(plan_anew(wanted, *look_through(wanted)), wanted)

    return JudgeWork(place, Job.begun(place, step, given, plan, alone=alone), run)


def check_still_judges(run: RunFolder, place: Place, job: Job) -> None:
    """Raise `RunError` where the shards of a job were judged by what the run does not hold any more."""
    if _key(run.with_options(job.given["given"]), job.step) != job.given["key"]:
        raise RunError(
            f"The shards of '{job.step}' in {place.name} were judged by what {run.path} held before: it was trained, calibrated or "
            "taught anew since.",
            f"Make all shares anew; before them, once, remove {root_of(place)}/{job.step}.",
        )


def _key(run: RunFolder, step: str) -> str:
    """Return a hash of all that a step's numbers depend on beside the pictures."""
    from winnow.run.current import key_of_judging

    key = key_of_judging(run, run.options.score.mode)
    return key if step == "score" else f"{key} {sha256(run.folder('classify') / 'classifier.json')}"


def judged_by(
    run: RunFolder, sources: Sequence[str | Path], place: Place, step: str, runner: str, workers: int
) -> JudgeWork | None:
    """Return sources judged in shards by a runner's workers, None for `local`: this process does it then."""
    Job.check_none_shared(place, step)
    if runner == "local":
        return None
    work = judge_work(run, place, step, wanted_to_judge(run, sources), alone=True)
    make_all(work, runner, workers, "sources")
    return work


def open_judging(place: str, step: str, run: str, trust: Sequence[str], given: dict[str, dict[str, Any]]) -> JudgeWork:
    """Return the same work in another process."""
    there = place_of_results(place)
    job = Job.at(there, step)
    assert job is not None
    return JudgeWork(there, job, RunFolder.open(run, trust).with_options(given))
