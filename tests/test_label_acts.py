"""Labels of many pictures at once, and classes renamed, merged and deleted, against a slow fold written anew for each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from winnow.errors import OptionError
from winnow.label.database import log_beside
from winnow.label.events import MOST_ITEMS
from winnow.label.store import Event, LabelStore

ITEMS = [f"item {number}" for number in range(12)]


@pytest.fixture
def store(tmp_path: Path):
    with LabelStore.open(tmp_path / "labels.sqlite") as store:
        store.add_classes("ann", ["a", "b", "c"])
        yield store


def act(uuid: str, items: list[str], value: str = "a", kind: str = "label") -> Event:
    return Event(uuid, "\n".join(items), kind, value)


def labels(store: LabelStore) -> dict[str, str]:
    return {item: label for item, (label, _, _) in store.labels().items()}


def test_an_act_is_one_event_and_one_undo(store: LabelStore):
    store.add("ann", [act("1", ITEMS[:2], "b"), act("2", ITEMS[:5])])
    assert store.seq == 5 and labels(store) == dict.fromkeys(ITEMS[:5], "a")
    store.add("ann", [act("3", ITEMS[:5], "2", "undo")])
    assert labels(store) == dict.fromkeys(ITEMS[:2], "b")
    assert set(store.since(5)[0]) == set(ITEMS[:5])
    assert store.add("ann", [act("4", ITEMS[:4], "2", "undo")]).refused  # an act is undone whole
    assert store.add("ann", [act("5", [*ITEMS[:2], "elsewhere"])], ITEMS).refused == [("5", "There is no such item.")]
    for items in ([ITEMS[0], ""], [ITEMS[0], ITEMS[0]], [str(number) for number in range(MOST_ITEMS + 1)]):
        assert "An act names up to" in store.add("ann", [act("6", items)]).refused[0][1]
    with LabelStore.open(store.path) as again:
        assert again.states() == store.states()


def test_what_was_seen_of_each_picture_of_an_act_is_kept(store: LabelStore):
    seen = ["0.93 a", "none", "check 1 b, c"]
    store.add("ann", [act("0", ITEMS[1:2])])
    store.add("ann", [act("1", ITEMS[:3])._replace(seen="\n".join(seen)), act("2", ITEMS[3:5])._replace(seen="none")])
    assert [store.state(item).seen for item in ITEMS[:5]] == [*seen, "none", "none"]
    assert store.suggested() == (1, 1, 1, 1)  # shown and taken: the first; checked and changed: the third
    store.add("ann", [Event("3", ITEMS[0], "skip"), act("4", ITEMS[:2], "c")])
    assert store.state(ITEMS[0]).seen == ""
    store.add("ann", [act("5", ITEMS[:2], "4", "undo"), Event("6", ITEMS[0], "undo", "3")])
    assert [store.state(item).seen for item in ITEMS[:3]] == seen
    with LabelStore.open(store.path) as again:
        assert again.states() == store.states()
    for wrong in ("none\nnone", "0.93 a\nnone\nless", "none\n\nnone", "\n".join(["none"] * 4)):
        assert store.add("ann", [act("7", ITEMS[:3])._replace(seen=wrong)]).refused[0][1].startswith("What was seen")
    assert store.add("ann", [Event("8", ITEMS[0], "label", "a", seen="0.93 a\nnone")]).refused


def slow(history: list[tuple[str, str, str, str]]) -> tuple[dict[str, str], list[str]]:
    """Labels and classes by going through everything that was not undone, from the start; classes are lists in a list."""
    undone = {value for _, kind, _, value in history if kind == "undo"}
    labels: dict[str, str] = {}
    classes: list[str] = []
    for uuid, kind, item, value in history:
        if uuid in undone or kind == "undo":
            continue
        if kind == "label":
            labels |= dict.fromkeys(item.split("\n"), value)
        elif kind == "class" and not item:
            classes += [value] if value not in classes else []
        elif kind == "class":
            if value in classes or not value:
                classes.remove(item)
            else:
                classes[classes.index(item)] = value
            labels = {one: value if label == item else label for one, label in labels.items()}
            labels = {one: label for one, label in labels.items() if label}
    return labels, classes


@pytest.mark.parametrize("seed", range(8))
def test_labels_and_classes_are_those_of_a_slow_fold(store: LabelStore, seed: int):
    """Changes of classes are taken back last first, as a person does; labels in any order."""
    rng = random.Random(seed)
    history = [(f"class {name}", "class", "", name) for name in "abc"]
    changes: list[str] = []
    for number in range(150):
        names, uuid, choice = store.classes, f"e{number}", rng.random()
        if choice < 0.5 and names:
            entry = (uuid, "label", "\n".join(rng.sample(ITEMS, rng.choice((1, 1, 4)))), rng.choice(names))
            store.add("ann", [Event(uuid, entry[2], "label", entry[3])])
        elif choice < 0.65:
            done = [
                entry
                for entry in history
                if entry[1] == "label" and (history.index(entry) > boundary(history, changes))
            ]
            if not done:
                continue
            undone = rng.choice(done)
            entry = (uuid, "undo", undone[2], undone[0])
            store.add("ann", [Event(uuid, undone[2], "undo", undone[0])])
        elif choice < 0.75:
            entry = (uuid, "class", "", rng.choice("abcdefgh"))
            if entry[3] in names or any(old[1] == "class" and old[3] == entry[3] for old in history):
                continue  # names that come again are tested below
            store.add_classes("ann", [entry[3]])
        elif choice < 0.9 and names:
            entry = (uuid, "class", rng.choice(names), rng.choice(["", f"n{number}", *names]))
            if entry[2] == entry[3]:
                continue
            store.change_class("ann", uuid, entry[2], entry[3])
            changes.append(uuid)
        elif changes and history[-1][0] == changes[-1]:
            entry = (uuid, "undo", "", changes.pop())
            store.undo_class("ann", uuid, entry[3])
        else:
            continue
        history.append(entry)
        assert (labels(store), store.classes) == slow(history)
    with LabelStore.read(store.path) as again:
        assert (labels(again), again.classes) == slow(history)


def boundary(history: list[tuple[str, str, str, str]], changes: list[str]) -> int:
    """The place of the last change of a class: the slow fold names classes by their names of then."""
    return max((place for place, entry in enumerate(history) if entry[0] in changes), default=-1)


def test_a_class_renamed_merged_deleted_and_all_taken_back(store: LabelStore):
    store.add("ann", [act("1", ["x"], "a"), act("2", ["y"], "b")])
    store.change_class("ann", "r", "a", "Größe, lang")
    store.change_class("ann", "r", "a", "Größe, lang")  # sent twice
    store.add("bob", [act("3", ["z"], "a")])  # bob's page still showed the old name
    assert labels(store) == {"x": "Größe, lang", "y": "b", "z": "Größe, lang"} and store.classes == [
        "Größe, lang",
        "b",
        "c",
    ]
    store.change_class("ann", "m", "Größe, lang", "b")
    store.add("ann", [act("4", ["w"], "b")])
    assert set(labels(store).values()) == {"b"} and store.classes == ["b", "c"]
    store.change_class("ann", "d", "b", "")
    assert labels(store) == {} and store.classes == ["c"]
    assert store.add("ann", [act("5", ["x"], "b")]).refused == [("5", "There is no class 'b'.")]
    store.undo_class("ann", "ud", "d")
    store.undo_class("ann", "um", "m")
    assert labels(store) == {"w": "b", "x": "Größe, lang", "y": "b", "z": "Größe, lang"}
    store.undo_class("ann", "ur", "r")
    store.undo_class("ann", "ur", "r")
    assert labels(store) == {"w": "b", "x": "a", "y": "b", "z": "a"} and store.classes == ["a", "b", "c"]
    for name, to, told in (("nobody", "x", "no class"), ("a", "bad\u202ename", "control"), ("a", "x" * 101, "100")):
        with pytest.raises(OptionError, match=told):
            store.change_class("ann", "no", name, to)
    with pytest.raises(OptionError, match="no such change"):
        store.undo_class("ann", "no", "1")


def test_a_deleted_class_may_be_added_again_and_its_deletion_taken_back(store: LabelStore):
    store.add("ann", [act("1", ["x"], "a")])
    store.change_class("ann", "d", "a", "")
    assert store.add_classes("ann", ["a"]) == ["b", "c", "a"] and labels(store) == {}
    store.add("ann", [act("2", ["y"], "a")])
    store.undo_class("ann", "u", "d")
    assert labels(store) == {"x": "a", "y": "a"} and store.classes == ["a", "b", "c"]
    with LabelStore.open(store.path) as again:
        assert (labels(again), again.classes) == (labels(store), store.classes)


def test_both_copies_hold_an_act_and_a_change(store: LabelStore, tmp_path: Path):
    store.add("ann", [act("1", ITEMS)])
    store.change_class("ann", "r", "a", "d")
    store.close()
    (tmp_path / "labels.sqlite").unlink()
    with pytest.warns(match="were put back"), LabelStore.open(store.path) as again:
        assert labels(again) == dict.fromkeys(ITEMS, "d")
    assert log_beside(store.path).exists()
