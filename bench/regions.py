"""Adverts beside the match: what `--regions` finds and names, against the same run that judges whole pictures.

    python bench/regions.py [--quick] [--seeds 3] [--to FOLDER] [--files]

Football: learnt from the 367 soccer frames of the training clips, as in bench/football.py; the match goes on in frames of the four test
clips, the adverts are pictures of sports22 (every second sport; the others served to choose the parts and the rule) and of cats and dogs.
Drawn match: learnt from six drawn matches, 50 frames each; two other matches, drawn adverts, a third of them green. Each of them by
other draws for each seed; a network from scratch is trained anew too. The advert covers a
half, a third, the bottom quarter or a corner; or the match goes on small beside it (squeezed to half of the width) or in a corner with the
advert around it in the form of an L. An answer is right where at least half of the part that is named is advert.

--files: the first draw of football with the pretrained network alone: what its exported file says of the same pictures, and how fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from winnow import Run
from winnow.detect.parts import PARTS, WHOLE
from winnow.steps.predict_onnx import predict_onnx
from winnow.tables import read_table

from common import arguments, finish, football_lists, mean_deviation, need, table

sys.path.append(str(Path(__file__).parent.parent / "scripts"))
from match_video import Advert, Match

WIDTH, HEIGHT = 320, 180
KINDS = (
    "left half",
    "right half",
    "top half",
    "right third",
    "bottom quarter",
    "corner",
    "squeezed to half",
    "L around it",
)
FRAMES = 20  # of each kind of composite, a seed
CASES = (("football", "MobileNetV2"), ("football", "AE"), ("drawn", "MobileNetV2"))
WEIGHTS = "weights/mobilenet_v2_imagenet_bnrecal_fp16.pth"


def main() -> None:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--files", action="store_true")
    mine, sys.argv[1:] = own.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    models = {
        "MobileNetV2": {"recipe": "oneclass", "weights": need(WEIGHTS)},
        "AE": {"recipe": "oneclass-from-scratch", **({"iterations": 300} if given.quick else {})},
    }
    if mine.files:
        run = learnt(given.to / "football" / "run", football(given.to / "files", 0), models["MobileNetV2"])
        row = exported(run, given.to / "files")
        table([row], "The exported file of a run, with parts and without")
        finish("regions", started, files=row)
        return
    rows = []
    for match, model in CASES:
        found: dict[str, list[dict[str, float]]] = {"whole": [], "with parts": []}
        for seed in range(given.seeds):
            folder = given.to / f"{match}-{model}-{seed}"
            train = MATCHES[match](folder, seed)
            if (match, model) == (
                "football",
                "MobileNetV2",
            ):  # learns the same from the same frames: only composites differ
                run = learnt(given.to / "football" / "run", train, models[model])
            else:
                run = learnt(folder / "run", train, {**models[model], "seed": seed})
            found["whole"].append(judged(run, folder, regions=False))
            found["with parts"].append(judged(run, folder, regions=True))
            print(f"{match}, {model}, seed {seed}: measured", file=sys.stderr, flush=True)
        for how, each in found.items():
            values = {key: mean_deviation(one[key] for one in each) for key in each[0]}
            rows.append({"match": match, "model": model, "judged": how, **values})
        table(rows[-2:], f"{match}, {model}: shares flagged at the threshold for 5 % false alarms")
    finish("regions", started, rows=rows)


def learnt(folder: Path, train: str, options: dict) -> Run:
    """Return the run in a folder, learnt and calibrated with the parts of pictures unless it is already."""
    run = Run(folder, **options, regions=True)
    if not run.folder.done("calibrate"):
        run.ingest(train)
        run.train(resume=True)
        run.encode(resume=True)
        run.calibrate()
    return run


def judged(run: Run, folder: Path, *, regions: bool) -> dict[str, float]:
    """Return the share flagged of what belongs, of whole adverts and of each kind of composite, and how often the right part is named."""
    started = time.perf_counter()
    result = run.score(folder / "judge", to=folder / f"scores-{regions}", regions=regions)
    seconds = time.perf_counter() - started
    rows = read_table(result.folder / "scores.csv")
    shares = {}
    right, named = 0, 0
    for kind in ("belongs", "whole", *KINDS):
        of_kind = [row for row in rows if Path(row["source"]).parent.name == kind]
        flagged = [row for row in of_kind if row["belongs"] == "no"]
        shares[kind] = len(flagged) / len(of_kind)
        if regions and kind in KINDS:
            named += len(flagged)
            right += sum(is_right(row) for row in flagged)
    shares["beside"] = float(np.mean([shares[kind] for kind in KINDS]))
    return {
        **shares,
        "right part": right / max(named, 1) if regions else float("nan"),
        "pictures/s": len(rows) / seconds,
    }


def exported(run: Run, folder: Path) -> dict[str, float]:
    """Return how often the file of a run says what the run says, and the pictures a second of it and of that of whole pictures."""
    found: dict[str, float] = {}
    for regions, kind in ((True, "parts"), (False, "whole")):
        file = run.export(folder / f"{kind}.onnx", regions=regions)
        started = time.perf_counter()
        predict_onnx(file.file, [folder / "judge"], to=folder / f"told-{regions}")
        seconds = time.perf_counter() - started
        told = read_table(folder / f"told-{regions}" / "predictions.csv")
        scores = run.score(folder / "judge", to=folder / f"scores-{regions}", regions=regions)
        own = read_table(scores.folder / "scores.csv")
        keys = ("belongs", "region") if regions else ("belongs",)
        same = [all(one[key] == two[key] for key in keys) for one, two in zip(own, told, strict=True)]
        found |= {f"{kind}: same answers": float(np.mean(same)), f"{kind}: pictures/s": len(told) / seconds}
        found[f"{kind}: MB"] = file.bytes / 1e6
    return found


def is_right(row: dict[str, str]) -> bool:
    """Return whether at least half of the part named in a row of scores.csv is advert; "whole picture" never is right of a part."""
    if row["region"] == WHOLE:
        return False
    mask = np.asarray(Image.open(Path(row["source"]).with_suffix(".mask"))) > 0
    named = np.zeros_like(mask)
    for name in row["region"].split(" and "):
        left, top, width, height = PARTS[name]
        down = slice(round(top * HEIGHT), round((top + height) * HEIGHT))
        named[down, round(left * WIDTH) : round((left + width) * WIDTH)] = True
    return bool(mask[named].mean() >= 0.5)


def football(folder: Path, seed: int) -> str:
    """Draw composites of test frames and pictures of other things; return the list to learn from."""
    folder.mkdir(parents=True, exist_ok=True)
    lists = football_lists(folder)
    frames = [opened(row["path"]) for row in read_table(lists["soccer"])]
    sports = sorted({path.parent.name for path in need("sports22").rglob("*.jpg")} - {"football"})[1::2]
    adverts = [path for sport in sports for path in sorted((need("sports22") / sport).glob("*.jpg"))]
    adverts += sorted(need("cats_dogs").rglob("*.jpg"))
    rng = np.random.default_rng(seed)
    write(folder / "judge", frames, [opened(adverts[row]) for row in rng.choice(len(adverts), 4 * FRAMES)], rng)
    return str(lists["train"])


def drawn(folder: Path, seed: int) -> str:
    """Draw six matches to learn from, and composites of two others and adverts; return the folder to learn from."""
    rng = np.random.default_rng(seed)
    for number in range(6):
        (folder / "good" / f"match{number}").mkdir(parents=True, exist_ok=True)
        for place, frame in enumerate(frames_of(100 * seed + number, 50, rng)):
            frame.save(folder / "good" / f"match{number}" / f"{place:03d}.jpg", quality=92)
    frames = [frame for number in (50, 51) for frame in frames_of(100 * seed + number, 30, rng)]
    adverts = [
        grained(Advert(rng, green=number % 3 == 1).frame(rng.uniform(0, 5)), rng) for number in range(4 * FRAMES)
    ]
    write(folder / "judge", frames, adverts, rng)
    return str(folder / "good")


def frames_of(seed: int, count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Yield frames of a drawn match, two seconds apart."""
    match = Match(np.random.default_rng(seed))
    for number in range(count):
        yield grained(match.frame(2.0 * number), rng)


