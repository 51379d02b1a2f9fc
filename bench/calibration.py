"""Is the false-alarm rate the one asked for? 20 random splits by group: calibrate on some groups, count on the others.

    python bench/calibration.py [--quick]

Rows: football (15 clips and a match from another source), the clips alone, the crops of players (clips), all with frozen
MobileNetV2 embeddings; Fashion-MNIST sneakers (every picture its own group), with an autoencoder trained once on pictures
of no split. Asked for 1, 5, 10 %. Compared with the peers' rule: the quantile of the scores of the very pictures the
scorer was fitted on.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np

from winnow import Detector, Embeddings, Run
from winnow.detect.registry import make_scorer
from winnow.learn.encode import encode
from winnow.learn.train import train
from winnow.models.registry import build
from winnow.options import Options
from winnow.report.figures import calibration

from common import arguments, finish, need, table, write_list

RATES = (0.01, 0.05, 0.10)
PROMISES = ("on average", "95 % confident", "none: quantile of fitted scores")


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    splits = 5 if given.quick else 20
    matches = football(given.to)
    data = {
        "football": (matches, "knn"),
        "football, clips alone": (matches[matches.groups != "ajax-juventus"], "knn"),
        "player crops": (crops(given.to, given.quick), "knn"),
        "sneakers, AE": (sneakers(given.to, given.quick), "fisher"),
    }
    rows = [
        {
            "data": name,
            "pictures": len(normal),
            "groups": len(set(normal.groups)),
            "scorer": scorer,
            "promise": promise,
            **measured(normal, scorer, splits, promise),
        }
        for name, (normal, scorer) in data.items()
        for promise in PROMISES
    ]
    table(rows, f"False alarms on unseen groups, mean ± standard deviation over {splits} random group splits")
    (given.to / "calibration.png").write_bytes(
        calibration(RATES, [[float(row[f"{rate:.0%}"].split()[0]) for rate in RATES] for row in rows[:: len(PROMISES)]])
    )
    finish("calibration", started, rows=rows)


def measured(normal: Embeddings, scorer: str, splits: int, promise: str) -> dict[str, str]:
    """Return false-alarm rates on the held-out groups, for each rate asked for."""
    found: dict[float, list[float]] = {rate: [] for rate in RATES}
    for number in range(splits):
        rng = np.random.default_rng(number)
        names = rng.permutation(np.unique(normal.groups.astype(str)))
        unseen = np.isin(normal.groups.astype(str), names[: max(1, len(names) // 3)])
        known, new = normal[~unseen], normal[unseen]
        if promise.startswith("none"):
            fitted = make_scorer(scorer).fit(known)
            own, scores = fitted.score(known), fitted.score(new)
            for rate in RATES:
                found[rate].append(float((scores > np.quantile(own, 1 - rate)).mean()))
            continue
        detector = Detector(scorer, confidence=0.95 if promise == "95 % confident" else 0.0).fit(known)
        scores = detector.score(new)
        for rate in RATES:
            found[rate].append(float((scores > detector.with_threshold(rate).threshold.value).mean()))
    return {f"{rate:.0%}": f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for rate, values in found.items()}


def vectors(folder: Path, name: str, pictures: list[tuple[Path, str]], size: tuple[int, int]) -> Embeddings:
    """Return frozen MobileNetV2 embeddings of a list of pictures with their groups."""
    run = Run(
        folder / f"embeddings-{name}",
        "oneclass",
        weights=need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"),
        size=size,
    )
    run.ingest(write_list(folder / f"{name}.csv", pictures))
    run.train()
    run.encode()
    return run.embeddings


def football(folder: Path) -> Embeddings:
    root = need("football")
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = [(root / row["path"], row["group"]) for row in csv.DictReader(file) if row["class"] == "soccer"]
    return vectors(folder, "football", rows, (144, 192))


def crops(folder: Path, quick: bool) -> Embeddings:
    root = need("player_crops")
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = [(root / row["path"], row["clip"]) for row in csv.DictReader(file) if row["class"] == "player"]
    return vectors(folder, "crops", rows[:: 8 if quick else 2], (96, 64))


def sneakers(folder: Path, quick: bool) -> Embeddings:
    data = np.load(need("fashion_mnist.npz"))
    pictures = data["x_train"][data["y_train"] == 7][..., None]
    options = Options().updated({"train": {"iterations": 200 if quick else 1500}}, "bench")
    rows = {"train": np.arange(3000), "validate": np.arange(3000, 3300), "calibrate": np.arange(0)}
    model = build(options.model, (28, 28), 1, seed=0)
    train(model, pictures, rows, options.train, folder / "sneakers", resume=False)
    return encode(model, pictures, np.arange(3300, 6000))


if __name__ == "__main__":
    main()
