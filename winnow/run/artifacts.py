"""The run's networks, detectors and classifier as they are on disk, and which of them a mode needs.

No file may name code to run: a part of the user's own, 'module:Class', is loaded only when he named it in this call, as an
option or by --trust. What needs torch loads it when it is called: `select` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.detect.detector import Detector
from winnow.detect.registry import candidates, make_scorer, own_names
from winnow.embeddings import Embeddings
from winnow.errors import OptionError, RunError
from winnow.files import quoted, sha256
from winnow.plugins import installed, load
from winnow.results import Classified, Encoded, Trained
from winnow.run.cache import Cache
from winnow.run.current import labels_have_changed, sum_of_detector
from winnow.run.folder import RunFolder
from winnow.run.recalibration import in_force
from winnow.select.selectors import find_selector

if TYPE_CHECKING:
    from winnow.learn.feed import PixelSource
    from winnow.models.contract import Model

AUXILIARY = ("linear", "background", "texture")  # folders of the models fitted beside the network


def _find_model(name: str) -> object:
    from winnow.models.registry import find_model

    return find_model(name)


FIND: dict[str, Callable[[str], object]] = {
    "model": _find_model,
    "scorer": lambda text: [make_scorer(name) for name in candidates(text)],
    "method": find_selector,
}
REMEDIES = {
    "encoder": "Only a trained autoencoder has one; a pretrained network decides by its embeddings anyway.",
    "fast": "Train it: winnow train --run RUN --fast 1000, then encode and calibrate.",
}


def load_network(run: RunFolder) -> Model:
    """Return the trained or frozen network."""
    from winnow.models.registry import MODELS, find_model, load_model

    name = run.options.model.model
    own = find_model(name) if name not in MODELS and is_trusted(run, name) else None
    return load_model(run.folder("train"), own=own)


def load_embedder(run: RunFolder) -> Model:
    """Return what computed the run's embeddings: onnxruntime, where `encode` chose it and the device is a CPU, else its network."""
    from winnow.learn.device import choose_device
    from winnow.learn.exported import FILE, Exported

    device = choose_device(run.options.train.device)
    if run.result(Encoded).engine != "onnxruntime" or device.type != "cpu":
        return load_network(run)
    return Exported(run.verified("encode", run.folder("encode") / FILE))


def load_auxiliary(run: RunFolder) -> dict[str, Model]:
    """Return the linear autoencoders beside the network, by the name of the loss each adds; a frozen network has none."""
    from winnow.models.registry import load_model

    folders = [run.folder("train") / name for name in AUXILIARY]
    return {folder.name: load_model(folder) for folder in folders if folder.exists()}


def load_detector(run: RunFolder, mode: str = "") -> Detector:
    """Return the fitted scorer of a mode, by default the run's, with its threshold: that of `winnow recalibrate` where one is in force."""
    mode = mode or run.options.score.mode
    detector, later = Detector.load(folder_of(run, "calibrate", mode), own=own_scorers(run)), in_force(run, mode)
    return detector if later is None else later.applied(detector)


def own_scorers(run: RunFolder) -> set[type]:
    """Return the classes of the user's own scorers that this call trusts."""
    return {load(name, "scorer") for name in own_names(run.options.detect.scorer) if is_trusted(run, name)}


def load_embeddings(run: RunFolder, mode: str = "", *, cells: bool = False) -> Embeddings:
    """Return the embeddings and losses of the pool that the detector of a mode, by default the run's, scores; those of places
    (`cells`) only where they are asked for."""
    is_fast = (mode or run.options.score.mode) == "fast"
    return Embeddings.load(folder_of(run, "encode", "fast" if is_fast else "full"), cells=cells)


def own_scores(run: RunFolder, detector: Detector, count: int, cache: Cache) -> np.ndarray:
    """Return the scores of the pool's `count` embeddings by the detector of the run's mode, held-out ones where it has them.

    Embeddings of places are read only where it has not. Scores by a scorer of the user's own, whose code may change, are not kept.
    """

    def made() -> np.ndarray:
        own = load_embeddings(run)
        return detector.score_own(load_embeddings(run, cells=True) if detector.without_score(own).any() else own)

    mode, spec = run.options.score.mode, detector.scorer.spec()
    if own_names(spec):
        return made()
    embeddings = folder_of(run, "encode", "fast" if mode == "fast" else "full") / "embeddings.json"
    key = [mode, spec, sha256(embeddings), sum_of_detector(run, mode)]
    return cache.get("scores", key, made, lambda found: found.shape == (count,) and found.dtype == np.float64)


def load_classifier(run: RunFolder) -> Classifier:
    """Return the run's classifier; `RunError` when there is none, or it was learnt from other embeddings or labels than those of now."""
    run.require("classify")
    if labels_have_changed(run):
        files = run.result(Classified).label_files
        given = f" --labels {' '.join(files)}" if files else ""
        raise RunError(
            f"The labels of {run.path} have changed since its classifier learnt from them.",
            f"Run it again: winnow classify --run {quoted(run.path)}{given}",
        )
    classifier = Classifier.load(run.folder("classify"))
    if run.about("classify").get("vectors_sha256") != run.sums("encode").get("vectors.npy"):
        raise RunError(
            f"The classifier of {run.path} was learnt from other embeddings.",
            f"Run it again: winnow classify --run {quoted(run.path)}",
        )
    return classifier


