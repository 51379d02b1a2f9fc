"""What is kept of a pool between calls: the same results with and without it, and nothing of it is trusted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import winnow
from winnow.detect.detector import Detector
from winnow.files import read_json, sealed, write_json
from winnow.run import cache as cache_file
from winnow.run.begin import clear
from winnow.run.cache import Cache, sum_of
from winnow.run.folder import RunFolder

from conftest import write_pictures

pytestmark = pytest.mark.slow

TINY = {"size": (32, 32), "width": 4, "latent": 4, "iterations": 20, "batch_size": 8, "check_every": 10}
NAMES = ("scores", "duplicates", "whitened", "map")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated run of sixty pictures."""
    folder = tmp_path_factory.mktemp("kept")
    write_pictures(folder / "in", 6, 10)
    run = winnow.Run(folder / "run", "", **TINY)
    for step in (lambda: run.ingest(folder / "in"), run.train, run.encode, run.calibrate):
        step()
    return folder / "run"


@pytest.fixture
def run(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "run"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed of the whole pool, in order."""
    names: list[str] = []

    def watched(name: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        return lambda *given, **more: names.append(name) or function(*given, **more)  # type: ignore[func-returns-value]

    monkeypatch.setattr(Detector, "score_own", watched("scores", Detector.score_own))
    monkeypatch.setattr(cache_file, "whitened", watched("whitened", cache_file.whitened))
    monkeypatch.setattr(cache_file, "stand_ins", watched("duplicates", cache_file.stand_ins))
    monkeypatch.setattr(cache_file, "projected", watched("map", cache_file.projected))
    return names


def select(run: Path, number: int, **options: object) -> bytes:
    winnow.Run(run).select(number, **options)
    return (run / "selection.csv").read_bytes()


def test_a_list_grows_without_what_was_made_before(run: Path, made: list[str], tmp_path: Path):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    select(run, 10)
    assert made == list(NAMES)
    assert sorted(path.name for path in (run / ".cache").iterdir()) == sorted(
        f"{name}.{ending}" for name in NAMES for ending in ("json", "npz")
    )
    grown = select(run, 20)
    assert made == list(NAMES)
    select(other, 10)
    shutil.rmtree(other / ".cache")
    assert select(other, 20) == grown
    assert (other / "outliers.csv").read_bytes() == (run / "outliers.csv").read_bytes()


def test_a_list_grows_without_torch_and_without_a_map_drawn_anew(run: Path):
    """Their libraries alone take longer to load than the rest of the call."""
    select(run, 10)
    code = """
import sys, winnow
winnow.Run(sys.argv[1]).select(20)
sys.exit(" ".join({"torch", "sklearn"} & sys.modules.keys()) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code, run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_made_of_something_else_is_made_anew(run: Path, made: list[str]):
    select(run, 10)
    made.clear()
    select(run, 10, duplicate_distance=0.3)
    assert made == ["duplicates", "whitened"]  # by other candidates
    made.clear()
    winnow.Run(run).calibrate(scorer="knn")
    made.clear()
    select(run, 10)
    assert "scores" in made
    made.clear()
    winnow.Run(run).calibrate(false_alarm_rate=0.2)
    made.clear()
    select(run, 12)
    assert made == []


def _cut(path: Path) -> None:
    path.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes()[:-9])


def _foreign(path: Path) -> None:
    path.write_text("{}")


def _spoilt(path: Path) -> None:
    data = bytearray(path.with_suffix(".npz").read_bytes())
    data[-200] ^= 1
    path.with_suffix(".npz").write_bytes(bytes(data))


def _other_key(path: Path) -> None:
    content = read_json(path)
    content.pop("seal")
    write_json(path, sealed({**content, "key": "0" * 64}))


def _other_array(path: Path) -> None:
    """Seal an array of another shape under the right key."""
    key = read_json(path)["key"]
    other = Cache(RunFolder.open(path.parent.parent))
    other.made[path.stem] = key, np.zeros(3)
    other.keep()


def _unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [_cut, _foreign, _spoilt, _other_key, _other_array, _unreadable])
def test_what_is_damaged_or_foreign_is_made_anew(run: Path, made: list[str], spoil: Callable[[Path], None]):
    whole = Path(shutil.copytree(run, run.with_name("whole")))
    for folder in (run, whole):
        select(folder, 10)
    for name in NAMES:
        spoil(run / ".cache" / f"{name}.json")
    made.clear()
    assert select(run, 20) == select(whole, 20)
    assert made == list(NAMES)


def test_a_failed_call_and_one_that_may_not_write_keep_nothing(run: Path):
    (run / "selection.json").write_text("{")
    with pytest.raises(winnow.errors.Damaged):
        select(run, 10)
    (run / "selection.json").unlink()
    assert not (run / ".cache").exists()
    (run / ".cache").write_text("in the way")
    select(run, 10)
    assert (run / ".cache").read_text() == "in the way"


def test_a_run_begun_anew_keeps_nothing_of_the_one_before(run: Path):
    select(run, 10)
    clear(run, "ingest")
    assert not (run / ".cache").exists()


def test_sums_tell_columns_apart():
    names = np.array(["a", "bc"], object)
    assert sum_of(names) == sum_of(names.copy()) != sum_of(np.array(["ab", "c"], object))
    assert (
        len({sum_of(np.arange(3)), sum_of(np.arange(3.0)), sum_of(np.arange(4)), sum_of(np.arange(3), np.arange(4))})
        == 4
    )
