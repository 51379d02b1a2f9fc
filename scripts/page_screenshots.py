"""Take the pictures of pages in docs/images with Chromium: a help page, and the site, the README and a report at 1280 and 400 pixels.

make docs && make demo
python scripts/page_screenshots.py [help site readme report] [--to docs/images] [--site build/site] [--report runs/demo/report.html]

All of them unless some are named; the help page needs neither the site nor a report. The labelling page: scripts/label_screenshot.py.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import Browser, Page
from rich.console import Console

from winnow.cli import HELP as FLAGS
from winnow.cli import application
from winnow.usage import Help

from screenshots import chromium, smaller

HELP = ["run", "inspect", "--help"]
COLUMNS = 118  # of the terminal
TERMINAL = (
    "<body style='margin:0;background:#fff'><pre style='display:inline-block;margin:0;padding:14px 18px;"
    'font:14px/1.17 "DejaVu Sans Mono",monospace\'>$ winnow {command}\n{{code}}</pre></body>'
)
SIZES = {"1280": (1280, 900), "400": (400, 860)}
SHOWN = {"site": ("index.html", "h1"), "readme": ("project/index.html", "h1"), "report": ("", "h2")}
"""Page of the site, "" for the report, and what stands at the top of its picture."""


def main() -> None:
    """Take the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["help", *SHOWN], choices=["help", *SHOWN])
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    parser.add_argument("--site", type=Path, default=Path("build/site"))
    parser.add_argument("--report", type=Path, default=Path("runs/demo/report.html"))
    options = parser.parse_args()
    with chromium() as browser, served(options.site) as site:
        for name in options.names:
            if name == "help":
                terminal(browser, options.to / "help.png")
                continue
            address, top = SHOWN[name]
            page = f"{site}/{address}" if address else options.report.resolve().as_uri()
            for width, size in SIZES.items():
                shot(browser, page, size, top, options.to / f"{name}-{width}.png")


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Yield the address at which a folder is served: the site's search is there only where it is."""
    handler = partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder over HTTP, without a line on the terminal for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def terminal(browser: Browser, to: Path) -> None:
    """Take a picture of a help page as a terminal shows it."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=io.StringIO())
    app = application()
    app.console = console
    Help(HELP, FLAGS).show(app)
    form = TERMINAL.format(command=" ".join(HELP))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(console.export_html(inline_styles=True, code_format=form))
    page.locator("pre").screenshot(path=to)
    page.close()
    smaller(to)


def shot(browser: Browser, address: str, size: tuple[int, int], top: str, to: Path) -> None:
    """Take a picture of a page at a size (width, height), from its first heading `top` on where that is no page's beginning."""
    page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    page.goto(address)
    page.evaluate("document.querySelectorAll('img').forEach(picture => (picture.loading = 'eager'))")
    if top != "h1":
        page.evaluate("top => window.scrollTo(0, document.querySelector(top).getBoundingClientRect().top - 40)", top)
    page.wait_for_timeout(1000)
    page.screenshot(path=to)
    page.close()
    smaller(to)


if __name__ == "__main__":
    main()
