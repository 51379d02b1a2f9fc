"""Device and number format of the network: fixed rules, so that the same machine always computes the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch

from winnow.errors import OptionError


class Arithmetic(NamedTuple):
    """Number format of the layers (weights, losses and optimiser stay float32) and the order of a picture's values."""

    dtype: torch.dtype
    channels_last: bool

    @property
    def precision(self) -> str:
        """Return the option's name for it."""
        return "bfloat16" if self.dtype == torch.bfloat16 else "float32"

    def __str__(self) -> str:
        return self.precision + (", channels last" if self.channels_last else "")


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is the first of cuda, mps, cpu that is there. `OptionError` when it is not."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"There is no device '{name}'.", "Use auto, cpu, cuda, cuda:1 or mps.") from None
    if not there.get(device.type, False):
        raise OptionError(f"The device '{name}' is not usable here.", "Use --device auto or cpu, or check its driver.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"There is no device '{name}': this machine has {torch.cuda.device_count()}.", "Use cuda:0.")
    return device


def choose_arithmetic(precision: str, device: torch.device) -> Arithmetic:
    """Return what `precision` ("auto", "float32", "bfloat16") means on a device.

    Decided by what the hardware can do, never by timing: a measured choice could differ on the next run and change its
    result. "auto" is bfloat16 on CPUs with AMX tiles and GPUs from compute capability 8.0, else float32.
    Measured ratios in docs/train.md.
    """
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            # torch reports AMX only under a private name, and not on every platform.
            fast = device.type == "cpu" and getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
        precision = "bfloat16" if fast else "float32"
    return Arithmetic(torch.bfloat16 if precision == "bfloat16" else torch.float32, device.type in ("cpu", "cuda"))


@cache
def hold_memory() -> None:
    """Make glibc keep the memory that the layers free, for the next batch.

    It returns freed blocks to the system above twice the size of the largest it has seen freed, 32 MB at most; without
    this, each batch takes its memory as new pages, which the system first has to clear: 1.6 to 2 times the time of
    encoding. Once in a process is enough.
    """
    torch.empty(30 << 20, dtype=torch.uint8)


@contextmanager
def repeatable(tf32: bool = False) -> Iterator[None]:
    """Make a GPU choose the same algorithms every time; without `tf32` its convolutions are true float32 as on a CPU."""
    flags = torch.backends.cudnn
    before = flags.deterministic, flags.benchmark, flags.allow_tf32
    flags.deterministic, flags.benchmark, flags.allow_tf32 = True, False, tf32
    try:
        yield
    finally:
        flags.deterministic, flags.benchmark, flags.allow_tf32 = before


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch compute on a CPU with so many threads; 0: as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
