"""The commands of examples/cloud.md, one after the other against moto on loopback, each as on another machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from winnow.data.remote import Remote

import videos
from buckets import Door, keys, settings
from conftest import blocks, stripes, winnow_command

PAGE = Path(__file__).parent.parent / "examples" / "cloud.md"
NAMED = "s3://season-of-mine"
NETWORK = "--architecture strided --width 4 --latent 4 --iterations 20 --batch-size 32 --check-every 10 --device cpu"
SMALL = {"ingest": ["--size", "32", "32"], "train": NETWORK.split()}


def commands(page: Path) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^    ((?:winnow|torchrun) .*)$", page.read_text(), re.MULTILINE)]


def film(path: Path, seed: int, draw=stripes) -> Path:
    rng = np.random.default_rng(seed)
    pictures = [np.asarray(draw(rng, size=32)) for _ in range(30)]
    videos.write(path, pictures, rate=1)
    return path


@pytest.mark.slow
def test_the_page_runs_from_a_bucket_to_a_bucket(
    bucket: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Remote(bucket)
    for number in range(4):
        store.put_file(f"matches/{number}.mp4", film(tmp_path / f"{number}.mp4", number))
    store.put_file("new/5.mp4", film(tmp_path / "5.mp4", 5))
    store.put_file("new/advert.mp4", film(tmp_path / "advert.mp4", 6, blocks))
    door = Door(server, lambda method, path: 403 if "/runs/" in path and method not in ("GET", "HEAD") else None)
    steps = []
    for number, words in enumerate(commands(PAGE)):
        words = [word.replace(NAMED, bucket) for word in words]
        step = words[words.index("winnow") + 1 + ("--" in words)]
        torchrun = words[0] == "torchrun"
        if torchrun:
            words[words.index("--nproc-per-node") + 1] = "2"
        judging = step == "score"  # who judges may read the run, and not write to it
        given = {**settings(door.address if judging else server), "WINNOW_CACHE": str(tmp_path / f"machine {number}")}
        words = [*words[1:], *SMALL.get(step, [])]
        if torchrun:
            done = subprocess.run(
                [sys.executable, "-m", "torch.distributed.run", *words],
                env={**os.environ, **given},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
        else:
            done = winnow_command(*words, cwd=tmp_path, env=given)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        steps.append(step)
    door.close()
    assert steps == ["ingest", "train", "encode", "calibrate", "score", "pull", "report"]
    assert (tmp_path / "football" / "report.html").exists()
    there = {key.rpartition("/")[2] for key in keys(bucket) if key.startswith("verdicts/monday/")}
    assert {"scores.csv", "segments.csv", "scores.json", "results.json"} < there
    assert not (tmp_path / "s3:").exists()
