"""A process beside this one, which is asked one question at a time: arrays by name there, arrays by name back.

It ends when this one does, however that ends: its questions come through a pipe. Arrays travel as npz; nothing is pickled.
"""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

import numpy as np

from winnow.errors import RunError, WinnowError

Arrays = dict[str, np.ndarray]
ERROR = "error"
_SIZE = struct.Struct("<Q")


def _send(stream: IO[bytes], arrays: Arrays) -> None:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    stream.write(_SIZE.pack(file.tell()) + file.getvalue())
    stream.flush()


def _receive(stream: IO[bytes]) -> Arrays | None:
    """Return the next arrays, None at the end of the stream."""
    head = stream.read(_SIZE.size)
    body = stream.read(_SIZE.unpack(head)[0]) if len(head) == _SIZE.size else b""
    if not body:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        return dict(found)


class Beside:
    """A module run as a process of its own, which calls `serve_questions`; it starts at the first question."""

    def __init__(self, module: str, *words: str) -> None:
        self._command = [sys.executable, "-m", module, *words]
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._closed = threading.Lock(), False

    def ask(self, **arrays: np.ndarray) -> Arrays:
        """Return the answer; `RunError` when the process fails, which the next question starts anew, or is closed."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, arrays)
            found = _receive(process.stdout)
        except (OSError, ValueError):  # it has ended
            found = None
        if found is None:
            process.kill()
            raise RunError(f"The process beside ended with status {process.wait()}.")
        if ERROR in found:
            raise RunError(str(found[ERROR]))
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise RunError("The process beside is closed.")
            if self._process is None or self._process.poll() is not None:
                # A session of its own: Ctrl-C is for the server, which then closes this one.
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            return self._process

    def close(self) -> None:
        """End the process at once, in the middle of an answer too."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()


def serve_questions(begin: Callable[[], Callable[..., Arrays]]) -> None:
    """Answer questions of standard input with what `begin` returns, until there are no more; an error is told as one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed is no answer
    answer = None
    while (question := _receive(questions)) is not None:
        try:
            answer = answer or begin()
            found = answer(**question)
        except WinnowError as error:
            found = {ERROR: np.array(f"{error.message} {error.remedy}".strip())}
        except Exception as error:
            found = {ERROR: np.array(f"{type(error).__name__}: {error}")}
        try:
            _send(answers, found)
        except BrokenPipeError:
            return
