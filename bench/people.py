"""Persons in real films: frames, crops and speed of both detectors, and sheets of what they found.

    python bench/people.py [--quick] [--to FOLDER]

Each film is ingested with `--people` at its defaults (confidence 0.4, margin 0.1), crops of 128x64, with one thread and with as many
as there are cores; seconds are those of the whole ingest, decoding and writing included, and beside them stands how often the network alone
runs in one thread just before. FOLDER gets a contact sheet a film and detector.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from common import arguments, finish, need, table

FILMS = {"people-walking.mp4": 0.2, "store-aisle-detection.gif": 0.1, "one-by-one-person-detection.mp4": 0.5}
DETECTORS = {"YOLOX-nano": "yolox_nano.onnx", "FastestDet": "FastestDet.onnx"}
SHOWN = 60  # crops on a sheet


def main() -> None:
    from winnow.scale.local import cores

    given, started = arguments(__doc__), time.perf_counter()
    rows = []
    for film, every in FILMS.items():
        for name, file in DETECTORS.items():
            for workers in (1, cores()):
                folder = given.to / f"{Path(film).stem}-{name}-{workers}"
                step = every * (5 if given.quick else 1)
                found = measured(need(f"videos/{film}"), need(f"weights/{file}"), folder, step, workers)
                rows.append({"film": film, "detector": name, "threads": workers, **found})
            sheet(folder, given.to / f"{Path(film).stem}-{name}.png")
    table(rows, "Persons")
    print(f"\nContact sheets: {given.to}")
    finish("people", started, rows=rows)


def measured(film: Path, detector: Path, folder: Path, every: float, workers: int) -> dict[str, object]:
    """What an ingest of a film finds, and how fast."""
    from winnow.options import IngestOptions
    from winnow.pool.ingest import ingest
    from winnow.pool.pool import Pool

    options = IngestOptions(people=True, detector=str(detector), size=(128, 64), every=every, workers=workers)
    alone = bare(detector)
    result = ingest([film], folder, options)
    confidence = Pool.open(folder).column("confidence")
    return {
        "frames": result.frames,
        "without": result.empty,
        "crops": result.crops,
        "median confidence": float(np.median(confidence)),
        "frames/s": round(result.frames / result.seconds, 1),
        "crops/s": round(result.crops / result.seconds, 1),
        "network alone, runs/s": round(alone, 1),
    }


def bare(detector: Path, runs: int = 30) -> float:
    """Runs a second of the network alone, in one thread, on zeros."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(detector, options, providers=["CPUExecutionProvider"])
    put = session.get_inputs()[0]
    zeros = {put.name: np.zeros(put.shape, np.float32)}
    session.run(None, zeros)
    begun = time.perf_counter()
    for _ in range(runs):
        session.run(None, zeros)
    return runs / (time.perf_counter() - begun)


def sheet(folder: Path, path: Path) -> None:
    """Crops from all over a film, in its order, with their seconds and confidence."""
    from winnow.embeddings import spread
    from winnow.pool.pool import Pool
    from winnow.report.grids import picture_grid

    pool = Pool.open(folder)
    rows = spread(len(pool), SHOWN)
    captions = [f"{pool.column('time')[row]:.1f} s\n{pool.column('confidence')[row]:.2f}" for row in rows]
    path.write_bytes(picture_grid(pool.pixels(rows), captions, 12))


if __name__ == "__main__":
    main()
