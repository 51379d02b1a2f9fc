"""The search for the weight of a VAE's latent loss (lambda): without a defect, by synthetic ones; with some, by both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from winnow.data.layouts import Reading
from winnow.data.sources import expand
from winnow.detect.pictures import most_anomalous
from winnow.detect.registry import make_scorer
from winnow.detect.scorers.error import POOLS
from winnow.embeddings import Embeddings, spread
from winnow.errors import DataError, Interrupted, OptionError, RunError
from winnow.files import quoted, replacing
from winnow.inspect.masks import Masks
from winnow.metrics.detection import separation
from winnow.models.contract import Model
from winnow.options import TrainOptions, absolute
from winnow.pool.patches import DAMAGED_PIXELS, damaged_pixels, picture_of, read_boxes
from winnow.pool.pool import Pool
from winnow.results import WEIGHT_SCORES, Training, WeightSearch, WeightTrial
from winnow.run.current import key_of_search
from winnow.run.folder import RunFolder
from winnow.run.publish import write_result
from winnow.run.split import split_of

WEIGHTS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
ALIKE = 0.002
"""AUROCs that differ by less are called equal: of 2,000 patches and as many damaged ones they are not known better."""
MOST = 2000  # held-out patches that are damaged
MOST_WHOLE = 20_000  # held-out patches, of whole pictures, that real defects without masks are set against


def search_weight(
    run: RunFolder,
    *,
    weights: Sequence[float] = WEIGHTS,
    defects: str | Path | None = None,
    masks: Path | None = None,
    iterations: int | None = None,
    use: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> WeightSearch:
    """Train a VAE for each weight, and the sigma-VAE, which needs none, and choose by synthetic defects.

    Each is trained as the run's options say, from the same seed, into `weight/VALUE`, where finished ones are kept: killed
    and called again, it goes on. Judged are held-out patches against the same with synthetic defects, and against real
    ones where `defects` are given: damaged patches (15 pixels of `masks` or more), without masks the worst patches of
    pictures. Each by AUROC of the error, of the latent loss, and of both (scorer 'zsum').

    Chosen is the weight with the highest AUROC of both on synthetic defects; of those within 0.002 of it the largest,
    because so small a difference is chance, and a larger weight holds the embeddings closer to the prior that the latent loss
    measures them against. Writes weight/weight.png and, last, weight/weight.json, the result. Changes no option unless
    `use`, and then `latent_weight` alone. Calls `tell` with a line as each training is judged.
    Raises what `check` raises, and `DataError` when there is no damaged patch.
    """
    values = check(run, weights=weights, defects=defects, masks=masks)
    run.require("ingest")
    with run.trying({}), run.working("weight") as step:
        result = replace(_searched(run, values, defects, masks, iterations, tell), used=use)
        _draw(step.path("weight/weight.png"), result)
        write_result(step.path("weight/weight.json"), result)
        step.finish(result)
        if use:
            run.store({"train": {"latent_weight": result.chosen}})
    return result


def folder_of_trial(run: RunFolder, weight: float) -> Path:
    """Return where the training with a weight is that the last search made."""
    return run.path / "weight" / _name(weight)


def check(
    run: RunFolder,
    sources: Sequence[str | Path] = (),
    *,
    weights: Sequence[float] = WEIGHTS,
    defects: str | Path | None = None,
    masks: Path | None = None,
) -> list[float]:
    """Return the weights, each once and rising, when a search can begin with all that was given.

    Raises `OptionError` for weights or a run that make no sense, and for `sources` that are not those of the run's pool;
    `InputError` for sources or masks.
    """
    values = _checked(run, weights, masks, defects)
    other = [str(source) for source in sources if absolute(source) not in run.asked.sources]
    if other and run.done("ingest"):
        raise OptionError(
            f"{run.path} has its pictures already, and {other[0]} is not among its sources.",
            f"Leave it out, or add it first: winnow ingest {other[0]} --run {quoted(run.path)}",
        )
    if sources:
        expand(sources, Reading.of(run.options.ingest))
    if defects:
        expand([defects])
    if masks is not None:
        Masks(masks)
    return values


def _searched(
    run: RunFolder,
    values: Sequence[float],
    defects: str | Path | None,
    masks: Path | None,
    iterations: int | None,
    tell: Callable[[str], None],
) -> WeightSearch:
    """Train and judge a VAE for each weight, and choose."""
    folder, pool = run.path / "weight", Pool.open(run.folder("ingest"))
    judged = TestPatches.of(run, pool, defects, masks)
    for note in judged.notes:
        tell(f"Note: {note}")
    options = run.options.train.model_copy(update={"iterations": iterations} if iterations else {})
    plan = {_name(value): options.model_copy(update={"latent_weight": value}) for value in values}
    plan["sigma"] = options.model_copy(update={"loss": "sigma", "latent_weight": 1.0})
    trials = {}
    for number, (name, chosen) in enumerate(plan.items(), start=1):
        model, training = _trained(run, pool, chosen, folder / name)
        synthetic, real = judged.by(model)
        trials[name] = WeightTrial(
            float(chosen.latent_weight), synthetic, real, training.steps, training.active_units, training.seconds
        )
        tell(f"{number} of {len(plan)}: {_told(name, trials[name])}")
    sigma = trials.pop("sigma")
    trained = list(trials.values())
    choice = choose(trained)
    return WeightSearch(
        chosen=choice.weight,
        reason=choice.reason,
        chosen_by_real=choice.by_real,
        lost=choice.lost,
        loss=make_scorer(judged.error).needs[0],
        iterations=options.iterations,
        synthetic_defects=len(judged.damaged),
        real_defects=None if defects is None else judged.count,
        fingerprint=key_of_search(run),
        trained=trained,
        sigma=sigma,
        used=False,
    )


class Choice(NamedTuple):
    """The chosen weight and why; which one real defects would choose, and how much AUROC on them the choice `lost`."""

    weight: float
    reason: str
    by_real: float | None
    lost: float | None


def choose(trained: Sequence[WeightTrial]) -> Choice:
    """Return the choice among trials, one a weight (see `search_weight`)."""
    chosen, best = _best(trained, lambda trial: trial.synthetic["both"])
    top, score = best.synthetic["both"], chosen.synthetic["both"]
    what = "AUROC of error and latent loss together on synthetic defects"
    reason = f"Weight {_name(chosen.weight)} has the highest {what}, {score:.3f}."
    if chosen is not best:
        reason = (
            f"Weight {_name(chosen.weight)} is the largest of those within {ALIKE} of the highest {what} "
            f"({score:.4f}; {top:.4f} at {_name(best.weight)})."
        )
    if chosen.real is None:
        return Choice(chosen.weight, reason, None, None)

    def on_real(trial: WeightTrial) -> float:
        assert trial.real is not None  # all trials are judged on the same defects
        return trial.real["both"]

    real, highest = _best(trained, on_real)
    return Choice(chosen.weight, reason, real.weight, on_real(highest) - on_real(chosen))


def _best(trained: Sequence[WeightTrial], score: Callable[[WeightTrial], float]) -> tuple[WeightTrial, WeightTrial]:
    """Return the trial to choose, and that of the highest AUROC."""
    best = max(trained, key=score)
    alike = [trial for trial in trained if score(best) - score(trial) < ALIKE]
    return max(alike, key=lambda trial: trial.weight), best


def _checked(run: RunFolder, weights: Sequence[float], masks: Path | None, defects: str | Path | None) -> list[float]:
    """Return the weights, each once and rising."""
    options = run.options
    if options.model.model != "autoencoder" or not options.model.variational:
        raise OptionError(
            f"{run.path} has no variational autoencoder, so there is no weight to search.",
            "Give --variational to winnow train or winnow run, or begin another run: winnow run inspect-vae SOURCES --to NEW",
        )
    if not options.ingest.patches:
        raise OptionError(
            f"{run.path} does not cut its pictures into patches; synthetic defects are those of textures.",
            "Begin another run: winnow run inspect-vae SOURCES --to NEW",
        )
    if options.train.loss == "sigma":
        raise OptionError(
            f"{run.path} trains with --loss sigma, which needs no weight.",
            "Set another, --loss mean, or leave the weight be.",
        )
    wrong = [value for value in weights if not (math.isfinite(value) and value >= 0)]
    if wrong:
        raise OptionError(f"--lambdas {wrong[0]:g} is no weight.", "Give numbers of at least 0, as 0 1e-6 1e-5 1e-4.")
    values = sorted({float(value) for value in weights})
    if len(values) < 2:
        raise OptionError(f"--lambdas: {len(values)} is too few to search.", "Give two or more, as 0 1e-6 1e-5 1e-4.")
    if masks is not None and defects is None:
        raise OptionError("--masks are given without --defects.", "Give the damaged pictures too: --defects DIR")
    return values


def _trained(run: RunFolder, pool: Pool, options: TrainOptions, folder: Path) -> tuple[Model, Training]:
    """Return a VAE trained with some options into a folder; one that was begun with others there is trained anew."""
    from winnow.learn.train import train
    from winnow.models.registry import build

    split = split_of(run, pool).split
    rows = {name: np.flatnonzero(split == name) for name in ("train", "validate", "calibrate")}

    def fit(resume: bool) -> tuple[Model, Training]:
        model = build(run.options.model, pool.size, pool.channels, seed=options.seed)
        return model, train(model, pool, rows, options, folder, resume=resume)

    try:
        return fit(resume=True)
    except RunError:
        return fit(resume=False)
    except Interrupted as error:
        raise Interrupted(error.message, "Go on with the same command: finished trainings are kept.") from None


def error_like(scorer: str) -> str:
    """Return the scorer of the network's own error that pools it over a picture as the run's scorer does, or else by the mean."""
    reads = make_scorer(scorer).reads()
    pool = next((pool for pool in ("top_windows", "top_pixels") if POOLS[pool] in reads), "mean")
    return f"error(pool={pool})"


@dataclass(frozen=True)
class TestPatches:
    """What each network is judged on: held-out patches, the same with synthetic defects, and real defects.

    `error` is the scorer of the network's own error. All pictures (n, h, w, c) uint8. Without masks `real` are all patches of
    damaged pictures and `whole` all of good ones, and `owners` names the picture of each; with masks `real` are damaged
    patches alone. `count` is how many defects count, `notes` say what of them was not read and which masks are odd.
    """

    error: str
    device: str
    clean: np.ndarray
    damaged: np.ndarray
    real: np.ndarray | None = None
    whole: np.ndarray | None = None
    owners: tuple[np.ndarray, np.ndarray] | None = None
    count: int = 0
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, run: RunFolder, pool: Pool, defects: str | Path | None, masks: Path | None) -> TestPatches:
        """Read and damage the patches, the same for the same run."""
        from winnow.synthetic.defects import damage

        held = np.flatnonzero(np.isin(split_of(run, pool).split, ("validate", "calibrate")))
        clean = pool.pixels(held[spread(len(held), MOST)])
        damaged, changed, _ = damage(clean, np.random.default_rng([run.options.train.seed, 4]))
        damaged = damaged[changed.any(axis=(1, 2))]  # some come out too faint to be seen
        error = error_like(run.options.detect.scorer)
        plain = cls(error, run.options.train.device, clean, damaged)
        if defects is None:
            return plain
        found, notes = _read(run, defects)
        if masks is not None:
            known = Masks(masks)
            torn = _torn(found, known)
            pixels = found.pixels(torn)
            return cls(error, plain.device, clean, damaged, real=pixels, count=len(torn), notes=[*notes, *known.notes])
        names = picture_of(pool.column("id")[held])
        whole = held[np.isin(names, _some(names, MOST_WHOLE))]
        owners = picture_of(pool.column("id")[whole]), picture_of(found.column("id"))
        return cls(error, plain.device, clean, damaged, found.pixels(slice(None)), pool.pixels(whole), owners,
                   count=len(set(owners[1])), notes=notes)  # fmt: skip

    def by(self, model: Model) -> tuple[dict[str, float], dict[str, float] | None]:
        """Return the AUROC of the error, the latent loss and both, on synthetic and (else None) on real defects."""
        clean, damaged = self._encoded(model, self.clean), self._encoded(model, self.damaged)
        synthetic: dict[str, float] = {}
        real: dict[str, float] | None = None if self.real is None else {}
        others = [None if pixels is None else self._encoded(model, pixels) for pixels in (self.real, self.whole)]
        for name, scorer in zip(WEIGHT_SCORES, (self.error, "latent", "zsum(error, latent)"), strict=True):
            fitted = make_scorer(scorer).fit(clean)
            good = fitted.score(clean)
            synthetic[name] = separation(good, fitted.score(damaged))
            if real is not None and others[0] is not None:
                bad = fitted.score(others[0])
                if others[1] is not None and self.owners is not None:
                    good = most_anomalous(self.owners[0], fitted.score(others[1]))[1]
                    bad = most_anomalous(self.owners[1], bad)[1]
                real[name] = separation(good, bad)
        return synthetic, real

    def _encoded(self, model: Model, pixels: np.ndarray) -> Embeddings:
        from winnow.learn.encode import encode

        return encode(model, pixels, device=self.device, quiet=True)


def _read(run: RunFolder, defects: str | Path) -> tuple[Pool, list[str]]:
    """Return the pool of the defects, and what was passed over and refused."""
    from winnow.run.addresses import read_as_own

    read = read_as_own(run, [defects], run.path / "weight" / "defects")
    return Pool.open(run.path / "weight" / "defects"), read.notes


def _torn(pool: Pool, masks: Masks) -> np.ndarray:
    """Return the rows of the patches that masks call damaged."""
    boxes, start = read_boxes(pool.column("box")), 0
    torn = np.zeros(len(pool), bool)
    for picture in pool.pictures.to_pylist():
        rows = slice(start, start + picture["patches"])
        truth = masks.read(picture["source"], (picture["height"], picture["width"]), picture["page"])
        torn[rows] = damaged_pixels(truth, boxes[rows]) >= DAMAGED_PIXELS
        start += picture["patches"]
    if not torn.any():
        raise DataError(
            f"No patch holds {DAMAGED_PIXELS} pixels of the masks in {masks.folder}.",
            "Give masks whose background is black or transparent.",
        )
    return np.flatnonzero(torn)


def _some(names: np.ndarray, most: int) -> np.ndarray:
    """Return names of pictures, evenly spread, that have at most about so many patches together."""
    known = np.array(list(dict.fromkeys(names)), dtype=object)
    wanted = max(1, int(len(known) * min(1.0, most / len(names))))
    return known[spread(len(known), wanted)]


def _name(weight: float) -> str:
    """Return a weight as its folder is called: 0, 1e-05, 0.001."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)


def _told(name: str, trial: WeightTrial) -> str:
    values = ", ".join(f"{part} {value:.3f}" for part, value in trial.synthetic.items())
    return f"{'sigma-VAE' if name == 'sigma' else f'weight {name}'}: AUROC on synthetic defects {values}"


def _draw(path: Path, result: WeightSearch) -> None:
    from winnow.report.inspection import weight_curve

    png = weight_curve([trial.weight for trial in result.trained], result.curves, result.chosen)
    with replacing(path) as temporary:
        temporary.write_bytes(png)