def network_of(run: RunFolder, classifier: Classifier) -> Model | None:
    """Return the network whose embeddings the classifier reads, where it is not that of the run's mode.

    That is a tuned one, or, because the fast mode has one of its own, the run's.
    """
    return load_network(run) if classifier.network is None and run.options.score.mode == "fast" else classifier.network


def check_parts(run: RunFolder, *flags: str) -> None:
    """Raise `OptionError` when the run's 'model', 'scorer' or 'method' is not known, or is one's own that was not named in this call.

    So does a choice of scorers by synthetic defects in a run that looks for none.
    """
    options = run.options
    names = {"model": options.model.model, "scorer": options.detect.scorer, "method": options.select.method}
    for flag in flags:
        own = own_names(names[flag]) if flag == "scorer" else [name for name in (names[flag],) if ":" in name]
        if not all(is_trusted(run, name) for name in own):
            raise OptionError(
                f"{run.path} has the {flag} '{names[flag]}', which is not one of Winnow's.",
                f"If you trust it, name it again: --{flag} {names[flag]}",
            )
        FIND[flag](names[flag])
        if flag == "scorer" and len(candidates(names[flag])) > 1 and not options.ingest.cuts:
            raise OptionError(
                f"'{names[flag]}' is decided by damaged copies of the good pictures, and {run.path} looks for no damage.",
                f"Name one scorer, such as --scorer {candidates(names[flag])[0]}, or give --tiles.",
            )


def is_trusted(run: RunFolder, name: str) -> bool:
    """Return whether a part that is not Winnow's may be loaded: this call named it, or an installed package offers it.

    Named is also what stands within a scorer that was, such as 'fisher(my_module:MyScorer, knn)'.
    """
    scorer = run.options.detect.scorer
    return name in run.trusted or (scorer in run.trusted and name in own_names(scorer)) or name in installed()


def folder_of(run: RunFolder, step: str, mode: str) -> Path:
    """Return where a step keeps what belongs to a mode: its own folder for the full one, below it for the others."""
    return of_decision(run.folder(step), mode)


def of_decision(folder: Path, mode: str) -> Path:
    """Return where in a step's folder, the finished or the staged one, what belongs to a mode is."""
    return folder if mode == "full" else folder / mode


def modes(run: RunFolder) -> tuple[str, ...]:
    """Return the modes that the run's networks allow, 'full' first."""
    fast = ("fast",) if (run.folder("train") / "fast" / "model.json").exists() else ()
    return ("full", *(("encoder",) if run.result(Trained).training else ()), *fast)


@dataclass(frozen=True)
class ModeEncoder:
    """From pixels to embeddings, with no more work than a mode needs; `maps`: its model says where a picture is damaged."""

    model: Model
    auxiliary: dict[str, Model]
    decode: bool
    maps: bool

    def encode(self, source: PixelSource | np.ndarray, rows: np.ndarray, device: str) -> Embeddings:
        """Embeddings of some rows of a pool or an array."""
        from winnow.learn.encode import encode

        return encode(self.model, source, rows, auxiliary=self.auxiliary, decode=self.decode, device=device, quiet=True)


def check_mode(run: RunFolder, mode: str, step: str = "calibrate") -> None:
    """Raise `OptionError` when the run does not have the mode, `RunError` when it has not got so far as the step."""
    run.require(step)
    if mode not in modes(run):
        raise OptionError(
            f"{run.path} has no mode '{mode}', only {', '.join(modes(run))}.",
            REMEDIES.get(mode, "Choose one of them."),
        )


def load_encoder(run: RunFolder, mode: str, reads: Collection[str] = (), *, in_torch: bool = False) -> ModeEncoder:
    """Return what a mode of `modes` runs; with only those auxiliary models whose losses are read, and the network `in_torch`
    whatever computed the embeddings."""
    from winnow.models.contract import Model
    from winnow.models.registry import load_model

    if mode == "fast":
        return ModeEncoder(load_model(run.folder("train") / "fast"), {}, decode=False, maps=True)
    whole, model = mode == "full", load_network(run) if in_torch else load_embedder(run)
    auxiliary = {name: other for name, other in load_auxiliary(run).items() if name in reads} if whole else {}
    return ModeEncoder(model, auxiliary, decode=whole, maps=whole and type(model).anomaly_map is not Model.anomaly_map)


def maps_by(encoder: ModeEncoder, detector: Detector, device: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what draws the anomaly maps (n, rows, columns) of pixels (n, h, w, c) uint8, None of a mode without any.

    They are those of the scorer, where it compares places, or of the network.
    """
    draw = getattr(detector.scorer, "anomaly_map", None)
    if draw is not None:
        return lambda pixels: draw(encoder.encode(pixels, np.arange(len(pixels)), device))
    if not encoder.maps:
        return None
    from winnow.learn.encode import anomaly_maps

    return partial(anomaly_maps, encoder.model)
