"""What the default decision finds and refuses, on clean pictures and on some that do not belong among those given.

    python bench/defaults.py [--quick] [--seeds 10] [--to FOLDER]

Embeddings of the pretrained MobileNetV2 as the recipe `oneclass` takes them. In each draw so many pictures are given as normal, of
which a share (`dirt`) does not belong; the other normal and anomalous pictures are judged. Shares flagged of both, by

- `1 %`: a threshold that was asked for 1 % (the default before);
- `default`: the usual rate, no option set;
- `estimated`: the default after an estimate of the contamination was set aside (exponential tail, see `excess`): not in Winnow;
- `reviewed`: the default after a person marked those pictures of review.csv that do not belong, once;
- `at the true rate`: the threshold that flags just 5 % of the unseen normal pictures, by a detector of the given ones.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from calibration import vectors
from PIL import Image, ImageDraw, ImageFilter

from common import arguments, finish, mean_deviation, need, table

DIRT = (0.0, 0.01, 0.03, 0.05)
SIZE = (144, 192)
Rows = list[tuple[Path, str]]


def main() -> None:
    """Print a table of the shares flagged, mean and deviation over draws, and the closing line of JSON."""
    given, started = arguments(__doc__), time.perf_counter()
    rows = []
    for name, (normal, anomalous, count) in sets(given.to, given.quick).items():
        embeddings = vectors(given.to, name.replace(" ", "-"), [*normal, *anomalous], SIZE)
        good = np.flatnonzero(np.isin(embeddings.groups.astype(str), [group for _, group in normal]))
        bad = np.setdiff1d(np.arange(len(embeddings)), good)
        for dirt in DIRT[::3] if given.quick else DIRT:
            draws = [draw(embeddings, good, bad, count, dirt, seed) for seed in range(given.seeds)]
            for way in draws[0]:
                shares = np.array([found[way] for found in draws])
                rows.append(
                    {
                        "set": name,
                        "given": count,
                        "dirt": f"{dirt:.0%}",
                        "threshold": way,
                        "refused": mean_deviation(shares[:, 0]),
                        "found": mean_deviation(shares[:, 1]),
                    }
                )
    table(rows, "Shares flagged of unseen normal and of anomalous pictures")
    finish("defaults", started, rows=rows)


def draw(embeddings: Any, good: np.ndarray, bad: np.ndarray, count: int, dirt: float, seed: int) -> dict[str, Any]:
    """Return the shares flagged of normal and of anomalous pictures, by each way to a threshold."""
    from winnow import Detector

    rng = np.random.default_rng(seed)
    good, bad = rng.permutation(good), rng.permutation(bad)
    wrong = round(dirt * count)
    given = np.concatenate([good[: count - wrong], bad[:wrong]])
    unseen, foreign = good[count - wrong :], bad[wrong:]
    detector = Detector().fit(embeddings[given])
    inside, outside = detector.score(embeddings[unseen]), detector.score(embeddings[foreign])

    def shares(threshold: float) -> tuple[float, float]:
        return float((inside > threshold).mean()), float((outside > threshold).mean())

    found = {"1 %": shares(detector.with_threshold(0.01).threshold.value), "default": shares(detector.threshold.value)}
    own, dirty = detector.ids, embeddings.ids[bad[:wrong]]
    order = np.argsort(-detector.calibration)
    for way, out in (
        ("estimated", own[order[: excess(detector.calibration)]]),
        ("reviewed", np.intersect1d(own[detector.extremes].astype(str), dirty.astype(str))),
    ):
        stay = given[~np.isin(embeddings.ids[given].astype(str), out.astype(str))]
        again = Detector().fit(embeddings[stay]) if len(stay) < len(given) else detector
        cut = again.threshold.value
        found[way] = tuple(float((again.score(embeddings[rows]) > cut).mean()) for rows in (unseen, foreign))
    found["at the true rate"] = shares(float(np.quantile(inside, 0.95)))
    return found


def excess(scores: np.ndarray) -> int:
    """Return by how many the scores beyond the 95 % point, extrapolated from the median and the 80 % point by an exponential
    tail, exceed one in twenty and one standard error: an estimate of the contamination."""
    middle, high = np.quantile(scores, [0.5, 0.8])
    beyond = int((scores > middle + (high - middle) * np.log(0.5 / 0.05) / np.log(0.5 / 0.2)).sum())
    usual = 0.05 * len(scores)
    return max(0, int(beyond - usual - np.sqrt(usual)))


def sets(folder: Path, quick: bool) -> dict[str, tuple[Rows, Rows, int]]:
    """Return normal and anomalous pictures with their groups, and how many are given, by name."""
    photos = need("sports22")
    tiles = need("magnetic_tile")
    with (tiles / "index.csv").open(encoding="utf-8") as file:
        listed = [(tiles / row["path"], row["class"]) for row in csv.DictReader(file)]
    with (need("football") / "index.csv").open(encoding="utf-8") as file:
        frames = [(need("football") / row["path"], row["class"], row["group"]) for row in csv.DictReader(file)]
    soccer = [(path, f"soccer {path.name}") for path, kind, _ in frames if kind == "soccer"]
    found = {
        "web photos": (
            [(path, f"football {path.name}") for path in sorted((photos / "football").rglob("*.jpg"))],
            [
                (path, name)
                for name in ("chess", "tennis", "swimming")
                for path in sorted((photos / name).rglob("*.jpg"))
            ],
            240,
        ),
        "drawn bottles": (*bottles(folder / "bottles"), 150),
        "football frames": (soccer, [(path, clip) for path, kind, clip in frames if kind != "soccer"], 60),
        "magnetic tile": (
            [(path, f"good {path.name}") for path, kind in listed if kind == "good"],
            [(path, kind) for path, kind in listed if kind != "good"],
            100,
        ),
    }
    return {name: found[name] for name in list(found)[1::2]} if quick else found


def bottles(folder: Path, good: int = 400, bad: int = 300) -> tuple[Rows, Rows]:
    """Draw bottles seen from above, each with its own light and place, some chipped, scratched or soiled at the rim."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows: Rows = []
    for number in range(good + bad):
        path = folder / f"{number:04}.png"
        bottle(rng, damaged=number >= good).save(path)
        rows.append((path, "damaged" if number >= good else f"good {number}"))
    return rows[:good], rows[good:]


