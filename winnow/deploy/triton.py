"""A model repository for Triton: an exported file, and the configuration by which Triton batches what comes at once.

As the documentation of Triton says (docs/user_guide/model_configuration.md, model_repository.md): a folder a model, in it config.pbtxt
and a folder a version. Shapes are without the batch, and may not be empty: outputs of one number a picture are reshaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from winnow.deploy.runtime import DIRECTIONS, INPUT, MAP, REGIONS
from winnow.detect.parts import PARTS
from winnow.errors import OptionError
from winnow.files import make_folder, replacing, write_text

WRITTEN = "# Written by winnow export"
CONFIG, MODEL, CLASSES = "config.pbtxt", "model.onnx", "classes.txt"
BATCH, DELAY = 16, 2000  # most pictures at once, and microseconds that one waits for others


def check_repository(folder: Path, name: str) -> None:
    """Raise `OptionError` where a model of somebody else's has this name in a repository, or it is no name."""
    if not name or set(name) & set("/\\") or name.startswith("."):
        raise OptionError(f"'{name}' is not the name of a model.", "Give the file another name with --to.")
    config = folder / name / CONFIG
    if (folder / name).exists() and not (config.is_file() and config.read_text(errors="replace").startswith(WRITTEN)):
        raise OptionError(
            f"{folder / name} was not written by Winnow and would be replaced.",
            "Give another folder with --triton, or the file another name with --to.",
        )


def write_repository(folder: Path, name: str, content: bytes, about: Mapping[str, Any], outputs: Sequence[str]) -> Path:
    """Write an exported file into a model repository, in the place of an earlier one, and return its folder there.

    `about` is the file's description of itself. The configuration comes last: without it Triton reads the file's own.
    """
    here = folder / name
    make_folder(here / "1", "--triton")
    if about["classes"]:
        write_text(here / CLASSES, "".join(f"{one}\n" for one in about["classes"]))
    with replacing(here / "1" / MODEL) as temporary:
        temporary.write_bytes(content)
    write_text(here / CONFIG, configuration(name, about, outputs))
    return here


def configuration(name: str, about: Mapping[str, Any], outputs: Sequence[str]) -> str:
    """Return a model's config.pbtxt."""
    side = about["size"] if about["ingest"]["patches"] else (-1, -1)
    kinds = {
        "probabilities": (f"dims: [ {len(about['classes'] or ())} ]", f'label_filename: "{CLASSES}"'),
        "score": ("dims: [ 1 ]", "reshape: { shape: [ ] }"),
        "p_value": ("dims: [ 1 ]", "reshape: { shape: [ ] }"),
        REGIONS: (f"dims: [ {len(PARTS)} ]",),
        DIRECTIONS: (f"dims: [ {(about.get('calibration') or {}).get('directions', 0)} ]",),
        MAP: ("dims: [ -1, -1 ]",),
    }
    pictures = f"dims: [ {side[0]}, {side[1]}, {about['channels']} ]"
    return "\n".join(
        [
            f"{WRITTEN} {about['version']}: pictures as decoded, upright, 0 to 255; the file's metadata hold classes and threshold.",
            f"name: {json.dumps(name, ensure_ascii=False)}",
            'backend: "onnxruntime"',
            f"max_batch_size: {BATCH}",
            *_tensors("input", {INPUT: ("data_type: TYPE_UINT8", pictures)}),
            *_tensors("output", {output: ("data_type: TYPE_FP32", *kinds[output]) for output in outputs}),
            f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}",
            "",
        ]
    )


def _tensors(kind: str, tensors: Mapping[str, Sequence[str]]) -> list[str]:
    parts = [
        f'  {{\n    name: "{name}"\n' + "".join(f"    {one}\n" for one in about) + "  }"
        for name, about in tensors.items()
    ]
    return [f"{kind} [", ",\n".join(parts), "]"]
