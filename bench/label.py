"""The label server at a million items, over HTTP: start-up, the next item, a label on disk, memory; the exchange.

python bench/label.py [--quick] [--to FOLDER]

Items are made up: three in five are crops of frames of 500 videos, the others pictures. The server is a process of its own. At the
end a label beside a model, a process too, that learns from 500 labels of 20,000 embeddings, and again whenever there is another.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import random
import re
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from winnow.label.catalogue import Catalogue, Listed
from winnow.label.database import log_beside
from winnow.label.exchange import records_of, take_over
from winnow.label.formats import read, write
from winnow.label.store import LabelStore

from common import arguments, finish, table

if TYPE_CHECKING:
    from winnow.pool.originals import Originals
    from winnow.run.suggest import Suggester

CLASSES = ["staff", "customer", "other"]
TOKEN = "t" * 43
MODEL, LEARNT_ON = "--model", 20_000
QUERIES = {
    "next open, all": "lane=all&show=open&limit=1&after={}",
    "next open, chosen": "lane=chosen&show=open&limit=1",
    "a page of 100": "lane=all&show=all&limit=100&after={}",
    "of a class": "lane=all&show=all&label=staff&limit=50&after={}",
    "of a video": "lane=all&show=open&group=/data/shop/video%20{video}.mp4&limit=50",
    "a new text": "lane=all&show=open&text={text}&limit=50",
    "the same text": "lane=all&show=open&text=picture%201&limit=50",
}


def items(n: int) -> pa.Table:
    """Return a pool's table of n items."""
    frames = n * 3 // 5
    videos = [f"/data/shop/video {number % 500}.mp4" for number in range(frames)]
    pictures = [f"/data/shop/day {number % 97}/picture {number:08d}.jpg" for number in range(n - frames)]
    times = [number // 500 / 4 for number in range(frames)]
    crops = [
        f"{source}@{time}#{number},0,64,128" for number, (source, time) in enumerate(zip(videos, times, strict=True))
    ]
    return pa.table({
        "id": crops + [f"{number:016x}" for number in range(n - frames)],
        "source": videos + pictures,
        "group": videos + [source.rpartition("/")[0] for source in pictures],
        "time": pa.array(times + [None] * (n - frames), pa.float64()),
        "box": pa.array([f"{number},0,64,128" for number in range(frames)] + [None] * (n - frames), pa.string()),
        "confidence": pa.array([0.5] * frames + [None] * (n - frames), pa.float64()),
    })  # fmt: skip


def catalogue_of(n: int) -> Catalogue:
    """Return the catalogue with 1000 chosen pictures and 1 % outliers."""
    made = items(n)
    ids = made.column("id")
    rng = np.random.default_rng(0)
    chosen = [
        Listed(ids[int(row)].as_py(), "stands for 900", rank)
        for rank, row in enumerate(rng.choice(n, 1000, replace=False), 1)
    ]
    outliers = [
        Listed(ids[int(row)].as_py(), "anomalous", score=0.001) for row in rng.choice(n, n // 100, replace=False)
    ]
    return Catalogue(made, None, chosen, outliers)


def serve_rows(n: int, path: Path, tell: Connection, learning: bool = False) -> None:
    """Run the server's process: report the seconds of its start and its address."""
    from winnow.label.live import Live
    from winnow.label.server import serve
    from winnow.label.session import LabelSession
    from winnow.run.beside import Beside
    from winnow.web.listen import listen_page

    started = time.perf_counter()
    catalogue = catalogue_of(n)
    listed = time.perf_counter()
    store = LabelStore.open(path)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    live = Live(catalogue, Beside("label", MODEL, str(n)) if learning else None)
    session = LabelSession("bench", store, catalogue, live=live)
    live.start()
    session.follow()
    ready = time.perf_counter()
    tell.send({"items made up and listed, s": listed - started, "store, s": ready - listed})
    serve(session, lambda row, size: (b"", "same"), TOKEN, listen_page(0), tell=lambda line: tell.send(line))


def made_up(n: int) -> Suggester:
    """Return what learns from n embeddings of chance."""
    from winnow.embeddings import Embeddings, unit_length
    from winnow.run.suggest import Suggester

    vectors = np.random.default_rng(0).normal(size=(n, 1280)).astype(np.float32)
    every = np.arange(n)
    return Suggester(Embeddings.of(vectors), unit_length(vectors[:, :128]), every, every, n)


class Line:
    """One connection to the server."""

    def __init__(self, address: str) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", int(re.search(r":(\d+)/", address)[1]))  # type: ignore[index]
        self.headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}

    def ask(self, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer."""
        self.line.request(
            "GET" if body is None else "POST", path, None if body is None else json.dumps(body), self.headers
        )
        answer = self.line.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, content
        return content


def milliseconds(act: Callable[[int], Any], times: int) -> dict[str, float]:
    """Return median and 95th percentile of many calls."""
    spent = []
    for number in range(times):
        before = time.perf_counter()
        act(number)
        spent.append(1000 * (time.perf_counter() - before))
    return quantiles(spent)


def quantiles(spent: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and most."""
    return {"p50 ms": float(np.percentile(spent, 50)), "p95 ms": float(np.percentile(spent, 95)), "most ms": max(spent)}


def measure(n: int, path: Path, times: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Start a server, send it every request `times` times, and end it."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_rows, args=(n, path, there))
    before = time.perf_counter()
    server.start()
    start = here.recv()
    address = here.recv()
    line, rng = Line(address), random.Random(0)
    line.ask("/api/state")
    start["from the command to the first answer, s"] = time.perf_counter() - before
    rows = []
    for name, query in QUERIES.items():

        def act(number: int, query: str = query) -> None:
            filled = query.format(
                rng.randrange(n), video=rng.randrange(500), text=f"picture%20{rng.randrange(n):08d}"[:18]
            )
            line.ask(f"/api/items?{filled}")

        rows.append({"request": name, **milliseconds(act, times)})
    known = [
        item
        for page in range(5)
        for item in line.ask(f"/api/items?lane=all&show=all&limit=200&after={page * n // 5}")["items"]
    ]

    def one_label(number: int) -> None:
        item, value = rng.choice(known)["id"], rng.choice(CLASSES)
        sent = {"uuid": f"b{os.getpid()}-{time.time_ns()}", "item": item, "kind": "label", "value": value}
        assert line.ask("/api/events", {"who": "bench", "events": [sent]})["saved"]

    rows.append(
        {
            "request": "an item with its neighbours",
            **milliseconds(lambda _: line.ask(f"/api/items/{rng.randrange(n)}"), times),
        }
    )
    rows.append(
        {"request": "state: counts of lanes and classes", **milliseconds(lambda _: line.ask("/api/state"), times)}
    )
    rows.append({"request": "what changed", **milliseconds(lambda _: line.ask("/api/events?since=3"), times)})
    rows.append({"request": "a label, on disk", **milliseconds(one_label, times)})
    start["memory, MiB"] = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) / 1024  # type: ignore[index]
    server.terminate()
    server.join()
    return start, rows


def while_learning(n: int, folder: Path, times: int) -> list[dict[str, Any]]:
    """Return the milliseconds of a label and of what comes next, at a person's pace, without a model and while one learns."""
    return [row for learning in (False, True) for row in paced(n, folder / f"{learning}.sqlite", learning, times)]


def paced(n: int, path: Path, learning: bool, times: int) -> list[dict[str, Any]]:
    """Start a server with 500 labels, and send it one after the other."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    with LabelStore.open(path) as store:
        store.add_classes("bench", CLASSES)
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_rows, args=(n, path, there, learning))
    server.start()
    here.recv()
    line, rng = Line(here.recv()), random.Random(0)
    pages = [line.ask(f"/api/items?lane=all&limit=200&after={200 * page}")["items"] for page in range(4)]
    known = [item["id"] for page in pages for item in page]

    def label(number: int) -> None:
        item, value = known[number], rng.choice(CLASSES)
        sent = {"uuid": f"b-{time.time_ns()}", "item": item, "kind": "label", "value": value}
        assert line.ask("/api/events", {"who": "bench", "events": [sent]})["saved"]

    def more(_: int) -> None:
        line.ask(f"/api/items?lane={'next' if learning else 'all'}&limit=8")

    for number in range(500):
        label(number)
    while learning and not line.ask("/api/live")["labels"]:
        time.sleep(0.1)
    spent: dict[str, list[float]] = {"a label, on disk": [], "what comes next": []}
    began, learnt = time.perf_counter(), set()
    for number in range(times):
        for what, act in zip(spent, (label, more), strict=True):
            before = time.perf_counter()
            act(500 + number % 300)
            spent[what].append(1000 * (time.perf_counter() - before))
        time.sleep(0.1)
        learnt.add(line.ask("/api/live")["labels"])
    about = {"model": "learns" if learning else "none", "times": len(learnt - {0}), "in s": time.perf_counter() - began}
    server.terminate()
    server.join()
    return [{**about, "request": what, **quantiles(values)} for what, values in spent.items()]


def exchange(n: int, folder: Path, path: Path) -> dict[str, float]:
    """Return seconds to import a label for every item from CSV, once more, and to export them."""
    catalogue = catalogue_of(n)
    with (folder / "labels.csv").open("w", encoding="utf-8") as file:
        file.write("id,label\n")
        file.writelines(f'"{item}",{CLASSES[row % 3]}\n' for row, item in enumerate(catalogue.ids))
    found = {}
    with LabelStore.open(path) as store:
        store.add_classes("bench", CLASSES)
        for name in ("import", "import again"):
            started = time.perf_counter()
            originals = cast("Originals", None)  # every item is named by its id
            take_over(store, catalogue, originals, read(folder / "labels.csv"), "import labels.csv")
            found[f"{name} s"] = time.perf_counter() - started
        started = time.perf_counter()
        write(folder / "out.csv", records_of(store, catalogue)[0], "csv", lambda item: (b"", ""), lambda item: (1, 1))
        found["export s"] = time.perf_counter() - started
    found["database MiB"] = path.stat().st_size / 2**20
    found["log MiB"] = log_beside(path).stat().st_size / 2**20
    return found


def main() -> None:
    given, began = arguments(__doc__), time.perf_counter()
    n, times = (100_000, 50) if given.quick else (1_000_000, 300)
    path = given.to / "labels.sqlite"
    for file in path.parent.glob("labels.sqlite*"):
        file.unlink()
    with LabelStore.open(path) as store:
        store.add_classes("bench", CLASSES)
    starts, rows = [], {}
    for labelled in (0, n):
        if labelled:
            moved = exchange(n, given.to, path)
        start, rows[labelled] = measure(n, path, times)
        starts.append({"labels": labelled, **start})
    table(starts, f"Start of the server, {n:,} items")
    for labelled, found in rows.items():
        table(found, f"Requests, {labelled:,} labels, {times} of each")
    table([moved], "Exchange: a label for every item")
    beside = while_learning(LEARNT_ON, given.to, times)
    table(beside, f"Requests while a model learns on {LEARNT_ON:,} embeddings")
    finish("label", began, rows=n, starts=starts, requests=rows, exchange=moved, beside=beside)


if __name__ == "__main__":
    if sys.argv[1:2] == [MODEL]:
        from winnow.run.beside import serve_questions

        serve_questions(lambda: made_up(int(sys.argv[2])))
    else:
        main()
