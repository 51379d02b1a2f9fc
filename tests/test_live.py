"""The head that learns while a person labels: when it speaks, what it suggests, what comes next, what it is worth, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import winnow
from winnow.classify.cross_fit import probabilities
from winnow.classify.folds import deal
from winnow.classify.heads import Logistic
from winnow.embeddings import unit_length
from winnow.errors import DataError, RunError
from winnow.label.catalogue import Catalogue, Listed
from winnow.label.live import JUDGED, RANDOM, Live
from winnow.label.present import State
from winnow.metrics.classification import wilson
from winnow.run.beside import Beside
from winnow.run.suggest import Suggester, held_out

from conftest import blocks, stripes, write_pictures
from labelling import Server, make_run
from small_runs import OPTIONS

CLASSES = ["block", "stripe"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded run of 40 pictures of stripes and 20 of blocks, told apart by their names."""
    folder = tmp_path_factory.mktemp("live")
    write_pictures(folder / "in" / "stripe", 10, 4, partial(stripes, size=32))
    write_pictures(folder / "in" / "block", 5, 4, partial(blocks, size=32), seed=1)
    run = winnow.Run(folder / "run", **OPTIONS)
    run.ingest(folder / "in")
    run.train()
    run.encode()
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it without labels."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def truth(item: dict[str, Any]) -> str:
    return "block" if "/block/" in item["source"] else "stripe"


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what is asked again and again until it is something."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


class Person:
    """Labels at a server."""

    def __init__(self, server: Server) -> None:
        self.server, self.number = server, 0

    def say(self, item: dict[str, Any], kind: str, value: str = "", seen: str = "none") -> str:
        self.number += 1
        sent = {
            "uuid": f"e-{self.number}",
            "item": item["id"],
            "kind": kind,
            "value": value,
            "seen": seen * (kind != "undo"),
        }
        answer = self.server.post("/api/events", {"events": [sent]})
        assert answer["saved"], answer
        return sent["uuid"]

    def next(self, count: int = 6) -> list[dict[str, Any]]:
        return self.server.get(f"/api/items?lane=next&limit={count}")["items"]

    def label(self, count: int) -> list[dict[str, Any]]:
        done = []
        while len(done) < count:
            for item in self.next(min(6, count - len(done))):
                self.say(item, "label", truth(item))
                done.append(item)
        return done


def learnt(server: Server, labels: int) -> dict[str, Any]:
    """Wait until the model has learnt from so many labels."""
    return wait_for(lambda: (found := server.get("/api/live"))["labels"] == labels and found)


# ---- the whole of it


def test_it_speaks_when_two_classes_have_two_labels_and_is_right(run: Path):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        person = Person(server)
        assert server.get("/api/live")["says"] == "Suggestions begin when two classes have two labels each."
        everything = server.get("/api/items?lane=all&show=all&limit=200")["items"]
        of = {kind: [item for item in everything if truth(item) == kind] for kind in CLASSES}
        for item in of["stripe"][:3]:
            person.say(item, "label", "stripe")
        wait_for(lambda: "So far all labels are 'stripe'." in server.get("/api/live")["says"])
        for item in of["block"][:3]:
            person.say(item, "label", "block")
        learnt(server, 6)
        rows = ",".join(str(item["row"]) for item in everything)
        found = server.get(f"/api/live?rows={rows}")
        assert found["says"] == "" and found["accuracy"] is None
        assert set(found["suggestions"]) == {
            str(item["row"]) for item in everything if item not in of["stripe"][:3] + of["block"][:3]
        }
        right = [
            found["suggestions"][str(item["row"])]["class"] == truth(item) for kind in CLASSES for item in of[kind][3:]
        ]
        assert np.mean(right) > 0.8
        assert all(0.5 <= suggestion["probability"] <= 1 for suggestion in found["suggestions"].values())
        person.label(40)
        accuracy = wait_for(lambda: server.get("/api/live")["accuracy"])
        assert accuracy["of"] >= JUDGED and accuracy["low"] < accuracy["right"] / accuracy["of"] < accuracy["high"]


