"""Which pretrained network is the better default: one-class recognition on frozen embeddings, and fine-tuning.

    python bench/backbones.py [--quick] [--seeds 3] [--to FOLDER] [--parts oneclass,junk,finetune] [--backbones mobilenet_v2,...]

Pictures of the pools alone; no test split is looked at. `oneclass`: half of the groups of a class are given, at most 300
pictures, and the default detector judges the other half and the anomalous ones, at the size of the recipe (crops at 96x64).
`junk`: one picture in twenty of a pool is a photograph of sport; shares of both that `winnow select` takes for outliers.
`finetune`: so many labels at random from three fifths of the groups, then `--fine-tune` at its defaults, judged by macro F1 on
the other groups; beside it the logistic regression on frozen embeddings that it starts from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from known_sets import SIZES, WEIGHTS, known, listed, network, pixels
from sklearn.metrics import f1_score

from winnow import Detector, Embeddings
from winnow.classify.fine_tuned import FineTuning
from winnow.classify.heads import Logistic
from winnow.embeddings import unit_length
from winnow.learn.encode import encode
from winnow.metrics.detection import separation
from winnow.options import SelectOptions
from winnow.select.outliers import outliers_of

from common import finish, mean_deviation, table

NORMAL = {"football": "soccer", "player_crops": "player", "vests": "plain", "cats_dogs": "cats", "sports22": ""}
FRAME, CROP, SIDE = (144, 192), (96, 64), 96
GIVEN, LABELS = 300, 125


def one_class(to: Path, name: str, backbone: str, seeds: int) -> Iterator[dict[str, float]]:
    """Yield AUROC and the shares found and refused by the default threshold, for each seed and normal class."""
    found = known(to, name, backbone, CROP if name in ("player_crops", "vests") else FRAME)
    labels, groups, vectors = found.labels[found.pool], found.groups[found.pool].astype(str), found.vectors[found.pool]
    kinds = sorted(set(labels)) if name == "sports22" else [NORMAL[name]]
    for kind in kinds:
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            own = np.flatnonzero(labels == kind)
            names = rng.permutation(np.unique(groups[own]))
            given = own[np.isin(groups[own], names[: len(names) // 2])]
            unseen = np.setdiff1d(own, given)
            given = rng.permutation(given)[:GIVEN]
            detector = Detector().fit(Embeddings.of(vectors[given], ids=given.astype(str), groups=groups[given]))
            inside, outside = (detector.score(vectors[rows]) for rows in (unseen, np.flatnonzero(labels != kind)))
            cut = detector.threshold.value
            yield {
                "AUROC": separation(inside, outside),
                "found": float((outside > cut).mean()),
                "refused": float((inside > cut).mean()),
            }


def junk(to: Path, name: str, backbone: str, seed: int) -> dict[str, float]:
    """Return the shares of junk and of other pictures among the outliers of a pool of 1,000 that holds 5 % of it."""
    found, other = known(to, name, backbone), known(to, "sports22", backbone, SIZES[name])
    rng = np.random.default_rng(seed)
    own, wrong = rng.permutation(found.pool)[:950], rng.permutation(other.pool)[:50]
    groups = np.concatenate([found.groups[own], other.groups[wrong]]).astype(str)
    pool = Embeddings.of(np.concatenate([found.vectors[own], other.vectors[wrong]]), groups=groups)
    rows = outliers_of(Detector().fit(pool).score_own(pool), SelectOptions().outliers)
    return {"junk left out": float((rows >= 950).sum() / 50), "others left out": float((rows < 950).sum() / 950)}


def fine_tuned(to: Path, name: str, backbone: str, seed: int) -> tuple[float, float]:
    """Return macro F1 on groups not learnt from: of the head on frozen embeddings, and after fine-tuning."""
    found, files = known(to, name, backbone, SIDE), [path for path, *_ in listed(name)]
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(found.groups[found.pool].astype(str)))
    inside = np.isin(found.groups.astype(str), names[: round(0.6 * len(names))])
    learnt = rng.permutation(found.pool[inside[found.pool]])
    judged = rng.permutation(found.pool[~inside[found.pool]])[:1500]
    rows = np.concatenate([learnt[:LABELS], judged])
    classes, target = np.unique(found.labels[rows].astype(str), return_inverse=True)
    pictures = pixels([files[row] for row in rows], SIDE, SIDE)
    centre = found.vectors[learnt].mean(axis=0, dtype=np.float64).astype(np.float32)
    known_rows, rest = np.arange(LABELS), np.arange(LABELS, len(rows))
    truth = np.where(np.arange(len(rows)) < LABELS, target, -1)
    tuning = FineTuning(network(backbone, (SIDE, SIDE)), pictures, seed=seed, threads=1)
    features = unit_length(found.vectors[rows] - centre)
    tuning.begin(features, centre, truth).fit(known_rows, target[known_rows], len(classes))
    head = Logistic().fit(features, truth, len(classes), None).logits(features[rest])
    vectors = encode(tuning.tuned, pictures[rest], quiet=True).vectors
    tuned = tuning.linear.logits(unit_length(vectors - centre))
    worth = [float(f1_score(target[rest], logits.argmax(1), average="macro")) for logits in (head, tuned)]
    return worth[0], worth[1]


def means(
    sets: Sequence[str], backbones: Sequence[str], draws_of: Callable[[str, str], list[dict[str, float]]]
) -> list[dict[str, Any]]:
    """Return a row with mean and deviation of the draws of each set and network, told as they come."""
    rows = []
    for name in sets:
        for backbone in backbones:
            draws = draws_of(name, backbone)
            rows.append(
                {"set": name, "network": backbone}
                | {key: mean_deviation(draw[key] for draw in draws) for key in draws[0]}
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Print a table for each part, and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, football and vests")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="keep embeddings here")
    parser.add_argument("--parts", default="oneclass,junk,finetune")
    parser.add_argument("--sets", default=",".join(NORMAL), help="of `oneclass`; `finetune` takes those that are crops")
    parser.add_argument("--backbones", default=",".join(WEIGHTS))
    given, started = parser.parse_args(), time.perf_counter()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    given.to.mkdir(parents=True, exist_ok=True)
    seeds, sets = (1, ["football", "vests"]) if given.quick else (given.seeds, given.sets.split(","))
    torch.set_num_threads(1)
    backbones, figures = given.backbones.split(","), {}
    if "oneclass" in given.parts:
        figures["oneclass"] = means(
            sets, backbones, lambda name, backbone: list(one_class(given.to, name, backbone, seeds))
        )
        table(figures["oneclass"], "The default detector on embeddings")
    if "junk" in given.parts:
        figures["junk"] = means(
            [name for name in sets if name not in ("football", "sports22")],
            backbones,
            lambda name, backbone: [junk(given.to, name, backbone, seed) for seed in range(seeds)],
        )
        table(figures["junk"], "Outliers of a pool with 5 % of junk")
    if "finetune" in given.parts:
        figures["finetune"] = []
        for name in (name for name in sets if name in ("player_crops", "vests")):
            for seed in range(seeds):
                for backbone in backbones:
                    began = time.perf_counter()
                    head, tuned = fine_tuned(given.to, name, backbone, seed)
                    figures["finetune"].append(
                        {"set": name, "seed": seed, "network": backbone, "head": head, "fine-tuned": tuned,
                         "s": round(time.perf_counter() - began)}
                    )  # fmt: skip
                    print(figures["finetune"][-1], file=sys.stderr, flush=True)
        table(figures["finetune"], f"Macro F1, {LABELS} labels at random")
    finish("backbones", started, **figures)


if __name__ == "__main__":
    main()
