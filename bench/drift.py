"""Drift: false alarms over 200 unchanged streams of real pictures, and pictures until the alarm for changes of several kinds.

    python bench/drift.py [--quick] [--simulated] [--to FOLDER]

Football (frames of 15 clips and a match), magnetic tiles, AITEX fabric 01 (squares of 256 pixels); embeddings of the recipe `oneclass`,
once for each change. A stream: pictures dealt at random (of football by clip as well) into those that set the threshold, two fifths, and
those that come, each once in random order. A change: after the others, those that came are drawn again, changed, up to 300; what the
alarm names as changed is told for it, and what would be named of so many unchanged pictures.

`--simulated`: normal scores alone, 100 streams of 600 after 20, 50 and 200 that set the threshold at 5 %.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

import winnow
from winnow.detect.changes import WORDS, Directions, changed_rows, looks, usual, usual_positions
from winnow.detect.detector import Detector
from winnow.detect.drift import Drift
from winnow.detect.live_drift import LiveDrift, Look
from winnow.embeddings import Embeddings
from winnow.pool.pool import Pool

from common import aitex, arguments, finish, need, table, write_list

MOST = 300  # changed pictures until a change counts as missed
UNCHANGED = (13, 40, 75)  # pictures that no alarm was about


def moved(picture: Image.Image) -> Image.Image:
    """Return what a camera sees that was turned by a tenth of its field."""
    wide, high = picture.size
    return picture.crop((wide // 10, high // 10, wide, high)).resize((wide, high))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "darker by 10 %": lambda picture: picture.point(lambda value: value * 0.9),
    "darker by 20 %": lambda picture: picture.point(lambda value: value * 0.8),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 160)),
    "camera moved": moved,
}


def football() -> Iterator[tuple[str, str, Image.Image]]:
    """Yield kind, group and picture: good ones, and American football."""
    root = need("football")
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    yield from (("good", row["group"], _open(root / row["path"])) for row in rows if row["class"] == "soccer")
    yield from (("new class", "other", _open(root / row["path"])) for row in rows[::6] if row["class"] != "soccer")


def tiles() -> Iterator[tuple[str, str, Image.Image]]:
    """Yield good tiles, and damaged ones."""
    root = need("magnetic_tile")
    yield from (("good", path.stem, _open(path)) for path in sorted((root / "good").rglob("*.*")))
    yield from (("new class", "other", _open(path)) for path in sorted((root / "defect").rglob("*.*")))


def fabric() -> Iterator[tuple[str, str, Image.Image]]:
    """Yield squares of good strips of fabric 01, and of fabric 03."""
    for kind, name in (("good", "01"), ("new class", "03")):
        parts = aitex(name)
        for path in [*parts["train"], *parts["validation"]]:
            strip = _open(path)
            for left in range(0, strip.width - 255, 256):
                square = strip.crop((left, 0, left + 256, 256))
                if (np.asarray(square.convert("L")).std(axis=0) < 3).sum() <= 2:
                    yield kind, path.stem, square


SETS = {"football": football, "magnetic tiles": tiles, "AITEX 01": fabric}


def _open(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


@dataclass(frozen=True)
class Kind:
    """Pictures of one kind: their embeddings and looks, in the order of their files."""

    embeddings: Embeddings
    looks: dict[str, np.ndarray]


def embedded(name: str, folder: Path, quick: bool) -> tuple[dict[str, Kind], np.ndarray]:
    """Return the good pictures, "plain" and changed, and those of another class, and the groups of the good ones."""
    listed: list[tuple[Path, str]] = []
    groups: list[str] = []
    pictures = list(SETS[name]())[:: 3 if quick else 1]
    for number, (kind, group, picture) in enumerate(pictures):
        ways = {"plain": lambda one: one, **CHANGES} if kind == "good" else {kind: lambda one: one}
        groups += [group] if kind == "good" else []
        for way, change in ways.items():
            path = folder / way.replace(" ", "_").replace("%", "") / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            change(picture).save(path)
            listed.append((path, group))
    run = winnow.Run(
        folder / "run", "oneclass", device="cpu", weights=need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
    )
    run.ingest(write_list(folder / "list.csv", listed))
    run.train()
    run.encode()
    found, known = run.embeddings, Pool.open(run.folder.path / "pool")
    sources = dict(zip(known.column("id").tolist(), known.column("source").tolist(), strict=True))
    kinds = np.array([Path(str(sources[one])).parent.name for one in found.ids])
    order = np.argsort([Path(str(sources[one])).name for one in found.ids], kind="stable")
    parts = {}
    for kind in sorted(set(kinds.tolist())):
        rows = order[kinds[order] == kind]
        parts[kind] = Kind(found[rows], looks(known.pixels(known.rows_of(found.ids[rows]))))
    return parts, np.array(groups)


class Stream:
    """Bets on pictures against those that set the threshold, and what is said of a change."""

    def __init__(self, good: Kind, own: np.ndarray, seed: int) -> None:
        self.detector, self.own = Detector().fit(Embeddings.of(good.embeddings.vectors[own])), len(own)
        self.live = LiveDrift(Drift(self.detector.calibration, self.detector.threshold.value, seed=seed))
        directions = Directions.of(good.embeddings.vectors[own])
        assert directions
        self.directions = directions
        self.usual = usual({name: values[own] for name, values in good.looks.items()})
        self.usual |= usual_positions(directions.count)

    def come(self, kind: Kind, rows: np.ndarray) -> None:
        """Bet on pictures until they end or the alarm is raised; before the change `unchanged` ones had come."""
        self.unchanged = self.live.drift.blocks
        scores = self.detector.score(kind.embeddings.vectors[rows])
        for score, look in zip(scores, self.looks_of(kind, rows), strict=True):
            if not self.live.drift.alarmed:
                self.live.add("", float(score), lambda look=look: Look(look))

    def looks_of(self, kind: Kind, rows: np.ndarray) -> list[list[float]]:
        """Return the values of pictures by which a change is named."""
        places = self.directions.positions(kind.embeddings.vectors[rows])
        return [[*(kind.looks[name][row] for name in WORDS), *place] for row, place in zip(rows, places, strict=True)]

    def named(self, looked: list[list[float]]) -> list[str]:
        """Return what is told of as changed in pictures of such looks."""
        found = changed_rows(self.usual, self.own, np.array(looked)) if looked else []
        return [one.name for one in found if one.told]


def deal(groups: np.ndarray, rng: np.random.Generator, by_group: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that set the threshold, about two fifths, and those that come, in random order."""
    units = groups if by_group else np.arange(len(groups))
    names = rng.permutation(np.unique(units))
    sizes = np.cumsum([(units == one).sum() for one in names])
    chosen = np.isin(units, names[: max(2, int(np.searchsorted(sizes, 0.4 * len(units))))])
    return np.flatnonzero(chosen), rng.permutation(np.flatnonzero(~chosen))


