"""A frozen network as onnxruntime runs it on a CPU: torch's numbers in less than half of its time (docs/benchmarks.md)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from winnow.embeddings import spread
from winnow.errors import MissingExtra, ModelError, in_one_line
from winnow.files import replacing
from winnow.learn.device import choose_device
from winnow.learn.feed import PixelSource, to_images
from winnow.models.contract import Model, ModelOutput
from winnow.models.pretrained import Pretrained
from winnow.onnx import MOST_BYTES, OPSET, TOLERANCE, import_onnxruntime, quiet, session_of

FILE = "network.onnx"
INPUT = "images"
SAMPLE = 4  # pictures of the pool that the check looks at, beside noise
MOST_THREADS = 16  # each holds what the network makes of one picture
REMEDY = "Encode again: winnow encode --run RUN"


class Exported(Model):
    """A file of `export_network`; it runs each picture by itself, so that its numbers depend on no other one.

    As many pictures at once as torch has threads, each by one of them: the numbers do not depend on those either. Raises
    `ModelError` for a file that cannot be loaded, `MissingExtra` without onnxruntime.
    """

    frozen = True

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._session = session_of(file, remedy=REMEDY, cpu=True, threads=1)
        self._names = [one.name for one in self._session.get_outputs()]
        _, self.channels, *size = self._session.get_inputs()[0].shape
        self.size = (size[0], size[1])

    def config(self) -> dict[str, Any]:
        """Return no arguments: it is never saved, the network that it was made of is."""
        return {}

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return what the network gives for `images` (n, channels, h, w) in [0, 1]; there is nothing to decode or to sample."""
        pictures = np.ascontiguousarray(images.cpu().numpy())[:, None]
        if not len(pictures):  # the widths of no rows
            empty = self._run(np.zeros((1, self.channels, *self.size), np.float32))
            return self._output([values[:0] for values in empty])
        workers = min(torch.get_num_threads(), len(pictures), MOST_THREADS)
        if workers == 1:
            found = [self._run(picture) for picture in pictures]
        else:
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(self._run, pictures))
        return self._output([np.concatenate(values) for values in zip(*found, strict=True)])

    def _run(self, picture: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = self._session.run(self._names, {INPUT: picture})
        return found

    def _output(self, values: list[np.ndarray]) -> ModelOutput:
        return ModelOutput(**dict(zip(self._names, map(torch.from_numpy, values), strict=True)))


def fastest(network: Model, source: PixelSource, rows: np.ndarray, device: str, file: Path) -> tuple[Model, str]:
    """Return what computes the numbers of `network` fastest, and, where that is torch on a CPU, why.

    On a CPU a frozen network is written to `file` and run by onnxruntime, if that gives the same numbers for some of the
    `rows`; any other network, and any device but a CPU, is torch's, without a word. Decided by the numbers, never by timing.
    """
    if not isinstance(network, Pretrained) or choose_device(device).type != "cpu" or not len(rows):
        return network, ""
    try:
        export_network(network, source.pixels(rows[spread(len(rows), SAMPLE)]), file)
    except (ModelError, MissingExtra) as error:
        return network, error.message
    return Exported(file), ""


def export_network(network: Model, pixels: np.ndarray, to: Path) -> None:
    """Write a network to the ONNX file `to`, only if onnxruntime computes with it what torch does for `pixels` (n, h, w, c) uint8.

    The file takes one picture (1, channels, height, width) in [0, 1], and its outputs are those of the `ModelOutput` without
    decoder. Raises `MissingExtra` without onnx or onnxruntime, `ModelError` for a network that cannot be written, one too
    large for an ONNX file, and other numbers.
    """
    import_onnxruntime()
    try:
        import onnx  # noqa: F401 (torch needs it)
    except ModuleNotFoundError:
        raise MissingExtra("Running a frozen network by onnxruntime", "learn", "onnx") from None
    if sum(value.nbytes for value in network.state_dict().values()) > MOST_BYTES:
        raise ModelError("The network is too large for an ONNX file.")
    with replacing(to) as temporary:
        write_network(network, temporary)
        _check(Exported(temporary), network, pixels)


def write_network(network: Model, to: Path, pictures: int = 1) -> None:
    """Write a network to an ONNX file that takes so many pictures at once; `ModelError` when torch cannot write it."""
    example = torch.zeros(pictures, network.channels, *network.size)
    try:
        with torch.no_grad(), quiet():
            names = [name for name, value in network(example, decode=False)._asdict().items() if value is not None]
            # By tracing, which takes a second; the newer exporter takes fifteen, more than many a pool does.
            torch.onnx.export(
                _Tensors(network),
                (example,),
                str(to),
                dynamo=False,
                input_names=[INPUT],
                output_names=names,
                opset_version=OPSET,
            )
    except Exception as error:  # the exporter raises classes of its own
        raise ModelError(f"torch cannot write the network as ONNX ({in_one_line(error)}).") from error


class _Tensors(nn.Module):
    """A network whose outputs are plain tensors."""

    def __init__(self, network: Model) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(value for value in self.network(images, decode=False) if value is not None)


def _check(exported: Exported, network: Model, pixels: np.ndarray) -> None:
    """Raise `ModelError` where the two differ, relatively to a value or to the deviation of all, on pictures or on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *pixels.shape[1:]), np.uint8)
    images = to_images(torch.from_numpy(np.concatenate([pixels, noise])))
    with torch.inference_mode():
        given = {name: value for name, value in exported(images)._asdict().items() if value is not None}
        own = {name: getattr(network(images, decode=False), name) for name in given}
    for name, value in own.items():
        least = max(float(value.std()), 1e-9)
        difference = ((given[name] - value).abs() / value.abs().clamp_min(least)).max()
        if not difference <= TOLERANCE:
            raise ModelError(f"onnxruntime computes other {name} ({difference:.0e}, where {TOLERANCE:.0e} is allowed).")
