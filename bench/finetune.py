"""The table of Singh et al. on other data with MobileNetV2 fine-tuned as a whole: labels chosen, before and after pseudo-labels.

python bench/finetune.py [--quick] [--sets player_crops,cats_dogs] [--budgets 125,200,500,1000] [--seeds 5] [--to FOLDER]
                         [--picks random,autoencoder,ours] [--pseudo 125] [--cores 1]

Rows and choices as in bench/classify.py, judged on the test split; each seed leaves out another tenth of the pool. `--pseudo` names
the budgets that get pseudo-labels too (500 a class at most, one round), kept by the stop rule, and kept whatever it says. Finished
trainings are kept in the folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from always import kept_always
from classify import PSEUDO, TRAININGS, labels_of, right, worth
from selection import SIZES, Part, Seen, interval, kept_by, ours, part_of, rows_of, thinned

from winnow.classify.classifier import ERRORS, Classifier
from winnow.classify.fine_tuned import FineTuning
from winnow.embeddings import unit_length
from winnow.learn.encode import encode
from winnow.models.pretrained import Pretrained
from winnow.pool.pool import Pool

from common import finish, need, table


def pixels_of(to: Path, name: str, split: str) -> np.ndarray:
    """Return the pictures (n, h, w, 3) of a split, in the order of its part."""
    rows = rows_of(name, split)
    pool = Pool.open(to / f"{name}-{split}-pick-{SIZES[name][0]}-0-{len(rows)}" / "run" / "pool")
    place = {str(source): row for row, source in enumerate(pool.column("source"))}
    return pool.pixels(np.array([place[str(path)] for path, _, _ in rows]))


class Trial:
    """One set and seed: the pool's pictures, and what labels of some of them are worth."""

    def __init__(
        self, to: Path, name: str, pool: Part, pixels: np.ndarray, test: Part, tests: np.ndarray, seed: int
    ) -> None:
        self.part, self.pixels = thinned(pool, seed), pixels[kept_by(seed, len(pixels))]
        self.name, self.test, self.tests = name, test, tests
        self.groups = self.part.groups if name == "player_crops" else None
        self.network = Pretrained(pixels.shape[1:3], 3)
        self.network.load_weights(need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"))
        self.folder, self.seed = to / "trainings" / name, seed
        self.folder.mkdir(parents=True, exist_ok=True)

    def before(self, rows: np.ndarray) -> float:
        """Return the result on the test split with the labels alone: one training, and no folds."""
        labels = labels_of(self.part, rows)
        classes = np.unique(labels[labels != ""])
        target = np.array([int(np.searchsorted(classes, label)) if label else -1 for label in labels])
        centre = self.part.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        features = unit_length(self.part.vectors - centre)
        tuning = FineTuning(self.network, self.pixels, seed=self.seed, folder=self.folder)
        tuning.begin(features, centre, target).fit(np.arange(len(target)), target, len(classes))
        vectors = encode(tuning.tuned, self.tests, quiet=True).vectors
        said = classes[tuning.linear.logits(unit_length(vectors - centre)).argmax(axis=1)]
        return worth(self.name, said, self.test)

    def after(self, rows: np.ndarray) -> tuple[float, dict[str, Any]]:
        """Return the same after a round of pseudo-labels that is kept whatever the folds say, and the stop rule's verdict on it."""
        tuning = FineTuning(self.network, self.pixels, seed=self.seed, folder=self.folder)
        classifier = Classifier(folds=3, pseudo=PSEUDO, rounds=1, tuning=tuning, seed=self.seed)
        with kept_always() as rises:
            classifier.fit(self.part.vectors, labels_of(self.part, rows), self.groups)
        assert classifier.network is not None
        said = classifier.predict(encode(classifier.network, self.tests, quiet=True).vectors)
        (tried,), ((rise, error),) = classifier.done, rises
        precise = right(classifier, self.part)
        about = {
            "kept": rise > ERRORS * error,
            "rise": rise,
            "error": error,
            "added": sum(tried.counts),
        }
        return worth(self.name, said, self.test), about | {"right": float(precise.mean()) if len(precise) else None}


def one_set(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the table of a set: rows by budgets, mean and 95 % interval over the seeds."""
    pool, test = part_of(given.to, name, "pool", SIZES[name]), part_of(given.to, name, "test", SIZES[name])
    pixels, tests = pixels_of(given.to, name, "pool"), pixels_of(given.to, name, "test")
    budgets = [n for n in given.budgets if n <= 0.6 * len(pool.labels)]
    values: dict[str, dict[int, list[float]]] = {}
    rounds = []
    for seed in range(given.seeds):
        trial = Trial(given.to, name, pool, pixels, test, tests, seed)
        order = np.random.default_rng(seed).permutation(len(trial.part.labels))
        chosen = {"random": {n: order[:n] for n in budgets}, "ours": ours(Seen.of(trial.part), budgets, seed)}
        if name == "player_crops" and "autoencoder" in given.picks:
            own = thinned(part_of(given.to, name, "pool", (64, 64), "select-ae", seed % TRAININGS), seed)
            chosen["autoencoder"] = ours(Seen.of(own), budgets, seed, "kmeans")
        for pick in given.picks:
            for n in budgets if pick in chosen else ():
                started = time.perf_counter()
                found = {"before": trial.before(chosen[pick][n])}
                if n in given.pseudo:
                    always, about = trial.after(chosen[pick][n])
                    found |= {
                        "after pseudo-labels": always if about["kept"] else found["before"],
                        "after, always kept": always,
                    }
                    rounds.append({"pick": pick, "labels": n, "seed": seed, **about})
                    print(rounds[-1], file=sys.stderr, flush=True)
                for words, value in found.items():
                    values.setdefault(f"{pick}, {words}", {}).setdefault(n, []).append(value)
                print(
                    f"{name} {pick} {n} seed {seed}: {found} {time.perf_counter() - started:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
    lines = [
        {"labels": label} | {str(n): interval(np.array(found[n])) if n in found else "" for n in budgets}
        for label, found in values.items()
    ]
    what = "F1 of the referee" if name == "player_crops" else "accuracy"
    table(lines, f"{name}, {what}: {given.seeds} seeds, ± 95 % interval of the mean")
    return {"values": values, "rounds": rounds}


def main() -> None:
    """Print a table per set, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of 125 labels")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--to", type=Path, help="keep embeddings and trainings here; embeddings of bench/selection.py are used again"
    )
    parser.add_argument("--sets", default="player_crops,cats_dogs")
    parser.add_argument("--picks", default="random,autoencoder,ours")
    parser.add_argument("--budgets", default="125,200,500,1000")
    parser.add_argument("--pseudo", default="125")
    parser.add_argument("--cores", type=int, default=1)
    given, started = parser.parse_args(), time.perf_counter()
    torch.set_num_threads(given.cores)
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.picks = given.picks.split(",")
    given.budgets, given.pseudo = ([int(n) for n in words.split(",") if n] for words in (given.budgets, given.pseudo))
    if given.quick:
        given.seeds, given.budgets = 1, [125]
    figures = {name: one_set(given, name) for name in given.sets.split(",")}
    finish("finetune", started, **figures)


if __name__ == "__main__":
    main()
