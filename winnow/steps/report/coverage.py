"""The part of the report on what was looked at: the share of the good pictures, and where they differ among themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from winnow.inspect.locate import Picture, located
from winnow.pool.patches import read_boxes, scaled
from winnow.pool.pool import Pool
from winnow.report import inspection
from winnow.report.html import Figure, Gallery, Section
from winnow.report.overlays import Box
from winnow.results import Calibrated
from winnow.results.words import percent
from winnow.run.folder import RunFolder
from winnow.steps.report.pictures import card_of

SHOWN = 2  # good pictures of which least was looked at

PIXELS = 2e6  # of each picture, at most
REACH = 1.4  # the width of what is enlarged of a strip, in heights


def coverage_section(run: RunFolder) -> Section:
    """Return how much of the good pictures is judged, those of which least is, and where good pictures come near to the threshold."""
    pool = Pool.open(run.folder("ingest"))
    shares = judged_shares(pool)
    text = [
        f"{percent(shares.mean(), 0)} of the good pictures is judged, of the least covered one {percent(shares.min(), 0)}."
    ]
    cards = []
    if shares.min() < 1:
        text.append(
            "Grey parts were left out as blank, or as the border of what is blank: damage there is not seen. --blank 0 keeps all."
        )
        wanted = np.argsort(shares, kind="stable")[:SHOWN]
        for row, picture in located(pool, np.zeros(len(pool)), np.full(len(shares), np.inf), wanted, None):
            cards.append(
                card_of(Path(picture.source).name, drawn_small(picture)[0], [f"{percent(shares[row], 0)} judged"])
            )
    drawn = _differences(run, pool)
    return Section(
        "What was looked at",
        text=text,
        figures=[drawn] if drawn else [],
        galleries=[Gallery("Least looked at", cards)],
    )


def judged_shares(pool: Pool) -> np.ndarray:
    """Return the share of the pixels of each picture of a pool that lie in a patch of it (pictures,)."""
    about = pool.pictures.to_pylist()
    boxes, begin, shares = read_boxes(pool.column("box")), 0, np.empty(len(about))
    for row, picture in enumerate(about):
        seen = np.zeros((picture["height"], picture["width"]), bool)
        for x, y, width, height in boxes[begin : begin + picture["patches"]]:
            seen[y : y + height, x : x + width] = True
        begin += picture["patches"]
        shares[row] = seen.mean()
    return shares


def _differences(run: RunFolder, pool: Pool) -> Figure | None:
    """Return a good picture under the mean anomaly map of good pictures that the scorer has not seen; None where it compares no places."""
    about = run.result(Calibrated).full
    if not about.differences or about.map_level is None:
        return None
    found, pixels = np.array(about.differences), pool.pixels(np.array([0]))[0]
    shown = scaled((found - found.min()) / max(about.map_level - found.min(), 1e-12), pixels.shape[:2])
    return Figure(
        "Where good pictures differ among themselves: the nearer to yellow, the nearer to the threshold, and the stronger damage "
        "must be to be seen there",
        inspection.overlay(pixels, shown.clip(0, 1)),
        pictures=True,
    )


def drawn_small(picture: Picture) -> tuple[np.ndarray, list[Box]]:
    """Draw a picture with its anomaly map and defects, in no more pixels than a page can show; return it and the boxes in it."""
    height, width = picture.mask.shape
    share = min(1.0, (PIXELS / (height * width)) ** 0.5)
    size = max(1, round(height * share)), max(1, round(width * share))
    anomaly_map = np.zeros(size) if picture.anomaly_map is None else scaled(picture.anomaly_map.clip(0, 1), size)
    boxes = [
        (round(x * share), round(y * share), round(wide * share), round(high * share))
        for x, y, wide, high, _ in picture.defects
    ]
    return inspection.overlaid(scaled(picture.pixels, size), anomaly_map, boxes), boxes


def close_up(drawn: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of a drawn strip (h, w, c) about a box: as high as the strip, `REACH` times as wide as high."""
    height, width = drawn.shape[:2]
    reach = min(width, round(REACH * height))
    left = int(np.clip(box[0] + box[2] // 2 - reach // 2, 0, width - reach))
    return drawn[:, left : left + reach]
