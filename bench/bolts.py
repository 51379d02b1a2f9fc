"""Draw a product that lies anywhere: bolts on a bright ground, at any angle, good and damaged, with masks. `bench/products.py` uses it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, LARGE = 384, 768  # pixels of a picture, and of what it is drawn in
GOOD, EACH = 165, 20
DAMAGE = ("thread", "tip", "scratch", "chip")


def drawn(folder: Path) -> Path:
    """Return the folder with good/, defect/, mask/ and index.csv, drawn from one seed if it is not there."""
    if (folder / "index.csv").exists():
        return folder
    rng, rows = np.random.default_rng(0), []
    for name in ("good", "defect", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(GOOD):
        picture, _ = bolt(rng)
        Image.fromarray(picture).save(folder / "good" / f"{number:03d}.png")
        rows.append((f"good/{number:03d}.png", "good"))
    for kind in DAMAGE:
        for number in range(EACH):
            picture, mask = bolt(rng, kind)
            Image.fromarray(picture).save(folder / "defect" / f"{kind}-{number:02d}.png")
            Image.fromarray(mask).save(folder / "mask" / f"{kind}-{number:02d}.png")
            rows.append((f"defect/{kind}-{number:02d}.png", kind))
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "class"), *rows])
    return folder


def bolt(rng: np.random.Generator, damage: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return a bolt (h, w) uint8 at a place and an angle drawn by chance, and the mask (h, w) of its damage."""
    image, mask = Image.new("L", (LARGE, LARGE)), Image.new("L", (LARGE, LARGE))
    body, marked = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    length, half, middle = int(rng.normal(330, 4)), 34, LARGE // 2
    left = middle - length // 2
    worn = range(150, 150 + int(rng.integers(30, 60))) if damage == "thread" else range(0)
    body.rectangle([left, middle - half, left + length, middle + half], fill=120)
    for x in range(left + 90, left + length, 14):
        if x - left not in worn:
            body.line([x, middle - half - 4, x + 8, middle + half + 4], fill=60, width=5)
            body.line([x + 6, middle - half - 4, x + 14, middle + half + 4], fill=190, width=3)
    body.rounded_rectangle([left - 70, middle - 75, left, middle + 75], 10, fill=150)
    for y in (middle - 25, middle + 25):
        body.line([left - 70, y, left, y], fill=90, width=4)
    if damage == "thread":
        marked.rectangle([left + 145, middle - half - 4, left + worn.stop + 5, middle + half + 4], fill=255)
    elif damage == "tip":
        for drawing, fill in ((body, 0), (marked, 255)):
            drawing.rectangle([left + length - 18, middle - half - 6, left + length + 20, middle + 6], fill=fill)
    elif damage == "scratch":
        x, y = left + int(rng.integers(-60, length - 60)), middle + int(rng.integers(-25, 25))
        end = x + int(rng.integers(25, 60)), y + int(rng.integers(-18, 18))
        body.line([x, y, *end], fill=235, width=5)
        marked.line([x, y, *end], fill=255, width=9)
    elif damage == "chip":
        for drawing, fill in ((body, 0), (marked, 255)):
            drawing.ellipse([left - 84, middle - 85, left - 44, middle - 51], fill=fill)
    return _photographed(rng, image, mask)


def _photographed(rng: np.random.Generator, image: Image.Image, mask: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the body turned, moved and scaled down on a bright ground with grain, and its mask."""
    angle, moved = rng.uniform(0, 360), tuple(int(value) for value in rng.integers(-110, 111, 2))
    image = image.rotate(angle, Image.Resampling.BICUBIC, translate=moved)
    small = (SIDE, SIDE)
    grey = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)).resize(small, Image.Resampling.BOX), float)
    solid = image.point(lambda level: 255 * (level > 20)).filter(ImageFilter.GaussianBlur(1))
    share = np.asarray(solid.resize(small, Image.Resampling.BOX), float) / 255
    ground = 205 + rng.normal(0, 4) + rng.normal(0, 3, small)
    picture = ground * (1 - share) + grey * share + rng.normal(0, 2.5, small)
    turned = np.asarray(mask.rotate(angle, translate=moved).resize(small, Image.Resampling.BOX)) > 40
    return np.clip(picture, 0, 255).astype(np.uint8), turned.astype(np.uint8) * 255
