"""The command `winnow serve` as a process of its own, spoken to by bare HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


class Serving:
    """`winnow serve` on a file until the block ends; `port` is what it printed."""

    def __init__(
        self,
        file: Path | None,
        *words: object,
        port: int = 0,
        program: tuple[str, ...] = ("-m", "winnow.cli"),
        **environment: str,
    ) -> None:
        command = [sys.executable, *program, "serve", *([file] if file else []), "--port", port, *words]
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **({"env": environment} if environment else {}),
        )
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+) ", line)
        if not found:
            raise AssertionError(line + self.process.stderr.read())
        self.said, self.host, self.port = line, found[1], int(found[2])

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Ends the process; returns its status and what else it said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return result

    def get(self, path: str) -> Any:
        """The JSON of a GET that must succeed."""
        status, _, body = self.request("GET", path)
        assert status == 200, body
        return json.loads(body)

    def predict(self, data: bytes, **headers: str) -> Any:
        """What is said of one picture, which must be read."""
        status, _, body = self.request("POST", "/v1/predict", data, **headers)
        assert status == 200, body
        (picture,) = json.loads(body)["pictures"]
        return picture

    def raw(self, data: bytes, patience: float = 2.0) -> bytes:
        """Everything the server answers to bytes on the line until it closes, or waits for more of us."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as line:
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                line.sendall(data)
                while part := line.recv(65536):
                    answer += part
        return answer


def form(files: dict[str, bytes], boundary: str = "xYzZy") -> tuple[bytes, str]:
    """A form of files and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
