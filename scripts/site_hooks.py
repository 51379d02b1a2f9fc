"""What mkdocs does beyond its settings: the page of the commands is made, and pages that lie beside docs/ become pages of the site."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/cloud.md")
"""Pages of the repository outside of docs/ that docs link to; in the site they lie in `project/`."""


FOUND_LAST = ("reference/python.md", "reference/commands.md", "log.md", "benchmarks/", "project/CHANGELOG.md")
"""Pages that name everything: the search lists them behind the pages that explain it."""


def page_of(path: str) -> str:
    """Return where in the site a page from beside docs/ lies."""
    return f"project/{Path(path).name}"


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: its text, its code, and what it printed and showed when it was run last."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif picture := output.get("data", {}).get("image/png"):
                parts.append(
                    f'<img alt="What the cell above shows" src="data:image/png;base64,{"".join(picture.split())}">'
                )
    return "\n\n".join(parts) + f"\n\nThis page is the notebook `examples/{path.name}`.\n"


def moved(text: str) -> str:
    """Return a page from beside docs/ with its links as they are from `project/`."""
    text = re.sub(r"\]\((?:\.\./)?docs/", "](../", text)
    return re.sub(r"\]\((?:\.\./)?([A-Z]+\.md)", r"](\1", text)


def on_files(files: Files, config: Any) -> Files:
    """Add the page of the commands, the notebooks, and the pages from beside docs/."""
    sys.path.insert(0, str(Path(__file__).parent))  # as for any script of this folder
    from commands_page import text as commands

    files.append(File.generated(config, "reference/commands.md", content=commands()))
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        content = notebook_page(notebook)
        files.append(File.generated(config, f"examples/{notebook.stem}.md", content=content))
    for path in BESIDE:
        text = moved((ROOT / path).read_text(encoding="utf-8"))
        files.append(File.generated(config, page_of(path), content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of docs to pages beside it lead to their places in the site, and weigh the page in the search."""
    if page.file.src_uri.startswith(FOUND_LAST):
        page.meta["search"] = {"boost": 0.001}
    for path in BESIDE:
        depth = page.file.src_uri.count("/")
        markdown = markdown.replace(f"]({'../' * (depth + 1)}{path}", f"]({'../' * depth}{page_of(path)}")
    markdown = re.sub(
        r"\]\((?:\.\./)*(examples/\w+)\.ipynb", rf"]({'../' * page.file.src_uri.count('/')}\1.md", markdown
    )
    return markdown
