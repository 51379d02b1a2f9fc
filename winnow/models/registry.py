"""The registry of models, and how a trained one is saved: model.safetensors and model.json, nothing pickled."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from winnow.errors import ModelError, OptionError
from winnow.files import as_written, read_sealed, replacing, write_sealed
from winnow.models.contract import Model
from winnow.options import ModelOptions
from winnow.plugins import find

# Names to classes, or to "module:Class" where the module is heavy to import.
MODELS: dict[str, type[Model] | str] = {
    "autoencoder": "winnow.models.autoencoder:AutoEncoder",
    "pretrained": "winnow.models.pretrained:Pretrained",
    "dense": "winnow.models.dense:Dense",
}
# Models that Winnow fits in addition to the chosen one: loaded by these names, not offered to `--model`.
AUXILIARY: dict[str, type[Model] | str] = {
    "linear": "winnow.models.auxiliary:Linear",
    "texture": "winnow.models.auxiliary:Texture",
    "fast": "winnow.models.fast:Fast",
}


MEASURED = ("autoencoder", *AUXILIARY)
"""Those whose shapes are known before memory is taken for them."""


def find_model(name: str) -> type[Model]:
    """Return the class of a registered name or of your own "module:Class"; `OptionError` when there is none."""
    found = find("model", name, MODELS)
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise OptionError(f"'{name}' is not a model.", "Make it a class that extends winnow.models.contract.Model.")
    return found


def build(options: ModelOptions, size: Sequence[int], channels: int, seed: int = 0) -> Model:
    """Return a new model for pictures of `size` (h, w), its random weights drawn from `seed`; torch's own state is left alone.

    A class of your own is called with `size` and `channels`, or, where it has one, through its
    `from_options(size, channels, options)`.
    """
    found = find_model(options.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(found, "from_options"):
            return found.from_options(size, channels, options)
        return found(size=tuple(size), channels=channels)


def save_model(model: Model, folder: Path, **about: Any) -> None:
    """Write model.safetensors and, last, model.json: class, arguments, `about` (JSON values), SHA-256 of both."""
    weights = folder / "model.safetensors"
    (folder / "model.json").unlink(missing_ok=True)
    with replacing(weights) as temporary:
        write_tensors(
            {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, temporary
        )
    content = {
        "class": _name_of(type(model)),
        "config": model.config(),
        "size": list(model.size),
        "channels": model.channels,
        "parameters": sum(value.numel() for value in model.parameters()),
        "about": about,
    }
    write_sealed(folder / "model.json", content, [weights.name])


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; `OSError`, as for any other file, when the disk is full."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:  # it holds the number of the system's error in its text alone
        code = re.search(r"(?:code:|os error) (\d+)", str(error))  # the wording differs by version
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number), os.fspath(path)) from error


def load_model(folder: Path, own: type[Model] | None = None) -> Model:
    """Load the model of a folder, in evaluation mode, on the CPU. No code from the folder is run and no name in it imported.

    A model of a class outside `MODELS` and `AUXILIARY` needs that class as `own`. Raises `RunError` when there is no
    model, `Damaged` when a byte of it has changed, `ModelError` when it names a class that is not known or not given.
    """
    content = describe_model(folder)
    with as_written(folder / "model.json", "Train again: winnow train --run RUN"):
        name, size = str(content["class"]), tuple(int(side) for side in content["size"])
        arguments = {"size": size, "channels": int(content["channels"]), **content["config"]}
    if own is not None and name == _name_of(own):
        found = own
    elif name in MODELS or name in AUXILIARY:
        found = find("model", name, MODELS | AUXILIARY)
    else:
        raise ModelError(
            f"The model in {folder} is of the class '{name}', which is not one of Winnow's.",
            f"If you trust it: --trust {name}, or in Python load_model(folder, own=YourClass).",
        )
    weights = folder / "model.safetensors"
    with as_written(folder / "model.json", "Train again: winnow train --run RUN"), torch.random.fork_rng(devices=[]):
        if name in MEASURED:
            _check_shapes(found, arguments, weights)
        model = found(**arguments)
    try:
        model.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The weights in {folder} do not fit the class '{name}' of this version.",
            "Use the version of Winnow or of your class that wrote them, or train again.",
        ) from error
    return model.eval()


def _check_shapes(found: type[Model], arguments: dict[str, Any], weights: Path) -> None:
    """Raise `ModelError` unless the weights are as large as such a model's, before it takes memory: a file may name any size."""
    with torch.device("meta"):
        wanted = {name: list(value.shape) for name, value in found(**arguments).state_dict().items()}
    with safe_open(weights, "pt") as file:
        held = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (it is no dict)
    if held != wanted:
        raise ModelError(
            f"The weights in {weights.parent} do not fit the class '{_name_of(found)}' of this version.",
            "Use the version of Winnow or of your class that wrote them, or train again.",
        )


def describe_model(folder: Path) -> dict[str, Any]:
    """Read model.json (class, config, size, channels, parameters, about, sha256), the weights checked.

    Raises `RunError` when there is no model, `Damaged` when a byte of it has changed.
    """
    return read_sealed(folder / "model.json", "model", "Run: winnow train --run RUN")


def _name_of(found: type[Model]) -> str:
    path = f"{found.__module__}:{found.__qualname__}"
    return next((name for name, entry in (MODELS | AUXILIARY).items() if entry in (found, path)), path)
