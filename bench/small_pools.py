"""What a choice is worth in pools of 30 to 3,700 pictures: herding on embeddings plain, whitened alike, and whitened by what stands out.

    python bench/small_pools.py [--quick] [--seeds 10] [--to FOLDER] [--sets player_crops,vests,cats_dogs,sports22]
        [--backbone mobilenet_v2] [--judge test|pool]

Each seed draws a pool of that size, chooses in it, and judges by the macro F1 of a logistic regression (C = 10, balanced, embeddings
centred and of length 1) on the unseen test split: the mean over half the labels, so many, and twice. `--judge pool` judges on other
pictures of the pool, by which the design was chosen: of other clips or photographs. Stable: the share of the choice that stays when
the embeddings change by a millionth.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
from known_sets import SIZES, Known, known

from winnow.embeddings import Embeddings, unit_length
from winnow.select import geometry
from winnow.select.herding import herding

from common import arguments, finish, mean_deviation, table

LABELS = {30: 8, 60: 12, 120: 20, 250: 40, 500: 60, 1000: 100, 3700: 125}
JUDGED = 1000  # pictures
WAYS = ("plain", "whitened alike", "whitened (now)")


def features_of(way: str, vectors: np.ndarray) -> np.ndarray:
    """Return what herding sees of embeddings (n, d)."""
    if way == "plain":
        return unit_length(vectors - vectors.mean(axis=0))
    now = geometry.CHANCE
    geometry.CHANCE = 0.0 if way == "whitened alike" else now
    try:
        return geometry.whitened(vectors)
    finally:
        geometry.CHANCE = now


def chosen(way: str, vectors: np.ndarray, n: int) -> np.ndarray:
    """Return n rows by herding."""
    return herding(Embeddings.of(features_of(way, vectors).astype(np.float32)), n, np.random.default_rng(0))


def macro_f1(features: np.ndarray, labels: np.ndarray, judged: np.ndarray, truth: np.ndarray) -> float:
    """Return macro F1 on judged pictures of a regression that learnt from some features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    if len(set(labels)) < 2:
        said = np.full(len(truth), labels[0])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(C=10, class_weight="balanced", max_iter=300).fit(features, labels)
        said = model.predict(judged)
    return float(f1_score(truth, said, average="macro", zero_division=0))


def drawn(data: Known, n: int, seed: int, judge: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a pool, n of them or fewer, and of the pictures that judge it."""
    rng, pool = np.random.default_rng([seed, n]), data.pool
    rest = np.flatnonzero(data.test)
    if judge == "pool":
        groups = rng.permutation(np.unique(data.groups[pool].astype(str)))
        inside = np.isin(data.groups[pool].astype(str), groups[: round(0.65 * len(groups))])
        pool, rest = pool[inside], pool[~inside]
    return rng.permutation(pool)[:n], rng.permutation(rest)[:JUDGED]


def measured(data: Known, n: int, seeds: int, judge: str) -> dict[str, object] | None:
    """Return a row of the table: a pool size of a set; None where the set has too few pictures."""
    values: dict[str, list[float]] = {}
    for seed in range(seeds if n <= 500 else max(1, seeds // 2)):
        rows, rest = drawn(data, n, seed, judge)
        if len(rows) < 0.8 * n and len(rows) < 1700:
            return None
        vectors, labels, rng = data.vectors[rows], data.labels[rows].astype(str), np.random.default_rng(seed)
        centre = vectors.mean(axis=0)
        own, other = unit_length(vectors - centre), unit_length(data.vectors[rest] - centre)
        budgets = sorted({max(4, LABELS[n] // 2), LABELS[n], min(2 * LABELS[n], round(0.6 * len(rows)))})
        picked = {way: [chosen(way, vectors, budgets[-1])] for way in WAYS}
        noisy = vectors * (1 + 1e-6 * rng.normal(size=vectors.shape)).astype(np.float32)
        for way in WAYS[1:]:
            again = chosen(way, noisy, budgets[-1])
            values.setdefault(f"stable, {way}", []).append(len(set(again) & set(picked[way][0])) / len(again))
        picked["random"] = [rng.permutation(len(rows)) for _ in range(3)]
        for way, lists in picked.items():
            scores = [
                macro_f1(own[some[:k]], labels[some[:k]], other, data.labels[rest].astype(str))
                for some in lists
                for k in budgets
            ]
            values.setdefault(way, []).append(float(np.mean(scores)))
    order = ("random", *WAYS, *(f"stable, {way}" for way in WAYS[1:]))
    return {"set": data.name, "pool": len(rows), "labels": LABELS[n]} | {
        name: mean_deviation(values[name]) if not name.startswith("stable") else float(np.mean(values[name]))
        for name in order
    }


def main() -> None:
    """Print one table, and the closing line of JSON."""
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--sets", default=",".join(SIZES))
    extra.add_argument("--backbone", default="mobilenet_v2")
    extra.add_argument("--judge", choices=("test", "pool"), default="test")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    rows = []
    for name in own.sets.split(","):
        data = known(given.to, name, own.backbone)
        for n in list(LABELS)[: 3 if given.quick else None]:
            row = measured(data, n, given.seeds, own.judge)
            if row is not None:
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    table(rows, f"Macro F1 on the {own.judge} pictures: mean ± standard deviation over the pools")
    finish("small_pools", started, rows=rows)


if __name__ == "__main__":
    main()
