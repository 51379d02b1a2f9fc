"""The site is built without a warning, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from commands_page import text as commands

ROOT = Path(__file__).parent.parent
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "object": "data",
}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """The ids, links and loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.without_text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, leads to or loads."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given.get(LOADS[tag], ""))
        if tag == "img" and not given.get("alt"):
            self.without_text.append(given.get("src", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    to = tmp_path_factory.mktemp("site") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(to)]
    unknown = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **unknown}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path) for path in sorted(to.rglob("*.html")) if path.name != "404.html"}


def test_every_link_of_the_site_leads_to_a_page_and_a_place_in_it(site: dict[Path, Page]):
    lost = []
    for path, page in site.items():
        for link in [*page.links, *page.loaded]:
            if re.match(r"[a-z]+:", link) or not link:
                continue
            address, fragment = urldefrag(unquote(link))
            target = (path.parent / address).resolve() if address else path
            wanted = site.get(target)
            if not target.exists() or (fragment and wanted is not None and fragment not in wanted.ids):
                lost.append((path.name, link))
    assert len(site) > 40 and lost == []


def test_the_site_loads_nothing_from_elsewhere(site: dict[Path, Page]):
    remote = [
        (path.name, link) for path, page in site.items() for link in page.loaded if re.match(r"(https?:)?//", link)
    ]
    assert remote == []
    styles = [path for page in list(site)[:1] for path in page.parent.rglob("*.css")]
    for path in styles:
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_every_picture_of_the_site_has_a_text(site: dict[Path, Page]):
    assert [(path.name, page.without_text) for path, page in site.items() if page.without_text] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_fits_the_screen_and_asks_nobody_else(site: dict[Path, Page], width: int):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for path in site:
            if path.name in ("index.html", "compare.html", "options.html", "one-class.html"):
                page.goto(path.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
                assert page.locator("[role=dialog]:not([aria-label])").count() == 0, path.name
                assert page.locator(".md-typeset__scrollwrap:not([tabindex='0'])").count() == 0, path.name
        browser.close()
    assert [url for url in asked if not url.startswith("file:")] == []


def test_the_page_of_the_commands_has_them_all_with_their_options(site: dict[Path, Page]):
    path = next(path for path in site if path.name == "commands.html")
    text = path.read_text(encoding="utf-8")
    assert {"winnow-run", "winnow-score", "winnow-watch", "winnow-doctor"} <= site[path].ids
    assert "<code>--false-discoveries</code>" in text and "--empty-" not in text


def test_the_page_of_python_documents_the_results(site: dict[Path, Page]):
    ids = next(page for path, page in site.items() if path.name == "python.html").ids
    assert {"winnow.Run", "winnow.Run.score", "winnow.Detector.fit", "winnow.choose", "winnow.results.Scored"} <= ids


def test_the_page_of_the_commands_says_what_everything_means():
    rows = [line for line in commands().splitlines() if line.startswith("| `")]
    assert len(rows) > 150 and [row for row in rows if not row.split("|")[2].strip()] == []
