"""The demo: draws two matches, learns the first, judges the second, and compares with the truth it drew; then a few labels of the
first make a classifier, which is exported and classifies the second by that file alone.

python scripts/demo.py [--to runs/demo]
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

import winnow
from winnow import show
from winnow.data.video import frames
from winnow.steps.predict_onnx import predict_onnx
from winnow.steps.run import run as run_steps
from winnow.tables import read_table, write_table

from match_video import write_match

SECONDS = 240
LABELS = 30


def main() -> None:
    """Run everything and print rates and segments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("runs/demo"))
    to: Path = parser.parse_args().to
    started = time.perf_counter()
    data = to.parent / f"{to.name}-data"
    first, second = data / "match-1.mp4", data / "match-2.mp4"
    print(f"Draws two matches of {SECONDS // 60} minutes, cut by adverts; nobody has labelled them.", flush=True)
    # A fork of a process with threads, which torch has begun, may hang; Python 3.12 warns of it.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        adverts, truth = processes.map(write_match, (first, second), (1, 2), (SECONDS, SECONDS))
    write_stills(second, truth, data)
    run = winnow.Run(to, "oneclass-from-scratch", every=0.5, iterations=600, contamination=0.15, false_alarm_rate=0.02)
    for lines in run_steps(run.folder, [first], resume=True):
        say(lines)
    run.score(second)
    compare(to / "scores", truth, run.detector.threshold.achieved)
    found = run.evaluate(data / "match", {"adverts": data / "adverts"}).anomalous["adverts"]
    print(
        f"Single pictures of the second match: {100 * found.detection_rate:.0f} % of the adverts found, AUROC {found.auroc:.3f}."
    )
    classify(run, adverts, second, truth)
    print(f"{time.perf_counter() - started:.0f} s in all. Look at:")
    print(f"  {run.report()}: what was learnt, and where the threshold lies")
    print(f"  {to / 'scores' / 'video-000-match-2.png'}: the score over the time of the second match")
    print(f"  {Path(sys.executable).with_name('winnow')} label --run {to}: the page where a person labels")


def say(lines: str) -> None:
    """Print the first line of what a step says; the report has the rest."""
    print(lines.splitlines()[0], flush=True)


def classify(
    run: winnow.Run, adverts: list[tuple[float, float]], video: Path, breaks: list[tuple[float, float]]
) -> None:
    """Label chosen frames of the first match as a person would, learn from them, and predict the second by the exported file."""
    to = run.folder.path
    run.select(LABELS, outliers=0)  # here the adverts are no junk but a class
    chosen = [(row["id"], _kind(float(row["time"]), adverts)) for row in read_table(to / "selection.csv")]
    write_table(to / "labels.csv", ("id", "label"), chosen)
    run.import_labels(to / "labels.csv", classes=["match", "advert"])
    say(show.classify(run.classify(), to))
    say(show.export(run.export(to / "demo.onnx")))
    predict_onnx(to / "demo.onnx", [video], to=to.with_name(f"{to.name}-predicted"))
    rows = read_table(to.with_name(f"{to.name}-predicted") / "predictions.csv")
    right = [row["class"] == _kind(float(row["time"]), breaks) for row in rows]
    print(
        f"The file alone, without torch: {sum(right)} of {len(right)} frames of the second match have the right class."
    )


def write_stills(video: Path, breaks: list[tuple[float, float]], to: Path) -> None:
    """Write a frame a second as JPEG files into the folders `match` and `adverts`."""
    for frame in frames(str(video), None, every=1.0):
        kind = "adverts" if _in(frame.time, breaks) else "match"
        (to / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.image).save(to / kind / f"{frame.time:06.1f}.jpg", quality=90)


def compare(folder: Path, breaks: list[tuple[float, float]], promised: float) -> None:
    """Print the adverts that were drawn beside those found, and the rates by frame beside the rate promised."""
    segments = read_table(folder / "segments.csv")
    found = [(float(row["start"]), float(row["end"])) for row in segments if row["verdict"] == "out"]
    print("Adverts of the second match, drawn and found:")
    for start, end in breaks:
        near = [part for part in found if part[0] < end and part[1] > start]
        print(f"  {start:5.1f} to {end:5.1f} s    " + (", ".join(f"{a:.1f} to {b:.1f} s" for a, b in near) or "missed"))
    for a, b in found:
        if not any(a < end and b > start for start, end in breaks):
            print(f"  none                {a:.1f} to {b:.1f} s, a false alarm")
    rows = [(float(row["time"]), row["belongs"] == "yes") for row in read_table(folder / "scores.csv")]
    match = [not belongs for time_, belongs in rows if not _in(time_, breaks)]
    advert = [not belongs for time_, belongs in rows if _in(time_, breaks)]
    found_of, refused_of = (100 * sum(flags) / len(flags) for flags in (advert, match))
    rates = f"{found_of:.0f} % of {len(advert)} of adverts found, {refused_of:.1f} % of {len(match)} others refused"
    print(f"Frames: {rates}; {100 * promised:.1f} % of frames like the first match's were promised.")


def _kind(time_: float, breaks: list[tuple[float, float]]) -> str:
    return "advert" if _in(time_, breaks) else "match"


def _in(time_: float, breaks: list[tuple[float, float]]) -> bool:
    return any(start <= time_ < end for start, end in breaks)


if __name__ == "__main__":
    main()
