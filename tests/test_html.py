"""The report page: well-formed, self-contained, and nothing from outside can become markup."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow.errors import DataError
from winnow.report.embed import embedded, thumbnail
from winnow.report.figures import histograms, picture_grid
from winnow.report.html import Card, Figure, Gallery, KeyFigure, Note, Page, Section, Share, Table, cell, render
from winnow.report.style import NARROW, WIDTH

PNG = picture_grid(np.zeros((1, 2, 2, 3), np.uint8))
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp; javascript:alert(1) {{ 7*7 }}.mp4"
VOID = {"meta", "img", "br", "link", "input", "hr", "source"}


class Reader(HTMLParser):
    """Every tag with its attributes and the text, raising where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def full(word: str) -> Page:
    """Return a page with `word` in every place that takes text."""
    table = Table((word, "n"), [(word, 1), (word, 2)], word, word, marked=[1])
    return Page(
        word,
        word,
        [KeyFigure(word, word, word)],
        [Note(word), Note(word, "warning")],
        [
            Section(
                word,
                [word],
                [Figure(word, PNG, word), Figure(word, PNG, word, pictures=True)],
                [table, replace(table, folded=True), Table((), [(word, word)])],
                [word],
                [Gallery(word, [Card(word, PNG, [word]), Card(word, b"")], word)],
                folded=folded,
            )
            for folded in (False, False, True)
        ],
        word,
    )


def test_page_is_well_formed_and_shows_everything() -> None:
    reader = Reader(render(full("Wort")))
    assert reader.text.count("Wort") == 80
    assert len(reader.all("img")) == 9
    assert len(reader.all("table")) == 9
    assert len(reader.all("details")) == 4
    open_ones = {f"#{part['id']}" for part in reader.all("section") if "id" in part}
    assert {link["href"] for link in reader.all("a")} == open_ones and len(open_ones) == 2


def test_page_is_self_contained() -> None:
    html = render(full("Wort"))
    reader = Reader(html)
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe|<object", html.lower().split("base64,")[0]
    )
    assert not reader.all("script")
    for tag, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/webp;base64," if tag == "img" else "#")
    shown = base64.b64decode((reader.all("img")[0]["src"] or "").split(",")[1])
    with Image.open(io.BytesIO(shown)) as chart, Image.open(io.BytesIO(PNG)) as drawn:  # without loss
        one, other = (np.asarray(image.convert("RGBA")) for image in (chart, drawn))
        assert (one == other)[other[..., 3] > 0].all()


