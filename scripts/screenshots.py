"""What the scripts that photograph a page share: their options, a command that prints an address, and the picture."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright


def arguments(doc: str | None, to: str) -> argparse.ArgumentParser:
    """Return the parser of a script that writes a picture."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path(to))
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--size", default="1280x800")
    return parser


@contextmanager
def page_of(words: Sequence[object], folder: Path, options: argparse.Namespace) -> Iterator[Page]:
    """Yield the page whose address a winnow command prints, which runs in a folder; write a picture of it in the end."""
    width, height = map(int, options.size.split("x"))
    command = [sys.executable, "-m", "winnow.cli", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert process.stdout
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
        with chromium() as browser:
            scheme = "dark" if options.dark else "light"
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(240_000)  # a busy machine takes its time
            page.goto(address)
            yield page
            options.to.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=options.to)
    finally:
        process.terminate()
        process.wait()
    smaller(options.to)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the Chromium that is on the PATH."""
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def smaller(path: Path) -> None:
    """Write a picture anew in 256 colours: enough for a page, and a third of the bytes."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
