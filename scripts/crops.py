"""Draws person crops of a made-up shop, in clips: staff wear a vest, customers do not; light and clothes differ from clip to clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 48, 96
VEST = (235, 120, 30)


def write_crops(folder: Path, clips: int, each: int, seed: int = 0) -> dict[str, str]:
    """Write `clips` folders of `each` JPEG files, a fifth of them of staff; return the class of each file by its name."""
    rng = np.random.default_rng(seed)
    truth = {}
    for clip in range(clips):
        place = folder / f"clip {clip:02d}"
        place.mkdir(parents=True, exist_ok=True)
        light, floor = rng.uniform(0.6, 1.15), rng.integers(90, 200, 3)
        for number in range(each):
            staff = rng.random() < 0.2
            name = f"person {seed}-{clip:02d}-{number:03d}.jpg"
            _seen(_person(rng, floor, staff), rng, light).save(place / name, quality=88)
            truth[name] = "staff" if staff else "customer"
    return truth


def _person(rng: np.random.Generator, floor: np.ndarray, staff: bool) -> Image.Image:
    """Return a person before the floor of a clip, drawn at twice the size and made smaller."""
    picture = Image.new("RGB", (2 * WIDTH, 2 * HEIGHT), tuple(int(v) for v in floor))
    draw = ImageDraw.Draw(picture)
    centre, top, half = 48 + rng.integers(-8, 9), 22 + rng.integers(-8, 9), 20 + rng.integers(-4, 5)
    skin, shirt, trousers = (
        tuple(int(v) for v in rng.integers(low, high, 3)) for low, high in ((120, 220), (20, 240), (15, 90))
    )
    step = int(rng.integers(2, 14))
    for side in (-1, 1):
        draw.line((centre + side * 8, top + 90, centre + side * (8 + step), top + 155), fill=trousers, width=14)
    draw.rounded_rectangle((centre - half, top + 24, centre + half, top + 98), 9, fill=shirt)
    if staff:
        draw.rectangle((centre - half + 3, top + 27, centre + half - 3, top + 80), fill=VEST)
        draw.line((centre - half + 3, top + 62, centre + half - 3, top + 62), fill=(240, 240, 210), width=6)
    draw.ellipse((centre - 12, top - 2, centre + 12, top + 24), fill=skin)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def _seen(picture: Image.Image, rng: np.random.Generator, light: float) -> Image.Image:
    """Return it as a shop's camera sees it: the light of its clip, soft, with noise."""
    soft = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.1)))
    pixels = np.asarray(soft) * light + rng.normal(0, 7, (HEIGHT, WIDTH, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
