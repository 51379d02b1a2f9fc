"""Checkpoints: one file, whole or absent, that carries its own SHA-256; safetensors, nothing pickled."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from winnow.errors import Damaged
from winnow.files import replacing
from winnow.models.registry import write_tensors


def write_checkpoint(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Writes tensors and JSON values atomically, with the SHA-256 of both in the file's header."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(about)
    with replacing(path) as temporary:
        # One entry: safetensors writes several in an order that differs from process to process.
        write_tensors(plain, temporary, {"winnow": json.dumps({"about": text, "sha256": _hash(plain, text)})})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_checkpoint` wrote; `Damaged` when a byte of it has changed."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("winnow", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        if header.get("sha256") != _hash(tensors, header.get("about", "")):
            raise ValueError("its SHA-256 is not the one recorded when it was written")
        return tensors, json.loads(header["about"])
    except (SafetensorError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise Damaged(f"The checkpoint {path} is damaged ({error}).", "Train again, without --resume.") from error


def _hash(tensors: dict[str, Tensor], text: str) -> str:
    digest = sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tensors_of(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The weights of a model and the state of its optimiser, by flat names."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
    return tensors


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer) -> None:
    """Puts what `tensors_of` gave back into a model and a fresh optimiser of the same shape."""
    restore_model(tensors, model)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        kind, _, rest = full_name.partition(".")
        if kind == "optimizer":
            number, _, name = rest.partition(".")
            like = parameters[int(number)]
            # The fused optimiser walks memory, so its state must lie in the same order as the weights.
            ordered = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(number), {})[name] = ordered
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_model(tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Puts the weights of a checkpoint back into a model of the same shape."""
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )
