"""The modes of a run of patches: by which of them it decides, and that all its parts go by the same."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import winnow
from winnow import show
from winnow.errors import OptionError
from winnow.results import Calibrated
from winnow.run.artifacts import load_detector, load_embeddings
from winnow.run.finds import finds
from winnow.run.recipe import load_recipe
from winnow.steps.evaluate import evaluate
from winnow.steps.export import _wanted

from cloth import write_cloth, write_damaged
from conftest import winnow_command

pytestmark = pytest.mark.slow

SMALL = {
    "size": (16, 16),
    "width": 4,
    "latent": 4,
    "batch_size": 16,
    "check_every": 10,
    "iterations": 20,
    "fast": 60,
    "false_alarm_rate": 0.1,
}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cloth")
    write_cloth(made / "good", 24)
    write_cloth(made / "new", 6, seed=7)
    write_damaged(made / "bad", made / "masks", 6)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of MobileNetV2 weights drawn from a seed."""
    from torchvision.models import mobilenet_v2

    with torch.random.fork_rng():
        torch.manual_seed(3)
        file = tmp_path_factory.mktemp("weights") / "random.pth"
        torch.save(mobilenet_v2(weights=None).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def fast(folder: Path) -> winnow.Run:
    """A run that decides by its recipe's mode."""
    return winnow.Run(folder / "fast", "inspect-texture", **SMALL, number=5, outliers=0.5).fit(folder / "good")


def test_the_recipe_decides_by_the_fast_network_everywhere(fast: winnow.Run, folder: Path, tmp_path: Path):
    found = fast.folder.result(Calibrated)
    assert found.mode == "fast" and found.own == found.modes["fast"] != found.full
    detector = load_detector(fast.folder, "fast")
    assert (
        found.finds
        == finds(fast.folder, "fast", detector)
        != finds(fast.folder, "full", load_detector(fast.folder, "full"))
    )
    assert fast.detector.calibration.tolist() == detector.calibration.tolist()
    # what every picture of the pool scores
    np.testing.assert_allclose(fast.detector.score_own(fast.embeddings)[~fast.embeddings.seen], detector.calibration)
    said = show.calibrate(found, "runs/a")
    assert f"Threshold {found.own.whole.threshold:.4g} " in said and "'fast' decides" in said
    page = (fast.folder.path / "report.html").read_text(encoding="utf-8")
    assert f"score above {found.own.whole.threshold:.4g} are" in page and "goes by the mode fast" in page
    assert fast.score(folder / "bad", to=tmp_path / "out").mode == "fast"
    assert _wanted(fast.folder, "").mode == "fast"  # which is what would be exported
    listed = table(fast.folder.path / "outliers.csv")
    whole = load_embeddings(fast.folder, "fast")
    scores = dict(zip(whole.ids.tolist(), detector.score_own(whole), strict=True))
    assert listed and all(float(row["score"]) == pytest.approx(scores[row["id"]], rel=1e-5) for row in listed)


def test_half_of_the_good_pictures_set_the_threshold_and_training_stops_at_its_end(fast: winnow.Run):
    promised = fast.folder.result(Calibrated).own.whole
    assert promised.calibrated_on == 12  # of 24
    assert promised.false_alarm_rate == pytest.approx(1 / 13)
    options = load_recipe("inspect-texture").options.train
    # An autoencoder may make no progress for three validations before it learns the texture.
    assert (options.iterations, options.patience) == (6000, 4)


def test_a_call_by_another_mode_changes_nothing_of_the_run(fast: winnow.Run, folder: Path, tmp_path: Path):
    command = ("--run", fast.folder.path, "--mode", "full", "--to")
    assert winnow_command("report", *command, tmp_path / "page.html").returncode == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"score above {fast.folder.result(Calibrated).full.whole.threshold:.4g} are" in page
    assert "made-up pictures" not in page  # which were tried on the run's own mode
    assert "The list of pictures to label" not in page  # it is no older for that
    assert "made-up pictures" in (fast.folder.path / "report.html").read_text(encoding="utf-8")


def test_another_mode_is_calibrated_for_when_the_run_takes_it(fast: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(fast.folder.path, tmp_path / "run")
    other = winnow.Run(tmp_path / "run", mode="full").fit(folder / "good", resume=True)
    assert other.folder.result(Calibrated).mode == "full"
    assert other.folder.result(Calibrated).finds == finds(other.folder, "full", load_detector(other.folder, "full"))


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("inspect-texture", {"fast": 0}, r"--mode fast .* --fast is 0\.\n.*--mode full"),
        ("inspect-vae", {"mode": "fast"}, r"--mode fast .* --fast is 0\.\n.*--fast 1000"),
        ("oneclass", {"mode": "encoder", "weights": ""}, "--mode encoder needs a network that is trained"),
    ],
)
def test_a_mode_that_cannot_be_is_refused_before_anything_is_read(
    recipe: str, options: dict, message: str, folder: Path, weights: Path, tmp_path: Path
):
    options |= {"weights": weights} if "weights" in options else {}
    with pytest.raises(OptionError, match=message):
        winnow.Run(tmp_path / "run", recipe, **options).fit(folder / "good")
    assert not (tmp_path / "run").exists()


def test_sharpness_alone_is_measured_in_every_mode(fast: winnow.Run, folder: Path, tmp_path: Path):
    found = {mode: fast.folder.with_options({"score": {"mode": mode}}) for mode in ("full", "encoder", "fast")}
    alone = {
        mode: evaluate(run, [folder / "new"], {"bad": [folder / "bad"]}, to=tmp_path / mode).baseline
        for mode, run in found.items()
    }
    assert alone["full"]["bad"] == alone["encoder"]["bad"] == alone["fast"]["bad"]
