"""Learn a drawn match, watch a folder with another one with --page, and write docs/images/watch.png.

python scripts/watch_screenshot.py [--to docs/images/watch.png] [--dark] [--size 1280x800]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import winnow

from match_video import write_match
from screenshots import arguments, page_of

SECONDS = 150


def main() -> None:
    """Draw, learn, watch, and take the screenshot."""
    options = arguments(__doc__, "docs/images/watch.png").parse_args()
    options.to = options.to.absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_match(folder / "match-1.mp4", seed=1, seconds=SECONDS)
        (folder / "recordings").mkdir()
        write_match(folder / "recordings" / "match-2.mp4", seed=2, seconds=SECONDS)
        run = winnow.Run(folder / "match", "oneclass-from-scratch", every=0.5, iterations=300)
        run.fit([folder / "match-1.mp4"])
        run.export(folder / "match.onnx")
        words = ("watch", "recordings", "--onnx", "match.onnx", "--to", "watched", "--page", "--port", 0)
        with page_of(words, folder, options) as page:
            page.wait_for_selector("#happened li[data-kind=out]")
            page.wait_for_function("() => document.querySelectorAll('#foreign figure').length >= 6")
            page.wait_for_function("() => [...document.querySelectorAll('img')].every((one) => one.naturalWidth)")
            page.route("**/api/**", lambda route: None)  # never answered: what is shown stays
            page.wait_for_timeout(1500)
            shown = page.locator("#folder, .source h3, #happened span").all()
            for text in shown:  # not the temporary folder of this machine
                text.evaluate("(one, path) => (one.textContent = one.textContent.replace(path, ''))", f"{folder}/")


if __name__ == "__main__":
    main()
