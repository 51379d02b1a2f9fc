"""A camera that sees an empty scene most of the time: how many labels go to it, and how many figures are called outliers.

    python bench/static_camera.py [--quick] [--seeds 3] [--to FOLDER] [--backbone tf_efficientnet_lite0]

Drawn frames of 320x240, two a second: a scene with noise and a slow change of light, through which eight figures walk; encoded at
96x96 as the recipe `select` does. 40 pictures are chosen. Before: near-duplicates by the median distance, whitening by all usual pictures,
each weighted by its duplicates, outliers by the deviation of all scores. Now: as `winnow select` does.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from known_sets import WEIGHTS, network
from PIL import Image, ImageDraw, ImageFilter

from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings
from winnow.learn.encode import encode
from winnow.select import duplicates
from winnow.select.geometry import whitened
from winnow.select.herding import herding
from winnow.select.outliers import outliers_of

from common import arguments, finish, mean_deviation, table

KINDS = {"a fifth": (0.2, 6, 0.03), "a fifth, little noise": (0.2, 3, 0.03), "a fifth, much noise": (0.2, 10, 0.06),
         "half": (0.5, 6, 0.03), "one in twenty": (0.05, 6, 0.03)}  # fmt: skip
FRAMES, WALKS, LABELS = 400, 8, 40


def camera(share: float, noise: float, light: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frames (n, 96, 96, 3) uint8 and the number of who walks there (n,), 0 for nobody."""
    rng, size = np.random.default_rng(seed), (320, 240)
    scene, who, long = Image.new("RGB", size, (120, 125, 118)), np.zeros(FRAMES, int), int(FRAMES * share / WALKS)
    for _ in range(40):
        (left, top), (wide, high) = (rng.integers(0, side) for side in size), rng.integers(8, 70, 2)
        colour = tuple(int(value) for value in rng.integers(30, 220, 3))
        ImageDraw.Draw(scene).rectangle([left, top, left + wide, top + high], fill=colour)
    scene = scene.filter(ImageFilter.GaussianBlur(1))
    begins = np.linspace(0.05 * FRAMES, 0.95 * FRAMES - long, WALKS).astype(int)
    for walk, begin in enumerate(begins, start=1):
        who[begin : begin + long] = walk
    clothes = rng.integers(20, 235, (WALKS + 1, 2, 3))
    frames = np.empty((FRAMES, 96, 96, 3), np.uint8)
    for number, walk in enumerate(who):
        picture = scene.copy()
        if walk:
            way = (number - begins[walk - 1]) / max(1, long - 1) * 260
            x, y = int(20 + way if walk % 2 else 280 - way), 84 + 10 * (walk % 3)
            draw, (shirt, trousers) = ImageDraw.Draw(picture), (tuple(map(int, part)) for part in clothes[walk])
            draw.ellipse([x + 6, y - 18, x + 22, y], fill=(200, 160, 130))
            draw.rectangle([x, y, x + 28, y + 40], fill=shirt)
            draw.rectangle([x + 3, y + 40, x + 25, y + 80], fill=trousers)
        seen = np.asarray(picture, float) * (1 + light * np.sin(number / 40)) + rng.normal(0, noise, (240, 320, 3))
        frames[number] = Image.fromarray(seen.clip(0, 255).astype(np.uint8)).resize((96, 96), Image.Resampling.BILINEAR)
    return frames, who


def chosen(embeddings: Embeddings, scores: np.ndarray, now: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows chosen, and the outliers, as `winnow select` does or did before."""
    everything, times = np.arange(len(embeddings)), np.arange(len(embeddings)) * 0.5
    by_now = duplicates.usual_distance
    duplicates.usual_distance = (
        by_now if now else lambda squared: float(np.median(squared[np.triu_indices(len(squared), 1)]))
    )
    alike = duplicates.stand_ins(embeddings.vectors, 0.1, sources=np.zeros(len(embeddings)), times=times, seconds=1.5)
    duplicates.usual_distance = by_now
    stays = np.flatnonzero(alike == everything)
    outliers = outliers_of(scores, 3.0, stays if now else None)
    usual, stays = np.setdiff1d(everything, outliers), np.setdiff1d(stays, outliers)
    weights = None if now else np.bincount(alike, minlength=len(everything))[stays].astype(np.float32)
    features = whitened(embeddings.vectors, stays if now else usual)[stays]
    number = min(LABELS, len(stays))
    return stays[herding(Embeddings.of(features), number, np.random.default_rng(0), weights=weights)], outliers


def main() -> None:
    """Print one table, and the closing line of JSON."""
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--backbone", default="tf_efficientnet_lite0", choices=WEIGHTS)
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    model = network(own.backbone, (96, 96))
    rows = []
    for kind, of in list(KINDS.items())[: 1 if given.quick else None]:
        values: dict[str, list[float]] = {}
        for seed in range(given.seeds):
            frames, who = camera(*of, seed)
            groups = [f"clip {number // 20}" for number in range(FRAMES)]
            embeddings = encode(model, frames, ids=[str(n) for n in range(FRAMES)], groups=groups, quiet=True)
            scores = Detector().fit(embeddings).score_own(embeddings)
            for when, now in (("before", False), ("now", True)):
                picked, outliers = chosen(embeddings, scores, now)
                values.setdefault(f"labels on the empty scene, {when}", []).append(float((who[picked] == 0).sum()))
                values.setdefault(f"figures seen, {when}", []).append(float(len(set(who[picked]) - {0})))
                flagged = np.isin(np.flatnonzero(who > 0), outliers).mean()
                values.setdefault(f"frames with figures among the outliers, {when}", []).append(float(flagged))
        rows.append({"figures in": kind} | {name: mean_deviation(column) for name, column in values.items()})
        print(rows[-1], file=sys.stderr, flush=True)
    table(rows, f"{LABELS} labels of {FRAMES} frames, eight figures")
    finish("static_camera", started, rows=rows)


if __name__ == "__main__":
    main()
