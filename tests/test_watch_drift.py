"""Drift of what is watched and served: the bets of an interrupted watch against those of one, the alarm, and what a file must have."""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.deploy.drift import SIDE, counted, drift_of, look_of, pictures_of, what_changed
from winnow.deploy.runtime import DIRECTIONS, Deployed
from winnow.deploy.serve.answers import DriftAnswer
from winnow.deploy.serve.drifting import ServedDrift
from winnow.deploy.serve.metrics import Metrics
from winnow.deploy.serve.served import Current, Served
from winnow.detect.drift import Drift
from winnow.detect.live_drift import LOOKED, SHOWN, LiveDrift, Look
from winnow.errors import OptionError
from winnow.options import IngestOptions
from winnow.pool.in_memory import InMemory
from winnow.pool.parts import cut_up
from winnow.steps.watch import watch
from winnow.watch.book import Book
from winnow.watch.drifts import Drifts
from winnow.watch.messages import is_kind
from winnow.watch.moments import Moment
from winnow.watch.view import Standing, View, lines
from winnow.watch.watcher import Watcher

from exported import write_exported
from serving import Serving

INGEST = IngestOptions(size=(24, 32), workers=1)
LEVELS = np.random.default_rng(1).normal(120, 8, 400).clip(60, 200).round()
LOOKS = {"brightness": (120.0, 8.0), "contrast": (0.0, 1.0), "sharpness": (0.0, 1.0), "noise": (0.0, 1.0)}


def write_model(folder: Path, name: str = "model.onnx", threshold: float = 140 / 255) -> Path:
    """A file of which the mean brightness is the score, with calibration scores."""
    said = {"scores": (LEVELS[:100] / 255).tolist(), "looks": LOOKS, "looked": 100, "directions": 3}
    return write_exported(folder / name, classes=None, threshold=threshold, ingest=INGEST, level=0.05, calibration=said)


def moment(source: str, time: float | None, level: float) -> Moment:
    found = cut_up(f"{source}@{time}", np.full((24, 32, 3), level, np.uint8), INGEST, None, None)
    return Moment(source, mark="m", time=time, pool=InMemory(source, [(None, time, found)], INGEST))


@contextlib.contextmanager
def watcher(folder: Path, to: Path, told: list[str], alarm: float = 0.01):
    """A watch that judges only what it is handed."""
    current = Current(folder / "model.onnx", partial(Served.open, threads=1, most_pixels=50.0), told.append)
    with contextlib.closing(Book(to)) as book:
        drifts = Drifts(current.served.model, book, alarm, 3.0, 1, told.append)
        yield Watcher([str(folder)], current, book, View(told.append), poll=1.0, away=2.0, drifts=drifts)


def events(to: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(to.glob("events/*.jsonl")) for line in path.read_text().splitlines()]


def plain(to: Path) -> list[dict[str, object]]:
    memory = ("at", "number", "pictures")  # pictures before and since are those of one process
    return [{key: value for key, value in event.items() if key not in memory} for event in events(to)]


