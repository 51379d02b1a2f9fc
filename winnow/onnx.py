"""The one way to onnxruntime: a session for a file or its bytes. `winnow/__init__.py` has turned its telemetry off."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.errors import MissingExtra, ModelError, in_one_line

OPSET = 18
MOST_BYTES = 2_000_000_000  # an ONNX file is one protocol buffer, of 2 GiB at most
TOLERANCE = 1e-3  # of what onnxruntime computes against torch; measured: 3e-5 and less (docs/benchmarks.md)


def import_onnxruntime() -> Any:
    """Import onnxruntime; `MissingExtra` when it is not installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtra("Reading an ONNX file", "runtime", "onnxruntime") from None
    onnxruntime.disable_telemetry_events()  # of one that a program had imported before it imported winnow
    return onnxruntime


def session_of(
    file: Path | bytes, *, name: str = "", remedy: str = "", cpu: bool = False, threads: int = 0, spin: bool = True
) -> Any:
    """Return an onnxruntime session of an ONNX file, or of its bytes, on CUDA where that is installed, unless `cpu`.

    `name` is that of the file the bytes come from; `threads` 0 leaves their number to onnxruntime, which has them `spin` while they
    wait for work, faster for itself and dear for others. `ModelError`, with the
    `remedy`, when the file cannot be loaded, `MissingExtra` without onnxruntime.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    options.use_deterministic_compute = cpu
    options.log_severity_level = 4  # its remarks would break the progress bar; errors are raised
    # TF32, a GPU's default, has ten bits of precision: too few for the scores that the export was checked against.
    wanted: dict[str, dict[str, str]] = {"CUDAExecutionProvider": {"use_tf32": "0"}, "CPUExecutionProvider": {}}
    known = ["CPUExecutionProvider"] if cpu else onnxruntime.get_available_providers()
    providers = [(provider, given) for provider, given in wanted.items() if provider in known]
    content, shown = (file, name) if isinstance(file, bytes) else (str(file), str(file))
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own
        raise ModelError(f"{shown} cannot be loaded as an ONNX file ({in_one_line(error)}).", remedy) from error


def no_more() -> Any:
    """Return run options with which a session computes only what the outputs asked for need."""
    options = import_onnxruntime().RunOptions()
    options.only_execute_path_to_fetches = True
    return options


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the reports of torch's exporter on every stage and the deprecation warnings of the libraries below it."""
    before = logging.root.manager.disable
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
