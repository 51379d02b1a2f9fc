"""A server as a process of its own, spoken to by bare HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
from typing import Any, Self


class Speaking:
    """A process that answers on a port of this machine until the block ends, by the signal `ends`."""

    process: subprocess.Popen[str]
    port: int
    ends: int = signal.SIGTERM

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int | None = None) -> tuple[int, str, str]:
        """Ends the process; returns its status and what else it said."""
        if self.process.poll() is None:
            self.process.send_signal(self.ends if number is None else number)
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

    def raw(self, data: bytes, patience: float = 2.0) -> bytes:
        """Everything the server answers to bytes on the line until it closes, or waits for more of us."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as line:
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                line.sendall(data)
                while part := line.recv(65536):
                    answer += part
        return answer
