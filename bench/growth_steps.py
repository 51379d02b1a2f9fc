"""The steps that bench/growth.py measures, one a process: this file, called with a step, a size, a dimension and a folder.

Prints one line of JSON: CPU and clock seconds of the step alone, and the memory of the process before it and at most during it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scale_select import drawn

if TYPE_CHECKING:
    from winnow.api import Run

CHOSEN, LABELLED, CLASSES = 1000, 200, 10
CALLS = 50  # of a request of the label page, of which the mean is taken
WARM = 1500  # items of a first run of the same step, which loads libraries and starts threads
MORE = 3.0  # CPU seconds below which a step is done three times, and the quickest counts

Act = Callable[[], object]


# ---- pictures: made in a folder, a run beside it; each step finds what the one before left


def folder_of(n: int, to: Path) -> Path:
    return to / f"pictures-{n}"


def ingest(n: int, d: int, to: Path) -> Act:
    """Read n made-up JPEG files of 48x48 to 32x32, with their near-duplicates found."""
    from PIL import Image

    place = folder_of(n, to)
    shutil.rmtree(place, ignore_errors=True)
    rng = np.random.default_rng(0)
    for number in range(n):
        path = place / "jpeg" / f"{number // 1000:04d}" / f"{number % 1000:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((48, 48)).save(path, quality=85)

    def act() -> None:
        shutil.rmtree(place / "run", ignore_errors=True)
        _run(n, to).ingest(place / "jpeg")

    return act


def ingest_again(n: int, d: int, to: Path) -> Act:
    """Ingest the same folder once more: nothing is added."""
    return lambda: _run(n, to).ingest(folder_of(n, to) / "jpeg")


def encode(n: int, d: int, to: Path) -> Act:
    """Encode all pictures by an autoencoder of 4 channels, which was trained for four iterations."""
    run = _run(n, to)
    run.train()
    return run.encode


def _run(n: int, to: Path) -> Run:
    from winnow.api import Run

    tiny: dict[str, Any] = {"width": 4, "latent": 4, "iterations": 4, "check_every": 2, "device": "cpu"}
    return Run(folder_of(n, to) / "run", "oneclass-from-scratch", size=(32, 32), **tiny)


# ---- embeddings: drawn, each picture a group of its own


def calibrate(n: int, d: int, to: Path) -> Act:
    """Fit the default scorer and its threshold."""
    from winnow.detect.detector import Detector
    from winnow.embeddings import Embeddings

    normal = Embeddings.of(drawn(n, d))
    return lambda: Detector().fit(normal).threshold


def score(n: int, d: int, to: Path) -> Act:
    """Score all pictures by a detector of the first thousand."""
    from winnow.detect.detector import Detector
    from winnow.embeddings import Embeddings

    everything = Embeddings.of(drawn(n, d))
    detector = Detector().fit(everything[:CHOSEN])
    return lambda: detector.p_values(everything)


def select(method: str, n: int, d: int, to: Path) -> Act:
    """Choose a thousand pictures (of fewer than 2,000: half)."""
    from winnow.select.choose import choose

    vectors = drawn(n, d)
    return lambda: choose(vectors, min(CHOSEN, n // 2), method)


def near_duplicates(n: int, d: int, to: Path) -> Act:
    """Find near-duplicates, at the default distance."""
    from winnow.options import SelectOptions
    from winnow.select.duplicates import distinct

    vectors = drawn(n, d)
    return lambda: distinct(vectors, SelectOptions().duplicate_distance)


def classify(head: str, labelled: int, n: int, d: int, to: Path) -> Act:
    """Learn ten classes from so many labels, with all that the step measures; 0: from labels of all."""
    from winnow.classify.classifier import Classifier
    from winnow.embeddings import Embeddings
    from winnow.metrics.classification import rise
    from winnow.options import SelectOptions
    from winnow.run.choice import worth_of_choice

    vectors, rng = drawn(n, d), np.random.default_rng(1)
    score = vectors @ rng.normal(size=(d, CLASSES)).astype(np.float32)
    score += score.std() * rng.standard_normal(score.shape, dtype=np.float32)
    labels = score.argmax(axis=1)
    if labelled:
        labels[rng.permutation(n)[labelled:]] = -1
    del score

    def act() -> None:
        classifier = Classifier(head).fit(vectors, labels)
        classifier.held_out.tally.intervals(classifier.seed)
        (_, less), (_, everything) = classifier.learning_curve()[-2:]
        rise(less.tally, everything.tally, classifier.seed)
        worth_of_choice(classifier, Embeddings.of(vectors), SelectOptions())

    return act


def catalogue(n: int, d: int, to: Path) -> Act:
    """List all items for the label page."""
    from label import items

    from winnow.label.catalogue import Catalogue

    made = items(n)
    return lambda: Catalogue(made)


def page(n: int, d: int, to: Path) -> Act:
    """Answer a request of the label page for the next fifty open items; the mean of fifty requests."""
    from label import items

    from winnow.label.catalogue import Catalogue

    listed = Catalogue(items(n))
    rng = np.random.default_rng(0)

    def act() -> None:
        for _ in range(CALLS):
            for row in listed.query("all", "open", after=int(rng.integers(n))).rows:
                listed.describe(int(row))

    return act


def label_one(n: int, d: int, to: Path) -> Act:
    """Store a label on disk, every item having one already, and bring the catalogue up to date; the mean of fifty."""
    from label import items

    from winnow.label.catalogue import Catalogue
    from winnow.label.events import Event
    from winnow.label.session import LabelSession
    from winnow.label.store import LabelStore

    listed = Catalogue(items(n))
    for old in to.glob(f"labels-{n}.sqlite*"):
        old.unlink()
    store = LabelStore.open(to / f"labels-{n}.sqlite")
    store.add_classes("bench", ["a", "b"])
    for start in range(0, n, 10_000):
        store.add(
            "bench", [Event(f"x{row}", listed.ids[row], "label", "a") for row in range(start, min(n, start + 10_000))]
        )
    session = LabelSession("bench", store, listed)
    session.follow()
    asked = iter(range(10**9))

    def act() -> None:
        for _ in range(CALLS):
            number = next(asked)
            store.add("bench", [Event(f"y{number}", listed.ids[number * 7919 % n], "label", "b")], listed)
            session.follow()

    return act


def measured(make: Callable[[int, int, Path], Act], n: int, d: int, to: Path, calls: int = 1) -> dict[str, float]:
    """Return the figures of one step: the best of three where it is quick."""
    own = {ingest, ingest_again, encode}  # of these, the run is what a first call would spoil
    make(WARM, d, to / "warm")() if make not in own else _warm(to / "warm")
    act = make(n, d, to)
    held, found = _memory("VmRSS"), []
    _forget()
    while len(found) < 3 and (not found or found[0][0] < MORE):
        cpu, clock = time.process_time(), time.perf_counter()
        act()
        found.append((time.process_time() - cpu, time.perf_counter() - clock))
        if make is encode:
            break  # what is there is not encoded again
    cpu, clock = min(found)
    return {"cpu": cpu / calls, "clock": clock / calls, "held_mb": held, "peak_mb": _memory("VmHWM")}


def _warm(to: Path) -> None:
    """Load what the steps of pictures load."""
    ingest(20, 0, to)()
    encode(20, 0, to)()


def _memory(name: str) -> float:
    """Return MB of this process: VmRSS held now, VmHWM at most."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def _forget() -> None:
    """Let the most memory held be counted from here on (Linux)."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5", encoding="ascii")


def main() -> None:
    from growth import STEPS

    name, n, d, to = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    (to / "warm").mkdir(parents=True, exist_ok=True)
    sys.stdout = sys.stderr  # what steps print is none of the result
    found = measured(STEPS[name].make, n, d, to, STEPS[name].calls)
    os.write(1, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main()
