"""The promise of `inspect`: good pictures refused against what was promised, over draws of so many good pictures.

    python bench/promise.py --weights FILE [--quick] [--draws 100] [--sizes 10,20,50] [--products tile,screw] [--estimate 0.02,0.01]

Each draw takes good pictures by chance, fits the recipe's scorer and threshold on them, and judges the other good ones; of the ball
screws, where pictures of one place on the spindle are alike, those of the other places. The pictures are encoded once.
With `--estimate` also what is refused where these rates, which cannot be promised, are estimated.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from products import PRODUCTS

from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings
from winnow.learn.encode import encode
from winnow.models.dense import Dense
from winnow.objects.crops import crops
from winnow.options import IngestOptions

from common import arguments, finish, need, table

SIZE = (384, 384)


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--weights", type=Path, required=True)
    extra.add_argument("--draws", type=int, default=100)
    extra.add_argument("--sizes", default="10,20,50")
    extra.add_argument("--estimate", default="", help="rates to estimate")
    extra.add_argument("--products", default=",".join(PRODUCTS))
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    rows, rates = [], [float(rate) for rate in own.estimate.split(",") if rate]
    for product in own.products.split(","):
        known = encoded(product, own.weights)
        for size in map(int, own.sizes.split(",")):
            rows.append(
                {
                    "product": product,
                    "N": size,
                    **over_draws(known, product, size, 5 if given.quick else own.draws, rates),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    table(rows, "Good pictures refused, over the draws")
    finish("promise", started, promise=rows)


def encoded(product: str, weights: Path) -> Embeddings:
    """Return the embeddings of all good pictures of a product, their places as groups."""
    root = need(PRODUCTS[product])
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["class"] == "good"), key=lambda row: row["path"])
    model = Dense(SIZE, 3)
    model.load_weights(weights)
    pixels = scaled_pictures([root / row["path"] for row in rows])
    groups = [row.get("group") or row["path"] for row in rows]
    return encode(model, pixels, groups=groups, ids=[row["path"] for row in rows], decode=False)


def scaled_pictures(paths: Iterable[Path]) -> np.ndarray:
    """Return pictures (n, h, w, 3) uint8 as `inspect` scales them."""
    options, found = IngestOptions(size=SIZE), []
    for path in paths:
        picture = np.asarray(Image.open(path).convert("RGB"))
        found += crops(picture, np.array([[0, 0, picture.shape[1], picture.shape[0]]]), options)
    return np.stack(found)


def over_draws(known: Embeddings, product: str, size: int, draws: int, rates: list[float]) -> dict[str, Any]:
    """Return the rates promised and seen over the draws: mean, spread, and how far the mean is known."""
    seen, promised, estimated = [], [], []
    for seed in range(draws):
        rng = np.random.default_rng([seed, size])
        order = rng.permutation(len(known))
        if product == "screw":
            places = rng.permutation(np.unique(known.groups.astype(str)))[: len(set(known.groups)) // 2]
            inside = np.isin(known.groups.astype(str)[order], places)
            learn, unseen = order[inside][:size], order[~inside]
        else:
            learn, unseen = order[:size], order[size:]
        detector = Detector("padim").fit(known[np.sort(learn)])
        seen.append(1 - float(detector.predict(known[unseen]).mean()))
        promised.append(detector.threshold.achieved)
        detector.estimate, scores = True, detector.score(known[unseen])
        cuts = [detector.with_threshold(rate).threshold for rate in rates]
        estimated.append([float((scores > cut.value).mean()) if cut.estimated else np.nan for cut in cuts])
    return {
        "draws": draws,
        "promised": float(np.mean(promised)),
        "refused": float(np.mean(seen)),
        "standard error": float(np.std(seen, ddof=1) / np.sqrt(draws)),
        "spread": float(np.std(seen, ddof=1)),
        "worst tenth": float(np.quantile(seen, 0.9)),
        **{
            f"at an estimated {rate:g}": float(np.mean(part))
            for rate, part in zip(rates, zip(*estimated, strict=True), strict=True)
        },
    }


if __name__ == "__main__":
    main()
