"""The run's network, what stands beside it, and its detector, as they are on disk.

No file may name code to run: a part of the user's own, 'module:Class', is loaded only when he named it in this call, as an
option or by --trust.
"""

from __future__ import annotations

from winnow.detect.detector import Detector
from winnow.detect.scorers import own_scorer
from winnow.models.contract import Model
from winnow.models.linear import Linear
from winnow.models.registry import find_model, load_model
from winnow.run import RunFolder


def load_network(run: RunFolder) -> Model:
    """The trained or pretrained network."""
    name = run.options.model.model
    return load_model(run.folder("train"), own=find_model(name) if name in run.trusted else None)


def load_companions(run: RunFolder) -> dict[str, Model]:
    """The linear autoencoders beside the network, by the name of the measure each gives; a pretrained one has none."""
    folders = [run.folder("train") / name for name in ("linear", "background")]
    return {path.name: load_model(path, own=Linear) for path in folders if path.exists()}


def load_detector(run: RunFolder) -> Detector:
    """The fitted scorer with its threshold."""
    name = run.options.detect.scorer
    return Detector.load(run.folder("calibrate"), own=own_scorer(name) if name in run.trusted else None)