def moments(folder: Path) -> list[Moment]:
    """A film of 240 s, darker from 120 s on, each block of frames that are alike, and pictures after it."""
    film = [
        moment(f"{folder}/film.ts", at, LEVELS[100 + at // 3 % 250] - (15 if at >= 120 else 0)) for at in range(240)
    ]
    return [
        *film,
        Moment(f"{folder}/film.ts", "ended", "m"),
        *(moment(f"{folder}/{n}.png", None, 100) for n in range(3)),
    ]


def test_an_interrupted_watch_bets_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, told = tmp_path / "in", list[str]()
    folder.mkdir()
    write_model(folder)
    come = moments(folder)
    with watcher(folder, tmp_path / "whole", told) as whole:
        for start in range(0, len(come), 8):
            whole.judge(come[start : start + 8])
        whole.view.close(whole.standing, {})
        assert whole.drifts and whole.drifts.says(str(folder))
    (alarm,) = (one for one in events(tmp_path / "whole") if one["event"] == "drift")
    assert is_kind(alarm, "drift") and alarm["source"] == str(folder) and 120 <= alarm["time"] < 240
    assert 15 <= alarm["since"] <= 46 and alarm["since"] < alarm["blocks"] and "darker by " in str(alarm["changes"])
    assert "standard deviations (directions 1, 2, 3)" in str(alarm["changes"])
    with Image.open(
        tmp_path / "whole" / str(alarm["pictures"])
    ) as sheet:  # the last of the light ones above, of the dark ones below
        pixels = np.asarray(sheet.convert("L"))
        rows = [pixels[round(share * len(pixels)), SIDE // 2 :: SIDE + 4] for share in (0.28, 0.78)]
    assert all(len(row) == SHOWN for row in rows) and all(100 < row.mean() < 255 for row in rows)
    assert rows[0].mean() - rows[1].mean() > 8 and str(alarm["pictures"]) in next(
        line for line in told if "HOLD" in line
    )
    assert sum("THE THRESHOLD MAY NOT HOLD" in line for line in told) == 1 and "may not hold" in told[-1]

    place, commit, turn = 0, Book.commit, 0

    def killed(self: Book, *given: object, **named: object) -> object:
        raise KeyboardInterrupt  # what was judged and not committed is judged again

    while place < len(come):
        with watcher(folder, tmp_path / "parts", told) as part:
            part.judge(come[place : place + 7])
            place, turn = place + 7, turn + 1
            if turn % 3 == 0 and place < len(come):
                monkeypatch.setattr(Book, "commit", killed)
                with pytest.raises(KeyboardInterrupt):
                    part.judge(come[place : place + 5])
                monkeypatch.setattr(Book, "commit", commit)
    assert plain(tmp_path / "whole") == plain(tmp_path / "parts")
    books = [contextlib.closing(Book(tmp_path / to)) for to in ("whole", "parts")]
    with books[0] as first, books[1] as second:
        query = "SELECT name, value FROM kept WHERE name LIKE 'drift %'"
        kept = [dict(book._state.execute(query)) for book in (first, second)]
        assert kept[0] == kept[1] and len(kept[0]) == 1
        (name,) = (one.removeprefix("drift ") for one in kept[0])
        assert first.scores(name) == second.scores(name) and len(first.scores(name)) == 80 + 3
        drift = Drift(LEVELS[:100] / 255, 140 / 255)  # by what was bet on alone
        drift.extend(first.scores(name))
        assert drift.as_json() == json.loads(kept[0][f"drift {name}"])["drift"]
    with watcher(folder, tmp_path / "parts", told) as later:  # it is told once
        later.judge([moment(f"{folder}/later.png", None, 60)])
        assert later.drifts and "may not hold" in lines(later.standing, {})[0]
    assert sum(one["event"] == "drift" for one in events(tmp_path / "parts")) == 1


def test_a_block_is_stood_for_by_any_of_its_pictures(tmp_path: Path) -> None:
    places: list[float] = []
    for number in range(300):
        live = LiveDrift(Drift([0.5], 1.0))
        for place in range(5):
            assert not live.add(f"film {number}", place / 10, lambda: Look([1.0]))
        places += live.end()
    assert all(30 < places.count(place / 10) < 95 for place in range(5)) and live.end() == []
    live = LiveDrift(Drift(np.linspace(0, 1, 50), 2.0))
    for _ in range(LOOKED + 50):
        live.add("", 0.999, lambda: Look([1.0]))
    assert len(live.looks) == LOOKED and live.drift.since < 5 and pictures_of(live) is None


def test_pictures_are_the_last_before_and_since() -> None:
    live, rng = LiveDrift(Drift(np.linspace(0, 1, 50), 2.0)), np.random.default_rng(0)

    def come(score: float, level: int) -> None:
        live.add("", score, lambda: Look([1.0], np.full((8, 6, 1), level, np.uint8)))

    levels = list(range(90))
    for level in levels[:60]:
        come(float(rng.random()), level)
    for level in levels[60:]:
        come(0.999, level)
    since = live.drift.since - 1  # the number of pictures before it
    assert 50 < since < 70
    assert [one[0, 0, 0] for one in live.before] == levels[since - SHOWN : since]
    assert [one[0, 0, 0] for one in live.since] == levels[-SHOWN:]
    sheet = pictures_of(live)
    assert sheet is not None and sheet.dtype == np.uint8 and sheet.shape[2] == 3


def test_another_threshold_is_bet_on_anew_and_a_file_without_scores_not_at_all(tmp_path: Path) -> None:
    write_model(tmp_path)
    told: list[str] = []
    first, same, other = (
        Deployed.open(write_model(tmp_path, name, threshold))
        for name, threshold in (("a.onnx", 0.55), ("b.onnx", 0.55), ("c.onnx", 0.6))
    )
    bare = Deployed.open(write_exported(tmp_path / "bare.onnx", classes=None, threshold=0.6, ingest=INGEST))
    with contextlib.closing(Book(tmp_path / "watched")) as book:
        drifts = Drifts(first, book, 0.01, 60.0, 2, told.append)

        def bet(model: Deployed) -> int:
            drifts.follow(model)
            drifts.add("in", moment("in/a.png", None, 120), [{"event": "verdict", "score": 0.47}], None)
            kept, scores = drifts.take()
            book.commit([], kept=kept, scores=scores)
            return drifts._live("in").drift.blocks if kept else 0

        assert [bet(one) for one in (first, same, other, same, bare, bare)] == [1, 2, 1, 3, 0, 0]
        assert drifts._alarm == 0.005 and len(told) == 1 and "is not watched any more" in told[0]
    film = tmp_path / "in"
    film.mkdir()
    with pytest.raises(OptionError, match=r"needs calibration scores.*(?s:.)*winnow export"):
        watch(tmp_path / "bare.onnx", [str(film)], to=tmp_path / "to", drift_alarm=0.01)
    with pytest.raises(OptionError, match="--drift-block is 0"):
        watch(tmp_path / "a.onnx", [str(film)], to=tmp_path / "to", drift_alarm=0.01, drift_block=0)
    assert not (tmp_path / "to").exists()


def test_what_changed_is_told_by_the_looks_of_the_run(tmp_path: Path) -> None:
    model = Deployed.open(write_model(tmp_path))
    pool = moment("a.png", None, 80).pool
    assert pool is not None
    places = model.outputs(pool.pixels(slice(None)), [DIRECTIONS])[DIRECTIONS]
    look = look_of(pool, slice(None), places).values
    told = "the embeddings moved by up to 3.7 standard deviations (directions 1, 2, 3)"
    darker = "darker by 5.0 standard deviations (brightness 120, now 80)"
    assert what_changed(model, [look] * 3) == [darker, told]
    assert what_changed(model, [look_of(pool, slice(None)).values] * 3) == []  # of an export without directions
    about = model.about.calibration
    assert about is not None
    earlier = {"scores": about.scores, "looks": about.looks}  # as files of format 2 have it
    path = write_exported(tmp_path / "earlier.onnx", classes=None, threshold=0.5, ingest=INGEST, calibration=earlier)
    assert what_changed(Deployed.open(path), [look] * 3) == [
        "not known, for the file was exported by an earlier version"
    ]
    assert what_changed(model, []) == [] and drift_of(model, 0.01).drift.alarm == 0.01


def test_each_crop_has_its_own_look_and_a_picture_that_is_cut_one(tmp_path: Path) -> None:
    pixels = np.concatenate([moment("a.png", None, level).pool.pixels(slice(None)) for level in (60, 180)])

    class Two:
        def pixels(self, rows: slice) -> np.ndarray:
            return pixels[rows]

    rows, places = [{"score": 0.2}, {"score": 0.7}], np.array([[1.0], [3.0]])
    model = Deployed.open(write_model(tmp_path))
    found = counted(model, Two(), rows, places)
    assert [score for score, _ in found] == [0.2, 0.7]
    assert [(look().values[0], look().values[-1]) for _, look in found] == [(60, 1), (180, 3)]
    model.picture_threshold = 0.9
    ((score, look),) = counted(model, Two(), rows, places)
    assert (score, look().values[0], look().values[-1]) == (0.7, 120, 2)
    assert counted(model, Two(), [{"class": "a", "score": None}], None) == []


def answers(served: Served, drift: ServedDrift, levels: Sequence[float]) -> None:
    for level in levels:
        pool = moment("picture", None, level).pool
        assert pool is not None
        places = served.model.outputs(pool.pixels(slice(None)), served.model.drift_names).get(DIRECTIONS)
        drift.add(served.model, pool, [{"score": level / 255, "belongs": True}], places)


def test_served_pictures_count_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served.open(write_model(tmp_path), threads=1, most_pixels=50.0)
    told, now = list[str](), [0.0]
    monkeypatch.setattr("winnow.deploy.serve.drifting.time.time", lambda: now[0])
    drift = ServedDrift(0.01, 60.0, told.append, tmp_path, 3)
    for minute in range(200):
        now[0] = minute * 60.0
        answers(served, drift, LEVELS[100 + minute] - np.array([10, 10, 10]) * (minute > 100))
    assert drift.live and drift.live.drift.blocks == 199 and drift.live.drift.at and drift.live.drift.at > 100
    assert len(told) == 1 and "darker by 1" in told[0]
    (alarm,) = drift.alarms()
    assert alarm["worker"] == 3 and alarm["blocks"] == drift.live.drift.at and "direction" in str(alarm["changes"])
    assert drift.picture(0) is None
    with Image.open(io.BytesIO(drift.picture(3) or b"")) as sheet:
        assert sheet.format == "JPEG"
    other = Served.open(write_model(tmp_path, "other.onnx", 0.6), threads=1, most_pixels=50.0)
    answers(other, drift, [120])  # another threshold: what was told was of the one before
    assert drift.alarms() == [] and drift.picture(3) is None
    (tmp_path / "drift-3.json").write_text("{}")
    bare = write_exported(tmp_path / "bare.onnx", classes=None, threshold=0.6, ingest=INGEST)
    answers(Served.open(bare, threads=1, most_pixels=50.0), drift, [120])
    assert drift.live is None and drift.alarms() == [] and "is not watched any more" in told[-1]


def test_an_alarm_that_cannot_be_written_stops_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served.open(write_model(tmp_path), threads=1, most_pixels=50.0)
    told, now = list[str](), [0.0]
    monkeypatch.setattr("winnow.deploy.serve.drifting.time.time", lambda: now[0])
    drift = ServedDrift(0.01, 60.0, told.append, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        for minute in range(90):
            now[0] = minute * 60.0
            answers(served, drift, [LEVELS[100 + minute] - 40 * (minute > 40)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (
        len(told) == 2
        and "MAY NOT HOLD ANY MORE (worker 0)" in told[0]
        and "drift-0.jpg cannot be written (file too" in told[1]
    )
    assert drift.alarms() == [] and drift.picture(0) is None


def test_each_worker_has_its_numbers(tmp_path: Path) -> None:
    both = [Metrics(tmp_path / "numbers", 2, worker) for worker in (0, 1)]
    assert "drift" not in both[0].text()
    for worker, metrics in enumerate(both):
        metrics.set("drift_blocks", 10 + worker)
        metrics.set("drift_capital_log10", worker - 0.5)
    text = both[1].text()
    assert 'winnow_drift_blocks{worker="0"} 10\n' in text and 'winnow_drift_capital_log10{worker="1"} 0.5\n' in text
    assert 'winnow_drift_alarm{worker="1"} 0\n' in text


def test_a_server_tells_its_drift(tmp_path: Path) -> None:
    sent = []
    for level in [*LEVELS[100:130], *[70] * 40]:
        data = io.BytesIO()
        Image.new("RGB", (32, 24), (int(level),) * 3).save(data, "PNG")
        sent.append(data.getvalue())
    with Serving(write_model(tmp_path), "--drift-alarm", 0.01, "--drift-block", 0.001) as server:
        for data in sent:
            server.predict(data)

        def numbers() -> dict[str, str]:
            return dict(
                re.findall(r'winnow_drift_(\w+)\{worker="0"\} (\S+)', server.request("GET", "/metrics")[2].decode())
            )

        found = numbers()
        while found.get("alarm") != "1":  # it counts each second
            found = numbers()
        assert float(found["blocks"]) >= 60 and float(found["capital_log10"]) >= 2
        told = json.loads(server.request("GET", "/v1/drift")[2])
        assert told["watched"] and DriftAnswer.model_validate(told).alarms[0].changes[0].startswith("darker by")
        status, _, sheet = server.request("GET", told["alarms"][0]["pictures"])
        assert status == 200 and sheet.startswith(b"\xff\xd8")
        assert server.request("GET", "/v1/drift/7")[0] == 404
    with Serving(tmp_path / "model.onnx") as server:
        assert json.loads(server.request("GET", "/v1/drift")[2]) == {"watched": False, "alarms": []}
        assert server.request("GET", "/v1/drift/0")[0] == 404


def test_a_log_gets_a_line_of_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[str]()
    monkeypatch.setattr("winnow.watch.view.time.monotonic", lambda: now[0])
    view, standing = View(told.append, terminal=False), {"door": Standing(), "yard": Standing()}

    def after(seconds: float) -> list[str]:
        now[0] += seconds
        told.clear()
        view.show(standing, {}, [])
        return told

    assert after(9.0) == []
    assert after(2.0) == ["door: 0 judged, 0 do not belong", "yard: 0 judged, 0 do not belong"]
    assert after(11.0) == []
    standing["yard"].counts["verdict"] += 1
    assert after(9.0) == [] and after(2.0) == ["yard: 1 judged, 0 do not belong"]
