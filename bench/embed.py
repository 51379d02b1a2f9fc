"""From JPEG files to embeddings: `winnow ingest`, `train` and `encode` against the usual ways to embed with the same network.

    python bench/embed.py [--quick]

Drawn photographs of 640x480 are embedded by timm's MobileNetV2 of random weights at 96x96: by Winnow's three commands, by timm with a
DataLoader in eager torch, and by a bare loop that decodes and runs the same network in onnxruntime, which is what can be had at
most. Each way in a process of its own, in turns, with one thread and with two (DataLoader: two workers); seconds begin when libraries are
imported, and CPU seconds are of user and system. Winnow keeps pixels and embeddings on disk, the others nothing.

Then `winnow ingest` of the same files by two threads, by two processes and by Ray with two workers, the start of each included; Ray's
with a shard of fifty pictures too: the difference, by the number of shards, is what a shard costs.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ingest import _photograph as photograph

from common import arguments, finish, table

SIZE = 96
START = f"""
import json, os, sys, time
from pathlib import Path
folder, to, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
os.environ["OMP_NUM_THREADS"] = str(threads)
paths = sorted(folder.rglob("*.jpg"))
import numpy as np, timm, torch
from PIL import Image
torch.set_num_threads(threads)
def network():
    made = timm.create_model("mobilenetv2_100", num_classes=0)
    made.load_state_dict(torch.load(folder / "weights.pth"), strict=False)
    return made.eval()
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
def picture(path):
    with Image.open(path) as image:
        image.draft("RGB", ({SIZE}, {SIZE}))
        pixels = np.asarray(image.convert("RGB").resize(({SIZE}, {SIZE}), Image.Resampling.BILINEAR), np.float32)
    return ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)
"""
END = """
import resource
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(one.ru_utime + one.ru_stime for one in used) - before
print(json.dumps([time.perf_counter() - begun, cpu, found]))
"""
BEGIN = """
import resource
before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]); begun = time.perf_counter()
"""
WINNOW = """
import contextlib, io
import winnow.cli, winnow.api, winnow.steps.encode, winnow.steps.train, faiss, onnxruntime, av, pyarrow.parquet
def call(*words):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            winnow.cli.main([str(word) for word in words])
        except SystemExit as end:
            assert not end.code
"""
OURS = "winnow ingest, train, encode"
WAYS = {
    OURS: WINNOW
    + BEGIN
    + f"""
call("ingest", folder / "in", "--run", to, "--size", {SIZE}, {SIZE}, "--workers", threads)
call("train", "--run", to, "--model", "pretrained", "--backbone", "mobilenetv2_100", "--weights", folder / "weights.pth")
call("encode", "--run", to)
found = len(np.load(to / "embeddings" / "vectors.npy"))
"""
    + END,
    "timm, DataLoader, eager torch": BEGIN
    + """
class Files(torch.utils.data.Dataset):
    def __len__(self): return len(paths)
    def __getitem__(self, number): return torch.from_numpy(picture(paths[number]))
model = network()
with torch.inference_mode():
    loader = torch.utils.data.DataLoader(Files(), batch_size=64, num_workers=threads if threads > 1 else 0)
    found = len(torch.cat([model(batch) for batch in loader]))
"""
    + END,
    "bare loop, onnxruntime": """
import onnxruntime
from concurrent.futures import ThreadPoolExecutor
"""
    + BEGIN
    + f"""
torch.onnx.export(network(), (torch.zeros(1, 3, {SIZE}, {SIZE}),), to / "net.onnx", input_names=["x"], dynamo=False)
options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(to / "net.onnx", options, providers=["CPUExecutionProvider"])
with ThreadPoolExecutor(threads) as pool:
    found = len(list(pool.map(lambda path: session.run(None, {{"x": picture(path)[None]}})[0], paths)))
"""
    + END,
}
SHARD, SMALL = 1024, 50
ENGINES: dict[str, tuple[str, int]] = {
    "2 threads": ("local", SHARD),
    "2 processes": ("processes", SHARD),
    "2 processes, small shards": ("processes", SMALL),
    "Ray, 2 workers": ("ray", SHARD),
    "Ray, 2 workers, small shards": ("ray", SMALL),
}
"""By name: the runner, and the pictures of a shard."""
INGEST = (
    WINNOW
    + "import winnow.pool.plan\nif __name__ == '__main__':\n    winnow.pool.plan.PART_PICTURES = int(sys.argv[5])"
    + BEGIN.replace("\n", "\n    ").rstrip()
    + f"""
    call("ingest", folder / "in", "--run", to, "--size", {SIZE}, {SIZE}, "--runner", sys.argv[4], "--workers", 2)
    found = len(paths)
"""
    + END.replace("\n", "\n    ").rstrip()
)


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    count, turns = (300, 1) if given.quick else (2000, 3)
    draw(given.to, count)
    rows = []
    for threads in (1, 2):
        found = [{name: timed(START + code, given.to, threads) for name, code in WAYS.items()} for _ in range(turns)]
        rows += [
            row(name, threads, count, [turn[name] for turn in found], [turn[OURS] for turn in found]) for name in WAYS
        ]
    table(rows, f"{count:,} JPEG files of 640x480 to embeddings of MobileNetV2 at {SIZE}x{SIZE}")
    engines = [
        {name: timed(START + INGEST, given.to, 1, *engine) for name, engine in ENGINES.items()}
        for _ in range(turns)
    ]  # fmt: skip
    ingests = [
        row(name, 2, count, [turn[name] for turn in engines], [turn["2 threads"] for turn in engines])
        for name in ENGINES
    ]
    table(ingests, "Ingest of the same files")
    finish("embed", started, embed=rows, ingest=ingests)


def draw(folder: Path, count: int) -> None:
    """Write pictures of twenty scenes, each in four hundred places, and the weights of the network."""
    import timm
    import torch

    (folder / "in").mkdir(parents=True, exist_ok=True)
    scenes = [photograph(seed) for seed in range(20)]
    for number in range(count):
        left, top = 17 * number % 640, 7 * number % 240
        scenes[number % 20].crop((left, top, left + 640, top + 480)).save(
            folder / "in" / f"{number:05d}.jpg", quality=85
        )
    torch.manual_seed(0)
    torch.save(timm.create_model("mobilenetv2_100").state_dict(), folder / "weights.pth")


def timed(code: str, folder: Path, threads: int, *words: object) -> tuple[float, float]:
    """Run one way in a process of its own; return its seconds and CPU seconds."""
    to = folder / "made"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    command = [sys.executable, "-c", code, folder, to, threads, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{code[-200:]}\n{done.stderr[-2000:]}")
    seconds, cpu, _ = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu


def row(
    name: str, threads: int, count: int, found: list[tuple[float, float]], base: list[tuple[float, float]]
) -> dict[str, object]:
    """Return medians, and the ratio of seconds to those of the base in the same turn."""
    ratios = sorted(one[0] / other[0] for one, other in zip(found, base, strict=True))
    return {
        "way": name,
        "threads": threads,
        "pictures/s": round(count / statistics.median(seconds for seconds, _ in found)),
        "CPU ms a picture": round(1000 * statistics.median(cpu for _, cpu in found) / count, 2),
        "times the first's seconds": f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
    }


if __name__ == "__main__":
    main()