def test_labels_that_change_under_it_and_a_class_that_is_left_alone(run: Path):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        person = Person(server)
        everything = server.get("/api/items?lane=all&show=all&limit=200")["items"]
        said = [
            person.say(item, "label", kind)
            for kind in CLASSES
            for item in [i for i in everything if truth(i) == kind][:2]
        ]
        learnt(server, 4)
        blocks_ = [item for item in everything if truth(item) == "block"]
        person.say(blocks_[1], "undo", said[1])
        wait_for(lambda: server.get("/api/live")["says"].startswith("Suggestions begin"))
        assert server.get(f"/api/live?rows={blocks_[3]['row']}")["suggestions"] == {}
        person.say(blocks_[2], "label", "block")
        learnt(server, 4)
    with Server(run) as server:  # what was labelled is learnt from at the start
        learnt(server, 4)


def test_a_class_that_is_renamed_under_it(run: Path):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        Person(server).label(20)
        learnt(server, 20)
        rest = next(item for item in server.get("/api/items?lane=all&limit=200")["items"] if truth(item) == "block")
        asked = f"/api/live?rows={rest['row']}"
        wait_for(lambda: server.get(asked)["suggestions"][str(rest["row"])]["class"] == "block")
        server.post("/api/classes/change", {"uuid": "c-1", "name": "block", "to": "cube, or block"})
        found = server.get(asked)["suggestions"]
        assert not found or found[str(rest["row"])]["class"] != "block"  # at once: there is no such class
        wait_for(lambda: server.get(asked)["suggestions"].get(str(rest["row"]), {}).get("class") == "cube, or block")


def test_two_pages_are_given_the_same_list_and_what_one_labels_is_not_open_on_the_other(run: Path):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        one, two = Person(server), Person(server)
        two.number = 1000
        for turn in range(5):
            for person in (one, two):
                item = person.next()[turn % 2]
                person.say(item, "label", truth(item))
        assert len({item["id"] for item in one.next()}) == 6
        assert [item["id"] for item in one.next()] == [item["id"] for item in two.next()]
        assert all(item["label"] is None for item in one.next())


def test_a_label_that_is_wrong_is_listed_to_be_checked_and_leaves_the_list(run: Path):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        person = Person(server)
        everything = server.get("/api/items?lane=all&show=all&limit=200")["items"]
        wrong = [next(item for item in everything if truth(item) == kind) for kind in CLASSES]
        for item in everything:
            other = CLASSES[1 - CLASSES.index(truth(item))]
            person.say(item, "label", other if item in wrong else truth(item))
        learnt(server, len(everything))
        ask = "/api/items?lane=check&show=labelled"
        listed = [item["row"] for item in server.get(ask)["items"]]
        assert {item["row"] for item in wrong} <= set(listed)
        for item in wrong:
            found = server.get(f"/api/live?lane=check&rows={item['row']}")["suggestions"][str(item["row"])]
            assert found["class"] == truth(item)
            assert (
                server.get(f"/api/live?rows={item['row']}")["suggestions"] == {}
            )  # elsewhere its label is shown, no suggestion
            person.say(item, "label", truth(item), seen=f"check {found['probability']} {found['class']}")
        assert not {item["row"] for item in wrong} & {item["row"] for item in server.get(ask)["items"]}


def test_blind_hides_suggestions_and_the_lane_that_shows_them(run: Path):
    with Server(run, "--classes", ",".join(CLASSES), "--blind") as server:
        person = Person(server)
        everything = server.get("/api/items?lane=all&show=all&limit=200")["items"]
        for item in everything[:55]:
            person.say(item, "label", truth(item))
        found = wait_for(lambda: (told := server.get(f"/api/live?rows={everything[-1]['row']}"))["labels"] and told)
        assert found["blind"] and found["suggestions"] == {}
        assert server.get("/api/items?lane=check&show=labelled")["items"] == []
        assert len(person.next()) == 5  # what comes next goes by the model all the same
        wait_for(lambda: server.get("/api/map")["ready"])
        assert set(server.get("/api/map/colours?by=prediction")["values"]) == {-1}
        assert len(set(server.get("/api/map/colours?by=label")["values"])) == 3


def test_a_run_without_embeddings_says_why(tmp_path: Path):
    run = make_run(tmp_path, ("a.png", "b.png"), groups=2)
    with Server(run, "--classes", "a,b") as server:
        assert "No suggestions: " in server.get("/api/live")["says"] and "winnow" in server.get("/api/live")["says"]
        assert [lane["name"] for lane in server.get("/api/state")["lanes"]] == ["chosen", "outliers", "all"]


# ---- its end


