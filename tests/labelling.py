"""A run that is only ingested, and the command `winnow label` on it as a process of its own, spoken to by bare HTTP or by a browser."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from winnow.pool.pool import Pool

from conftest import stripes, winnow_command
from preloaded import Preloaded
from speaking import Speaking

NAMES = (
    "plain.png",
    "with space.png",
    'grüße, "quoted".png',
    "<script>alert(1)<⁄script>.png",
    "<img src=x onerror=alert(1)>.png",
)


def make_run(folder: Path, names: tuple[str, ...] = NAMES, groups: int = 3) -> Path:
    """Draws pictures of awkward names in a few groups and ingests them."""
    rng = np.random.default_rng(0)
    for group in range(groups):
        (folder / "in" / f"clip {group}").mkdir(parents=True)
        for name in names:
            Image.fromarray(stripes(rng)).save(folder / "in" / f"clip {group}" / name)
    done = winnow_command("ingest", folder / "in", "--run", folder / "run", "--size", "32", "32")
    assert done.returncode == 0, done.stderr
    return folder / "run"


class Server(Speaking):
    """`winnow label` on a run, until the block ends; `said` is what it printed; of a process that is forked, or of a `program`."""

    process: subprocess.Popen[str] | Preloaded  # type: ignore[assignment]
    ends = signal.SIGINT

    def __init__(self, run: Path, *words: object, port: int = 0, program: tuple[str, ...] = ()) -> None:
        command = list(map(str, ["label", "--run", run, "--port", port, *words]))
        self.process = (
            subprocess.Popen(
                [sys.executable, *program, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            if program
            else Preloaded(command)
        )
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", line):
                self.port, self.token = int(found[1]), found[2]
                return
        raise AssertionError(self.process.stderr.read())

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request with the token and everything else in order, unless a header says otherwise ("" leaves it out)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        ours = {"authorization": f"Bearer {self.token}"} | (
            {} if data is None else {"content_type": "application/json"}
        )
        return super().request(method, path, data, **{name: value for name, value in (ours | headers).items() if value})

    def post(self, path: str, body: Any) -> Any:
        """The JSON of a POST that must succeed."""
        status, _, answer = self.request("POST", path, body)
        assert status == 200, answer
        return json.loads(answer)


class Tab:
    """A tab of the page and what a person does in it; `context` is Playwright's, of a browser."""

    def __init__(self, context: Any, server: Server) -> None:
        self.page = context.new_page()
        self.open(server)

    def open(self, server: Server) -> None:
        self.page.goto(f"http://127.0.0.1:{server.port}/#token={server.token}")
        self.seen()

    def seen(self) -> str:
        """The name of the picture that is shown, when it is and no earlier command is still under way."""
        self.page.wait_for_selector("#app[aria-busy=false]")
        self.page.wait_for_selector("#stage[data-seen]")
        return self.page.inner_text("#name")

    def press(self, *keys: str) -> list[str]:
        """Presses keys, each when the picture is shown; returns the names of those pictures."""
        names = []
        for key in keys:
            names.append(self.seen())
            self.page.keyboard.press(key)
        return names

    def saved(self) -> None:
        self.page.wait_for_selector("#saved[data-state=saved]")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def said(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()


def labels(run: Path) -> dict[str, str]:
    """Label by the name of the picture, folded in the slow obvious way and not by the store."""
    pool = Pool.open(run / "pool")
    names = dict(zip(pool.column("id").tolist(), (Path(source).name for source in pool.column("source")), strict=True))
    with sqlite3.connect(run / "labels.sqlite") as store:
        events = store.execute("SELECT uuid, item, kind, value FROM events ORDER BY seq").fetchall()
    undone = {value for _, _, kind, value in events if kind == "undo"}
    state = {}
    for uuid, item, kind, value in events:
        if kind in ("label", "skip") and uuid not in undone:
            for one in item.split("\n"):
                state[names[one]] = value if kind == "label" else "(skipped)"
    return state


def events(run: Path, *columns: str) -> list[tuple]:
    """Columns of the events on items, in their order."""
    with sqlite3.connect(run / "labels.sqlite") as store:
        return store.execute(f"SELECT {', '.join(columns)} FROM events WHERE kind != 'class' ORDER BY seq").fetchall()


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, every folder with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Takes the right to write away from a folder and all that is in it, until the block ends."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
