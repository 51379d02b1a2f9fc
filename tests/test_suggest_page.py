"""Suggestions on the labelling page in Chromium: accepted by Enter, overruled by a number, hidden, checked, after a reload, on a phone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import test_label_page as pages
from test_live import wait_for

import winnow

from conftest import blocks, stripes, write_pictures
from labelling import Server, Tab, events, labels
from small_runs import OPTIONS

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pages.pytestmark
chromium, context = pages.chromium, pages.context  # fixtures
KEYS = {"stripe": "1", "block": "2"}
CLASSES = ("--classes", "stripe,block,other")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded run of 60 pictures of stripes and 30 of blocks, whose names tell which they are."""
    folder = tmp_path_factory.mktemp("suggest")
    for kind, draw, groups in (("stripe", stripes, 15), ("block", blocks, 8)):
        write_pictures(folder / "in" / kind, groups, 4, partial(draw, size=32), seed=groups)
    for path in sorted((folder / "in").rglob("*.png")):
        path.rename(path.with_name(f"{path.parts[-3]} {path.parts[-2]} {path.name}"))
    run = winnow.Run(folder / "run", **OPTIONS)
    run.ingest(folder / "in")
    run.train()
    run.encode()
    return folder / "run"


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "run"))


def truth(name: str) -> str:
    return name.split()[0]


def label(tab: Tab, count: int) -> None:
    """Label pictures as they come, by their numbers."""
    for _ in range(count):
        tab.press(KEYS[truth(tab.seen())])


def suggested(tab: Tab) -> str:
    """Wait for a suggestion, and return its class; a picture that was shown before there was one gets none."""
    tab.seen()
    for _ in range(40):
        tab.page.wait_for_timeout(250)
        if tab.page.locator("#accept").is_visible():
            return tab.text("#accept-class")
        tab.page.keyboard.press("ArrowRight" if _ % 2 else "ArrowLeft")
        tab.seen()
    raise AssertionError(tab.text("#suggested"))


def last(run: Path) -> tuple[Any, ...]:
    return events(run, "kind", "value", "seen")[-1]


