"""The processes that train one network together: what they tell one another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from winnow import torchrun
from winnow.errors import OptionError, RunError, TrainingError, in_one_line

PATIENCE = timedelta(minutes=60)
"""How long one waits for another: it may read a large background. One that has ended is noticed at once."""

GATHERING = timedelta(minutes=5)
"""How long one waits at the beginning, until all have started."""
LINGER = timedelta(seconds=10)
"""How long the others wait after an error until the first has ended."""

Kept = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and JSON values, as a checkpoint holds them."""
Found = TypeVar("Found", Kept, Kept | None)


class Processes(NamedTuple):
    """How many processes there are and which of them this is. A single one does all without communication.

    Every method is called by all of them at the same place; each raises `TrainingError` when another has ended or is stuck.
    """

    size: int = 1
    rank: int = 0

    @property
    def is_first(self) -> bool:
        """Return whether this is the process that writes and prints."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Return what this process computes on: each its own GPU; `OptionError` where there are too few, and for other devices."""
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda" or device.index is not None:
            raise OptionError(
                f"--device {device} is one device, and {self.size} processes were started.", "Use --device cuda or cpu."
            )
        own = torch.device("cuda", torchrun.local_rank())
        if (own.index or 0) >= torch.cuda.device_count():
            raise OptionError(
                f"{torchrun.on_this_machine()} processes were started on a machine with {torch.cuda.device_count()} GPUs.",
                "Start one a GPU (--nproc-per-node gpu), or use --device cpu.",
            )
        torch.cuda.set_device(own)
        return own

    def wait(self) -> None:
        """Go on when all have come here."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """Return whether any process says so; nobody goes on before all have said something."""
        if self.size == 1:
            return flag
        asked = torch.tensor([int(flag)])
        with _answered():
            dist.all_reduce(asked, dist.ReduceOp.MAX)
        return bool(asked)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of tensors of which, at each place, all but one process have zeros: the same to the bit whatever its order."""
        if self.size > 1:
            with _answered():
                dist.all_reduce(values)
        return values

    def sum_in_pairs(self, values: Tensor) -> Tensor:
        """Return ((v0 + v1) + (v2 + v3)) + ... of the processes' v: pairs, then pairs of pairs, as one process adds up 2, 4, 8, ... pieces.

        By recursive doubling (Thakur, Rabenseifner & Gropp 2005, section 4.3): each exchanges its sum with that of process
        number rank XOR 1, 2, 4, .... The two halves of a pair add in different order, which is the same number in
        floating point. `values` is overwritten; there must be a power of two processes.
        """
        distance, others = 1, torch.empty_like(values) if self.size > 1 else values
        while distance < self.size:
            with _answered():
                both = [
                    dist.P2POp(dist.isend, values, self.rank ^ distance),
                    dist.P2POp(dist.irecv, others, self.rank ^ distance),
                ]
                for work in dist.batch_isend_irecv(both):
                    work.wait()
            values += others
            distance *= 2
        return values

    def from_first(self, make: Callable[[], Found]) -> Found:
        """Return what `make` returns in the first process, the only one that calls it; tensors arrive on the processor."""
        if self.size == 1:
            return make()
        if self.is_first:
            found = make()
            message = _packed(found)
            with _answered():
                dist.broadcast(torch.tensor([len(message)]), 0)
                dist.broadcast(message, 0)
            return found
        length = torch.zeros(1, dtype=torch.int64)
        with _answered():
            dist.broadcast(length, 0)
            message = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(message, 0)
        return _unpacked(message)  # type: ignore[return-value]


def joined() -> Processes:
    """Return the processes that torchrun has started, connected with one another, or the one that there is without it.

    CPU tensors travel by gloo, those of GPUs by NCCL. `RunError` when they do not find one another.
    """
    rank, size = torchrun.rank(), torchrun.processes()
    if size > 1 and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group(backend, store=_store(GATHERING), rank=rank, world_size=size, timeout=PATIENCE)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise RunError(
                f"The processes that torchrun started do not find one another ({in_one_line(error)}).",
                "Name the network interface in GLOO_SOCKET_IFNAME, and on several machines give torchrun --rdzv-endpoint.",
            ) from error
    return Processes(size, rank)


def tells() -> bool:
    """Return whether this process is the first that asks so, and so the one that says why all end.

    After Ctrl-C torchrun may have taken its store away; all have stopped at the same step then, and the first process tells.
    """
    try:
        number = _store(LINGER).add("asked", 1)
        if number == torchrun.processes():
            _store(LINGER).set("all", "")
        return bool(number == 1)
    except (RuntimeError, ValueError, KeyError):  # who keeps the store has ended: torchrun, or the first process
        return not (_agent_keeps_store() and torchrun.rank())


def leave() -> None:
    """Leave the others before this process ends with an error; the first one goes first, with its run folder in order.

    For torchrun ends all as soon as one has ended. Where the first keeps the store it waits until all have asked `tells`.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
    with suppress(RuntimeError, ValueError, KeyError):
        if torchrun.rank():
            _store(LINGER).wait(["left"], LINGER)
        else:
            _store(LINGER).set("left", "")
            if not _agent_keeps_store():
                _store(LINGER).wait(["all"], LINGER)


@cache
def _store(patience: timedelta) -> dist.Store:
    """Return where the processes leave each other notes. torchrun's agent keeps it; without one the first process does.

    A start after a failure (torchrun --max-restarts) must not read the notes of the one before it.
    """
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=torchrun.rank() == 0 and not _agent_keeps_store(),
        timeout=patience,
        wait_for_workers=False,
        multi_tenant=True,
    )
    return dist.PrefixStore(f"winnow/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _agent_keeps_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


@contextmanager
def _answered() -> Iterator[None]:
    """Say in one sentence that another process does not answer."""
    try:
        yield
    except RuntimeError as error:  # what gloo and NCCL raise
        raise TrainingError(
            "Another process of this training has ended or does not answer.",
            "It says why itself, unless it was killed. Go on with the same command and --resume.",
        ) from error


def _packed(kept: Kept | None) -> Tensor:
    """Return bytes of tensors and JSON values, none for None; nothing is pickled."""
    if kept is None:
        return torch.empty(0, dtype=torch.uint8)
    tensors, about = kept
    plain = {f"tensor.{name}": value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    return torch.frombuffer(bytearray(safetensors.torch.save({**plain, "about": text})), dtype=torch.uint8)


def _unpacked(message: Tensor) -> Kept | None:
    if not len(message):
        return None
    tensors = safetensors.torch.load(message.numpy().tobytes())
    about = json.loads(tensors.pop("about").numpy().tobytes())
    return {name.removeprefix("tensor."): value for name, value in tensors.items()}, about
