"""Draw a match, choose frames of it, label some in Chromium by keys, and write docs/images/label.png.

python scripts/label_screenshot.py [--to docs/images/label.png] [--dark] [--size 1280x800] [--view one|grid] [--lane chosen|outliers|all]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page

import winnow

from match_video import write_match
from screenshots import arguments, page_of

SECONDS = 150
CHOSEN, LABELLED = 60, 34
CLASSES = ("open play", "set piece", "advert")
SOURCE = "/videos/match-1.mp4"


def main() -> None:
    """Draw, label, and take the screenshot."""
    parser = arguments(__doc__, "docs/images/label.png")
    parser.add_argument("--view", default="one", choices=("one", "grid"))
    parser.add_argument("--lane", default="chosen", choices=("chosen", "outliers", "all"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, breaks = draw(folder)
        words = ("label", "--run", run, "--classes", ",".join(CLASSES), "--who", "me", "--port", 0)
        with page_of(words, folder, options) as page:
            label(page, breaks)
            show(page, options.view, options.lane)


def draw(folder: Path) -> tuple[Path, list[tuple[float, float]]]:
    """Return a run with a drawn match of which some frames were chosen, and the match's adverts (start, end) in seconds."""
    breaks = write_match(folder / "match-1.mp4", seed=1, seconds=SECONDS)
    run = winnow.Run(folder / "match", "oneclass-from-scratch", every=0.5, iterations=300)
    run.fit([folder / "match-1.mp4"])
    run.select(CHOSEN)
    return folder / "match", breaks


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
