"""The command `winnow` as a process that is forked from one which has imported it, for tests that start many.

It has a memory, signals and an exit status of its own and can be killed, as `python -m winnow.cli` can; what it need not do
is to import Winnow and its libraries, which takes longer than most of what is tested. What a start itself does is a matter
of the tests of the command line, which begin a real one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import threading
from multiprocessing.connection import Connection

from winnow.cli import main

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        "winnow.commands",
        "winnow.steps.label",
        "winnow.label.server",
        "winnow.label.exchange",
        "winnow.label.formats",
        "uvicorn",
    ]
)


class Preloaded:
    """As much of `subprocess.Popen`, of text, as the tests use."""

    def __init__(self, words: list[str]) -> None:
        out, out_there = FORKED.Pipe(duplex=False)
        err, err_there = FORKED.Pipe(duplex=False)
        given = (words, dict(os.environ), os.getcwd(), out_there, err_there)
        # A daemon is ended with this process, as a test that failed may have left it.
        self._process = FORKED.Process(target=_command, args=given, daemon=True)
        self._process.start()
        self.pid, self.args = self._process.pid, words
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end in (out, err))
        for end in (out, out_there, err, err_there):
            end.close()
        self._said: tuple[str, str] | None = None

    @property
    def returncode(self) -> int | None:
        """The exit status, -N for a process that a signal N ended, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended, of which this process hears a moment later."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended; `subprocess.TimeoutExpired` when it runs after so many seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what else it printed, and its errors; the same when asked again."""
        if self._said is not None:
            return self._said
        said: dict[str, str] = {}
        readers = [
            threading.Thread(target=lambda name=name: said.update({name: getattr(self, name).read()}), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        self.stdout.close()
        self.stderr.close()
        self._said = said["stdout"], said["stderr"]
        return self._said


def _command(words: list[str], environment: dict[str, str], place: str, out: Connection, err: Connection) -> None:
    """Be the command: its words, environment, folder and streams."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    for end, number in ((out, 1), (err, 2)):
        os.dup2(end.fileno(), number)
        end.close()
    main(words)
