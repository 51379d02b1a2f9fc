"""The tests on a cluster of Ray, in a process of their own: Ray leaves threads behind, and a process with such cannot be forked."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("on_ray.py")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'winnow-vision[ray]'")
def test_the_runner_on_ray(tmp_path: Path):
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", str(TESTS)]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=TESTS.parent.parent, timeout=540
    )
    assert done.returncode == 0, done.stdout[-4000:]
