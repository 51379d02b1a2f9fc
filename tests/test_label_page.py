"""The labelling page in Chromium, against the real `winnow label`: what a person does is in the store, once and as it was meant."""

from __future__ import annotations

import collections
import contextlib
import csv
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.pool.pool import Pool

from conftest import blocks, stripes, winnow_command
from labelling import Server, Tab, events, labels, make_run

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

HOSTILE = ("<script>document.title='got in'<⁄script>.png", "<img src=x onerror=document.title='got in'>.png")
CLASSES = ("--classes", "staff,customer,nobody")
PICTURES, CHOSEN, OUTLIERS = 130, 110, 6


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 130 pictures in two folders that is only ingested, with 110 chosen and 6 outliers, the hostile names first."""
    folder, rng = tmp_path_factory.mktemp("page"), np.random.default_rng(3)
    for number in range(PICTURES):
        name = HOSTILE[number] if number < len(HOSTILE) else f"{number:03}.png"
        place = folder / "in" / f"cam {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((blocks if number >= PICTURES - OUTLIERS else stripes)(rng)).save(place / name)
    done = winnow_command("ingest", folder / "in", "--run", folder / "run", "--size", "32", "32")
    assert done.returncode == 0, done.stderr
    pool = Pool.open(folder / "run" / "pool")
    named = sorted(
        zip((Path(source).name for source in pool.column("source")), pool.column("id").tolist(), strict=True)
    )
    ids = [item for _, item in sorted(named, key=lambda entry: entry[0] not in HOSTILE)]
    tables = (
        (
            "selection.csv",
            ("rank", "id", "why"),
            [(rank, item, f"stands for {rank}") for rank, item in enumerate(ids[:CHOSEN], 1)],
        ),
        ("outliers.csv", ("id", "p_value", "why"), [(item, "0.004", "anomalous") for item in ids[-OUTLIERS:]]),
    )
    for name, columns, rows in tables:
        with (folder / "run" / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    return folder / "run"


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the run without any label."""
    return Path(shutil.copytree(drawn, tmp_path / "run"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: playwright.Browser) -> Iterator[playwright.BrowserContext]:
    """A browser of its own for a test; nothing it showed may have broken the policy, failed, or asked another machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    said, asked = [], []
    context.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("request", lambda request: asked.append(request.url))
    yield context
    context.close()
    # Chromium itself reports a server that is gone, which some tests see to, and an answer of 400 or 401.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []
    assert {re.match(r"(blob:)?http://127\.0\.0\.1:\d+/", url) is not None for url in asked} == {True}


def late(route: playwright.Route) -> None:
    """Answers half a second later."""
    time.sleep(0.5)
    route.continue_()


def test_a_hundred_labels_by_keys_with_undo_reload_and_a_killed_server(run: Path, context: playwright.BrowserContext):
    meant, keys = {}, {"1": "staff", "2": "customer", "3": "nobody", "s": "(skipped)"}
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)

        def give(count: int) -> None:
            for number in range(count):
                key = "123s"[(number * 7) % 4]
                (name,) = tab.press(key)
                assert name not in meant
                meant[name] = keys[key]

        give(30)
        for _ in range(3):
            tab.press("u")
            last = list(meant)[-1]
            assert tab.seen() == last  # undo goes back to the picture
            del meant[last]
        give(10)
        tab.saved()
        tab.page.reload()
        tab.seen()
        tab.page.route("**/api/items/*", late)
        tab.press("Control+z")  # also what was done before the reload, however slow the server
        assert tab.seen() == list(meant)[-1]
        tab.page.unroute("**/api/items/*", late)
        del meant[list(meant)[-1]]
        give(10)
        server.stop(signal.SIGKILL)
        give(5)  # pictures fetched ahead are labelled all the same
        tab.page.wait_for_selector("#saved[data-state=offline]")
        assert re.fullmatch(r"Offline, \d+ waiting", tab.text("#saved"))
        tab.said("The label server does not answer.")
    with Server(run, port=server.port) as server:
        tab.said("winnow label makes a new one each time it starts.")  # nothing is sent with the old token
        tab.said("labels wait in this browser and will be sent then.")
        assert not set(meant) <= set(labels(run))
        tab.open(server)
        tab.saved()
        tab.page.wait_for_selector("#trouble", state="detached")
        give(49)
        tab.saved()
        assert len(meant) == 100 and labels(run) == meant
        assert re.fullmatch(r"\d+ a minute, under 1 min left", tab.text("#pace"))
        tab.page.reload()
        count = collections.Counter(meant.values())
        tab.said(f"{100 - count['(skipped)']} of 110 labelled, {count['(skipped)']} skipped")
    uuids = [uuid for (uuid,) in events(run, "uuid")]
    assert len(uuids) == len(set(uuids)) == 104 + 4  # 104 decisions and 4 undone, none twice


def test_waiting_labels_survive_a_reload_while_the_server_is_away(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        tab.press("1")
        tab.saved()
        tab.page.route("**/api/events", lambda route: route.abort())  # sent, but never arrives
        names = tab.press("2", "2", "3")
        tab.page.wait_for_selector("#saved[data-state=offline]")
        tab.page.reload()
        assert tab.seen() not in names  # the server calls them open, the page knows better
        assert len(events(run, "seq")) == 1
        tab.page.unroute("**/api/events")
        tab.saved()
    assert [labels(run)[name] for name in names] == ["customer", "customer", "nobody"]


def test_a_run_that_is_moved_away_is_reported_and_waiting_labels_are_sent_when_it_is_back(
    run: Path, context: playwright.BrowserContext
):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        (kept,) = tab.press("1")
        tab.saved()
        tab.seen()
        away = run.rename(run.parent / "away")
        (waits,) = tab.press("2")
        tab.said("labels.sqlite was moved or deleted while labels were being saved")
        assert tab.text("#saved") == "Not saving, 1 waiting"
        server.process.wait(20)
        status, _, err = server.stop()
        assert status == 1 and "moved or deleted" in err and "Traceback" not in err
        tab.page.wait_for_timeout(3000)  # the page asks again, of nobody
        assert tab.page.locator("#notices p").count() == 1 and "moved or deleted" in tab.text("#notices")
        port = server.port
    away.rename(run)
    with Server(run, port=port) as server:
        assert server.port == port
        tab.said("1 label waits in this browser and will be sent then.")
        assert labels(run) == {kept: "staff"}
        tab.page.fill("#address", f"http://127.0.0.1:{port + 1}/#token={server.token}")
        tab.said(f"Start it with --port {port}")
        tab.page.fill("#address", f"http://127.0.0.1:{port}/#token={server.token}")  # pasted
        tab.seen()
        tab.saved()
        assert tab.page.locator("#notices p").count() == 0
        assert labels(run) == {kept: "staff", waits: "customer"}


def test_a_refusal_to_save_stays_until_something_is_saved_whatever_is_read(
    run: Path, context: playwright.BrowserContext
):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        refused = {"error": "The disk is full.", "remedy": "Free some."}
        tab.page.route(
            "**/api/events",
            lambda route: route.fulfill(status=503, json=refused),
        )
        tab.press("1")
        expect(tab.page.locator("#saved")).to_have_text("Not saving, 1 waiting")
        tab.page.evaluate(TEXTS)
        for _ in range(4):  # pictures, suggestions and items are read meanwhile
            with tab.page.expect_response(lambda response: "/api/pictures/" in response.url and response.ok):
                tab.page.keyboard.press("ArrowRight")
            tab.seen()
        assert set(tab.page.evaluate("() => window.texts")) <= {"Not saving, 1 waiting"}
        assert "The disk is full." in tab.text("#notices")
        tab.page.unroute("**/api/events")
        tab.saved()
        assert tab.page.locator("#notices p").count() == 0 and len(labels(run)) == 1


TEXTS = """() => {
  window.texts = [];
  const saved = document.getElementById("saved");
  new MutationObserver(() => window.texts.push(saved.textContent)).observe(saved, { childList: true, characterData: true, subtree: true });
}"""
STATES = """() => {
  window.states = [];
  const saved = document.getElementById("saved");
  new MutationObserver(() => window.states.push(saved.dataset.state)).observe(saved, { attributeFilter: ["data-state"] });
}"""


def test_an_answer_that_was_lost_adds_nothing_twice(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        lost = []

        def lose(route: playwright.Route) -> None:
            if route.request.method == "POST" and len(lost) < 2:
                lost.append(route.fetch())  # the server has saved it
                route.abort()
            else:
                route.continue_()

        tab.page.route("**/api/events*", lose)
        tab.page.evaluate(
            STATES
        )  # it may be offline for an instant only: an answer to another request has it sent again
        tab.press("1", "2")
        until = time.monotonic() + 15
        while len(lost) < 2:
            assert time.monotonic() < until, "the requests were let through"
            tab.page.wait_for_timeout(20)
        tab.saved()
        assert "offline" in tab.page.evaluate("() => window.states")
        assert sorted(labels(run).values()) == ["customer", "staff"] and len(events(run, "seq")) == 2


def test_two_tabs_see_each_other_and_lose_nothing(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        one, two = Tab(context, server), Tab(context, server)
        two.page.fill("#who", "Zoë")
        two.page.keyboard.press("Enter")
        two.page.keyboard.press("g")
        two.page.wait_for_selector(".cell")
        first = one.press("1")[0]
        two.page.bring_to_front()
        two.page.locator(f'.cell[title="{first}"] .chip', has_text="staff").wait_for()  # by polling
        two.page.keyboard.press("PageDown")
        two.said("of 110")
        expect(two.page.locator("#range")).to_contain_text("37–72")
        expect(two.page.locator(".cell[aria-busy=true]")).to_have_count(0)
        server.stop(signal.SIGKILL)
        two.said("The label server does not answer.")  # the notice takes room from the grid, which still shows 36
        two.page.keyboard.press("a")
        two.page.keyboard.press("2")
        one.page.bring_to_front()
        names = one.press("3", "3")
        one.page.wait_for_selector("#saved[data-state=offline]")
    with Server(run, port=server.port) as server:
        one.said("38 labels wait in this browser")
        three = Tab(context, server)  # whichever tab gets the new address sends what waits in all
        three.saved()
        one.page.wait_for_function("!document.body.innerText.includes('wait in this browser')")
        one.open(server)
        two.page.bring_to_front()
        two.open(server)
        two.saved()
        assert len(labels(run)) == 1 + 36 + 2
        assert [labels(run)[name] for name in (first, *names)] == ["staff", "nobody", "nobody"]
        (item,) = {
            item for who, value, item in events(run, "who", "value", "item") if (who, value) == ("Zoë", "customer")
        }
        assert len(item.split("\n")) == 36  # one act
        assert len(set(events(run, "uuid"))) == len(events(run, "uuid")) == 4


def test_a_note_that_was_written_elsewhere_meanwhile_stays(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        one, two = Tab(context, server), Tab(context, server)
        one.press("n")
        two.page.bring_to_front()
        two.press("n")
        two.page.keyboard.type("by two")
        two.page.keyboard.press("Enter")
        two.saved()
        one.page.bring_to_front()
        for _ in range(2):  # the second was asked for after all of that
            with one.page.expect_response(re.compile("since=")):
                pass
        one.page.keyboard.press("Enter")  # nothing was written
        expect(one.page.locator("#note")).to_have_value("by two")
        one.press("n")
        one.page.keyboard.press("ControlOrMeta+a")
        one.page.keyboard.type("by one")
        one.page.keyboard.press("Enter")
        one.saved()
        assert events(run, "value") == [("by two",), ("by one",)]


def test_grid_click_range_page_and_undo_of_all_at_once(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.keyboard.press("g")
        names = [cell.get_attribute("title") for cell in page.query_selector_all(".cell")]
        assert page.locator(".cell").count() == 36
        page.keyboard.press("1")
        tab.said("Select pictures first")
        page.click(".cell >> nth=2")
        page.click(".cell >> nth=6", modifiers=["Shift"])
        page.click(".cell >> nth=4")  # takes it out again
        assert "4 selected" in tab.text("#range")
        page.keyboard.press("2")
        tab.saved()
        assert labels(run) == dict.fromkeys([names[2], names[3], names[5], names[6]], "customer")
        page.keyboard.press("PageDown")
        expect(page.locator("#range")).to_contain_text("37–72 of 110")
        page.keyboard.press("a")
        page.keyboard.press("s")
        tab.saved()
        assert collections.Counter(labels(run).values()) == {"customer": 4, "(skipped)": 36}
        page.keyboard.press("u")
        tab.said("Undid 36 decisions.")
        tab.saved()
        assert collections.Counter(labels(run).values()) == {"customer": 4}
        page.keyboard.press("PageUp")
        expect(page.locator("#range")).to_contain_text("1–36")
        assert page.locator(".cell .chip:visible").all_inner_texts() == ["customer"] * 4
        page.dblclick(".cell >> nth=10")
        assert tab.seen() == names[10]


def test_a_page_of_a_very_large_window_holds_what_one_act_can(tmp_path: Path, context: playwright.BrowserContext):
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (510, 8, 8, 3), dtype=np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "in" / f"{number}.png")
    run = tmp_path / "run"
    assert winnow_command("ingest", tmp_path / "in", "--run", run, "--size", "8", "8").returncode == 0
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        tab.page.set_viewport_size({"width": 5000, "height": 3000})
        tab.press("g")
        expect(tab.page.locator(".cell[aria-busy=false]")).to_have_count(500, timeout=60_000)
        expect(tab.page.locator("#range")).to_have_text("1–500 of 510")
        tab.page.keyboard.press("a")
        tab.page.keyboard.press("1")
        tab.saved()
        tab.page.keyboard.press("ArrowRight")
        expect(tab.page.locator("#range")).to_have_text("501–510 of 510")
        assert len(labels(run)) == 500 and tab.page.locator("#notices p").count() == 0


def test_while_a_page_is_turned_the_one_that_is_shown_is_named(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page, held = tab.page, list[playwright.Route]()
        page.keyboard.press("g")
        expect(page.locator("#range")).to_contain_text("1–36 of 110")
        name = page.get_attribute(".cell >> nth=1", "title")
        page.route("**/api/items?*", lambda route: held.append(route))
        page.keyboard.press("PageDown")
        until = time.monotonic() + 15
        while not held:
            assert time.monotonic() < until, "the request was let through"
            page.wait_for_timeout(20)
        page.click(".cell >> nth=1")
        expect(page.locator("#range")).to_have_text("1–36 of 110 · 1 selected")
        page.keyboard.press("1")
        page.unroute("**/api/items?*")  # which lets go of what is held
        expect(page.locator("#range")).to_have_text("37–72 of 110")
        tab.saved()
        assert labels(run) == {name: "staff"}


def test_filters_the_lane_of_outliers_and_arrows(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        names = tab.press("1", "2", "s")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#name")).to_have_text(names[2])
        assert "skipped" in tab.text("#verdict")
        tab.press("ArrowLeft", "ArrowRight")
        tab.press("3")  # labelling what was skipped takes the skip away
        tab.saved()
        assert labels(run)[names[2]] == "nobody"
        page.click("#shows [data-show=labelled]")
        page.keyboard.press("g")
        expect(page.locator(".cell")).to_have_count(3)
        page.select_option("#by-class", "customer")
        expect(page.locator(".cell")).to_have_count(1)
        assert page.get_attribute(".cell", "title") == names[1]
        page.click("#no-filter")
        page.fill("#by-text", "047")
        expect(page.locator(".cell")).to_have_count(1)
        page.keyboard.press("Enter")
        page.fill("#by-text", "no such name")
        tab.said("No pictures match.")
        page.click("#done-ways >> text=Clear filters")
        groups = page.locator("#by-group option").all_inner_texts()
        assert groups == ["All groups", "cam 0", "cam 1"]  # not the folders above
        page.select_option("#by-group", index=1)
        expect(page.locator(".cell")).to_have_count(36)
        page.click("#lanes [data-lane=outliers]")
        page.click("#no-filter")
        expect(page.locator(".cell")).to_have_count(6)
        page.keyboard.press("g")
        tab.seen()
        assert (
            "anomalous or broken" in tab.text("#outliers-note")
            and "0.004" in tab.text("#facts")
            and "anomalous" in tab.text("#facts")
        )
        assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--accent')") != page.evaluate(
            "getComputedStyle(document.documentElement).getPropertyValue('--accent')"
        )
        outliers = tab.press(*"111111")
        tab.said("That was the last picture.")
        tab.said("Every picture in this list is labelled or skipped.")
        tab.saved()
        assert {labels(run)[name] for name in outliers} == {"staff"} and len(set(outliers)) == 6
        page.keyboard.press("ArrowLeft")
        assert tab.seen() == outliers[-1]
        page.click("#lanes [data-lane=all]")
        page.fill("#by-text", "047")
        expect(page.locator("#name")).to_have_text("047.png")
        page.keyboard.press("Enter")
        tab.press("1")
        tab.said("That was the last picture.")
        # As soon as the server counts it.
        expect(page.locator("#done-ways")).to_contain_text("Chosen for labelling (106 open)")


def test_notes_new_classes_and_finding_one_among_many(run: Path, context: playwright.BrowserContext):
    many = ["--classes", ",".join(f"class {number}" for number in range(14))]
    with Server(run, *many) as server:
        tab = Tab(context, server)
        page = tab.page
        assert page.locator("#classes kbd").all_inner_texts() == list("1234567890")
        name = tab.press("n")[0]
        page.keyboard.type("a <b>dark</b> one, s1")  # keys in a field are text
        page.keyboard.press("Enter")
        page.keyboard.press("n")
        page.keyboard.type(" dropped")
        page.keyboard.press("Escape")
        tab.saved()
        assert events(run, "kind", "value") == [("note", "a <b>dark</b> one, s1")] and tab.seen() == name
        tab.press("/")
        page.keyboard.type("ss 12")
        page.keyboard.press("Enter")
        tab.press("+")
        page.fill("#naming-text", "bad\u202ename")
        page.keyboard.press("Enter")
        tab.said("control character")
        page.fill("#naming-text", '<i>Gäste, "N/A"</i>')
        page.keyboard.press("Enter")
        expect(page.locator("#classes .title").last).to_have_text('<i>Gäste, "N/A"</i>')
        second = tab.press("/")[0]
        page.keyboard.type("gäste")
        page.keyboard.press("Enter")
        third = tab.press("0")[0]
        expect(page.locator("#name")).not_to_have_text(third)
        fourth = tab.seen()
        page.click("#classes .class >> nth=11")
        tab.saved()
        expected = {name: "class 12", second: '<i>Gäste, "N/A"</i>', third: "class 9", fourth: "class 11"}
        assert labels(run) == expected
        page.select_option("#by-class", '<i>Gäste, "N/A"</i>')
        expect(page.locator("#name")).to_have_text(second)


def test_a_picture_whose_file_has_changed_is_said_to_be_the_runs_own(
    tmp_path: Path, context: playwright.BrowserContext
):
    run = make_run(tmp_path, ("a.png", "b.png"), groups=1)
    Image.fromarray(blocks(np.random.default_rng(5))).save(tmp_path / "in" / "clip 0" / "a.png")
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        remark = tab.page.locator("#remark")
        expect(tab.page.locator(".thumb[data-original=changed]")).to_have_count(1)
        assert tab.seen() == "a.png"
        expect(remark).to_contain_text("The file has changed since it was ingested")
        tab.press("ArrowRight")
        assert tab.seen() == "b.png"
        expect(remark).to_be_hidden()
        tab.press("g")
        expect(tab.page.locator(".cell[data-original=changed]")).to_have_attribute(
            "title", re.compile("a.png: The file has changed")
        )


def test_names_of_files_stay_text(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        seen = {tab.seen()}
        seen.update(tab.press("ArrowRight", "ArrowLeft"))
        page = tab.page
        page.wait_for_selector(".thumb")
        page.keyboard.press("g")
        page.wait_for_selector(".cell")
        assert seen == set(HOSTILE)
        assert (
            page.title() == "run – Winnow"
            and page.locator("script").count() == 1
            and page.locator("img[onerror]").count() == 0
        )


def test_nothing_is_labelled_that_is_not_seen(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        page = context.new_page()
        held = []
        page.route("**/api/pictures/*?size=large", lambda route: held.append(route))
        page.goto(f"http://127.0.0.1:{server.port}/#token={server.token}")
        page.get_by_text("Loading the picture").wait_for()
        page.keyboard.press("1")
        page.wait_for_timeout(300)
        assert events(run, "seq") == []
        assert held
        page.unroute("**/api/pictures/*?size=large")
        page.reload()
        page.wait_for_selector("#stage[data-seen]")
        page.keyboard.press("1")
        page.wait_for_selector("#saved[data-state=saved]")
        expect(page.locator("#classes .number").first).to_have_text("1")
        lost = server.get("/api/items?lane=chosen&limit=30")["items"][20]["row"]
        page.route(f"**/api/pictures/{lost}?size=small", lambda route: route.fulfill(status=500))
        page.reload()
        page.wait_for_selector("#stage[data-seen]")
        page.keyboard.press("g")
        expect(page.locator(".cell.missing")).to_have_count(1)
        expect(page.locator(".cell[aria-busy=true]")).to_have_count(0)
        shown = page.locator(".cell").count()
        page.click(".cell.missing")
        page.keyboard.press("2")
        page.get_by_text("A picture that cannot be shown is not labelled.").wait_for()
        page.keyboard.press("a")
        expect(page.locator(".cell[aria-pressed=true]")).to_have_count(shown - 1)
        page.keyboard.press("2")
        expect(page.locator("#classes .number").nth(1)).to_have_text(str(shown - 1))
        assert page.inner_text(".cell.missing") == ""


def test_what_is_still_loading_is_said_and_the_strip_is_never_of_the_picture_before(
    run: Path, context: playwright.BrowserContext
):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page, held = tab.page, []
        expect(page.locator(".thumb")).not_to_have_count(0)
        page.route("**/api/items/*", lambda route: held.append(route))
        page.click("#lanes [data-lane=outliers]")
        tab.seen()
        expect(page.locator(".thumb")).to_have_count(0)
        assert held and page.get_attribute("#strip", "aria-busy") == "true"
        page.unroute("**/api/items/*")
        for route in held:
            with contextlib.suppress(playwright.Error):  # those that were let go with the rule
                route.continue_()
        expect(page.locator(".thumb[aria-current]")).to_have_attribute("title", page.inner_text("#name"))
        page.keyboard.press("g")
        page.wait_for_selector(".cell")
        lists = []
        page.route("**/api/items?*", lambda route: lists.append(route))
        page.route("**/api/pictures/*?size=small", late)
        page.click("#lanes [data-lane=all]")
        tab.said("Loading …")
        assert page.locator(".cell:visible").count() == 0
        lists[0].continue_()
        page.wait_for_selector(".cell[aria-busy=true]")
        expect(page.locator("#loading")).to_be_hidden()
        page.unroute("**/api/pictures/*?size=small")


def test_the_frame_around_a_crop_is_shown_where_the_original_is_there(
    tmp_path: Path, context: playwright.BrowserContext
):
    Image.fromarray(blocks(np.random.default_rng(5))).save(tmp_path / "a.png")
    boxes = ["0,0,24,24", "24,16,24,32"]
    (tmp_path / "list.csv").write_text("path,box\n" + "".join(f'a.png,"{box}"\n' for box in boxes))
    done = winnow_command("ingest", tmp_path / "list.csv", "--run", tmp_path / "run", "--size", "32", "32")
    assert done.returncode == 0, done.stderr
    with Server(tmp_path / "run", *CLASSES) as server:
        tab = Tab(context, server)
        frame = tab.page.locator("#frame-picture")
        expect(frame).to_be_visible()
        assert frame.evaluate("image => image.naturalWidth") == 48
        assert frame.get_attribute("src").startswith("blob:")
        beside = frame.bounding_box()["width"]
        tab.press("f")
        assert (
            frame.bounding_box()["width"] > 2 * beside
            and tab.page.get_attribute("#frame-open", "aria-pressed") == "true"
        )
        tab.press("f")
        assert frame.bounding_box()["width"] == beside
        tab.page.set_viewport_size({"width": 400, "height": 800})
        expect(frame).to_be_hidden()
        tab.page.click("#frame-open")
        expect(frame).to_be_visible()
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 400
        name = tab.page.locator(".explained >> nth=0")
        name.focus()
        tip = name.evaluate("name => getComputedStyle(name, '::after').content")
        assert tip.strip('"') == name.get_attribute("aria-description") and len(tip) > 20
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    with Server(tmp_path / "run", *CLASSES) as server:  # anew: the one before keeps the pictures that it has shown
        tab = Tab(context, server)
        tab.said("The file cannot be read any more.")
        expect(tab.page.locator("#frame-picture")).to_be_hidden()


def test_after_more_was_ingested_undo_is_of_the_same_picture(tmp_path: Path, context: playwright.BrowserContext):
    run = make_run(tmp_path, ("b.png", "c.png", "d.png", "e.png"), groups=1)
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        assert tab.press("1", "2", "3") == ["b.png", "c.png", "d.png"]
        tab.saved()
    Image.fromarray(stripes(np.random.default_rng(9))).save(tmp_path / "in" / "clip 0" / "a.png")
    assert winnow_command("ingest", tmp_path / "in", "--run", run).returncode == 0
    with Server(run, port=server.port) as server:
        tab.open(server)
        expect(tab.page.locator("#name")).to_have_text("a.png")
        tab.press("4")  # no class has that key
        tab.press("u")
        tab.said("Undid the last decision.")
        tab.saved()
        assert labels(run) == {"b.png": "staff", "c.png": "customer"}
        tab.page.wait_for_selector("#app[aria-busy=false]")
        expect(tab.page.locator("#count")).to_contain_text("2 of 5 labelled")
        assert tab.press("s", "s", "s") == ["a.png", "d.png", "e.png"]


def test_a_label_of_an_unknown_class_is_reported(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        tab.page.evaluate("document.querySelector('#classes .class').value = 'boss'")
        tab.press("2")
        name = tab.seen()
        tab.page.click("#classes .class >> nth=0")
        tab.said("A label was refused: There is no class 'boss'.")
        tab.said(f"It was not saved; label {name} again.")
        tab.saved()
        assert list(labels(run).values()) == ["customer"]
        tab.press("u")  # the last that was saved, and nothing that was refused
        tab.said("Undid the last decision.")
        tab.saved()
        assert labels(run) == {} and tab.page.locator("#notices p").count() == 1


def test_a_label_that_another_tab_sent_and_was_refused_is_reported_where_it_was_given(
    run: Path, context: playwright.BrowserContext
):
    with Server(run, *CLASSES) as server:
        one, two = Tab(context, server), Tab(context, server)
        two.page.route("**/api/events", lambda route: route.abort())  # of this tab nothing arrives
        two.page.evaluate("document.querySelector('#classes .class').value = 'boss'")
        two.press("2")
        lost = two.seen()
        two.page.click("#classes .class >> nth=0")
        two.page.wait_for_selector("#saved[data-state=offline]")
        one.page.bring_to_front()
        one.press("s")
        one.said("A label was refused: There is no class 'boss'.")
        one.saved()
        two.page.bring_to_front()
        two.said(f"It was not saved; label {lost} again.")
        two.page.keyboard.press("ArrowLeft")
        expect(two.page.locator("#name")).to_have_text(lost)
        expect(two.page.locator("#verdict")).to_have_text("not labelled")
        two.page.unroute("**/api/events")
        two.press("u")
        two.saved()
        assert events(run, "kind") == [("label",), ("skip",), ("undo",)] and list(labels(run).values()) == ["(skipped)"]


def test_without_the_token_the_page_says_where_to_find_it(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.get_by_text("Open the address that winnow label printed").wait_for()
        page.goto(f"http://127.0.0.1:{server.port}/#token=wrong")
        page.get_by_text("This page's start token is not the server's.").wait_for()
        page.goto(f"http://127.0.0.1:{server.port}/#token={server.token}")  # pasted into the same tab
        page.wait_for_selector("#stage[data-seen]")
        assert server.token not in page.url


@pytest.mark.parametrize("size", [(1280, 800), (900, 700), (400, 800)])
def test_it_fits_the_window_and_every_button_has_a_name(
    run: Path, context: playwright.BrowserContext, size: tuple[int, int]
):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for view in ("one", "grid"):
            page.click(f"#views [data-view={view}]")
            page.wait_for_timeout(200)
            room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            assert room[0] <= size[0] and (room[1] <= size[1] or size[0] < 640)  # a narrow page scrolls down
            cut = "[...document.querySelectorAll('header *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
            assert page.evaluate(cut) == 0
            page.keyboard.press("?")
            assert page.evaluate("document.querySelector('#help').scrollTop") == 0
            tab.said("write a note")
            page.keyboard.press("Escape")
        nameless = "[...document.querySelectorAll('button')].filter(b => !(b.ariaLabel || b.textContent.trim())).length"
        assert page.evaluate(nameless) == 0
