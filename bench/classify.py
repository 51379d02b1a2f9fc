"""The value of chosen labels and of pseudo-labels to the classifier on embeddings.

python bench/classify.py [--quick] [--seeds 5] [--to FOLDER] [--parts table,junk,many,sizes] [--sets player_crops,sports22,cats_dogs]

Frozen MobileNetV2 embeddings and Winnow's own head, judged on the test split; each seed leaves out another tenth of the pool.
`table`: rows as in Singh et al.: labels drawn at random, chosen by k-means on the embeddings of the recipe's autoencoder (player crops
only), chosen by `winnow select`; before and after pseudo-labels (`--pseudo 500`). `junk`: pseudo-labels with 5 % of other pictures
in the pool, with and without leaving out what the anomaly model flags. `many`: five labels a class of 22 sports, compared with
scikit-learn's logistic regression. `sizes`: 125 labels of cats and dogs, pictures of several sizes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from selection import JUNK_FROM, SIZES, Part, Seen, interval, ours, part_of, spoilt, thinned

from winnow.classify.classifier import Classifier

from common import finish, table

BUDGETS = (125, 200, 500, 1000)
PSEUDO = 500
TRAININGS = 3  # of the autoencoder; further seeds take them again
EACH = 5  # labels a class of `many`
SIDES = (112, 160, 224)  # of `sizes`
DRAWS = 5  # random choices a seed, of `sizes`


def labels_of(part: Part, rows: np.ndarray) -> np.ndarray:
    """Return the labels of `rows`, "" elsewhere; junk gets none, nor does a class with a single label, which cannot be measured."""
    labels = np.full(len(part.labels), "", object)
    rows = rows[part.labels[rows] != "junk"]
    names, counts = np.unique(part.labels[rows], return_counts=True)
    enough = rows[np.isin(part.labels[rows], names[counts > 1])]
    labels[enough] = part.labels[enough]
    return labels


def classifier_of(
    part: Part, rows: np.ndarray, by_group: bool, anomalous: np.ndarray | None = None, **options: Any
) -> Classifier:
    """Return the classifier fitted to the labels of `rows`."""
    labels = labels_of(part, rows)
    return Classifier(**options).fit(part.vectors, labels, part.groups if by_group else None, anomalous=anomalous)


def worth(name: str, said: np.ndarray, test: Part) -> float:
    """Return F1 of the referee, or accuracy, on the test split."""
    if name != "player_crops":
        return float((said == test.labels).mean())
    found, there = said == "referee", test.labels == "referee"
    return float(2 * (found & there).sum() / max(1, found.sum() + there.sum()))


def right(classifier: Classifier, part: Part) -> np.ndarray:
    """Return which of the kept pseudo-labels are right."""
    return classifier.classes[classifier.pseudo_target] == part.labels[classifier.pseudo_rows]


def lines_of(first: str, values: dict[str, list[list[float]]], columns: list[str]) -> list[dict[str, str]]:
    """Return rows of a table: mean and 95 % interval over the seeds."""
    return [
        {first: label} | {name: interval(column) for name, column in zip(columns, np.array(found).T, strict=True)}
        for label, found in values.items()
    ]


def before_and_after(given: argparse.Namespace, name: str, with_junk: bool) -> dict[str, Any]:
    """Return a table of a set, rows by budgets, of the classifier before and after pseudo-labels, and the effect of these."""
    pool, test = part_of(given.to, name, "pool", SIZES[name]), part_of(given.to, name, "test", SIZES[name])
    junk = part_of(given.to, JUNK_FROM[name], "pool", SIZES[name]) if with_junk else None
    crops = name == "player_crops"
    budgets = [n for n in BUDGETS if n <= 0.6 * len(pool.labels)]
    values: dict[str, list[list[float]]] = {}
    kept: dict[str, list[float]] = {}
    caught = []
    for seed in range(given.seeds):
        part = thinned(pool, seed)
        part = spoilt(part, junk, seed)[0] if junk else part
        seen = Seen.of(part)
        caught.append(float(seen.anomalous[part.labels == "junk"].mean()) if junk else 0.0)
        order = np.random.default_rng(seed).permutation(len(part.labels))
        chosen = {"random": {n: order[:n] for n in budgets}, "ours": ours(seen, budgets, seed)}
        if crops and not junk:
            own = thinned(part_of(given.to, name, "pool", (64, 64), "select-ae", seed % TRAININGS), seed)
            chosen["autoencoder, k-means"] = ours(Seen.of(own), budgets, seed, "kmeans")
        after = {"after pseudo-labels": seen.anomalous} | ({"after, anomalous ones as well": None} if junk else {})
        for method, rows in chosen.items():
            plain = [worth(name, classifier_of(part, rows[n], crops).predict(test.vectors), test) for n in budgets]
            values.setdefault(f"{method}, before", []).append(plain)
            for words, anomalous in after.items():
                found = [classifier_of(part, rows[n], crops, anomalous, pseudo=PSEUDO) for n in budgets]
                values.setdefault(f"{method}, {words}", []).append(
                    [worth(name, one.predict(test.vectors), test) for one in found]
                )
                kept.setdefault(words, []).extend(
                    float(right(one, part).mean()) for one in found if len(one.pseudo_rows)
                )
    measure = f"{'F1 of the referee' if crops else 'accuracy'}{', 5 % junk in the pool' if junk else ''}"
    table(
        lines_of("labels", values, [str(n) for n in budgets]),
        f"{name}, {measure}: {given.seeds} seeds, ± 95 % interval of the mean",
    )
    for words, shares in kept.items():
        changes = np.ravel(
            [np.subtract(values[f"{method}, {words}"], values[f"{method}, before"]) for method in chosen]
        )
        precision = f"{np.mean(shares):.3f} of them right, " if shares else ""
        print(f"{words}: kept in {len(shares)} of {changes.size} trials, {precision}changes {changes.min():+.4f} to {changes.max():+.4f}, "
              f"mean {changes.mean():+.4f} (standard error {changes.std(ddof=1) / np.sqrt(changes.size):.4f})")  # fmt: skip
    if junk:
        print(f"The one-class score calls {np.mean(caught):.3f} of the junk anomalous.")
    return {"values": values, "budgets": budgets, "precision": kept, "caught": caught}


def sklearn_says(part: Part, rows: np.ndarray, test: Part) -> np.ndarray:
    """Return the predictions of scikit-learn's default logistic regression on the embeddings as they are."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=5000).fit(part.vectors[rows], part.labels[rows]).predict(test.vectors)