def children(process: int) -> list[int]:
    """Return the processes that any thread of a process started."""
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        found += [int(pid) for pid in (thread / "children").read_text().split()]
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc on this machine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_while_it_learns_and_leaves_no_process(run: Path, number: int):
    with Server(run, "--classes", ",".join(CLASSES)) as server:
        Person(server).label(30)
        (beside,) = wait_for(lambda: children(server.process.pid))
        status, out, err = server.stop(number)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0 if number == signal.SIGINT else status)
        assert "Traceback" not in err
        if number == signal.SIGINT:
            assert out.splitlines()[-1] == f"Next: winnow classify --run {run}"
        wait_for(lambda: not Path(f"/proc/{beside}").exists() or "zombie" in Path(f"/proc/{beside}/status").read_text())


def test_a_process_beside_that_is_killed_is_started_again(run: Path):
    asked = Beside("winnow.run.suggest", str(run))
    target = np.full(60, -1)
    target[:2], target[-2:] = 0, 1
    question = {"target": target, "taken": np.empty(0, int)}
    try:
        found = asked.ask(**question)
        assert asked._process is not None
        os.kill(asked._process.pid, signal.SIGKILL)
        with pytest.raises(RunError, match="ended"):
            asked.ask(**question)
        again = asked.ask(**question)
        assert all(np.array_equal(found[name], again[name]) for name in found)
        with pytest.raises(RunError, match="Fewer than two classes"):
            asked.ask(target=np.full(60, -1), taken=np.empty(0, int))
    finally:
        asked.close()
    with pytest.raises(RunError, match="closed"):
        asked.ask(**question)


# ---- what is learnt, against the slow and obvious


def test_held_out_predictions_are_those_of_heads_that_have_not_seen_the_fold():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 60)
    features = unit_length((rng.normal(size=(60, 8)) + 2 * np.eye(8)[target]).astype(np.float32))
    groups = np.repeat(np.arange(20), 3).astype(str)
    alone = np.append(target, 3)  # a class with one label
    found = held_out(np.vstack([features, features[:1]]), alone, np.append(groups, "x"), np.arange(61).astype(str))
    assert found.places.tolist() == list(range(60))
    fold = deal(target, groups, ("0", "1", "2"), 5, 0, np.arange(60).astype(str)).fold
    for number in range(5):
        mine = fold == number
        head = Logistic().fit(features, np.where(mine, -1, target), 3)
        chances = probabilities(head.logits(features[mine]), found.temperature)
        assert found.kind[mine].tolist() == chances.argmax(axis=1).tolist()
        assert found.probability[mine] == pytest.approx(chances.max(axis=1))
        assert found.given[mine] == pytest.approx(chances[np.arange(mine.sum()), target[mine]])
    with pytest.raises(DataError):
        held_out(features, np.zeros(60, int), groups, groups)


def catalogue(n: int, chosen: int = 0) -> Catalogue:
    items = pa.table({
        "id": [f"{number:016x}" for number in range(n)], "source": [f"/{number}.png" for number in range(n)],
        "group": ["g"] * n, "time": pa.array([None] * n, pa.float64()), "box": pa.array([None] * n, pa.string()),
        "confidence": pa.array([None] * n, pa.float64()),
    })  # fmt: skip
    return Catalogue(items, None, [Listed(f"{number:016x}", rank=number + 1) for number in range(chosen)])


class Obvious:
    """A model that knows the truth of every item but those that are `missed`, and proposes the last first."""

    def __init__(self, truth: np.ndarray, missed: set[int] = frozenset()) -> None:
        self.truth, self.missed = truth, missed

    def ask(self, target: np.ndarray, taken: np.ndarray) -> dict[str, np.ndarray]:
        said = np.array([1 - kind if row in self.missed else kind for row, kind in enumerate(self.truth)])
        held = np.flatnonzero(target >= 0)
        free = np.setdiff1d(np.flatnonzero(target < 0), taken)
        sure = np.full(len(held), 0.75)
        given = np.where(said[held] == target[held], 0.75, 0.25)
        every = np.arange(len(said))
        return {"rows": every, "kind": said, "probability": np.full(len(said), 0.75), "next": free[::-1],
                "held": held, "held_kind": said[held], "held_probability": sure, "held_given": given}  # fmt: skip

    def close(self) -> None:
        pass


@pytest.fixture
def alive():
    """A function that makes a `Live` on a catalogue, and ends it with the test."""
    made: list[Live] = []

    def begin(items: Catalogue, model: Obvious) -> Live:
        made.append(Live(items, model))
        made[-1].start()
        return made[-1]

    yield begin
    for live in made:
        live.close()


