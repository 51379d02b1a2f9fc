"""The article's table on other data: labels drawn at random, chosen by an autoencoder and k-means, and by ours; pseudo-labels.

python bench/article.py [--quick] [--seeds 5] [--to FOLDER] [--sets vests,player_crops,cats_dogs] [--picks random,autoencoder,ours]
                        [--budgets 125,200,500,1000] [--backbone tf_efficientnet_lite0] [--size 0] [--fine-tune] [--after 125]

Two classes a set, macro F1 on the test split (as the data card says: by photograph, by clip, as given); of `vests` as many pictures
of each class. Each seed leaves out another tenth of the pool. Heads on embeddings of a frozen network, or with `--fine-tune` the
whole network, where `--after` names the budgets that get pseudo-labels too. The autoencoder is that of the recipe `select-ae`, trained
once a set. "Kept always" is what pseudo-labels are worth without the stop rule, "right" the share of those tried that is right.
Embeddings and finished trainings are kept in the folder.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from always import kept_always
from known_sets import SIZES, WEIGHTS, known, listed, network, pixels
from selection import Part, Seen, interval, kept_by, ours

import winnow
from winnow.classify.classifier import ERRORS, Classifier
from winnow.classify.fine_tuned import FineTuning
from winnow.embeddings import unit_length
from winnow.learn.encode import encode
from winnow.metrics.classification import Tally
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_network

from common import finish, table

SETS = ("vests", "player_crops", "cats_dogs")
MOST = 500  # pseudo-labels in all


def autoencoded(to: Path, name: str) -> np.ndarray:
    """Return the embeddings (n, d) of a set's pictures by the recipe's autoencoder, trained on its pool; zeros of the test split."""
    rows = listed(name)
    file = to / f"{name}-autoencoder-{len(rows)}.npy"
    if not file.exists():
        listing = to / f"{name}-autoencoder.csv"
        with listing.open("w", encoding="utf-8", newline="") as opened:
            pool = [(path, group) for path, _, group, test in rows if not test]
            csv.writer(opened).writerows([("path", "group"), *pool])
        run = winnow.Run(to / f"{name}-autoencoder", "select-ae")
        run.ingest(listing)
        run.train(resume=True)
        ingested = Pool.open(run.folder.folder("ingest"))
        vectors = np.asarray(encode(load_network(run.folder), ingested).vectors)
        place = {str(source): row for row, source in enumerate(ingested.column("source"))}
        places = np.array([place.get(str(path), -1) for path, *_ in rows])
        np.save(file, np.where(places[:, None] >= 0, vectors[places], 0))
    return np.load(file)


class Task:
    """A set of two classes: embeddings, class numbers and groups of a pool and of a test split, as rows of the set."""

    def __init__(self, given: argparse.Namespace, name: str) -> None:
        self.name, self.given, self.size = name, given, given.size or SIZES[name]
        data = known(given.to, name, given.backbone, self.size)
        self.vectors, self.groups, self.labels = data.vectors, data.groups.astype(str), data.labels.astype(str)
        self.truth = np.unique(self.labels, return_inverse=True)[1]
        rng, parts = np.random.default_rng(0), []
        for part in (data.pool, np.flatnonzero(data.test)):
            kinds = [rng.permutation(part[self.truth[part] == kind]) for kind in (0, 1)]
            most = min(map(len, kinds)) if name == "vests" else len(part)
            parts.append(np.sort(np.concatenate([kind[:most] for kind in kinds])))
        self.pool, self.test = parts

    def macro_f1(self, chances: np.ndarray) -> float:
        """Return macro F1 on the test split of what is said of its pictures (n, 2)."""
        said = chances.argmax(axis=1)
        return Tally.of(self.truth[self.test], said, np.arange(len(said)), 2).macro_f1

    def choices(self, rows: np.ndarray, budgets: list[int], seed: int) -> dict[str, dict[int, np.ndarray]]:
        """Return the places in `rows` that are labelled, by the way of choosing and the number of labels."""
        order = np.random.default_rng(seed).permutation(len(rows))
        ways = {"random": lambda: {n: order[:n] for n in budgets}}
        ways["ours"] = lambda: ours(self._seen(self.vectors, rows), budgets, seed)
        ways["autoencoder"] = lambda: ours(
            self._seen(autoencoded(self.given.to, self.name), rows), budgets, seed, "kmeans"
        )
        return {way: ways[way]() for way in self.given.picks}

    def _seen(self, vectors: np.ndarray, rows: np.ndarray) -> Seen:
        return Seen.of(Part(vectors[rows], {}, self.labels[rows], self.groups[rows]))

    def classifier(
        self, rows: np.ndarray, labelled: np.ndarray, tuning: FineTuning | None, **options: Any
    ) -> Classifier:
        """Return the classifier fitted to the labels of some places of `rows`."""
        labels = np.full(len(rows), "", object)
        labels[labelled] = self.labels[rows[labelled]]
        folds = 3 if tuning else 5
        return Classifier(tuning=tuning, folds=folds, **options).fit(self.vectors[rows], labels, self.groups[rows])

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Return the pictures (n, size, size, 3) of some rows, as the network takes them."""
        paths = listed(self.name)
        return pixels([paths[row][0] for row in rows], self.size, self.size)


def head_cell(task: Task, rows: np.ndarray, labelled: np.ndarray, seed: int) -> dict[str, Any]:
    """Return what heads are worth with some labels: before and after pseudo-labels, and with a round that is kept always."""
    test = task.vectors[task.test]
    plain = task.classifier(rows, labelled, None, seed=seed)
    after = task.classifier(rows, labelled, None, seed=seed, pseudo=MOST)
    always, right, _ = always_kept(task, rows, labelled, None, seed=seed)
    found = {"before": plain.predict_proba(test), "after pseudo-labels": after.predict_proba(test)}
    return {name: task.macro_f1(chances) for name, chances in found.items()} | {
        "kept always": task.macro_f1(always.predict_proba(test)),
        "kept": len(after.pseudo_rows) > 0,
        "right": right,
    }


