"""Pictures of AITEX from few strips: what a threshold from so many held-out strips refuses and finds, over draws.

    python bench/strips.py [--quick] [--seeds 2] [--fabrics 03,01]

The good strips of a fabric are parted into thirds by chance, `--seeds` times, and the fast network of `inspect-texture` learns from each
third (6 strips, and one to validate). Of the strips that it has not seen so many set the threshold, the highest of their highest
patches, and the others are new: 200 divisions by chance of each. Patches: AUROC of damaged ones (15 mask pixels or more)
against those of strips not seen, and against the good ones of the same defective strips.

`two networks`: of two thirds each network judges the other's strips, so that all of them set the threshold, and the strips of the
last third are new: by the mean of both scores, or (CV+) called anomalous where both are above all that they have not seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from inspection import mask_pixels

from winnow import Run
from winnow.learn.encode import encode
from winnow.learn.fast import train_fast
from winnow.metrics.detection import separation
from winnow.models.registry import load_model
from winnow.pool.patches import DAMAGED_PIXELS
from winnow.pool.pool import Pool

from common import aitex, arguments, finish, mean_deviation, table

HELD = (3, 4, 7)
DIVISIONS = 200
ITERATIONS = 500
THIRDS = 3


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--fabrics", default="03,01")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    one: list[dict[str, Any]] = []
    two: list[dict[str, Any]] = []
    for fabric in own.fabrics.split(","):
        drawn = [Thirds(given.to, fabric, seed, given.quick) for seed in range(given.seeds)]
        one += [
            {"fabric": fabric, **_mean(row for thirds in drawn for row in thirds.one(held)), "held out": held}
            for held in HELD
        ]
        two += [
            {"fabric": fabric, "by": by, **_mean(row for thirds in drawn for row in thirds.two(by))}
            for by in ("mean", "CV+")
        ]
    table(one, "One network: strips refused and found, patches")
    table(two, "Two networks, each judging the other's strips")
    finish("strips", started, one=one, two=two)


class Thirds:
    """Networks trained on thirds of the good strips of a fabric, and the scores by each of all patches, good and of defective strips."""

    def __init__(self, folder: Path, fabric: str, seed: int, quick: bool) -> None:
        strips = aitex(fabric)
        good, bad = (_pool(folder / f"{name}-{fabric}", files) for name, files in (
            ("good", [*strips["train"], *strips["validation"]]), ("bad", strips["defect"])))  # fmt: skip
        self.source, self.bad_source = good.column("source").astype(str), bad.column("source").astype(str)
        self.names = np.unique(self.source)
        order = np.random.default_rng(seed).permutation(len(self.names))
        self.third = np.empty(len(self.names), int)
        for number in range(THIRDS):
            self.third[order[number::THIRDS]] = number
        self.of_patch = self.third[np.searchsorted(self.names, self.source)]
        pixels = mask_pixels(bad, strips["mask"][0].parent)
        self.torn, self.whole = pixels >= DAMAGED_PIXELS, pixels == 0
        self.defective = np.unique(self.bad_source[self.torn])
        options = Run(folder / f"good-{fabric}").folder.options.train
        self.good, self.bad = [], []
        for number in range(THIRDS):
            held = self.source == self.names[order[number]]
            rows = {"train": np.flatnonzero((self.of_patch == number) & ~held), "validate": np.flatnonzero(held)}
            place = folder / f"network-{fabric}-{seed}-{number}"
            if not (place / "model.json").exists():
                train_fast(
                    good, rows, options.model_copy(update={"fast": 100 if quick else ITERATIONS, "seed": number}), place
                )
            model = load_model(place)
            for found, pool in ((self.good, good), (self.bad, bad)):
                found.append(encode(model, pool, decode=False, device="cpu", quiet=True).losses["top_local_error"])

    def highest(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the highest patch, by a network, of each good and of each defective strip."""
        return _highest(self.source, self.names, self.good[number]), _highest(
            self.bad_source, self.defective, self.bad[number]
        )

    def one(self, held: int) -> list[dict[str, float]]:
        """Return a row for each network."""
        rows = []
        for number in range(THIRDS):
            good, defective = self.highest(number)
            unseen, rng, shares = good[self.third != number], np.random.default_rng(0), []
            for _ in range(DIVISIONS):
                order = rng.permutation(len(unseen))
                threshold = unseen[order[:held]].max()
                shares.append(((unseen[order[held:]] > threshold).mean(), (defective > threshold).mean()))
            refused, found = np.mean(shares, axis=0)
            good_patches, torn = self.good[number][self.of_patch != number], self.bad[number][self.torn]
            rows.append({"promised": 1 / (held + 1), "refused": refused, "found": found, "good strips": separation(good_patches, torn),
                         "same strips": separation(self.bad[number][self.whole], torn)})  # fmt: skip
        return rows

    def two(self, by: str) -> list[dict[str, float]]:
        """Return a row for each third that is new."""
        rows = []
        for new in range(THIRDS):
            first, second = (number for number in range(THIRDS) if number != new)
            # What each network has not seen of the strips that the two were trained on.
            limits = {a: self.highest(a)[0][self.third == b].max() for a, b in ((first, second), (second, first))}
            if by == "mean":
                limit = max(limits.values())
                good = _highest(self.source, self.names, (self.good[first] + self.good[second]) / 2) > limit
                bad = _highest(self.bad_source, self.defective, (self.bad[first] + self.bad[second]) / 2) > limit
            else:
                good, bad = (
                    np.all([self.highest(number)[part] > limits[number] for number in (first, second)], axis=0)
                    for part in (0, 1)
                )
            count = int((self.third != new).sum())
            rows.append({"promised": 1 / (count + 1), "refused": good[self.third == new].mean(), "found": bad.mean()})
        return rows


def _pool(folder: Path, files: list[Path]) -> Pool:
    run = Run(folder, "inspect-texture")
    if not run.folder.done("ingest"):
        run.ingest(files)
    return Pool.open(run.folder.folder("ingest"))


def _highest(sources: np.ndarray, names: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.array([scores[sources == name].max() for name in names])


def _mean(rows: Any) -> dict[str, Any]:
    rows = list(rows)
    return {key: mean_deviation(row[key] for row in rows) for key in rows[0]}


if __name__ == "__main__":
    main()
