"""A person's minutes to a classifier: labels one by one at random or chosen, with suggestions, and in clusters.

python bench/minutes.py [--quick] [--seeds 3] [--to FOLDER] [--backbone mobilenet_v2] [--sets player_crops,...] [--ways random,...]

A simulated person, who knows the true class and nothing else, takes 0.7 s for a key and 0.3 s to accept a suggestion that is right
(one that is wrong costs the key that overrules it); 2 s to look at a group of look-alikes and label it, and 0.7 s more for each picture of
another class, which is unticked and stays open. Embeddings of a frozen network; after every few labels a logistic
regression on all labels so far is judged by macro F1 on the test split. Each seed leaves out another tenth of the pool.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from known_sets import SIZES, WEIGHTS, Known, known

from winnow.classify.heads import Logistic
from winnow.embeddings import Embeddings, unit_length
from winnow.label.live import RANDOM
from winnow.metrics.classification import Tally
from winnow.run.suggest import Suggester
from winnow.select.duplicates import distinct
from winnow.select.geometry import whitened
from winnow.select.herding import herding
from winnow.select.look_alikes import look_alikes
from winnow.select.uncertain import uncertainty

from common import finish, table

KEY, ACCEPT, GROUP = 0.7, 0.3, 2.0  # seconds
KEPT = 0.9  # of the pool, another part for each seed
TARGETS = (0.8, 0.9)
COUNTS = (20, 30, 40, 50, 65, 80, 100, 125, 160, 200, 250, 320, 400, 500, 650, 800, 1000, 1250, 1600, 2000)
FIRST, ROUND = 50, 50  # pictures that `winnow select` chooses before there is a label, and of a `winnow round`
GROUPS = 20  # labelled before the model's turn
CHOSEN = 10  # of these before the live model speaks
LEARNS, SHARE = 8, 12  # labels after which it has learnt again: so many, or this part of all labels


@dataclass
class Step:
    """What a person labels before the model is asked again: rows, and the seconds each took, by the name of the way."""

    rows: np.ndarray
    seconds: dict[str, np.ndarray]


class Task:
    """A thinned pool with the truth, and what chooses from it."""

    def __init__(self, data: Known, seed: int) -> None:
        rng = np.random.default_rng(1000 + seed)
        rows = np.sort(rng.permutation(data.pool)[: round(KEPT * len(data.pool))])
        vectors, n = data.vectors[rows], len(rows)
        self.classes, self.truth = np.unique(data.labels[rows].astype(str), return_inverse=True)
        self.seed, self.groups = seed, data.groups[rows]
        centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.groups_alike = look_alikes(vectors, 0.1)
        self.features, self.test = unit_length(vectors - centre), unit_length(data.vectors[data.test] - centre)
        self.tested = np.searchsorted(self.classes, data.labels[data.test].astype(str))
        stays = np.flatnonzero(distinct(vectors, 0.1))
        space = whitened(vectors, stays)
        embeddings = Embeddings.of(vectors, groups=self.groups)
        self.suggester = Suggester(embeddings, space, stays, np.arange(n), n)

    def target(self, rows: np.ndarray) -> np.ndarray:
        """Return the class number of each picture (n,), -1 but for the labelled `rows`."""
        found = np.full(len(self.truth), -1)
        found[rows] = self.truth[rows]
        return found

    def herded(self, count: int, start: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the next `count` pictures by herding over the candidates, as `winnow select` and `round` do."""
        own = self.suggester
        seen = np.append(np.setdiff1d(own.candidates, start), start)
        free = len(seen) - len(start)
        some = Embeddings.of(own.features[seen])
        where = np.arange(free, len(seen))
        rng = np.random.default_rng(self.seed)
        return seen[herding(some, min(count, free), rng, start=where, weights=weights[seen])]

    def macro_f1(self, rows: np.ndarray) -> float:
        """Return what the labels of some rows are worth on the test split."""
        said = Logistic().fit(self.features, self.target(rows), len(self.classes)).logits(self.test).argmax(axis=1)
        return Tally.of(self.tested, said, np.arange(len(said)), len(self.classes)).macro_f1


def one_by_one(name: str, rows: np.ndarray) -> Step:
    """Return a step of a key for each picture."""
    return Step(rows, {name: np.full(len(rows), KEY)})


def at_random(task: Task) -> Iterator[Step]:
    """Label pictures as they come."""
    yield one_by_one("random", np.random.default_rng(task.seed).permutation(len(task.truth)))


def in_rounds(task: Task) -> Iterator[Step]:
    """Label what `winnow select` chooses, then one `winnow round` after the other."""
    everything = np.ones(len(task.truth))
    rows = task.herded(FIRST, np.empty(0, int), everything)
    yield one_by_one("select, then rounds", rows)
    while True:
        known = np.unique(task.truth[rows])
        head = Logistic().fit(task.features, task.target(rows), len(task.classes))
        logits = head.logits(task.features)[:, known]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights = uncertainty(powers / powers.sum(axis=1, keepdims=True)) if len(known) > 1 else everything
        more = task.herded(ROUND, rows, weights)
        if not len(more):
            return
        rows = np.append(rows, more)
        yield one_by_one("select, then rounds", more)


def in_groups(task: Task, name: str = "groups of look-alikes", most: int = 10_000) -> Iterator[Step]:
    """Label groups of look-alikes, the largest first, each with the class that most of it has."""
    rows, number = task.groups_alike
    for group in range(min(most, int(number.max(initial=-1)) + 1)):
        own = rows[number == group]
        classes, counts = np.unique(task.truth[own], return_counts=True)
        ticked = own[task.truth[own] == classes[counts.argmax()]]
        seconds = GROUP + KEY * (len(own) - len(ticked))
        yield Step(ticked, {name: np.full(len(ticked), seconds / len(ticked))})


