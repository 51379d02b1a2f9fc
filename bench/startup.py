"""The time of `winnow --help` and of other starts: the least and the median of 20, compared with Python's own start.

python bench/startup.py [--quick]

Where the environment variable WINNOW_BEFORE names a working copy of an earlier state, its starts take turns with those of this
one: on a machine that does something else too, their ratio is what can be compared. Promise: the list of commands under 0.2 s, a
help page under 0.6 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import arguments, finish, table

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "winnow --help": ["-m", "winnow.cli", "--help"],
    "winnow run --help": ["-m", "winnow.cli", "run", "--help"],
    "winnow run oneclass --help": ["-m", "winnow.cli", "run", "oneclass", "--help"],
    "winnow score --help": ["-m", "winnow.cli", "score", "--help"],
    "winnow recipes": ["-m", "winnow.cli", "recipes"],
    "import winnow": ["-c", "import winnow"],
    "import torch": ["-c", "import torch"],
}
HERE = Path(__file__).resolve().parent.parent


def start(words: list[str], tree: Path) -> float:
    """Return the seconds that a process takes, with the package of a working copy."""
    before = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], capture_output=True, check=True, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}
    )
    return time.perf_counter() - before


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    earlier = os.environ.get("WINNOW_BEFORE")
    rows = []
    for name, words in COMMANDS.items():
        times, before = [], []
        for _ in range(5 if given.quick else 20):
            times.append(start(words, HERE))
            if earlier:
                before.append(start(words, Path(earlier)))
        row = {"command": name, "median s": statistics.median(times), "least s": min(times)}
        row["times python"] = row["median s"] / (rows[0] if rows else row)["median s"]
        if earlier:
            row["before, least s"] = min(before)
            row["of before"] = statistics.median(now / then for now, then in zip(times, before, strict=True))
        rows.append(row)
    table(rows)
    finish("startup", started, rows=rows)


if __name__ == "__main__":
    main()
