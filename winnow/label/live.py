"""The model that learns while a person labels: what it suggests, and what to label next. It is asked in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Any, Protocol

import numpy as np

from winnow.errors import RunError
from winnow.label.catalogue import Catalogue, Decided, Lane
from winnow.metrics.classification import wilson

FEWEST = 2  # classes, and labels of each, that a model needs
REST = 0.5  # seconds between two trainings, at least; and at least as long as one took
RANDOM = 10  # one of so many pictures is drawn at random
JUDGED = 20  # labels of pictures drawn at random below which the accuracy is not told: its interval would say nothing
CONTRADICTED = 200  # labels to be checked that are listed, at most
CHECK_LANE = "Labels that held-out predictions contradict"
NEXT = "Next: what the model is unsure of, and unlike what is labelled"
FEW = "Suggestions begin when two classes have two labels each."


class Model(Protocol):
    """What learns: see `winnow.run.suggest.Suggester`. It may raise `RunError`."""

    def ask(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return what was learnt from `target` (items,), and `taken` rows."""
        ...

    def close(self) -> None:
        """End, in the middle of an answer too."""
        ...


@dataclass(frozen=True)
class Learnt:
    """What a model says of the pool's items: class numbers in `classes` and their probabilities, by row, -1 where it says nothing.

    `held` likewise of the labelled, by heads that have not seen them; `doubtful`: the rows whose labels these contradict, most first.
    `right` of `judged` labelled pictures drawn at random were predicted.
    """

    classes: list[str]
    labels: int
    kind: np.ndarray
    probability: np.ndarray
    held: np.ndarray
    held_probability: np.ndarray
    doubtful: np.ndarray
    next: np.ndarray
    right: int
    judged: int


