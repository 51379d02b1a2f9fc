"""Functions for the processes of a runner that are killed at work; in a module that loads nothing, as each process loads it."""

import os
import signal
from pathlib import Path


def die_once(folder: str, number: int) -> int:
    """Return the number; kill this process at 3, the first time."""
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number
