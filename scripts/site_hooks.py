"""What mkdocs does beyond its settings: the page of the commands is made, and pages that lie beside docs/ become pages of the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/cloud.md")
"""Pages of the repository outside of docs/ that docs link to; in the site they lie in `project/`."""


def page_of(path: str) -> str:
    """Return where in the site a page from beside docs/ lies."""
    return f"project/{Path(path).name}"


def moved(text: str) -> str:
    """Return a page from beside docs/ with its links as they are from `project/`."""
    text = re.sub(r"\]\((?:\.\./)?docs/", "](../", text)
    return re.sub(r"\]\((?:\.\./)?([A-Z]+\.md)", r"](\1", text)


def on_files(files: Files, config: Any) -> Files:
    """Add the page of the commands, and the pages from beside docs/."""
    sys.path.insert(0, str(Path(__file__).parent))  # as for any script of this folder
    from commands_page import text as commands

    files.append(File.generated(config, "reference/commands.md", content=commands()))
    for path in BESIDE:
        text = moved((ROOT / path).read_text(encoding="utf-8"))
        files.append(File.generated(config, page_of(path), content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of docs to pages beside it lead to their places in the site."""
    for path in BESIDE:
        depth = page.file.src_uri.count("/")
        markdown = markdown.replace(f"]({'../' * (depth + 1)}{path}", f"]({'../' * depth}{page_of(path)}")
    return markdown
