"""Imports go one way, in no circle, start-up imports nothing heavy, and the files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "winnow"
LAYERS = [
    {"errors", "version", "results", "options", "files", "tables", "embeddings", "plugins", "onnx", "progress"},
    {"data", "scale"},
    {"pool", "objects", "synthetic"},
    {"models"},
    {"learn"},
    {"metrics"},
    {"detect", "select", "label", "classify"},
    {"inspect", "report", "deploy"},
    {"run"},
    {"steps", "show", "stages"},
    {"api", "commands", "cli"},
]
APART = {"detect", "select", "label", "classify"}  # never import one another
FREE = {"", "check", "recipes"}  # the face, and what runs over the parts of every room
JOINED = {("classify", "select"), ("round", "select")}  # steps that go on with what another one made
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


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(module: str) -> set[str]:
    """The modules of Winnow that one imports anywhere in its text: at the top, in functions, for types."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {module}


IMPORTS = {module: imported(module) for module in MODULES}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer(module: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room(module) in rooms)


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) not in FREE])
def test_imports_go_one_way(module: str):
    for other in IMPORTS[module]:
        if other == "winnow":
            continue  # its public names, loaded when they are used
        assert layer(other) <= layer(module), f"{module} imports {other}, which stands above it"
        assert not (room(module) in APART and room(other) in APART - {room(module)}), f"{module} imports {other}"


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return a circle of imports, nothing when there is none, by depth-first search."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(imports.get(module, ())):
            if found := search(other, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(imports) if (found := search(module, []))), [])


def test_no_import_goes_in_a_circle():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert circle(IMPORTS) == []


def test_steps_are_joined_in_one_place():
    """Only `winnow.steps.run` joins steps; the modules of the report are one step."""
    for module in MODULES:
        if room(module) == "steps" and module not in ("winnow.steps", "winnow.steps.run"):
            own = module.split(".")[2]
            others = {other.split(".")[2] for other in IMPORTS[module] if other.startswith("winnow.steps.")} - {own}
            assert {(own, other) for other in others} <= JOINED, f"{module} imports {others}"


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
