"""Labels handed on to near-duplicates: how many pictures get one, how many of these are right, and what a head gains.

    python bench/propagate.py [--quick] [--seeds 5] [--to FOLDER]

The two-class tasks of bench/article.py, labels at random and chosen by ours. Pictures are near-duplicates as `winnow select` has
them (`stand_ins`): nearer than a share `near` of the usual distance, by default and twice, four and eight times as far. A group with
labels of one class alone hands it on to all its pictures, which then count as labelled. The gain is in macro F1 on the test split,
of a logistic regression on centred embeddings; mean and standard error over the seeds of all budgets (125, 200, 500, 1000).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from article import SETS, Task
from selection import kept_by

from winnow.classify.heads import Logistic
from winnow.embeddings import unit_length
from winnow.options import SelectOptions
from winnow.select.duplicates import stand_ins

from common import arguments, finish, table

BUDGETS = [125, 200, 500, 1000]
TIMES = (1, 2, 4, 8)


def main() -> None:
    """Print a table, and the closing line of JSON."""
    given, started, rows = arguments(__doc__), time.perf_counter(), []
    budgets = BUDGETS[:1] if given.quick else BUDGETS
    seeds = max(given.seeds, 2)
    for name in SETS:
        task = Task(
            argparse.Namespace(to=given.to, backbone="tf_efficientnet_lite0", size=0, picks=["random", "ours"]), name
        )
        for way, trials in tried(task, budgets, seeds).items():
            for times in TIMES:
                of_these = [one for one in trials if one["times"] == times]
                gains = np.array([one["gain"] for one in of_these])
                given_on, right = (sum(one[what] for one in of_these) for what in ("given on", "right"))
                rows.append(
                    {
                        "set": name,
                        "labels": way,
                        "near": SelectOptions().duplicate_distance * times,
                        "pictures that get a label, a trial": given_on / len(of_these),
                        "right": right / given_on if given_on else "",
                        "gain": f"{gains.mean():+.4f} ± {gains.std(ddof=1) / len(gains) ** 0.5:.4f}",
                        "worst": f"{gains.min():+.3f}",
                        "trials": len(gains),
                    }
                )
    table(rows, "Labels handed on to near-duplicates: gain in macro F1, ± standard error")
    finish("propagate", started, rows=rows)


def tried(task: Task, budgets: list[int], seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Return what each trial found, by the way of choosing."""
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        rows = task.pool[kept_by(seed, len(task.pool))]
        centre = task.vectors[rows].mean(axis=0, dtype=np.float64).astype(np.float32)
        own, test = (unit_length(task.vectors[some] - centre) for some in (rows, task.test))
        groups = {times: stand_ins(task.vectors[rows], SelectOptions().duplicate_distance * times) for times in TIMES}
        for way, chosen in task.choices(rows, [min(n, len(rows)) for n in budgets], seed).items():
            for labelled in chosen.values():
                target = np.full(len(rows), -1)
                target[labelled] = task.truth[rows[labelled]]
                before = task.macro_f1(Logistic().fit(own, target, 2).logits(test))
                for times, group in groups.items():
                    more, about = handed_on(target, group, task.truth[rows])
                    after = task.macro_f1(Logistic().fit(own, more, 2).logits(test))
                    found.setdefault(way, []).append({"times": times, "gain": after - before, **about})
    return found


def handed_on(target: np.ndarray, group: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return the classes (n,), -1 where there is none, with those that near-duplicates get, how many these are and how many right."""
    counts = np.zeros((len(target), 2), int)
    labelled = np.flatnonzero(target >= 0)
    np.add.at(counts, (group[labelled], target[labelled]), 1)
    new = np.flatnonzero((target < 0) & ((counts[group] > 0).sum(axis=1) == 1))
    more = target.copy()
    more[new] = counts[group[new]].argmax(axis=1)
    return more, {"given on": len(new), "right": int((more[new] == truth[new]).sum())}


if __name__ == "__main__":
    main()
