"""How CPU time and memory of every step grow with the number of pictures: a table, a figure, and an error where one grows too fast.

python bench/growth.py [--sizes 1000 3000 10000 30000] [--steps NAME ...] [--without NAME ...] [--dimension 64] [--to FOLDER]

Made up: JPEG files of 48x48, an untrained autoencoder, embeddings of 2,000 Gaussian clusters with a tenth of near-duplicates, labels of
ten classes. Each figure is of a process of its own with one thread (ingest: two): CPU seconds of the step alone, its libraries loaded
before, the best of three where it takes less than three seconds, and the most memory of the process. The exponent is the slope of the
log of CPU seconds over the log of the size in the last decade. A step whose time must be near-linear fails above 1.15, one that looks
for neighbours above 1.4; it is judged where sizes span a factor of three or more above the size from which it promises that. FOLDER
keeps growth.json (a later call adds to it and measures only what is not there), growth.md and growth.png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import growth_steps as steps
import numpy as np

LIMIT, SEARCH = (
    1.15,
    1.4,
)  # exponents above which a step that must be near-linear fails, and one that looks for neighbours
DECADE, SPAN = 10.5, 2.9  # ratios of sizes: those that make the slope, and the least of them that do
PAPER = (10_000_000, 100_000_000, 1_000_000_000)  # sizes of the table on paper
ALL_OF_IT = ("ingest", "encode", "calibrate", "score", "near-duplicates", "select herding", "classify, 200 labels")
LEAST = 0.002  # CPU seconds at the smaller sizes below which a slope would be of the clock


class Step(NamedTuple):
    """What is measured, of which group in the figure, from which size on it promises to be near-linear, and calls in one measurement.

    `limit` is the exponent promised: a higher one of those that look for neighbours, and of the catalogue, whose table of names outgrows
    the caches of the processor.
    """

    make: Callable[[int, int, Path], steps.Act]
    group: str
    linear_from: int = 0
    calls: int = 1
    limit: float = LIMIT


STEPS = {
    "ingest": Step(steps.ingest, "pictures"),
    "ingest again": Step(steps.ingest_again, "pictures"),
    "encode": Step(steps.encode, "pictures"),
    "calibrate": Step(steps.calibrate, "embeddings", 20_000),
    "score": Step(steps.score, "embeddings"),
    "near-duplicates": Step(steps.near_duplicates, "embeddings", 20_000, limit=SEARCH),
    "select herding": Step(partial(steps.select, "herding"), "select 1,000", 20_000),
    "select kmeans": Step(partial(steps.select, "kmeans"), "select 1,000", 20_000),
    "select typiclust": Step(partial(steps.select, "typiclust"), "select 1,000", 20_000),
    "select k-center": Step(partial(steps.select, "k-center"), "select 1,000", 20_000),
    "classify, 200 labels": Step(partial(steps.classify, "auto", steps.LABELLED), "classify"),
    "classify, all labels": Step(partial(steps.classify, "auto", 0), "classify", 10_000),
    "label_spreading, 200 labels": Step(
        partial(steps.classify, "label_spreading", steps.LABELLED), "classify", 20_000, limit=SEARCH
    ),
    "label page: catalogue": Step(steps.catalogue, "label page", limit=SEARCH),
    "label page: next items": Step(steps.page, "label page", calls=steps.CALLS),
    "label page: one label": Step(steps.label_one, "label page", calls=steps.CALLS),
}
"""Every step by its name; those of pictures in the order in which one needs the other."""


def measure(name: str, size: int, dimension: int, to: Path) -> dict[str, Any]:
    """Return the figures of one step at one size, from a process of its own."""
    threads = {} if name.startswith("ingest") else {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(steps.__file__)), name, str(size), str(dimension), str(to)]
    done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"'{name}' of {size:,} failed; what it said is above.")
    return {"step": name, "size": size, "dimension": dimension, **json.loads(done.stdout)}


def exponent(rows: Sequence[dict[str, Any]], linear_from: int = 0) -> float | None:
    """Return the slope of log CPU over log size in the last decade, from `linear_from` on; None where sizes do not span enough."""
    rows = [row for row in rows if row["size"] >= linear_from]
    rows = [row for row in rows if row["size"] * DECADE >= rows[-1]["size"]]
    if not rows or rows[-1]["size"] < SPAN * rows[0]["size"] or rows[-1]["cpu"] < LEAST:
        return None
    sizes, seconds = (np.log([max(row[key], 1e-6) for row in rows]) for key in ("size", "cpu"))
    return float(np.polyfit(sizes, seconds, 1)[0])


def by_step(found: Sequence[dict[str, Any]], dimension: int) -> dict[str, list[dict[str, Any]]]:
    """Return the measurements of each step, by size."""
    return {
        name: rows
        for name in STEPS
        if (
            rows := sorted(
                (r for r in found if r["step"] == name and r["dimension"] == dimension), key=lambda r: r["size"]
            )
        )
    }


def markdown(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table: CPU seconds at each size, the exponents, and the most memory at the largest size."""
    sizes = sorted({row["size"] for rows in measured.values() for row in rows})
    heads = ["step", *(f"{size:,}" for size in sizes), "exponent", "memory (before it), MB"]
    lines = [heads, ["---"] * len(heads)]
    for name, rows in measured.items():
        cpu = {row["size"]: written(row["cpu"]) for row in rows}
        slope = exponent(rows)
        last = rows[-1]
        memory = f"{last['peak_mb']:,.0f} ({last['held_mb']:,.0f}) at {last['size']:,}"
        lines.append([name, *(cpu.get(size, "") for size in sizes), "" if slope is None else f"{slope:.2f}", memory])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def on_paper(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of CPU hours of what is done to all pictures at sizes that were not measured, by exponents of 1 at least.

    Beside them, how many machines of 32 cores do that in a day, were it spread evenly over them.
    """
    lines = [["step", "from", "exponent", *(f"{size:,}" for size in PAPER)]]
    lines.append(["---"] * len(lines[0]))
    total = np.zeros(len(PAPER))
    for name, rows in measured.items():
        slope, last = exponent(rows), rows[-1]
        if slope is None or STEPS[name].group == "label page":
            continue
        hours = [last["cpu"] / 3600 * (size / last["size"]) ** max(slope, 1) for size in PAPER]
        total += hours if name in ALL_OF_IT else 0
        lines.append([name, f"{last['size']:,}", f"{max(slope, 1):.2f}", *(f"{spent:,.3g} h" for spent in hours)])
    lines.append([f"together: {', '.join(ALL_OF_IT)}", "", "", *(f"{spent:,.3g} h" for spent in total)])
    lines.append(["machines of 32 cores, for a day", "", "", *(f"{spent / 32 / 24:,.2g}" for spent in total)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def written(seconds: float) -> str:
    """Return CPU seconds with their unit, two digits."""
    return (
        f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"
    )


def figure(measured: dict[str, list[dict[str, Any]]]) -> bytes:
    """Draw CPU seconds over the number of pictures, both logarithmic, a panel for each group of steps; return PNG bytes."""
    from matplotlib.ticker import LogLocator, NullLocator

    from winnow.report.style import COLOURS, DIM, LINES, WIDTH, as_png, canvas, heading, legend, plain_log, quiet

    def draw() -> Any:
        groups = list(dict.fromkeys(STEPS[name].group for name in measured))
        picture = canvas(WIDTH, 3.1 * -(-len(groups) // 2) + 0.4, (0.65, 0.1, 0.6, 0.5))
        panels = picture.subplots(-(-len(groups) // 2), 2, sharex=True, squeeze=False).ravel()
        for axes, group in zip(panels, groups, strict=False):
            quiet(axes, grid="both")
            axes.set_xscale("log")
            axes.set_yscale("log")
            handles, names = [], []
            for place, name in enumerate(name for name in measured if STEPS[name].group == group):
                rows, slope = measured[name], exponent(measured[name])
                sizes, seconds = [row["size"] for row in rows], [row["cpu"] for row in rows]
                colour, line = COLOURS[place % len(COLOURS)], LINES[place % len(LINES)]
                handles += axes.plot(sizes, seconds, color=colour, linestyle=line, marker="o", markersize=3)
                names.append(
                    name.removeprefix("select ").removeprefix("label page: ") + (f"  n^{slope:.2f}" if slope else "")
                )
            axes.set_title(group, fontsize=9, color=DIM, loc="left")
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * max(4, (high / low) ** 0.4))  # room for the legend
            plain_log(axes.yaxis)
            axes.yaxis.set_major_locator(LogLocator(numticks=12))
            axes.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:g}M" if size >= 1e6 else f"{size / 1e3:g}k")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.tick_params(axis="x", labelbottom=True)
            legend(axes, handles, names, loc="upper left", fontsize=8)
        for axes in panels[len(groups) :]:
            axes.set_visible(False)
        heading(picture, "How CPU seconds grow with the number of pictures", "one core; exponents of the last decade")
        return picture

    return as_png(draw)()


def too_steep(measured: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return a sentence for each step that grows faster than it promises."""
    found = []
    for name, rows in measured.items():
        slope = exponent(rows, STEPS[name].linear_from)
        if slope is not None and slope > STEPS[name].limit:
            found.append(f"'{name}' grows as n^{slope:.2f}; at most n^{STEPS[name].limit} is promised.")
    return found


def given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000])
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="NAME")
    parser.add_argument("--without", nargs="+", choices=list(STEPS), default=[], metavar="NAME")
    parser.add_argument("--dimension", type=int, default=64, help="of the embeddings")
    parser.add_argument("--to", type=Path, help="keep what is made here")
    options = parser.parse_args()
    if min(options.sizes) < 1000:
        parser.error(f"--sizes {min(options.sizes)}: give sizes from 1000 on.")
    options.to = options.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    options.to.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    options, started = given(), time.perf_counter()
    kept = options.to / "growth.json"
    found: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    for size in sorted(set(options.sizes)):
        for name in (name for name in STEPS if name in options.steps and name not in options.without):
            if any((row["step"], row["size"], row["dimension"]) == (name, size, options.dimension) for row in found):
                continue
            row = measure(name, size, options.dimension, options.to)
            print(f"{size:>9,}  {name:<28} {written(row['cpu']):>8}  {row['peak_mb']:,.0f} MB", flush=True)
            found.append(row)
            kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
    measured = by_step(found, options.dimension)
    table = f"{markdown(measured)}\n{on_paper(measured)}"
    (options.to / "growth.md").write_text(table, encoding="utf-8")
    (options.to / "growth.png").write_bytes(figure(measured))
    print(
        f"\n{table}\n{time.perf_counter() - started:.0f} s; growth.json, growth.md and growth.png are in {options.to}"
    )
    if steep := too_steep(measured):
        sys.exit("\n".join(steep))


if __name__ == "__main__":
    main()
