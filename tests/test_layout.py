"""Imports go one way, start-up imports nothing heavy, and the files stay small."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from winnow.run.recipe import recipe_names

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "winnow"
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
    "winnow.deploy.serve.workers",
    "winnow.steps.serve",
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


@pytest.fixture(scope="module")
def structure() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "structure.py")))


def test_imports_go_in_no_circle(structure: SimpleNamespace):
    graph = structure.arrows(structure.modules_of(ROOT))
    assert structure.circles(graph) == []
    assert structure.circles(structure.rooms(graph)) == []


def test_imports_go_one_way(structure: SimpleNamespace):
    assert structure.back_arrows(structure.arrows(structure.modules_of(ROOT))) == []


OUTSIDE = sorted([*(ROOT / "bench").glob("*.py"), *(ROOT / "scripts").glob("*.py")])


def defined(path: Path) -> set[str]:
    """Return the names that a module defines or imports, and its neighbours in the folder."""
    names = {other.stem for other in path.parent.iterdir()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_what_benchmarks_and_scripts_import_is_there(path: Path, structure: SimpleNamespace):
    modules = structure.modules_of(ROOT)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "winnow":
            assert node.module in modules, f"{path.name} imports {node.module}"
            missing = {alias.name for alias in node.names} - defined(modules[node.module])
            assert not missing, f"{path.name} imports {missing} from {node.module}"


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_recipes_of_benchmarks_and_scripts_exist(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Run":
            for given in node.args[1:2]:
                if isinstance(given, ast.Constant):
                    assert given.value in recipe_names()


def write_package(root: Path, **modules: str) -> Path:
    """Write a package winnow of modules ROOM__NAME with their code, and return the checkout."""
    for name, code in modules.items():
        path = root / "winnow" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    return root


def test_structure_finds_circles_and_back_arrows(structure: SimpleNamespace, tmp_path: Path):
    inside = "def later():\n    from winnow.steps.score import score\n"
    write_package(
        tmp_path,
        errors="",
        steps__score="from winnow.run import judge\n",
        run__judge=inside,
        detect__knn="import winnow.errors\nfrom winnow.select import choose\n",
        select__choose="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from winnow.errors import Damaged\n",
    )
    graph = structure.arrows(structure.modules_of(tmp_path))
    assert graph["winnow.select.choose"] == {"winnow.errors"}
    assert structure.circles(graph) == [["winnow.run.judge", "winnow.steps.score"]]
    assert structure.circles(structure.rooms(graph)) == [["run", "steps"]]
    assert structure.back_arrows(graph) == [
        ("winnow.detect.knn", "winnow.select.choose"),
        ("winnow.run.judge", "winnow.steps.score"),
    ]


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
    code = "import sys, winnow.cli; winnow.cli.main(['--help']); print(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "winnow.cli" in loaded
    assert not {"pydantic", "cyclopts", "winnow.options", "winnow.commands", "winnow.results"} & set(loaded)


def test_a_help_page_loads_no_run_and_no_step():
    code = "import sys, winnow.cli; winnow.cli.main(['score', '--help']); print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "winnow.judge_commands" in loaded
    assert not [
        name for name in loaded if name.startswith(("winnow.run", "winnow.steps", "winnow.scale", "winnow.data"))
    ]


def test_files_stay_small():
    long = {
        path.name: lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_functions_fit_a_screen():
    long = {
        f"{path.name}: {node.name}": lines
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert not long
