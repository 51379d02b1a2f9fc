"""Parts of one's own are found in the current folder and in installed packages, and what is wrong with them is one sentence."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import winnow
from winnow import plugins
from winnow.detect.detector import Detector
from winnow.detect.registry import make_scorer
from winnow.embeddings import Embeddings
from winnow.errors import OptionError, RunError
from winnow.models.registry import find_model
from winnow.run.artifacts import check_parts, load_detector
from winnow.run.folder import RunFolder
from winnow.run.recipe import load_recipe
from winnow.select.selectors import find_selector

PARTS = """
class Widest:
    def fit(self, normal):
        self.usual = abs(normal.vectors).max(axis=0)

    def score(self, embeddings):
        return (abs(embeddings.vectors) / self.usual).max(axis=1)

def last(embeddings, n, rng, *, start=(), weights=None):
    return list(range(len(embeddings)))[-n:]
"""
CODES = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that is not on `sys.path`, as for the command `winnow`."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def test_a_part_in_the_current_folder_is_found_for_every_role(here: Path) -> None:
    (here / "parts_of_mine.py").write_text(PARTS)
    assert make_scorer("parts_of_mine:Widest").fit(CODES).score(CODES).max() == pytest.approx(1)
    assert find_selector("parts_of_mine:last")(Embeddings.of(CODES), 2, None) == [58, 59]
    with pytest.raises(OptionError, match="'parts_of_mine:Widest' is not a model"):
        find_model("parts_of_mine:Widest")


def test_a_file_here_hides_no_library(here: Path) -> None:
    (here / "statistics.py").write_text("raise SystemExit('the file was taken for the library')")
    assert callable(plugins.load("statistics:mean", "scorer"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library_at_all", "ModuleNotFoundError: No module named 'no_such_library_at_all'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("Mine = 3", "has no 'Absent'"),
    ],
)
def test_a_module_that_fails_is_one_sentence(here: Path, text: str, message: str) -> None:
    (here / "broken_part.py").write_text(text + "\n")
    for find, role in ((make_scorer, "scorer"), (find_model, "model"), (find_selector, "method")):
        with pytest.raises(OptionError, match=message) as caught:
            find("broken_part:Absent")
        assert role in str(caught.value) and "\n" not in caught.value.message
        sys.modules.pop("broken_part", None)


def test_an_installed_package_offers_parts_by_name(tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "widest-1.0.dist-info").mkdir(parents=True)
    (site / "widest-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: widest\nVersion: 1.0\n")
    (site / "widest-1.0.dist-info" / "entry_points.txt").write_text(
        "[winnow.plugins]\nwidest = widest_package:Widest\nlast = widest_package:last\n"
    )
    (site / "widest_package.py").write_text(PARTS)
    monkeypatch.syspath_prepend(site)
    assert set(plugins.installed()) == {"widest", "last"}
    assert find_selector("last")(Embeddings.of(CODES), 1, None) == [59]
    with pytest.raises(OptionError, match="Did you mean 'widest'"):
        make_scorer("widst")
    detector = Detector("fisher(widest, knn)").fit(CODES)
    detector.save(tmp_path)
    assert Detector.load(tmp_path).score(CODES).tolist() == detector.score(CODES).tolist()  # installed is trusted


def test_a_run_with_ones_own_scorer_needs_it_named_in_this_call(here: Path) -> None:
    (here / "parts_of_mine.py").write_text(PARTS)
    text = "fisher(parts_of_mine:Widest, knn)"
    run = RunFolder.create(here / "run", load_recipe("oneclass-from-scratch"), "match")
    run.update({"detect": {"scorer": text}})
    check_parts(run, "scorer")
    with run.working("ingest"):  # which stores the options
        pass
    run.folder("calibrate").mkdir()
    detector = Detector(text).fit(CODES)
    detector.save(run.folder("calibrate"))
    assert load_detector(run).score(CODES).tolist() == detector.score(CODES).tolist()
    again = RunFolder.open(here / "run")
    with pytest.raises(OptionError, match="which is not one of Winnow's"):
        check_parts(again, "scorer")
    with pytest.raises(RunError, match="'parts_of_mine:Widest', which is not one of Winnow's"):
        load_detector(again)
    trusting = RunFolder.open(here / "run", trust=["parts_of_mine:Widest"])
    check_parts(trusting, "scorer")
    assert load_detector(trusting).score(CODES).tolist() == detector.score(CODES).tolist()


def test_the_modules_of_detect_import_one_another_in_no_circle() -> None:
    folder = Path(winnow.__file__).parent / "detect"
    files = {
        ".".join(("winnow.detect", *path.relative_to(folder).with_suffix("").parts)): path
        for path in folder.rglob("*.py")
    }
    graph = {
        name: {node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.ImportFrom) and node.module in files}
        for name, path in files.items()
    }  # fmt: skip
    assert any(graph.values())
    list(TopologicalSorter(graph).static_order())  # CycleError names the circle
