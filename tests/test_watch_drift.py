"""Drift of what is watched and served: the bets of an interrupted watch against those of one, the alarm, and what a file must have."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.deploy.drift import drift_of, look_of, what_changed
from winnow.deploy.runtime import Deployed
from winnow.deploy.serve.drifting import ServedDrift
from winnow.deploy.serve.metrics import Metrics
from winnow.deploy.serve.served import Current, Served
from winnow.detect.drift import Drift
from winnow.detect.live_drift import LOOKED, LiveDrift
from winnow.errors import OptionError
from winnow.options import IngestOptions
from winnow.pool.in_memory import InMemory
from winnow.pool.parts import cut_up
from winnow.steps.watch import watch
from winnow.watch.book import Book
from winnow.watch.drifts import Drifts
from winnow.watch.messages import is_kind
from winnow.watch.moments import Moment
from winnow.watch.view import View, lines
from winnow.watch.watcher import Watcher

from exported import write_exported
from serving import Serving

INGEST = IngestOptions(size=(24, 32), workers=1)
LEVELS = np.random.default_rng(1).normal(120, 8, 400).clip(60, 200).round()
LOOKS = {"brightness": (120.0, 8.0), "contrast": (0.0, 1.0), "sharpness": (0.0, 1.0), "noise": (0.0, 1.0)}


def write_model(folder: Path, name: str = "model.onnx", threshold: float = 140 / 255) -> Path:
    """A file of which the mean brightness is the score, with calibration scores."""
    said = {"scores": (LEVELS[:100] / 255).tolist(), "looks": LOOKS}
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
    return [{key: value for key, value in event.items() if key not in ("at", "number")} for event in events(to)]


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
            assert not live.add(f"film {number}", place / 10, lambda: [1.0])
        places += live.end()
    assert all(30 < places.count(place / 10) < 95 for place in range(5)) and live.end() == []
    live = LiveDrift(Drift(np.linspace(0, 1, 50), 2.0))
    for _ in range(LOOKED + 50):
        live.add("", 0.999, lambda: [1.0])
    assert len(live.looks) == LOOKED and live.drift.since < 5


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
            drifts.add("in", moment("in/a.png", None, 120), [{"event": "verdict", "score": 0.47}])
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
    assert what_changed(model, [look_of(pool)] * 3) == ["darker by 5.0 standard deviations (brightness 120, now 80)"]
    assert what_changed(model, []) == [] and drift_of(model, 0.01).drift.alarm == 0.01


def answers(served: Served, drift: ServedDrift, levels: Sequence[float]) -> None:
    for level in levels:
        pool = moment("picture", None, level).pool
        assert pool is not None
        drift.add(served.model, pool, [{"score": level / 255, "belongs": True}])


def test_served_pictures_count_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served.open(write_model(tmp_path), threads=1, most_pixels=50.0)
    told, now = list[str](), [0.0]
    monkeypatch.setattr("winnow.deploy.serve.drifting.time.time", lambda: now[0])
    drift = ServedDrift(0.01, 60.0, told.append)
    for minute in range(200):
        now[0] = minute * 60.0
        answers(served, drift, LEVELS[100 + minute] - np.array([10, 10, 10]) * (minute > 100))
    assert drift.live and drift.live.drift.blocks == 199 and drift.live.drift.at and drift.live.drift.at > 100
    assert len(told) == 1 and "darker by 1" in told[0]


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
