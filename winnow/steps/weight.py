"""The search for the weight of a VAE's latent loss (lambda): without a defect, by synthetic ones; with some, by both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data.sources import expand
from winnow.detect.pictures import most_anomalous
from winnow.detect.registry import make_scorer
from winnow.detect.scorers.error import POOLS
from winnow.embeddings import Embeddings
from winnow.errors import DataError, Interrupted, OptionError, RunError
from winnow.files import replacing, write_json
from winnow.inspect.masks import masks_in, read_mask
from winnow.models.contract import Model
from winnow.options import TrainOptions
from winnow.pool.patches import DAMAGED_PIXELS, damaged_pixels, picture_of, read_boxes
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder, absolute
from winnow.run.split import split_of
from winnow.run.synthetic import separation

WEIGHTS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
ALIKE = 0.002
"""AUROCs that differ by less are called equal: of 2,000 patches and as many damaged ones they are not known better."""
MOST = 2000  # held-out patches that are damaged
MOST_WHOLE = 20_000  # held-out patches, of whole pictures, that real defects without masks are set against
SCORES = ("error", "latent", "both")


def search_weight(
    run: RunFolder,
    sources: Sequence[str | Path] = (),
    *,
    weights: Sequence[float] = WEIGHTS,
    defects: str | Path | None = None,
    masks: Path | None = None,
    iterations: int | None = None,
    use: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains a VAE for each weight, and the sigma-VAE, which needs none, and chooses by synthetic defects.

    Each is trained as the run's options say, from the same seed, into `weight/VALUE`, where finished ones are kept: killed
    and called again, it goes on. Judged are held-out patches against the same with synthetic defects, and against real
    ones where `defects` are given: damaged patches (15 pixels of `masks` or more), without masks the worst patches of
    pictures. Each by AUROC of the error, of the latent loss, and of both (scorer 'zsum').

    Chosen is the weight with the highest AUROC of both on synthetic defects; of those within 0.002 of it the largest,
    because so small a difference is chance, and a larger weight holds the embeddings closer to the prior that the latent loss
    measures them against. Writes weight/weight.png and, last, weight/weight.json, and returns what is in it. Changes no
    option unless `use`, and then `latent_weight` alone. `tell` is given a line as each training is judged.
    Raises `OptionError` for weights or a run that make no sense, `InputError` for sources or masks, `DataError` when
    there is no damaged patch.
    """
    values = _checked(run, weights, masks, defects)
    for path in [sources, [defects]] if defects else [sources]:
        if path:
            expand(path)
    if masks is not None:
        masks_in(masks)
    _pool_of(run, sources)
    with run.trying({}), run.working("weight") as step:
        result = _searched(run, values, defects, masks, iterations, tell)
        result["used"] = use
        _draw(step.path("weight/weight.png"), result)
        write_json(step.path("weight/weight.json"), result)
        step.finish({"chosen": result["chosen"], "used": use})
        if use:
            run.store({"train": {"latent_weight": result["chosen"]}})
    return result


