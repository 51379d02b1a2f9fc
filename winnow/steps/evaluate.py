"""How good a run is where the truth is known: AUROC, average precision and rates for each anomalous group."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from winnow.arrays import ArraysOnDisk
from winnow.data.layouts import Reading
from winnow.data.sources import expand
from winnow.data.storage import is_text
from winnow.detect.registry import make_scorer
from winnow.detect.scorer import Scorer
from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.files import replacing
from winnow.inspect.masks import Masks
from winnow.metrics.detection import DetectionMetrics, separation
from winnow.metrics.detection import evaluate as measure
from winnow.pool.blank import blanker_ones
from winnow.pool.patches import DAMAGED_PIXELS, damaged_pixels, picture_of, read_boxes
from winnow.pool.pool import Pool
from winnow.pool.usual import Usual
from winnow.results import Evaluated, MaskMetrics
from winnow.results.words import percent
from winnow.run.artifacts import load_embeddings, load_encoder
from winnow.run.current import key_of_judging
from winnow.run.folder import RunFolder
from winnow.run.judge import Judged, judge, larger_ones, locate, shortened, verdicts
from winnow.run.publish import EVALUATION, Results, list_refused, publish, write_result
from winnow.tables import write_table

NORMAL = Reading("normal")  # of the folders given as normal, what their names say does not belong is no false alarm


def evaluate(
    run: RunFolder,
    normal: Sequence[str | Path],
    anomalous: Mapping[str, Sequence[str | Path]],
    *,
    masks: Path | None = None,
    to: str | Path | None = None,
) -> Evaluated:
    """Score normal pictures and groups of anomalous ones, and write evaluation.json, scores.csv and figures.

    Pictures cut into patches are judged as wholes; with a folder of `masks` their patches and pixels are measured too.

    The baseline 'gradient' is sharpness alone: where it is as good as the run's scorer, the pictures differ in focus or
    compression and not in what they show.
    """
    if "all" in anomalous or "belongs" in anomalous:
        raise OptionError("An anomalous group cannot be called 'all' or 'belongs'.", "Give it another name.")
    if not normal or not anomalous:
        raise OptionError(
            "An evaluation needs normal pictures and at least one anomalous group.",
            "Give --normal DIR and --anomalous NAME=DIR.",
        )
    strange = next((name for name in anomalous if not is_text(name)), None)
    if strange is not None:
        raise OptionError(f"The name {strange!r} of an anomalous group is not UTF-8.", "Give it another name.")
    run.require("calibrate")
    if masks is not None and not run.options.ingest.cuts:
        raise OptionError("--masks needs a run that looks for damage, in tiles or patches.", "Leave the masks out.")
    expand(normal, NORMAL)  # before hours of scoring
    for sources in anomalous.values():
        expand(sources)
    known = None if masks is None else Masks(masks)
    with Results(to or run.path / "evaluation", EVALUATION, run.path) as results:
        pools = _pools(results.aside / "pools", anomalous)
        baseline = _baseline(run)
        parts = {
            name: judge(
                run,
                {"belongs": normal, **anomalous}[name],
                pool,
                baseline,
                reading=NORMAL if name == "belongs" else None,
            )
            for name, pool in pools.items()
        }
        list_refused(results.aside, pools)
        result = _write(run, parts, pools, known, results)
        shutil.rmtree(results.aside / "pools")  # nobody asked for the pixels
        publish(results)
    return result


def _pools(folder: Path, anomalous: Iterable[str]) -> dict[str, Path]:
    """Return the folder of each group's pool, 'belongs' first; those of groups that a killed call left behind are removed."""
    pools = {"belongs": folder / "belongs"}
    for number, name in enumerate(anomalous):  # by which names differ that a file system takes for one
        pools[name] = folder / f"anomalous-{number:03d}-{shortened(_slug(name))}"
    for path in folder.iterdir() if folder.exists() else ():
        if path not in pools.values():
            shutil.rmtree(path)
    return pools


