"""Winnow: learn from pictures nobody has labelled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from winnow.version import __version__

# Libraries that report home unless told not to before their import, whoever imports them (torch.onnx, timm): the import
# of onnxruntime alone writes a device id into the home folder and queues an event. What the user has set stays.
for _name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")

if TYPE_CHECKING:
    from winnow.api import Run
    from winnow.classify.classifier import Classifier
    from winnow.deploy.runtime import Deployed
    from winnow.detect.detector import Detector
    from winnow.embeddings import Embeddings
    from winnow.select.choose import choose

_PUBLIC = {
    "Run": "winnow.api",
    "Classifier": "winnow.classify.classifier",
    "Deployed": "winnow.deploy.runtime",
    "Detector": "winnow.detect.detector",
    "Embeddings": "winnow.embeddings",
    "choose": "winnow.select.choose",
}
__all__ = ["Classifier", "Deployed", "Detector", "Embeddings", "Run", "__version__", "choose"]


def __dir__() -> list[str]:
    """List the public names, those not loaded yet among them."""
    return __all__


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that `import winnow` costs nothing."""
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'winnow' has no attribute '{name}'")
