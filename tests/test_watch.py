"""A watch against the same pictures judged at once: folders that fill, videos that grow, cameras that go, processes that are killed."""

from __future__ import annotations

import contextlib
import csv
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.deploy.serve.served import Current, Served
from winnow.detect.segments import segments
from winnow.errors import InputError, OptionError, RunError
from winnow.options import IngestOptions
from winnow.steps.predict_onnx import predict_onnx
from winnow.steps.watch import watch
from winnow.watch import ring, sources
from winnow.watch.book import Book
from winnow.watch.messages import Command, Post
from winnow.watch.view import View, sparkline
from winnow.watch.watcher import Watcher, folder_of

import videos
from exported import write_exported

LEVEL = 0.4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, which takes the bright for foreign, and a video that is bright from 6 to 14 s and in a flash."""
    folder = tmp_path_factory.mktemp("made")
    ingest = IngestOptions(size=(24, 32), every=0.2, workers=1)
    write_exported(folder / "model.onnx", classes=None, threshold=1 - LEVEL, ingest=ingest, level=LEVEL)
    bright = [60 <= number < 140 or 200 <= number < 206 for number in range(300)]
    pictures = [np.full((96, 160, 3), 220 if one else 60, np.uint8) for one in bright]
    videos.write(folder / "film.ts", pictures, rate=10, gop=10)
    return folder


@contextlib.contextmanager
def watching(made: Path, to: Path, *addresses: object, **given: object) -> Iterator[tuple[Watcher, Book]]:
    """A watch in a thread, which must end well when it is stopped."""
    current = Current(made / "model.onnx", partial(Served.open, threads=1, most_pixels=50.0), print)
    with contextlib.closing(Book(to)) as book:
        messengers = [one(book) for one in given.pop("messengers", ())]  # type: ignore[attr-defined]
        given = {"poll": 0.05, "away": 2.0, "messengers": messengers, **given}
        watcher = Watcher([str(one) for one in addresses], current, book, View(lambda line: None), **given)  # type: ignore[arg-type]
        failed: list[BaseException] = []

        def run() -> None:
            try:
                watcher.run(5.0)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield watcher, book
        finally:
            watcher.stop.set()
            thread.join(20)
        assert not thread.is_alive() and not failed


def events(to: Path, *kinds: str) -> list[dict[str, object]]:
    """The events of some kinds, without what differs from one watch to the next."""
    lines = [json.loads(line) for path in sorted(to.glob("events/*.jsonl")) for line in path.read_text().splitlines()]
    assert [one["number"] for one in lines] == list(range(1, len(lines) + 1))
    assert len({one["id"] for one in lines}) == len(lines)
    return [{k: v for k, v in one.items() if k not in ("at", "number")} for one in lines if one["event"] in kinds]


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a watch of the film from beginning to end."""
    to = tmp_path_factory.mktemp("undisturbed") / "watched"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "STILL_SECONDS", 0.5)
        watch(made / "model.onnx", [str(made / "film.ts")], to=to, tell=lambda line: None)
    return to


