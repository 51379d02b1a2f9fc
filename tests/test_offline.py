"""P5: nothing leaves the machine. The whole pipeline runs while every attempt to open a connection is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SMALL
from exported import write_exported
from labelling import Server, make_run

pytestmark = pytest.mark.slow

GUARD = """
import sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        raise SystemExit(f"opened a connection: {event} {arguments}")
sys.addaudithook(guard)
from winnow.cli import main
main(sys.argv[1:])
"""


def guarded(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )


def test_the_guard_works():
    code = GUARD.split("from winnow")[0] + "import socket\nsocket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "opened a connection" in done.stderr


def test_the_whole_pipeline_opens_no_connection(pictures: Path, anomalous: Path, tmp_path: Path):
    for words in (
        ["run", "oneclass-from-scratch", pictures, "--to", tmp_path / "run", *SMALL],
        ["score", anomalous, "--run", tmp_path / "run"],
        ["evaluate", "--run", tmp_path / "run", "--normal", pictures, "--anomalous", f"blocks={anomalous}"],
        ["doctor"],
    ):
        done = guarded(*words)
        assert done.returncode == 0, done.stderr


def test_an_exported_file_opens_no_connection(pictures: Path, tmp_path: Path):
    done = guarded("predict", pictures, "--onnx", write_exported(tmp_path / "a.onnx"), "--to", tmp_path / "out")
    assert done.returncode == 0 and "96 pictures" in done.stdout, done.stderr


def test_labelling_opens_no_connection(tmp_path: Path):
    run = make_run(tmp_path)
    with Server(run, "--classes", "staff,customer", program=("-c", GUARD)) as server:
        items = server.get("/api/items")["items"]
        assert server.request("GET", f"/api/pictures/{items[0]['row']}")[0] == 200
        sent = {"uuid": "1", "item": items[0]["id"], "kind": "label", "value": "staff"}
        assert server.post("/api/events", {"events": [sent]})["saved"] == ["1"]
        status, out, err = server.stop()
        assert status == 0 and "opened a connection" not in out + err
    for words in (["--export", tmp_path / "labels.csv"], ["--import", tmp_path / "labels.csv"]):
        done = guarded("label", "--run", run, *words)
        assert done.returncode == 0, done.stderr
