"""The commands that the docs show are real: all are understood, and those of the inspection are run one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from cyclopts import CycloptsError
from torchvision.models import mobilenet_v2

from winnow.cli import app

from cloth import write_cloth, write_damaged
from conftest import winnow_command

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
            app.parse_args(words[1:], exit_on_error=False, print_error=False)
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
            app.parse_args(words[1:], exit_on_error=False, print_error=False)


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
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= listed
    assert "docs/index.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_rooms_shown_are_those_of_the_package(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(r"## (?:What is in it|Rooms)\n(.*?)\n## ", text, re.DOTALL)
    assert section
    shown = re.findall(r"^(?: {6}|\| `)([a-z]+)/", section[1], re.MULTILINE)
    assert sorted(shown) == ROOMS