SHIFTS: dict[str, tuple[float, int]] = {
    "none": (0, 0),
    "by 0.5 from the start": (0.5, 0),
    "by 1 from the start": (1, 0),
    "by 0.5 after 300": (0.5, 300),
    "by 1 after 300": (1, 300),
    "by 5 after 300": (5, 300),
}
"""By name: by how many standard deviations the scores rise, and after how many."""


def simulated() -> list[dict[str, str]]:
    """Return what is told of streams of normal scores: unchanged ones, with foreign scores 6 higher, and shifted ones."""
    rows = []
    for count in (20, 50, 200):
        random = np.random.default_rng(count)
        for name, share, (rise, after) in (
            *((f"{share:.0%} foreign", share, SHIFTS["none"]) for share in (0.05, 0.2)),
            *((f"scores rise {name}", 0.0, shift) for name, shift in SHIFTS.items()),
        ):
            at = []
            for seed in range(100):
                own = np.sort(random.normal(size=count))
                drift = Drift(own, own[min(count, math.ceil((count + 1) * 0.95)) - 1], seed=seed)
                scores = random.normal(size=600) + 6 * (random.random(600) < share) + rise * (np.arange(600) >= after)
                drift.extend(scores)
                at.append(np.inf if drift.at is None else drift.at - after)
            told = np.isfinite(at)
            rows.append({"set the threshold": str(count), "what comes": name, "told": f"{told.mean():.0%}",
                         "scores until, median of those told": f"{np.median(np.array(at)[told]):.0f}" if told.any() else ""})  # fmt: skip
    return rows