def grained(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture with the grain of a camera, as scripts/match_video.py draws it."""
    grain = rng.integers(-4, 5, (HEIGHT, WIDTH, 1), np.int16)
    return Image.fromarray((np.asarray(picture, np.int16) + grain).clip(0, 255).astype(np.uint8))


def write(
    folder: Path, frames: Sequence[Image.Image], adverts: Sequence[Image.Image], rng: np.random.Generator
) -> None:
    """Write what belongs, whole adverts and every kind of composite as JPEG, and masks of the adverts beside them."""
    for kind in ("belongs", "whole", *KINDS):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        chosen = np.arange(len(frames)) if kind == "belongs" else rng.permutation(len(frames))[:FRAMES]
        for number, row in enumerate(chosen):
            picture, mask = composed(frames[row], adverts[rng.integers(len(adverts))], kind, rng)
            path = folder / kind / f"{number:03d}.jpg"
            picture.save(path, quality=92)
            Image.fromarray(mask.astype(np.uint8) * 255).save(path.with_suffix(".mask"), format="PNG")


def composed(
    frame: Image.Image, advert: Image.Image, kind: str, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Return a frame with an advert beside it, and the advert's mask (height, width) bool."""
    side, down = (int(value) for value in rng.integers(2, size=2))
    half, middle = WIDTH // 2, HEIGHT // 2
    covered = {
        "belongs": (0, 0, 0, 0),
        "whole": (0, 0, WIDTH, HEIGHT),
        "left half": (0, 0, half, HEIGHT),
        "right half": (half, 0, half, HEIGHT),
        "top half": (0, 0, WIDTH, middle),
        "right third": (WIDTH - WIDTH // 3, 0, WIDTH // 3, HEIGHT),
        "bottom quarter": (0, HEIGHT - HEIGHT // 4, WIDTH, HEIGHT // 4),
        "corner": (side * half, down * middle, half, middle),
    }
    picture, mask = frame.copy(), np.zeros((HEIGHT, WIDTH), bool)
    if kind in covered:
        x, y, wide, high = covered[kind]
        mask[y : y + high, x : x + wide] = True
        if wide:
            picture.paste(fitted(advert, wide, high), (x, y))
        return picture, mask
    wide, high = (half, middle) if kind == "squeezed to half" else (round(0.7 * WIDTH), round(0.7 * HEIGHT))
    x, y = side * (WIDTH - wide), (HEIGHT - high) // 2 if kind == "squeezed to half" else down * (HEIGHT - high)
    picture = fitted(advert, WIDTH, HEIGHT)
    mask[:] = True
    if kind == "squeezed to half":  # black above and below, as broadcasts have it
        picture.paste((0, 0, 0), (x, 0, x + wide, HEIGHT))
        mask[:, x : x + wide] = False
    picture.paste(frame.resize((wide, high), Image.Resampling.BILINEAR), (x, y))
    mask[y : y + high, x : x + wide] = False
    return picture, mask


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return the middle of a picture, scaled so that it fills a rectangle."""
    scale = max(width / picture.width, height / picture.height)
    wide, high = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    x, y = (wide - width) // 2, (high - height) // 2
    return picture.resize((wide, high), Image.Resampling.BILINEAR).crop((x, y, x + width, y + height))


def opened(path: str | Path) -> Image.Image:
    """Return a picture file in colour, of the size of a frame."""
    with Image.open(path) as image:
        return fitted(image.convert("RGB"), WIDTH, HEIGHT)


MATCHES = {"football": football, "drawn": drawn}

if __name__ == "__main__":
    main()
