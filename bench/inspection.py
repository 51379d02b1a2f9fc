"""Inspection of textures: AITEX fabrics 03 and 01, patches of 64x64, learnt from good strips alone.

    python bench/inspection.py [--quick] [--seeds 3] [--parts main,speed,paper,lambda,peers,strip] [--fabrics 03,01]
        [--border PIXELS] [--peer-python PATH]

The first 14 good strips are learnt (the run itself keeps some of them for the threshold), the other good strips and the
defective ones are judged. AUROC of damaged patches (15 mask pixels or more) against the patches of the good strips, and against
the good patches of the same defective strips, which differ from good strips even away from a defect. `main`: the recipe
`inspect-texture` with each mode, compared with PCA-32, selvages included (`--border 0`) as the data card has them. `speed`: patches/s of
the same runs, in turns. `paper`: the network of Soukup & Pinetz 2018 as AE and VAE, their losses, and Table I. `peers`:
anomalib's PaDiM and PatchCore on the same patches, `--peer-python` being the Python of an environment with anomalib. `lambda`:
the weight of the VAE's latent loss, chosen by synthetic defects and by the real ones. `strip`: the time of one 4096x256 strip
with overlapping patches by stage.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

from winnow import Run
from winnow.embeddings import spread
from winnow.inspect.masks import masks_in, read_mask
from winnow.metrics.detection import separation
from winnow.pool.patches import DAMAGED_PIXELS, damaged_pixels, read_boxes
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_encoder, modes
from winnow.run.split import split_of
from winnow.steps.report.inspection import entropies

from common import aitex, arguments, finish, mean_deviation, need, table

FABRICS = ("03", "01")
PEER = str(Path(__file__).with_name("anomalib_peer.py"))
PARTS = ("main", "speed", "paper", "lambda", "peers", "strip")


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--parts", default=",".join(PARTS))
    extra.add_argument("--peer-python", default=sys.executable)
    extra.add_argument("--fabrics", default=",".join(FABRICS))
    extra.add_argument("--border", type=int, default=0)
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    fabrics = own.fabrics.split(",")
    parts = {
        "main": lambda: ours(given.to, fabrics, given.seeds, given.quick, own.border),
        "speed": lambda: speed(given.to, fabrics, given.seeds, given.quick),
        "paper": lambda: paper(given.to, fabrics, given.seeds, given.quick),
        "lambda": lambda: weights(given.to, fabrics, given.seeds, given.quick),
        "peers": lambda: peers(given.to, fabrics, own.peer_python, given.quick),
        "strip": lambda: strip(given.to, given.quick),
    }
    finish("inspection", started, **{name: parts[name]() for name in own.parts.split(",")})


# ---- the recipe and its modes


def ours(folder: Path, fabrics: list[str], seeds: int, quick: bool, border: int) -> list[dict[str, Any]]:
    """Return a row for each fabric and mode, means and deviations over seeds; PCA-32 on the same patches first."""
    rows = []
    for fabric in fabrics:
        found: dict[str, list[dict[str, float]]] = {}
        for seed in range(seeds):
            where = folder / f"inspection-{fabric}-{seed}{f'-border-{border}' if border else ''}"
            run = trained(where, "inspect-texture", fabric, seed, quick, border=border)
            for mode in modes(run.folder):
                found.setdefault(mode, []).append(judged(run, fabric, mode))
            found.setdefault("PCA-32", []).append(pca(run, fabric))
            print(f"fabric {fabric}, seed {seed}: measured", file=sys.stderr, flush=True)
        for name, values in found.items():
            row = {key: mean_deviation(value[key] for value in values) for key in values[0]}
            rows.append({"fabric": fabric, "mode": name, **row})
    table(rows, "AUROC of each mode: patches, pictures, pixels; rates of pictures at the run's threshold")
    return rows


def speed(folder: Path, fabrics: list[str], seeds: int, quick: bool) -> list[dict[str, Any]]:
    """Return patches/s of each mode of the runs of `main`, as calibrate measures them: in turns, the best of a few rounds."""
    rows = []
    for fabric in fabrics:
        for seed in range(seeds):
            run = trained(folder / f"inspection-{fabric}-{seed}", "inspect-texture", fabric, seed, quick)
            found = run.calibrate()["speed"]
            rows.append({"fabric": fabric, "seed": seed, **found, "fast / full": found["fast"] / found["full"]})
    table(rows, "Patches/s")
    return rows


def trained(folder: Path, recipe: str, fabric: str, seed: int, quick: bool, **options: Any) -> Run:
    """Return a run of a recipe on the good strips of a fabric; by default with the selvages, as the data card has them."""
    short = (
        {"iterations": 300, "check_every": 100, **({"fast": 200} if recipe == "inspect-texture" else {})}
        if quick
        else {}
    )
    run = Run(folder, recipe, seed=seed, **{"border": 0, **options, **short})
    if not run.folder.record("calibrate"):
        run.fit(aitex(fabric)["train"])
    return run


def judged(run: Run, fabric: str, mode: str) -> dict[str, float]:
    """Return AUROCs of a mode on all defective strips, and on those with odd numbers, which informed no choice."""
    strips = aitex(fabric)
    masks = strips["mask"][0].parent
    result: dict[str, float] = {}
    for name, defect in (("", strips["defect"]), (", odd strips", strips["defect"][1::2])):
        found = run.evaluate(strips["validation"], {"defects": defect}, masks=masks, mode=mode)
        result[f"good strips{name}"] = found.masks.auroc_good_pictures
        result[f"same strips{name}"] = found.masks.auroc_same_pictures
        if not name:
            result["pictures"] = found.anomalous["defects"].auroc
            result["good accepted"] = 1 - found.false_alarm_rate
            result["defective accepted"] = 1 - found.anomalous["defects"].detection_rate
            for key, value in (("pixels", found.masks.pixel_auroc), ("AUPRO", found.masks.aupro)):
                result[key] = float("nan") if value is None else value
    return result


def labelled(run: Run, fabric: str) -> tuple[dict[str, Pool], np.ndarray]:
    """Return the pools of good and of all defective strips that `judged` left, and the mask pixels of each defective patch."""
    pools = run.folder.path / "evaluation" / "pools"
    strips = aitex(fabric)
    run.evaluate(strips["validation"], {"defects": strips["defect"]})
    found = {"good": Pool.open(pools / "belongs"), "defect": Pool.open(pools / "anomalous-000-defects")}
    return found, mask_pixels(found["defect"], strips["mask"][0].parent)


def mask_pixels(pool: Pool, folder: Path) -> np.ndarray:
    """Return how many mask pixels each patch of a pool holds (n,)."""
    known, boxes, sources = masks_in(folder), read_boxes(pool.column("box")), pool.column("source")
    pixels = np.empty(len(boxes), int)
    for picture in pool.pictures.to_pylist():
        rows = np.flatnonzero(sources == picture["source"])
        mask = read_mask(known, picture["source"], (picture["height"], picture["width"]))
        pixels[rows] = damaged_pixels(mask, boxes[rows])
    return pixels


def flat(pool: Pool, rows: Any = slice(None)) -> np.ndarray:
    return pool.pixels(rows).reshape(-1, pool.size[0] * pool.size[1]).astype(np.float32) / 255


def pca(run: Run, fabric: str) -> dict[str, float]:
    """Return the reconstruction error of 32 principal components of all patches of the 14 strips."""
    pools, pixels = labelled(run, fabric)
    model = PCA(32, random_state=0).fit(flat(Pool.open(run.folder.folder("ingest"))))
    error = {}
    for name, pool in pools.items():
        values = flat(pool)
        error[name] = ((values - model.inverse_transform(model.transform(values))) ** 2).mean(axis=1)
    return separations(error["good"], error["defect"], pixels)


def separations(good: np.ndarray, defect: np.ndarray, pixels: np.ndarray) -> dict[str, float]:
    """Return AUROC of damaged patches against both kinds of good ones."""
    damaged = defect[pixels >= DAMAGED_PIXELS]
    return {"good strips": separation(good, damaged), "same strips": separation(defect[pixels == 0], damaged)}


# ---- the article's networks


def paper(folder: Path, fabrics: list[str], seeds: int, quick: bool) -> dict[str, Any]:
    """Return AUROC of the losses of the article's AE and VAE, and its Table I on our fabrics."""
    rows, entropy = [], []
    for fabric in fabrics:
        for kind, options in PAPER.items():
            found: dict[str, list[dict[str, float]]] = {}
            crossed: dict[str, list[tuple[float, ...]]] = {}
            for seed in range(seeds):
                run = trained(
                    folder / f"{kind.replace(' ', '-')}-{fabric}-{seed}", "inspect-vae", fabric, seed, quick, **options
                )
                pools, pixels = labelled(run, fabric)
                own = Pool.open(run.folder.folder("ingest"))
                training = np.flatnonzero(split_of(run.folder, own).split == "train")
                encoder = load_encoder(run.folder, "full")
                losses = {name: encoder.encode(pool, rows_of, "auto") for name, pool, rows_of in (
                    ("train", own, training), ("good", pools["good"], np.arange(len(pools["good"]))),
                    ("defect", pools["defect"], np.arange(len(pixels))))}  # fmt: skip
                for measure in ("reconstruction", "top_error", "latent"):
                    if measure not in losses["train"].losses:
                        continue
                    train, good, defect = (losses[name].losses[measure] for name in ("train", "good", "defect"))
                    found.setdefault(measure, []).append(separations(good, defect, pixels))
                    crossed.setdefault(measure, []).append(entropies(train, good, defect[pixels >= DAMAGED_PIXELS]))
            for measure, values in found.items():
                rows.append({"fabric": fabric, "network": kind, "loss": measure,
                             **{key: mean_deviation(value[key] for value in values) for key in values[0]}})  # fmt: skip
                if measure != "top_error":
                    names = ("H(T,V)", "H(T,D)", "H(V,D)")
                    columns = zip(names, zip(*crossed[measure], strict=True), strict=True)
                    entropy.append({"fabric": fabric, "network": kind, "loss": measure,
                                    **{name: mean_deviation(value) for name, value in columns}})  # fmt: skip
    table(rows, "Patch AUROC of the losses of the article's networks")
    table(entropy, "Cross entropy between the loss distributions (Table I of the article), nats, 50 bins")
    return {"auroc": rows, "entropy": entropy}


PAPER = {"AE of the article": {"variational": False}, "VAE of the article": {}, "sigma-VAE": {"loss": "sigma"}}


# ---- the weight of the latent loss


def weights(folder: Path, fabrics: list[str], seeds: int, quick: bool) -> list[dict[str, Any]]:
    """Choose the weight by synthetic defects, and measure what the choice costs on the real ones."""
    rows = []
    for fabric in fabrics:
        strips = aitex(fabric)
        for seed in range(seeds):
            run = Run(folder / f"lambda-{fabric}-{seed}", "inspect-vae", seed=seed, border=0)
            found = run.search_weight(strips["train"], defects=strips["defect"][0].parent, masks=strips["mask"][0].parent,
                                      iterations=200 if quick else None)  # fmt: skip
            for trial in (*found.trained, found.sigma):
                name = "sigma-VAE" if trial is found.sigma else f"{trial.weight:g}"
                figures = {f"{score}, {kind}": value for kind in found.kinds for score, value in trial.on(kind).items()}
                rows.append({"fabric": fabric, "seed": seed, "weight": name, **figures})
            choice = f"chosen {found.chosen:g}, by the real {found.chosen_by_real:g}, lost {found.lost:.3f}"
            rows.append({"fabric": fabric, "seed": seed, "weight": choice})
            print(f"fabric {fabric}, seed {seed}: {choice}", file=sys.stderr, flush=True)
    table(rows, "The weight of the latent loss: AUROC on synthetic and on real defects")
    return rows