def always_kept(
    task: Task, rows: np.ndarray, labelled: np.ndarray, tuning: FineTuning | None, **options: Any
) -> tuple[Classifier, float, tuple[float, float]]:
    """Return the classifier after a round that is kept whatever the folds say, the share of its pseudo-labels that is right, and the
    rise of macro F1 by folds with its standard error."""
    with kept_always() as rises:
        found = task.classifier(rows, labelled, tuning, pseudo=MOST, rounds=1, **options)
    right = found.classes[found.pseudo_target] == task.labels[rows[found.pseudo_rows]]
    return found, float(right.mean()) if len(right) else float("nan"), rises[0]


class Tuned:
    """Fine-tuning of one set: the network, and its pictures of the pool and of the test split."""

    def __init__(self, task: Task) -> None:
        self.task, self.pool, self.tests = task, task.pictures(task.pool), task.pictures(task.test)
        self.network = network(task.given.backbone, (task.size, task.size))
        self.folder = task.given.to / "trainings" / task.name
        self.folder.mkdir(parents=True, exist_ok=True)

    def cell(self, kept: np.ndarray, labelled: np.ndarray, seed: int, after: bool) -> dict[str, Any]:
        """Return the same as `head_cell` for the whole network; without `after` one training, and no folds."""
        task, rows = self.task, self.task.pool[kept]
        tuning = FineTuning(self.network, self.pool[kept], seed=seed, folder=self.folder)
        before = self._alone(tuning, rows, labelled)
        if not after:
            return {"before": before}
        always, right, (gain, error) = always_kept(task, rows, labelled, tuning, seed=seed)
        assert always.network is not None
        value = task.macro_f1(always.predict_proba(encode(always.network, self.tests, quiet=True).vectors))
        kept_it = gain > ERRORS * error
        return {
            "before": before,
            "after pseudo-labels": value if kept_it else before,
            "kept always": value,
            "kept": kept_it,
            "right": right,
            "rise": (gain, error),
            "tried": len(always.pseudo_rows),
        }

    def _alone(self, tuning: FineTuning, rows: np.ndarray, labelled: np.ndarray) -> float:
        target = np.full(len(rows), -1)
        target[labelled] = self.task.truth[rows[labelled]]
        vectors = self.task.vectors[rows]
        centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        tuning.begin(unit_length(vectors - centre), centre, target).fit(np.arange(len(target)), target, 2)
        found = unit_length(encode(tuning.tuned, self.tests, quiet=True).vectors - centre)
        return self.task.macro_f1(tuning.linear.logits(found))


def one_set(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return all cells of a set, and print its table: mean and 95 % interval over the seeds."""
    task = Task(given, name)
    tuned = Tuned(task) if given.fine_tune else None
    cells: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for seed in range(given.seeds):
        kept = kept_by(seed, len(task.pool))
        rows = task.pool[kept]
        budgets = sorted({min(n, len(rows)) for n in given.budgets})
        for way, chosen in task.choices(rows, budgets, seed).items():
            for n in budgets:
                started = time.perf_counter()
                if tuned:
                    found = tuned.cell(kept, chosen[n], seed, n in given.after)
                else:
                    found = head_cell(task, rows, chosen[n], seed)
                cells.setdefault(way, {}).setdefault(n, []).append(found)
                print(
                    f"{name} {way} {n} seed {seed}: {found} {time.perf_counter() - started:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
    shown = ("before", "after pseudo-labels", "kept always", "right")
    lines = []
    for way, by_budget in cells.items():
        for what in shown:
            values = {n: np.array([one[what] for one in found if what in one]) for n, found in by_budget.items()}
            if any(len(value) for value in values.values()):
                known = {n: value[np.isfinite(value)] for n, value in values.items()}
                cell = {str(n): interval(value) if len(value) else "" for n, value in known.items()}
                lines.append({"labels": f"{way}, {what}"} | cell)
        kept_ones = [one["kept"] for found in by_budget.values() for one in found if "kept" in one]
        if kept_ones:
            lines[-1]["kept"] = f"{sum(kept_ones)} of {len(kept_ones)}"
    by = "fine-tuned" if tuned else "heads"
    table(lines, f"{name}, macro F1, {by}: {given.seeds} seeds, ± 95 % interval of the mean")
    return {way: {str(n): found for n, found in by_budget.items()} for way, by_budget in cells.items()}


def main() -> None:
    """Print a table per set, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of 125 labels")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--to", type=Path, help="keep embeddings and trainings here; those of bench/known_sets.py are used again"
    )
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--picks", default="random,autoencoder,ours")
    parser.add_argument("--budgets", default="125,200,500,1000")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", choices=list(WEIGHTS))
    parser.add_argument("--size", type=int, default=0, help="side of the pictures, instead of the set's own")
    parser.add_argument("--fine-tune", action="store_true", help="the whole network instead of heads")
    parser.add_argument("--after", default="125", help="budgets that get pseudo-labels too, with --fine-tune")
    given, started = parser.parse_args(), time.perf_counter()
    torch.set_num_threads(1)
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.picks = given.picks.split(",")
    given.budgets, given.after = ([int(n) for n in words.split(",") if n] for words in (given.budgets, given.after))
    if given.quick:
        given.seeds, given.budgets = 1, [125]
    figures = {name: one_set(given, name) for name in given.sets.split(",")}
    finish("article", started, **figures)


if __name__ == "__main__":
    main()