def test_enter_accepts_a_number_overrules_and_what_was_seen_is_kept(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        assert page.get_attribute("#lanes [aria-pressed=true]", "data-lane") == "next"
        tab.said("Suggestions begin when two classes have two labels each.")
        tab.press("Enter")  # nothing to accept
        assert events(run, "seq") == []
        label(tab, 12)
        tab.said("Suggestions begin with the next picture.")  # the one that is shown stays as it is
        label(tab, 12)
        tab.saved()
        assert {seen for (seen,) in events(run, "seen")[:4]} == {"none"}
        kind, name = suggested(tab), tab.seen()
        sure = tab.text("#accept-sure")
        assert page.locator(f'.class[value="{kind}"]').get_attribute("data-suggested") == ""
        tab.press("Enter")
        tab.saved()
        assert labels(run)[name] == kind and last(run)[:2] == ("label", kind)
        assert last(run)[2].split(" ", 1)[1] == kind and f"{float(last(run)[2].split()[0]):.0%}".replace(
            "%", " % sure"
        ) in (sure, "100 % sure")
        kind, name = suggested(tab), tab.seen()
        tab.press("3")
        tab.saved()
        assert labels(run)[name] == "other" and last(run)[1] == "other" and last(run)[2].endswith(f" {kind}")
        tab.press("u")
        assert tab.seen() == name
        tab.saved()
        page.reload()
        kind, name = suggested(tab), tab.seen()
        page.click("#accept")
        tab.saved()
        assert labels(run)[name] == kind


def tiles(page: playwright.Page) -> list[tuple[str, str]]:
    """The name of each picture of the page and what is suggested for it, when all of it is shown."""
    page.wait_for_selector("#app[aria-busy=false]")
    expect(page.locator(".cell[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".guess:empty")).to_have_count(0)
    return [tuple(tile) for tile in page.evaluate(
        "[...document.querySelectorAll('.cell')].map(cell => [cell.item.name, cell.querySelector('.guess').textContent])"
    )]  # fmt: skip


def told(seen: str) -> str:
    """A line of what was seen, as a tile shows it."""
    probability, kind = seen.split(" ", 1)
    return f"{kind} {'>99' if float(probability) > 0.99 else int(100 * float(probability) + 0.5)} %"


def test_many_pictures_each_show_what_is_suggested_and_all_of_it_is_kept(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        label(tab, 24)
        tab.saved()
        suggested(tab)
        page.click("#lanes [data-lane=all]")
        page.keyboard.press("g")
        shown = dict(tiles(page))
        assert {text.split()[0] for text in shown.values()} == {"stripe", "block"}
        expect(page.locator("#accept-most")).to_be_hidden()  # of a grid without groups each has its own
        page.keyboard.press("a")
        page.keyboard.press("3")
        tab.saved()
        item, kind, value, seen = events(run, "item", "kind", "value", "seen")[-1]
        lines = seen.split("\n")
        assert (kind, value) == ("label", "other") and len(lines) == len(item.split("\n")) == len(shown)
        assert [told(line) for line in lines] == list(shown.values())
        page.keyboard.press("u")
        tab.saved()

        page.click("#lanes [data-lane=groups]")
        page.wait_for_selector("#group-note:not(:empty)")
        shown = tiles(page)
        most = page.inner_text("#accept-most-class")
        like = [text.split()[0] == most for _, text in shown]
        assert page.inner_text("#accept-most-times") == f"{sum(like)} of {len(like)}" and 2 * sum(like) > len(like)
        page.click(".cell >> nth=0")  # the focus is on it, and Enter accepts all the same
        page.keyboard.press("Enter")
        page.wait_for_selector("#app[aria-busy=false]")
        tab.saved()
        item, kind, value, seen = events(run, "item", "kind", "value", "seen")[-1]
        assert (kind, value) == ("label", most) and len(item.split("\n")) == len(shown) - 1
        lines = seen.split("\n") if "\n" in seen else [seen] * (len(shown) - 1)
        assert [told(line) for line in lines] == [text for _, text in shown[1:]]
        page.set_viewport_size({"width": 400, "height": 800})
        tiles(page)
        # Shown by hand where the next group is mixed, and measured in the same breath: the page may hide it again.
        left, right = page.evaluate(
            """() => {
                const button = document.getElementById("accept-most");
                button.hidden = false;
                const box = button.getBoundingClientRect();
                return [box.left, box.right];
            }"""
        )
        assert 0 <= left < right <= 400


def test_the_model_is_killed_and_the_page_goes_on(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        label(tab, 16)
        suggested(tab)
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                Path(f"/proc/{child}").exists() and __import__("os").kill(int(child), 9)
        label(tab, 4)
        tab.saved()
        suggested(tab)  # it was started again
        assert len(labels(run)) == 20


def test_blind(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES, "--blind") as server:
        tab = Tab(context, server)
        label(tab, 30)
        tab.said("Suggestions are hidden.")
        label(tab, 2)
        tab.saved()
        assert tab.page.locator("#accept").is_hidden() and {seen for (seen,) in events(run, "seen")} == {"none"}
        assert tab.page.locator("#lanes [data-lane=check]").count() == 0
        tab.page.click("#lanes [data-lane=groups]")
        tab.page.wait_for_selector("#group-note:not(:empty)")
        tab.page.wait_for_selector("#app[aria-busy=false]")
        expect(tab.page.locator(".cell[aria-busy=true]")).to_have_count(0)
        tab.page.keyboard.press("Enter")  # nothing is offered
        tab.page.keyboard.press("1")
        tab.saved()
        assert last(run)[1:] == ("stripe", "none") and set(tab.page.locator(".guess").all_inner_texts()) == {""}
        assert "Prediction" not in tab.page.locator("#map-by option").all_text_contents()


def test_labels_are_checked_by_one_key(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        wrong = []
        for number in range(60):
            name = tab.seen()
            kind = truth(name)
            if number in (20, 30, 40):
                wrong.append(name)
                kind = {"stripe": "block", "block": "stripe"}[kind]
            tab.press(KEYS[kind])
        tab.saved()
        before = labels(run)
        check = page.locator("#lanes [data-lane=check]")
        wait_for(lambda: server.get("/api/live")["labels"] == 60)
        check.wait_for()
        check.click()
        page.click("#views [data-view=grid]")
        expect(page.locator(".cell.decided img").first).to_have_css("opacity", "1")  # labelled, but to be looked at
        page.click("#views [data-view=one]")
        seen = []
        while page.locator("#done").is_hidden() and len(seen) < 20:
            seen.append(tab.seen())
            expect(page.locator("#keep")).to_be_visible()
            assert tab.text("#accept-class") != before[seen[-1]]
            by_tab = seen[-1] not in wrong and len(seen) % 2
            if by_tab:
                page.locator("#keep").focus()  # Enter presses the button that has the focus
            tab.press("Enter" if by_tab or seen[-1] in wrong else "k")
            page.locator("#keep").blur()
            page.wait_for_timeout(100)
        tab.saved()
        assert set(wrong) <= set(seen)
        after = labels(run)
        assert {name for name in before if before[name] != after[name]} == set(wrong)
        assert all(after[name] == truth(name) for name in wrong)
        assert {seen.split()[0] for (seen,) in events(run, "seen")[60:]} == {"check"}


def test_400_pixels_wide(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        label(tab, 24)
        tab.page.set_viewport_size({"width": 400, "height": 800})
        suggested(tab)
        box = tab.page.locator("#accept").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 400
        assert box["y"] + box["height"] < tab.page.locator("footer").bounding_box()["y"]  # not behind it
        name, kind = tab.seen(), tab.text("#accept-class")
        tab.page.click("#accept")
        tab.saved()
        assert labels(run)[name] == kind
