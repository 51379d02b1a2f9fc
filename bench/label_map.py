"""The map of the label page: milliseconds to draw 100,000 points in Chromium, and seconds to work the map and the groups out.

python bench/label_map.py [--pictures 100000] [--draws 20] [--drawing]

Embeddings are drawn: 64 dimensions of meaning among 1,280, twenty pictures a kind, a fifth near-duplicates. The page gets the map's
points in place of those of its own small run; what is measured is the page's own time to draw, which it keeps beside the canvas.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import winnow
from winnow.report.selection import flat_map
from winnow.select.look_alikes import look_alikes
from winnow.select.projection import projected


def drawn(n: int) -> np.ndarray:
    """Return embeddings (n, 1280) float32."""
    rng = np.random.default_rng(0)
    mixing = (rng.normal(size=(64, 1280)) * np.arange(1, 65)[:, None] ** -0.5).astype(np.float32)
    centres = rng.normal(size=(max(1, n // 20), 64)).astype(np.float32)
    meaning = centres[rng.integers(len(centres), size=n)] + 0.5 * rng.normal(size=(n, 64)).astype(np.float32)
    vectors = np.abs(meaning @ mixing) + 0.1 * np.abs(rng.standard_normal((n, 1280), np.float32))
    vectors[: n // 5] = vectors[rng.integers(n // 5, n, size=n // 5)] + 1e-3
    return vectors


def small_run(folder: Path) -> Path:
    """Return a run of a few drawn pictures with embeddings, so that the page has a map."""
    rng = np.random.default_rng(0)
    for number in range(16):
        (folder / "in" / str(number % 4)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
            folder / "in" / str(number % 4) / f"{number}.png"
        )
    run = winnow.Run(folder / "run", size=(32, 32), width=4, latent=4, iterations=4, check_every=2, device="cpu")
    run.ingest(folder / "in")
    run.train()
    run.encode()
    return folder / "run"


def seconds_to_draw(page: Page, positions: np.ndarray, draws: int) -> list[float]:
    """Return the milliseconds of each drawing of the points, once a wheel turn."""
    x, y = np.round(positions * 4095).astype(int).T.tolist()
    points = json.dumps({"ready": True, "failure": "", "rows": list(range(len(x))), "x": x, "y": y})
    colours = json.dumps(
        {
            "names": [str(number) for number in range(8)],
            "values": [number % 8 for number in range(len(x))],
            "scale": None,
        }
    )
    page.route("**/api/map", lambda route: route.fulfill(body=points, content_type="application/json"))
    page.route("**/api/map/colours*", lambda route: route.fulfill(body=colours, content_type="application/json"))
    page.keyboard.press("m")
    page.wait_for_selector("#map-canvas[data-milliseconds]")
    page.hover("#map-area")
    found = []
    for number in range(draws):
        page.evaluate("delete document.querySelector('#map-canvas').dataset.milliseconds")
        page.mouse.wheel(0, -5 if number % 2 else 5)
        page.wait_for_selector("#map-canvas[data-milliseconds]")
        found.append(float(page.get_attribute("#map-canvas", "data-milliseconds") or "nan"))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--drawing", action="store_true", help="only draw, points at random places")
    options = parser.parse_args()
    positions = np.random.default_rng(0).random((options.pictures, 2))
    if not options.drawing:
        vectors = drawn(options.pictures)
        began, used = time.perf_counter(), time.process_time()
        positions = projected(vectors, flat_map)
        seconds, core = time.perf_counter() - began, time.process_time() - used
        print(f"map of {options.pictures:,}: {seconds:.1f} s, {core:.1f} s of a core", flush=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        run = small_run(Path(folder))
        command = [sys.executable, "-m", "winnow.cli", "label", "--run", str(run), "--classes", "a,b", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        chromium = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector("#stage[data-seen]")
        found = seconds_to_draw(page, positions, options.draws)
        chromium.close()
        server.terminate()
        server.wait()
    low, high = np.percentile(found, [5, 95])
    print(
        f"draw {options.pictures:,} points: median {statistics.median(found):.1f} ms, 5 to 95 %: {low:.1f} to {high:.1f} ms",
        flush=True,
    )
    if options.drawing:
        return
    began, used = time.perf_counter(), time.process_time()
    rows, number = look_alikes(vectors, 0.1)
    print(f"groups of {options.pictures:,}: {time.perf_counter() - began:.1f} s, {time.process_time() - used:.1f} s of a core; "
          f"{number.max() + 1:,} groups of {len(rows):,} pictures")  # fmt: skip


if __name__ == "__main__":
    main()
