"""Encoding on a CPU by the size of a batch: seconds a picture of frozen MobileNetV2, whole and dense, in turns.

    python bench/encode.py [--quick]

The pictures are noise, the weights random: neither changes the work. Best of three turns; one thread.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from winnow.learn.device import hold_memory
from winnow.models.dense import Dense
from winnow.models.pretrained import Pretrained

from common import arguments, finish, table

SIZES = ((Pretrained, (96, 96)), (Pretrained, (144, 192)), (Dense, (256, 256)), (Dense, (384, 384)))
BATCHES = (64, 16, 4, 1)


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    count = 16 if given.quick else 64
    hold_memory()
    torch.set_num_threads(1)
    rows = [measured(kind, size, count) for kind, size in SIZES]
    table(rows, "Milliseconds a picture")
    finish("encode", started, encode=rows)


def measured(kind: Any, size: tuple[int, int], count: int) -> dict[str, Any]:
    """Return the milliseconds a picture in batches of each size."""
    model, pictures = kind(size, 3), torch.rand(count, 3, *size)
    best = dict.fromkeys(BATCHES, float("inf"))
    with torch.inference_mode():
        model(pictures[:1])
        for _ in range(3):
            for batch in BATCHES:
                begun = time.perf_counter()
                for start in range(0, count, batch):
                    model(pictures[start : start + batch])
                best[batch] = min(best[batch], (time.perf_counter() - begun) / count)
    return {"model": kind.__name__, "size": f"{size[0]}x{size[1]}", **{str(b): 1000 * s for b, s in best.items()}}


if __name__ == "__main__":
    main()
