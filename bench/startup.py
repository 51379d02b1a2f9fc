"""The time of `winnow --help`: the median of 20 starts, compared with Python's own start. Promise: under 0.3 s.

python bench/startup.py [--quick]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import arguments, finish, table

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "winnow --help": ["-m", "winnow.cli", "--help"],
    "winnow run --help": ["-m", "winnow.cli", "run", "--help"],
    "import winnow": ["-c", "import winnow"],
    "import torch": ["-c", "import torch"],
}


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    rows = []
    for name, words in COMMANDS.items():
        times = []
        for _ in range(5 if given.quick else 20):
            before = time.perf_counter()
            subprocess.run([sys.executable, *words], capture_output=True, check=True)
            times.append(time.perf_counter() - before)
        row = {"command": name, "median s": statistics.median(times), "least s": min(times)}
        rows.append({**row, "times python": row["median s"] / (rows[0] if rows else row)["median s"]})
    table(rows)
    finish("startup", started, rows=rows)


if __name__ == "__main__":
    main()
