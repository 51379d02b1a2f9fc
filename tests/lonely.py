"""A program that runs alone in the network: every name is asked of it, every connection is counted.

    python lonely.py FOLDER CODE ARGUMENTS...

`alone` starts it in a network of its own, which has a name server and nothing else. It runs the Python code, and writes what the
code asked for into FOLDER/asked.json: names, connections that were begun, and ways out that were looked for and are not there.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")
UP = struct.pack("16sh22x", b"lo", 0x49)  # IFF_UP, IFF_LOOPBACK, IFF_RUNNING
SIOCSIFFLAGS = 0x8914
COUNTED = ("Ip.OutNoRoutes", "Tcp.ActiveOpens")


def alone(folder: Path, code: str, *words: object) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """Run Python code in a network of its own, with nothing in its environment; return how it ended and what it asked for."""
    (folder / "home").mkdir()
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    here = Path(__file__)
    environment = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{here.parent.parent}:{here.parent}"
    inside = f'mount --bind "$1/resolv.conf" /etc/resolv.conf && exec "$0" {here} "$@"'
    command = [*UNSHARE, "sh", "-c", inside, sys.executable, str(folder), code, *map(str, words)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if not (folder / "asked.json").exists():
        pytest.skip(f"no network of its own can be had here: {done.stderr.strip()}")
    return done, json.loads((folder / "asked.json").read_text())


def main(folder: Path, code: str, words: list[str]) -> int:
    """Be the name server of this network while the code runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, UP)
    names: list[str] = []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=_serve, args=(server, names), daemon=True).start()
    done = subprocess.run([sys.executable, "-c", code, *words], check=False)
    (folder / "asked.json").write_text(json.dumps({"names": names, **{name: _counters()[name] for name in COUNTED}}))
    return done.returncode


def _serve(server: socket.socket, names: list[str]) -> None:
    """Answer every question for an address with this machine's own, so that a connection is begun and counted."""
    while True:
        question, sender = server.recvfrom(2048)
        end = question.index(b"\0", 12)
        names.append(".".join(_labels(question[12:end])))
        is_address = question[end + 1 : end + 3] == b"\0\1"
        head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_address else b""
        server.sendto(head + question[12 : end + 5] + answer, sender)


def _labels(text: bytes) -> list[str]:
    labels = []
    while text:
        labels.append(text[1 : 1 + text[0]].decode(errors="replace"))
        text = text[1 + text[0] :]
    return labels


def _counters() -> dict[str, int]:
    """Return what the kernel has counted in this network."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    return {
        names[0][:-1] + "." + name: int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