def main() -> None:
    """Print the tables."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--simulated", action="store_true")
    mine, sys.argv[1:] = own.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    if mine.simulated:
        rows = simulated()
        table(rows, "Simulated streams, alarm at 1 %")
        finish("drift", started, simulated=rows)
        return
    streams, alarms, delays, names = 20 if given.quick else 200, [], [], []
    for name in SETS:
        parts, groups = embedded(name, given.to / name.replace(" ", "_"), given.quick)
        good = parts.pop("plain")
        for by_group in (False, True) if name == "football" else (False,):
            rng, counts = np.random.default_rng(0), {0.01: 0, 0.05: 0}
            reached: dict[str, list[Stream]] = {kind: [] for kind in parts}
            chance: dict[int, list[list[str]]] = {count: [] for count in UNCHANGED}
            others = np.random.default_rng(1)
            for seed in range(streams):
                own, coming = deal(groups, rng, by_group)
                detector = Detector().fit(Embeddings.of(good.embeddings.vectors[own]))
                scores = detector.score(good.embeddings.vectors[coming])
                for alarm in counts:
                    drift = Drift(detector.calibration, detector.threshold.value, alarm=alarm, seed=seed)
                    drift.extend(scores)
                    counts[alarm] += drift.alarmed
                if seed % 5 or by_group:
                    continue
                unchanged = Stream(good, own, seed)
                unchanged.come(good, coming)
                for kind, other in parts.items():
                    count = len(other.embeddings)
                    rows = rng.choice(coming if count == len(good.embeddings) else count, MOST)
                    if not unchanged.live.drift.alarmed:
                        stream = copy.deepcopy(unchanged)
                        stream.come(other, rows)
                        reached[kind].append(stream)
                for count, those_named in chance.items():
                    some = others.choice(coming, count, replace=False)
                    those_named.append(unchanged.named(unchanged.looks_of(good, some)))
            dealt = "by clip" if by_group else "at random"
            alarms.append({"pictures": name, "dealt": dealt, "good": len(good.embeddings), "streams": streams}
                          | {f"alarms at {alarm:.0%}": f"{count / streams:.1%}" for alarm, count in counts.items()})  # fmt: skip
            for kind, those in reached.items():
                if those:
                    about = {"pictures": name, "change": kind.replace("_", " ").strip()}
                    delays.append(about | until(those))
                    told = [stream.named(stream.live.looks) for stream in those if stream.live.drift.alarmed]
                    names.append(about | named_by(told))
            if not by_group:
                for count, those_named in chance.items():
                    names.append({"pictures": name, "change": f"none, of {count}"} | named_by(those_named))
    table(alarms, "Alarms over unchanged streams")
    table(delays, f"Pictures until the alarm (at 1 %), of {MOST} at most")
    table(names, "What the alarms name, a share of them, and what is named of unchanged pictures")
    finish("drift", started, alarms=alarms, delays=delays, names=names)


def until(streams: list[Stream]) -> dict[str, object]:
    """Return how many of the streams were told to have changed, and after how many changed pictures."""
    at = [one.live.drift.at - one.unchanged if one.live.drift.at else np.inf for one in streams]
    return {"streams": len(at), "told": f"{np.isfinite(at).mean():.0%}", "pictures until, median": str(np.median(at))}


def named_by(said: list[list[str]]) -> dict[str, object]:
    """Return which share of what was `said` names each quantity, any direction of the embedding, and nothing."""
    share = {name: [name in names for names in said] for name in WORDS}
    share["directions"] = [any("direction" in one for one in names) for names in said]
    share["nothing"] = [not names for names in said]
    return {"trials": len(said)} | {name: f"{np.mean(values):.0%}" if said else "" for name, values in share.items()}


if __name__ == "__main__":
    main()
