"""P5: nothing leaves the machine. The whole pipeline runs while every attempt to open a connection is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import SMALL

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


def test_the_whole_pipeline_opens_no_connection(pictures: Path, foreign: Path, tmp_path: Path):
    for words in (
        ["run", "match", pictures, "--to", tmp_path / "run", *SMALL],
        ["score", foreign, "--run", tmp_path / "run"],
        ["evaluate", "--run", tmp_path / "run", "--belongs", pictures, "--foreign", f"blocks={foreign}"],
        ["doctor"],
    ):
        done = guarded(*words)
        assert done.returncode == 0, done.stderr
