"""Draw a match, choose frames of it, label some in Chromium by keys, and write docs/images/label.png.

python scripts/label_screenshot.py [--to docs/images/label.png] [--dark] [--size 1280x800] [--view one|grid] [--lane chosen|outliers|all]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import winnow

from match_video import write_match

SECONDS = 150
CHOSEN, LABELLED = 60, 34
CLASSES = ("open play", "set piece", "advert")
SOURCE = "/videos/match-1.mp4"


def main() -> None:
    """Draw, label, and take the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("docs/images/label.png"))
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--view", default="one", choices=("one", "grid"))
    parser.add_argument("--lane", default="chosen", choices=("chosen", "outliers", "all"))
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        run, breaks = draw(Path(folder))
        with label_server(run) as address:
            chromium = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            scheme = "dark" if options.dark else "light"
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(address)
            label(page, breaks)
            show(page, options.view, options.lane)
            options.to.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=options.to)
            chromium.close()
    with Image.open(options.to) as picture:  # a palette is enough for a page, and a third of the bytes
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE).save(
            options.to, optimize=True
        )


def draw(folder: Path) -> tuple[Path, list[tuple[float, float]]]:
    """Return a run with a drawn match of which some frames were chosen, and the match's adverts (start, end) in seconds."""
    breaks = write_match(folder / "match-1.mp4", seed=1, seconds=SECONDS)
    run = winnow.Run(folder / "match", "oneclass-from-scratch", every=0.5, iterations=300)
    run.fit([folder / "match-1.mp4"])
    run.select(CHOSEN)
    return folder / "match", breaks


@contextmanager
def label_server(run: Path) -> Iterator[str]:
    """Yield the address of `winnow label` on a run."""
    command = [
        sys.executable,
        "-m",
        "winnow.cli",
        "label",
        "--run",
        run,
        "--classes",
        ",".join(CLASSES),
        "--who",
        "me",
        "--port",
        "0",
    ]
    server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
    finally:
        server.terminate()
        server.wait()


def label(page: Page, breaks: list[tuple[float, float]]) -> None:
    """Label the first of the queue by keys, at the pace of a person."""
    for number in range(LABELLED):
        page.wait_for_selector("#stage[data-seen]")
        page.wait_for_timeout(900)
        minutes, seconds = page.inner_text("#facts dt:has-text('Time') + dd").split(":")
        is_advert = any(start <= 60 * int(minutes) + float(seconds) < end for start, end in breaks)
        page.keyboard.press("3" if is_advert else "s" if number == 6 else "2" if number % 4 == 3 else "1")
    page.wait_for_selector("#saved[data-state=saved]")


def show(page: Page, view: str, lane: str) -> None:
    """Show a lane and a view; in the grid select some pictures."""
    page.click(f"#lanes [data-lane={lane}]")
    page.wait_for_selector("#stage[data-seen]")
    if view == "grid":
        page.click("#shows [data-show=all]")
        page.keyboard.press("g")
        page.click(".cell >> nth=16")
        page.click(".cell >> nth=20", modifiers=["Shift"])
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(1500)
    source = page.locator("#facts dt:has-text('Source') + dd")
    source.evaluate("(shown, path) => (shown.textContent = path)", SOURCE)  # not the temporary folder of this machine


if __name__ == "__main__":
    main()
