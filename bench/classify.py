"""What chosen labels and pseudo-labels are worth to the classifier on codes: the table of Singh et al. on other data.

python bench/classify.py [--quick] [--seeds 5] [--to FOLDER]

Frozen MobileNetV2 codes and Winnow's own head; rows as in the article: labels drawn at random, chosen by k-means on the codes of the
recipe's autoencoder (player crops only), chosen by `winnow select`; before and after pseudo-labels (`--pseudo 500`). Judged on the test
split; each seed leaves out another tenth of the pool.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from selection import SIZES, Part, interval, ours, part_of, thinned

from winnow.classify.classifier import Classifier

from common import finish, table

BUDGETS = (125, 200, 500, 1000)
PSEUDO = 500
TRAININGS = 3  # of the autoencoder; further seeds take them again


def judged(part: Part, test: Part, rows: np.ndarray, pseudo: int, by_group: bool) -> tuple[float, float]:
    """F1 of the referee or accuracy on the test split, and how many of the pseudo-labels that stayed were right."""
    labels = np.full(len(part.labels), "", object)
    names, counts = np.unique(part.labels[rows], return_counts=True)
    enough = rows[np.isin(part.labels[rows], names[counts > 1])]  # of one label nothing could be measured: such a class is left out
    labels[enough] = part.labels[enough]
    classifier = Classifier(pseudo=pseudo).fit(part.codes, labels, part.groups if by_group else None)
    said = classifier.predict(test.codes)
    truth = part.labels[classifier.pseudo_rows]
    right = float((classifier.classes[classifier.pseudo_target] == truth).mean()) if len(truth) else np.nan
    if not by_group:
        return float((said == test.labels).mean()), right
    found, there = said == "referee", test.labels == "referee"
    return float(2 * (found & there).sum() / max(1, found.sum() + there.sum())), right


def one_set(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """The table of a set: rows by budgets, mean and 95 % interval over the seeds."""
    pool, test = part_of(given.to, name, "pool", SIZES[name]), part_of(given.to, name, "test", SIZES[name])
    crops = name == "player_crops"
    budgets = [n for n in BUDGETS if n <= 0.6 * len(pool.labels)]
    values: dict[str, list[list[float]]] = {}
    precision: list[float] = []
    for seed in range(given.seeds):
        part = thinned(pool, seed)
        order = np.random.default_rng(seed).permutation(len(part.labels))
        chosen = {"random": {n: order[:n] for n in budgets}, "ours": ours(part, budgets, seed)}
        if crops:
            own = thinned(part_of(given.to, name, "pool", (64, 64), "selection", seed % TRAININGS), seed)
            chosen["autoencoder, k-means"] = ours(own, budgets, seed, "kmeans")
        for method, rows in chosen.items():
            for words, pseudo in (("before", 0), ("after pseudo-labels", PSEUDO)):
                found = [judged(part, test, rows[n], pseudo, crops) for n in budgets]
                values.setdefault(f"{method}, {words}", []).append([value for value, _ in found])
                precision += [right for _, right in found if not np.isnan(right)]
    lines = [
        {"labels": label} | {str(n): interval(column) for n, column in zip(budgets, np.array(found).T, strict=True)}
        for label, found in values.items()
    ]
    table(lines, f"{name}, {'F1 of the referee' if crops else 'accuracy'}: {given.seeds} seeds, ± 95 % interval of the mean")
    kept = f"{np.mean(precision):.3f} of the pseudo-labels were right" if precision else "no pseudo-label stayed"
    print(f"Pseudo-labels stayed in {len(precision)} of {len(budgets) * len(values) // 2 * given.seeds} trials; {kept}.")
    return {"values": values, "budgets": budgets, "precision": precision}


def main() -> None:
    """Prints a table a set, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--to", type=Path, help="keep codes here; those of bench/selection.py are used again")
    parser.add_argument("--sets", default=",".join(SIZES))
    given, started = parser.parse_args(), time.perf_counter()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.seeds = 1 if given.quick else given.seeds
    figures = {name: one_set(given, name) for name in given.sets.split(",")}
    finish("classify", started, **figures)


if __name__ == "__main__":
    main()
