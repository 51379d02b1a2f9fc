"""The same bytes whoever does the work: one process, four, shares of an array job in any order, Ray; with workers killed.

    python bench/conformance.py [--quick] [--pictures 3000] [--only Ray] [--to FOLDER]

Drawn pictures of 192x192 in folders and three videos are ingested, encoded (SqueezeNet with seeded random weights), calibrated,
forty are chosen, and all are scored, by every runner; files are compared by SHA-256. `same` counts files equal to those of one
process, of how many; seconds are of ingest, encode and score. A killed worker is one that SIGKILL ends while it makes a shard.

All of it twice: from disk to disk, and from a bucket to a bucket (moto on loopback), where pictures, run and scores lie at s3://
and are fetched to be compared. What names its pictures differs between the two; `as on disk` counts the files that are equal even so.
`--only`: of the ways those with such a name, beside one process.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from s3 import bucket
from torchvision import models

from winnow.cli import main as winnow
from winnow.data.remote import Remote
from winnow.scale.cluster import run_ray
from winnow.scale.runners import run_processes

from common import arguments, finish, table

SIZE, SHARES = 192, 8
COMPARED = (
    "run/pool/",
    "run/embeddings/",
    "run/detector/",
    "run/selection.csv",
    "scores/scores.csv",
    "scores/segments.csv",
)
RAYLETS: list[Any] = []


def main() -> None:
    pictures, only = int(taken("--pictures", "3000")), taken("--only", "")
    given, started = arguments(__doc__), time.perf_counter()
    pictures = 400 if given.quick else pictures
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["WINNOW_CACHE"] = str(given.to / "cache")
    data = draw(given.to / "data", pictures)
    ways: dict[str, Callable[[str, str, str], None]] = {
        "one process": partial(by_runner, "local"),
        "4 processes": partial(by_runner, "processes"),
        "4 processes, one killed": partial(by_runner, "conformance:killing_processes"),
        f"{SHARES} shares in any order": by_shares,
        "Ray, 3 raylets": partial(by_runner, "ray"),
        "Ray, a worker killed and a raylet removed": partial(by_runner, "conformance:losing_ray"),
    }
    ways = {name: way for name, way in ways.items() if name == "one process" or only in name}
    rows: list[dict[str, Any]] = []
    on_disk = compare("disk", ways, data, given.to, rows)
    server = bucket("winnow")
    pictures_there = Remote("s3://winnow/in")
    for path in (data / "in").rglob("*.*"):
        pictures_there.put_file(path.relative_to(data / "in").as_posix(), path)
    compare("bucket", ways, data, "s3://winnow", rows, on_disk)
    server.send(None)
    table(rows, f"{pictures:,} pictures and 3 videos, files equal to those of one process")
    finish("conformance", started, conformance=rows)
    if any(row["same"] < row["of"] or row["more"] for row in rows):
        raise SystemExit("Some files differ.")


def compare(
    where: str,
    ways: dict[str, Callable[[str, str, str], None]],
    data: Path,
    base: Path | str,
    rows: list[dict[str, Any]],
    on_disk: dict[str, str] | None = None,
) -> dict[str, str]:
    """Go every way at a place, add a row for each, and return the contents that the first left."""
    first: dict[str, str] = {}
    for name, way in ways.items():
        with cluster() if "Ray" in name else contextlib.nullcontext():
            place = f"{base}/{name.replace(' ', '-').replace(',', '')}"
            source = f"{base}/in" if on_disk else f"{data}/in"
            seconds = measured(way, source, data / "weights.pth", place)
        found = contents(place)
        first = first or found
        row = {
            "in": where,
            "by": name,
            "same": count(found, first),
            "of": len(first),
            "more": len(found.keys() - first.keys()),
        }
        rows.append(row | ({"as on disk": count(found, on_disk)} if on_disk else {}) | seconds)
        print(rows[-1], flush=True)
    return first


def count(found: dict[str, str], wanted: dict[str, str]) -> int:
    """Return how many of the wanted files were found with the same content."""
    return sum(found.get(file) == content for file, content in wanted.items())


def taken(flag: str, default: str) -> str:
    """Return what a flag of this script says, which is taken from the command line."""
    if flag not in sys.argv:
        return default
    place = sys.argv.index(flag)
    value = sys.argv[place + 1]
    del sys.argv[place : place + 2]
    return value


def draw(folder: Path, pictures: int) -> Path:
    """Write pictures and videos, and the weights of a network."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    for number in range(pictures):
        (folder / "in" / f"clip{number // 250:03d}").mkdir(parents=True, exist_ok=True)
        wave = 0.5 + 0.4 * np.sin(2 * np.pi * (rng.uniform(1, 6) * x + rng.uniform(1, 6) * y) + rng.uniform(0, 6))
        picture = wave[..., None] * rng.uniform(0.3, 1, 3) + rng.normal(0, 0.02, (SIZE, SIZE, 3))
        pixels = (picture.clip(0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "in" / f"clip{number // 250:03d}" / f"{number}.jpg")
    for number in range(3):
        write_video(folder / "in" / f"clip{number}.mp4", rng)
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), folder / "weights.pth")
    return folder


