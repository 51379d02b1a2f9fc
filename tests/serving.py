"""The command `winnow serve` as a process of its own, spoken to by bare HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from speaking import Speaking


class Serving(Speaking):
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

    def predict(self, data: bytes, **headers: str) -> Any:
        """What is said of one picture, which must be read."""
        status, _, body = self.request("POST", "/v1/predict", data, **headers)
        assert status == 200, body
        (picture,) = json.loads(body)["pictures"]
        return picture


def form(files: dict[str, bytes], boundary: str = "xYzZy") -> tuple[bytes, str]:
    """A form of files and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files.items()
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
