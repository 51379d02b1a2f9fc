"""The map of the pool: where pictures lie, what colours them, and a region of it opened as a lane in Chromium."""

# ruff: noqa: F811

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_label_groups import run, shown  # noqa: F401
from test_label_page import chromium, context, expect, playwright, pytestmark  # noqa: F401

from winnow.errors import OptionError
from winnow.label.picture_map import SIDE, Mapped, PictureMap
from winnow.select.projection import DRAWN, projected

from labelling import Server, Tab

CLASSES = ("--classes", "staff,customer")


def test_pictures_that_are_not_drawn_lie_among_those_like_them():
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=2 * DRAWN)
    vectors = (10 * np.eye(3, 30)[kind] + rng.normal(size=(len(kind), 30))).astype(np.float32)
    found = projected(vectors, lambda features: features[:, :2])
    assert found.shape == (len(kind), 2) and found.min() == 0 and found.max() <= 1
    centres = np.array([found[kind == number].mean(axis=0) for number in range(3)])
    nearest = np.linalg.norm(found[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == kind).mean() > 0.99
    assert np.isfinite(projected(np.ones((9, 4), np.float32), lambda features: np.zeros((len(features), 2)))).all()
    assert projected(vectors[:0], lambda features: features[:, :2]).shape == (0, 2)


def test_a_region_holds_what_lies_in_it_from_its_middle_outwards():
    rng = np.random.default_rng(1)
    rows, positions = rng.permutation(500), rng.random((500, 2))
    made = PictureMap(lambda: Mapped(rows, positions, None))
    while not made.points()["ready"]:
        pass
    points = made.points()
    left, top, right, bottom = 500, 900, 2500, 3000
    inside = [row for row, x, y in zip(points["rows"], points["x"], points["y"], strict=True)
              if left <= x <= right and top <= y <= bottom]  # fmt: skip
    found = made.rows(f"{left},{top},{right},{bottom}")
    assert sorted(found) == sorted(inside) and 50 < len(found) < 450
    place = {int(row): np.array(at) for row, at in zip(rows, positions * SIDE, strict=True)}
    apart = [np.linalg.norm(place[int(row)] - [1500, 1950]) for row in found]
    assert (np.diff(apart) > -2).all()
    for part in ("", "1,2,3", "a,b,c,d", "1,2,3,1e3"):
        with pytest.raises(OptionError, match="no region"):
            made.rows(part)


def test_a_dragged_region_is_a_lane_and_labels_colour_the_map(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.keyboard.press("m")
        page.wait_for_selector("#map-canvas[data-milliseconds]", timeout=60_000)
        tab.said("Drag a region to open it as a lane")
        expect(page.locator("#map-legend")).to_contain_text("none")
        page.keyboard.press("1")
        tab.said("Drag a region of the map first.")
        points = server.get("/api/map")
        area = page.locator("#map-area").bounding_box()

        def drag(left: float, top: float, right: float, bottom: float) -> None:
            page.mouse.move(area["x"] + left * area["width"], area["y"] + top * area["height"])
            page.mouse.down()
            page.mouse.move(area["x"] + right * area["width"], area["y"] + bottom * area["height"], steps=3)
            expect(page.locator("#map-region")).to_be_visible()
            page.mouse.up()

        drag(0.5, 0.9, -0.01, -0.01)  # above the message
        found = shown(page)
        by_id = {item["row"]: item["id"] for item in server.get("/api/items?lane=all&show=all&limit=200")["items"]}
        places = zip(points["rows"], points["x"], points["y"], strict=True)
        inside = {by_id[row] for row, x, y in places if x < 0.49 * SIDE and y < 0.89 * SIDE}
        assert inside <= set(found) and len(found) < len(by_id)
        expect(page.locator("#lanes [data-lane=region]")).to_be_visible()
        page.keyboard.press("a")
        page.keyboard.press("1")
        tab.saved()
        expect(page.locator("#count")).to_contain_text(f"{len(found)} of {len(found)} labelled")
        page.reload()
        page.wait_for_selector("#app[aria-busy=false]")
        expect(page.locator("#lanes [data-lane=region]")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("m")
        expect(page.locator("#map-legend")).to_contain_text("staff")
        values = server.get("/api/map/colours?by=label")["values"]
        assert {by_id[row] for row, value in zip(points["rows"], values, strict=True) if value == 0} == set(found)
        for by, told in (("group", "clip0"), ("prediction", "none"), ("score", "")):
            page.select_option("#map-by", by)
            expect(page.locator("#map-legend")).to_contain_text(told)
        assert server.request("GET", "/api/map/colours?by=smell")[0] == 400
        page.mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 0.5 * area["height"])
        page.mouse.wheel(0, -400)
        drag(0.4, 0.4, 0.6, 0.6)  # a fifth of what is seen, less on the map by the zoom
        page.wait_for_selector("#app[aria-busy=false]")
        view = page.evaluate("Object.entries(sessionStorage).find(([key]) => key.endsWith(' view'))[1]")
        left, top, right, bottom = map(int, json.loads(view)["part"].split(","))
        page.click("#lanes [data-lane=groups]")
        shown(page)
        page.keyboard.press("m")
        page.click("#map-whole")
        expect(page.locator("#map-whole")).to_be_hidden()
        drag(0.1, 0.1, 0.9, 0.9)
        shown(page)
        whole = page.evaluate("Object.entries(sessionStorage).find(([key]) => key.endsWith(' view'))[1]")
        sides = [int(side) for side in json.loads(whole)["part"].split(",")]
        assert abs(sides[2] - sides[0] - 0.8 * SIDE) < 20
        expect(page.locator("#views [data-view=grid]")).to_have_attribute("aria-pressed", "true")
        for width, lanes in ((1280, 8), (900, 5), (660, 5)):  # as many lanes as a run can have
            page.set_viewport_size({"width": width, "height": 800})
            cut = page.evaluate(
                """lanes => {
                    const row = document.getElementById("lanes");
                    while (row.children.length < lanes) row.append(row.lastChild.cloneNode(true));
                    const rest = [...document.querySelectorAll("header *")].filter(one => !one.closest("#lanes"));
                    return rest.filter(one => one.getBoundingClientRect().right > innerWidth + 1).length;
                }""",
                lanes,
            )
            assert cut == 0 and page.locator("#run").evaluate("name => name.scrollWidth <= name.clientWidth")
        assert 0.02 * SIDE < right - left < 0.15 * SIDE and 0.02 * SIDE < bottom - top < 0.15 * SIDE


def region(page: playwright.Page) -> list[int]:
    """Return the left, top, right and bottom of the region that was opened, and show the map again."""
    page.wait_for_selector("#app[aria-busy=false]")
    expect(page.locator("#views [data-view=grid]")).to_have_attribute("aria-pressed", "true")
    view = page.evaluate("Object.entries(sessionStorage).find(([key]) => key.endsWith(' view'))[1]")
    page.keyboard.press("m")
    expect(page.locator("#map")).to_be_visible()
    return [int(side) for side in json.loads(view)["part"].split(",")]


def test_keys_and_two_fingers_zoom_and_move_the_map(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        page = Tab(context, server).page
        page.keyboard.press("m")
        page.wait_for_selector("#map-canvas[data-milliseconds]", timeout=60_000)
        page.keyboard.press("Enter")
        assert region(page) == [0, 0, SIDE, SIDE]
        for key in ("PageUp", "PageUp"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        side = SIDE / 1.5**2
        assert region(page) == pytest.approx([(SIDE - side) / 2] * 2 + [(SIDE + side) / 2] * 2, abs=1)
        for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowUp"):  # a quarter of what is seen; up there is no more
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        left = (SIDE - side) / 2 + side / 4
        assert region(page) == pytest.approx([left, 0, left + side, side], abs=1)
        for key in ("PageDown", "PageDown", "PageDown"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        assert region(page) == [0, 0, SIDE, SIDE]

        area = page.locator("#map-area").bounding_box()
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [
                {"x": area["x"] + x * area["width"], "y": area["y"] + y * area["height"], "id": number}
                for number, (x, y) in enumerate(places)
            ]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (0.4, 0.4))
        touch("touchStart", (0.4, 0.4), (0.6, 0.6))
        touch("touchMove", (0.2, 0.2), (0.6, 0.6))
        touch("touchMove", (0.2, 0.2), (0.8, 0.8))
        expect(page.locator("#map-region")).to_be_hidden()
        touch("touchEnd")
        expect(page.locator("#map-whole")).to_be_visible()
        page.keyboard.press("Enter")
        assert region(page) == pytest.approx([SIDE / 3, SIDE / 3, 2 * SIDE / 3, 2 * SIDE / 3], abs=0.02 * SIDE)
