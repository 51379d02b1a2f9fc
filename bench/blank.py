"""What is blank in good strips of AITEX, and what of unseen good ones and of spoilt ones is called blank beyond that; no network.

    python bench/blank.py [--quick] [--fabrics 03,01]

`winnow.pool.blank` calls a strip damaged when its share of blank patches (64x64) is clearly above that of all strips that were learnt
from. 14 good strips are learnt from, the first ones and 200 divisions by chance, and the other good ones are judged; then the same
strips black, white or with a part blank, and the defective ones, which are not blank.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from PIL import Image

from winnow.pool.blank import boxes_by_blank

from common import aitex, arguments, finish, table

LEARNT, DIVISIONS = 14, 200
CUT = ((64, 64), 0, 3.0, 1)  # as inspect-texture cuts
SPOILT = {
    "black": (slice(None), 0),
    "white": (slice(None), 255),
    "left half missing": (slice(0, 2048), 0),
    "right half missing": (slice(2048, None), 0),
    "right third torn off": (slice(2730, None), 0),
    "middle third missing": (slice(1365, 2730), 0),
    "right third overexposed": (slice(2730, None), 255),
}


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--fabrics", default="03,01")
    own, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    rows = []
    for fabric in own.fabrics.split(","):
        strips = aitex(fabric)
        good = [_pixels(path) for path in (*strips["train"], *strips["validation"])]
        shares = np.array([_share(strip) for strip in good])
        usual, new = shares[:LEARNT].max(), range(LEARNT, len(good))
        rows.append([fabric, "good, the first 14 learnt", sum(_refused(good[i], usual) for i in new), len(new)])
        rng, refused, divisions = np.random.default_rng(0), 0, 20 if given.quick else DIVISIONS
        for _ in range(divisions):
            order = rng.permutation(len(good))
            refused += sum(_refused(good[i], shares[order[:LEARNT]].max()) for i in order[LEARNT:])
        rows.append([fabric, f"good, {divisions} divisions", refused, divisions * len(new)])
        rows.append(
            [
                fabric,
                "defective",
                sum(_refused(_pixels(path), usual) for path in strips["defect"]),
                len(strips["defect"]),
            ]
        )
        for name, (columns, level) in SPOILT.items():
            rows.append([fabric, name, sum(_refused(_spoilt(good[i], columns, level), usual) for i in new), len(new)])
        print(f"{fabric}: {shares.min():.1%} to {shares.max():.1%} of a good strip is blank")
    found = [dict(zip(("fabric", "strips", "blank beyond good", "of"), row, strict=True)) for row in rows]
    table(found, "Blank beyond good strips")
    finish("blank", started, rows=found)


def _pixels(path: object) -> np.ndarray:
    return np.asarray(Image.open(str(path)).convert("L"))[..., None]


def _spoilt(strip: np.ndarray, columns: slice, level: int) -> np.ndarray:
    strip = strip.copy()
    strip[:, columns] = level
    return strip


def _share(strip: np.ndarray) -> float:
    boxes, counts = boxes_by_blank(strip, *CUT, None)
    return counts["flat"] / (len(boxes) + counts["blank"])


def _refused(strip: np.ndarray, usual: float) -> bool:
    return boxes_by_blank(strip, *CUT, usual)[1]["bare"] > 0


if __name__ == "__main__":
    main()
