"""Tracks: how right they are on drawn matches with truth, what they are on real films, and what a label of one is worth.

    python bench/tracks.py [--quick] [--seeds 3] [--to FOLDER] [--peer PYTHON] [--part linking|films|labels]

`linking`: matches of 30 seconds that no setting was chosen by. `label right`: the share of crops that get their true class when one
crop of each track, drawn at random, is labelled (two teams, keepers, referees); `same person`: the share that are of the person of
that crop; `switches`: how often a person's crops change their track, `mixed`: how often a track changes its person. By Winnow,
without how crops look, and by other libraries, where `--peer` names a Python that has norfair and trackers.
`films`: the three films of the data, with both detectors; contact sheets of every track into `--to`, to be looked at.
`labels`: 60 labels given to random crops, or to random tracks, of one match; average precision on another one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from drawn_match import KINDS, Moment, frames
from PIL import Image, ImageDraw

from winnow.embeddings import unit_length
from winnow.objects import tracks as linking
from winnow.objects.crops import crops
from winnow.options import IngestOptions

from common import finish, mean_deviation, need, table

FIRST = 10  # seed of the first match measured; 0 and 1 chose the settings
SIZE = IngestOptions(size=(64, 64))
LABELS, DRAWS = 60, 10
CLASSES = list(dict.fromkeys(KINDS))
FILMS = ("one-by-one-person-detection.mp4", "people-walking.mp4", "store-aisle-detection.gif")
DETECTORS = {"yolox_nano.onnx": 0.4, "FastestDet.onnx": 0.65}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, 20 seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--peer", help="a Python that has norfair and trackers")
    parser.add_argument("--part", choices=("linking", "films", "labels"))
    given = parser.parse_args()
    given.to = given.to or Path(tempfile.mkdtemp(prefix="winnow-tracks-"))
    given.to.mkdir(parents=True, exist_ok=True)
    started, seeds = time.perf_counter(), range(FIRST, FIRST + (1 if given.quick else given.seeds))
    seconds = 20 if given.quick else 30
    parts: dict[str, Callable[[], Any]] = {
        "linking": lambda: linked(seeds, seconds, given.peer),
        "films": lambda: films(given.to),
        "labels": lambda: labels(seeds, seconds * 2 / 3),
    }
    figures = {name: part() for name, part in parts.items() if given.part in (None, name)}
    finish("tracks", started, **figures)


# ---- linking


def linked(seeds: range, seconds: float, peer: str | None) -> list[dict[str, Any]]:
    """Print and return how right tracks are by the seconds between frames."""
    rows = []
    for step in (0.1, 0.2, 0.5):
        matches = [list(frames(seed, seconds, step)) for seed in seeds]
        found = {"winnow": [by_winnow(match) for match in matches]}
        if step == 0.1:
            found["winnow, no looks"] = [by_winnow(match, looks=False) for match in matches]
        if peer and step <= 0.2:
            for name in ("norfair", "bytetrack", "ocsort"):
                found[name] = [by_peer(peer, name, match, step) for match in matches]
        for name, numbers in found.items():
            measured = [measures(match, some) for match, some in zip(matches, numbers, strict=True)]
            rows.append(
                {"s between frames": str(step), "by": name}
                | {key: mean_deviation([one[key] for one in measured]) for key in measured[0]}
            )
    table(rows, f"Tracks on {len(seeds)} drawn matches of {seconds} s")
    return rows


def by_winnow(match: list[Moment], looks: bool = True) -> list[np.ndarray]:
    """Return the track of each box of each frame."""
    tracker = linking.Tracker()
    found = []
    for moment in match:
        seen = linking.looks_of(np.array(crops(moment.picture, moment.boxes, SIZE)))
        found.append(tracker.add(moment.time, moment.boxes, seen if looks else np.full_like(seen, 1 / seen.shape[1])))
    return found


def by_peer(python: str, name: str, match: list[Moment], step: float) -> list[np.ndarray]:
    """Return the tracks of another library, run by another Python; a box that it gives no track is one of its own."""
    with tempfile.TemporaryDirectory() as folder:
        boxes = [moment.boxes for moment in match]
        np.savez(f"{folder}/in.npz", boxes=np.concatenate(boxes), counts=[len(some) for some in boxes], step=step)
        script = Path(__file__).with_name("tracks_peer.py")
        subprocess.run([python, str(script), name, f"{folder}/in.npz", f"{folder}/out.npy"], check=True)
        numbers = np.load(f"{folder}/out.npy")
    alone = numbers < 0
    numbers[alone] = numbers.max() + 1 + np.arange(alone.sum())
    return np.split(numbers, np.cumsum([len(some) for some in boxes])[:-1])


def measures(match: list[Moment], found: list[np.ndarray]) -> dict[str, float]:
    """Return the shares and counts that the doc string names."""
    track, person = np.concatenate(found), np.concatenate([moment.persons for moment in match])
    kind = np.array([KINDS[one] if one >= 0 else "" for one in person])
    real = person >= 0
    right = {"label right": 0.0, "same person": 0.0}
    for number in np.unique(track[real]):
        rows = real & (track == number)
        for name, truth in (("label right", kind), ("same person", person)):
            count = np.unique(truth[rows], return_counts=True)[1]
            right[name] += float((count**2).sum() / count.sum())  # by a crop drawn at random
    shares = {name: value / real.sum() for name, value in right.items()}
    switches = sum(int((np.diff(track[person == one]) != 0).sum()) for one in np.unique(person[real]))
    mixed = sum(int((np.diff(person[real & (track == one)]) != 0).sum()) for one in np.unique(track[real]))
    return {**shares, "switches": switches, "mixed": mixed, "tracks": len(np.unique(track)), "crops": int(real.sum())}


# ---- real films


def films(folder: Path) -> list[dict[str, Any]]:
    """Print how many crops and tracks the films have, and write a contact sheet of each film's tracks."""
    from winnow.pool.ingest import ingest
    from winnow.pool.pool import Pool

    rows = []
    for name in FILMS:
        for detector, confidence in DETECTORS.items():
            options = IngestOptions(
                size=(96, 48), people=True, object_detector=str(need(f"weights/{detector}")), box_confidence=confidence, every=0.1
            )  # fmt: skip
            made = ingest([need(f"videos/{name}")], folder / f"{name}-{detector}", options)
            pool = Pool.open(folder / f"{name}-{detector}")
            sheet(pool, folder / f"{name}-{detector}.png")
            rows.append({"film": name, "detector": detector, "crops": made.crops, "tracks": made.tracks})
    table(rows, f"Real films, a frame every 0.1 s; contact sheets in {folder}")
    return rows


