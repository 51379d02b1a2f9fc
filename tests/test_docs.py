"""The commands that the docs show are real: all are understood, and those of the inspection are run one after the other."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch
from cyclopts import CycloptsError
from torchvision.models import mobilenet_v2, squeezenet1_1

import winnow
from winnow.cli import application, main
from winnow.tables import read_table, write_table

from cloth import write_cloth, write_damaged
from conftest import winnow_command, write_pictures
from videos import picture
from videos import write as write_video

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
ROOMS = sorted(path.name for path in (ROOT / "winnow").iterdir() if path.is_dir() and not path.name.startswith("_"))
SMALL = ("--size", "16", "16", "--width", "4", "--latent", "4", "--batch-size", "16", "--check-every", "10", "--iterations", "20",
         "--fast", "20")  # fmt: skip


def commands(page: Path) -> list[list[str]]:
    """The lines of a page's code that call winnow, without comments; in its sentences, those with an option."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^(?:    )?(winnow .*)$", text, re.MULTILINE) + re.findall(
        r"`(winnow [a-z]+ [^`\n]*--[^`\n]*)`", text
    )
    return [shlex.split(line.replace("[", "").replace("]", ""), comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_understood(page: Path):
    for words in commands(page):
        if "STEP" in words or "RECIPE" in words:
            continue
        try:
            application().parse_args(words[1:], exit_on_error=False, print_error=False)
        except CycloptsError as error:
            pytest.fail(f"{' '.join(words)}: {error}")


def test_a_command_that_is_wrong_is_seen(tmp_path: Path):
    (tmp_path / "page.md").write_text(
        "```sh\nwinnow score new/ --run r --heatmap maps/\n```\n    winnow scor x # no\n", encoding="utf-8"
    )
    found = commands(tmp_path / "page.md")
    assert found == [["winnow", "score", "new/", "--run", "r", "--heatmap", "maps/"], ["winnow", "scor", "x"]]
    for words in found:
        with pytest.raises(CycloptsError):
            application().parse_args(words[1:], exit_on_error=False, print_error=False)


@pytest.mark.slow
def test_the_commands_of_the_inspection_work(tmp_path: Path):
    write_cloth(tmp_path / "good_fabric", 24)
    write_cloth(tmp_path / "good", 12)
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "random.pth")
    write_cloth(tmp_path / "new", 4, seed=7)
    write_damaged(tmp_path / "defects", tmp_path / "masks", 4)
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "inspection.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(lines) >= 10
    for words in lines:
        small: tuple[str, ...] = SMALL if words[1] == "run" else ()
        if words[1:3] == ["run", "inspect"]:
            small = ("--size", "64", "64", "--weights", "random.pth")
        if (
            words[1] == "lambda" and not (tmp_path / "runs" / "vae").exists()
        ):  # a smaller run than the command would begin
            assert (
                winnow_command(
                    "ingest", "good_fabric/", "--run", "runs/vae", "--recipe", "inspect-vae", *SMALL[:3], cwd=tmp_path
                ).returncode
                == 0
            )
            winnow_command("train", "--run", "runs/vae", *SMALL[3:], cwd=tmp_path)
        done = winnow_command(*words[1:], *small, cwd=tmp_path)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    for name in ("maps/00000-roll 00.overlay.png", "runs/part/report.html", "runs/fabric/report.html",
                 "runs/fabric/evaluation/evaluation.json",
                 "runs/vae/weight/weight.json", "runs/vae/report.html"):  # fmt: skip
        assert (tmp_path / name).exists(), name


def links(page: Path) -> list[str]:
    """The relative targets of a page's links and images, outside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [target for target in targets if not target.startswith("http")]


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    missing = [target for target in links(page) if not (page.parent / target).exists()]
    assert not missing


def test_the_index_lists_every_page():
    listed = set(links(ROOT / "docs" / "index.md"))
    details = {page.name for page in (ROOT / "docs" / "benchmarks").glob("*.md")}
    assert details == {Path(target).name for target in links(ROOT / "docs" / "benchmarks.md")} & details
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("benchmarks/")} - {"index.md"} <= listed
    assert "docs/index.md" in links(ROOT / "README.md")


def test_the_rooms_shown_are_those_of_the_package():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.search(r"## Rooms\n(.*?)\n## ", text, re.DOTALL)
    assert section
    shown = re.findall(r"^\| `([a-z]+)/", section[1], re.MULTILINE)
    assert sorted(shown) == ROOMS


SELF_CONTAINED = ("docs/start.md",)
"""Pages whose Python runs as it stands."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_is_python_and_asks_for_what_is_there(page: Path):
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compiled = compile(code, str(page), "exec")
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "winnow":
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "winnow":
                assert node.attr in winnow.__all__ or importlib.util.find_spec(f"winnow.{node.attr}"), ast.unparse(node)
        if str(page.relative_to(ROOT)) in SELF_CONTAINED:
            exec(compiled, names)


SMALLER = {
    "oneclass": ("--from-scratch", "--size", "16", "16", "--width", "4", "--latent", "4", "--batch-size", "16", "--iterations", "20",
                 "--check-every", "10"),
    "inspect": ("--size", "64", "64", "--backbone", "squeezenet1_1", "--layer", "features.3", "--weights", "random.pth"),
    "select": ("--size", "32", "32", "--backbone", "squeezenet1_1", "--weights", "random.pth"),
}  # fmt: skip


@pytest.mark.slow
def test_the_commands_and_the_python_of_the_readme_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("match1.mp4", "match2.mp4", "new.mp4")):
        frames = [picture(40 * number + index) for index in range(20)]
        write_video(tmp_path / name, frames, rate=2)
    write_cloth(tmp_path / "good", 10)
    write_cloth(tmp_path / "new", 4, seed=7)
    write_pictures(tmp_path / "crops", groups=6, each=5)
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "random.pth")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [words for words in commands(ROOT / "README.md") if "--help" not in words]
    assert [words[1] for words in lines] == [
        "run",
        "score",
        "run",
        "score",
        "run",
        "label",
        "classify",
        "export",
        "predict",
        "score",
        "report",  # in a sentence
    ]
    for words in lines:
        if words[1] == "label":
            order = read_table(tmp_path / "runs" / "shop" / "selection.csv")
            rows = [(row["id"], ("staff", "customer")[number % 2]) for number, row in enumerate(order)]
            write_table(tmp_path / "labels.csv", ("id", "label"), rows)
            words = [*words[:4], "--import", "labels.csv", *words[4:]]
        with pytest.raises(SystemExit) as end:
            main([*words[1:], *(SMALLER[words[2]] if words[1] == "run" else ())])
        assert not end.value.code, capsys.readouterr().err
    for name in (
        "runs/match/report.html",
        "runs/match/scores/segments.csv",
        "maps",
        "match.onnx",
        "results/predictions.csv",
    ):
        assert (tmp_path / name).exists(), name
    capsys.readouterr()
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    assert len(names["order"]) == 10 and "new.mp4" in capsys.readouterr().out
