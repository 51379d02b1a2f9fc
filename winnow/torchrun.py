"""What torchrun tells each process that it starts, by environment variables; without it there is one process."""

from __future__ import annotations

import os


def is_launched() -> bool:
    """Return whether torchrun, or another launcher that sets the same variables, has started this process."""
    return _number("RANK", -1) >= 0 and _number("WORLD_SIZE", 0) >= 1


def processes() -> int:
    """Return how many processes were started, on all machines."""
    return _number("WORLD_SIZE", 1) if is_launched() else 1


def rank() -> int:
    """Return the number of this process among them, from 0; the first alone writes and prints."""
    return _number("RANK", 0) if is_launched() else 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, from 0."""
    return _number("LOCAL_RANK", 0) if is_launched() else 0


def on_this_machine() -> int:
    """Return how many of the processes share this machine."""
    return _number("LOCAL_WORLD_SIZE", processes()) if is_launched() else 1


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, "")
    return int(given) if given.isdecimal() else default