def _write(
    run: RunFolder,
    parts: dict[str, Judged],
    pools: dict[str, Path],
    masks: Masks | None,
    results: Results,
) -> Evaluated:
    """Measure the judged groups, and write their table, figures and metrics."""
    groups = {name: part.whole() for name, part in parts.items()} if run.options.ingest.cuts else parts
    normal, folder = groups["belongs"], results.aside
    threshold = normal.threshold.value
    limits = {name: judged.limits for name, judged in groups.items()}
    found = _measured(groups, {name: judged.scores for name, judged in groups.items()}, limits)
    assert found.false_alarm_rate is not None  # there is a threshold
    baseline: dict[str, float] = {}
    if "gradient" in normal.others:
        sharpness = _measured(groups, {name: judged.others["gradient"] for name, judged in groups.items()}, None)
        baseline = {name: part.auroc for name, part in sharpness.anomalous.items()}
    result = Evaluated(
        mode=normal.mode,
        key=key_of_judging(run, normal.mode),
        scorer=normal.detector.scorer_name,
        threshold=threshold,
        false_alarm_rate_asked=normal.threshold.false_alarm_rate,
        false_alarm_rate_promised=normal.threshold.achieved,
        false_alarm_rate_estimated=normal.threshold.estimated,
        false_alarm_rate=found.false_alarm_rate,
        false_alarm_rate_interval=found.false_alarm_rate_interval,
        pictures=found.pictures,
        groups=found.groups,
        anomalous=found.anomalous,
        baseline=baseline,
        seen_in_training=_known(run, normal),
        folder=results.folder,
        refused={name: part.refused for name, part in parts.items() if part.refused},
        masks=None if masks is None else _against_masks(run, parts, pools, masks, folder / "damaged"),
        notes=[
            *dict.fromkeys(note for part in parts.values() for note in part.notes),
            *_unusual(run, pools),
            *_blank(pools),
            *(f"{name}: {text}" for name, judged in groups.items() if (text := larger_ones(judged))),
            *_beyond(found, normal.threshold.achieved),
            *(masks.notes if masks else ()),  # of those read above
        ],
    )
    write_table(
        folder / "scores.csv",
        ("group", "id", "source", "score", "p_value", "belongs"),
        (
            (name, *row)
            for name, judged in groups.items()
            for row in zip(judged.items["id"], judged.items["source"], *verdicts(judged), strict=True)
        ),
    )
    _draw(folder, groups, threshold)
    write_result(folder / "evaluation.json", result)
    return result


def _beyond(found: DetectionMetrics, promised: float) -> list[str]:
    """Return a sentence where more normal pictures are flagged than was promised, beyond chance."""
    interval = found.false_alarm_rate_interval
    if interval is None or interval[0] <= promised:
        return []
    return [
        f"More false alarms than promised, beyond chance ({percent(interval[0])} at least): these normal pictures differ from those "
        "that set the threshold, in light, camera, place or time. Add some like them to the run, and calibrate again."
    ]


def _unusual(run: RunFolder, pools: dict[str, Path]) -> list[str]:
    """Return sentences for each group with pictures of another size or colour than the run's own, where pictures are judged in parts."""
    usual = Usual.of(Pool.open(run.folder("ingest"))) if run.options.ingest.cuts else None
    if usual is None:
        return []
    return [f"{name}: {text}" for name, folder in pools.items() for text in usual.notes(Pool.open(folder))]


def _blank(pools: dict[str, Path]) -> list[str]:
    """Return a sentence for each group with pictures that are blanker than any good one."""
    found = {name: blanker_ones(Pool.open(folder)) for name, folder in pools.items()}
    return [f"{name}: {text}" for name, text in found.items() if text]


def _baseline(run: RunFolder) -> dict[str, Scorer]:
    """Return sharpness alone."""
    pixels = load_embeddings(run, "full").losses["gradient"]  # which no other mode encodes
    return {"gradient": make_scorer("gradient").fit(replace(load_embeddings(run), losses={"gradient": pixels}))}


