"""Is the false-alarm rate the one asked for where the same material lies there twice under two names? 100 random splits.

    python bench/duplicates.py [--quick]

Rows: the football clips as videos, alone, with a copy of each file, and with each encoded again at half the size; web photos
of football, alone and with each saved again at half the size and another JPEG quality. Frozen MobileNetV2 embeddings. A third of
what was filmed or photographed is unseen, with its copies; the rest is learnt from. Asked for 1, 5, 10 %, with every file a
group of its own (as if no near-identical pictures were looked for) and with the groups joined as `winnow ingest` joins them.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from winnow import Detector, Embeddings, Run
from winnow.pool.pool import Pool

from common import arguments, finish, need, table, write_list

RATES = (0.01, 0.05, 0.10)


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    draws = 10 if given.quick else 100
    rows = []
    for name, (run, original) in {**films(given.to), **photos(given.to, given.quick)}.items():
        for how in ("not joined", "joined"):
            normal, what = known(run, original, joined=how == "joined")
            rows.append(
                {
                    "data": name,
                    "groups": how,
                    "pictures": len(normal),
                    "count": len(set(normal.groups)),
                    **measured(normal, what, draws),
                }
            )
    table(rows, f"False alarms on unseen material, mean ± standard deviation over {draws} random splits")
    finish("duplicates", started, rows=rows)


def measured(normal: Embeddings, what: np.ndarray, draws: int) -> dict[str, str]:
    """Return false-alarm rates on what is unseen, for each rate asked for; `what` (n,) names what a picture was made from."""
    found: dict[float, list[float]] = {rate: [] for rate in RATES}
    for number in range(draws):
        names = np.random.default_rng(number).permutation(np.unique(what))
        unseen = np.isin(what, names[: len(names) // 3])
        detector = Detector("knn(metric=cosine)").fit(normal[~unseen])
        scores = detector.score(normal[unseen])
        for rate in RATES:
            found[rate].append(float((scores > detector.with_threshold(rate).threshold.value).mean()))
    return {f"{rate:.0%}": f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for rate, values in found.items()}


def known(run: Run, original: dict[str, str], *, joined: bool) -> tuple[Embeddings, np.ndarray]:
    """Return the embeddings of a run, and the original that each picture is of; not `joined`, exact copies are among them."""
    pool, found = Pool.open(run.folder.path / "pool"), run.embeddings
    ids, twin = pool.column("id"), pool.column("twin")
    rows = np.flatnonzero(pool.usable) if joined else np.arange(len(pool))
    place = {name: row for row, name in enumerate(found.ids)}
    normal = found[[place[ids[row]] if ids[row] in place else place[twin[row]] for row in rows]]
    what = np.array([original[Path(uri).name] for uri in pool.column("source")[rows]])
    if not joined:
        normal = replace(normal, ids=ids[rows], groups=pool.column("group")[rows], twins=ids[rows])
    return normal, what


def embedded(folder: Path, name: str, inputs: list[Path], size: tuple[int, int]) -> Run:
    run = Run(
        folder / f"run-{name}",
        "oneclass",
        weights=need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"),
        size=size,
    )
    run.ingest(inputs)
    run.train()
    run.encode()
    return run


def films(folder: Path) -> dict[str, tuple[Run, dict[str, str]]]:
    """Return runs of the clips as videos, and the clip of each file's name."""
    root = need("football")
    with (root / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("soccer_clips")]
    clips: dict[str, list[Path]] = {}
    for row in rows:
        clips.setdefault(row["group"], []).append(root / row["path"])
    own, copies, small = (folder / name for name in ("clips", "copies", "small"))
    for made in (own, copies, small):
        made.mkdir(exist_ok=True)
    original: dict[str, str] = {}
    for name, frames in clips.items():
        listed = folder / f"{name}.txt"
        listed.write_text("".join(f"file '{path}'\nduration 1\n" for path in sorted(frames)), encoding="utf-8")
        film = own / f"{name}.mp4"
        encode("-f", "concat", "-safe", "0", "-i", listed, "-r", "1", "-crf", "18", film)
        shutil.copy(film, copies / f"{name} (1).mp4")
        encode("-i", film, "-vf", "scale=160:90", "-crf", "30", small / f"{name}-small.mp4")
        original |= dict.fromkeys((f"{name}.mp4", f"{name} (1).mp4", f"{name}-small.mp4"), name)
    return {
        "clips": (embedded(folder, "clips", [own], (144, 192)), original),
        "clips, each file copied": (embedded(folder, "copies", [own, copies], (144, 192)), original),
        "clips, encoded again at half the size": (embedded(folder, "small", [own, small], (144, 192)), original),
    }


def encode(*words: object) -> None:
    command = ["ffmpeg", "-y", "-loglevel", "error", *map(str, words[:-1]), "-pix_fmt", "yuv420p", str(words[-1])]
    subprocess.run(command, check=True)


def photos(folder: Path, quick: bool) -> dict[str, tuple[Run, dict[str, str]]]:
    """Return runs of web photos, and the photo of each file's name."""
    pictures = sorted((need("sports22") / "football").glob("*.jpg"))[:: 3 if quick else 1]
    again = folder / "again"
    again.mkdir(exist_ok=True)
    original = {}
    for path in pictures:
        with Image.open(path) as picture:
            half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
        half.save(again / f"{path.stem}-small.jpg", quality=60)
        original |= {path.name: path.name, f"{path.stem}-small.jpg": path.name}
    saved = sorted(again.glob("*.jpg"))
    runs = {}
    for name, paths in (("photos", pictures), ("photos, each saved again smaller", [*pictures, *saved])):
        listed = write_list(folder / f"{len(paths)}.csv", [(path, str(path)) for path in paths])
        runs[name] = embedded(folder, f"photos-{len(paths)}", [listed], (144, 192)), original
    return runs


if __name__ == "__main__":
    main()
