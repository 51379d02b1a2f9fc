"""Boxes linked over time: known answers, a slow version, and what a pool keeps of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_people import scene, wanting
from test_pool import contents

from winnow import show
from winnow.errors import RunError
from winnow.objects import tracks
from winnow.objects.tracks import Tracker, Tracks, distances, looks_of
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest, read
from winnow.pool.plan import Wanted
from winnow.pool.pool import Pool

from tiny_detectors import BLUE, write_yolox
from videos import write

RED_LOOK, GREEN_LOOK = np.eye(6)[0] * 0.9 + 0.1 / 6, np.eye(6)[3] * 0.9 + 0.1 / 6


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    return write_yolox(tmp_path_factory.mktemp("detector") / "yolox.onnx")


def followed(places: dict[str, list[tuple[float, float] | None]], looks: dict[str, np.ndarray], *, step: float = 0.1,
             gap: float = 1.0) -> dict[str, list[int]]:  # fmt: skip
    """Return the track of each object at each time it is seen; objects are boxes of 20x40 round their places."""
    tracker, found = Tracker(gap), {name: [] for name in places}
    for moment in range(max(map(len, places.values()))):
        seen = [name for name, path in places.items() if moment < len(path) and path[moment] is not None]
        boxes = np.array([[places[name][moment][0] - 10, places[name][moment][1] - 20, 20, 40] for name in seen])
        some = np.array([looks[name] for name in seen])
        for name, number in zip(seen, tracker.add(moment * step, boxes.reshape(-1, 4), some), strict=True):
            found[name].append(int(number))
    return found


def test_two_who_cross_keep_their_tracks_by_where_they_go():
    paths = {"a": [(100 + 6 * t, 100) for t in range(30)], "b": [(274 - 6 * t, 104) for t in range(30)]}
    found = followed(paths, {"a": RED_LOOK, "b": RED_LOOK})
    assert set(found["a"]) == {0} and set(found["b"]) == {1}


def test_two_who_meet_and_turn_are_told_apart_by_how_they_look():
    back = [(100 + 6 * t, 100) for t in range(15)] + [(184 - 6 * t, 100) for t in range(15)]
    paths = {"a": back, "b": [(374 - x, y + 2) for x, y in back]}
    found = followed(paths, {"a": RED_LOOK, "b": GREEN_LOOK})
    assert set(found["a"]) == {0} and set(found["b"]) == {1}


@pytest.mark.parametrize(("hidden", "gap", "same"), [(6, 1.0, True), (6, 0.5, False), (12, 1.0, False)])
def test_one_who_is_hidden_for_a_while_is_the_same(hidden, gap, same):
    path = [(100 + 3 * t, 100) if not 10 <= t < 10 + hidden else None for t in range(40)]
    numbers = followed({"a": path}, {"a": RED_LOOK}, gap=gap)["a"]
    assert numbers[0] == numbers[9] and (numbers[9] == numbers[10]) is same and numbers[10] == numbers[-1]


def test_frames_that_show_nobody_count_as_time():
    tracker, box, look = Tracker(), np.array([[0, 0, 20, 40]]), RED_LOOK[None]
    assert tracker.add(0.0, box, look).tolist() == [0]
    for moment in range(1, 20):
        assert tracker.add(moment / 10, np.empty((0, 4), int), np.empty((0, 0))).tolist() == []
    assert tracker.add(2.0, box, look).tolist() == [1]


def test_one_who_leaves_and_another_who_enters_are_two():
    paths = {"a": [(300 + 6 * t, 100) for t in range(8)], "b": [*[None] * 8, *[(10 + 6 * t, 100) for t in range(8)]]}
    assert followed(paths, {"a": RED_LOOK, "b": RED_LOOK}) == {"a": [0] * 8, "b": [1] * 8}


def test_another_look_or_size_at_the_same_place_is_another_one():
    paths = {"a": [(100, 100)] * 5, "b": [*[None] * 5, *[(100, 100)] * 5]}
    assert followed(paths, {"a": RED_LOOK, "b": GREEN_LOOK})["b"] == [1] * 5
    assert followed(paths, {"a": RED_LOOK, "b": RED_LOOK})["b"] == [0] * 5
    tracker = Tracker()
    tracker.add(0.0, np.array([[0, 0, 20, 40]]), RED_LOOK[None])
    assert tracker.add(0.1, np.array([[-60, -140, 140, 320]]), RED_LOOK[None]).tolist() == [1]


# ---- against a slow version


class Slow:
    """The same with a Kalman filter of matrices for each object, and every assignment tried."""

    def __init__(self) -> None:
        self.objects, self.count, self.time = [], 0, 0.0

    def add(self, time: float, boxes: np.ndarray, looks: np.ndarray) -> list[int]:
        before, self.time = self.time, time
        if not len(boxes):
            return []
        self.objects = [one for one in self.objects if time - one["last"] <= tracks.GAP]
        seen = [(box[:2] + box[2:] / 2, box[2:].astype(float), look) for box, look in zip(boxes, looks, strict=True)]
        costs = [[self.cost(one, time, before, *some) for one in self.objects] for some in seen]
        best = min(
            self.assignments(len(seen), len(self.objects)),
            key=lambda pairs: sum(min(costs[row][at], tracks.WORST) for row, at in pairs) - tracks.WORST * len(pairs),
        )
        linked = {row: self.objects[at] for row, at in best if costs[row][at] < tracks.WORST}
        for row, (centre, size, look) in enumerate(seen):
            if row in linked:
                self.update(linked[row], time, centre, size, look)
                continue
            spread = np.diag([tracks.JITTER**2, tracks.SPEED**2] * 2)
            state = np.array([centre[0], 0, centre[1], 0])
            self.objects.append(
                {"number": self.count, "state": state, "spread": spread, "size": size, "look": look, "last": time}
            )
            linked[row] = self.objects[-1]
            self.count += 1
        return [linked[row]["number"] for row in range(len(seen))]

    @staticmethod
    def assignments(rows: int, objects: int):
        for count in range(min(rows, objects) + 1):
            for some in itertools.combinations(range(rows), count):
                for at in itertools.permutations(range(objects), count):
                    yield list(zip(some, at, strict=True))

    @staticmethod
    def expected(one: dict, time: float) -> tuple[np.ndarray, np.ndarray]:
        after = time - one["last"]
        step = np.kron(np.eye(2), [[1, after], [0, 1]])
        noise = np.kron(np.eye(2), [[after**3 / 3, after**2 / 2], [after**2 / 2, after]]) * tracks.ACCELERATION**2
        return step @ one["state"], step @ one["spread"] @ step.T + noise

    def cost(self, one: dict, time: float, before: float, centre, size, look) -> float:
        state, spread = self.expected(one, time)
        variance = spread[0, 0] + tracks.JITTER**2
        apart = ((centre - state[::2]) / one["size"][1]) @ ((centre - state[::2]) / one["size"][1]) / variance
        if apart > tracks.FARTHEST:
            return np.inf
        hellinger = np.sqrt(max(0, 1 - np.sqrt(look * one["look"]).sum()))
        high = np.log(size[1] / one["size"][1])
        likely = apart / 2 + (high / tracks.SIZE) ** 2 / 2 + (hellinger / tracks.LOOK) ** 2 / 2
        return likely + np.log(variance / tracks.JITTER**2) + (before - one["last"]) * tracks.HIDDEN

    def update(self, one: dict, time: float, centre, size, look) -> None:
        state, spread = self.expected(one, time)
        shown = np.kron(np.eye(2), [[1, 0]])
        gain = spread @ shown.T @ np.linalg.inv(shown @ spread @ shown.T + np.eye(2) * tracks.JITTER**2)
        one["state"], one["spread"] = state + gain @ (centre - shown @ state), (np.eye(4) - gain @ shown) @ spread
        one["size"] = one["size"] + (size - one["size"]) * min(1, 0.2 + time - one["last"])
        one["look"] = one["look"] + tracks.FOLLOWED * (look - one["look"])
        one["last"] = time


@pytest.mark.parametrize("seed", range(8))
def test_the_same_as_a_slow_version(seed):
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, 150, (4, 2)), rng.normal(0, 25, (4, 2))
    look = rng.dirichlet(np.ones(6) * 3, 4)
    fast, slow = Tracker(), Slow()
    for moment in range(40):
        speed += rng.normal(0, 25, (4, 2))
        place = place + speed * 0.1
        seen = rng.permutation(4)[: rng.integers(0, 5)]
        sizes = np.array([20, 40]) * rng.uniform(0.9, 1.1, (len(seen), 1))
        boxes = np.round(np.hstack([place[seen] + rng.normal(0, 1, (len(seen), 2)) - sizes / 2, sizes])).astype(int)
        looks = look[seen] * rng.uniform(0.6, 1.4, (len(seen), 6))
        looks /= looks.sum(axis=1, keepdims=True)
        assert fast.add(moment / 10, boxes, looks).tolist() == slow.add(moment / 10, boxes, looks)
    assert fast.count >= 4


def test_looks_are_histograms_of_bands_of_the_middle():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, 13, 10, 3), dtype=np.uint8)
    found = looks_of(crops)
    assert found.shape == (3, 3 * 3 * 8)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    for crop, look in zip(crops, found, strict=True):
        expected = []
        for band in np.array_split(crop[:, 2:8].astype(float) / 255, 3):
            red, green, blue = band[..., 0], band[..., 1], band[..., 2]
            for plane in ((red + green + blue) / 3, red - green + 0.5, (red + green) / 2 - blue + 0.5):
                bins = np.zeros(8)
                for value in np.clip(plane, 0, 1).ravel() * 7:
                    low = min(int(value), 6)
                    bins[low] += 1 - (value - low)
                    bins[low + 1] += value - low
                expected.append(bins / plane.size)
        np.testing.assert_allclose(look, np.hstack(expected) / 9, atol=1e-6)
    assert looks_of(crops[..., :1]).shape == (3, 24)
    assert distances(found, found).diagonal() == pytest.approx(0, abs=1e-3)
    assert distances(found[:1], np.roll(found[:1], 8, axis=1))[0, 0] > 0.2


def test_boxes_too_sparse_in_time_are_not_linked():
    crop = np.zeros((1, 16, 8, 3), np.uint8)
    for step, linked in ((0.1, True), (tracks.LONGEST_STEP, True), (0.3, False), (1.0, False)):
        found = Tracks()
        for moment in range(5):
            found.add(moment * step, np.array([[0, 0, 8, 16]]), crop)
        assert found.step == pytest.approx(step) and found.numbers == ([0] * 5 if linked else [])
    assert Tracks().step is None and Tracks().numbers == []


# ---- in a pool


def film(path: Path, seed: int = 0, rate: int = 10) -> Path:
    """A film of two persons who walk past one another, above and below; the second is hidden for two frames, then leaves."""
    frames = []
    for number in range(7):
        blocks = [(8 * number, 8, BLUE)] + ([(48 - 8 * number, 40, BLUE)] if number not in (2, 3, 6) else [])
        frames.append(scene(*blocks, seed=seed + number))
    return write(path, frames, codec="ffv1", form="bgr0", rate=rate)


def test_a_pool_names_a_track_by_its_first_crop(detector, tmp_path):
    films = [film(tmp_path / "a.mkv"), film(tmp_path / "b.mkv", seed=50)]
    result = ingest(films, tmp_path / "pool", wanting(detector, every=0.1))
    pool = Pool.open(tmp_path / "pool")
    assert result.tracks == 4 and len(pool) == 22
    assert "Found 22 crops in 4 tracks." in show.ingest(result)
    for name, source, track, box in zip(*(pool.column(name) for name in ("id", "source", "track", "box")), strict=True):
        above = int(box.split(",")[1]) < 20
        assert track == f"{source}@0.000#{'0,4,12,16' if above else '44,36,16,16'}", name


def test_persons_in_sparse_frames_and_pictures_have_no_track(detector, tmp_path):
    from PIL import Image

    Image.fromarray(scene((8, 8, BLUE))).save(tmp_path / "still.png")
    slow = film(tmp_path / "slow.mkv", rate=1)
    result = ingest([tmp_path / "still.png", slow], tmp_path / "pool", wanting(detector, every=0.1))
    assert result.tracks == 0 and set(Pool.open(tmp_path / "pool").column("track")) == {None}
    (note,) = [note for note in result.notes if "not followed" in note]
    assert "in 1 video: its frames are 1 s apart. With --every 0.1" in note
    result = ingest([tmp_path / "still.png"], tmp_path / "other", wanting(detector, every=0.1))
    assert not any("not followed" in note for note in result.notes)
    dense = ingest([film(tmp_path / "dense.mkv")], tmp_path / "third", wanting(detector, every=0.1))
    assert not any("not followed" in note for note in dense.notes)


def test_tracks_are_the_same_bytes_by_threads_processes_and_additions(detector, tmp_path):
    films = [film(tmp_path / f"{name}.mkv", seed=number) for number, name in enumerate("abc")]
    options = wanting(detector, every=0.1)
    ingest(films, tmp_path / "one", options.model_copy(update={"workers": 1}))
    ingest(films, tmp_path / "more", options.model_copy(update={"workers": 5}))
    read(tmp_path / "run" / "pool", Wanted(films, options), runner="processes")
    ingest(films[:1], tmp_path / "added", options)
    ingest(films, tmp_path / "added", options)
    assert contents(tmp_path / "one") == contents(tmp_path / "more") == contents(tmp_path / "run" / "pool")
    assert contents(tmp_path / "one") == contents(tmp_path / "added")


def test_a_pool_of_before_there_were_tracks_still_opens_and_grows(detector, tmp_path):
    options, folder = wanting(detector, every=0.1), tmp_path / "pool"
    ingest([film(tmp_path / "a.mkv")], folder, options)
    without_tracks(folder)
    pool = Pool.open(folder)
    assert len(pool) == 11 and set(pool.column("track")) == {None}
    result = ingest([film(tmp_path / "b.mkv", seed=50)], folder, options)
    pool = Pool.open(folder)
    assert result.tracks == 2 and not any("not followed" in note for note in result.notes)
    assert {track is None for track in pool.column("track")[pool.column("source") == str(tmp_path / "a.mkv")]} == {True}


def without_tracks(folder: Path) -> None:
    """Make a pool what it was before there were tracks."""
    from winnow.files import sealed, unsealed, write_json, write_sealed

    for path in (folder / "parts").glob("*.json"):
        part = unsealed(path, json.loads(path.read_text()), "")
        write_json(path, sealed({name: value for name, value in part.items() if name not in ("tracks", "step")}))
    table = pq.read_table(folder / "items.parquet").drop_columns(["track"])
    pq.write_table(table, folder / "items.parquet")
    about = json.loads((folder / "pool.json").read_text())
    about = {name: value for name, value in about.items() if name not in ("tracks", "sha256", "seal")}
    write_sealed(folder / "pool.json", about, ["items.parquet", "pictures.parquet"])


def test_tracks_change_the_fingerprint_of_the_table_alone(detector, tmp_path, monkeypatch):
    options = wanting(detector, every=0.1)
    ingest([film(tmp_path / "a.mkv")], tmp_path / "one", options)
    monkeypatch.setattr(tracks, "FARTHEST", 0.0)  # nothing is linked
    ingest([film(tmp_path / "a.mkv")], tmp_path / "other", options)
    one, other = Pool.open(tmp_path / "one"), Pool.open(tmp_path / "other")
    assert one.fingerprint == other.fingerprint and one.table_fingerprint != other.table_fingerprint
    assert one.label_fingerprint == other.label_fingerprint


def test_pictures_and_films_without_people_have_none(tmp_path):
    ingest([film(tmp_path / "a.mkv")], tmp_path / "pool", IngestOptions(size=(24, 16), every=0.1))
    assert set(Pool.open(tmp_path / "pool").column("track")) == {None}
    with pytest.raises(RunError, match="--no-people"):
        ingest([tmp_path / "a.mkv"], tmp_path / "pool", IngestOptions(size=(24, 16), every=0.1, people=True,
               object_detector=str(write_yolox(tmp_path / "y.onnx"))))  # fmt: skip
