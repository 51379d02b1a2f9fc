"""The page of a watch: what it shows is what was judged, nobody else sees it, and it says when the watch has ended."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.watch import sources
from winnow.watch.board import FOREIGN, LONGEST_SIDE, Board
from winnow.watch.moments import Moment
from winnow.watch.page_server import PageServer
from winnow.watch.ring import write_jpeg
from winnow.watch.view import Standing
from winnow.web.listen import listen_page

from test_watch import events, made, until, watching  # noqa: F401  (made is a fixture)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def verdict(number: int, belongs: bool, **more: object) -> dict[str, object]:
    about = {"event": "verdict", "id": f"id{number}", "source": "door", "time": float(number), "page": None}
    return about | {
        "score": 2.0 - belongs,
        "threshold": 1.5,
        "p_value": 0.5 if belongs else 0.01,
        "belongs": belongs,
        **more,
    }


def moment(number: float, side: int = 40) -> Moment:
    return Moment("door", time=5.0 * number, picture=lambda: np.full((side, 2 * side, 3), 90, np.uint8))


@contextlib.contextmanager
def served(board: Board) -> Iterator[PageServer]:
    with contextlib.closing(listen_page(0)) as listening:
        server = PageServer(board, listening)
        server.start()
        try:
            yield server
        finally:
            server.close()


def ask(address: str, path: str, **headers: str) -> bytes:
    page, _, token = address.partition("#token=")
    given = {"Authorization": f"Bearer {token}", **headers}
    return urllib.request.urlopen(urllib.request.Request(page + path, headers=given), timeout=10).read()


def test_the_newest_that_did_not_belong_are_there_with_their_pictures() -> None:
    board = Board("watched")
    for number in range(FOREIGN + 3):
        board.note("door", moment(number, 700), [verdict(number, belongs=False, box=[100, 200, 300, 400])])
    board.note("door", moment(26.9), [verdict(98, belongs=False)])  # too soon after the last
    board.note("door", moment(99), [verdict(99, belongs=True), {"event": "segment", "id": "s", "belongs": False}])
    standing = Standing(state="out")
    standing.counts.update(verdict=28, foreign=27)
    board.show({"door": standing}, {"door": 5})
    state = json.loads(board.state)
    assert [one["id"] for one in state["foreign"]] == [f"id{number}" for number in range(FOREIGN + 2, 2, -1)]
    assert [one["id"] for one in state["happened"]] == ["s"] and not state["ended"]
    (source,) = state["sources"]
    assert (source["judged"], source["foreign"], source["left_out"], source["state"]) == (28, 27, 5, "out")
    assert board.picture("id2") is None and board.picture("nobody") is None
    with Image.open(io.BytesIO(board.picture("id26") or b"")) as image:
        assert max(image.size) == LONGEST_SIDE
        scale = LONGEST_SIDE / 1400
        red, grey = (image.getpixel((round(x * scale), round(y * scale))) for x, y in ((100, 400), (250, 400)))
        assert red[0] > 150 > red[2] and abs(grey[0] - grey[2]) < 12
    with Image.open(io.BytesIO(board.picture("door") or b"")) as newest:
        assert newest.size == (80, 40)


def test_pictures_before_and_since_a_change_are_there(tmp_path: Path) -> None:
    board = Board(str(tmp_path))
    name = write_jpeg(tmp_path / "drift", "alarm", np.full((200, 800, 3), 90, np.uint8))
    board.note(
        "door", moment(1), [{"event": "drift", "id": "alarm", "changes": ["darker"], "pictures": f"drift/{name}"}]
    )
    board.show({}, {}, ended=True)
    assert json.loads(board.state)["happened"][0]["pictures"] == "drift/alarm.jpg"
    with Image.open(io.BytesIO(board.picture("alarm") or b"")) as sheet:
        assert sheet.size == (800, 200)


def test_a_video_that_has_ended_is_forgotten() -> None:
    board = Board("watched")
    for number in range(3):
        film = Moment(f"in/{number}.mp4", time=0.0, picture=lambda: np.zeros((8, 8, 3), np.uint8))
        board.note("in", film, [verdict(number, belongs=False)])
        board.note("in", Moment(film.source, "ended"), [])
    assert board._shown == {}


def test_a_picture_that_is_gone_is_not_shown(tmp_path: Path) -> None:
    from winnow.errors import Unreadable

    def gone() -> np.ndarray:
        raise Unreadable("a.png", "it does not exist")

    board = Board("watched")
    board.note("in", Moment("in/a.png", picture=gone), [verdict(1, belongs=False)])
    assert board.picture("id1") is None and board.picture("in") is None
    with served(board) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        ask(server.address, "api/picture?name=id1")


def test_nobody_without_the_token_or_from_another_page_sees_it() -> None:
    with served(Board("watched")) as server:
        assert json.loads(ask(server.address, "api/state"))["folder"] == "watched"
        assert b"Winnow" in ask(server.address, "", Authorization="")
        for status, headers in (
            (401, {"Authorization": "Bearer wrong"}),
            (421, {"Host": "evil.example"}),
            (403, {"Origin": "http://evil.example"}),
        ):
            for path in ("api/state", "api/picture?name=door"):
                with pytest.raises(urllib.error.HTTPError, match=str(status)):
                    ask(server.address, path, **headers)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_page_shows_what_comes_and_that_it_ended(
    made: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    monkeypatch.setattr(sources, "STILL_SECONDS", 0.5)
    folder, to = tmp_path / "in", tmp_path / "watched"
    folder.mkdir()

    def come(name: str, level: int) -> None:
        Image.fromarray(np.full((96, 160, 3), level, np.uint8)).save(folder / name)

    come("a.png", 60), come("<img src=x onerror=document.title=1>.png", 220)
    board = Board(str(to))
    with playwright.sync_playwright() as browsers, served(board) as server:
        chromium = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 400, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        with watching(made, to, folder, made / "film.ts", board=board) as (watcher, _):
            page.goto(server.address)
            playwright.expect(page.locator("#foreign figure")).not_to_have_count(0)
            playwright.expect(page.locator("#foreign")).to_contain_text("<img src=x")
            come("b.png", 230)
            playwright.expect(page.locator("#foreign figcaption b", has_text="b.png")).to_be_visible(timeout=15_000)
            playwright.expect(page.locator("#happened")).to_contain_text("out", timeout=20_000)
            sheet = write_jpeg(to / "drift", "alarm", np.full((200, 800, 3), 90, np.uint8))
            alarm = {
                "event": "drift",
                "id": "alarm",
                "source": "door",
                "changes": ["darker"],
                "pictures": f"drift/{sheet}",
            }
            board.note("door", Moment("door", "away"), [alarm])
            playwright.expect(page.locator("#happened li", has_text="darker").locator("img")).to_be_visible()
            page.wait_for_function("() => [...document.images].every((one) => one.hidden || one.naturalWidth)")
            until(lambda: watcher.standing[str(made / "film.ts")].counts["ended"], 60.0)
            playwright.expect(page.locator(".source", has_text="film.ts")).to_contain_text("150 judged")
            foreign = sum(one["belongs"] is False for one in events(to, "verdict") if one["source"].endswith(".ts"))
            playwright.expect(page.locator(".source", has_text="film.ts")).to_contain_text(f"{foreign} do not belong")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400 and page.title() == "Winnow: watch"
            stranger = chromium.new_page()
            stranger.goto(re.sub("#.*", "", server.address))
            playwright.expect(stranger.locator("#trouble")).to_contain_text("token is missing")
        playwright.expect(page.locator("#trouble")).to_have_text("The watch has ended.")
        chromium.close()
    assert said == [] or all(text.startswith("Failed to load resource") for text in said)