def live(task: Task) -> Iterator[Step]:
    """Label in the lane "next", without suggestions and with them."""
    rows = task.herded(CHOSEN, np.empty(0, int), np.ones(len(task.truth)))
    ways = "next", "next, suggestions"
    yield Step(rows, {way: np.full(len(rows), KEY) for way in ways})
    yield from learning(task, rows, *ways)


def groups_first(task: Task) -> Iterator[Step]:
    """Label a few groups of look-alikes, and go on in the lane "next"."""
    name, rows = f"{GROUPS} groups, then next, suggestions", np.empty(0, int)
    for step in in_groups(task, name, GROUPS):
        rows = np.append(rows, step.rows)
        yield step
    yield from learning(task, rows, "", name)


def learning(task: Task, rows: np.ndarray, blind: str, helped: str) -> Iterator[Step]:
    """Go on from the labelled `rows` in the lane "next"; without suggestions where `blind` names that way."""
    order = np.random.default_rng(task.seed).permutation(len(task.truth))
    while len(rows) < len(task.truth):
        count = max(LEARNS, len(rows) // SHARE)
        said = np.full(len(task.truth), -1)
        if np.count_nonzero(np.bincount(task.truth[rows]) >= 2) >= 2:
            found = task.suggester(task.target(rows), np.empty(0, int))
            said, best = found["kind"], found["next"]
        else:
            best = task.herded(count, rows, np.ones(len(task.truth)))
        by_lot = (np.arange(len(rows), len(rows) + count) % RANDOM == RANDOM - 1).sum()
        drawn = order[~np.isin(order, rows)][:by_lot]
        more = np.append(best[~np.isin(best, drawn)][: count - len(drawn)], drawn)
        rows = np.append(rows, more)
        seconds = {helped: np.where(said[more] == task.truth[more], ACCEPT, KEY)}
        yield Step(more, seconds | ({blind: np.full(len(more), KEY)} if blind else {}))


WAYS: dict[str, Callable[[Task], Iterator[Step]]] = {
    "random": at_random,
    "rounds": in_rounds,
    "live": live,
    "groups": in_groups,
    "groups first": groups_first,
}


def measured(task: Task, way: Callable[[Task], Iterator[Step]], most: int) -> dict[str, list[tuple[int, float, float]]]:
    """Return labels, minutes and macro F1 at each of `COUNTS`, by the name of the way."""
    rows, seconds = np.empty(0, int), {}
    curves: dict[str, list[tuple[int, float, float]]] = {}
    counts = [count for count in COUNTS if count <= min(most, len(task.truth))]
    for step in way(task):
        rows = np.append(rows, step.rows)
        for name, spent in step.seconds.items():
            seconds[name] = np.append(seconds.get(name, []), spent)
        while counts and len(rows) >= counts[0]:
            count = counts.pop(0)
            worth = task.macro_f1(rows[:count])
            for name, spent in seconds.items():
                curves.setdefault(name, []).append((count, float(spent[:count].sum()) / 60, worth))
        if not counts:
            break
    return curves


def minutes_to(curve: list[tuple[int, float, float]], target: float) -> float:
    """Return the minutes at the first count from which macro F1 reaches a target there and at the next; infinite where it never does."""
    worth = np.array([value for *_, value in curve])
    there = (worth >= target) & (np.append(worth[1:], worth[-1]) >= target)
    return curve[int(there.argmax())][1] if there.any() else float("inf")


def told(values: list[float]) -> str:
    """Return the median over seeds and the range; "-" where more than half of the seeds never get there."""
    median = float(np.median(values))
    if not np.isfinite(median):
        return "-"
    return f"{median:.1f} ({min(values):.1f}-{max(values):.1f})"


def main() -> None:
    """Print a table a set, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, to 200 labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="keep embeddings here")
    parser.add_argument("--sets", default=",".join(SIZES))
    parser.add_argument("--backbone", default="mobilenet_v2", choices=list(WEIGHTS))
    parser.add_argument("--ways", default=",".join(WAYS))
    given, began = parser.parse_args(), time.perf_counter()
    to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    to.mkdir(parents=True, exist_ok=True)
    seeds, most = (1, 200) if given.quick else (given.seeds, 2000)
    figures: dict[str, Any] = {}
    for name in given.sets.split(","):
        data = known(to, name, given.backbone)
        curves: dict[str, list[list[tuple[int, float, float]]]] = {}
        reached = []
        for seed in range(seeds):
            task = Task(data, seed)
            reached.append(task.macro_f1(np.arange(len(task.truth))))
            for way in given.ways.split(","):
                for told_as, curve in measured(task, WAYS[way], most).items():
                    curves.setdefault(told_as, []).append(curve)
                print(f"{name}: seed {seed}, {way} done", file=sys.stderr, flush=True)
        figures[name] = curves
        table(
            lines(curves),
            f"{name}, {given.backbone}: minutes to macro F1, median (range) of {seeds} seeds; all labels reach {np.mean(reached):.3f}",
        )
    finish("minutes", began, **figures)


def lines(curves: dict[str, list[list[tuple[int, float, float]]]]) -> list[dict[str, Any]]:
    """Return a row for each way: minutes to the targets, and to what random labels reach at 200 and 500."""
    rows = []
    for name, seeds in curves.items():
        row: dict[str, Any] = {"way": name}
        for target in TARGETS:
            row[f"F1 {target:.2f}"] = told([minutes_to(curve, target) for curve in seeds])
        for count in (200, 500):
            by_lot = [value for curve in curves.get("random", []) for at, _, value in curve if at == count]
            if by_lot:
                goal = float(np.mean(by_lot))
                row[f"{goal:.3f}, random's {count}"] = told([minutes_to(curve, goal) for curve in seeds])
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
