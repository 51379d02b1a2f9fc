"""The notebooks and scripts of examples/ run, each in a copy, as somebody with a clone runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks import execute

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
EXPECTED = {  # what the last figure printed must be, at least
    "adverts_in_a_match": (r"(\d+\.\d) to +\d+\.\d s does not belong", 2),
    "defects_in_cloth": (r"found (\d+)%", 80),
    "crops_to_a_classifier": (r"(\d+) of 300 crops of new clips have the right class", 270),
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for folder in ("examples", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_finds_what_it_says(path: Path, clone: Path):
    pattern, least = EXPECTED[path.stem]
    printed = "".join(
        output.text
        for cell in execute(clone / "examples" / path.name).cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )
    found = re.findall(pattern, printed)
    assert len(found) >= least if path.stem.startswith("adverts") else float(found[0]) >= least, printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_came_out_and_names_no_machine(path: Path):
    notebook, text = nbformat.read(path, as_version=4), path.read_text(encoding="utf-8")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert len(text) < 700_000


@pytest.mark.parametrize("name", ["pytorch_embeddings.py", "scikit_learn.py"])
def test_a_script_runs(name: str, clone: Path):
    done = subprocess.run([sys.executable, name], cwd=clone / "examples", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
