"""Imports go one way, start-up imports nothing heavy, and the files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "winnow"
LAYERS = [
    {"errors", "options", "files", "progress", "plugins", "tables", ""},
    {"data", "scale"},
    {"models"},
    {"learn"},
    {"detect", "select", "label", "classify"},
    {"report", "deploy"},
    {"run"},
    {"show", "steps"},
    {"api", "commands", "cli"},
]
FREE = {"check"}  # runs over the parts of every room
TORCH_FREE = (
    "winnow.pool.pool",
    "winnow.data.sources",
    "winnow.pool.originals",
    "winnow.objects.crops",
    "winnow.embeddings",
    "winnow.detect.detector",
    "winnow.detect.registry",
    "winnow.detect.segments",
    "winnow.select.choose",
    "winnow.select.geometry",
    "winnow.select.herding",
    "winnow.select.duplicates",
    "winnow.select.outliers",
    "winnow.select.selectors",
    "winnow.classify.classifier",
    "winnow.label.server",
    "winnow.label.exchange",
    "winnow.steps.label",
    "winnow.steps.classify",
    "winnow.steps.predict_onnx",
    "winnow.deploy.runtime",
    "winnow.metrics.detection",
    "winnow.report.selection",
    "winnow.report.classification",
    "winnow.report.figures",
    "winnow.report.inspection",
    "winnow.metrics.pixels",
    "winnow.report.html",
    "winnow.cli",
    "winnow.commands",
)


def layer(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "winnow":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("winnow.")}
    return {name.replace("__version__", "") for name in names}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in FREE or room == "__init__":
        pytest.skip("names parts of every room")
    peers = LAYERS[4] - {room}
    for other in imported(path):
        assert layer(other) <= layer(room), f"{path.name} in '{room}' imports '{other}', which stands above it"
        assert room not in LAYERS[4] or other not in peers, f"'{room}' and '{other}' never import one another"


@pytest.mark.parametrize("module", TORCH_FREE)
def test_no_torch_after_encode(module: str):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]):
    heavy = {"torch", "numpy", "PIL", "av", "pyarrow", "sklearn", "matplotlib", "faiss"}
    code = f"import sys, winnow.cli\ntry: winnow.cli.main({words!r})\nexcept SystemExit: pass\nsys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_help_loads_no_command():
    code = "import sys, winnow.cli\ntry: winnow.cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "winnow.cli" in loaded
    assert not {"pydantic", "winnow.options", "winnow.commands"} & set(loaded)


def test_files_stay_small():
    long = {
        path.name: lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