def test_a_video_is_judged_as_at_once(made: Path, undisturbed: Path, tmp_path: Path):
    predict_onnx(made / "model.onnx", [made / "film.ts"], to=tmp_path / "predicted")
    with (tmp_path / "predicted" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = events(undisturbed, "verdict")
    assert [f"{one['time']:.3f}" for one in found] == [row["time"] for row in rows] and len(rows) == 150
    assert [one["belongs"] for one in found] == [row["belongs"] == "yes" for row in rows]
    assert [one["p_value"] for one in found] == pytest.approx([float(row["p_value"]) for row in rows], abs=1e-5)
    times, scores, p_values = ([one[name] for one in found] for name in ("time", "score", "p_value"))
    how = {"smooth": 3.0, "min_length": 2.0, "hysteresis": 2.0}
    whole = segments(times, scores, p_values, false_alarm_rate=LEVEL, **how)
    told = events(undisturbed, "segment")
    assert [(one["start"], one["belongs"]) for one in told] == [(one.start, one.belongs) for one in whole]
    assert [one["end"] for one in told] == pytest.approx(
        [one.end for one in whole], abs=0.11
    )  # the container's is exact
    assert len(told) == 3 and not told[1]["belongs"]
    with (undisturbed / "segments.csv").open() as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["in", "out", "in"]
    (table,) = undisturbed.glob("verdicts/*.csv")
    with table.open() as file:
        assert [row["belongs"] == "yes" for row in csv.DictReader(file)] == [one["belongs"] for one in found]


def test_a_video_that_grows(made: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "STILL_SECONDS", 1.0)
    data, film = (made / "film.ts").read_bytes(), tmp_path / "film.ts"
    film.write_bytes(data[: len(data) // 5])
    with watching(made, tmp_path / "watched", film) as (watcher, _):
        for part in range(1, 5):
            until(lambda part=part: len(events(tmp_path / "watched", "verdict")) >= 20 * part)
            with film.open("ab") as file:
                file.write(data[len(data) * part // 5 : len(data) * (part + 1) // 5])
        until(watcher.sources[0].ended.is_set)
        until(lambda: events(tmp_path / "watched", "ended"))
    for kind in ("verdict", "segment"):
        plain = [
            [{k: v for k, v in one.items() if k not in ("source", "id", "picture")} for one in events(to, kind)]
            for to in (undisturbed, tmp_path / "watched")
        ]
        assert plain[0] == plain[1]


def test_killed_at_several_moments_nothing_is_lost_or_doubled(made: Path, undisturbed: Path, tmp_path: Path):
    to, kills = tmp_path / "watched", 0
    program = (
        "import sys, winnow.watch.sources as s, winnow.watch.watcher as w, time; s.STILL_SECONDS = 0.5\n"
        "commit = w.Book.commit\n"
        "def slow(self, *given, **named):\n"
        "    time.sleep(0.01); found = commit(self, *given, **named); return found\n"
        "w.Book.commit = slow\n"
        "from winnow.cli import main; main(sys.argv[1:])"
    )
    words = ["watch", made / "film.ts", "--onnx", made / "model.onnx", "--to", to]
    for at in (1, 30, 61, 110, 1000):
        process = subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            written = sum(path.read_bytes().count(b"\n") for path in to.glob("events/*.jsonl"))
            if written >= at:
                process.kill()
                kills += 1
                process.wait()
            time.sleep(0.002)
    assert process.returncode == 0 and kills >= 3
    for kind in ("verdict", "segment", "ended"):
        assert events(to, kind) == events(undisturbed, kind)


def test_what_was_written_and_not_committed_is_written_again(tmp_path: Path):
    with contextlib.closing(Book(tmp_path / "watched")) as book:
        book.commit([{"event": "verdict", "id": "a", "source": "a,\n"}])
        (path,) = (tmp_path / "watched").glob("events/*.jsonl")
        with path.open("a") as file:
            file.write('{"event": "verd')
        with pytest.raises(RunError, match="Another watch into"):
            Book(tmp_path / "watched")
    with contextlib.closing(Book(tmp_path / "watched")) as book:
        book.commit([{"event": "verdict", "id": "b", "source": "b"}])
    assert [one["id"] for one in events(tmp_path / "watched", "verdict")] == ["a", "b"]


def test_a_folder_that_fills(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "STILL_SECONDS", 0.6)
    folder, to = tmp_path / "line", tmp_path / "watched"
    folder.mkdir()
    for name, level in (("a", 60), ("b", 220), ("half", 230)):
        Image.new("RGB", (40, 30), (level,) * 3).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "a.png", folder / "a.png")
    whole = (tmp_path / "half.png").read_bytes()
    from winnow.watch.ring import Ring

    to.mkdir()
    (to / "watch.json").write_text('{"format": 1}')
    with watching(made, to, folder, ring=Ring(to / "ring", 1.0)) as (watcher, _):
        (folder / "half.png").write_bytes(whole[: len(whole) // 2])
        (folder / "broken.jpg").write_bytes(b"no picture")
        (folder / "notes.txt").write_text("no picture")
        until(lambda: events(to, "verdict"))
        (folder / "half.png").write_bytes(whole)
        shutil.copytree(made, folder / "clips", ignore=shutil.ignore_patterns("*.onnx"))
        (tmp_path / "b.png").rename(folder / "b.png")
        until(lambda: len(events(to, "verdict")) == 153 and events(to, "refused") and events(to, "ended"))
        name = str(folder)
        assert watcher.standing[name].counts["verdict"] == 153
    found = {Path(str(one["source"])).name: one for one in events(to, "verdict")}
    assert found["a.png"]["belongs"] and not found["b.png"]["belongs"] and not found["half.png"]["belongs"]
    (refused,) = events(to, "refused")
    assert "broken.jpg" in str(refused["source"]) and refused["reason"]
    assert len(list((to / "ring").glob("*.jpg"))) == len([one for one in events(to, "verdict") if "kept" in one]) > 40
    before = len(events(to, "verdict", "refused", "ended"))
    with watching(made, to, folder):
        time.sleep(0.5)
    assert len(events(to, "verdict", "refused", "ended")) == before
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.png",
        "b.png",
        "broken.jpg",
        "clips",
        "half.png",
        "notes.txt",
    ]


def test_a_folder_that_is_away_is_told_of_and_watched_again(made: Path, tmp_path: Path):
    folder, to = tmp_path / "share", tmp_path / "watched"
    folder.mkdir()
    with watching(made, to, folder) as (watcher, _):
        for times in (1, 2):
            folder.rename(tmp_path / "elsewhere")
            until(lambda times=times: len(events(to, "away")) == times)
            assert watcher.standing[str(folder)].state == "away"
            (tmp_path / "elsewhere").rename(folder)
            until(lambda times=times: len(events(to, "back")) == times)
        Image.new("RGB", (40, 30)).save(folder / "a.png")
        until(lambda: events(to, "verdict"))
        assert watcher.standing[str(folder)].state == ""
    said = events(to, "away", "back")
    assert "does not exist" in str(said[0]["reason"]) or "no such" in str(said[0]["reason"])
    assert len({one["id"] for one in said}) == 4


class Receiver(http.server.ThreadingHTTPServer):
    """A server that answers to each post what `behave` says: a status, or None to break off."""

    def __init__(self, behave: Callable[[int], int | None], port: int = 0, data: bytes = b"") -> None:
        receiver, self.got, self.ids, self.data = self, [], [], data

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.got.append(body)
                status = behave(len(receiver.got))
                if status is None:
                    self.close_connection = True
                    return
                if status == 200:
                    receiver.ids.append(self.headers["idempotency-key"])
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "video/mp2t")
                self.send_header("connection", "close")
                self.end_headers()
                for start in range(0, len(receiver.data), 2000):
                    self.wfile.write(receiver.data[start : start + 2000])
                    time.sleep(0.01)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def end(self) -> None:
        self.shutdown()
        self.server_close()


def test_messages_are_sent_until_they_arrive(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from winnow.watch import messages

    monkeypatch.setattr(messages, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(messages, "POST_SECONDS", 0.3)
    answers = {1: 500, 2: None, 3: 503, 5: 429, 8: 400}

    def behave(number: int) -> int | None:
        if number == 6:
            time.sleep(0.6)  # hangs
        return answers.get(number, 200)

    told: list[str] = []
    receiver = Receiver(behave)
    out = tmp_path / "out.jsonl"
    program = f"{sys.executable} -c \"import sys; open('{out}', 'a').write(sys.stdin.read())\""
    with contextlib.closing(Book(tmp_path / "watched")) as book:
        post = Post(receiver.address, book, told.append)
        run = Command("foreign", program, book, told.append)
        post.start(), run.start()
        book.commit([{"event": "verdict", "id": f"id{n}", "belongs": n % 2 == 0, "source": "a"} for n in range(4)])
        until(lambda: post.sent + post.refused == 4 and out.exists())
        post.finish(3.0), run.finish(3.0)
        receiver.end()
        book.commit([{"event": "verdict", "id": "later", "belongs": True, "source": "a"}])
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["id1", "id3"]
    again = Receiver(lambda number: 200, receiver.server_address[1])
    with contextlib.closing(Book(tmp_path / "watched")) as book:  # another process
        post = Post(again.address, book, told.append)
        post.start()
        until(lambda: again.ids)
        post.finish(3.0)
    again.end()
    assert again.ids == ["later"]
    host = receiver.address.split("/")[2]
    outage = [f"{host} cannot be reached (", f"{host} takes events again."]  # told of when an event fails twice
    assert len(told) == 5 and all(map(str.startswith, told, [*outage, *outage, f"{host} refuses event "]))
    assert told[0].endswith("): events wait in the log until it takes them.")
    arrived = list(dict.fromkeys([*receiver.ids]))
    assert len(arrived) == 3 and set(arrived) < {"id0", "id1", "id2", "id3"}


def test_a_camera_that_goes_and_comes_again(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "LONGEST_PAUSE", 0.5)
    server = Receiver(lambda number: 200, data=(made / "film.ts").read_bytes())
    to, address = tmp_path / "watched", server.address.replace("//", "//me:secret@") + "live.ts"
    with watching(made, to, address):
        until(lambda: events(to, "verdict"))
        server.end()
        until(lambda: events(to, "away"))
        server = Receiver(lambda number: 200, server.server_address[1], server.data)
        until(lambda: events(to, "back"))
    server.end()
    times = [one["time"] for one in events(to, "verdict")]
    assert times == sorted(set(times)) and abs(times[-1] - time.time()) < 60
    assert "secret" not in "".join(path.read_text() for path in to.glob("*/*.*"))


def test_what_cannot_be_watched_is_refused_before_anything_is_written(made: Path, tmp_path: Path):
    model, to = made / "model.onnx", tmp_path / "watched"
    for wrong, error, said in (
        (["nowhere"], InputError, "does not exist"),
        (["ftp://a/b"], InputError, "not an address"),
        (["/dev/video987"], InputError, "no device"),
        ([str(model)], InputError, "cannot be watched"),
        ([], OptionError, "No source"),
    ):
        with pytest.raises(error, match=said):
            watch(model, wrong, to=to)
    film = [str(made / "film.ts")]
    for given, said in (
        ({"post": "ftp://a"}, "no address to post to"),
        ({"run_on": [("foreign", "no-such-program-here")]}, "no program"),
        ({"to": made}, "no folder of winnow watch"),
    ):
        with pytest.raises(OptionError, match=said):
            watch(model, film, **{"to": to, **given})
    with pytest.raises(InputError, match="inside"):
        folder_of(made / "watched", [str(made)])
    classes = write_exported(tmp_path / "classes.onnx", threshold=None)
    with pytest.raises(OptionError, match="no threshold"):
        watch(classes, film, to=to)
    assert not to.exists()
    with pytest.raises(InputError, match=r"did not open within.*(?s:.)*--open-within"):
        watch(model, ["http://127.0.0.1:9/"], to=to, open_within=0.3, tell=lambda line: None)


def test_the_bars_are_higher_the_more_anomalous():
    assert sparkline([1.0, 0.1, 0.001, 1e-9]) == "▁▃██"


def test_old_pictures_go_without_a_search_through_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, searched = 1e9, []

    class Held(deque):
        def __iter__(self):
            searched.append(1)
            return super().__iter__()

    monkeypatch.setattr(ring.time, "time", lambda: now)
    for number in range(50):
        (tmp_path / f"old{number}.jpg").touch()
        os.utime(tmp_path / f"old{number}.jpg", (number, number))
    held = ring.Ring(tmp_path, 1.0)
    held._held = Held(held._held)
    for name in ("twice", "once", "twice"):  # a picture is judged again where a watch was killed
        held.keep(name, np.zeros((4, 4, 3), np.uint8))
        now += 40
    held.prune()
    assert [path.name for path in tmp_path.iterdir()] == ["twice.jpg"] and not searched
    now += 60
    held.prune()
    assert not list(tmp_path.iterdir())