def test_what_comes_next_comes_once_and_one_in_ten_is_drawn_at_random():
    n, rng = 400, np.random.default_rng(0)
    kinds = rng.integers(0, 2, n)
    items = catalogue(n, chosen=20)
    live = Live(items, Obvious(kinds))
    given: list[int] = []
    names = ["a", "b"]
    while len(given) < n:
        live.ready(len(given) - 1, 1)
        before = items.lanes["next"].rows
        row = int(before[len(given)])
        given.append(row)
        items.mark({items.ids[row]: State(names[kinds[row]])}, names)
        live.follow(names)
        if len(given) == 10:
            live.start()
        if len(given) in (10, 150):
            wait_for(lambda: live.learnt is not None and live.learnt.labels == len(given))
        live.ready(len(given) - 1, 3)
        assert items.lanes["next"].rows[: len(before)].tolist() == before.tolist()  # it only grows
    live.close()
    assert sorted(given) == list(range(n))
    assert given[:10] == list(range(10))  # the chosen ones, until it has learnt
    order = live._random.tolist()
    drawn = [place for place in range(20, n - 20) if given[place] != max(set(range(n)) - set(given[:place]))]
    by_lot = [place for place in drawn if given[place] == next(row for row in order if row not in given[:place])]
    assert np.mean([place % RANDOM == RANDOM - 1 for place in by_lot]) > 0.9 and len(by_lot) > 0.6 * n / RANDOM


def test_the_accuracy_is_that_of_a_random_sample_however_the_rest_was_chosen(alive: Any):
    n, rng = 200, np.random.default_rng(1)
    kinds = rng.integers(0, 2, n)
    missed = set(rng.permutation(n)[:60].tolist())
    items = catalogue(n)
    live = alive(items, Obvious(kinds, missed))
    order, names = live._random.tolist(), ["a", "b"]
    assert sorted(order) == list(range(n)) and order != list(range(n))
    decided = set(order[:70]) - {order[30]} | {row for row in range(n) if row in missed}  # and all that it misses
    decided -= {order[50]}  # where the sample ends: it is open
    states = {items.ids[row]: State(names[kinds[row]]) for row in decided} | {items.ids[order[30]]: State(skipped=True)}
    items.mark(states, names)
    live.follow(names)
    found = wait_for(lambda: live.told([], "all")["accuracy"])
    sample = [row for row in order[:50] if row != order[30]]
    right = sum(row not in missed for row in sample)
    low, high = wilson(right, len(sample))
    assert found == {"right": right, "of": len(sample), "low": low, "high": high}


def test_a_label_of_a_class_that_the_model_has_not_heard_of_is_no_error(alive: Any):
    items, names = catalogue(20), ["a", "b"]
    live = alive(items, Obvious(np.arange(20) % 2, missed={4}))
    items.mark({items.ids[row]: State(names[row % 2]) for row in range(10)}, names)
    live.follow(names)
    wait_for(lambda: live.learnt)
    items.mark({items.ids[4]: State("c")}, [*names, "c"])  # by another request, which is about to say so
    assert live.told([4], "check")["suggestions"] == {4: {"class": "b", "probability": 0.75}}
    live.follow([*names, "c"])
    assert live.told([4], "check")["check"] == 1


def test_too_few_drawn_at_random_tell_nothing(alive: Any):
    items, names = catalogue(200), ["a", "b"]
    live = alive(items, Obvious(np.arange(200) % 2))
    items.mark({items.ids[row]: State(names[row % 2]) for row in live._random[: JUDGED - 1].tolist()}, names)
    live.follow(names)
    wait_for(lambda: live.learnt)
    assert live.told([], "all")["accuracy"] is None


def test_what_comes_next_is_no_duplicate_no_outlier_and_not_what_is_held_out(run: Path):
    suggester = Suggester.of(winnow.Run(run).folder)
    target = np.full(60, -1)
    target[[0, 1, 58, 59]] = [0, 0, 1, 1]
    taken = np.array([5, 6])
    found = suggester(target, taken)
    chosen = found["next"].tolist()
    assert len(set(chosen)) == len(chosen) > 10 and not {0, 1, 58, 59, 5, 6} & set(chosen)
    assert set(chosen) <= set(suggester.rows[suggester.candidates].tolist())
    assert found["rows"].tolist() == list(range(60)) and set(found["held"].tolist()) == {0, 1, 58, 59}