def _searched(
    run: RunFolder,
    values: Sequence[float],
    defects: str | Path | None,
    masks: Path | None,
    iterations: int | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train and judge a VAE for each weight, and choose."""
    folder, pool = run.path / "weight", Pool.open(run.folder("ingest"))
    judged = Judged.of(run, pool, defects, masks)
    options = run.options.train.model_copy(update={"iterations": iterations} if iterations else {})
    plan = {_name(value): options.model_copy(update={"latent_weight": value}) for value in values}
    plan["sigma"] = options.model_copy(update={"loss": "sigma", "latent_weight": 1.0})
    rows = {}
    for number, (name, chosen) in enumerate(plan.items(), start=1):
        model, about = _trained(run, pool, chosen, folder / name)
        rows[name] = {"weight": chosen.latent_weight, **about, **judged.by(model)}
        tell(f"{number} of {len(plan)}: {_told(name, rows[name])}")
    sigma = rows.pop("sigma")
    return {
        **choose(list(rows.values())),
        "measure": make_scorer(judged.error).needs[0],
        "iterations": options.iterations,
        "synthetic_defects": len(judged.damaged),
        "real_defects": None if defects is None else judged.count,
        "fingerprint": run.result("ingest")["fingerprint"],
        "trained": list(rows.values()),
        "sigma": sigma,
    }


def choose(trained: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The chosen weight and the reason in one sentence, from a row a weight (see `search_weight`).

    With real defects also which weight they would choose, and how much AUROC the choice by synthetic ones lost.
    """
    chosen, best = _best(trained, "synthetic")
    top, score = best["synthetic"]["both"], chosen["synthetic"]["both"]
    what = "AUROC of error and latent loss together on synthetic defects"
    reason = f"Weight {_name(chosen['weight'])} has the highest {what}, {score:.3f}."
    if chosen is not best:
        reason = (
            f"Weight {_name(chosen['weight'])} is the largest of those within {ALIKE} of the highest {what} "
            f"({score:.4f}; {top:.4f} at {_name(best['weight'])})."
        )
    found = {"chosen": chosen["weight"], "reason": reason, "chosen_by_real": None, "lost": None}
    if chosen["real"] is not None:
        real, highest = _best(trained, "real")
        found |= {"chosen_by_real": real["weight"], "lost": highest["real"]["both"] - chosen["real"]["both"]}
    return found


def _best(trained: Sequence[dict[str, Any]], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row to choose, and that of the highest AUROC."""
    best = max(trained, key=lambda row: row[kind]["both"])
    alike = [row for row in trained if best[kind]["both"] - row[kind]["both"] < ALIKE]
    return max(alike, key=lambda row: row["weight"]), best


def _checked(run: RunFolder, weights: Sequence[float], masks: Path | None, defects: str | Path | None) -> list[float]:
    """The weights, each once and rising."""
    options = run.options
    if options.model.model != "autoencoder" or not options.model.variational:
        raise OptionError(
            f"{run.path} has no variational autoencoder, so there is no weight to search.",
            "Begin a new run folder: winnow lambda SOURCES --run NEW, or winnow train --run RUN --variational.",
        )
    if not options.ingest.patches:
        raise OptionError(
            f"{run.path} does not cut its pictures into patches; synthetic defects are those of textures.",
            "Begin a new run folder: winnow lambda SOURCES --run NEW",
        )
    if options.train.loss == "sigma":
        raise OptionError(
            f"{run.path} trains with --loss sigma, which needs no weight.",
            "Set another: winnow train --run RUN --loss mean",
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


def _pool_of(run: RunFolder, sources: Sequence[str | Path]) -> None:
    """Ingests the sources of a run that has no pool yet."""
    from winnow.steps.ingest import ingest

    if not run.done("ingest"):
        ingest(run, sources or run.asked.sources)
    other = [str(source) for source in sources if absolute(source) not in run.asked.sources]
    if other:
        raise OptionError(
            f"{run.path} has its pictures already, and {other[0]} is not among its sources.",
            f"Leave it out, or add it first: winnow ingest {other[0]} --run {run.path}",
        )


def _trained(run: RunFolder, pool: Pool, options: TrainOptions, folder: Path) -> tuple[Model, dict[str, Any]]:
    """A VAE trained with some options into a folder; one that was begun with others there is trained anew."""
    from winnow.learn.train import train
    from winnow.models.registry import build

    split = split_of(run, pool).split
    rows = {name: np.flatnonzero(split == name) for name in ("train", "validate", "calibrate")}

    def fit(resume: bool) -> tuple[Model, Any]:
        model = build(run.options.model, pool.size, pool.channels, seed=options.seed)
        return model, train(model, pool, rows, options, folder, resume=resume)

    try:
        model, result = fit(resume=True)
    except RunError:
        model, result = fit(resume=False)
    except Interrupted as error:
        raise Interrupted(error.message, "Go on with the same command: finished trainings are kept.") from None
    return model, {"steps": result.steps, "seconds": result.seconds, "active_units": result.active_units}


def error_like(scorer: str) -> str:
    """Return the scorer of the network's own error that pools it over a picture as the run's scorer does, or else by the mean."""
    reads = make_scorer(scorer).reads()
    pool = next((pool for pool in ("top_windows", "top_pixels") if POOLS[pool] in reads), "mean")
    return f"error(pool={pool})"


@dataclass(frozen=True)
class Judged:
    """What each network is judged on: held-out patches, the same with synthetic defects, and real defects.

    `error` is the scorer of the network's own error. All pictures (n, h, w, c) uint8. Without masks `real` are all patches of
    damaged pictures and `whole` all of good ones, and `owners` names the picture of each; with masks `real` are damaged
    patches alone. `count` is how many defects count.
    """

    error: str
    device: str
    clean: np.ndarray
    damaged: np.ndarray
    real: np.ndarray | None = None
    whole: np.ndarray | None = None
    owners: tuple[np.ndarray, np.ndarray] | None = None
    count: int = 0

    @classmethod
    def of(cls, run: RunFolder, pool: Pool, defects: str | Path | None, masks: Path | None) -> Judged:
        """Reads and damages the patches, the same for the same run."""
        from winnow.synthetic.defects import damage

        held = np.flatnonzero(np.isin(split_of(run, pool).split, ("validate", "calibrate")))
        clean = pool.pixels(held[np.linspace(0, len(held) - 1, min(MOST, len(held))).astype(int)])
        damaged, changed, _ = damage(clean, np.random.default_rng([run.options.train.seed, 4]))
        damaged = damaged[changed.any(axis=(1, 2))]  # some come out too faint to be seen
        error = error_like(run.options.detect.scorer)
        plain = cls(error, run.options.train.device, clean, damaged)
        if defects is None:
            return plain
        found = _read(run, defects)
        if masks is not None:
            torn = _torn(found, masks)
            return cls(error, plain.device, clean, damaged, real=found.pixels(torn), count=len(torn))
        names = picture_of(pool.column("id")[held])
        whole = held[np.isin(names, _some(names, MOST_WHOLE))]
        owners = picture_of(pool.column("id")[whole]), picture_of(found.column("id"))
        return cls(error, plain.device, clean, damaged, found.pixels(slice(None)), pool.pixels(whole), owners,
                   count=len(set(owners[1])))  # fmt: skip

    def by(self, model: Model) -> dict[str, Any]:
        """AUROC of the error, the latent loss and both, on synthetic and (else None) on real defects."""
        clean, damaged = self._encoded(model, self.clean), self._encoded(model, self.damaged)
        found: dict[str, Any] = {"synthetic": {}, "real": None if self.real is None else {}}
        others = [None if pixels is None else self._encoded(model, pixels) for pixels in (self.real, self.whole)]
        for name, scorer in zip(SCORES, (self.error, "latent", "zsum(error, latent)"), strict=True):
            fitted = make_scorer(scorer).fit(clean)
            good = fitted.score(clean)
            found["synthetic"][name] = separation(good, fitted.score(damaged))
            if others[0] is not None:
                bad = fitted.score(others[0])
                if others[1] is not None and self.owners is not None:
                    good = most_anomalous(self.owners[0], fitted.score(others[1]))[1]
                    bad = most_anomalous(self.owners[1], bad)[1]
                found["real"][name] = separation(good, bad)
        return found

    def _encoded(self, model: Model, pixels: np.ndarray) -> Embeddings:
        from winnow.learn.encode import encode

        return encode(model, pixels, device=self.device, quiet=True)


def _read(run: RunFolder, defects: str | Path) -> Pool:
    from winnow.pool.ingest import ingest

    ingest([defects], run.path / "weight" / "defects", run.options.ingest, keep_others=False)
    return Pool.open(run.path / "weight" / "defects")


def _torn(pool: Pool, masks: Path) -> np.ndarray:
    """Rows of the patches that masks call damaged."""
    known, boxes, start = masks_in(masks), read_boxes(pool.column("box")), 0
    torn = np.zeros(len(pool), bool)
    for picture in pool.pictures.to_pylist():
        rows = slice(start, start + picture["patches"])
        truth = read_mask(known, picture["source"], (picture["height"], picture["width"]))
        torn[rows] = damaged_pixels(truth, boxes[rows]) >= DAMAGED_PIXELS
        start += picture["patches"]
    if not torn.any():
        raise DataError(
            f"No patch holds {DAMAGED_PIXELS} pixels of the masks in {masks}.",
            "Give masks that are white where it is damaged.",
        )
    return np.flatnonzero(torn)


def _some(names: np.ndarray, most: int) -> np.ndarray:
    """Names of pictures, evenly spread, that have at most about so many patches together."""
    known = np.array(list(dict.fromkeys(names)), dtype=object)
    wanted = max(1, int(len(known) * min(1.0, most / len(names))))
    return known[np.linspace(0, len(known) - 1, wanted).astype(int)]


def _name(weight: float) -> str:
    """A weight as its folder is called: 0, 1e-05, 0.001."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)


def _told(name: str, row: dict[str, Any]) -> str:
    values = ", ".join(f"{part} {row['synthetic'][part]:.3f}" for part in SCORES)
    return f"{'sigma-VAE' if name == 'sigma' else f'weight {name}'}: AUROC on synthetic defects {values}"


def curves_of(result: dict[str, Any]) -> dict[str, list[float]]:
    """The curves of a figure: AUROC over the weights, of each score on synthetic and on real defects."""
    kinds = [kind for kind in ("synthetic", "real") if result["trained"][0][kind] is not None]
    return {f"{name}, {kind}": [row[kind][name] for row in result["trained"]] for kind in kinds for name in SCORES}


def _draw(path: Path, result: dict[str, Any]) -> None:
    from winnow.report.inspection import weight_curve

    png = weight_curve([row["weight"] for row in result["trained"]], curves_of(result), result["chosen"])
    with replacing(path) as temporary:
        temporary.write_bytes(png)
