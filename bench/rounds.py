"""Which pictures a next round of labels should be: herding by uncertainty, uncertainty alone, Uncertainty Herding, at random.

python bench/rounds.py [--quick] [--seeds 3] [--to FOLDER] [--backbone mobilenet_v2] [--sets player_crops,...]

A logistic regression on frozen embeddings, macro F1 on the test split; 20 pictures by herding, then 10 at a time (20 from 200 on) by
each rule. Uncertainty Herding (Bae et al. 2024, arXiv 2412.20644): margin, calibrated on held-out groups, weighs the coverage, whose
width is the distance of the two nearest labelled pictures. Each seed leaves out another tenth of the pool.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from known_sets import SIZES, WEIGHTS, known
from minutes import Task

from winnow.classify.cross_fit import probabilities
from winnow.classify.heads import Logistic
from winnow.run.suggest import held_out
from winnow.select import herding
from winnow.select.geometry import squared_distances
from winnow.select.uncertain import uncertainty

from common import finish, table

COUNTS = (25, 50, 75, 100, 150, 200, 300, 400)
FIRST, BATCH, LARGER, FROM = 20, 10, 20, 200
USUAL = herding.WIDTH
RULES = ("random", "herding", "entropy, herding", "margin, herding", "margin", "uncertainty herding")


def margin(chances: np.ndarray) -> np.ndarray:
    """Return 1 less the difference of the two most probable classes (n,)."""
    two = np.sort(chances, axis=1)[:, -2:]
    return np.asarray(1 - two[:, 1] + two[:, 0])


def chances_of(task: Task, rows: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities of the classes that the labels of `rows` hold."""
    classes, known_as = np.unique(task.truth[rows], return_inverse=True)
    temperature = 1.0
    if np.count_nonzero(np.bincount(known_as) >= 2) >= 2:
        twins = np.arange(len(rows)).astype(str)
        temperature = held_out(task.features[rows], known_as, task.groups[rows], twins).temperature
    head = Logistic().fit(task.features[rows], known_as, len(classes))
    return probabilities(head.logits(task.features), temperature)


def nearest_two(features: np.ndarray) -> float:
    """Return the least distance of two of some pictures."""
    apart = squared_distances(features, features)
    return float(np.sqrt(max(apart[np.triu_indices(len(features), 1)].min(), 1e-4)))


def after(task: Task, rule: str, rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows that a rule adds to the labelled `rows`."""
    everything = np.ones(len(task.truth))
    if rule == "random":
        return rng.permutation(np.setdiff1d(np.arange(len(task.truth)), rows))[:count]
    if rule == "herding" or len(set(task.truth[rows])) < 2:
        return task.herded(count, rows, everything)
    chances = chances_of(task, rows)
    if rule == "margin":
        free = np.setdiff1d(task.suggester.candidates, rows)
        return free[np.argsort(-margin(chances)[free], kind="stable")[:count]]
    width = nearest_two(task.suggester.features[rows]) if rule == "uncertainty herding" else USUAL
    with patch.object(herding, "WIDTH", width):
        return task.herded(count, rows, uncertainty(chances) if rule.startswith("entropy") else margin(chances))


def curve(task: Task, rule: str, counts: tuple[int, ...]) -> list[float]:
    """Return macro F1 at each count of labels."""
    rng, found = np.random.default_rng(task.seed), []
    rows = np.empty(0, int)
    first = "random" if rule == "random" else "herding"
    rows = after(task, first, rows, FIRST, rng)
    for count in counts:
        while len(rows) < count:
            rows = np.append(rows, after(task, rule, rows, BATCH if len(rows) < FROM else LARGER, rng))
        found.append(task.macro_f1(rows[:count]))
    return found


def main() -> None:
    """Print a table a set, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, to 100 labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="keep embeddings here")
    parser.add_argument("--sets", default=",".join(SIZES))
    parser.add_argument("--backbone", default="mobilenet_v2", choices=list(WEIGHTS))
    given, began = parser.parse_args(), time.perf_counter()
    to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    to.mkdir(parents=True, exist_ok=True)
    seeds, counts = (1, COUNTS[:4]) if given.quick else (given.seeds, COUNTS)
    figures: dict[str, Any] = {}
    for name in given.sets.split(","):
        data = known(to, name, given.backbone)
        found: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
        for seed in range(seeds):
            task = Task(data, seed)
            for rule in RULES:
                found[rule].append(curve(task, rule, counts))
            print(f"{name}: seed {seed} done", file=sys.stderr, flush=True)
        figures[name] = found
        table(
            [line(rule, values, found["entropy, herding"], counts) for rule, values in found.items()],
            f"{name}, {given.backbone}: macro F1, {seeds} seeds",
        )
    finish("rounds", began, counts=counts, figures=figures)


def line(rule: str, values: list[list[float]], today: list[list[float]], counts: tuple[int, ...]) -> dict[str, Any]:
    """Return a rule's row: the mean at each count, over all, and the difference from the rule of `winnow round` with its standard error."""
    row: dict[str, Any] = {"rule": rule} | {
        str(count): float(np.mean(column)) for count, column in zip(counts, zip(*values, strict=True), strict=True)
    }
    apart = np.mean(values, axis=1) - np.mean(today, axis=1)
    error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else float("nan")
    return row | {"mean": float(np.mean(values)), "less today's": f"{apart.mean():+.3f} ± {error:.3f}"}


if __name__ == "__main__":
    main()
