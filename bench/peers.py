"""Winnow and its peers on the same football frames: seconds, AUROC, and false alarms at each one's own threshold for 5 %.

    python bench/peers.py [--quick] [--peer-python PATH]

pyod's AutoEncoder and VAE on flattened pixels; anomalib's PaDiM and PatchCore on the local MobileNetV2 weights; Winnow's
recipes `oneclass-from-scratch` and `oneclass`. `--peer-python` is the Python of an environment with pyod and anomalib (the extra
`bench` holds pyod alone, for anomalib takes 6 GB); a peer that is not installed is left out by name. All see the same 367 frames
of 12 groups and are judged on 88 frames of four other clips against American football and other sports.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from winnow import Run
from winnow.metrics.detection import separation

from common import arguments, finish, football_lists, need, table

PYOD = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
from importlib import import_module
module, name, keywords, path = sys.argv[1:]
data = np.load(path)
detector = getattr(import_module("pyod.models." + module), name)(contamination=0.05, **json.loads(keywords))
begun = time.perf_counter(); detector.fit(data["train"]); fitted = time.perf_counter() - begun
scores = {key: detector.decision_function(data[key]).tolist() for key in ("soccer", "american", "sports")}
print("RESULT" + json.dumps({"fit_s": fitted, "scores": scores, "threshold": float(detector.threshold_)}))
"""

ANOMALIB = Path(__file__).with_name("anomalib_peer.py")

PEERS = {
    "pyod AutoEncoder": (PYOD, ["auto_encoder", "AutoEncoder", '{"verbose": 0}']),
    "pyod AutoEncoder, tuned": (
        PYOD,
        [
            "auto_encoder",
            "AutoEncoder",
            '{"verbose": 0, "preprocessing": false, "dropout_rate": 0.0, "epoch_num": 30, "hidden_neuron_list": [256, 64]}',
        ],
    ),
    "pyod VAE": (PYOD, ["vae", "VAE", '{"verbose": 0}']),
    "pyod VAE, with its KL term": (
        PYOD,
        [
            "vae",
            "VAE",
            '{"verbose": 0, "capacity": 1e9, "beta": 1e-4, "latent_dim": 32, "preprocessing": false, "dropout_rate": 0.0}',
        ],
    ),
    "anomalib PaDiM": (ANOMALIB, ["Padim"]),
    "anomalib PatchCore": (ANOMALIB, ["Patchcore"]),
}


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--peer-python", default=sys.executable)
    peer, sys.argv[1:] = extra.parse_known_args()
    given, started = arguments(__doc__), time.perf_counter()
    lists = football_lists(given.to, 150 if given.quick else 100_000)
    weights = need("weights/mobilenet_v2_imagenet_bnrecal_fp16.pth")
    root = folders(lists, given.to / "folders")
    flat = flattened(lists, given.to / "flat.npz")
    rows = []
    for name, options in {
        "winnow oneclass-from-scratch (AE)": {"recipe": "oneclass-from-scratch"},
        "winnow oneclass (MobileNetV2)": {"recipe": "oneclass", "weights": weights},
    }.items():
        rows.append({"who": name, **winnow_row(given.to / name.split()[1], lists, options, given.quick)})
    for name, (code, words) in PEERS.items():
        if code is PYOD:
            command = ["-c", PYOD, *words, str(flat)]
        else:
            command = [
                str(ANOMALIB),
                *words,
                str(root),
                str(weights),
                "train/good",
                "test/soccer",
                "test/american",
                "test/sports",
            ]
        found = subprocess.run([peer.peer_python, *command], capture_output=True, text=True, check=False)
        line = next((line for line in found.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            print(f"{name} left out: {(found.stderr.strip().splitlines() or ['no result'])[-1]}", file=sys.stderr)
            continue
        rows.append({"who": name, **row_of(**json.loads(line.removeprefix("RESULT")))})
    table(
        rows,
        "Football: asked for 5 % false alarms, or each peer's own threshold (pyod: contamination 0.05; anomalib sets its own)",
    )
    finish("peers", started, rows=rows)


def row_of(fit_s: float, scores: dict[str, list[float]], threshold: float, **_: Any) -> dict[str, float]:
    """Return AUROC against both anomalous groups, and rates at the threshold."""
    inside = np.array(scores["soccer"])
    return {
        "fit s": fit_s,
        **{f"AUROC {name}": separation(inside, np.array(scores[name])) for name in ("american", "sports")},
        "false alarms": float((inside > threshold).mean()),
        "American football accepted": float((np.array(scores["american"]) <= threshold).mean()),
    }


def winnow_row(folder: Path, lists: dict[str, Path], options: dict, quick: bool) -> dict[str, float]:
    """Run Winnow from the list to the threshold, and score the test lists."""
    begun = time.perf_counter()
    run = Run(folder, **options, false_alarm_rate=0.05, **({"iterations": 200} if quick else {}))
    run.fit(lists["train"])
    fitted = time.perf_counter() - begun
    scores = {}
    for name in ("soccer", "american", "sports"):
        run.score(lists[name], to=folder / "scores" / name)
        with (folder / "scores" / name / "scores.csv").open(encoding="utf-8") as file:
            scores[name] = [float(row["score"]) for row in csv.DictReader(file)]
    return row_of(fitted, scores, run.detector.threshold.value)


def folders(lists: dict[str, Path], root: Path) -> Path:
    """Write the lists as folders of links, the layout that anomalib expects."""
    for name, path in lists.items():
        where = root / ("train/good" if name == "train" else f"test/{name}")
        where.mkdir(parents=True, exist_ok=True)
        with path.open(encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file)):
                link = where / f"{number:05d}{Path(row['path']).suffix}"
                if not link.exists():
                    link.symlink_to(row["path"])
    return root


def flattened(lists: dict[str, Path], path: Path) -> Path:
    """Return the pictures as rows of 32x32x3 numbers, as pyod expects them."""
    parts = {}
    for name, source in lists.items():
        with source.open(encoding="utf-8") as file:
            parts[name] = np.stack(
                [
                    np.asarray(Image.open(row["path"]).convert("RGB").resize((32, 32)), np.float32).ravel() / 255
                    for row in csv.DictReader(file)
                ]
            )
    np.savez(path, **parts)
    return path


if __name__ == "__main__":
    main()
