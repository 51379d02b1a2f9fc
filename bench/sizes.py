"""Pictures of another size than those learnt from: good ones refused by one threshold, and by that for the number of their patches.

    python bench/sizes.py [--quick] [--seeds 1]

Cloth is drawn: `inspect-texture` learns from 40 good pictures of 256x192, of which it holds half out, and judges 40 unseen good ones of
256x192, 512x384 and 1024x768, and 20 damaged ones (a hole or a streak) of 1024x768. Its autoencoder, which does not decide, is trained
for 200 iterations. "One threshold": that of pictures of the usual size for all. Needs no data.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
from PIL import Image

from winnow import Run
from winnow.detect.pictures import by_picture

from common import arguments, finish, table

GOOD, BAD = 40, 20
SIZES = ((192, 256), (384, 512), (768, 1024))


def main() -> None:
    given, started, rows = arguments(__doc__), time.perf_counter(), []
    for seed in range(given.seeds):
        rng = np.random.default_rng(seed)
        folder = given.to / str(seed)
        run = Run(folder / "run", "inspect-texture", seed=seed, iterations=200, fast=200 if given.quick else 1000)
        run.fit(written(rng, folder / "learn", SIZES[0], GOOD))
        usual = by_picture(run.detector).threshold
        kinds = [("good", GOOD, size) for size in SIZES] + [("damaged", BAD, SIZES[-1])]
        for kind, count, size in kinds:
            of_kind = written(rng, folder / f"{kind} {size[1]}x{size[0]}", size, count, kind == "damaged")
            rows.append({"seed": seed, "promised": usual.achieved, **judged(run, of_kind, usual.value)})
    table(rows, "Pictures refused by one threshold, and by the threshold for the number of patches")
    finish("sizes", started, sizes=rows)


def written(rng: np.random.Generator, folder: Path, size: tuple[int, int], count: int, damaged: bool = False) -> Path:
    """Write so many cloths (h, w) as PNG files."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(cloth(rng, size, damaged)).save(folder / f"{number:02d}.png")
    return folder


def cloth(rng: np.random.Generator, size: tuple[int, int], damaged: bool) -> np.ndarray:
    """Return a plain weave (h, w) uint8 with threads four pixels apart; damaged, with a dark hole or a bright streak."""
    y, x = np.mgrid[: size[0], : size[1]]
    moved = rng.uniform(0, 8, 2)
    weave = np.cos(np.pi * (x + moved[0]) / 4) * np.cos(np.pi * (y + moved[1]) / 4)
    shade = 128 + 40 * weave + rng.normal(0, 4) + rng.normal(0, 10, size)
    if damaged:
        row, column = (int(rng.integers(16, side - 16)) for side in size)
        hole = (y - row) ** 2 + (x - column) ** 2 <= 49
        streak = (abs(x - column) <= 1) & (abs(y - row) <= 14)
        shade = np.where(hole, 20, shade) if rng.random() < 0.5 else np.where(streak, 245, shade)
    return shade.clip(0, 255).astype(np.uint8)


def judged(run: Run, folder: Path, usual: float) -> dict[str, object]:
    """Return how many pictures of a folder are refused by one threshold, and by that of their size."""
    found = run.score(folder)
    with (found.folder / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "judged": f"{len(rows)} {folder.name}",
        "one threshold": sum(float(row["score"]) > usual for row in rows),
        "by their patches": sum(row["belongs"] == "no" for row in rows),
    }


if __name__ == "__main__":
    main()
