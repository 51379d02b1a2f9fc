"""Choosing pictures to label: the value of the labels, compared with other tools, with junk in the pool.

python bench/selection.py [--quick] [--seeds 5] [--to FOLDER] [--peers PYTHON] [--parts quality,junk,paper]
                          [--sets player_crops,sports22,cats_dogs]

`--peers` is a Python that has scikit-learn, apricot-select, scikit-activeml and lightly-mundig (the extra `bench`).
Quality: a logistic regression (balanced, C = 1, standardised embeddings) on frozen MobileNetV2 embeddings of the chosen pictures,
judged on the test split. Each seed leaves out another tenth of the pool. `paper`: the choice by the recipe's autoencoder.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

import winnow
from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings, unit_length
from winnow.learn.encode import encode
from winnow.pool.pool import Pool
from winnow.run.artifacts import load_network
from winnow.select.choose import choose
from winnow.select.duplicates import distinct
from winnow.select.outliers import outliers_of

from common import TEST_CLIPS, finish, need, table

BUDGETS = (25, 50, 125, 200, 500, 1000)
SIZES = {"player_crops": (96, 96), "sports22": (160, 160), "cats_dogs": (160, 160)}
JUNK_FROM = {"player_crops": "sports22", "sports22": "cats_dogs", "cats_dogs": "sports22"}
JUNK = 0.05
PEERS = ("KMeans + nearest", "apricot", "TypiClust", "lightly-mundig")
OTHERS = ("kmeans", "typiclust", "k-center", "anomalous")
DRAWS = 5  # random choices a seed: one would be mostly luck


@dataclass
class Part:
    """Embeddings of a pool or a test set with their labels and groups."""

    vectors: np.ndarray
    losses: dict[str, np.ndarray]
    labels: np.ndarray
    groups: np.ndarray


def rows_of(name: str, split: str) -> list[tuple[Path, str, str]]:
    """Return paths, groups and labels of a data set, split as the data card says."""
    root = need(name)
    if name == "player_crops":
        with (root / "index.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["class"] != "goalkeeper"]
        wanted = [row for row in rows if (row["clip"] in TEST_CLIPS) == (split == "test")]
        return [(root / row["path"], row["clip"], row["class"]) for row in wanted]
    if name == "cats_dogs":
        folder = root / ("test" if split == "test" else "train")
        return [(path, path.parent.name, path.parent.name) for path in sorted(folder.rglob("*.jpg"))]
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(folder.rglob("*.jpg"))
        cut = int(0.8 * len(paths))
        found += [(path, folder.name, folder.name) for path in (paths[:cut] if split == "pool" else paths[cut:])]
    return found


def part_of(
    to: Path, name: str, split: str, size: tuple[int, int], recipe: str = "select", seed: int = 0, most: int = 0
) -> Part:
    """Ingest, train where the recipe does, and encode; what is kept in `to` is used again."""
    rows = rows_of(name, split)
    rows = rows[:: max(1, len(rows) // most)] if most else rows
    folder = to / f"{name}-{split}-{recipe}-{size[0]}-{seed}-{len(rows)}"
    if not (folder / "vectors" / "embeddings.json").exists():
        listing = to / f"{folder.name}.csv"
        with listing.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "group"), *((path, group) for path, group, _ in rows)])
        options: dict[str, Any] = (
            {"backbone": "mobilenet_v2", "weights": need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")}
            if recipe == "select"
            else {}
        )
        run = winnow.Run(folder / "run", recipe, size=size, seed=seed, **options)
        run.ingest(listing)
        run.train(resume=True)
        pool = Pool.open(run.folder.folder("ingest"))
        encode(load_network(run.folder), pool).save(folder / "vectors")
    found = Embeddings.load(folder / "vectors")
    place = {str(source): row for row, source in enumerate(Pool.open(folder / "run" / "pool").column("source"))}
    order = [place[str(path)] for path, _, _ in rows]
    labels, groups = np.array([label for *_, label in rows]), np.array([group for _, group, _ in rows], dtype=object)
    return Part(
        np.asarray(found.vectors)[order], {key: value[order] for key, value in found.losses.items()}, labels, groups
    )


class Judge:
    """What a choice is worth: F1 of the referee, or accuracy, on the test set."""

    def __init__(self, name: str, pool: Part, test: Part) -> None:
        from sklearn.preprocessing import StandardScaler

        scale = StandardScaler().fit(pool.vectors)
        self.name, self.labels, self.truth = name, pool.labels, test.labels
        self.vectors, self.test = scale.transform(pool.vectors), scale.transform(test.vectors)

    def __call__(self, rows: np.ndarray) -> float:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

        labels = self.labels[rows]
        if len(set(labels)) < 2:
            said = np.full(len(self.truth), labels[0])
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced").fit(
                    self.vectors[rows], labels
                )
            said = model.predict(self.test)
        if self.name == "player_crops":
            return float(f1_score(self.truth, said, pos_label="referee", zero_division=0))
        return float((said == self.truth).mean())


@dataclass
class Seen:
    """A pool as the default detector, fitted on it, sees it: scores (n,), p-values (n,), and what it calls anomalous (n,)."""

    embeddings: Embeddings
    scores: np.ndarray
    p_values: np.ndarray
    anomalous: np.ndarray

    @classmethod
    def of(cls, part: Part) -> Seen:
        """Fit the anomaly model, and score each picture as if held out."""
        embeddings = Embeddings.of(part.vectors, losses=part.losses, groups=part.groups)
        detector = Detector().fit(embeddings)
        scores = detector.score_own(embeddings)
        return cls(embeddings, scores, detector.p_values(scores), scores > detector.threshold.value)


def ours(
    seen: Seen, budgets: Sequence[int], seed: int, method: str = "herding", **options: Any
) -> dict[int, np.ndarray]:
    """Choose as `winnow select` does: without outliers and near-duplicates, one list for all budgets."""
    embeddings = seen.embeddings
    usual = np.setdiff1d(np.arange(len(embeddings)), outliers_of(seen.scores, 3.0))
    candidates = usual[distinct(embeddings.vectors[usual], 0.1)]
    if method == "anomalous":
        options["weights"] = -np.log(seen.p_values)
    if method in ("kmeans", "typiclust"):  # anew for each budget: their lists are not choices for less
        return {n: choose(embeddings, n, method, seed=seed, candidates=candidates, **options).rows for n in budgets}
    rows = choose(embeddings, max(budgets), method, seed=seed, candidates=candidates, **options).rows
    return {n: rows[:n] for n in budgets}


def peers(
    python: str, part: Part, budgets: Sequence[int], seed: int, names: Sequence[str]
) -> dict[str, dict[int, np.ndarray]]:
    """Return the choices of other tools from the same embeddings, of length 1, in their own environment."""
    with tempfile.TemporaryDirectory() as folder:
        vectors = unit_length(part.vectors)
        np.save(Path(folder) / "vectors.npy", vectors)
        script = str(Path(__file__).parent / "selection_peers.py")
        words = [f"{folder}/vectors.npy", str(seed), ",".join(names), ",".join(map(str, budgets)), f"{folder}/rows.npz"]
        subprocess.run([python, script, *words], check=True)
        found = np.load(f"{folder}/rows.npz")
        return {name: {n: found[f"{name}/{n}"] for n in budgets} for name in names}


def kept_by(seed: int, count: int, share: float = 0.9) -> np.ndarray:
    """Return a random nine tenths of so many rows."""
    return np.sort(np.random.default_rng(1000 + seed).permutation(count)[: round(share * count)])


def thinned(part: Part, seed: int) -> Part:
    """Return a random nine tenths of a pool: the difference between two seeds of a deterministic method."""
    rows = kept_by(seed, len(part.labels))
    return Part(
        part.vectors[rows],
        {key: value[rows] for key, value in part.losses.items()},
        part.labels[rows],
        part.groups[rows],
    )


def spoilt(part: Part, junk: Part, seed: int) -> tuple[Part, np.ndarray]:
    """Return the pool with 5 % junk at the end, and which rows are junk."""
    rows = np.random.default_rng(seed).permutation(len(junk.labels))[: round(JUNK * len(part.labels))]
    losses = {key: np.r_[value, junk.losses[key][rows]] for key, value in part.losses.items()}
    whole = Part(
        np.r_[part.vectors, junk.vectors[rows]], losses, np.r_[part.labels, np.full(len(rows), "junk")],
        np.r_[part.groups, junk.groups[rows]],
    )  # fmt: skip
    return whole, np.arange(len(whole.labels)) >= len(part.labels)


def quality(given: argparse.Namespace, name: str, with_junk: bool) -> dict[str, Any]:
    """Return one table: methods by budgets, mean and 95 % interval over the seeds."""
    most = 600 if given.quick else 0
    pool, test = part_of(given.to, name, "pool", SIZES[name], most=most), part_of(given.to, name, "test", SIZES[name])
    junk = part_of(given.to, JUNK_FROM[name], "pool", SIZES[name], most=most) if with_junk else None
    budgets = [n for n in BUDGETS if n <= 0.6 * len(pool.labels)]
    values: dict[str, list[list[float]]] = {}
    picked: dict[str, list[list[int]]] = {}
    for seed in range(given.seeds):
        part = thinned(pool, seed)
        judge = Judge(name, part, test)
        mixed, bad = spoilt(part, junk, seed) if junk else (part, np.zeros(len(part.labels), bool))
        seen = Seen.of(mixed)
        rng = np.random.default_rng(seed)
        lists: list[tuple[str, dict[int, np.ndarray]]] = [("ours", ours(seen, budgets, seed))]
        also = OTHERS if name == "player_crops" and not junk else ()
        lists += [(f"ours: {method}", ours(seen, budgets, seed, method)) for method in also]
        lists += peers(given.peers, mixed, budgets, seed, PEERS).items() if given.peers else []
        for _ in range(DRAWS):
            order = rng.permutation(len(mixed.labels))
            lists.append(("random", {n: order[:n] for n in budgets}))
        drawn: dict[str, list[list[float]]] = {}
        for method, rows in lists:
            drawn.setdefault(method, []).append([judge(rows[n][~bad[rows[n]]]) for n in budgets])
            picked.setdefault(method, []).append([int(bad[rows[n]].sum()) for n in budgets])
        for method, found in drawn.items():
            values.setdefault(method, []).append(np.mean(found, axis=0).tolist())
        print(f"{name}{' with junk' if junk else ''}: seed {seed} done", file=sys.stderr, flush=True)
    lines = []
    for method, found in values.items():
        lines.append(
            {"method": method}
            | {str(n): interval(column) for n, column in zip(budgets, np.array(found).T, strict=True)}
        )
        lines[-1]["mean to 200"] = f"{np.mean(np.array(found)[:, :4]):.3f}"
        lines[-1]["mean"] = f"{np.mean(found):.3f}"
        if junk:
            lines[-1]["junk of 125"] = f"{np.mean(picked[method], axis=0)[budgets.index(125)]:.1f}"
    measure = "F1 of the referee" if name == "player_crops" else "accuracy"
    table(
        lines,
        f"{name}, {measure}{', 5 % junk in the pool' if junk else ''}: {given.seeds} seeds, ± 95 % interval of the mean",
    )
    return {method: {"budgets": budgets, "values": found} for method, found in values.items()}


def interval(column: np.ndarray) -> str:
    """Return mean and the half width of its 95 % interval."""
    if len(column) < 2:
        return f"{column.mean():.3f}"
    return (
        f"{column.mean():.3f} ± {student.ppf(0.975, len(column) - 1) * column.std(ddof=1) / np.sqrt(len(column)):.3f}"
    )


def paper(given: argparse.Namespace) -> dict[str, Any]:
    """Choose by the embeddings of the recipe's autoencoder, one training per seed; judge by the same embeddings."""
    name = "player_crops"
    pool, test = part_of(given.to, name, "pool", SIZES[name]), part_of(given.to, name, "test", SIZES[name])
    judge, values = Judge(name, pool, test), {}
    for seed in range(min(given.seeds, 3)):
        own = Seen.of(part_of(given.to, name, "pool", (64, 64), "select-ae", seed))
        for label, method, options in (
            ("k-means, random picture (the paper)", "kmeans", {"pick": "random"}),
            ("k-means, nearest picture", "kmeans", {}),
            ("herding", "herding", {}),
        ):
            rows = ours(own, BUDGETS, seed, method, **options)
            values.setdefault(label, []).append([judge(rows[n]) for n in BUDGETS])
    lines = [
        {"by embeddings of the autoencoder": label}
        | {str(n): interval(column) for n, column in zip(BUDGETS, np.array(found).T, strict=True)}
        for label, found in values.items()
    ]
    table(lines, "player_crops, F1 of the referee, pictures chosen by the recipe `select-ae`")
    return values


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed on 600 pictures of each pool")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--to", type=Path, help="keep embeddings here")
    parser.add_argument("--peers", default="", help="a Python with the other tools")
    parser.add_argument("--parts", default="quality,junk,paper")
    parser.add_argument("--sets", default=",".join(SIZES))
    given = parser.parse_args()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.seeds = 1 if given.quick else given.seeds
    return given


def main() -> None:
    """Print the tables of the parts asked for, and the closing line of JSON."""
    given, started = arguments(), time.perf_counter()
    parts, figures = given.parts.split(","), {}
    for name in given.sets.split(","):
        for part in ("quality", "junk"):
            if part in parts:
                figures[f"{name} {part}"] = quality(given, name, part == "junk")
    if "paper" in parts and not given.quick:
        figures["paper"] = paper(given)
    finish("selection", started, **figures)


if __name__ == "__main__":
    main()