def many(given: argparse.Namespace) -> dict[str, Any]:
    """Compare five labels a class, chosen by ours, drawn, and drawn class by class, each with several classifiers."""
    name = "sports22"
    pool, test = part_of(given.to, name, "pool", SIZES[name]), part_of(given.to, name, "test", SIZES[name])
    values: dict[str, list[list[float]]] = {}
    for seed in range(given.seeds):
        part, rng = thinned(pool, seed), np.random.default_rng(seed)
        seen, kinds = Seen.of(part), np.unique(part.labels)
        count = EACH * len(kinds)
        choices = {
            "drawn, five a class": np.concatenate(
                [rng.permutation(np.flatnonzero(part.labels == kind))[:EACH] for kind in kinds]
            ),
            "drawn": rng.permutation(len(part.labels))[:count],
            "ours": ours(seen, [count], seed)[count],
        }
        for choice, rows in choices.items():
            plain = classifier_of(part, rows, by_group=False)
            spread = classifier_of(part, rows, by_group=False, head="label_spreading")
            after = classifier_of(part, rows, by_group=False, anomalous=seen.anomalous, pseudo=PSEUDO)
            said = [sklearn_says(part, rows, test), *(one.predict(test.vectors) for one in (plain, spread, after))]
            found = [worth(name, one, test) for one in said]
            values.setdefault(choice, []).append(
                [*found, len(set(part.labels[rows])), *tried(plain, part, seen.anomalous)]
            )
    columns = [
        "scikit-learn",
        "ours",
        "ours, label_spreading",
        "ours, after pseudo-labels",
        "classes",
        "pseudo-labels tried",
        "right",
    ]
    table(
        lines_of("110 labels", values, columns), f"{name}, accuracy: {given.seeds} seeds, ± 95 % interval of the mean"
    )
    return {"columns": columns, "values": values}


def tried(classifier: Classifier, part: Part, anomalous: np.ndarray) -> tuple[int, float]:
    """Return how many pseudo-labels a round would add, kept or not, and the share of them that is right."""
    cross_fitter = classifier.cross_fitter
    free = (cross_fitter.target < 0) & ~anomalous
    target = cross_fitter.with_pseudo(cross_fitter.tuned(), PSEUDO, free).target
    rows = np.flatnonzero(free & (target >= 0))
    return len(rows), float((classifier.classes[target[rows]] == part.labels[rows]).mean())


def sizes(given: argparse.Namespace) -> dict[str, Any]:
    """Classify cats and dogs with 125 labels, by the side of the pictures that the network sees."""
    values: dict[str, list[list[float]]] = {}
    for side in SIDES:
        pool, test = (part_of(given.to, "cats_dogs", split, (side, side)) for split in ("pool", "test"))
        for seed in range(given.seeds):
            part, rng = thinned(pool, seed), np.random.default_rng(seed)
            drawn = [rng.permutation(len(part.labels))[:125] for _ in range(DRAWS)]
            chosen = ours(Seen.of(part), [125], seed)[125]
            own = [
                worth("cats_dogs", classifier_of(part, rows, by_group=False).predict(test.vectors), test)
                for rows in (*drawn, chosen)
            ]
            plain = [worth("cats_dogs", sklearn_says(part, rows, test), test) for rows in (*drawn, chosen)]
            found = [np.mean(plain[:-1]), plain[-1], np.mean(own[:-1]), own[-1]]
            values.setdefault(f"{side}x{side}", []).append([float(value) for value in found])
    columns = ["scikit-learn, drawn", "scikit-learn, chosen", "ours, drawn", "ours, chosen"]
    table(
        lines_of("pictures", values, columns),
        f"cats_dogs, accuracy with 125 labels: {given.seeds} seeds, ± 95 % interval of the mean",
    )
    return {"columns": columns, "values": values}


def main() -> None:
    """Print the tables of the parts asked for, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--to", type=Path, help="keep embeddings here; those of bench/selection.py are used again")
    parser.add_argument("--parts", default="table,junk,many,sizes")
    parser.add_argument("--sets", default=",".join(SIZES), help="of the parts table and junk")
    given, started = parser.parse_args(), time.perf_counter()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    given.seeds = 1 if given.quick else given.seeds
    parts, figures = given.parts.split(","), {}
    for name in given.sets.split(","):
        for part in ("table", "junk"):
            if part in parts:
                figures[f"{name} {part}"] = before_and_after(given, name, part == "junk")
    figures |= {part: measure(given) for part, measure in (("many", many), ("sizes", sizes)) if part in parts}
    finish("classify", started, **figures)


if __name__ == "__main__":
    main()
