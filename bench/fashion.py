"""Fashion-MNIST, one class: train on one class, AUROC of its test pictures against the other nine, mean of ten.

    python bench/fashion.py [--quick] [--seeds 3]

6000 pictures of 28x28 grey a class; nothing but them is learnt from. Beside it the nearest neighbours of the pixels.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from winnow import Detector, Encodings
from winnow.data.generic import generic_pictures
from winnow.data.splits import assign
from winnow.detect.scorers import SCORERS
from winnow.errors import DataError
from winnow.learn.encode import encode
from winnow.learn.feed import Vary
from winnow.learn.train import train
from winnow.models.linear import Linear
from winnow.models.registry import build
from winnow.options import Options

from common import arguments, finish, need, separation, spread, table

MODELS = {"AE": {"variational": False}, "VAE": {"variational": True}}


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    data = np.load(need("fashion_mnist.npz"))
    classes = range(0, 10, 3) if given.quick else range(10)
    most = 1500 if given.quick else 6000
    iterations = 200 if given.quick else 1500
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    test, truth = data["x_test"][..., None], data["y_test"]
    for kind in classes:
        normal = data["x_train"][data["y_train"] == kind][:most, ..., None]
        pixel_score = Detector(scorer="neighbours").fit(_flat(normal)).score(_flat(test))
        found["pixels", "neighbours"][0].append(separation(pixel_score[truth == kind], pixel_score[truth != kind]))
        for name, options in MODELS.items():
            for seed in range(given.seeds):
                for scorer, value in one_class(
                    normal, test, truth == kind, options, seed, iterations, given.to
                ).items():
                    found[name, scorer][seed].append(value)
        print(
            f"class {kind}: " + ", ".join(f"{'/'.join(key)} {by_seed[0][-1]:.3f}" for key, by_seed in found.items()),
            flush=True,
        )
    rows = [
        {
            "model": model,
            "scorer": scorer,
            "mean AUROC": spread(np.mean(values) for values in by_seed.values()),
            "worst class": float(min(min(values) for values in by_seed.values())),
        }
        for (model, scorer), by_seed in found.items()
    ]
    table(rows, f"Fashion-MNIST one-class, mean of {len(classes)} classes, {given.seeds} seeds")
    finish("fashion", started, rows=rows)


def one_class(
    normal: np.ndarray, test: np.ndarray, inside: np.ndarray, chosen: dict, seed: int, iterations: int, folder: Path
) -> dict[str, float]:
    """AUROC of every scorer for one class and one seed."""
    options = Options().updated(
        {
            "model": chosen,
            "train": {"seed": seed, "iterations": iterations, "loss": "sigma" if chosen["variational"] else "squared"},
        },
        "bench",
    )
    split = assign(
        np.arange(len(normal)).astype(str), seed, options.train.validate_share, options.train.calibrate_share
    ).split
    rows = {name: np.flatnonzero(split == name) for name in ("train", "validate", "calibrate")}
    model = build(options.model, (28, 28), 1, seed=seed)
    train(model, normal, rows, options.train, folder / "fashion", vary=Vary(options.train.shift), resume=False)
    beside = {
        "linear": Linear((28, 28), 1).fit(normal[rows["train"]]),
        "background": Linear((28, 28), 1).fit(generic_pictures(500, (28, 28), 1)),
    }
    known: Encodings = encode(model, normal, seen=split != "calibrate", beside=beside)
    unknown = encode(model, test, beside=beside)
    values = {}
    for scorer in SCORERS:
        try:
            score = Detector(scorer=scorer).fit(known).score(unknown)
        except DataError:
            continue
        values[scorer] = separation(score[inside], score[~inside])
    return values


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


if __name__ == "__main__":
    main()
