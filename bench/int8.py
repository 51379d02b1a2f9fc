"""Exported files in int8 against the same in float32: size, pictures/s on one core, and the verdicts that change.

    taskset -c 0 python bench/int8.py [--quick] [--to FOLDER]

The four runs of bench/export.py. Both files start from bytes of the network's size in batches of 16, take turns of a second, and the
best of five counts. "changed" is what `winnow export --int8` itself measures, on pictures that the threshold was set on (512 at
most); with more than 1 % of them it would have written nothing, and writes here what is measured. Differences of scores are in
standard deviations of the calibration scores.
"""

from __future__ import annotations

import time

import numpy as np
from export import crops, fabric, file_route, frames, raced, tiles

from winnow.pool.pool import Pool

from common import arguments, finish, table

RUNS = {
    "player crops, MobileNetV2": crops,
    "football, autoencoder": frames,
    "fabric 03, fast": fabric,
    "magnetic tiles, places": tiles,
}
BATCH = 16
DEFAULT = 0.01


def main() -> None:
    """Print the table and the closing line of JSON."""
    given, started, rows = arguments(__doc__), time.perf_counter(), []
    for name, make in RUNS.items():
        run = make(given.to, given.quick)
        files = [
            run.export(given.to / f"{name.split(',')[0]}-{kind}.onnx", **how)
            for kind, how in (("float32", {}), ("int8", {"int8": True, "max_changed": 1.0}))
        ]
        routes = {
            f"pictures/s, {kind}": file_route(one.file, one.outputs)
            for kind, one in zip(("float32", "int8"), files, strict=True)
        }
        pixels = Pool.open(run.folder.folder("ingest")).pixels(np.arange(BATCH))
        found = files[1].int8
        assert found
        rows.append(
            {
                "run": name,
                "MB, float32": files[0].bytes / 1e6,
                "MB, int8": files[1].bytes / 1e6,
                **raced(routes, pixels),
                "verdicts changed": f"{found.changed} of {found.pictures}",
                "written by default": "yes" if found.changed <= DEFAULT * found.pictures else "no",
                "score apart, mean": f"{found.mean['score']:.3f}",
                "score apart, most": f"{found.largest['score']:.3f}",
            }
        )
    table(rows, "Exported files in int8 and float32, one core")
    finish("int8", started, rows=rows)


if __name__ == "__main__":
    main()
