"""Is this machine fit for Winnow: what is here, what is not, and how to get it."""

from __future__ import annotations

import io
import os
import platform
import shutil
import time
from importlib import metadata

from winnow.version import __version__

BASE = ("numpy", "Pillow", "av", "pyarrow", "pydantic")
LEARN = ("torchvision", "timm", "safetensors", "scikit-learn", "scipy", "faiss-cpu", "array-api-compat", "matplotlib", "Jinja2", "fastapi",
         "uvicorn")  # fmt: skip
OPTIONAL = (  # a package, the extra that brings it, what it is for
    ("torch", "learn", "all that works with a run"),
    ("onnxruntime", "runtime", "winnow predict --onnx, and frozen networks on a CPU"),
    ("onnx", "learn", "frozen networks on a CPU by onnxruntime"),
    ("onnxscript", "export", "winnow export"),
    ("obstore", "s3", "addresses in buckets (s3://, gs://, az://)"),
    ("pillow-heif", "heif", "HEIC pictures"),
)


def doctor() -> tuple[list[str], bool]:
    """Lines to print, and whether everything that is needed works; where torch is not, nothing of training is."""
    lines = [
        f"winnow {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    ]
    healthy = True
    learns = _is_installed("torch")
    for name in (*BASE, *(LEARN if learns else ())):
        healthy &= _is_installed(name)
        lines.append(
            f"ok       {name} {metadata.version(name)}"
            if _is_installed(name)
            else f"MISSING  {name}: pip install {name}"
        )
    checks = {"pictures": _pictures, "video": _video, "detector for --people": _detector}
    for name, check in (checks | ({"training": _training} if learns else {})).items():
        try:
            lines.append(f"ok       {name}: {check()}")
        except Exception as error:  # a doctor reports whatever is wrong and goes on
            healthy = False
            lines.append(f"FAILS    {name}: {type(error).__name__}: {error}")
    lines += [_extra(*one) for one in OPTIONAL]
    free = shutil.disk_usage(".").free / 2**30
    lines.append(f"{'ok' if free > 5 else 'low':8} disk: {free:.0f} GiB free here")
    return lines, healthy


def _pictures() -> str:
    from PIL import Image, features

    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        Image.new("RGB", (16, 16)).save(io.BytesIO(), kind)
    return "JPEG, PNG, WebP, TIFF, BMP" + (
        ", AVIF" if features.check("avif") else "; AVIF cannot be read by this Pillow"
    )


def _video() -> str:
    import av

    wanted = ("h264", "hevc", "vp9", "av1", "mpeg4", "gif")
    missing = [name for name in wanted if name not in av.codecs_available]
    return f"PyAV decodes {', '.join(name for name in wanted if name not in missing)}" + (
        f"; not {', '.join(missing)}" if missing else ""
    )


def _training() -> str:
    import torch

    from winnow.learn.device import choose_device
    from winnow.models.registry import build
    from winnow.options import ModelOptions

    device = choose_device("auto")
    model = build(ModelOptions(width=8, latent=8), (32, 32), 3, seed=0).to(device)
    images = torch.rand(16, 3, 32, 32, device=device)
    optimiser = torch.optim.Adam(model.parameters())
    started = time.perf_counter()
    for _ in range(5):
        error = model(images).reconstruction
        optimiser.zero_grad()
        error.mean().backward()
        optimiser.step()
    return f"5 iterations on {device} in {time.perf_counter() - started:.2f} s with {torch.get_num_threads()} threads"


def _detector() -> str:
    from winnow.objects.crops import VARIABLE, Finder
    from winnow.options import IngestOptions

    if not os.environ.get(VARIABLE):
        return f"none is named by {VARIABLE}"
    return f"{os.environ[VARIABLE]}, {len(Finder(IngestOptions(people=True)).detector.names)} classes"


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _extra(package: str, extra: str, what: str) -> str:
    if _is_installed(package):
        return f"ok       {what}: {package} {metadata.version(package)}"
    return f"absent   {what}: pip install 'winnow-vision[{extra}]'"