class Live:
    """Asks a model again whenever labels changed, in a thread; `why`: the sentence in place of a model where there is none.

    `lane` is the list of what to label next: it only grows, so that places in it stay. One in `RANDOM` of its pictures is the next
    in a random order of all: of these, as far as that order has been labelled without a gap, the accuracy is estimated.
    """

    def __init__(self, catalogue: Catalogue, model: Model | None, why: str = "", *, blind: bool = False) -> None:
        self.catalogue, self.blind = catalogue, blind
        self.says = why or FEW
        self.learnt: Learnt | None = None
        self._model = model
        self._now = catalogue.decided(), [""]  # with the classes that number it: the catalogue may have come further
        self._lock, self._changed, self._ended = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="live", daemon=True)
        if model is not None:
            none = np.empty(0, int)
            catalogue.lanes = {"next": Lane(NEXT, none), **catalogue.lanes, "check": Lane(CHECK_LANE, none)}

    def start(self) -> None:
        """Begin to learn."""
        if self._model is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop learning, at once."""
        self._ended.set()
        self._changed.set()
        if self._model is not None:
            self._model.close()
            if self._thread.is_alive():
                self._thread.join()

    def follow(self, classes: list[str]) -> None:
        """Take note that labels or classes changed."""
        self._now = self.catalogue.decided(), classes
        self._list_doubtful()
        self._changed.set()

    def _list_doubtful(self) -> None:
        """Put the labels that are contradicted, and not checked yet, into the lane "check"."""
        learnt = self.learnt
        if learnt is None or self.blind:
            return
        decided, classes = self._now
        rows = [
            row
            for row in learnt.doubtful
            if not decided.checked[row] and _suggestion(learnt, row, decided.label[row], classes, "check")
        ]
        self.catalogue.lanes["check"] = Lane(CHECK_LANE, np.array(rows, int))

    # ---- learning

    def _work(self) -> None:
        before: tuple[bytes, list[str]] | None = None
        while self._changed.wait() and not self._ended.is_set():
            self._changed.clear()
            began, (decided, classes) = time.monotonic(), self._now
            now = decided.label.tobytes(), classes
            if now == before:
                continue
            before = now
            try:
                self._learn(decided, classes)
            except RunError as error:
                if not self._ended.is_set():
                    self.learnt, self.says = None, f"No suggestions: {error.message}"
            self._ended.wait(max(REST, time.monotonic() - began))

    def _learn(self, decided: Decided, classes: list[str]) -> None:
        """Ask the model about the present labels, class numbers in `classes`."""
        label, skipped, _ = decided
        counts = np.bincount(label[label >= 0], minlength=len(classes))
        if np.count_nonzero(counts >= FEWEST) < FEWEST:
            single = np.flatnonzero(counts)
            only = f" So far all labels are '{classes[single[0]]}'." if len(single) == 1 else ""
            self.learnt, self.says = None, FEW + only
            return
        assert self._model is not None
        if self.learnt is None:
            self.says = "Learning from the labels …"
        found = self._model.ask(target=label, taken=self._taken(skipped))
        self.learnt, self.says = self._read(found, label, skipped, classes), ""
        self._list_doubtful()

    def _taken(self, skipped: np.ndarray) -> np.ndarray:
        return np.union1d(np.flatnonzero(skipped), self.catalogue.lanes["next"].rows)

    def _read(self, found: dict[str, np.ndarray], label: np.ndarray, skipped: np.ndarray, classes: list[str]) -> Learnt:
        n = len(label)
        kind, probability = np.full(n, -1), np.zeros(n, np.float32)
        kind[found["rows"]], probability[found["rows"]] = found["kind"], found["probability"]
        held, held_probability = np.full(n, -1), np.zeros(n, np.float32)
        held[found["held"]], held_probability[found["held"]] = found["held_kind"], found["held_probability"]
        wrong = found["held_kind"] != label[found["held"]]
        doubtful = found["held"][wrong][np.argsort(found["held_given"][wrong], kind="stable")][:CONTRADICTED]
        drawn = self._random[kind[self._random] >= 0]
        is_open = (label[drawn] < 0) & ~skipped[drawn]
        # Without a gap, or it would be no random sample.
        drawn = drawn[: int(is_open.argmax()) if is_open.any() else len(drawn)]
        drawn = drawn[label[drawn] >= 0]
        right = int((held[drawn] == label[drawn]).sum())
        return Learnt(
            classes,
            int((label >= 0).sum()),
            kind,
            probability,
            held,
            held_probability,
            doubtful,
            found["next"],
            right,
            len(drawn),
        )

    # ---- what to label next

    def ready(self, after: int, count: int) -> None:
        """Have `count` open pictures, where there are so many, in the lane "next" after a place."""
        with self._lock:
            lane, learnt = self.catalogue.lanes["next"], self.learnt
            label, skipped, _ = self.catalogue.decided()
            is_open = (label < 0) & ~skipped
            lacking = count - int(is_open[lane.rows[after + 1 :]].sum())
            if lacking <= 0:
                return
            free = np.zeros(len(label), bool)
            free[self.catalogue.lanes["all"].rows] = True
            free &= is_open
            free[lane.rows] = False
            drawn = self._random if learnt is None else self._random[learnt.kind[self._random] >= 0]
            first = self.catalogue.lanes["chosen"].rows if learnt is None else learnt.next
            best, by_lot = (iter(rows[free[rows]]) for rows in (np.concatenate([first, self._random]), drawn))
            added: list[int] = []
            while lacking and free.any():
                place = len(lane.rows) + len(added)
                turn = by_lot if learnt is not None and place % RANDOM == RANDOM - 1 else best
                row = next(row for row in chain(turn, best) if free[row])
                free[row] = False
                added.append(row)
                lacking -= 1
            self.catalogue.lanes["next"] = lane._replace(rows=np.append(lane.rows, added).astype(int))

    @cached_property
    def _random(self) -> np.ndarray:
        """All rows in a random order, the same at each start and, of those there, when more are ingested."""
        rows = self.catalogue.lanes["all"].rows
        keys = [
            blake2b(self.catalogue.ids[row].encode(errors="replace"), digest_size=8).digest() for row in rows.tolist()
        ]
        return rows[np.argsort(np.array(keys))]

    # ---- what the page shows

    def told(self, rows: Sequence[int], lane: str) -> dict[str, Any]:
        """Return the suggestions for some rows, ready for JSON; why there are none; and how often they were right."""
        learnt = self.learnt
        check = self.catalogue.lanes.get("check")
        about: dict[str, Any] = {
            "says": self.says,
            "blind": self.blind,
            "labels": 0,
            "check": 0 if check is None else len(check.rows),
            "suggestions": {},
            "accuracy": None,
        }
        if learnt is None:
            return about
        about["labels"] = learnt.labels
        if learnt.judged >= JUDGED:
            low, high = wilson(learnt.right, learnt.judged)
            about["accuracy"] = {"right": learnt.right, "of": learnt.judged, "low": low, "high": high}
        if not self.blind:
            (label, _, _), classes = self._now
            found = {
                row: _suggestion(learnt, row, int(label[row]), classes, lane) for row in rows if 0 <= row < len(label)
            }
            about["suggestions"] = {row: suggestion for row, suggestion in found.items() if suggestion}
        return about


def _suggestion(learnt: Learnt, row: int, label: int, classes: list[str], lane: str) -> dict[str, Any] | None:
    """Return class and probability; of a labelled picture in the lane "check" alone, where it contradicts the label."""
    kind, probability = learnt.kind[row], learnt.probability[row]
    if label >= 0:
        kind, probability = learnt.held[row], learnt.held_probability[row]
        if lane != "check" or kind < 0 or learnt.classes[kind] == classes[label]:
            return None
    if kind < 0 or learnt.classes[kind] not in classes:
        return None
    return {"class": learnt.classes[kind], "probability": round(float(probability), 4)}
