"""Inspection of products that nobody tuned on: magnetic tiles and ball screws, whole pictures, learnt from good ones alone.

    python bench/products.py [--quick] [--seeds 3] [--parts ours,peers] [--products tile,screw,bolt] [--sizes 10,20,50,150]
        [--recipes inspect] [--weights FILE] [--set NAME=VALUE ...] [--modes MODE,...] [--peer-python PATH] [--json FILE]

A draw is a choice by chance of so many good pictures to learn from; of a seed the smaller ones are part of the larger ones. Of the
tiles the other good ones are unseen, at most 115 of them, and the same for all sizes up to 50. Of the ball screws half of the
places on the spindle are learnt from (their names as groups, which ours is told), and the good pictures of the other places are
unseen. Bolts are drawn (`bench/bolts.py`): a product that lies anywhere, at any angle. `sorted`: the first 50 tiles by name, all
of other exposures than the unseen ones. The odd defects are every second of each kind by name; they inform no choice.

`ours`: each recipe with the options of `--set` (values as JSON, or text). `peers`: anomalib's PaDiM and PatchCore with the
MobileNetV2 file of the data at 256x256, `--peer-python` being the Python of an environment with anomalib; each sets its threshold
by a fifth of the pictures. "found at 5 %" is at the threshold that truly refuses 5 % of the unseen good ones, which none knows.
AUPRO is of anomaly maps in the size of the pictures, good ones too. Pictures without a verdict are `unjudged` and found by none.
Seconds include reading the files: give all one core (`taskset -c 0`, OMP_NUM_THREADS=1). What was measured is kept in `--to`,
and not measured again there.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bolts import drawn
from PIL import Image

from winnow import Run
from winnow.inspect.masks import masks_in, read_mask
from winnow.metrics.detection import separation
from winnow.metrics.pixels import aupro

from common import arguments, finish, mean_deviation, need, table, write_list

PEER = str(Path(__file__).with_name("anomalib_peer.py"))
PEERS = {"anomalib PaDiM": "Padim", "anomalib PatchCore, 1 % coreset": "Patchcore"}
PRODUCTS = {"tile": "magnetic_tile", "screw": "ball_screw"}
TITLES = {**PRODUCTS, "bolt": "drawn bolts"}
SORTED = 50  # tiles of the draw by name
UNSEEN = 115
SIDE = 256  # of the pictures that the peers see


@dataclass(frozen=True)
class Draw:
    """Good pictures to learn from and unseen ones, defects by kind, all by name; `groups` of what is learnt, where there are any."""

    product: str
    name: str
    size: int
    learn: list[Path]
    groups: list[str]
    good: list[Path]
    defects: dict[str, list[Path]]
    masks: Path

    @property
    def kinds(self) -> dict[str, list[Path]]:
        """Return all that is judged, "good" first."""
        return {"good": self.good, **self.defects}


def main() -> None:
    own = options()
    given, started = arguments(__doc__), time.perf_counter()
    sizes = [10] if given.quick else [int(size) for size in own.sizes.split(",")]
    rows, found = [], []
    for product in own.products.split(","):
        for size in sizes:
            root = drawn(given.to / "bolts") if product == "bolt" else need(PRODUCTS[product])
            chosen = [
                draw for draw in draws(root, product, size, given.seeds) if not given.quick or draw.name != "sorted"
            ]
            for names in (["sorted"], [draw.name for draw in chosen if draw.name != "sorted"]):
                these = [shortened(draw) if given.quick else draw for draw in chosen if draw.name in names]
                for who, results in measured(these, own, given.to, given.quick).items():
                    figures = [figures_of(draw, result) for draw, result in zip(these, results, strict=True)]
                    found += [{"product": product, "N": size, "draw": draw.name, "who": who, **one}
                              for draw, one in zip(these, figures, strict=True)]  # fmt: skip
                    rows.append({"product": product, "N": size, "draws": len(these) if names != ["sorted"] else "sorted",
                                 "who": who, **{key: mean_deviation(one[key] for one in figures) for key in figures[0]}})  # fmt: skip
    for product in own.products.split(","):
        table([row for row in rows if row["product"] == product], f"{TITLES[product]}: mean ± deviation over the draws")
    if own.json:
        own.json.write_text(json.dumps({"rows": rows, "draws": found}, indent=1), encoding="utf-8")
    finish("products", started, rows=rows, draws=found)


def options() -> argparse.Namespace:
    """Parse what only this benchmark has, and leave the rest to `arguments`."""
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--parts", default="ours,peers")
    extra.add_argument("--products", default=",".join(TITLES))
    extra.add_argument("--sizes", default="10,20,50,150")
    extra.add_argument("--recipes", default="inspect")
    extra.add_argument("--modes", default="", help="modes of ours, with commas between [default: the recipe's own]")
    extra.add_argument("--weights", type=Path, default=None)
    extra.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    extra.add_argument("--peer-python", default=sys.executable)
    extra.add_argument("--json", type=Path, help="write the figures there as well")
    own, sys.argv[1:] = extra.parse_known_args()
    return own


# ---- what is learnt from and judged


def draws(root: Path, product: str, size: int, seeds: int) -> list[Draw]:
    """Return the draws of so many good pictures, `sorted` first where it is one; none where there are too few pictures."""
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    good = [(root / row["path"], row.get("group", "")) for row in rows if row["class"] == "good"]
    defects: dict[str, list[Path]] = {}
    for row in rows:
        if row["class"] != "good":
            defects.setdefault(row["class"], []).append(root / row["path"])
    orders: dict[str, list[int]] = {"sorted": list(range(len(good)))} if product == "tile" and size == SORTED else {}
    orders |= {str(seed): np.random.default_rng(seed).permutation(len(good)).tolist() for seed in range(seeds)}
    found = []
    for name, order in orders.items():
        known, unseen = order, order[::-1]
        if product == "screw":
            places = np.random.default_rng(int(name)).permutation(sorted({group for _, group in good}))
            known, unseen = parted(order, [good[row][1] in places[: len(places) // 2] for row in order])
        elif len(order) - size < UNSEEN:
            unseen = unseen[: len(order) - size]
        if size > len(known) or not unseen:
            continue
        learn = sorted(known[:size])
        found.append(Draw(product, name, size, [good[row][0] for row in learn], [good[row][1] for row in learn],
                          [good[row][0] for row in sorted(unseen[:UNSEEN])], defects, root / "mask"))  # fmt: skip
    return found


def parted(order: list[int], chosen: list[bool]) -> tuple[list[int], list[int]]:
    """Return the rows that are chosen, and the others."""
    pairs = list(zip(order, chosen, strict=True))
    return [row for row, yes in pairs if yes], [row for row, yes in pairs if not yes]


def shortened(draw: Draw) -> Draw:
    """Return a draw with a part of what is judged."""
    parts = {kind: paths[::6] for kind, paths in draw.defects.items()}
    return Draw(draw.product, draw.name, draw.size, draw.learn, draw.groups, draw.good[::4], parts, draw.masks)


# ---- the systems


def measured(draws: list[Draw], own: argparse.Namespace, to: Path, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Return what each system made of each draw; a recipe is fitted once for all modes that are not kept in `to`."""
    systems: dict[tuple[str, ...], Any] = {}
    if "ours" in own.parts.split(","):
        given = {**({"iterations": 300, "check_every": 100} if quick else {}), **dict(map(option, own.set))}
        given |= {"weights": own.weights.resolve()} if own.weights else {}
        modes = own.modes.split(",")
        for recipe in own.recipes.split(","):
            words = [[recipe, mode, own.weights.stem if own.weights else "", *own.set] for mode in modes]
            names = tuple("winnow " + ", ".join(filter(None, each)) for each in words)
            systems[names] = (ours, recipe, modes, given)
    if "peers" in own.parts.split(",") and has_anomalib(own.peer_python):
        systems |= {(who,): (peer, kind, own.peer_python) for who, kind in PEERS.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for draw in draws:
        for names, (function, *arguments_of) in systems.items():
            stems = [
                f"{draw.product}-{draw.size}-{draw.name}-{who}{', quick' if quick else ''}".replace("/", "-").replace(
                    " ", "-"
                )
                for who in names
            ]
            if not all((to / f"{stem}.json").exists() for stem in stems):
                folder = to / f"{stems[0]}-at-work"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                for stem, result in zip(stems, function(folder, draw, *arguments_of), strict=True):
                    (to / f"{stem}.json").write_text(json.dumps(result), encoding="utf-8")
                    print(f"{stem}: fit {result['fit_s']:.1f} s", file=sys.stderr, flush=True)
                shutil.rmtree(folder)  # pools and maps of hundreds of pictures
            for who, stem in zip(names, stems, strict=True):
                found.setdefault(who, []).append(json.loads((to / f"{stem}.json").read_text(encoding="utf-8")))
    return found


def option(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE."""
    name, equal, value = text.partition("=")
    if not equal:
        sys.exit(f"--set {text} has no value: give NAME=VALUE, such as blank=0.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def ours(folder: Path, draw: Draw, recipe: str, modes: list[str], given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a recipe made of a draw by each mode, in a process of its own, so that neither memory nor caches are another's."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_ours, folder, draw, recipe, modes, given).result()


def _ours(folder: Path, draw: Draw, recipe: str, modes: list[str], given: dict[str, Any]) -> list[dict[str, Any]]:
    learn: Any = draw.learn
    if any(draw.groups):
        learn = write_list(folder / "learn.csv", zip(draw.learn, draw.groups, strict=True))
    run = Run(folder / "run", recipe, **given)
    begun = time.perf_counter()
    run.fit(learn)
    fit_s = time.perf_counter() - begun
    return [{"fit_s": fit_s, **_judged(run, draw, mode)} for mode in modes]


def _judged(run: Run, draw: Draw, mode: str) -> dict[str, Any]:
    begun = time.perf_counter()
    run.score([path for paths in draw.kinds.values() for path in paths], mode=mode)
    done, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = run.evaluate(draw.good, draw.defects, masks=draw.masks, mode=mode)
    scores: dict[str, dict[str, float]] = {kind: {} for kind in draw.kinds}
    with (found.folder / "scores.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kind = "good" if row["group"] == "belongs" else row["group"]
            scores[kind][Path(row["source"]).stem] = float(row["score"])
    return {"score_s": done - begun, "memory": memory, "threshold": found.threshold,
            "promised": found.false_alarm_rate_promised, "scores": scores, "aupro": found.masks and found.masks.aupro}  # fmt: skip


def has_anomalib(python: str) -> bool:
    """Return whether an environment has anomalib; say so where it has not."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('anomalib') is None)"
    found = subprocess.run([python, "-c", code], check=False).returncode == 0
    if not found:
        print(f"The peers are left out: {python} has no anomalib; give --peer-python.", file=sys.stderr)
    return found


def peer(folder: Path, draw: Draw, kind: str, python: str) -> list[dict[str, Any]]:
    """Return what a model of anomalib made of a draw, alone in a list."""
    for name, paths in {"train": draw.learn, **draw.kinds}.items():
        (folder / name).mkdir()
        for path in paths:
            (folder / name / path.name).symlink_to(path)
    maps = folder / "maps"
    maps.mkdir()
    weights = need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
    command = [
        python,
        PEER,
        "--size",
        str(SIDE),
        "--maps",
        str(maps),
        kind,
        str(folder),
        str(weights),
        "train",
        *draw.kinds,
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in found.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        sys.exit(f"{kind} of anomalib failed: {(found.stderr.strip().splitlines() or ['no result'])[-1]}")
    result = json.loads(line.removeprefix("RESULT"))
    named = result.pop("names")
    result["scores"] = {name: dict(zip(named[name], values, strict=True)) for name, values in result["scores"].items()}
    return [{**result, "aupro": map_aupro(draw, maps)}]


def map_aupro(draw: Draw, folder: Path) -> float:
    """Return the AUPRO of a peer's anomaly maps, enlarged to the sizes of the pictures."""
    known, maps, truths = masks_in(draw.masks), [], []
    for kind, paths in draw.kinds.items():
        for path in paths:
            with Image.open(path) as picture:
                width, height = picture.size
            small = Image.fromarray(np.load(folder / f"{path.stem}.npy"))
            maps.append(np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)))
            bad = kind != "good"
            truths.append(read_mask(known, str(path), (height, width)) if bad else np.zeros((height, width), bool))
    return aupro(maps, truths)


# ---- figures


def figures_of(draw: Draw, result: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a system on a draw."""
    judged = [result["scores"][kind] for kind in draw.kinds]
    least = min(score for scores in judged for score in scores.values())
    values = {kind: np.array([result["scores"][kind].get(path.stem, least - 1) for path in paths])
              for kind, paths in draw.kinds.items()}  # fmt: skip
    good = values.pop("good")
    bad, odd = (np.concatenate([value[part] for value in values.values()]) for part in (slice(None), slice(1, None, 2)))
    threshold, true = result["threshold"], float(np.quantile(good, 0.95))
    count = len(good) + len(bad)
    return {
        "AUROC": separation(good, bad),
        "odd ones": separation(good, odd),
        **({kind: separation(good, value) for kind, value in values.items()} if len(values) > 1 else {}),
        "good refused": float((good > threshold).mean()),
        "found": float((bad > threshold).mean()),
        "found at 5 %": float((bad > true).mean()),
        "odd ones found at 5 %": float((odd > true).mean()),
        "AUPRO": float("nan") if result["aupro"] is None else result["aupro"],
        "unjudged": float(count - sum(map(len, judged))),
        "fit s": result["fit_s"],
        "s a picture": result["score_s"] / count,
        "MiB": float(result["memory"]),
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes below
    main()
