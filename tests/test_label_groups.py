"""Groups of pictures labelled by one act: which they are, and the page's lanes of them in Chromium."""

# ruff: noqa: F811

from __future__ import annotations

import collections
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_label_page import chromium, context, expect, late, playwright, pytestmark  # noqa: F401
from test_tracks import film

import winnow
from winnow.pool.pool import Pool
from winnow.run.overview import _tracks
from winnow.select.components import components
from winnow.select.look_alikes import CROWD, look_alikes

from conftest import blocks, stripes, winnow_command, write_pictures
from labelling import Server, Tab, events
from small_runs import OPTIONS
from tiny_detectors import write_yolox

CLASSES = ("--classes", "staff,customer,nobody")


def test_groups_are_near_duplicates_and_small_clusters_the_largest_first():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 40))
    sizes = (30, 20, 3, 12, 12, 1)
    kind = np.repeat(np.arange(6), sizes)
    spread = np.array([1e-4, 1e-4, 1e-4, 0.2, 0.2, 0.2])[kind][:, None]
    shuffled = rng.permutation(len(kind))
    kind = kind[shuffled]
    vectors = (centres[kind] + spread[shuffled] * rng.normal(size=(len(kind), 40))).astype(np.float32)
    rows, number = look_alikes(vectors, 0.1)
    assert len(set(rows)) == len(rows) and (np.diff(number) >= 0).all()
    counts = np.bincount(number)
    assert (np.diff(counts) <= 0).all() and counts.min() > 1
    for group, size in ((0, 30), (1, 20)):  # crowds of near-duplicates are whole
        assert size >= CROWD and (kind[rows[number == group]] == group).all() and counts[group] == size
    assert len({int(group) for row, group in zip(rows, number, strict=True) if kind[row] == 2}) == 1
    for group in range(len(counts)):  # what is most central comes first
        own = components(vectors, 40)[rows[number == group]]
        apart = np.linalg.norm(own - own.mean(axis=0), axis=1)
        third = -(-len(apart) // 3)
        assert apart[:third].mean() <= apart[-third:].mean() + 1e-3
    assert np.array_equal(look_alikes(vectors, 0.1), np.stack([rows, number]))
    for few in (vectors[:0], vectors[:1], np.ones((5, 3), np.float32)):
        assert look_alikes(few, 0.1).shape == (2, len(few) if len(few) > 1 else 0)


def test_components_keep_distances_as_far_as_they_go():
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = components(vectors, 8)
    slow = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    assert np.allclose(np.linalg.norm(found[:, None] - found[None], axis=2), slow, atol=1e-4)
    assert (np.diff(found.var(axis=0)) <= 1e-6).all() and components(vectors, 3).shape == (50, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded run of two kinds of drawn pictures, 40 in all."""
    base = tmp_path_factory.mktemp("groups")
    write_pictures(base / "in" / "a", 2, 10, partial(stripes, size=32))
    write_pictures(base / "in" / "b", 2, 10, partial(blocks, size=32), seed=1)
    run = winnow.Run(base / "run", **OPTIONS)
    run.ingest(base / "in")
    run.train()
    run.encode()
    return base / "run"


def shown(page: playwright.Page) -> list[str]:
    """The rows of the group that is shown, when all its pictures are."""
    page.wait_for_selector("#app[aria-busy=false]")
    page.wait_for_selector(".cell")
    expect(page.locator(".cell[aria-busy=true]")).to_have_count(0)
    return page.evaluate("[...document.querySelectorAll('.cell')].map(cell => cell.item.id)")


def given(run: Path) -> dict[str, str]:
    """Labels by id."""
    return {item: label for item, (label, _, _) in winnow.Run(run).labels().items()}


def test_a_group_is_labelled_by_one_key_with_untick_undo_and_a_reload(run: Path, context: playwright.BrowserContext):
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.route("**/api/groups?*", late)
        page.click("#lanes [data-lane=groups]")
        tab.said("Looking for pictures that are alike")
        first = shown(page)
        assert len(first) > 2 and page.locator(".cell[aria-pressed=true]").count() == len(first)
        page.unroute("**/api/groups?*")
        page.click(".cell >> nth=1")
        page.keyboard.press("1")
        second = shown(page)
        tab.saved()
        kept = [item for item in first if item != first[1]]
        assert not set(second) & set(first) and given(run) == dict.fromkeys(kept, "staff")
        assert [item.split("\n") for (item,) in events(run, "item")] == [kept]  # one event
        page.reload()
        assert shown(page) == second  # where one was
        page.keyboard.press("Escape")
        page.click(".cell >> nth=0")
        page.keyboard.press("3")
        assert not set(shown(page)) & set(second)
        page.keyboard.press("u")
        assert (
            shown(page) == second[:1]
        )  # an act on a single picture too is taken back alone, not among those of another group
        tab.saved()
        page.reload()
        assert shown(page) == second
        page.keyboard.press("2")
        shown(page)
        page.keyboard.press("u")
        assert shown(page) == second and page.locator(".cell[aria-pressed=true]").count() == len(second)
        tab.said(f"Undid {len(second)} decisions.")
        tab.saved()
        assert given(run) == dict.fromkeys(kept, "staff")
        page.keyboard.press("Control+z")
        assert shown(page) == kept
        tab.saved()
        assert given(run) == {}
        grouped = int(page.inner_text("#count").split(" of ")[1].split(" ")[0])
        until = time.monotonic() + 60
        while len(given(run)) < grouped and time.monotonic() < until:  # to the end; what was unticked comes again
            if page.locator(".cell").count():
                page.keyboard.press("3")
            page.wait_for_timeout(50)
        tab.said("Every group is labelled or skipped.")
        tab.saved()
        assert len(given(run)) == grouped > 30
        page.click("#lanes [data-lane=all]")  # in the view of before
        expect(page.locator("#views [data-view=one]")).to_have_attribute("aria-pressed", "true")


def test_a_group_is_taken_back_from_another_lane_and_labelled_anew(
    run: Path, tmp_path: Path, context: playwright.BrowserContext
):
    own = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("labels*")))
    with Server(own, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.click("#lanes [data-lane=groups]")
        first = shown(page)
        page.keyboard.press("1")
        second = shown(page)
        tab.saved()
        page.click("#lanes [data-lane=all]")
        tab.seen()
        page.keyboard.press("u")
        assert shown(page) == first and page.locator(".cell[aria-pressed=true]").count() == len(first)
        page.keyboard.press("2")
        assert shown(page) == second
        tab.saved()
        assert given(own) == dict.fromkeys(first, "customer")
        page.click("#lanes [data-lane=all]")
        expect(page.locator("#views [data-view=one]")).to_have_attribute("aria-pressed", "true")


def test_what_was_unticked_comes_again_however_slow_the_server_is(
    run: Path, tmp_path: Path, context: playwright.BrowserContext
):
    own = Path(shutil.copytree(run, tmp_path / "run"))
    for path in own.glob("labels*"):
        path.unlink()
    with Server(own, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.click("#lanes [data-lane=groups]")
        first = shown(page)
        page.click(".cell >> nth=1")
        page.keyboard.press("1")
        listed = server.get("/api/groups?lane=groups")["groups"]
        for _ in listed[2:]:
            shown(page)
            tab.saved()
            page.keyboard.press("2")
        last = shown(page)
        tab.saved()
        page.route(
            "**/api/events", late
        )  # the list of groups is asked for at once, pictures after the labels are there
        page.route("**/api/items?*", late)
        page.keyboard.press("3")
        expect(page.locator(".cell")).to_have_count(1)
        assert shown(page) == [first[1]]
        page.unroute_all()
        tab.saved()
        assert set(given(own)) > set(last) and first[1] not in given(own)


def test_crops_of_a_track_come_in_the_order_of_time_whatever_other_tracks_are_of():
    times = np.array([3.0, np.nan, 1.0, np.nan, 2.0, 0.0])  # of crops of a video, and of pictures
    names = np.array(["a", "b", "a", "b", "a", ""], object)
    pool = SimpleNamespace(column={"track": names, "group": np.zeros(6, str), "time": times}.__getitem__)
    everything = SimpleNamespace(lanes={"all": SimpleNamespace(rows=np.arange(6))})
    assert _tracks(pool, everything).rows.tolist() == [2, 4, 0, 1, 3]


def test_groups_hold_nothing_that_is_labelled(run: Path):
    with Server(run, *CLASSES) as server:
        listed = server.get("/api/groups?lane=groups")
        while not listed["ready"]:
            listed = server.get("/api/groups?lane=groups")
        state = next(lane for lane in server.get("/api/state")["lanes"] if lane["name"] == "groups")
        done = set(given(run))
        assert sum(group["open"] for group in listed["groups"]) == state["total"] - state["labelled"] - state["skipped"]
        opens = [group["open"] for group in listed["groups"]]
        assert opens == sorted(opens, reverse=True)
        for group in listed["groups"]:
            items = server.get(f"/api/items?lane=groups&part={group['part']}&limit=200")["items"]
            assert len(items) == group["open"] and not done & {item["id"] for item in items}
        for part in ("x", "1e9", "99999999999"):
            assert server.request("GET", f"/api/items?lane=groups&part={part}")[0] == 400
        assert server.request("GET", "/api/groups?lane=all")[0] == 400


def test_a_track_is_labelled_by_one_key_even_as_the_server_is_killed(
    tmp_path: Path, context: playwright.BrowserContext
):
    film(tmp_path / "a.mkv")
    detector = write_yolox(tmp_path / "yolox.onnx")
    done = winnow_command("ingest", tmp_path / "a.mkv", "--people", "--object-detector", detector, "--every", "0.1",
                          "--run", tmp_path / "run", "--size", "32", "32")  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    pool = Pool.open(run / "pool")
    tracks = dict(zip(pool.column("id"), pool.column("track"), strict=True))
    sizes = collections.Counter(tracks.values())
    with Server(run, *CLASSES) as server:
        tab = Tab(context, server)
        page = tab.page
        page.click("#lanes [data-lane=tracks]")
        tab.said("crops of one track")
        first = shown(page)
        (track,) = {tracks[item] for item in first}
        assert len(first) == sizes[track] == max(sizes.values())
        page.route("**/api/events", lambda route: (route.continue_(), server.process.send_signal(signal.SIGKILL)))
        page.keyboard.press("1")
        page.wait_for_selector("#saved[data-state=offline]")
        assert page.inner_text("#saved") in ("Offline", f"Offline, {len(first)} waiting")
        page.unroute("**/api/events")
        server.stop(signal.SIGKILL)
        assert given(run) in ({}, dict.fromkeys(first, "staff"))  # whole or absent
    with Server(run, port=server.port) as server:
        page.goto(f"http://127.0.0.1:{server.port}/#token={server.token}")
        tab.saved()
        assert given(run) == dict.fromkeys(first, "staff") and len(events(run, "seq")) == 1
        assert not set(shown(page)) & set(first)
