"""Draws a made-up football match as a real H.264 video: a moving camera over a green pitch, cut by advert breaks."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, RATE = 320, 180, 12
PITCH = (1500, 620)
TEAMS = ((200, 30, 40), (240, 240, 245), (250, 210, 40))


def truth(seconds: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return the advert breaks of a match: (start, end) in seconds, about an eighth of it."""
    breaks, at = [], 0.0
    while (at := at + rng.uniform(28, 45)) < seconds - 14:
        length = float(rng.integers(5, 9))
        breaks.append((round(at), round(at) + length))
        at += length
    return breaks


def write_match(path: Path, seed: int, seconds: int) -> list[tuple[float, float]]:
    """Write the video and returns its advert breaks as (start, end) in seconds."""
    rng = np.random.default_rng(seed)
    breaks = truth(seconds, rng)
    match = Match(rng)
    spots = [Advert(rng, green=number % 3 == 1) for number in range(len(breaks))]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * RATE):
            now = number / RATE
            spot = next((k for k, (start, end) in enumerate(breaks) if start <= now < end), None)
            picture = match.frame(now) if spot is None else spots[spot].frame(now - breaks[spot][0])
            frame = av.VideoFrame.from_ndarray(_grain(picture, rng), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return breaks


class Match:
    """A pitch with two teams, a referee, a ball, stands, and a camera that pans and zooms."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.ground = _pitch(rng)
        self.home = rng.uniform((120, 130), (PITCH[0] - 120, PITCH[1] - 40), (23, 2))
        self.phase = rng.uniform(0, 2 * math.pi, (23, 2))
        self.speed = rng.uniform(0.15, 0.5, (23, 2))
        self.pan = rng.uniform(0.1, 0.2, 3)

    def frame(self, now: float) -> Image.Image:
        """Return the picture at `now` seconds."""
        zoom = 1.55 + 0.5 * math.sin(now * self.pan[0] * 2)
        width, height = WIDTH * zoom, HEIGHT * zoom
        x = (PITCH[0] - width) * (0.5 + 0.48 * math.sin(now * self.pan[1] * 1.7))
        y = (PITCH[1] - height) * (0.5 + 0.48 * math.sin(now * self.pan[2] * 1.3 + 1))
        view = self.ground.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))
        draw = ImageDraw.Draw(view)
        places = self.home + np.array([130, 60]) * np.sin(now * self.speed + self.phase)
        for number, (px, py) in enumerate(places):
            _player(
                draw,
                (px - x) / zoom,
                (py - y) / zoom,
                15 / zoom,
                TEAMS[0 if number < 11 else 1 if number < 22 else 2],
                now * 7 + number,
            )
        bx, by = (places[int(now / 3) % 22] + 12 - np.array([x, y])) / zoom
        draw.ellipse((bx - 1.5, by - 1.5, bx + 1.5, by + 1.5), fill=(255, 255, 255))
        return view


class Advert:
    """One advert: a moving card with shapes and stripes of print; green ones try to pass for turf."""

    def __init__(self, rng: np.random.Generator, green: bool) -> None:
        self.back = (
            (int(rng.integers(30, 90)), int(rng.integers(120, 190)), int(rng.integers(30, 90)))
            if green
            else tuple(map(int, rng.integers(0, 256, 3)))
        )
        self.shapes = [
            (
                rng.integers(0, 3),
                rng.uniform(-40, WIDTH),
                rng.uniform(-40, HEIGHT),
                rng.uniform(30, 140),
                rng.uniform(-12, 12, 2),
                tuple(map(int, rng.integers(0, 256, 3))),
            )
            for _ in range(int(rng.integers(3, 8)))
        ]
        self.lines = [(int(y), int(rng.integers(60, 260))) for y in range(110, 110 + 16 * int(rng.integers(2, 5)), 16)]
        self.ink = tuple(255 - value for value in self.back)

    def frame(self, now: float) -> Image.Image:
        """Return the picture `now` seconds after the advert began."""
        view = Image.new("RGB", (WIDTH, HEIGHT), self.back)
        draw = ImageDraw.Draw(view)
        for kind, x, y, size, speed, colour in self.shapes:
            left, top = x + speed[0] * now, y + speed[1] * now
            box = (left, top, left + size, top + size * 0.7)
            if kind == 0:
                draw.ellipse(box, fill=colour)
            elif kind == 1:
                draw.rectangle(box, fill=colour)
            else:
                draw.polygon(((left, top + size), (left + size / 2, top), (left + size, top + size)), fill=colour)
        for y, length in self.lines:
            for x in range(30, 30 + min(length, int(60 + 120 * now)), 9):
                draw.rectangle((x, y, x + 5 + (x * 7 + y) % 3, y + 8), fill=self.ink)
        return view


def _pitch(rng: np.random.Generator) -> Image.Image:
    width, height = PITCH
    stripes = (np.arange(width) // 75 % 2)[None, :, None] * np.array([8, 14, 6])
    turf = np.array([52, 128, 48]) + stripes + rng.normal(0, 7, (height, width, 1))
    stands = rng.integers(20, 230, (height, width, 3)) * 0.6 + 20
    picture = np.where(np.arange(height)[:, None, None] < 95, stands, turf)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    draw = ImageDraw.Draw(image)
    white = (235, 240, 235)
    draw.rectangle((0, 88, width, 96), fill=(30, 60, 140))
    draw.rectangle((60, 120, width - 60, height - 25), outline=white, width=4)
    draw.line((width / 2, 120, width / 2, height - 25), fill=white, width=4)
    draw.ellipse((width / 2 - 90, 280, width / 2 + 90, 460), outline=white, width=4)
    for left in (60, width - 230):
        draw.rectangle((left, 220, left + 170, 520), outline=white, width=4)
    return image


def _player(
    draw: ImageDraw.ImageDraw, x: float, y: float, size: float, shirt: tuple[int, int, int], stride: float
) -> None:
    step = size * 0.35 * math.sin(stride)
    draw.ellipse((x - size * 0.6, y + size * 1.05, x + size * 0.6, y + size * 1.3), fill=(30, 80, 32))
    for encoder in (step, -step):
        draw.line((x, y + size * 0.4, x + encoder, y + size * 1.1), fill=(30, 30, 40), width=max(1, round(size * 0.25)))
    draw.rectangle((x - size * 0.3, y - size * 0.4, x + size * 0.3, y + size * 0.5), fill=shirt)
    draw.ellipse((x - size * 0.22, y - size * 0.85, x + size * 0.22, y - size * 0.4), fill=(190, 140, 110))


def _grain(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    return (
        (np.asarray(picture, np.int16) + rng.integers(-4, 5, (HEIGHT, WIDTH, 1), np.int16))
        .clip(0, 255)
        .astype(np.uint8)
    )
