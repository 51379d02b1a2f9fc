"""The one-time address of the label page, which `--open` gives to the browser."""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path

ENTER = "/api/enter"  # where a one-time code is exchanged for the start token
OPEN = 60.0  # seconds for which the one-time code is good: a browser may have to start


class Door:
    """The one-time address of the page that `--open` gives to the browser: its command line can be read by every user.

    It is good for one use, within a minute, and on Linux by a process of this user or of the superuser alone.
    """

    def __init__(self, token: str) -> None:
        self.code = secrets.token_urlsafe(32)
        self._token, self._until = token, time.monotonic() + OPEN
        self._lock = threading.Lock()

    def enter(self, code: str, port: int, server_port: int) -> str | None:
        """Return the start token to the first who knows the code, from a port of this machine; None to all others."""
        if not secrets.compare_digest(code.encode(errors="replace"), self.code.encode()):
            return None
        if not is_own_connection(port, server_port):
            return None
        with self._lock:
            token, self._token = self._token, ""
        return token if token and time.monotonic() < self._until else None


def is_own_connection(port: int, server_port: int) -> bool:
    """Return whether a connection from a port of this machine is this user's or the superuser's; True where no system says."""
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    ends = (f":{port:04X}", f":{server_port:04X}")
    for fields in (line.split() for path in tables for line in path.read_text().splitlines()[1:]):
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return int(fields[7]) in (0, os.getuid())
    return not tables
