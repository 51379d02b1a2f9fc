"""Computes and draws the pictures of README and of docs/concepts: each curve is computed here, from drawn data.

python scripts/drawings.py [NAME ...] [--to docs/images] [--work FOLDER]

NAME: match, groups, threshold, embeddings, reconstruction; all of them otherwise. `--work` keeps the drawn matches and the run, which
take two minutes, for the next call.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import winnow
from winnow.data.video import frames
from winnow.detect.threshold import conformal
from winnow.synthetic.scenes import generic_pictures
from winnow.tables import read_table

from match_video import truth, write_match

GOOD, FOREIGN, INK, PALE = "#1f6f8b", "#c8401f", "#222222", "#b9c4c9"
LEARNT, JUDGED = ("match-1.mp4", 1, 240), ("match-2.mp4", 2, 120)  # file, seed, seconds
EVERY = 0.5
Video = tuple[str, int, int]


def canvas(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many inches with its panels side by side, without frames."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, panels)))
    for axis in axes:
        quiet(axis)
    return figure, axes


def quiet(axis: Axes) -> None:
    """Remove the frame of a panel that says nothing."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def video_of(work: Path, video: Video) -> Path:
    """Return a drawn match, which is drawn when it is not there."""
    name, seed, seconds = video
    path = work / name
    if not path.exists():
        write_match(path, seed=seed, seconds=seconds)
    return path


def adverts_of(video: Video) -> list[tuple[float, float]]:
    """Return the advert breaks of a drawn match, (start, end) in seconds."""
    return truth(video[2], np.random.default_rng(video[1]))


def learnt(work: Path) -> winnow.Run:
    """Return a run that has learnt the first match, adverts and all, without a label."""
    run = winnow.Run(
        work / "run", "oneclass-from-scratch", every=EVERY, iterations=1500, contamination=0.15, false_alarm_rate=0.02
    )
    return run.fit(video_of(work, LEARNT), resume=True)


def inside(times: np.ndarray, breaks: list[tuple[float, float]]) -> np.ndarray:
    """Return which times (n,) lie in a break."""
    return np.array([any(start <= time < end for start, end in breaks) for time in times])


def pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (n,) and pictures (n, h, w, 3) of a video, one frame in `EVERY` seconds."""
    found = list(frames(str(path), None, every=EVERY))
    return np.array([frame.time for frame in found]), np.stack([frame.image for frame in found])


def match(work: Path) -> Figure:
    """Draw the anomaly score over a match that the run has not seen, below some of its frames; the adverts are shaded."""
    run = learnt(work)
    scored = work / "scored"
    run.score(video_of(work, JUDGED), to=scored)
    rows = read_table(scored / "scores.csv")
    times, scores = (np.array([float(row[name]) for row in rows]) for name in ("time", "score"))
    breaks, limit = adverts_of(JUDGED), run.detector.threshold.value
    shown = sorted([12.0, *(sum(span) / 2 for span in breaks), 58.0, 104.0])
    moments, images = pictures(work / JUDGED[0])
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    grid = figure.add_gridspec(2, len(shown), height_ratios=(1, 1.5))
    for place, moment in enumerate(shown):
        axis = figure.add_subplot(grid[0, place])
        axis.imshow(images[np.abs(moments - moment).argmin()])
        foreign = bool(inside(np.array([moment]), breaks)[0])
        axis.set_title(f"{moment:.0f} s", fontsize=9, color=FOREIGN if foreign else GOOD)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color=FOREIGN if foreign else GOOD, linewidth=2)
    axis = figure.add_subplot(grid[1, :])
    quiet(axis)
    for number, (start, end) in enumerate(breaks):
        axis.axvspan(start, end, color=FOREIGN, alpha=0.15, label="" if number else "advert, as drawn")
    axis.plot(times, scores, color=INK, linewidth=1.2)
    axis.axhline(limit, color=GOOD, linestyle="--", linewidth=1.2, label="threshold, from the first match alone")
    axis.set(
        yscale="log", xlim=(0, times[-1]), xlabel="seconds of a match that was not seen before", ylabel="anomaly score"
    )
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.48, 1), frameon=False)
    return figure


def groups(work: Path) -> Figure:
    """Draw the false-alarm rates on new videos of thresholds from frames held out one by one, and from whole videos held out."""
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {"frames held out one by one": [], "whole videos held out": []}
    for _ in range(60):
        videos = rng.normal(size=(32, 1, 8)) + 0.3 * rng.normal(size=(32, 30, 8))  # frames of a video are alike
        known, new = videos[:16].reshape(-1, 8), videos[16:].reshape(-1, 8)
        names = np.repeat(np.arange(16), 30).astype(str)
        for found, given in zip(rates.values(), (None, names), strict=True):
            normal = winnow.Embeddings.of(known, groups=given)
            detector = winnow.Detector("knn", false_alarm_rate=0.1).fit(normal)
            found.append(1 - detector.predict(new).mean())
    figure, (axis,) = canvas(7, 3)
    for (name, found), colour in zip(rates.items(), (FOREIGN, GOOD), strict=True):
        label = f"{name}: {np.mean(found):.0%} on average"
        axis.hist(found, bins=np.arange(0, 1.01, 0.05), color=colour, alpha=0.75, label=label)
    axis.axvline(0.1, color=INK, linestyle="--", linewidth=1.2, label="asked for: 10%")
    axis.set(xlabel="share of good frames of new videos that are refused", ylabel="of 60 repetitions", xlim=(0, 1))
    axis.legend(fontsize=9, frameon=False)
    return figure


def threshold(work: Path) -> Figure:
    """Draw the true false-alarm rates of thresholds for 5 % from 60 and from 300 good pictures, by either promise."""
    rng = np.random.default_rng(0)
    figure, axes = canvas(8, 3, panels=2)
    for axis, n in zip(axes, (60, 300), strict=True):
        draws = rng.random((2000, n))  # the share of good pictures above a score is what counts, and that is uniform
        for confidence, name, colour in ((0.0, "on average", PALE), (0.95, "in 95 of 100 sets", GOOD)):
            rates = np.array([1 - conformal(scores, 0.05, confidence).value for scores in draws])
            label = f"{name}: {rates.mean():.1%}, above 5% in {np.mean(rates > 0.05):.0%}"
            axis.hist(rates, bins=np.arange(0, 0.16, 0.005), color=colour, alpha=0.8, label=label)
        axis.axvline(0.05, color=INK, linestyle="--", linewidth=1.2)
        axis.set(xlabel="true false-alarm rate", title=f"threshold from {n} good pictures", xlim=(0, 0.15))
        axis.title.set_fontsize(10)
        axis.set_ylim(0, axis.get_ylim()[1] * 1.35)
        axis.legend(fontsize=8, frameon=False, loc="upper right")
    axes[0].set_ylabel("of 2,000 sets of pictures")
    return figure


def embeddings(work: Path) -> Figure:
    """Draw the embeddings of a match's frames in two dimensions, and below them the twelve frames to label first."""
    run = learnt(work)
    vectors = run.embeddings.vectors.astype(float)
    moments, images = pictures(work / LEARNT[0])
    times = np.array([float(name.rsplit("@", 1)[1]) for name in run.embeddings.ids])
    foreign, chosen = inside(times, adverts_of(LEARNT)), winnow.choose(vectors, 12).rows
    centred = vectors - vectors.mean(axis=0)
    flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, 6, height_ratios=(3.2, 1, 1))
    axis = figure.add_subplot(grid[0, :])
    quiet(axis)
    for mask, colour, name in ((~foreign, GOOD, "match"), (foreign, FOREIGN, "advert")):
        axis.scatter(*flat[mask].T, s=9, color=colour, alpha=0.5, label=name, linewidths=0)
    axis.set(xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    axis.legend(fontsize=9, frameon=False, markerscale=2, loc="upper center")
    for place, row in enumerate(chosen):
        colour = FOREIGN if foreign[row] else GOOD
        axis.scatter(*flat[row], s=70, facecolors="none", edgecolors=INK, linewidths=1)
        axis.annotate(str(place + 1), flat[row], xytext=(5, 5), textcoords="offset points", fontsize=9)
        small = figure.add_subplot(grid[1 + place // 6, place % 6])
        small.imshow(images[np.abs(moments - times[row]).argmin()])
        small.set_title(str(place + 1), fontsize=9, color=colour)
        small.set(xticks=[], yticks=[])
    return figure


def reconstruction(work: Path) -> Figure:
    """Draw errors over variances by a linear autoencoder of varied pictures: a plain pitch is rebuilt better than what was learnt."""
    learn, own = (generic_pictures(number, (45, 80), 3, seed=seed) for number, seed in ((4000, 0), (400, 1)))
    times, images = pictures(video_of(work, JUDGED))
    pitch = images[~inside(times, adverts_of(JUDGED))]
    other = np.stack([np.asarray(Image.fromarray(image).resize((80, 45))) for image in pitch])
    learn, own, other = (part.reshape(len(part), -1) / np.float32(255) for part in (learn, own, other))
    mean = learn.mean(axis=0)
    directions = np.linalg.svd(learn - mean, full_matrices=False)[2][:32]

    def error(pixels: np.ndarray) -> np.ndarray:
        centred = pixels - mean
        return ((centred - centred @ directions.T @ directions) ** 2).mean(axis=1)

    def auroc(normal: np.ndarray, foreign: np.ndarray) -> float:
        return float(np.mean(foreign[:, None] > normal))

    figure, (axis,) = canvas(7, 3.6)
    for pixels, colour, name in ((own, GOOD, "of the kind that was learnt"), (other, FOREIGN, "a pitch, never learnt")):
        axis.scatter(pixels.var(axis=1), error(pixels), s=9, color=colour, alpha=0.6, label=name, linewidths=0)
    plain = auroc(error(own), error(other))
    relative = auroc(*(error(pixels) / (pixels.var(axis=1) + 1e-6) for pixels in (own, other)))
    axis.set(
        xscale="log", yscale="log", xlabel="variance of the picture", ylabel="reconstruction error", xlim=(1e-4, None)
    )
    axis.set_title(f"AUROC of the error {plain:.2f}, of the error over the variance {relative:.2f}", fontsize=10)
    axis.legend(fontsize=9, frameon=False)
    return figure


DRAWINGS = {
    "match": match,
    "groups": groups,
    "threshold": threshold,
    "embeddings": embeddings,
    "reconstruction": reconstruction,
}


def main() -> None:
    """Write the drawings that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent.parent / "docs" / "images")
    parser.add_argument("--work", type=Path, help="where the drawn matches and the run are kept")
    given = parser.parse_args()
    if unknown := set(given.names) - DRAWINGS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(DRAWINGS)}")
    with tempfile.TemporaryDirectory() as passing:
        work = given.work or Path(passing)
        work.mkdir(parents=True, exist_ok=True)
        for name in given.names or DRAWINGS:
            DRAWINGS[name](work).savefig(given.to / f"{name}.png", dpi=110)
            print(given.to / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
