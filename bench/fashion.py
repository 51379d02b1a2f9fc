"""Fashion-MNIST, one class: train on one class, AUROC of its test pictures against the other nine, mean of ten.

    python bench/fashion.py [--quick] [--seeds 3]

6000 pictures of 28x28 grey a class; nothing but them is learnt from. Beside it the nearest neighbours of the pixels.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from winnow import Detector, Embeddings
from winnow.errors import DataError
from winnow.learn.encode import encode
from winnow.learn.train import train
from winnow.metrics.detection import separation
from winnow.models.auxiliary import Linear
from winnow.models.registry import build
from winnow.options import Options
from winnow.pool.splits import assign
from winnow.synthetic.scenes import generic_pictures

from common import SCORERS, arguments, finish, mean_deviation, need, table

MODELS = {"AE": False, "VAE": True}


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    need("fashion_mnist.npz")
    classes = range(0, 10, 3) if given.quick else range(10)
    most = 1500 if given.quick else 6000
    iterations = 200 if given.quick else 1500
    jobs = [(kind, seed, most, iterations, str(given.to)) for seed in range(given.seeds) for kind in classes]
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for (kind, seed, *_), values in zip(jobs, pool.map(one_class, *zip(*jobs, strict=True)), strict=True):
            for name, value in values.items():
                found[name][seed].append(value)
            text = ", ".join(f"{'/'.join(name)} {value:.4f}" for name, value in values.items())
            print(f"seed {seed}, class {kind}, {time.perf_counter() - started:.0f} s: {text}", flush=True)
    rows = [
        {
            "model": model,
            "scorer": scorer,
            "mean AUROC": mean_deviation(np.mean(values) for values in by_seed.values()),
            "worst class": float(min(min(values) for values in by_seed.values())),
        }
        for (model, scorer), by_seed in found.items()
    ]
    table(rows, f"Fashion-MNIST one-class, mean of {len(classes)} classes, {given.seeds} seeds")
    finish("fashion", started, rows=rows)


def one_class(kind: int, seed: int, most: int, iterations: int, folder: str) -> dict[tuple[str, str], float]:
    """Return AUROC of every model and scorer for one class and seed; a process of its own with one thread."""
    torch.set_num_threads(1)
    data = np.load(need("fashion_mnist.npz"))
    normal = data["x_train"][data["y_train"] == kind][:most, ..., None]
    test, inside = data["x_test"][..., None], data["y_test"] == kind
    values = {}
    if seed == 0:
        score = Detector(scorer="knn").fit(_flat(normal)).score(_flat(test))
        values["pixels", "knn"] = separation(score[inside], score[~inside])
    for name, variational in MODELS.items():
        train_options = {"seed": seed, "iterations": iterations, "loss": "sigma" if variational else "squared"}
        options = Options().updated({"model": {"variational": variational}, "train": train_options}, "bench")
        scores = one_model(normal, test, options, Path(folder) / f"fashion-{seed}-{kind}")
        values |= {(name, scorer): separation(s[inside], s[~inside]) for scorer, s in scores.items()}
    return values


def one_model(normal: np.ndarray, test: np.ndarray, options: Options, folder: Path) -> dict[str, np.ndarray]:
    """Score the test pictures by every scorer whose losses the model has."""
    seed = options.train.seed
    split = assign(
        np.arange(len(normal)).astype(str), seed, options.train.validate_share, options.train.calibrate_share
    ).split
    rows = {name: np.flatnonzero(split == name) for name in ("train", "validate", "calibrate")}
    model = build(options.model, (28, 28), 1, seed=seed)
    train(model, normal, rows, options.train, folder, resume=False)
    auxiliary = {
        "linear": Linear((28, 28), 1).fit(normal[rows["train"]]),
        "background": Linear((28, 28), 1).fit(generic_pictures(500, (28, 28), 1)),
    }
    known: Embeddings = encode(model, normal, seen=split != "calibrate", auxiliary=auxiliary)
    unknown = encode(model, test, auxiliary=auxiliary)
    values = {}
    for scorer in SCORERS:
        try:
            values[scorer] = Detector(scorer=scorer).fit(known).score(unknown)
        except DataError:
            continue
    return values


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


if __name__ == "__main__":
    main()