# ---- compared with the peers

WINNOW = """
import json, resource, sys, time
from pathlib import Path
from winnow import Run
from winnow.run.judge import judge
root, options = Path(sys.argv[1]), json.loads(sys.argv[2])
mode = options.pop("mode")
run = Run(root / "run", "inspect-texture", blank=0.0, **options)
fitted = 0.0
if not run.folder.record("calibrate"):
    begun = time.perf_counter(); run.fit(root / "train"); fitted = time.perf_counter() - begun
scores, seconds = {}, 0.0
for group in ("good", "same", "damaged"):
    begun = time.perf_counter()
    scores[group] = judge(run.set(mode=mode).folder, [root / group], root / "scores" / mode / group).scores.tolist()
    seconds += time.perf_counter() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print("RESULT" + json.dumps({"fit_s": fitted, "score_s": seconds, "memory": memory, "scores": scores}))
"""


def peers(folder: Path, fabrics: list[str], python: str, quick: bool) -> list[dict[str, Any]]:
    """Compare ours and anomalib's on the same PNG files: 500 patches to learn from, the damaged ones and 600 good ones of each kind."""
    rows = []
    weights = str(need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"))
    short = {"iterations": 300, "fast": 200, "check_every": 100} if quick else {}
    for fabric in fabrics:
        root = patch_files(folder / f"peers-{fabric}", fabric, 200 if quick else 600)
        words = {f"winnow, {mode}": [sys.executable, "-c", WINNOW, str(root), json.dumps({"mode": mode, **short})]
                 for mode in ("full", "fast")}  # fmt: skip
        words |= {f"anomalib {name}": [python, PEER, kind, str(root), weights, "train", "good", "same", "damaged"]
                  for name, kind in (("PaDiM", "Padim"), ("PatchCore, 1 % coreset", "Patchcore"))}  # fmt: skip
        for name, command in words.items():
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            line = next((line for line in found.stdout.splitlines() if line.startswith("RESULT")), None)
            if line is None:
                print(f"{name} left out: {(found.stderr.strip().splitlines() or ['no result'])[-1]}", file=sys.stderr)
                continue
            rows.append({"fabric": fabric, "who": name, **peer_row(**json.loads(line.removeprefix("RESULT")))})
    table(rows, "Beside anomalib: 500 patches of 64x64 to learn from")
    return rows


def peer_row(fit_s: float, score_s: float, memory: int, scores: dict[str, list[float]], **_: Any) -> dict[str, Any]:
    good, same, damaged = (np.array(scores[name]) for name in ("good", "same", "damaged"))
    count = len(good) + len(same) + len(damaged)
    return {"good strips": separation(good, damaged), "same strips": separation(same, damaged), "fit s": fit_s or "as above",
            "patches/s": round(count / score_s), "MiB": memory}  # fmt: skip


def patch_files(root: Path, fabric: str, most: int) -> Path:
    """Write PNG files of patches: train (500), and good, same and damaged to be judged; evenly spread."""
    shutil.rmtree(root, ignore_errors=True)
    strips = aitex(fabric)
    run = Run(root / "pool", "inspect-texture", border=0)
    run.ingest(strips["train"])
    own = Pool.open(run.folder.folder("ingest"))
    write_patches(root / "train", own, np.arange(len(own)), 500)
    pools = {}
    for name in ("validation", "defect"):
        other = Run(root / name, "inspect-texture", border=0)
        other.ingest(strips[name])
        pools[name] = Pool.open(other.folder.folder("ingest"))
    defect = pools["defect"]
    pixels = mask_pixels(defect, strips["mask"][0].parent)
    write_patches(root / "good", pools["validation"], np.arange(len(pools["validation"])), most)
    write_patches(root / "same", defect, np.flatnonzero(pixels == 0), most)
    write_patches(root / "damaged", defect, np.flatnonzero(pixels >= DAMAGED_PIXELS), 10**6)
    return root


def write_patches(folder: Path, pool: Pool, rows: np.ndarray, most: int) -> None:
    folder.mkdir(parents=True)
    rows = rows[spread(len(rows), most)]
    for row, patch in zip(rows, pool.pixels(rows), strict=True):
        Image.fromarray(patch[..., 0]).save(folder / f"{row:06d}.png")


# ---- one strip


def strip(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return milliseconds of one 4096x256 strip, its patches overlapping by half, by stage and mode."""
    from winnow.data import images
    from winnow.learn.encode import anomaly_maps
    from winnow.pool.patches import blend, boxes_of, cut
    from winnow.report.inspection import overlay
    from winnow.run.artifacts import load_detector

    run = trained(folder / "inspection-03-0", "inspect-texture", "03", 0, quick)
    data = aitex("03")["defect"][1].read_bytes()
    rows = []
    for mode in modes(run.folder):
        detector = load_detector(run.folder, mode)
        encoder = load_encoder(run.folder, mode, detector.scorer.reads())
        rounds: list[dict[str, float]] = []
        for _ in range(2 if quick else 6):
            clock = [time.perf_counter()]

            def lap(clock: list[float] = clock) -> float:
                clock.append(time.perf_counter())
                return 1000 * (clock[-1] - clock[-2])

            picture = images.decode(data, None, grey=True)
            times = {"decode": lap()}
            boxes, _ = boxes_of(picture, (64, 64), 32)
            patches = cut(picture, boxes)
            times["cut"] = lap()
            scores = detector.score(encoder.encode(patches, np.arange(len(patches)), "cpu"))
            times["score"] = lap()
            map_of = (
                blend(anomaly_maps(encoder.model, patches), boxes, picture.shape[:2])
                if encoder.maps
                else np.zeros(picture.shape[:2])
            )
            times["anomaly map"] = lap()
            overlay(picture, (map_of / max(map_of.max(), 1e-9)), [])
            times["overlay PNG"] = lap()
            rounds.append(times)
        best = {name: min(values[name] for values in rounds) for name in rounds[0]}
        rows.append({"mode": mode, "patches": len(scores), **{name: round(value) for name, value in best.items()},
                     "verdict, ms": round(best["decode"] + best["cut"] + best["score"]), "all, ms": round(sum(best.values()))})  # fmt: skip
    table(rows, "One strip of 4096x256, patches of 64 every 32 pixels; ms, the best of six")
    return rows


if __name__ == "__main__":
    main()
