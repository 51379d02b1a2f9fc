"""Which comparison `inspect` chooses by damaged copies of few good pictures, and which is the better one on real damage; over draws.

    python bench/choice.py --weights FILE [--backbone mobilenet_v2] [--quick] [--seeds 6] [--sizes 10,20]
        [--products tile,turned,screw,bolt]

Each draw takes so many good pictures by chance, as `bench/products.py` does. `inspect` draws defects into copies of them and chooses
the comparison that tells more of these from the good ones (`winnow.detect.election`); then each comparison learns from the draw and
is measured (AUROC) on real damage against unseen good pictures, which informed nothing. `turned`: tiles turned by quarters and mirrored,
good and damaged ones by chance, so that the same place is not the same part. All pictures are encoded once.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from bolts import drawn
from products import PRODUCTS, draws
from promise import SIZE, scaled_pictures

from winnow.detect.election import elect
from winnow.detect.registry import candidates, make_scorer
from winnow.embeddings import Embeddings
from winnow.learn.encode import encode
from winnow.metrics.detection import separation
from winnow.models.dense import Dense
from winnow.run.recipe import load_recipe
from winnow.run.synthetic import COPIES
from winnow.synthetic.defects import visible_damage

from common import arguments, finish, need, table

TURNED = "turned"


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--weights", type=Path, required=True)
    extra.add_argument("--backbone", default="mobilenet_v2")
    extra.add_argument("--sizes", default="10,20")
    extra.add_argument("--products", default=f"tile,{TURNED},screw,bolt")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    names, rows = candidates(load_recipe("inspect").options.detect.scorer), []
    for product in own.products.split(","):
        known = Known(product, given.to, own.backbone, own.weights)
        for size in map(int, own.sizes.split(",")):
            for draw in draws(known.root, known.name, size, given.seeds):
                if draw.name == "sorted":
                    continue
                good, bad = known.of(draw.good), known.of([path for paths in draw.defects.values() for path in paths])
                learn = known.of(draw.learn, draw.groups)
                by_copies = elect(names, learn, known.damaged(draw.learn))
                real = {name: auroc(name, learn, good, bad) for name in names}
                chosen = max(by_copies, key=lambda name: by_copies[name], default=names[0])
                rows.append({"product": product, "N": size, "draw": draw.name, "chosen": chosen,
                             "right": real[chosen] == max(real.values()), "lost": max(real.values()) - real[chosen],
                             **{f"copies, {name}": value for name, value in by_copies.items()},
                             **{f"real, {name}": value for name, value in real.items()}})  # fmt: skip
                print(rows[-1], file=sys.stderr, flush=True)
    table(rows, "The choice by damaged copies, and AUROC on real damage")
    table(summary(rows), "Draws in which the choice was the better one")
    finish("choice", started, choice=rows)


class Known:
    """All pictures of a product, scaled and encoded, by their paths."""

    def __init__(self, product: str, folder: Path, backbone: str, weights: Path) -> None:
        self.name = "tile" if product == TURNED else product
        self.root = drawn(folder / "bolts") if product == "bolt" else need(PRODUCTS[self.name])
        with (self.root / "index.csv").open(encoding="utf-8") as file:
            paths = sorted(self.root / row["path"] for row in csv.DictReader(file))
        self.pixels = scaled_pictures(paths)
        if product == TURNED:
            self.pixels = turned(self.pixels)
        self.row = {path: row for row, path in enumerate(paths)}
        self.model = Dense(SIZE, 3, backbone=backbone)
        self.model.load_weights(weights)
        self.embeddings = encode(self.model, self.pixels, ids=list(map(str, paths)), decode=False)

    def of(self, paths: list[Path], groups: list[str] | None = None) -> Embeddings:
        """Return the embeddings of some pictures, each a group of its own where none are given."""
        rows = self.embeddings[np.array([self.row[path] for path in paths])]
        named = groups if groups and any(groups) else rows.ids
        return Embeddings.of(rows.vectors, ids=rows.ids, groups=named, cells=rows.cells)

    def damaged(self, paths: list[Path]) -> Embeddings:
        """Return the embeddings of damaged copies of some pictures, with their ids, drawn as `winnow calibrate` draws them."""
        copies = np.repeat([self.row[path] for path in paths], max(1, round(COPIES / len(paths))))
        pixels = visible_damage(self.pixels[copies], np.random.default_rng([0, 3]))[0]
        return encode(self.model, pixels, ids=list(self.embeddings.ids[copies]), decode=False)


def turned(pixels: np.ndarray) -> np.ndarray:
    """Return square pictures (n, h, h, c) turned by quarters and mirrored by chance."""
    rng = np.random.default_rng(0)
    return np.stack([np.rot90(picture, rng.integers(4))[:, :: rng.choice((-1, 1))] for picture in pixels])


def auroc(name: str, learn: Embeddings, good: Embeddings, bad: Embeddings) -> float:
    """Return the AUROC of a scorer that learnt from a draw."""
    scorer: Any = make_scorer(name).fit(learn)
    return separation(scorer.score(good), scorer.score(bad))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each product and number of pictures."""
    kinds = dict.fromkeys((row["product"], row["N"]) for row in rows)
    parts = {kind: [row for row in rows if (row["product"], row["N"]) == kind] for kind in kinds}
    return [
        {"product": product, "N": size, "right": f"{sum(row['right'] for row in part)} of {len(part)}",
         "lost where wrong": float(np.mean([row["lost"] for row in part if not row["right"]] or [0.0]))}
        for (product, size), part in parts.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
