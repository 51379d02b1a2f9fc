"""Classes renamed, merged and deleted on the page, in Chromium, and taken back; long names in any script through every format."""

# ruff: noqa: F811

from __future__ import annotations

from pathlib import Path

import pytest
from test_label_page import chromium, context, drawn, expect, playwright, pytestmark, run  # noqa: F401

import winnow
from winnow.label.store import Event, LabelStore
from winnow.pool.pool import Pool

from labelling import Server, Tab, events

LONG = "Gäste, zahlend: \u5ba2\u4eba \u0636\u064a\u0641 " + "x" * 77


def change(page: playwright.Page, name: str, to: str) -> None:
    """Renames a class in the dialog, which is open."""
    page.get_by_label(f"Name of {name}", exact=True).fill(to)
    page.keyboard.press("Enter")


def test_a_class_is_renamed_merged_and_deleted_and_all_of_it_undone(run: Path, context: playwright.BrowserContext):
    assert len(LONG) == 100
    with Server(run, "--classes", "staff,customer,nobody") as server:
        tab, other = Tab(context, server), Tab(context, server)
        page = tab.page
        page.bring_to_front()
        first, second, third = tab.press("1", "2", "2")
        tab.saved()
        tab.seen()
        page.keyboard.press("c")
        assert page.evaluate("document.activeElement.id") == "editing-close"
        change(page, "customer", "")
        tab.said("or press Delete")  # which an empty name does not
        change(page, "customer", "bad\u202ename")
        tab.said("control character")
        page.get_by_label("Name of customer", exact=True).select_text()
        page.keyboard.insert_text("\U0001f600" * 100)  # as a person does; each is two of a browser's units
        assert page.get_by_label("Name of customer", exact=True).input_value() == "\U0001f600" * 100
        change(page, "customer", "x" * 101)
        tab.said("more than 100 characters")
        change(page, "customer", LONG)
        tab.said("is now called")
        page.keyboard.press("Escape")
        expect(page.locator("#classes .title").nth(1)).to_have_text(LONG)
        fourth = tab.press("2")[0]
        tab.saved()
        tab.press("/")
        wide = (
            "[document.querySelector('#naming-found').scrollWidth, document.querySelector('#naming-form').clientWidth]"
        )
        listed, form = page.evaluate(wide)
        assert listed <= form
        page.keyboard.press("Escape")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.keyboard.press("c")
        assert page.evaluate("document.querySelector('#editing').scrollWidth <= 400")
        assert page.locator("#editing-list option").count() == 3  # of a thousand classes not a million
        into = page.get_by_label(f"Merge {LONG} into", exact=True)
        into.focus()
        into.select_option("staff")
        tab.said(f"\u2068{LONG}\u2069” is now part of")  # set apart from the words around it
        page.get_by_label("Delete staff", exact=True).click()
        tab.said("4 pictures of it are open again")
        page.keyboard.press("Escape")
        page.set_viewport_size({"width": 1280, "height": 800})
        expect(page.locator("#classes .title")).to_have_text(["nobody"])
        expect(page.locator("#count")).to_contain_text("0 of 110 labelled")
        other.page.bring_to_front()
        expect(other.page.locator("#classes .title")).to_have_text(["nobody"])  # by polling
        page.bring_to_front()
        tab.seen()
        for told in (["staff", "nobody"], ["staff", LONG, "nobody"]):
            page.keyboard.press("u")
            expect(page.locator("#classes .title")).to_have_text(told)
        page.reload()
        tab.seen()
        page.keyboard.press("u")  # the label given after the renaming
        tab.saved()
        tab.seen()
        page.keyboard.press("u")
        expect(page.locator("#classes .title")).to_have_text(["staff", "customer", "nobody"])
        found = {Path(source).name: label for source, label in given(run).items()}
        assert found == {first: "staff", second: "customer", third: "customer"} and fourth not in found


def test_a_name_that_is_being_typed_stays_when_others_label(run: Path, context: playwright.BrowserContext):
    with Server(run, "--classes", "staff,customer") as server:
        tab, other = Tab(context, server), Tab(context, server)
        other.page.bring_to_front()
        other.press("1")
        other.saved()
        tab.page.bring_to_front()
        tab.press("c")
        field = tab.page.get_by_label("Name of customer", exact=True)
        field.fill("guest")
        (item,) = [item for (item,) in events(run, "item")]
        server.post("/api/events", {"events": [{"uuid": "other", "item": item, "kind": "label", "value": "customer"}]})
        expect(tab.page.locator("#editing-list .number")).to_have_text(["0", "1"])  # by polling
        assert field.input_value() == "guest" and field.evaluate("field => field === document.activeElement")
        tab.page.keyboard.press("Enter")
        tab.said("is now called")
        expect(tab.page.locator("#editing-list .number")).to_have_text(["0", "1"])


def test_a_label_given_while_a_change_of_a_class_is_undone_can_be_undone(run: Path, context: playwright.BrowserContext):
    with Server(run, "--classes", "staff,customer") as server:
        tab = Tab(context, server)
        page = tab.page
        tab.press("c")
        change(page, "customer", "guest")
        tab.said("is now called")
        page.keyboard.press("Escape")
        held = []
        page.route("**/api/classes/undo", lambda route: held.append(route))
        tab.seen()
        page.keyboard.press("u")
        page.keyboard.press("1")
        tab.saved()
        expect(page.locator("#classes .number")).to_have_text(["1", "0"])
        held[0].continue_()
        expect(page.locator("#classes .title")).to_have_text(["staff", "customer"])
        tab.press("u")
        tab.saved()
        assert given(run) == {}


def given(run: Path) -> dict[str, str]:
    """Present labels by source."""
    pool = Pool.open(run / "pool")
    sources = dict(zip(pool.column("id"), pool.column("source"), strict=True))
    return {sources[item]: label for item, (label, _, _) in winnow.Run(run).labels().items()}


@pytest.mark.parametrize("form", ["labels.csv", "tasks.json", "coco.json", "folder"])
def test_a_renamed_class_of_a_hundred_characters_goes_out_and_comes_back(run: Path, tmp_path: Path, form: str):
    opened = winnow.Run(run)
    items = Pool.open(run / "pool").column("id")[:3].tolist()
    name = LONG.replace("x" * 77, "x" * 20) if form == "folder" else LONG  # a file system's names are shorter
    with LabelStore.open(run / "labels.sqlite") as store:
        store.add_classes("ann", ["a", "b"])
        store.add("ann", [Event("1", "\n".join(items[:2]), "label", "a"), Event("2", items[2], "label", "b")])
        store.change_class("ann", "r", "a", name)
    format = {"tasks.json": "label-studio", "coco.json": "coco"}.get(form, "")
    opened.export_labels(tmp_path / form, format=format)
    before = opened.labels()
    with LabelStore.open(run / "labels.sqlite") as store:
        store.change_class("ann", "d", name, "")
        assert len(store.labels()) == 1
    opened.import_labels(tmp_path / form, classes=[name])
    assert {item: label for item, (label, _, _) in opened.labels().items()} == {
        item: label for item, (label, _, _) in before.items()
    }