def write_video(path: Path, rng: np.random.Generator) -> None:
    """Write twenty seconds of a moving field."""
    field = (rng.random((2 * SIZE, 2 * SIZE, 3)) * 60 + 90).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for number in range(500):
            shown = field[number // 3 :][:SIZE, number // 4 :][:, :SIZE]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")))
        file.mux(stream.encode())


def measured(way: Callable[[str, str, str], None], source: str, weights: Path, place: str) -> dict[str, float]:
    """Do all steps one way, the run and its scores in a place; return the seconds of those that are shared."""
    run = f"{place}/run"
    seconds = {}
    for step in ("ingest", "encode", "score"):
        if step == "encode":
            call("train", "--run", run, "--model", "pretrained", "--backbone", "squeezenet1_1", "--weights", weights)
        if step == "score":
            call("calibrate", "--run", run, "--scorer", "knn")
            call("select", "--run", run, "-n", 40)
        begun = time.perf_counter()
        way(step, source, place)
        seconds[step] = round(time.perf_counter() - begun, 1)
    return seconds


def words_of(step: str, source: str, place: str) -> list[object]:
    if step == "ingest":
        return ["ingest", source, "--run", f"{place}/run", "--size", SIZE, SIZE, "--every", 0.5]
    run = ["--run", f"{place}/run"]
    return ["encode", *run] if step == "encode" else ["score", source, *run, "--to", f"{place}/scores"]


def by_runner(runner: str, step: str, source: str, place: str) -> None:
    """Do a step by four workers of a runner."""
    call(*words_of(step, source, place), "--runner", runner, "--workers", 4 if runner != "local" else 1)


def by_shares(step: str, source: str, place: str) -> None:
    """Do a step as an array job would, its shares in any order, each in a process of its own and, of a bucket, with its own cache."""
    shares = list(range(SHARES))
    random.Random(step).shuffle(shares)
    for index in shares:
        words = [*words_of(step, source, place), "--shard", f"{index}/{SHARES}"]
        cache = {"WINNOW_CACHE": f"{os.environ['WINNOW_CACHE']}-{index}"}
        subprocess.run(
            [sys.executable, "-m", "winnow", *map(str, words)], check=True, capture_output=True, env=os.environ | cache
        )
    call("join", f"{place}/scores" if step == "score" else f"{place}/run")


def call(*words: object) -> None:
    """Run the command in this process."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            winnow([str(word) for word in words])
    except SystemExit as end:
        if end.code:
            raise


def contents(place: str) -> dict[str, str]:
    """Return the SHA-256 of the files that are compared, by name."""
    if not place.startswith("s3://"):
        return {
            name: hashlib.sha256((Path(place) / name).read_bytes()).hexdigest()
            for name in (
                path.relative_to(place).as_posix() for path in sorted(Path(place).rglob("*")) if path.is_file()
            )
            if name.startswith(COMPARED) and not name.endswith(".lock")
        }
    with tempfile.TemporaryDirectory() as folder:
        call("pull", f"{place}/run", f"{folder}/run")
        scores = Remote(f"{place}/scores")
        (Path(folder) / "scores").mkdir()
        for name, _ in scores.listing():
            if f"scores/{name}" in COMPARED:
                (Path(folder) / "scores" / name).write_bytes(scores.read(name)[0])
        return contents(folder)


# ---- losing workers


def _children() -> list[int]:
    """Return the processes that this one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def killing_processes(function: Any, items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Run by processes, and kill one of them after the first result."""
    before = set(_children())
    for number, result in enumerate(run_processes(function, items, workers)):
        yield result
        if number == 0:
            for process in sorted(set(_children()) - before)[-1:]:
                os.kill(process, signal.SIGKILL)


def losing_ray(function: Any, items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Run on Ray, kill a worker after the first result and remove a raylet after the second."""
    for number, result in enumerate(run_ray(function, items, workers)):
        yield result
        if number == 0:
            subprocess.run(["pkill", "-9", "-o", "-f", "ray::_call"], check=False)
        if number == 1 and len(RAYLETS) > 2:
            RAYLETS[0].remove_node(RAYLETS.pop(), allow_graceful=False)


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Connect this process to a cluster of a head without cores and three raylets of one core each."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    RAYLETS[:] = [made, *(made.add_node(num_cpus=1, **store) for _ in range(3))]
    ray.init(address=made.address, configure_logging=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        made.shutdown()


if __name__ == "__main__":
    sys.modules["conformance"] = sys.modules["__main__"]  # whose runners are named to the command
    main()
