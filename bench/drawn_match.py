"""A drawn football match with truth: players of two teams, goalkeepers and referees who run, cross and hide one another.

    frames(seed, seconds, step) -> Moment(time, picture, boxes, persons), one a step

A camera above one side pans after the ball. `boxes` are what an object detector would find: jittered, some missing, of
hidden persons none; `persons` are the numbers of those they show, -1 for a box that shows nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from winnow.objects.crops import widened

WIDTH, HEIGHT, RATE = 960, 540, 30
TEAM = 10
SHIRTS = {"red": (190, 40, 45), "blue": (45, 70, 170), "keeper": (200, 180, 40), "referee": (35, 35, 40)}
SHORTS = {"red": (230, 230, 230), "blue": (45, 70, 170), "keeper": (60, 60, 60), "referee": (35, 35, 40)}
KINDS = ["red"] * TEAM + ["blue"] * TEAM + ["keeper"] * 2 + ["referee"] * 3
FASTEST, PUSH = 7.0, 5.0  # metres a second, and a second squared
MISSED, FALSE, JITTER = 0.05, 0.02, 0.04  # shares of boxes, and of a box's sides
HIDDEN = 0.55  # share of a person behind others from which no box is found


class Moment(NamedTuple):
    """A frame: its time, picture (h, w, 3) uint8, boxes (n, 4) int, and the person (n,) of each."""

    time: float
    picture: np.ndarray
    boxes: np.ndarray
    persons: np.ndarray


def frames(seed: int, seconds: float, step: float = 0.1, *, alike: float = 0.0) -> Iterator[Moment]:
    """Yield the frames of a match, one every `step` seconds; the same run of play for the same seed, whatever the step.

    With `alike` (0 to 1) shirts and shorts are so much nearer to grey, persons differ more from one another, and light and shade
    of the pitch change how they look: for measurements of a classifier, to whom plain shirts would be too easy.
    """
    rng, seen = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    tint = rng.normal(0, 6 + 20 * alike, (len(KINDS), 3))
    place = rng.uniform((-30, -20), (30, 20), (len(KINDS), 2))
    speed, ball, aim = np.zeros_like(place), np.zeros(2), np.zeros(2)
    post = rng.uniform((-18, -16), (18, 16), (len(KINDS), 2))
    pan, due = 0.0, 0.0
    for tick in range(int(seconds * RATE)):
        time = tick / RATE
        if tick % (2 * RATE) == 0:
            aim = rng.uniform((-32, -18), (32, 18))
        ball += (aim - ball) * 0.5 / RATE * 2
        if tick % RATE == 0:
            shift = rng.normal(0, 4, place.shape)
        pull = ball * 0.75 + post * 0.6 + shift - place
        close = np.argsort(((place - ball) ** 2).sum(axis=1))[:5]
        pull[close] = ball - place[close] + shift[close] / 3
        want = pull / np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), 1e-9)
        want *= np.minimum(np.linalg.norm(pull, axis=1, keepdims=True), FASTEST)
        push = (want - speed) * 3
        push *= np.minimum(1, PUSH / np.maximum(np.linalg.norm(push, axis=1, keepdims=True), 1e-9))
        speed += push / RATE
        place = place + speed / RATE
        pan += (ball[0] - pan) * 1.2 / RATE
        if time + 1e-6 >= due:
            due += step
            yield _seen(round(time, 3), place, pan, tint, seen, alike)


def _seen(
    time: float, place: np.ndarray, pan: float, tint: np.ndarray, rng: np.random.Generator, alike: float
) -> Moment:
    """Draw a moment, and find boxes in it."""
    far = 45 + 20 - place[:, 1]  # metres from the camera
    scale = 1100 / far  # pixels a metre
    foot_x, foot_y = WIDTH / 2 + (place[:, 0] - pan) * scale, -140 + 30 * scale
    high, wide = 1.8 * scale, 0.62 * scale
    order = np.argsort(-far)
    picture = _pitch(pan)
    owner = np.full((HEIGHT, WIDTH), -1, np.int16)
    whole = np.zeros(len(place), int)
    for person in order:
        left, right = int(foot_x[person] - wide[person] / 2), int(foot_x[person] + wide[person] / 2)
        top, bottom = int(foot_y[person] - high[person]), int(foot_y[person])
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        whole[person] = (right - left) * (bottom - top)
        part = picture[rows, columns]
        if part.size:
            shade = 1 + alike * 0.4 * np.sin(place[person] / 6 + rng.normal(0, 0.5)).sum() / 2
            part[:] = shade * _person(KINDS[person], tint[person], bottom - top, part.shape, rows.start - top, alike)
            owner[rows, columns] = person
    shown = np.bincount(owner[owner >= 0].ravel(), minlength=len(place)) / np.maximum(whole, 1)
    sides = np.column_stack([wide, high, wide, high])
    boxes = (
        np.column_stack([foot_x - wide / 2, foot_y - high, wide, high]) + rng.normal(0, JITTER, (len(place), 4)) * sides
    )
    found = (shown > 1 - HIDDEN) & (rng.random(len(place)) > MISSED)
    boxes, persons = boxes[found], np.flatnonzero(found)
    for _ in range(rng.binomial(len(place), FALSE)):
        boxes = np.vstack([boxes, [rng.uniform(0, WIDTH - 30), rng.uniform(100, HEIGHT - 60), 20, 50]])
        persons = np.append(persons, -1)
    mixed = rng.permutation(len(boxes))
    grain = rng.integers(-10, 11, picture.shape, np.int8)
    picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    boxes = widened(boxes, 0.1, picture.shape[:2])
    some = mixed[boxes[mixed, 2:].min(axis=1) > 3]
    return Moment(time, picture, boxes[some], persons[some])


def _pitch(pan: float) -> np.ndarray:
    x, y = np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)[:, None]
    stripe = ((x - WIDTH / 2) / (0.06 * (y + 200)) + np.float32(pan)) // 5 % 2
    return np.array([60, 120, 55], np.float32) + stripe[..., None] * np.array([8, 14, 6], np.float32)


def _person(kind: str, tint: np.ndarray, high: int, shape: tuple[int, ...], above: int, alike: float) -> np.ndarray:
    """Return the visible rows (h, w, 3) of a person: head, shirt, shorts and legs, one above the other."""
    y = ((np.arange(shape[0]) + above) / max(high, 1))[:, None]
    shirt, shorts = (np.array(colours[kind]) * (1 - alike) + 110 * alike + tint for colours in (SHIRTS, SHORTS))
    skin = np.array((170, 120, 95)) + tint / 2
    bands = np.select([y < 0.15, y < 0.5, y < 0.7], [skin, shirt, shorts], skin)
    return np.broadcast_to(bands[:, None], shape)
