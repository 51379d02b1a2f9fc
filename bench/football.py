"""Football: soccer frames are what belongs; American football (same green turf) and other sports are anomalous.

    python bench/football.py [--quick] [--seeds 3] [--paper ITERATIONS]

Trained on 367 soccer frames of 12 groups at 80x60, tested on 88 frames of four other clips against 1191 frames of American
football and 1260 pictures of 21 other sports. Every scorer of Winnow on every model; the threshold comes from training
groups alone. `--paper` trains the article's network instead, 110 million parameters, for so many iterations.
TPR and FPR are the article's pair, with what belongs as the positive class: the share of soccer accepted (1 - false-alarm
rate) and the share of the anomalous accepted (1 - detection rate).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from winnow import Detector, Embeddings, Run
from winnow.errors import DataError
from winnow.learn.encode import encode
from winnow.metrics.detection import separation
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_auxiliary, load_network

from common import SCORERS, arguments, finish, football_lists, mean_deviation, need, table

ANOMALOUS = ("american", "sports")
MODELS = {
    "AE strided": {"recipe": "oneclass-from-scratch"},
    "VAE strided": {"recipe": "oneclass-from-scratch", "variational": True, "loss": "sigma"},
}


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--paper", type=int, metavar="ITERATIONS")
    paper, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    lists = football_lists(given.to, 300 if given.quick else 100_000)
    rows: list[dict[str, object]] = []
    if paper.paper:
        network = {"recipe": "oneclass-vae", "iterations": paper.paper}
        rows += measure("VAE of the article", network, lists, given.to, range(given.seeds))
    else:
        weights = need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
        rows += measure("MobileNetV2, frozen", {"recipe": "oneclass", "weights": weights}, lists, given.to, range(1))
        rows += baselines(lists, given.to)
        for name, options in MODELS.items():
            short = {"iterations": 300} if given.quick else {}
            rows += measure(name, {**options, **short}, lists, given.to, range(given.seeds))
    table(rows, "Football against the anomalous (AUROC; rates at thresholds from training groups alone)")
    print("\nPublished (Afolabi 2020): true positive rate 0.93, false positive rate 0.31.")
    finish("football", started, rows=rows)


def measure(name: str, options: dict, lists: dict[str, Path], folder: Path, seeds: range) -> Iterator[dict]:
    """Train one model per seed and yield a row for each scorer whose losses it has."""
    results: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        run = Run(folder / f"{name.replace(' ', '-')}-{seed}", **options, seed=seed)
        run.ingest([str(lists["train"])])
        training = run.train(resume=True).training
        seconds = training.seconds if training else 0.0
        run.encode()
        test = encode_lists(run, {key: path for key, path in lists.items() if key != "train"}, folder)
        for scorer in SCORERS:
            try:
                row = {**judge(scorer, run.embeddings, test), "train s": seconds}
            except DataError as error:
                print(f"  {name}, {scorer}: left out, {error.message}", file=sys.stderr)
                continue
            results.setdefault(scorer, []).append(row)
    print(f"{name}: measured", file=sys.stderr, flush=True)
    for scorer, found in results.items():
        yield {
            "model": name,
            "scorer": scorer,
            **{key: mean_deviation(result[key] for result in found) for key in found[0]},
        }


def encode_lists(run: Run, lists: dict[str, Path], folder: Path) -> dict[str, Embeddings]:
    """Return embeddings of the test lists with the run's model; pools are kept by picture size."""
    options, model, auxiliary = run.folder.options, load_network(run.folder), load_auxiliary(run.folder)
    result = {}
    for name, path in lists.items():
        where = folder / "pools" / "{}x{}".format(*options.ingest.size) / name
        ingest([str(path)], where, options.ingest)
        pool = Pool.open(where)
        result[name] = encode(model, pool, np.arange(len(pool)), groups=pool.column("group"), auxiliary=auxiliary)
    return result


def judge(scorer: str, normal: Embeddings, test: dict[str, Embeddings]) -> dict[str, float]:
    """Return AUROC against each anomalous group, and rates at thresholds for 5 % and 1 % false alarms."""
    detector = Detector(scorer=scorer, false_alarm_rate=0.05).fit(normal)
    scores = {name: detector.score(part) for name, part in test.items()}
    row = {f"AUROC {name}": separation(scores["soccer"], scores[name]) for name in ANOMALOUS}
    for rate in (0.05, 0.01):
        threshold = detector.with_threshold(rate, False).threshold.value
        row |= {
            f"{short} {rate:.0%}": float((scores[name] <= threshold).mean())
            for name, short in (("soccer", "TPR"), ("american", "FPR american"), ("sports", "FPR sports"))
        }
    return row


def baselines(lists: dict[str, Path], folder: Path) -> list[dict[str, object]]:
    """Evaluate PCA-32 on the pixels, and mean gradient energy alone."""
    pixels = {}
    for name, path in lists.items():
        run = Run(folder / f"pixels-{name}", "oneclass-from-scratch")
        run.ingest([str(path)])
        pool = Pool.open(run.folder.folder("ingest"))
        pixels[name] = pool.pixels(np.arange(len(pool))).astype(np.float32) / 255
    flat = {name: values.reshape(len(values), -1) for name, values in pixels.items()}
    pca = PCA(32, random_state=0).fit(flat["train"])
    error = {
        name: ((values - pca.inverse_transform(pca.transform(values))) ** 2).mean(1) for name, values in flat.items()
    }
    energy = {
        name: (np.diff(v, axis=1) ** 2).mean((1, 2, 3)) + (np.diff(v, axis=2) ** 2).mean((1, 2, 3))
        for name, v in pixels.items()
    }
    return [
        {
            "model": name,
            "scorer": "-",
            **{f"AUROC {anomalous}": f"{_either_way(s['soccer'], s[anomalous]):.3f}" for anomalous in ANOMALOUS},
        }
        for name, s in (("PCA-32 error", error), ("gradient energy alone", energy))
    ]


def _either_way(inside: np.ndarray, anomalous: np.ndarray) -> float:
    """Return the AUROC of a quantity without a direction of its own."""
    value = separation(inside, anomalous)
    return max(value, 1 - value)


if __name__ == "__main__":
    main()
