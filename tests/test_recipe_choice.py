"""Which recipe `oneclass` is on a machine with weights, and on one without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow.data.sources import expand
from winnow.errors import OptionError
from winnow.models import pretrained
from winnow.run.recipe import choose_recipe, load_recipe
from winnow.steps.run import run as fitting
from winnow.steps.run import shows_strips


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose hub's cache is empty and whose network does not answer; the cache's folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    return tmp_path / "hub" / "checkpoints"


def test_what_takes_seconds_is_told_before_it_begins(bare: Path, capsys: pytest.CaptureFixture[str]):
    choose_recipe("select", {})
    assert capsys.readouterr().err.startswith("Looking for the weights of tf_efficientnet_lite0, ")
    choose_recipe("select", {"model": {"weights": "own.pth"}})
    choose_recipe("select-ae", {})
    assert not capsys.readouterr().err


def test_without_weights_a_network_is_trained_and_the_sentence_says_why(bare: Path):
    for name, other, backbone in (
        ("oneclass", "oneclass-from-scratch", "mobilenet_v2"),
        ("inspect", "inspect-texture", "mobilenet_v2"),
        ("select", "select-ae", "tf_efficientnet_lite0"),
    ):
        chosen = choose_recipe(name, {})
        assert chosen.recipe == load_recipe(other) and chosen.name == other
        assert chosen.recipe.options.model.model == "autoencoder"
        assert f"no weights of {backbone} are at hand" in chosen.why


def test_weights_in_the_cache_are_found(bare: Path):
    bare.mkdir(parents=True)
    (bare / pretrained._place("mobilenet_v2").file).write_bytes(b"weights")
    chosen = choose_recipe("oneclass", {})
    assert chosen.recipe.options.model.model == "pretrained" and "the hub's cache" in chosen.why
    assert "no weights of vgg16" in choose_recipe("oneclass", {"model": {"backbone": "vgg16"}}).why


def test_a_file_of_weights_asks_nobody(bare: Path, monkeypatch: pytest.MonkeyPatch):
    def asked(url: str) -> bool:
        raise AssertionError(f"asked {url}")

    monkeypatch.setattr(pretrained, "_answers", asked)
    assert choose_recipe("oneclass", {"model": {"weights": "own.pth"}}).name == "oneclass"
    assert "own.pth" in choose_recipe("oneclass", {"model": {"weights": "own.pth"}}).why
    assert choose_recipe("oneclass", {}, from_scratch=True).name == "oneclass-from-scratch"
    assert choose_recipe("oneclass", {"model": {"model": "autoencoder"}}).name == "oneclass-from-scratch"
    for other in ("oneclass-vae", "select-ae", "oneclass-from-scratch"):
        assert choose_recipe(other, {}) == (load_recipe(other), other, "")


def test_a_hub_that_answers_counts(bare: Path, monkeypatch: pytest.MonkeyPatch):
    hosts = []
    monkeypatch.setattr(pretrained, "_answers", lambda url: not hosts.append(url))
    assert choose_recipe("oneclass", {}).name == "oneclass"
    assert len(hosts) == 1 and hosts[0].startswith("https://")


def test_what_cannot_be_chosen_is_one_sentence():
    with pytest.raises(OptionError, match="--from-scratch has nothing to change in the recipe 'select-ae'"):
        choose_recipe("select-ae", {}, from_scratch=True)
    with pytest.raises(OptionError, match="no recipe 'oneclas'"):
        choose_recipe("oneclas", {})


def test_strips_are_left_to_the_recipe_of_textures_unless_the_user_decides(tmp_path: Path) -> None:
    """Most pictures decide, upright ones too; an option of the user's own keeps the recipe; a run that goes on keeps its own."""
    from torchvision.models import mobilenet_v2

    rng = np.random.default_rng(0)
    for name, shape, count in (("strips", (64, 300), 6), ("upright", (300, 64), 6), ("parts", (64, 90), 6)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = rng.integers(90, 160, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{name}{number}.png")
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "random.pth")

    def says(*folders: str, recipe: str = "inspect", **options) -> bool:
        run = winnow.Run(tmp_path / "run", recipe, weights=tmp_path / "random.pth", **options)
        return shows_strips(run.folder, expand([tmp_path / name for name in folders]))

    assert says("strips") and says("upright") and says("strips", "upright", "parts")
    assert not says("parts") and not says("strips", "parts")
    for option in ({"tiles": True}, {"size": (96, 96)}, {"scorer": "padim"}):
        assert not says("strips", **option)
    assert not says("strips", recipe="oneclass")
    small = {"iterations": 20, "check_every": 10, "fast": 10, "border": 0}
    given = {"weights": tmp_path / "random.pth", "backbone": "mobilenet_v2", **small}
    run = winnow.Run(tmp_path / "run", "inspect", **given).fit(tmp_path / "strips")
    assert run.folder.recipe == "inspect-texture" and run.folder.options.ingest.patches
    assert run.folder.options.train.iterations == 20 and not run.folder.options.model.weights
    assert "strips are taken for a texture" in run.folder.asked.why
    winnow.Run(tmp_path / "run", "inspect").fit(tmp_path / "strips", resume=True)
    # A first call may say --resume as well, and strips that are added to a run of another recipe do not change what it is.
    first = winnow.Run(tmp_path / "first", "inspect", **given)
    assert "strips are taken for a texture" in next(fitting(first.folder, [tmp_path / "strips"], resume=True))
    assert first.folder.recipe == "inspect-texture"
    parts = winnow.Run(tmp_path / "parts run", "inspect", weights=tmp_path / "random.pth")
    parts.ingest(tmp_path / "parts")
    assert (
        "are taken for" not in next(fitting(parts.folder, [tmp_path / "strips"])) and parts.folder.recipe == "inspect"
    )
