"""From judged patches to judged pictures: verdict, defects and anomaly map of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from winnow.detect.pictures import by_picture, keys_of, most_anomalous
from winnow.files import read_json, replacing
from winnow.pool.patches import blend, picture_of, read_boxes
from winnow.pool.pool import Pool
from winnow.progress import progress
from winnow.run.artifacts import ModeEncoder, load_detector, load_encoder
from winnow.run.folder import RunFolder
from winnow.steps.score import ITEMS, Scored, seconds, shortened, verdicts
from winnow.tables import read_table, write_table

NEAR = 4  # blobs of evidence that lie within this part (a quarter) of a patch's shorter side are one defect
TINY = 1e-12
GREY = 128  # shown where a patch was dropped as blank


@dataclass(frozen=True)
class Picture:
    """A picture put together from its patches: pixels (h, w, c), evidence of damage (h, w), 0 where it is as usual, 0.5 at
    the level that held-out pictures keep below (None where the mode gives none), its damaged places (h, w) and the
    defects on it, each x, y, width, height and score."""

    name: str
    source: str
    pixels: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray
    defects: list[tuple[int, int, int, int, float]]


def whole(scored: Scored) -> Scored:
    """Scores of pictures from those of their patches, by a detector calibrated on pictures."""
    keys = keys_of(scored.items)
    _, scores, member = most_anomalous(keys, scored.scores)
    first = np.unique(member, return_index=True)[1]
    others = {name: most_anomalous(keys, values)[1] for name, values in scored.others.items()}
    items = {name: column[first] for name, column in scored.items.items()}
    items["id"] = picture_of(items["id"])
    return replace(scored, items=items, scores=scores, others=others, detector=by_picture(scored.detector))


def inspect(run: RunFolder, scored: Scored, folder: Path, heatmaps: Path | None) -> tuple[Scored, dict[str, Any]]:
    """Writes patches.csv and defects.csv into `folder`, and pictures of each one into `heatmaps`; returns the pictures'
    scores, further columns for their table, the number of defects and notes."""
    pool, pictures = Pool.open(folder / "pool"), whole(scored)
    limit = pictures.threshold.value
    wanted = np.ones(len(pictures.scores), bool) if heatmaps is not None else ~pictures.belongs
    counts = np.zeros(len(wanted), int)
    defects = []
    with progress("locate", int(wanted.sum()), "pictures") as advance:
        for row, picture in located(run, pool, scored, limit, np.flatnonzero(wanted)):
            counts[row] = len(picture.defects)
            time = seconds(pictures.items["time"][row])
            defects += [(picture.source, time, *box, f"{found:.6g}") for *box, found in picture.defects]
            if heatmaps is not None:
                name = shortened(Path(picture.source).stem)
                _draw(heatmaps / f"{row:05d}-{name}{time and f'-{time}'}", picture)
            advance()
    write_table(folder / "defects.csv", ("source", "time", "x", "y", "width", "height", "score"), defects)
    write_table(
        folder / "patches.csv",
        ("id", "source", "time", "x", "y", "width", "height", "score", "p_value", "belongs"),
        (
            (name, source, seconds(time), *box, *verdict)
            for name, source, time, box, *verdict in zip(
                *(scored.items[column] for column in ("id", "source", "time")),
                read_boxes(pool.column("box")).tolist(),
                *verdicts(scored),
                strict=True,
            )
        ),
    )
    about = pool.pictures.to_pylist()
    columns = {name: [row[name] for row in about] for name in ("patches", "blank")}
    found = {"patches": len(scored.scores), "defects": len(defects)}
    return pictures, {"columns": {**columns, "defects": counts.tolist()}, **found, "note": _note(run, pool)}


def located(
    run: RunFolder, pool: Pool, scored: Scored, limit: float, wanted: np.ndarray
) -> Iterator[tuple[int, Picture]]:
    """Yields the row and the `Picture` of each wanted picture of a pool of patches: what is damaged, and where.

    A patch is damaged when its score is above the limit of pictures; what is damaged in it are the places whose evidence
    is above the level that held-out pictures keep below.
    """
    encoder = load_encoder(run, scored.mode)
    known = run.result("calibrate")["modes"][scored.mode]
    levels = None if known["map_level"] is None else (known["map_usual"], known["map_level"])
    about = pool.pictures.to_pylist()
    ends = np.cumsum([picture["patches"] for picture in about])
    for row in wanted:
        patches = np.arange(ends[row] - about[row]["patches"], ends[row])
        yield int(row), _picture(encoder, pool, patches, scored.scores[patches], limit, levels, about[row])


def worst_of(run: RunFolder, folder: Path, most: int) -> Iterator[tuple[Picture, float]]:
    """The most anomalous pictures of a finished `winnow score` and their scores, from what it left in `folder`."""
    pool, mode = Pool.open(folder / "pool"), read_json(folder / "scores.json")["mode"]
    scores = np.array([float(row["score"]) for row in read_table(folder / "patches.csv")])
    scored = Scored({name: pool.column(name) for name in ITEMS}, scores, {}, mode, load_detector(run, mode), 0)
    pictures = whole(scored)
    wanted = np.argsort(-pictures.scores, kind="stable")[:most]
    for row, picture in located(run, pool, scored, pictures.threshold.value, wanted):
        yield picture, float(pictures.scores[row])


def _picture(
    encoder: ModeEncoder,
    pool: Pool,
    rows: np.ndarray,
    scores: np.ndarray,
    limit: float,
    levels: tuple[float, float] | None,
    about: dict[str, Any],
) -> Picture:
    from winnow.learn.encode import anomaly_maps

    size, pixels = (about["height"], about["width"]), pool.pixels(rows)
    boxes = read_boxes(pool.column("box")[rows])
    canvas = np.full((*size, pool.channels), GREY, np.uint8)
    damaged = np.zeros(size, bool)
    for patch, (x, y, width, height), found in zip(pixels, boxes, scores, strict=True):
        canvas[y : y + height, x : x + width] = patch
        damaged[y : y + height, x : x + width] |= found > limit
    anomaly_map = None
    if levels is not None:
        usual, level = levels
        anomaly_map = blend((anomaly_maps(encoder.model, pixels) - usual) / max(2 * (level - usual), TINY), boxes, size)
        hot = damaged & (anomaly_map > 0.5)
        regions, _ = label(damaged, np.ones((3, 3)))
        lit = np.unique(regions[hot])
        mask = hot | (damaged & ~np.isin(regions, lit))  # a region without a hot place is marked as a whole
    else:
        mask = damaged
    return Picture(about["id"], about["source"], canvas, anomaly_map, mask, _defects(mask, boxes, scores))


def _defects(mask: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[int, int, int, int, float]]:
    """Blobs of a mask (h, w) as boxes, nearby ones together, each with the highest score of the patches it touches."""
    found = []
    if not mask.any():
        return []
    grow = max(1, int(boxes[0, 2:].min()) // NEAR // 2)
    blobs = np.where(mask, label(binary_dilation(mask, np.ones((3, 3)), grow), np.ones((3, 3)))[0], 0)
    for number, place in enumerate(find_objects(blobs), start=1):
        if place is None:
            continue
        rows, columns = np.nonzero(blobs[place] == number)
        y, x = place[0].start + rows.min(), place[1].start + columns.min()
        height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        touched = (
            (boxes[:, 0] < x + width) & (boxes[:, 0] + boxes[:, 2] > x)
            & (boxes[:, 1] < y + height) & (boxes[:, 1] + boxes[:, 3] > y)
        )  # fmt: skip
        found.append((int(x), int(y), width, height, float(scores[touched].max())))
    return sorted(found, key=lambda defect: -defect[4])


def _draw(stem: Path, picture: Picture) -> None:
    """Writes NAME.overlay.png, NAME.mask.png and, where there is evidence, NAME.map.png."""
    from winnow.report.inspection import map_png, mask_png, overlay

    anomaly_map = np.zeros(picture.mask.shape) if picture.anomaly_map is None else picture.anomaly_map.clip(0, 1)
    files = {
        "overlay": overlay(picture.pixels, anomaly_map, [defect[:4] for defect in picture.defects]),
        "mask": mask_png(picture.mask),
        **({} if picture.anomaly_map is None else {"map": map_png(anomaly_map)}),
    }
    for kind, png in files.items():
        with replacing(stem.with_name(f"{stem.name}.{kind}.png")) as temporary:
            temporary.write_bytes(png)


def _note(run: RunFolder, pool: Pool) -> str:
    """A sentence when grey pictures are judged by what was learnt from colour."""
    known = Pool.open(run.folder("ingest")).pictures.column("colour").to_pylist()
    new = pool.pictures.column("colour").to_pylist()
    if sum(known) > len(known) / 2 and not all(new):
        return (
            f"{new.count(False):,} of {len(new):,} pictures are grey, while the run learnt from colour: their scores say that "
            "they lack colour. Give colour pictures, or make a run with --grey."
        )
    return ""
