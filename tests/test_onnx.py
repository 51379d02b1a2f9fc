"""onnxruntime is imported in one place, with its telemetry off before its import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from winnow.errors import MissingExtra
from winnow.objects.detectors import OnnxDetector

from exported import write_exported
from tiny_detectors import write_yolox

PACKAGE = Path(__file__).parent.parent / "winnow"
SPY = """
import os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Spy())
from pathlib import Path
from winnow.deploy.runtime import Deployed
from winnow.objects.detectors import OnnxDetector
"""


@pytest.mark.parametrize(
    "use", ["Deployed.open('exported.onnx')", "OnnxDetector(Path('yolox.onnx').read_bytes(), 'x')"]
)
def test_telemetry_is_off_before_the_import(use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    write_exported(tmp_path / "exported.onnx")
    write_yolox(tmp_path / "yolox.onnx")
    done = subprocess.run([sys.executable, "-c", SPY + use], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["telemetry off: 1"]


def test_onnxruntime_is_imported_in_one_place() -> None:
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "onnxruntime" for alias in node.names)
    ]
    assert found == ["onnx.py"]


def test_an_object_detector_without_onnxruntime_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_yolox(tmp_path / "yolox.onnx").read_bytes()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"needs onnxruntime.*\n.*winnow-vision\[runtime\]"):
        OnnxDetector(content, "yolox.onnx")
