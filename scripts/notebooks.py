"""Run the notebooks of examples/ and keep what they show.

python scripts/notebooks.py [NAME.ipynb ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"


def execute(path: Path, *, timeout: int = 600) -> nbformat.NotebookNode:
    """Return the notebook with its outputs, run in its own folder by this Python; raises `CellExecutionError` where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    return client.execute()


def main() -> None:
    """Run all of them, or those named, and write them back."""
    for path in [EXAMPLES / name for name in sys.argv[1:]] or sorted(EXAMPLES.glob("*.ipynb")):
        notebook = execute(path)
        for cell in notebook.cells:
            if "outputs" in cell:  # progress and notes, which differ from run to run
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
