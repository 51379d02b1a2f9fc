"""The run's networks and detectors as they are on disk, and which of them a decision needs.

No file may name code to run: a part of the user's own, 'module:Class', is loaded only when he named it in this call, as an
option or by --trust.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.scorers import make_scorer, own_scorer
from winnow.errors import OptionError
from winnow.learn.encodings import Encodings
from winnow.learn.feed import PixelSource
from winnow.models.contract import Model
from winnow.models.fast import Fast
from winnow.models.linear import Linear
from winnow.models.registry import find_model, load_model
from winnow.models.texture import Texture
from winnow.run import RunFolder
from winnow.select.selectors import find_selector

COMPANIONS: dict[str, type[Model]] = {"linear": Linear, "background": Linear, "texture": Texture}
FIND: dict[str, Callable[[str], object]] = {"model": find_model, "scorer": make_scorer, "method": find_selector}
REMEDIES = {
    "latent": "Only a trained autoencoder has one; a pretrained network decides by its codes anyway.",
    "fast": "Train it: winnow train --run RUN --fast 1000, then encode and calibrate.",
}


def load_network(run: RunFolder) -> Model:
    """The trained or pretrained network."""
    name = run.options.model.model
    return load_model(run.folder("train"), own=find_model(name) if name in run.trusted else None)


def load_companions(run: RunFolder) -> dict[str, Model]:
    """The linear autoencoders beside the network, by the name of the measure each gives; a pretrained one has none."""
    folders = {run.folder("train") / name: kind for name, kind in COMPANIONS.items()}
    return {path.name: load_model(path, own=kind) for path, kind in folders.items() if path.exists()}


def load_detector(run: RunFolder, decision: str = "reconstruction") -> Detector:
    """The fitted scorer of a decision with its threshold."""
    name = run.options.detect.scorer
    return Detector.load(folder_of(run, "calibrate", decision), own=own_scorer(name) if name in run.trusted else None)


def check_parts(run: RunFolder, *flags: str) -> None:
    """`OptionError` when the run's 'model', 'scorer' or 'method' is not known, or is one's own that was not named in this call."""
    options = run.options
    names = {"model": options.model.model, "scorer": options.detect.scorer, "method": options.select.method}
    for flag in flags:
        if ":" in names[flag] and names[flag] not in run.trusted:
            raise OptionError(
                f"{run.path} has the {flag} '{names[flag]}', which is not one of Winnow's.",
                f"If you trust it, name it again: --{flag} {names[flag]}",
            )
        FIND[flag](names[flag])


def folder_of(run: RunFolder, step: str, decision: str) -> Path:
    """Where a step keeps what belongs to a decision: its own folder, below it for the others than 'reconstruction'."""
    return run.folder(step) if decision == "reconstruction" else run.folder(step) / decision


def decisions(run: RunFolder) -> tuple[str, ...]:
    """The decisions that the run's networks allow, 'reconstruction' first."""
    trained = run.result("train")
    fast = ("fast",) if (run.folder("train") / "fast" / "model.json").exists() else ()
    return ("reconstruction", *(("latent",) if trained.get("trained") else ()), *fast)


@dataclass(frozen=True)
class Way:
    """From pixels to encodings, with no more work than a decision needs; `maps`: its model says where a picture is damaged."""

    model: Model
    beside: dict[str, Model]
    decode: bool
    maps: bool

    def encode(self, source: PixelSource | np.ndarray, rows: np.ndarray, device: str) -> Encodings:
        """Encodings of some rows of a pool or an array."""
        from winnow.learn.encode import encode

        return encode(self.model, source, rows, beside=self.beside, decode=self.decode, device=device, quiet=True)


def check_decision(run: RunFolder, decision: str) -> None:
    """`OptionError` when the run does not have the decision, `RunError` when it is not calibrated."""
    run.require("calibrate")
    if decision not in decisions(run):
        raise OptionError(
            f"{run.path} has no decision '{decision}', only {', '.join(decisions(run))}.",
            REMEDIES.get(decision, "Choose one of them."),
        )


def load_way(run: RunFolder, decision: str, reads: Collection[str] = ()) -> Way:
    """What a decision of `decisions` runs; beside the network only the companions whose measures are read."""
    if decision == "fast":
        return Way(load_model(run.folder("train") / "fast", own=Fast), {}, decode=False, maps=True)
    whole, model = decision == "reconstruction", load_network(run)
    beside = {name: other for name, other in load_companions(run).items() if name in reads} if whole else {}
    return Way(model, beside, decode=whole, maps=whole and type(model).heat is not Model.heat)
