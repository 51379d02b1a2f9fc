"""Build the package, check it, and use it in fresh environments, as somebody without a clone does.

python scripts/fresh_install.py [--demo] [PYTHON ...]

Builds sdist and wheel, has twine and check-wheel-contents look at them, and for each interpreter (this one by default) makes an
environment with the wheel's extra `runtime`: `winnow --version`, `--help` and `doctor` must work there without torch. With --demo a second
one with `learn` and `export` runs the demo from a folder that is no clone, and the first predicts by the file that it exports. Last, pip
installs this clone by its Git address. Stops at the first thing that fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Do it, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="*", default=[sys.executable])
    parser.add_argument("--demo", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winnow-install-") as name:
        place = Path(name)
        wheel = build(place)
        for number, python in enumerate(given.python):
            try_out(python, wheel, place / f"{number}", demo=given.demo)
        last = environment(given.python[0], place / "git", f"winnow-vision @ git+{ROOT.as_uri()}")
        print(f"by its Git address: winnow {said(last / 'winnow', '--version')}")


def build(place: Path) -> Path:
    """Return the wheel, after the checks of both packages."""
    tools = environment(sys.executable, place / "tools", "build", "twine", "check-wheel-contents")
    said(tools / "python", "-m", "build", "--outdir", str(place / "dist"), str(ROOT))
    (wheel,), (sdist,) = ((place / "dist").glob(pattern) for pattern in ("*.whl", "*.tar.gz"))
    said(tools / "twine", "check", "--strict", str(wheel), str(sdist))
    said(tools / "check-wheel-contents", str(wheel))
    print(
        f"{wheel.name} {wheel.stat().st_size / 1000:.0f} KB, {sdist.name} {sdist.stat().st_size / 1000:.0f} KB: checked"
    )
    return wheel


def try_out(python: str, wheel: Path, place: Path, *, demo: bool) -> None:
    """Use the wheel in fresh environments of an interpreter."""
    runtime = environment(python, place / "runtime", f"{wheel}[runtime]")
    version = said(runtime / "python", "-c", "import platform; print(platform.python_version())")
    said(runtime / "winnow", "--help")
    said(runtime / "winnow", "doctor")
    without = subprocess.run([runtime / "python", "-c", "import torch"], capture_output=True, check=False).returncode
    print(
        f"Python {version}: winnow {said(runtime / 'winnow', '--version')} with [runtime], {'without' if without else 'WITH'} torch"
    )
    if not demo:
        return
    learn = environment(python, place / "learn", f"{wheel}[learn,export]")
    here = place / "demo"
    print(said(learn / "python", str(ROOT / "scripts" / "demo.py"), "--to", str(here)))
    told = said(
        runtime / "winnow",
        "predict",
        str(place / "demo-data" / "match-2.mp4"),
        "--onnx",
        str(here / "demo.onnx"),
        "--to",
        str(place / "told"),
    )
    print(f"Python {version}: the file of the demo, by [runtime] alone: {told.splitlines()[0]}")


def environment(python: str, place: Path, *packages: str) -> Path:
    """Make an environment with the packages; return the folder of its programs."""
    said(python, "-m", "venv", str(place))
    said(place / "bin" / "python", "-m", "pip", "install", "--quiet", *packages)
    return place / "bin"


def said(*words: str | Path) -> str:
    """Return what a program says, run where no clone lies; stop with all of it when it fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            list(map(str, words)), cwd=elsewhere, env=environ, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
