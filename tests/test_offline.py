"""P5: nothing leaves the machine: no library asks for a name, opens a connection or keeps a device id for later.

The pipeline runs in a network of its own, which sees what is beneath Python as well; where that cannot be had, every attempt
of Python's own to open a connection is an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelling import Server, make_run
from lonely import alone
from tiny_detectors import BLUE, write_yolox

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


PIPELINE = """
import json, sys
from winnow.cli import main
for words in json.loads(sys.argv[1]):
    main(words)
"""
NOTHING = {"names": [], "Ip.OutNoRoutes": 0, "Tcp.ActiveOpens": 0}
TINY = (
    "--size",
    "24",
    "24",
    "--width",
    "4",
    "--latent",
    "4",
    "--iterations",
    "4",
    "--check-every",
    "2",
    "--device",
    "cpu",
)


def persons(folder: Path, detector: Path) -> list[list[str]]:
    """Draw persons into a folder and return the commands of the whole pipeline on them."""
    rng = np.random.default_rng(0)
    for number in range(24):
        scene = rng.integers(0, 30, (64, 64, 3), dtype=np.uint8)
        scene[16:24, 8 + number : 16 + number] = BLUE
        (folder / "abc"[number % 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(folder / "abc"[number % 3] / f"{number}.png")
    run, to = folder.parent / "run", folder.parent / "model.onnx"
    commands: list[tuple[object, ...]] = [
        (
            "run",
            "oneclass-from-scratch",
            folder,
            "--to",
            run,
            *TINY,
            "--people",
            "--object-detector",
            detector,
            "-n",
            4,
        ),
        ("classify", "--run", run, "--folders", "--folds", 2),
        ("score", folder / "a", "--run", run),
        ("evaluate", "--run", run, "--normal", folder / "a", "--anomalous", f"b={folder / 'b'}"),
        ("predict", folder / "a", "--run", run),
        ("export", "--run", run, "--to", to),
        ("predict", folder / "a", "--onnx", to, "--object-detector", detector, "--to", folder.parent / "out"),
        ("doctor",),
    ]
    return [["--number" if word == "-n" else str(word) for word in words] for words in commands]


def test_nothing_leaves_a_network_of_its_own_in_the_whole_pipeline(tmp_path: Path):
    commands = persons(tmp_path / "pictures", write_yolox(tmp_path / "yolox.onnx"))
    done, asked = alone(tmp_path, PIPELINE, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    assert asked == NOTHING
    assert not (tmp_path / "home" / ".cache" / "Microsoft").exists()


@pytest.mark.parametrize("also", ["import onnxruntime", "import timm, torch.onnx, onnxscript, onnxruntime"])
def test_what_a_program_imports_after_winnow_reports_nothing(also: str, tmp_path: Path):
    done, asked = alone(tmp_path, f"import winnow; {also}; print('imported')")
    assert done.stdout.strip() == "imported", done.stderr
    assert asked == NOTHING
    assert not (tmp_path / "home" / ".cache" / "Microsoft").exists()  # device id and queue of onnxruntime


def test_the_network_of_its_own_sees_names_and_connections(tmp_path: Path):
    code = """
import socket
try:
    socket.create_connection(("example.org", 9), 1)
except OSError:
    pass
socket.socket().connect_ex(("192.0.2.1", 9))
"""
    asked = alone(tmp_path, code)[1]
    assert set(asked["names"]) == {"example.org"}
    assert asked["Tcp.ActiveOpens"] == 1 and asked["Ip.OutNoRoutes"] >= 1


@pytest.mark.parametrize("given", ["0", None])
def test_a_choice_of_the_users_stays(given: str | None):
    code = "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', 0)\n"
    code += f"os.environ.update({ {} if given is None else {'ORT_DISABLE_TELEMETRY': given} })\n"
    code += "import winnow; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [given or "1", "1"]


def test_the_pipeline_opens_no_connection_of_pythons(pictures: Path, tmp_path: Path):
    done = guarded("run", "oneclass-from-scratch", pictures, "--to", tmp_path / "run", *TINY)
    assert done.returncode == 0, done.stderr


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