def sheet(pool: Any, path: Path, most: int = 24) -> None:
    """Draw each track as a row of its crops, evenly spread in time."""
    names, times = pool.column("track"), pool.column("time")
    order = list(dict.fromkeys(names))
    drawn = Image.new("RGB", (70 + 50 * most, 100 * len(order)), "white")
    pen = ImageDraw.Draw(drawn)
    for line, name in enumerate(order):
        rows = np.flatnonzero(names == name)
        pen.text(
            (2, 100 * line + 20),
            f"{line}\n{len(rows)} crops\n{times[rows[0]]:.1f} to\n{times[rows[-1]]:.1f} s",
            "black",
        )
        shown = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
        for place, row in enumerate(shown):
            drawn.paste(Image.fromarray(pool.pixels([row])[0]), (70 + 50 * place, 100 * line + 2))
    drawn.save(path)


# ---- what labels of tracks are worth


def labels(seeds: range, seconds: float) -> list[dict[str, Any]]:
    """Print and return the average precision on another match, from 60 labels of crops or of tracks."""
    rows: list[dict[str, Any]] = []
    found: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        train, test = (Crops.of(number, seconds) for number in (seed, seed + 100))
        for draw in range(DRAWS):
            for name, precision in worth(train, test, np.random.default_rng([seed, draw])).items():
                found.setdefault(name, []).append(precision)
    for name, precisions in found.items():
        rows.append(
            {"60 labels": name} | {kind: mean_deviation([one[kind] for one in precisions]) for kind in precisions[0]}
        )
    table(rows, f"Average precision on another drawn match, {len(seeds)} matches, {DRAWS} draws each")
    return rows


class Crops:
    """The crops of a match: embeddings (n, d), class (n,), track (n,), and the tracks with a tenth of the crops in wrong ones."""

    def __init__(self, vectors: np.ndarray, kind: np.ndarray, track: np.ndarray) -> None:
        self.vectors, self.kind, self.track = vectors, kind, track

    @classmethod
    def of(cls, seed: int, seconds: float) -> Crops:
        """Draw a match in which classes look alike, link its crops, and encode them with a frozen MobileNetV2."""
        from winnow.learn.encode import encode
        from winnow.models.pretrained import Pretrained

        match = list(frames(seed, seconds, alike=0.75))
        track, person = np.concatenate(by_winnow(match)), np.concatenate([moment.persons for moment in match])
        pixels = np.concatenate([np.array(crops(moment.picture, moment.boxes, SIZE)) for moment in match])
        network = Pretrained((64, 64), 3, "mobilenet_v2")
        network.load_weights(need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"))
        real = person >= 0
        vectors = encode(network, pixels[real], decode=False, quiet=True).vectors
        return cls(
            vectors, np.array([KINDS[one] for one in person[real]], object), track[real].astype(str).astype(object)
        )


def worth(train: Crops, test: Crops, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Return the average precision of each class by each way to spend 60 labels."""
    from winnow.classify.heads import Logistic
    from winnow.classify.tracks import Tracks

    centre = train.vectors.mean(axis=0)
    features, unseen = (unit_length(some.vectors - centre) for some in (train, test))
    crop = rng.choice(len(train.kind), LABELS, replace=False)
    names = rng.choice(np.unique(train.track), LABELS, replace=False)
    of_track = np.array([rng.choice(np.flatnonzero(train.track == name)) for name in names])
    wrong = train.track.copy()
    moved = rng.random(len(wrong)) < 0.1
    wrong[moved] = rng.permutation(wrong[moved])
    found = {}
    for way, rows, tracks in (
        ("random crops", crop, None),
        ("random tracks, label for the crop alone", of_track, None),
        ("random tracks, label for all crops", of_track, train.track),
        ("the same, a tenth of the crops in wrong tracks", of_track, wrong),
    ):
        target = np.full(len(train.kind), -1)
        target[rows] = [CLASSES.index(kind) for kind in train.kind[rows]]
        taught, weights = Tracks.named(tracks, len(target)).taught(target)
        logits = Logistic().fit(features, taught, len(CLASSES), weights).logits(unseen)
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        voted = Tracks.named(test.track, len(test.track)).averaged(chances)
        found[way] = precisions(chances, test.kind)
        found[f"{way}; averaged over the track"] = precisions(voted, test.kind)
    return found


def precisions(chances: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the average precision of each class; that of one that no label named is its share, as all crops are equal."""
    from sklearn.metrics import average_precision_score

    return {
        kind: float(average_precision_score(truth == kind, chances[:, place])) for place, kind in enumerate(CLASSES)
    }


if __name__ == "__main__":
    sys.exit(main())
