"""Check pages for accessibility by axe-core in Chromium: at 1280 and 400 pixels, light and dark, with all that is folded opened.

npm install --prefix /tmp/axe axe-core
python scripts/axe.py /tmp/axe/node_modules/axe-core/axe.min.js runs/demo/report.html [http://127.0.0.1:8765/#token=...]

Prints the findings of each page by impact, and ends with 1 when there is a serious or critical one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

WIDTHS, SCHEMES = (1280, 400), ("light", "dark")
GRAVE = {"serious", "critical"}
SETTLED = 2000  # milliseconds after which a page that fetches its pictures shows them
RUN = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


def main() -> None:
    """Print the findings of every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("pages", nargs="+", help="files or addresses")
    options = parser.parse_args()
    script, grave = options.axe.read_text(encoding="utf-8"), 0
    with sync_playwright() as browsers:
        chromium = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for page in options.pages:
            address = page if "://" in page else Path(page).resolve().as_uri()
            found: dict[tuple[str, str], int] = {}
            for finding in findings(chromium, address, script):
                key = (finding["impact"], finding["id"])
                found[key] = max(found.get(key, 0), len(finding["nodes"]))
            impacts = Counter({impact: sum(n for (of, _), n in found.items() if of == impact) for impact, _ in found})
            grave += sum(impacts[impact] for impact in GRAVE)
            print(f"{page}: " + (", ".join(f"{n} {impact}" for impact, n in impacts.items()) or "no finding"))
            for (impact, rule), n in sorted(found.items()):
                print(f"  {impact}: {rule}, {n} of the page's elements")
        chromium.close()
    sys.exit(int(grave > 0))


def findings(chromium: Browser, address: str, script: str) -> list[dict[str, Any]]:
    """Return the violations that axe finds on a page, at each width and in each scheme."""
    found = []
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(address)
            page.wait_for_timeout(SETTLED if address.startswith("http") else 0)
            page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            page.evaluate(script)
            found += page.evaluate(RUN)
            page.close()
    return found


if __name__ == "__main__":
    main()