def test_policy_forbids_everything_but_its_own_style_and_pictures() -> None:
    html = render(full("Wort"))
    policy = next(
        meta["content"] for meta in Reader(html).all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    style = html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy


def test_markup_in_any_text_is_harmless_and_shown_as_it_is() -> None:
    plain, evil = Reader(render(full("Wort"))), Reader(render(full(EVIL)))
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    assert evil.text.count(EVIL) == plain.text.count("Wort")
    assert "49" not in evil.text
    assert all(set(one) == set(other) for (_, one), (_, other) in zip(evil.tags, plain.tags, strict=True))


@pytest.mark.parametrize("name", ["日本語.mp4", "матч", "مباراة", "\u202egpj.exe", "🏈", "e\u0301"])
def test_names_in_any_script_survive(name: str) -> None:
    assert name in Reader(render(full(name)).encode("utf-8").decode("utf-8")).text


@pytest.mark.parametrize("name", ["\udce9broken", "a\x00b", "\x1b[31m", "\uffff"])
def test_characters_that_html_cannot_hold_become_a_sign(name: str) -> None:
    html = render(full(name)).encode("utf-8").decode("utf-8")
    assert "\ufffd" in html
    assert Reader(html)


def test_what_is_empty_is_left_out() -> None:
    page = Page(
        "Title",
        sections=[Section("Empty"), Section("No rows", [""], tables=[Table(("a",), [])]), Section("Text", ["Here."])],
    )
    reader = Reader(render(page))
    assert len(reader.all("section")) == 1
    assert "Here." in reader.text
    for gone in ("Empty", "No rows"):
        assert gone not in reader.text
    for tag in ("dl", "ul", "nav", "footer", "table", "figure", "details"):
        assert not reader.all(tag)


def test_two_sections_of_one_name_have_their_own_anchors() -> None:
    reader = Reader(
        render(Page("x", sections=[Section("Videos", ["a"]), Section("Videos", ["b"]), Section("日本", ["c"])]))
    )
    names = [part["id"] for part in reader.all("section")]
    assert len(set(names)) == 3
    assert all(name and not re.search(r"\s", name) for name in names)


def test_columns_of_numbers_stand_to_the_right_and_marked_rows_stand_out() -> None:
    rows = [("match", 1200, "0.97 to 0.98", "12.1 %", None, "0:31", "auto"), ("b", 3, "–", "5 %", 0.5, "1:02:03", "64")]
    reader = Reader(
        render(
            Page("x", sections=[Section("x", tables=[Table(("a", "b", "c", "d", "e", "f", "g"), rows, marked={1})])])
        )
    )
    right = [cell.get("class") == "number" for cell in reader.all("td")]
    assert right == [False, True, True, True, True, True, False] * 2
    assert reader.all("div")[-1].get("tabindex") == "0"  # a wide table scrolls, by keys too
    assert [row.get("class") for row in reader.all("tr")] == [None, None, "marked"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4213, "4,213"),
        (np.int64(4213), "4,213"),
        (0.98412, "0.9841"),
        (np.float32(0.5), "0.5"),
        (12345.6, "12,346"),
        (1e-7, "1e-07"),
        (None, "–"),
        (float("nan"), "–"),
        (np.float64("nan"), "–"),
        (float("inf"), "inf"),
        (True, "yes"),
        (np.False_, "no"),
        ((64, 80), "64 × 80"),
        ([], "–"),
        ("", "–"),
        ("0.00012345", "0.00012345"),
        (Path("a/b"), "a/b"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_long_digits_do_not_stall_the_page() -> None:
    table = Table(("a",), [("1" * 100_000 + "x!",)])
    assert "x!" in render(Page("x", sections=[Section("x", tables=[table])]))


def test_a_row_that_does_not_fit_and_a_figure_that_is_no_png_are_errors() -> None:
    with pytest.raises(DataError, match="'Files' has a row of 3 cells under 2"):
        render(Page("x", sections=[Section("x", tables=[Table(("a", "b"), [(1, 2, 3)], "Files")])]))
    for png in (b"", b"GIF89a", PNG[:20]):
        with pytest.raises(DataError, match="'Loss' is no picture"):
            render(Page("x", sections=[Section("x", figures=[Figure("Loss", png)])]))


def test_pictures_keep_their_colours_on_a_dark_page() -> None:
    section = Section("x", figures=[Figure("chart", PNG), Figure("photo", PNG, pictures=True)])
    first, second = Reader(render(Page("x", sections=[section]))).all("img")
    assert (first.get("class"), second.get("class")) == ("chart", None)
    assert first["width"] == "900"


def test_columns_and_rows_without_a_value_are_left_out() -> None:
    rows = [("a", None, 1, "–"), ("b", "", None, None), ("c", None, 3, None)]
    table = Table(("name", "none", "n", "dash"), rows, marked={2})
    reader = Reader(render(Page("x", sections=[Section("x", tables=[table])])))
    assert "none" not in reader.words and "dash" not in reader.words and "b" not in reader.words
    assert [row.get("class") for row in reader.all("tr")] == [None, None, "marked"]
    facts = Table((), [("told", 1), ("not told", None)])
    assert "not told" not in render(Page("x", sections=[Section("x", tables=[facts])]))


def test_a_share_is_a_number_with_a_bar_of_its_length() -> None:
    reader = Reader(
        render(Page("x", sections=[Section("x", tables=[Table(("a",), [(Share(0.256),), (Share(0.0),)])])]))
    )
    assert [bar["width"] for bar in reader.all("rect")] == ["25.6", "0.0"] and "25.6\u00a0%" in reader.text


def test_photographs_are_small_and_in_their_own_proportions() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 300, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(thumbnail(noise))) as small:
        assert small.size == (80, 320) and small.format == "WEBP"
    assert Image.open(io.BytesIO(thumbnail(noise[:40, :30, :1]))).size == (30, 40)  # not enlarged
    sheet = picture_grid(noise[None, :240])
    assert len(embedded(sheet, photographs=True).uri) < len(embedded(sheet, photographs=False).uri) / 2
    assert embedded(sheet, photographs=True).width <= 1600


def test_a_page_of_many_photographs_and_long_tables_stays_below_its_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), np.uint8)
    cards = [Card(f"{number}.jpg", thumbnail(pixels)) for number, pixels in enumerate(noise)]
    rows = [(f"part-{number}", number) for number in range(700)]
    page = Page(
        "many", sections=[Section("all", galleries=[Gallery("all", cards)], tables=[Table(("part", "n"), rows)])]
    )
    whole, fitted = render(page, 10**9), render(page)
    assert len(whole.encode()) > 2_000_000 >= len(fitted.encode())
    assert whole.count("<img") == fitted.count("<img") == 60
    assert fitted.count('width="320" height="240"') == 60  # shown as large as before
    assert "the first 500 of 700" in fitted and "part-499<" in fitted and "part-500<" not in fitted


def test_a_telephone_gets_a_chart_of_its_own_width() -> None:
    wide, narrow = (histograms({"a": [1, 2]}, width=width) for width in (WIDTH, NARROW))
    reader = Reader(render(Page("x", sections=[Section("x", figures=[Figure("Scores", wide, narrow=narrow)])])))
    shown, other = (int(reader.all(tag)[0]["width"] or 0) for tag in ("img", "source"))
    assert other / shown == pytest.approx(NARROW / WIDTH, abs=0.01)


@pytest.mark.slow
def test_a_browser_shows_the_page_with_its_style_under_its_own_policy(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium")
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(render(full(EVIL)), encoding="utf-8")
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=400,300",
            f"--screenshot={shot}",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert Image.open(shot).convert("RGB").getpixel((2, 2)) == (0xF5, 0xF6, 0xF8)  # the ground of the style sheet
