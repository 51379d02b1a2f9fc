"""What there is to label: queries against a slow obvious version, neighbours, progress; and the cache of pictures."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from winnow.errors import OptionError, Unreadable
from winnow.label.catalogue import SHOWS, Catalogue, Listed
from winnow.label.pictures import Pictures, Size
from winnow.label.present import State

CLASSES = ["staff", "customer", "other"]


def table(n: int = 300, seed: int = 0) -> pa.Table:
    """Half frames of five videos, in no order, some with boxes; half pictures in folders. Every tenth id is a copy."""
    rng = np.random.default_rng(seed)
    framed = rng.random(n) < 0.5
    video = [f"/Film ä/{rng.integers(5)}.MP4" for _ in range(n)]
    picture = [f"/pictures/{rng.integers(4)}/{number} (x).jpg" for number in range(n)]
    return pa.table({
        "id": [f"id {number - number % 10}" if number % 10 == 1 else f"id {number}" for number in range(n)],
        "source": [v if f else p for f, v, p in zip(framed, video, picture, strict=True)],
        "group": [f"g{len(v)}" if f else p.rpartition("/")[0] for f, v, p in zip(framed, video, picture, strict=True)],
        "time": pa.array([float(rng.integers(50)) if f else None for f in framed], pa.float64()),
        "box": pa.array([f"{number},2,30,40" if f and number % 2 else None for number, f in enumerate(framed)], pa.string()),
        "confidence": pa.array([number / n if f else None for number, f in enumerate(framed)], pa.float64()),
    })  # fmt: skip


@pytest.fixture
def catalogue() -> Catalogue:
    items = table()
    usable = np.arange(300) % 10 != 1
    chosen = [
        Listed("id 250", "first", 1),
        Listed("id 3", "second", 2),
        Listed("gone", "third", 3),
        Listed("id 120", "", 4),
    ]
    made = Catalogue(items, usable, chosen, [Listed("id 3", "dark", score=0.01), Listed("id 77", "", score=0.02)])
    rng = np.random.default_rng(1)
    states = {}
    for number in rng.choice(300, 120, replace=False):
        kind = rng.integers(3)
        states[f"id {number}"] = (
            State(skipped=True) if kind == 0 else State(CLASSES[rng.integers(3)]) if kind == 1 else State()
        )
    made.mark(states | {"gone": State("staff")}, CLASSES)
    made.states = states
    return made


def slow_query(made: Catalogue, lane, show, label, group, text, after, limit):
    found = []
    for place, row in enumerate(made.lanes[lane].rows.tolist()):
        item = made.describe(row)
        state = made.states.get(item["id"], State())
        kind = "skipped" if state.skipped else "labelled" if state.label else "open"
        if (show in ("all", kind) and (label is None or state.label == CLASSES[label]) and (group is None or item["group"] == group)
                and text.lower() in item["source"].lower()):  # fmt: skip
            found.append((row, place))
    later = [entry for entry in found if entry[1] > after]
    return later[:limit], len(found), len(later) <= limit


@pytest.mark.parametrize("lane", ["chosen", "outliers", "all"])
@pytest.mark.parametrize("show", SHOWS)
def test_a_query_is_a_slow_obvious_one(catalogue: Catalogue, lane: str, show: str):
    for label in (None, 0, 2):
        for group in (None, "/pictures/2"):
            for text in ("", "FILM Ä", ".jpg", "(x)", "12", ".*", "nothing has this"):
                for after, limit in ((-1, 5), (40, 1), (299, 10), (-1, 200)):
                    page = catalogue.query(lane, show, label, group, text, after, limit)
                    found, total, end = slow_query(catalogue, lane, show, label, group, text, after, limit)
                    assert list(zip(page.rows.tolist(), page.places.tolist(), strict=True)) == found
                    assert (page.total, page.end) == (total, end)


def test_every_item_comes_once_by_paging(catalogue: Catalogue):
    seen, after = [], -1
    while True:
        page = catalogue.query("all", after=after, limit=7)
        seen += page.rows.tolist()
        if page.end:
            break
        after = int(page.places[-1])
    assert seen == [row for row in range(300) if row % 10 != 1]  # copies are not labelled twice


def test_progress_and_counts(catalogue: Catalogue):
    states = {item: state for item, state in catalogue.states.items() if item in catalogue}
    assert catalogue.counts(3) == [sum(state.label == name for state in states.values()) for name in CLASSES]
    assert catalogue.progress("all") == {
        "total": 270,
        "labelled": sum(state.label is not None for state in states.values()),
        "skipped": sum(state.skipped for state in states.values()),
    }
    assert catalogue.progress("chosen")["total"] == 3
    catalogue.mark({"id 3": State("customer")}, CLASSES)
    catalogue.mark({"id 3": State()}, CLASSES)
    assert catalogue.query("outliers", "open").total >= 1
    assert Catalogue(table(0)).counts(2) == [0, 0]
    assert Catalogue(table(0)).query("all").end


def test_neighbours_are_the_nearest_of_the_same_source(catalogue: Catalogue):
    rows = catalogue.lanes["all"].rows.tolist()
    for row in rows:
        about = catalogue.describe(row)
        timed = about["time"] is not None
        if about["box"]:
            continue
        before, after = catalogue.neighbours(row)
        key = "source" if timed else "group"
        strand = [
            other
            for other in rows
            if catalogue.describe(other)[key] == about[key] and (catalogue.time(other) is None) != timed
        ]
        strand.sort(key=lambda other: (catalogue.time(other) or 0.0, other))
        place = strand.index(row)
        assert before == strand[max(0, place - 4) : place]
        assert after == strand[place + 1 : place + 5]


def test_neighbours_of_a_crop_are_those_of_its_place():
    rng = np.random.default_rng(0)
    n = 200
    times, boxes = rng.integers(0, 12, n) / 2, rng.integers(0, 500, (n, 4))
    made = Catalogue(pa.table({
        "id": [f"{number}" for number in range(n)],
        "source": [f"/{number % 2}.mp4" for number in range(n)],
        "group": [""] * n,
        "time": times,
        "box": [",".join(map(str, box)) for box in boxes],
        "confidence": [0.5] * n,
    }))  # fmt: skip
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    for row in range(n):
        moments = sorted(set(times[row % 2 :: 2]))
        place = moments.index(times[row])
        expected = []
        for moment in moments:
            there = [other for other in range(row % 2, n, 2) if times[other] == moment]
            expected.append(min(there, key=lambda other: np.hypot(*(middles[other] - middles[row]))))
        assert made.neighbours(row) == (expected[max(0, place - 4) : place], expected[place + 1 : place + 5])


def test_what_is_known_of_an_item(catalogue: Catalogue):
    row = catalogue.row("id 3")
    about = catalogue.describe(row)
    assert (about["rank"], about["why"], about["score"], about["id"]) == (2, "second; dark", 0.01, "id 3")
    crop = next(row for row in range(300) if catalogue.box(row))
    about = catalogue.describe(crop)
    assert about["box"] == [crop, 2, 30, 40] and about["confidence"] == pytest.approx(crop / 300, abs=1e-4)
    assert about["name"].endswith(".MP4") and about["time"] == catalogue.time(crop)
    assert catalogue.timed and "gone" not in catalogue
    assert catalogue.row("id 10") == 10  # not its copy at 11


@pytest.mark.parametrize(
    ("lane", "show", "group"), [("alle", "all", None), ("all", "opened", None), ("all", "all", "g")]
)
def test_unknown_names_are_refused(catalogue: Catalogue, lane: str, show: str, group: str | None):
    with pytest.raises(OptionError, match="There is no"):
        catalogue.query(lane, show, None, group)


# ---- pictures


def test_pictures_are_made_once_kept_within_bounds_and_forgotten_when_they_fail():
    made: list[tuple[int, Size]] = []
    lock = threading.Lock()

    def make(row: int, size: Size) -> tuple[bytes, str]:
        with lock:
            made.append((row, size))
        time.sleep(0.02)
        if row == 99:
            raise Unreadable("gone")
        return bytes(100), "same"

    async def go() -> None:
        pictures = Pictures(make, most=1000)
        await asyncio.gather(*(pictures.get(1, "small") for _ in range(20)), pictures.get(1, "large"))
        assert sorted(made) == [(1, "large"), (1, "small")]
        for row in range(2, 10):
            await pictures.get(row, "small")
        await pictures.get(1, "small")  # used again, so that it is not the oldest
        assert len(made) == 10
        await pictures.get(10, "small")
        await pictures.get(1, "small")
        assert len(made) == 11
        await pictures.get(1, "large")
        assert len(made) == 12
        assert pictures._bytes == 1000 == sum(len(jpeg) for jpeg, _ in pictures._kept.values())
        for _ in range(2):
            with pytest.raises(Unreadable):
                await pictures.get(99, "small")
        assert made.count((99, "small")) == 2 and not pictures._coming
        pictures.close()

    asyncio.run(go())