def bottle(rng: np.random.Generator, damaged: bool, side: int = 192) -> Image.Image:
    """Draw one."""
    picture = Image.new("RGB", (side, side), (235, 235, 232))
    pen = ImageDraw.Draw(picture)
    x, y = side / 2 + rng.normal(0, 2, 2)
    glass = np.array([60, 45, 30]) + rng.normal(0, 6, 3)
    for radius, light in ((80, 1.0), (70, 1.5), (62, 0.8), (40, 0.55), (25, 1.2)):
        r = radius + rng.normal(0, 0.6)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(value) for value in (glass * light).clip(0, 255)))
    start = rng.uniform(0, 360)
    pen.arc((x - 66, y - 66, x + 66, y + 66), start, start + 50, fill=(230, 220, 200), width=4)
    if damaged:
        angle, away, r = rng.uniform(0, 2 * np.pi), rng.uniform(60, 78), rng.uniform(4, 14)
        u, v = x + away * np.cos(angle), y + away * np.sin(angle)
        match rng.integers(3):
            case 0:
                pen.ellipse((u - r, v - r, u + r, v + r), fill=(235, 235, 232))
            case 1:
                pen.line((u - 2 * r, v - r, u + 2 * r, v + r), fill=(200, 190, 180), width=2)
            case _:
                pen.ellipse((u - r, v - r / 2, u + r, v + r / 2), fill=(180, 60, 40))
    values = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.8)), dtype=float)
    noisy = values * rng.normal(1, 0.03) + rng.normal(0, 3, values.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
