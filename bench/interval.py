"""Does the interval that `winnow classify` promises hold the macro F1 on pictures of the test split?

    python bench/interval.py [--quick] [--seeds 50] [--first 0] [--to FOLDER] [--backbone tf_efficientnet_lite0]
                             [--sets player_crops,...] [--splits data,random]

In each draw 125 pictures, drawn at random (sports22: 250, for 22 classes), are labelled; the classifier learns from them, and its 95 %
interval by folds of whole groups is compared with macro F1 on the test pictures: those of the split of the data, and, labels
drawn anew, those of a fifth of all groups at random. The interval knows the luck of the groups held out, not that a test is of another day,
and it is of new pictures on average: a test has an error of its own, which "with the test's error" adds to both sides (by bootstrap
over its groups).
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from known_sets import SIZES, WEIGHTS, Known, known

from winnow.classify.classifier import Classifier
from winnow.metrics.classification import NORMAL, Tally, f1_drawn, standard_error

from common import arguments, finish, table

LABELS = {"sports22": 250}
BESIDE = 300  # unlabelled pictures that the embeddings are centred with


def drawn(found: Known, count: int, seed: int, test: np.ndarray) -> tuple[float, float, float, float, float]:
    """Return macro F1 as held out, its interval, macro F1 on the test split, and the standard error of that."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(~test))[: count + BESIDE]
    labels = np.where(np.arange(len(rows)) < count, found.labels[rows], "").astype(object)
    classifier = Classifier(seed=seed).fit(found.vectors[rows], labels, found.groups[rows])
    tally = classifier.held_out.tally
    promised = tally.intervals(seed)
    low, high = (float("nan"),) * 2 if promised is None else promised[1]
    names = classifier.classes.astype(str).tolist()
    truth, said = found.labels[test].astype(str), classifier.predict(found.vectors[test]).astype(str)
    kinds = sorted({*names, *truth})
    own = Tally.of(*(np.searchsorted(kinds, of) for of in (truth, said)), found.groups[test], len(kinds))
    return tally.macro_f1, low, high, own.macro_f1, standard_error(f1_drawn([own], seed)[0])


def fifth(found: Known, seed: int) -> np.ndarray:
    """Return a mask of the pictures of a fifth of all groups."""
    groups = found.groups.astype(str)
    names = np.random.default_rng([seed, 1]).permutation(np.unique(groups))
    return np.isin(groups, names[: round(0.2 * len(names))])


def main() -> None:
    """Print a table, and the closing line of JSON."""
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--backbone", default="tf_efficientnet_lite0", choices=WEIGHTS)
    extra.add_argument("--sets", default=",".join(SIZES))
    extra.add_argument("--first", type=int, default=0, help="the first seed")
    extra.add_argument("--splits", default="data,random")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    rows, figures = [], {}
    for name in own.sets.split(","):
        found = known(given.to, name, own.backbone)
        count = LABELS.get(name, 125)
        for kind in own.splits.split(","):
            seeds = range(own.first, own.first + given.seeds)
            draws = np.array(
                [drawn(found, count, seed, found.test if kind == "data" else fifth(found, seed)) for seed in seeds]
            )
            held, low, high, test, error = draws.T
            inside = (low <= test) & (test <= high)
            within = (held - np.hypot(held - low, NORMAL * error) <= test) & (
                test <= held + np.hypot(high - held, NORMAL * error)
            )
            rows.append(
                {
                    "set": name,
                    "labels": count,
                    "split": kind,
                    "as held out": float(held.mean()),
                    "on the test": float(test.mean()),
                    "interval": f"{low.mean():.3f} to {high.mean():.3f}",
                    "holds it": f"{inside.sum()} of {len(draws)}",
                    "test below": int((test < low).sum()),
                    "above": int((test > high).sum()),
                    "with the test's error": f"{within.sum()} of {len(draws)}",
                }
            )
            figures[f"{name}, {kind}"] = draws
            print(rows[-1], file=sys.stderr, flush=True)
    table(rows, f"{own.backbone}: the promised interval and the test")
    finish("interval", started, rows=rows, draws=figures)


if __name__ == "__main__":
    main()