def _measured(
    groups: dict[str, Judged], scores: dict[str, np.ndarray], limits: dict[str, np.ndarray] | None
) -> DetectionMetrics:
    names = ["belongs", *(name for name in groups if name != "belongs")]
    kinds = np.repeat(np.array(names, dtype=object), [len(scores[name]) for name in names])
    units = np.concatenate([groups[name].items["group"] for name in names])
    threshold = None if limits is None else np.concatenate([limits[name] for name in names])
    joined = np.concatenate([scores[name] for name in names])
    return measure(joined, kinds == "belongs", kinds, threshold, units)


def _against_masks(
    run: RunFolder, parts: dict[str, Judged], pools: dict[str, Path], masks: Masks, folder: Path
) -> MaskMetrics:
    """Measure judged patches against masks, and pixels of anomaly maps where the mode has them.

    A patch is damaged from 15 pixels of mask on and good without any. The embeddings of damaged patches by the whole network
    go to `folder` for the report.
    """
    aside = pools["belongs"].parent  # which goes in the end, as nobody asked for these
    maps, truths = ArraysOnDisk(aside / "maps"), ArraysOnDisk(aside / "masks")
    inside: dict[str, list[np.ndarray]] = {"damaged": [], "good": []}
    network, embeddings = load_encoder(run, "full"), []
    for name, part in parts.items():
        pool = Pool.open(pools[name])
        boxes, ends = read_boxes(pool.column("box")), np.cumsum(pool.pictures.column("patches").to_numpy())
        for row, picture in locate(run, pool, part, np.arange(len(ends))):
            size = picture.mask.shape
            truth = np.zeros(size, bool) if name == "belongs" else masks.read(picture.source, size, picture.page)
            patches = np.arange(ends[row - 1] if row else 0, ends[row])
            if name != "belongs":
                pixels, scores = damaged_pixels(truth, boxes[patches]), part.scores[patches]
                hit = pixels >= DAMAGED_PIXELS
                inside["damaged"].append(scores[hit])
                embeddings.append(network.encode(pool, patches[hit], run.options.train.device))
                inside["good"].append(scores[pixels == 0])
            if picture.anomaly_map is not None:
                maps.append(picture.anomaly_map.astype(np.float32))
                truths.append(truth)
    _join(embeddings).save(folder)
    damaged, good = (np.concatenate(values) for values in inside.values())
    pictures = sum(len(Pool.open(folder).pictures) for folder in pools.values())
    return MaskMetrics(
        len(damaged),
        _separation(parts["belongs"].scores, damaged),
        _separation(good, damaged),
        *_pixels(maps, truths),
        unit=run.options.ingest.unit(sum(len(part.scores) for part in parts.values()), pictures),
    )


def _separation(good: np.ndarray, damaged: np.ndarray) -> float | None:
    return separation(good, damaged) if len(good) and len(damaged) else None


def _join(parts: list[Embeddings]) -> Embeddings:
    """Return the embeddings of several pictures as one."""
    losses = {name: np.concatenate([part.losses[name] for part in parts]) for name in parts[0].losses}
    return Embeddings.of(np.concatenate([part.vectors for part in parts]), losses=losses)


def _pixels(maps: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> tuple[float | None, float | None]:
    """Return AUROC and AUPRO of the pixels of anomaly maps, None without any map or any damage."""
    from winnow.metrics.pixels import aupro, pixel_auroc

    if not maps or not any(truth.any() for truth in truths):
        return None, None
    return pixel_auroc(maps, truths), aupro(maps, truths)


def _known(run: RunFolder, judged: Judged) -> int:
    """Return how many of the pictures given as belonging are used by the run: their scores flatter."""
    pool = Pool.open(run.folder("ingest"))
    own = picture_of(pool.column("id")[pool.column("split") != "test"])
    return int(np.isin(judged.items["id"].astype(str), own.astype(str)).sum())


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "group"


def _draw(folder: Path, groups: dict[str, Judged], threshold: float) -> None:
    from winnow.report.figures import histograms, roc

    inside = groups["belongs"].scores
    figures = {
        "histogram.png": histograms({name: judged.scores for name, judged in groups.items()}, threshold),
        "roc.png": roc(
            {name: (inside, judged.scores) for name, judged in groups.items() if name != "belongs"}, threshold
        ),
    }
    for name, png in figures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(png)
