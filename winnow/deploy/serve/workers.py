"""Several processes on one socket: each is started anew when it dies, and all end together."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from winnow.deploy.serve.limits import Limits
from winnow.deploy.serve.metrics import Metrics
from winnow.deploy.serve.server import Wanted, run, say, until_told
from winnow.errors import RunError
from winnow.web.connections import LEAVE_SECONDS
from winnow.web.listen import turn_away

BREATH = 1.0  # seconds between the death of a worker and the start of the next in its place
MOST_DEATHS = 5  # of workers that died within a minute of their start, one after the other


class Workers:
    """The workers of a server, in the order of their numbers."""

    def __init__(self, wanted: Wanted, listening: socket.socket) -> None:
        self._wanted, self._listening = wanted, listening
        self._numbers = Metrics(wanted.numbers, wanted.workers)  # makes their file, before two of them do
        self._processes = [self._start(worker) for worker in range(wanted.workers)]
        self._started = [time.monotonic()] * wanted.workers
        self._early = 0

    def look(self) -> None:
        """Start those that have died anew; `RunError` when they die again and again."""
        for worker, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            self._early = self._early + 1 if time.monotonic() - self._started[worker] < 60 else 0
            if self._early >= MOST_DEATHS:
                raise RunError("The workers of the server die again and again.", "What they said before says why.")
            say(f"Worker {worker} has died ({_end(process.returncode)}); another takes its place.")
            time.sleep(BREATH)
            self._processes[worker], self._started[worker] = self._start(worker), time.monotonic()

    @property
    def all_answer(self) -> bool:
        """Return whether all have loaded the file and answer."""
        return self._numbers.total("workers") == len(self._processes)

    def end(self, patience: float) -> None:
        """Have all end, and wait until they have answered what they had accepted, so many seconds at most."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        time.sleep(LEAVE_SECONDS / 2)  # they take in the last after the whole of it
        turn_away(self._listening)
        self._listening.close()
        until = time.monotonic() + patience
        for process in self._processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, worker: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
            start_new_session=True,  # or Ctrl-C would reach them before this process
        )
        assert process.stdin is not None
        given = _as_json(replace(self._wanted, worker=worker)) | {"socket": self._listening.fileno()}
        process.stdin.write(json.dumps(given).encode())  # not on the command line, which every user can read
        process.stdin.close()
        return process


def run_workers(wanted: Wanted, listening: socket.socket, *, tell: Callable[[], None]) -> None:
    """Serve by several processes until Ctrl-C or SIGTERM; `tell` is called once all answer."""
    with until_told():
        workers = Workers(wanted, listening)
        try:
            told = False
            while True:
                if not told and workers.all_answer:
                    tell()
                    told = True
                time.sleep(0.2)
                workers.look()
        finally:
            workers.end(wanted.limits.seconds + 10)


def _end(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def _as_json(wanted: Wanted) -> dict[str, Any]:
    return asdict(wanted) | {"file": str(wanted.file), "folder": str(wanted.folder)}


def main() -> None:
    """Be one worker: what it is to serve comes on standard input."""
    import os

    given = json.load(sys.stdin)
    listening = socket.socket(fileno=given.pop("socket"))
    paths = {"file": Path(given["file"]), "folder": Path(given["folder"])}
    wanted = Wanted(**{**given, **paths, "limits": Limits(**given["limits"])})
    run(wanted, wanted.current(say), listening, orphan_of=os.getppid())


if __name__ == "__main__":
    main()
