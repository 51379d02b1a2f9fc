"""Exported files against the runs they come from: pictures/s of torch and onnxruntime on one core, and how far their results differ.

    taskset -c 0 python bench/export.py [--quick] [--to FOLDER]

Four runs: MobileNetV2 embeddings of player crops with Fisher's sum and a classifier of 125 labels; the autoencoder of the recipe
`oneclass-from-scratch` on frames of football; the fast mode of the recipe `inspect-texture` on patches of an AITEX fabric; the
recipe `inspect` on 50 good magnetic tiles. Both routes start from bytes of the network's size in memory and end with
probabilities, score and p-value; they alternate, and the best of five counts. "check" is what the export itself compares, of
scores and of anomaly maps. Parity: 200 pictures as they are on disk, of unusual sizes, one by one through the file, against
Pillow's resizing and the run (patches have one size).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from selection import rows_of

from winnow import Run
from winnow.deploy.runtime import INPUT, MAP
from winnow.embeddings import spread
from winnow.onnx import no_more, session_of
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_detector, load_encoder

from common import aitex, arguments, finish, football_lists, need, table

LABELS, PICTURES, ROUNDS, TURN = 125, 200, 5, 1.0
Judge = Callable[[np.ndarray], dict[str, np.ndarray]]


def main() -> None:
    """Print a table of speeds, one of differences, and the closing line of JSON."""
    given, started = arguments(__doc__), time.perf_counter()
    torch.set_num_threads(1)
    runs = {
        "player crops, MobileNetV2": crops(given.to, given.quick),
        "football, autoencoder": frames(given.to, given.quick),
        "fabric 03, fast": fabric(given.to, given.quick),
        "magnetic tiles, places": tiles(given.to, given.quick),
    }
    speeds, parity = [], []
    for name, run in runs.items():
        done = run.export(given.to / f"{name.split(',')[0]}.onnx")
        own, file = route(run), file_route(done.file, done.outputs)
        pool = Pool.open(run.folder.folder("ingest"))
        routes = {"torch": own, "onnxruntime": file}
        speeds += [
            {"run": name, "batch_size": batch} | raced(routes, pool.pixels(slice(0, batch))) for batch in (1, 32)
        ]
        about = {
            "run": name,
            "MB": done.bytes / 1e6,
            "export, s": done.seconds,
            "check, score": f"{done.parity['score']:.1e}",
            "check, map": f"{done.parity[MAP]:.1e}" if MAP in done.parity else "",
        }
        parity.append(about | differences(run, pool, own, file))
    table(speeds, "Pictures (or patches) a second on one core")
    table(parity, f"{PICTURES} pictures of the sources, as they are on disk")
    finish("export", started, speeds=speeds, parity=parity)


def crops(to: Path, quick: bool) -> Run:
    """Return embeddings of a frozen MobileNetV2, Fisher's sum, and a classifier of about 125 labels."""
    rows = rows_of("player_crops", "pool")[:: 8 if quick else 1]
    every = max(1, len(rows) // LABELS)
    with (to / "crops.csv").open("w", encoding="utf-8", newline="") as file:
        labels = (label if place % every == 0 else "" for place, (*_, label) in enumerate(rows))
        csv.writer(file).writerows(
            [("path", "group", "label"), *((p, g, n) for (p, g, _), n in zip(rows, labels, strict=True))]
        )
    run = fitted(
        to / "crops",
        "select",
        to / "crops.csv",
        number=0,
        backbone="mobilenet_v2",
        weights=need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"),
    )
    run.classify()
    return run


def frames(to: Path, quick: bool) -> Run:
    """Return a run of the autoencoder of `oneclass-from-scratch`."""
    return fitted(
        to / "frames", "oneclass-from-scratch", football_lists(to)["train"], **({"iterations": 100} if quick else {})
    )


def fabric(to: Path, quick: bool) -> Run:
    """Return a run of the fast mode of `inspect-texture`."""
    small = {"iterations": 100, "fast": 100} if quick else {}
    run = fitted(to / "fabric", "inspect-texture", [str(path) for path in aitex("03")["train"]], border=0, **small)
    return run.set(mode="fast")


def tiles(to: Path, quick: bool) -> Run:
    """Return a run of `inspect` on whole pictures."""
    files = sorted(need("magnetic_tile/good").iterdir())[: 10 if quick else 50]
    weights = need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
    return fitted(to / "tiles", "inspect", [str(path) for path in files], weights=weights)


def fitted(folder: Path, recipe: str, sources: Any, **options: Any) -> Run:
    """Complete a run up to its threshold."""
    run = Run(folder, recipe, **options)
    run.ingest(sources)
    run.train(resume=True)
    run.encode()
    run.calibrate()
    return run


def route(run: Run) -> Judge:
    """Return the outputs of `winnow score` and `winnow predict` for a batch of pixels."""
    mode = run.folder.options.score.mode
    detector = load_detector(run.folder, mode)
    encoder = load_encoder(run.folder, mode, detector.scorer.reads())
    classifier = run.classifier if run.folder.record("classify") else None

    def judged(pixels: np.ndarray) -> dict[str, np.ndarray]:
        embeddings = encoder.encode(pixels, np.arange(len(pixels)), "cpu")
        scores = detector.score(embeddings)
        found = {} if classifier is None else {"probabilities": classifier.predict_proba(embeddings.vectors)}
        return {**found, "score": scores, "p_value": detector.p_values(scores)}

    return judged


def file_route(path: Path, names: list[str]) -> Judge:
    """Return the same from the exported file."""
    session = session_of(path, cpu=True, threads=1)
    names = [name for name in names if name != MAP]  # the run's own route draws none either
    return lambda pixels: dict(zip(names, session.run(names, {INPUT: pixels}, no_more()), strict=True))


def raced(routes: dict[str, Judge], pixels: np.ndarray) -> dict[str, Any]:
    """Return pictures/s of two routes, which alternate every second, and how many times as fast the second is."""
    best = dict.fromkeys(routes, 0.0)
    for _ in range(ROUNDS):
        for name, judge in routes.items():
            judge(pixels)
            times, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < TURN:
                judge(pixels)
                times += 1
            best[name] = max(best[name], times * len(pixels) / (time.perf_counter() - begun))
    first, second = best.values()
    return {name: f"{speed:,.0f}" for name, speed in best.items()} | {"ratio": second / first}


def differences(run: Run, pool: Pool, own: Judge, file: Judge) -> dict[str, Any]:
    """Return differences of the file from the run on pictures as they are on disk, and how many verdicts and classes agree.

    Those of probabilities are absolute, those of scores relative to their standard deviation over the calibration.
    """
    rows = np.flatnonzero(pool.usable)
    rows = rows[spread(len(rows), PICTURES)]
    if run.folder.options.ingest.patches:
        whole = [pixels[None] for pixels in pool.pixels(rows)]
        scaled = np.concatenate(whole)
    else:
        pictures = [Image.open(path).convert("RGB") for path in pool.column("source")[rows]]
        whole = [np.asarray(picture)[None] for picture in pictures]
        height, width = pool.size
        scaled = np.stack(
            [np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)) for picture in pictures]
        )
    detector = load_detector(run.folder, run.folder.options.score.mode)
    mine, parts = own(scaled), [file(pixels) for pixels in whole]
    theirs = {name: np.concatenate([part[name] for part in parts]) for name in mine}
    apart = abs(theirs["score"] - mine["score"]) / detector.calibration.std()
    limit = detector.threshold.value
    found: dict[str, Any] = {
        "sizes": len({pixels.shape for pixels in whole}),
        "score, median": f"{np.median(apart):.1e}",
        "score, most": f"{apart.max():.1e}",
        "same verdict": f"{((theirs['score'] <= np.float32(limit)) == (mine['score'] <= limit)).sum()} of {len(rows)}",
    }
    if "probabilities" in mine:
        kinds = [values["probabilities"].argmax(axis=1) for values in (theirs, mine)]
        found["probability, most"] = f"{abs(theirs['probabilities'] - mine['probabilities']).max():.1e}"
        found["same class"] = f"{(kinds[0] == kinds[1]).sum()} of {len(rows)}"
    return found


if __name__ == "__main__":
    main()
